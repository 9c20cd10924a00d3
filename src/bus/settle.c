// SPDX-License-Identifier: MIT
//
// Settling: what a verdict means for a pending event.
//
// Done: it leaves its line. Retry: it is due again after a while. Release: the same, and the
// attempt does not count; who pulls may have it at once. Later: it is due when its acknowledgement
// wait has passed, and has failed then. Rejected, or its attempts spent: it dies, and goes to the
// dead letters. Under PEAL_SPENT_DROP one whose attempts are spent is dropped instead, and counted.
//
// A dying one for which the dead letters have no room stays pending, remembers why it died, and
// dies again: a mailbox with workers pauses until somebody has made room, an inline one tries again
// in a while.
#include "bus/hold.h"

#include <string.h>

// A handler that gives an event back gets it again after this.
#define PL_RELEASE_AFTER (10 * PL_NS_PER_MS)

struct pl_reason {
    char code[32];
    char text[256];
};

// ---- dead ---------------------------------------------------------------------------------------

// A dying one remembers why. Without memory it forgets what its handler said.
static void keep_reason(struct pl_mailbox *mailbox, struct pl_pending *pending,
                        const struct pl_call *call, const char *code)
{
    pending->code = code;
    if (call && call->failed && !pending->said) {
        pending->said = pl_new(mailbox->seams, sizeof *pending->said);
        if (pending->said) {
            memcpy(pending->said->code, call->code, sizeof pending->said->code);
            memcpy(pending->said->text, call->text, sizeof pending->said->text);
        }
    }
}

static enum peal_err bury(struct pl_mailbox *mailbox, struct pl_pending *pending,
                          const struct pl_call *call, const char *code)
{
    struct peal_event event;
    pl_hold_view(mailbox, pending, &event);
    struct pl_obituary obituary = {
        .mailbox = mailbox,
        .event = pending->kept ? pending->kept : &event,
        .code = code,
        .text = "",
        .attempts = pending->attempt,
        .first_failure = pending->first_failure,
        .last_failure = pending->last_failure,
        .again = pending->dead,
    };
    const struct pl_reason *said = pending->said;
    if (call && call->failed) {
        obituary.code = call->code[0] ? call->code : code;
        obituary.text = call->text;
    } else if (said) {
        obituary.code = said->code[0] ? said->code : code;
        obituary.text = said->text;
    }
    return pl_dead_add(&pending->dead, mailbox->bus, &obituary);
}

void pl_hold_die(struct pl_mailbox *mailbox, struct pl_pending *pending, const struct pl_call *call,
                 const char *code)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    bool holds_key =
        (options->spent == PEAL_SPENT_BLOCK || options->after_dead == PEAL_AFTER_DEAD_PARK) &&
        pending->keyed;
    enum peal_err err = holds_key ? pl_hold_reserve_letter(mailbox->hold) : PEAL_OK;
    err = err ? err : bury(mailbox, pending, call, code);
    if (err) {
        // Nothing is dropped silently: it stays, and dies when there is room.
        bool pauses = err == PEAL_ELIMIT && mailbox->mode != PEAL_INLINE;
        if (pauses || (err == PEAL_ELIMIT && !pending->dying)) {
            atomic_store_explicit(&mailbox->dead_full, true, memory_order_relaxed);
        }
        pending->dying = true;
        keep_reason(mailbox, pending, call, code);
        if (pauses) {
            atomic_store_explicit(&mailbox->paused, true, memory_order_relaxed);
            // Behind all others: a dead letter that is retried makes room for it.
            int64_t score = pending->score;
            pending->score = INT64_MAX;
            pl_hold_make_ready(mailbox->hold, pending);
            pending->score = score;
        } else {
            pl_hold_make_due(mailbox, pending, PL_RETRYING,
                             pl_bus_ticks(mailbox->bus) + PL_TROUBLE_AFTER);
        }
        pl_hold_let_retried_pass(mailbox->hold, pending);
        return;
    }
    pending->dying = false;
    pl_release(mailbox->seams, pending->said);
    pending->said = NULL;
    mailbox->hold->counts.dead++;
    if (options->spent == PEAL_SPENT_PAUSE) {
        atomic_store_explicit(&mailbox->paused, true, memory_order_relaxed);
        pl_durable_pause(mailbox, true);
    }
    if (holds_key) {
        pl_hold_know_letter(mailbox->hold, pending);
        pl_pending_let_go(pending); // the dead letter has the event
        pending->state = PL_BLOCKED;
        return;
    }
    pl_hold_finish_pending(mailbox, pending);
}

void pl_hold_say_full(struct pl_mailbox *mailbox)
{
    if (!atomic_exchange_explicit(&mailbox->dead_full, false, memory_order_relaxed)) {
        return;
    }
    bool waits = mailbox->mode == PEAL_INLINE; // its publishers go on
    pl_bus_say(mailbox->bus, PEAL_LEVEL_ERROR,
               "subscription %s: %s, because the dead letters are full (dead_max); retry or "
               "discard some%s",
               pl_mailbox_who(mailbox), waits ? "a failed event waits" : "paused",
               waits ? "" : ", then resume it");
}

// ---- failed -------------------------------------------------------------------------------------

// Is `word` one of a comma list?
static bool listed(const char *list, const char *word)
{
    size_t length = strlen(word);
    while (list && length > 0) {
        list += strspn(list, " ");
        if (strncmp(list, word, length) == 0 &&
            strchr(",", list[length + strspn(list + length, " ")])) { // or the end
            return true;
        }
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    return false;
}

static int64_t retry_delay(struct pl_mailbox *mailbox, unsigned attempt)
{
    const struct peal_retry *retry = &mailbox->settings->options.retry;
    if (attempt <= retry->immediate) {
        return 0;
    }
    double most = (double)retry->max_ms;
    double delay = (double)retry->initial_ms;
    for (unsigned i = retry->immediate + 1; i < attempt && delay < most; i++) {
        delay *= retry->coefficient;
    }
    int64_t ns = (int64_t)((delay < most ? delay : most) * (double)PL_NS_PER_MS);
    if (retry->no_jitter || ns <= 0) {
        return ns;
    }
    const struct pl_seams *seams = mailbox->seams;
    return (int64_t)(seams->random(seams->world) % ((uint64_t)ns + 1));
}

// The attempts are spent. Without a letter to write, one that was retried has its letter still.
static void spend(struct pl_mailbox *mailbox, struct pl_pending *pending,
                  const struct pl_call *call, const char *code)
{
    if (mailbox->settings->options.spent != PEAL_SPENT_DROP || pending->dead) {
        pl_hold_die(mailbox, pending, call, code);
        return;
    }
    pl_count_shared(&mailbox->counts.dropped, 1);
    mailbox->hold->counts.spent++;
    pl_hold_finish_pending(mailbox, pending);
}

static void fail(struct pl_mailbox *mailbox, struct pl_pending *pending, const struct pl_call *call,
                 const char *code)
{
    const struct peal_retry *retry = &mailbox->settings->options.retry;
    int64_t now = pl_bus_now(mailbox->bus);
    pl_count_shared(&mailbox->counts.failed, 1);
    pl_durable_touch(mailbox);
    pending->last_failure = now;
    if (pending->first_failure == 0) {
        pending->first_failure = now;
    }
    if (call && call->failed && listed(retry->non_retryable, call->code)) {
        pl_hold_die(mailbox, pending, call, code); // its attempts are not spent
        return;
    }
    int64_t delay = retry_delay(mailbox, pending->attempt);
    int64_t elapsed_ms = (now + delay - pending->first_failure) / PL_NS_PER_MS;
    if ((!retry->unlimited && pending->attempt >= retry->max_attempts) ||
        (retry->max_elapsed_ms && elapsed_ms > (int64_t)retry->max_elapsed_ms)) {
        spend(mailbox, pending, call, code);
        return;
    }
    mailbox->hold->counts.retried++;
    pl_hold_make_due(mailbox, pending, PL_RETRYING, pl_bus_ticks(mailbox->bus) + delay);
}

void pl_hold_crashed(struct pl_mailbox *mailbox, struct pl_pending *pending)
{
    fail(mailbox, pending, NULL, "crash");
}

// ---- verdicts -----------------------------------------------------------------------------------

void pl_hold_apply(struct pl_mailbox *mailbox, struct pl_pending *pending,
                   const struct pl_call *call, enum peal_verdict verdict)
{
    if (pending->settlement && verdict != PEAL_LATER) {
        pl_afar_settle(mailbox, pending, call, verdict);
        return;
    }
    if (pending->erased && verdict != PEAL_LATER) {
        verdict = PEAL_DONE; // there is nothing left to try again, or to bury
    }
    switch (verdict) {
    case PEAL_DONE:
        if (pending->dead) {
            pl_dead_done(mailbox->bus, pending->dead);
        }
        pl_hold_finish_pending(mailbox, pending);
        return;
    case PEAL_RELEASE:
        mailbox->hold->counts.released++;
        pending->attempt--;
        if (mailbox->mode == PEAL_PULL) {
            pl_hold_make_ready(mailbox->hold, pending);
        } else {
            pl_hold_make_due(mailbox, pending, PL_RETRYING,
                             pl_bus_ticks(mailbox->bus) + PL_RELEASE_AFTER);
        }
        return;
    case PEAL_REJECT:
        pl_count_shared(&mailbox->counts.rejected, 1);
        pending->last_failure = pl_bus_now(mailbox->bus);
        if (pending->first_failure == 0) {
            pending->first_failure = pending->last_failure;
        }
        pl_hold_die(mailbox, pending, call, "rejected");
        return;
    case PEAL_LATER: {
        int64_t wait = (int64_t)mailbox->settings->options.ack_wait_ms * PL_NS_PER_MS;
        int64_t until = pl_bus_ticks(mailbox->bus) + wait;
        pl_hold_make_due(mailbox, pending, PL_LATER, pending->extended ? pending->extended : until);
        pending->extended = 0;
        return;
    }
    case PEAL_RETRY:
        break;
    }
    fail(mailbox, pending, call, "attempts");
}

void pl_hold_out_of_time(struct pl_mailbox *mailbox, struct pl_pending *pending)
{
    if (pending->delivery) {
        pending->delivery->pending = NULL;
        pending->delivery = NULL;
    }
    if (pending->erased) {
        pl_hold_apply(mailbox, pending, NULL, PEAL_DONE);
        return;
    }
    if (pending->settlement) {
        pl_count_shared(&mailbox->counts.failed, 1);
        memcpy(pending->settlement->code, "ack_wait", sizeof "ack_wait");
        pl_afar_settle(mailbox, pending, NULL, PEAL_RETRY);
        return;
    }
    fail(mailbox, pending, NULL, "ack_wait");
}

void pl_hold_returned(struct pl_mailbox *mailbox, struct pl_pending *pending,
                      const struct pl_call *call, enum peal_verdict verdict)
{
    bool taken = call->taken;
    mailbox->hold->running--;
    struct peal_delivery *early = pending->early;
    if (early) {
        verdict = early->verdict; // whatever the handler says now: it has been settled
        call = &early->call;
        pending->early = NULL;
    } else if (pending->delivery && verdict != PEAL_LATER) {
        pending->delivery->pending = NULL; // taken, but settled by the return
        pending->delivery = NULL;
    } else if (verdict == PEAL_LATER && !pending->delivery) {
        verdict = PEAL_RETRY; // nobody can settle it
    }
    if (verdict != PEAL_LATER) {
        pending->extended = 0; // the next attempt starts anew
    }
    if (taken && verdict == PEAL_DONE) {
        pl_count_shared(&mailbox->counts.delivered, 1); // pl_deliver does not count what is taken
    }
    pl_hold_apply(mailbox, pending, call, verdict);
    if (early) {
        pl_delivery_free(early); // who runs the mailbox keeps it
    }
}

// ---- run before they were pending ---------------------------------------------------------------

static void say_lost(struct pl_mailbox *mailbox, const struct peal_event *event)
{
    pl_count_shared(&mailbox->counts.dropped, 1);
    pl_count_shared(&mailbox->counts.unheld, 1);
    pl_bus_say(mailbox->bus, PEAL_LEVEL_ERROR,
               "subscription %s: no memory to hold an event of type %s that failed; it is lost",
               pl_mailbox_who(mailbox), peal_event_type(event));
}

// Holds an event that is being run. NULL without memory, which only an inline one can meet.
static struct pl_pending *hold_running(struct pl_mailbox *mailbox, struct peal_event *event)
{
    const struct peal_event *kept = NULL;
    bool in_log = event->frame && event->owner;
    if (!pl_hold_provide(mailbox, 1) || (!in_log && pl_event_copy(&kept, event, NULL, 0))) {
        return NULL;
    }
    struct pl_pending *pending = pl_hold_event(mailbox, event);
    if (in_log) {
        pl_pending_keep_frame(pending, event->frame, event->owner);
    } else {
        pending->kept = kept;
    }
    // Not the first: another inline one failed meanwhile.
    (void)pl_hold_line_up(mailbox->hold, pending);
    mailbox->hold->running++;
    pending->state = PL_RUNNING;
    pending->attempt = 1;
    return pending;
}

// How often were events of the log erased?
static uint64_t erasures_of(const struct peal_bus *bus)
{
    return bus->log ? atomic_load_explicit(&bus->log->erasures, memory_order_acquire) : 0;
}

void pl_hold_lock_knowing(struct pl_mailbox *mailbox, const struct peal_event *event,
                          bool *out_erased)
{
    for (;;) {
        uint64_t erasures = erasures_of(mailbox->bus);
        *out_erased = __builtin_expect(erasures > 0, 0) &&
                      pl_log_is_erased(mailbox->bus->log, peal_event_position(event));
        pl_mutex_lock(&mailbox->lock, mailbox->seams);
        if (erasures_of(mailbox->bus) == erasures) {
            return;
        }
        pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    }
}

void pl_hold_failed(struct pl_call *call, struct peal_event *event, enum peal_verdict verdict)
{
    struct pl_mailbox *mailbox = call->mailbox;
    bool erased = false;
    pl_hold_lock_knowing(mailbox, event, &erased);
    struct pl_pending *pending = call->pending ? call->pending : hold_running(mailbox, event);
    bool again = false;
    if (pending) {
        pending->erased = pending->erased || erased;
        pl_hold_returned(mailbox, pending, call, verdict);
        pl_hold_set_timer(mailbox);
        again = pl_heap_peek(&mailbox->hold->ready) != NULL;
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (!pending) {
        say_lost(mailbox, event);
    }
    if (again) {
        pl_runs_notify(mailbox);
    }
}
