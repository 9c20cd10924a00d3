// SPDX-License-Identifier: MIT
//
// Archiving: which complete files are compressed, and the thread that does it for `archive_ms`.
//
// Publishing looks once in some thousand events whether there may be work, and wakes the thread,
// which the first need of it starts. One file at a time is archived, with `retaining`: nobody
// forgets meanwhile what is being read, and who only wants to see whether something may be
// forgotten does not wait for it.
#include "engine/local.h"

#include "base/error.h"
#include "log/store.h"

#define LOOK_EVERY 4096 // events

enum wanted { WANTED_NOTHING, WANTED_WORK, WANTED_END };

struct run {
    const struct peal_archive *archive;
    uint64_t done, total; // bytes: of the files before, of all
};

static bool meet_progress(void *context, uint64_t done)
{
    const struct run *run = context;
    return !run->archive->progress ||
           run->archive->progress(run->done + done, run->total, run->archive->context);
}

static void tell(struct run *run, struct peal_savings *savings, const struct pl_archived *archived)
{
    const struct peal_archive *archive = run->archive;
    run->done += archived->bytes;
    if (archived->packed == archived->bytes) {
        savings->left++;
        return;
    }
    savings->files++;
    savings->bytes += archived->bytes;
    savings->packed += archived->packed;
    if (archive->file) {
        const struct peal_archived told = { .file = archived->name,
                                            .first = archived->base,
                                            .end = archived->end,
                                            .bytes = archived->bytes,
                                            .packed = archived->packed };
        archive->file(&told, archive->context);
    }
}

static enum peal_err find_below(uint64_t *out, struct pl_local *local, int64_t before_ns)
{
    if (before_ns == 0) {
        *out = UINT64_MAX;
        return PEAL_OK;
    }
    return pl_log_find_time(out, &local->log, before_ns);
}

enum peal_err pl_local_archive(struct pl_local *local, const struct peal_archive *archive,
                               struct peal_savings *savings)
{
    struct run run = { .archive = archive };
    struct pl_archive_wanted wanted = { .progress = meet_progress, .context = &run };
    struct pl_archived archived = { .base = 1 };
    enum peal_err err = find_below(&wanted.below, local, archive->before_ns);
    run.total = err ? 0 : pl_store_archivable(local->store, wanted.below);
    while (!err && archived.base) {
        pl_mutex_lock(&local->retaining, local->log.seams);
        err = pl_store_archive(&archived, local->store, &wanted);
        pl_mutex_unlock(&local->retaining, local->log.seams);
        if (!err && archived.base) {
            wanted.from = archived.end;
            tell(&run, savings, &archived);
        }
    }
    return err;
}

// ---- the thread ---------------------------------------------------------------------------------

static bool goes_on(uint64_t done, uint64_t total, void *context)
{
    const struct pl_archiver *archiver = context;
    (void)done;
    (void)total;
    // Relaxed: the next time it is seen at the latest.
    return atomic_load_explicit(&archiver->wanted, memory_order_relaxed) != WANTED_END;
}

static void work(struct pl_local *local)
{
    const struct pl_seams *seams = local->log.seams;
    int64_t now = seams->realtime(seams->world);
    uint64_t age_ms = local->retention.archive_ms;
    if (age_ms >= (uint64_t)(now / PL_NS_PER_MS)) {
        return; // nothing is so old
    }
    const struct peal_archive archive = { .before_ns = now - (int64_t)age_ms * PL_NS_PER_MS,
                                          .progress = goes_on,
                                          .context = &local->archiver };
    struct peal_savings savings = { 0 };
    enum peal_err err = pl_local_archive(local, &archive, &savings);
    if (err && goes_on(0, 0, &local->archiver) && local->say) {
        local->say(PEAL_LEVEL_WARNING, peal_error_sentence(), local->say_context);
    }
}

static void run(void *context)
{
    struct pl_local *local = context;
    struct pl_archiver *archiver = &local->archiver;
    const struct pl_seams *seams = local->log.seams;
    for (;;) {
        unsigned wanted = atomic_load_explicit(&archiver->wanted, memory_order_acquire);
        if (wanted == WANTED_END) {
            return;
        }
        if (wanted == WANTED_NOTHING) {
            seams->wait(seams->world, &archiver->wanted, WANTED_NOTHING, PL_FOREVER);
            continue;
        }
        // Before the work: what comes after this look says so again.
        if (atomic_compare_exchange_strong(&archiver->wanted, &wanted, WANTED_NOTHING)) {
            work(local);
        }
    }
}

static bool has_thread(struct pl_local *local)
{
    const struct pl_seams *seams = local->log.seams;
    struct pl_archiver *archiver = &local->archiver;
    pl_mutex_lock(&archiver->starting, seams);
    if (!archiver->thread && !archiver->without) {
        archiver->without = seams->start(seams->world, &archiver->thread, run, local);
    }
    bool has = archiver->thread != NULL;
    pl_mutex_unlock(&archiver->starting, seams);
    return has;
}

void pl_archiver_note(struct pl_local *local)
{
    struct pl_archiver *archiver = &local->archiver;
    uint64_t written = pl_store_written(local->store);
    // Relaxed: a hint of when to look; two that look at once wake it once more.
    if (!local->retention.archive_ms ||
        written < atomic_load_explicit(&archiver->look_at, memory_order_relaxed)) {
        return;
    }
    atomic_store_explicit(&archiver->look_at, written + LOOK_EVERY, memory_order_relaxed);
    unsigned nothing = WANTED_NOTHING;
    if (has_thread(local) &&
        atomic_compare_exchange_strong(&archiver->wanted, &nothing, WANTED_WORK)) {
        local->log.seams->wake(local->log.seams->world, &archiver->wanted, 1);
    }
}

void pl_archiver_stop(struct pl_local *local)
{
    const struct pl_seams *seams = local->log.seams;
    struct pl_archiver *archiver = &local->archiver;
    if (archiver->thread) {
        atomic_store(&archiver->wanted, WANTED_END);
        seams->wake(seams->world, &archiver->wanted, 1);
        seams->join(seams->world, archiver->thread);
        archiver->thread = NULL;
    }
}
