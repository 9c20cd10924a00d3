// SPDX-License-Identifier: MIT
//
// Running a mailbox through its pending events: one after the other, or a batch at a time.
//
// The lock is given up while a handler runs. Of several workers in one mailbox each fetches the
// next one before it runs a handler, if there is more to do (needs_help).
#include "bus/hold.h"

// ---- members: whose turn it is ------------------------------------------------------------------

// The first, by turn, that runs fewer handlers than it asked for. With the lock. NULL: nobody is
// there, or all are busy, and whoever ends a call looks again at what is to be run.
static struct peal_subscription *idle_member(struct pl_mailbox *mailbox)
{
    unsigned most = mailbox->settings->options.concurrency;
    struct peal_subscription *member;
    PL_LIST_EACH (member, &mailbox->members, member) {
        if (member->running < most) {
            return member;
        }
    }
    return NULL;
}

// An idle one is called from now on; its next turn is after all others. With the lock.
static void begin_call(struct pl_mailbox *mailbox, struct peal_subscription *member)
{
    pl_list_remove(&member->member);
    pl_list_add_tail(&mailbox->members, &member->member);
    member->running++;
}

// It is not called any more. With the lock.
static void end_call(struct pl_mailbox *mailbox, struct peal_subscription *member)
{
    member->running--;
    if (pl_list_empty(&member->member)) { // it has left meanwhile, and somebody may be waiting
        atomic_fetch_add_explicit(&mailbox->word, 1, memory_order_release);
        mailbox->seams->wake(mailbox->seams->world, &mailbox->word, UINT32_MAX);
        if (member->orphan && member->running == 0 && member != &mailbox->only) {
            pl_release(mailbox->seams, member);
        }
    }
}

// At the end of a run, with the lock. While all are busy, because one has left inside whose handler
// we were, the timer stays as it is: what is due waits for a call to end, and who ends it sets the
// timer. One that has passed would only bring us back here at once.
static void set_timer_after(struct pl_mailbox *mailbox)
{
    if (idle_member(mailbox) || pl_list_empty(&mailbox->members)) {
        pl_hold_set_timer(mailbox);
    }
}

struct peal_subscription *pl_hold_call_member(struct pl_mailbox *mailbox)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct peal_subscription *member = idle_member(mailbox);
    if (member) {
        begin_call(mailbox, member);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return member;
}

void pl_hold_end_call(struct pl_mailbox *mailbox, struct peal_subscription *member)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    end_call(mailbox, member);
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
}

bool pl_hold_has_left(struct peal_subscription *member)
{
    struct pl_mailbox *mailbox = member->mailbox;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    bool left = pl_list_empty(&member->member);
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return left;
}

bool pl_hold_enter_member(struct peal_subscription *member)
{
    struct pl_mailbox *mailbox = member->mailbox;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    bool here = !pl_list_empty(&member->member);
    member->running += here;
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return here;
}

// May this thread wait for a call of the member to end? And if it is not called, it need not.
static bool may_wait(const struct peal_subscription *member, bool called, struct pl_slot *me)
{
    struct peal_bus *bus = member->mailbox->bus;
    pl_mutex_lock(&bus->runs.lock, bus->seams);
    bool may = called && !(me && me->member == member) && pl_runs_may_wait(bus, member, me);
    if (!may && me) {
        me->awaited = NULL;
    }
    pl_mutex_unlock(&bus->runs.lock, bus->seams);
    return may;
}

bool pl_hold_wait_member(struct peal_subscription *member, struct pl_slot *me)
{
    struct pl_mailbox *mailbox = member->mailbox;
    for (;;) {
        unsigned word = atomic_load_explicit(&mailbox->word, memory_order_acquire);
        pl_mutex_lock(&mailbox->lock, mailbox->seams);
        bool called = member->running > 0;
        bool waits = may_wait(member, called, me);
        member->orphan = called && !waits; // whoever runs it frees it
        pl_mutex_unlock(&mailbox->lock, mailbox->seams);
        if (!waits) {
            return called;
        }
        mailbox->seams->wait(mailbox->seams->world, &mailbox->word, word, PL_FOREVER);
    }
}

// ---- one after the other ------------------------------------------------------------------------

// Runs one event, without the lock.
static enum peal_verdict run_one(struct pl_mailbox *mailbox, struct pl_slot *slot,
                                 struct pl_call *call, struct pl_pending *pending)
{
    struct peal_event event;
    pl_hold_view(mailbox, pending, &event);
    call->segment = pending->segment;
    event.delivery = call;
    call->since = mailbox->seams->coarse(mailbox->seams->world);
    return pl_deliver(call, slot, &event);
}

// A loss is told before what comes after it is run.
static bool is_to_be_told(const struct pl_mailbox *mailbox)
{
    return mailbox->mode != PEAL_INLINE &&
           atomic_load_explicit(&mailbox->lost, memory_order_relaxed);
}

// Tells it. With the lock, which is given up meanwhile. False: there is nothing to tell, or nobody.
static bool tell_loss(struct pl_mailbox *mailbox, struct pl_slot *slot)
{
    if (!is_to_be_told(mailbox) || atomic_load_explicit(&mailbox->paused, memory_order_relaxed)) {
        return false;
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    bool told = pl_mailbox_tell_loss(mailbox, slot);
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    return told;
}

// The next event to run and who runs it; NULL: none, or a loss is to be told. With the lock.
static struct pl_pending *next_run(struct pl_mailbox *mailbox, struct peal_subscription **member,
                                   bool *drained)
{
    *drained = false;
    *member = idle_member(mailbox);
    if (!*member) {
        return NULL;
    }
    for (;;) {
        pl_hold_collect_due(mailbox);
        *drained = pl_hold_draw(mailbox);
        if (atomic_load_explicit(&mailbox->paused, memory_order_relaxed) ||
            is_to_be_told(mailbox)) {
            return NULL;
        }
        struct pl_pending *pending = pl_hold_pick(mailbox);
        if (!pending) {
            return NULL;
        }
        if (!pl_hold_die_again(mailbox, pending)) {
            begin_call(mailbox, *member);
            return pending;
        }
    }
}

// One of several workers is about to run a handler, for who knows how long. True: there is more for
// another one to do. If not, the next push and the next timer must fetch one. With the lock.
static bool needs_help(struct pl_mailbox *mailbox, bool drained)
{
    if (mailbox->running_max <= 1) {
        return false;
    }
    if (pl_heap_peek(&mailbox->hold->due)) {
        pl_hold_set_timer(mailbox);
    }
    if (mailbox->hold->ready.count > 0) {
        return true;
    }
    // Not drained: the draw had enough for this worker, or has no room for more.
    return drained ? !pl_mailbox_rest(mailbox)
                   : mailbox->hold->count < mailbox->settings->options.mailbox;
}

static enum pl_run_result run_singly(struct pl_mailbox *mailbox, struct pl_slot *slot,
                                     size_t budget, size_t *done)
{
    const struct pl_seams *seams = mailbox->seams;
    struct pl_call call;
    enum pl_run_result result = PL_RUN_MORE;
    bool careful = false;
    pl_mutex_lock(&mailbox->lock, seams);
    for (size_t i = 0; i < budget && !careful; i++) {
        bool drained;
        struct peal_subscription *member;
        struct pl_pending *pending = next_run(mailbox, &member, &drained);
        if (!pending && tell_loss(mailbox, slot)) {
            continue;
        }
        if (!pending) {
            result = drained ? PL_RUN_DRAINED : PL_RUN_STUCK;
            break;
        }
        bool help = needs_help(mailbox, drained);
        careful = pl_durable_notes(mailbox, pending->position);
        pl_mutex_unlock(&mailbox->lock, seams);
        if (help) {
            pl_runs_notify(mailbox);
        }
        if (careful) {
            (void)pl_durable_note(mailbox); // what cannot be saved was said
        }
        pl_call_start(&call, mailbox, member, pending);
        slot->member = member;
        enum peal_verdict verdict = run_one(mailbox, slot, &call, pending);
        slot->member = NULL;
        ++*done;
        pl_mutex_lock(&mailbox->lock, seams);
        pl_hold_returned(mailbox, pending, &call, verdict);
        end_call(mailbox, member);
    }
    set_timer_after(mailbox);
    pl_mutex_unlock(&mailbox->lock, seams);
    if (careful) {
        (void)pl_durable_note(mailbox); // as above
    }
    return result;
}

// ---- batches ------------------------------------------------------------------------------------

struct batch {
    size_t count;
    struct pl_pending **pendings;
    struct peal_event *events;
    struct pl_call *calls; // one an event: each fails for reasons of its own
    const struct peal_event **views;
    enum peal_verdict *verdicts;
};

// The one behind it in its line, for the same batch.
static struct pl_pending *pick_behind(struct pl_hold *hold, struct pl_pending *pending)
{
    struct pl_pending *next = pending->keyed ? pending->behind : NULL;
    if (!next || next->state != PL_WAITING) {
        return NULL;
    }
    hold->waiting--;
    hold->running++;
    next->state = PL_RUNNING;
    next->attempt++;
    return next;
}

static bool batch_is_due(struct pl_mailbox *mailbox)
{
    struct pl_hold *hold = mailbox->hold;
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    if (hold->ready.count == 0) {
        hold->batch_since = 0;
        return false;
    }
    if (hold->waiting >= options->batch_max || options->batch_wait_ms == 0) {
        return true;
    }
    int64_t now = pl_bus_ticks(mailbox->bus);
    if (hold->batch_since == 0) {
        hold->batch_since = now;
    }
    return now - hold->batch_since >= (int64_t)options->batch_wait_ms * PL_NS_PER_MS;
}

static void fill_batch(struct pl_mailbox *mailbox, struct batch *batch)
{
    size_t most = mailbox->settings->options.batch_max;
    most = pl_durable_is_careful(mailbox) ? 1 : most; // only one may be to blame
    batch->count = 0;
    mailbox->hold->batch_since = 0;
    struct pl_pending *pending;
    // Paused: one that dies found no room among the dead letters, and is ready again.
    while (batch->count < most && !atomic_load_explicit(&mailbox->paused, memory_order_relaxed) &&
           (pending = pl_hold_pick(mailbox)) != NULL) {
        while (pending && batch->count < most) {
            if (pl_hold_die_again(mailbox, pending)) {
                break;
            }
            batch->pendings[batch->count++] = pending;
            pending = batch->count < most ? pick_behind(mailbox->hold, pending) : NULL;
        }
    }
}

static bool allocate_batch(struct pl_mailbox *mailbox, struct batch *batch)
{
    size_t most = mailbox->settings->options.batch_max;
    size_t each = sizeof(struct pl_pending *) + sizeof(struct peal_event) + sizeof(struct pl_call) +
                  sizeof(struct peal_event *) + sizeof(enum peal_verdict);
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    char *memory = mailbox->hold->batch_memory; // of the batch before, unless it is running
    mailbox->hold->batch_memory = NULL;
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (!memory) {
        memory = pl_alloc(mailbox->seams, most * each);
    }
    if (!memory) {
        pl_timer_set(mailbox, pl_bus_ticks(mailbox->bus) + PL_TROUBLE_AFTER);
        return false;
    }
    batch->events = (struct peal_event *)(void *)memory;
    batch->calls = (struct pl_call *)(void *)(batch->events + most);
    batch->pendings = (struct pl_pending **)(void *)(batch->calls + most);
    batch->views = (const struct peal_event **)(batch->pendings + most);
    batch->verdicts = (enum peal_verdict *)(void *)(batch->views + most);
    return true;
}

static void run_one_batch(struct pl_mailbox *mailbox, struct pl_slot *slot,
                          struct peal_subscription *member, struct batch *batch)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    size_t wanted = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct pl_call *call = &batch->calls[i];
        pl_call_start(call, mailbox, member, batch->pendings[i]);
        pl_hold_view(mailbox, batch->pendings[i], &batch->events[i]);
        batch->events[i].delivery = call;
        batch->verdicts[i] = PEAL_DONE;
        if (options->filter && !options->filter(&batch->events[i], options->filter_context)) {
            pl_count_shared(&mailbox->counts.filtered, 1);
            pl_mutex_lock(&mailbox->lock, mailbox->seams);
            pl_hold_returned(mailbox, batch->pendings[i], call, PEAL_DONE);
            pl_mutex_unlock(&mailbox->lock, mailbox->seams);
            continue;
        }
        batch->pendings[wanted] = batch->pendings[i];
        batch->events[wanted] = batch->events[i];
        batch->views[wanted] = &batch->events[wanted];
        wanted++;
    }
    batch->count = wanted;
    if (wanted > 0) {
        pl_deliver_batch(&batch->calls[0], slot, batch->views, wanted, batch->verdicts);
    }
}

static enum pl_run_result run_batches(struct pl_mailbox *mailbox, struct pl_slot *slot,
                                      size_t budget, size_t *done)
{
    const struct pl_seams *seams = mailbox->seams;
    struct batch batch;
    if (!allocate_batch(mailbox, &batch)) {
        return PL_RUN_STUCK;
    }
    enum pl_run_result result = PL_RUN_MORE;
    size_t before = *done;
    bool careful = false;
    pl_mutex_lock(&mailbox->lock, seams);
    while (*done - before < budget && !careful) {
        pl_hold_collect_due(mailbox);
        bool drained = idle_member(mailbox) && pl_hold_draw(mailbox);
        if (tell_loss(mailbox, slot)) {
            continue;
        }
        struct peal_subscription *member = idle_member(mailbox);
        if (!member || atomic_load_explicit(&mailbox->paused, memory_order_relaxed) ||
            !batch_is_due(mailbox)) {
            result = drained ? PL_RUN_DRAINED : PL_RUN_STUCK;
            break;
        }
        fill_batch(mailbox, &batch);
        begin_call(mailbox, member);
        bool help = needs_help(mailbox, drained);
        careful = batch.count > 0 && pl_durable_notes(mailbox, batch.pendings[0]->position);
        pl_mutex_unlock(&mailbox->lock, seams);
        if (help) {
            pl_runs_notify(mailbox);
        }
        if (careful) {
            (void)pl_durable_note(mailbox); // what cannot be saved was said
        }
        *done += batch.count;
        slot->member = member;
        run_one_batch(mailbox, slot, member, &batch);
        slot->member = NULL;
        pl_mutex_lock(&mailbox->lock, seams);
        for (size_t i = 0; i < batch.count; i++) {
            if (batch.verdicts[i] == PEAL_DONE) {
                pl_count_shared(&mailbox->counts.delivered, 1);
            }
            pl_hold_returned(mailbox, batch.pendings[i], batch.events[i].delivery,
                             batch.verdicts[i]);
        }
        end_call(mailbox, member);
    }
    set_timer_after(mailbox);
    void *needless = mailbox->hold->batch_memory;
    mailbox->hold->batch_memory = batch.events; // for the next one
    pl_mutex_unlock(&mailbox->lock, seams);
    pl_release(seams, needless);
    if (careful) {
        (void)pl_durable_note(mailbox); // as above
    }
    return result;
}

enum pl_run_result pl_hold_run(struct pl_mailbox *mailbox, struct pl_slot *slot, size_t budget,
                               size_t *done)
{
    if (mailbox->mode == PEAL_INLINE) {
        return run_singly(mailbox, slot, budget, done);
    }
    return mailbox->settings->options.batch ? run_batches(mailbox, slot, budget, done)
                                            : run_singly(mailbox, slot, budget, done);
}
