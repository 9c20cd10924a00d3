// SPDX-License-Identifier: MIT
//
// The keeper: a thread that forgets what the retention has no use for (retain.c), and archives what
// is old enough (archive.c). No publish waits for a file that is removed.
//
// Who settles looks once in some thousand events, and when a file was begun, since events may be
// large, whether there may be work, and wakes it; the first need starts it. What has an age it also
// looks for by itself, since a log that rests gets older. Where no thread can be had, who settles
// forgets in its place, and nothing is archived.
#include "engine/local.h"

#include "base/error.h"
#include "log/store.h"

#define LOOK_EVERY 4096 // events

// Of an age, the share after which is looked again, and its bounds.
#define LOOK_SHARE 16
#define LOOK_LEAST PL_NS_PER_S
#define LOOK_MOST  (3600 * PL_NS_PER_S)

enum wanted { WANTED_NOTHING, WANTED_WORK, WANTED_END };

static bool is_limited(const struct pl_retention *retention)
{
    return retention->events || retention->bytes || retention->age_ms;
}

static bool goes_on(uint64_t done, uint64_t total, void *context)
{
    const struct pl_keeper *keeper = context;
    (void)done;
    (void)total;
    // Relaxed: the next time it is seen at the latest.
    return atomic_load_explicit(&keeper->wanted, memory_order_relaxed) != WANTED_END;
}

static void archive(struct pl_local *local)
{
    const struct pl_seams *seams = local->log.seams;
    int64_t now = seams->realtime(seams->world);
    uint64_t age_ms = local->retention.archive_ms;
    if (!age_ms || age_ms >= (uint64_t)(now / PL_NS_PER_MS)) {
        return; // nothing is so old
    }
    const struct peal_archive archive = { .before_ns = now - (int64_t)age_ms * PL_NS_PER_MS,
                                          .progress = goes_on,
                                          .context = &local->keeper };
    struct peal_savings savings = { 0 };
    enum peal_err err = pl_local_archive(local, &archive, &savings);
    if (err && goes_on(0, 0, &local->keeper) && local->say) {
        local->say(PEAL_LEVEL_WARNING, peal_error_sentence(), local->say_context);
    }
}

static void work(struct pl_local *local)
{
    if (is_limited(&local->retention)) {
        pl_local_retain(local);
    }
    archive(local);
}

// The moment to look again though nobody has asked.
static int64_t next_look(const struct pl_local *local)
{
    const struct pl_retention *retention = &local->retention;
    const struct pl_seams *seams = local->log.seams;
    uint64_t age_ms = retention->age_ms ? retention->age_ms : retention->archive_ms;
    if (retention->archive_ms && retention->archive_ms < age_ms) {
        age_ms = retention->archive_ms;
    }
    if (!age_ms) {
        return PL_FOREVER;
    }
    const uint64_t most = (uint64_t)LOOK_MOST / PL_NS_PER_MS * LOOK_SHARE;
    int64_t pause = (int64_t)(age_ms < most ? age_ms : most) * PL_NS_PER_MS / LOOK_SHARE;
    return seams->monotonic(seams->world) + (pause < LOOK_LEAST ? LOOK_LEAST : pause);
}

static void run(void *context)
{
    struct pl_local *local = context;
    struct pl_keeper *keeper = &local->keeper;
    const struct pl_seams *seams = local->log.seams;
    for (;;) {
        unsigned wanted = atomic_load_explicit(&keeper->wanted, memory_order_acquire);
        if (wanted == WANTED_END) {
            return;
        }
        if (wanted == WANTED_NOTHING) {
            int64_t look = next_look(local);
            seams->wait(seams->world, &keeper->wanted, WANTED_NOTHING, look);
            if (seams->monotonic(seams->world) >= look && goes_on(0, 0, keeper)) {
                work(local);
            }
            continue;
        }
        // Before the work: what comes after this look says so again.
        if (atomic_compare_exchange_strong(&keeper->wanted, &wanted, WANTED_NOTHING)) {
            work(local);
        }
    }
}

static bool has_thread(struct pl_local *local)
{
    const struct pl_seams *seams = local->log.seams;
    struct pl_keeper *keeper = &local->keeper;
    pl_mutex_lock(&keeper->starting, seams);
    if (!keeper->thread && !keeper->without) {
        keeper->without = seams->start(seams->world, &keeper->thread, run, local);
    }
    bool has = keeper->thread != NULL;
    pl_mutex_unlock(&keeper->starting, seams);
    return has;
}

void pl_keeper_note(struct pl_local *local)
{
    struct pl_keeper *keeper = &local->keeper;
    const struct pl_retention *retention = &local->retention;
    uint64_t written = pl_store_written(local->store);
    // Relaxed: a hint of when to look; two that look at once wake it once more.
    uint64_t begun = pl_store_begun(local->store);
    if (!(is_limited(retention) || retention->archive_ms) ||
        (written < atomic_load_explicit(&keeper->look_at, memory_order_relaxed) &&
         begun == atomic_load_explicit(&keeper->begun, memory_order_relaxed))) {
        return;
    }
    atomic_store_explicit(&keeper->begun, begun, memory_order_relaxed);
    atomic_store_explicit(&keeper->look_at, written + LOOK_EVERY, memory_order_relaxed);
    unsigned nothing = WANTED_NOTHING;
    if (!has_thread(local)) {
        if (is_limited(retention) && goes_on(0, 0, keeper)) {
            pl_local_retain(local);
        }
    } else if (atomic_compare_exchange_strong(&keeper->wanted, &nothing, WANTED_WORK)) {
        local->log.seams->wake(local->log.seams->world, &keeper->wanted, 1);
    }
}

void pl_keeper_stop(struct pl_local *local)
{
    const struct pl_seams *seams = local->log.seams;
    struct pl_keeper *keeper = &local->keeper;
    pl_mutex_lock(&keeper->starting, seams);
    struct pl_thread *thread = keeper->thread;
    keeper->thread = NULL;
    keeper->without = true; // nobody starts it again
    pl_mutex_unlock(&keeper->starting, seams);
    atomic_store(&keeper->wanted, WANTED_END);
    if (thread) {
        seams->wake(seams->world, &keeper->wanted, 1);
        seams->join(seams->world, thread);
    }
}
