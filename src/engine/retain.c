// SPDX-License-Identifier: MIT
//
// Retention: which of the oldest events may go, by number, by size and by age.
//
// Each limit says a position below which it has no use for events; the greatest counts, but not
// beyond what somebody has yet to read. Whole files go, so a little more stays than was asked.
//
// The keeper looks (keeper.c), and whoever has kept it from looking before.
#include "engine/stored.h"

#include "base/error.h"
#include "log/catalog.h"
#include "log/store.h"

#define DOUBT_NS (3600 * PL_NS_PER_S)

// The time of day by which events are old. A process that sleeps with its machine is doubted too,
// and forgets an hour later.
static int64_t now_for_ages(struct pl_local *local)
{
    const struct pl_seams *seams = local->log.seams;
    struct pl_age *age = &local->age;
    int64_t steady = seams->monotonic(seams->world);
    int64_t ahead = seams->realtime(seams->world) - steady;
    if (!age->known || ahead - age->ahead <= DOUBT_NS ||
        (age->doubted_since && steady - age->doubted_since >= DOUBT_NS)) {
        *age = (struct pl_age){ .known = true, .ahead = ahead };
        return steady + ahead;
    }
    if (!age->doubted_since) {
        age->doubted_since = steady;
        age->unsaid = true;
    }
    return steady + age->ahead;
}

// Below this position the limits have no use for events.
static enum peal_err find_limit(uint64_t *out, struct pl_local *local)
{
    const struct pl_retention *retention = &local->retention;
    uint64_t written = pl_store_written(local->store);
    uint64_t limit = 0;
    if (retention->events && written > retention->events) {
        limit = written - retention->events;
    }
    if (retention->bytes) {
        uint64_t position = pl_store_behind(local->store, retention->bytes);
        limit = position > limit ? position : limit;
    }
    int64_t now = now_for_ages(local);
    if (retention->age_ms && retention->age_ms < (uint64_t)(now / PL_NS_PER_MS)) {
        uint64_t position = 0;
        enum peal_err err = pl_log_find_time(&position, &local->log,
                                             now - (int64_t)retention->age_ms * PL_NS_PER_MS);
        if (err) {
            return err;
        }
        limit = position > limit ? position : limit;
    }
    *out = limit;
    return PEAL_OK;
}

static enum peal_err forget(struct pl_local *local)
{
    uint64_t limit = 0, first = 0;
    enum peal_err err = find_limit(&limit, local);
    if (err || limit <= pl_store_first(local->store)) {
        return err;
    }
    if (!local->retention.unread_too) {
        uint64_t unread = local->unread(local->unread_context);
        limit = unread < limit ? unread : limit;
    }
    err = pl_store_forget(local->store, limit, &first);
    if (!err) {
        pl_catalog_forget(local->engine.catalog, first);
    }
    return err;
}

void pl_local_retain(struct pl_local *local)
{
    if (!pl_mutex_try(&local->retaining, local->log.seams)) {
        return; // who has it looks afterwards, or is archiving and has the keeper's thread
    }
    enum peal_err err = forget(local);
    bool doubts = local->age.unsaid;
    local->age.unsaid = false;
    pl_mutex_unlock(&local->retaining, local->log.seams);
    // Without the lock: who is told may archive or erase.
    if (err && local->say) {
        local->say(PEAL_LEVEL_WARNING, peal_error_sentence(), local->say_context);
    }
    if (doubts) {
        pl_stored_say(local, PEAL_LEVEL_WARNING,
                      "the clock was set ahead by more than an hour: nothing is forgotten for its "
                      "age (history_ms) until it has stayed so for an hour; set it right if it is "
                      "wrong");
    }
}
