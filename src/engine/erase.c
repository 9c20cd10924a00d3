// SPDX-License-Identifier: MIT
//
// Erasing a subject from a log in this process, and from what is stored of it.
//
// It begins with the turn: events below the end of that moment are meant, and the stream of the
// subject begins anew with the next. So who publishes meanwhile is held up by nothing, and what he
// publishes is no continuation of what goes. That an erased stream does not go on at its old
// version is on purpose: whatever remembered that would have to remember the subject.
//
// Order: what is stored, then memory, then the count of erasures, which sends everybody who still
// stands in what was read before to look again. Only then the stream may be looked up where it is
// stored.
#include "engine/local.h"

void pl_local_erased(struct pl_local *local)
{
    // Release: who sees it counted finds it gone.
    atomic_fetch_add_explicit(&local->log.erasures, 1, memory_order_release);
}

// A stream as it was before its erasure.
struct life {
    struct pl_hash128 key;
    uint64_t version, position; // zeros: it is not known, and is looked up
};

// What is meant ends here.
static uint64_t begin_anew(struct pl_local *local, const struct pl_erasure *erasure,
                           struct life *before)
{
    struct pl_log *log = &local->log;
    struct pl_map_entry *entry = NULL;
    before->key = pl_state_subject_key(&log->state, erasure->subject);
    pl_turn_take(&log->turn, log->seams);
    uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed);
    if (!erasure->dry_run) {
        before->version =
            pl_state_version(&log->state, before->key, pl_log_streams_from(log), &entry);
        before->position = entry ? entry->position : 0;
        pl_state_restart(&log->state, before->key);
    }
    pl_turn_give(&log->turn, log->seams);
    return end;
}

// An erasure that failed has left events of the stream, which goes on behind them; unless it has
// new ones already. Without memory it is not known, as if all had been erased. With the turn.
static void go_on(struct pl_log *log, const struct life *before)
{
    uint64_t first = pl_log_streams_from(log);
    if (before->version > 0 && !pl_state_version(&log->state, before->key, first, NULL)) {
        (void)pl_state_set(&log->state, before->key, before->version, before->position, first);
    }
}

static void settle(struct pl_local *local, const struct life *before, enum peal_err err)
{
    struct pl_log *log = &local->log;
    pl_local_erased(local);
    pl_turn_take(&log->turn, log->seams);
    if (err) {
        go_on(log, before);
    }
    pl_state_settled(&log->state);
    pl_turn_give(&log->turn, log->seams);
}

enum peal_err pl_local_erase(struct pl_local *local, const struct pl_erasure *erasure,
                             pl_erase_stored *stored, struct pl_erased *out)
{
    const struct pl_seams *seams = local->log.seams;
    struct pl_erasure meant = *erasure;
    struct pl_erased in_memory = { 0 };
    struct life before = { .version = 0 };
    pl_mutex_lock(&local->retaining, seams);
    meant.end = begin_anew(local, erasure, &before);
    enum peal_err err = stored ? stored(local, &meant, out) : PEAL_OK;
    if (!err) {
        pl_log_erase(&local->log, &meant, stored ? &in_memory : out);
    }
    if (!erasure->dry_run) {
        settle(local, &before, err);
    }
    pl_mutex_unlock(&local->retaining, seams);
    return err;
}
