// SPDX-License-Identifier: MIT
//
// Archiving: which complete files are compressed. One at a time is, with `retaining`: nobody
// forgets meanwhile what is being read, and who only wants to see whether something may be
// forgotten does not wait for it.
#include "engine/local.h"

#include "base/error.h"
#include "log/store.h"

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
