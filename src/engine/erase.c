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

// What is meant ends here.
static uint64_t begin_anew(struct pl_local *local, const struct pl_erasure *erasure)
{
    struct pl_log *log = &local->log;
    pl_turn_take(&log->turn, log->seams);
    uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed);
    if (!erasure->dry_run) {
        pl_state_restart(&log->state, pl_state_subject_key(&log->state, erasure->subject));
    }
    pl_turn_give(&log->turn, log->seams);
    return end;
}

static void settle(struct pl_local *local)
{
    struct pl_log *log = &local->log;
    pl_local_erased(local);
    pl_turn_take(&log->turn, log->seams);
    pl_state_settled(&log->state);
    pl_turn_give(&log->turn, log->seams);
}

enum peal_err pl_local_erase(struct pl_local *local, const struct pl_erasure *erasure,
                             pl_erase_stored *stored, struct pl_erased *out)
{
    const struct pl_seams *seams = local->log.seams;
    struct pl_erasure meant = *erasure;
    struct pl_erased in_memory = { 0 };
    pl_mutex_lock(&local->retaining, seams);
    meant.end = begin_anew(local, erasure);
    enum peal_err err = stored ? stored(local, &meant, out) : PEAL_OK;
    if (!err) {
        pl_log_erase(&local->log, &meant, stored ? &in_memory : out);
    }
    if (!erasure->dry_run) {
        settle(local);
    }
    pl_mutex_unlock(&local->retaining, seams);
    return err;
}
