// SPDX-License-Identifier: MIT
//
// Workers: threads that run mailboxes; and timers, which they look at on the way.
//
// A mailbox that has work stands in the run queue once. A worker takes it, runs a share of it, and
// puts it back if there is more. When it is drained and nobody else waits, the worker stays with it
// and spins for a while: in a stream of events the next one is there within microseconds, and
// waking a parked thread costs 35. Only then it makes the mailbox rest, and sleeps.
//
// How long it spins follows success: doubled when something came, halved when not. So a bus that is
// idle, or gets an event a second, spins next to nothing, and a busy one does not sleep.
//
// Spinning is for a CPU that nobody else wants. A worker that finds its CPU taken away in the
// middle of it, as the clock has gone on without it, spins for a microsecond at most for a while:
// else it would take from the publisher, and from those the handlers are for, what they need to go
// on.
//
// Sleepers wait on runs.signal. One of them, at a time, waits only until the next timer.
//
// What must stay true: between a mailbox's rest (with the turn) and its next push nobody need look
// at it; the push that finds it resting notifies. `running` and `queued` change with runs.lock
// only.
#include "bus/schedule.h"

#include "base/error.h"

#include <string.h>

// Deliveries of one mailbox before another gets its turn.
#define BUDGET 256

// How long a drained mailbox is looked at before giving up, ns; the clock is looked at once in so
// many looks, of some 20 to 150 ns each.
#define SPIN_MIN   1000
#define SPIN_MAX   40000
#define SPIN_LOOKS 8

// If the clock goes on by so much between two looks at it, somebody else had the CPU. For so long
// after that it spins as little as it can.
#define SPIN_AWAY    30000
#define SPIN_CROWDED (100 * PL_NS_PER_MS)

// A reader on the publisher's heels takes every cache line from it while it is being written, and
// both lose. So in a stream a drained worker pauses before it looks again, twice as long each time,
// up to some five microseconds; and then it stays so many events behind (keep_distance).
#define LAG_MAX  511
#define DISTANCE 16

// ---- the run queue ------------------------------------------------------------------------------

static void enqueue(struct pl_runs *runs, struct pl_mailbox *mailbox)
{
    mailbox->queued = true;
    pl_list_add_tail(&runs->queue, &mailbox->run_link);
    atomic_fetch_add_explicit(&runs->length, 1, memory_order_release);
}

// Something for sleepers to look at.
static void wake_sleeper(struct peal_bus *bus)
{
    atomic_fetch_add_explicit(&bus->runs.signal, 1, memory_order_release);
    bus->seams->wake(bus->seams->world, &bus->runs.signal, 1);
}

void pl_runs_pass_on(struct peal_bus *bus)
{
    if (atomic_load_explicit(&bus->runs.length, memory_order_acquire) > 0) {
        wake_sleeper(bus);
    }
}

void pl_runs_notify(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    struct pl_runs *runs = &bus->runs;
    if (mailbox->mode == PEAL_PULL) {
        atomic_fetch_add_explicit(&mailbox->word, 1, memory_order_release);
        bus->seams->wake(bus->seams->world, &mailbox->word, UINT32_MAX);
        return;
    }
    bool wake = false;
    pl_mutex_lock(&runs->lock, bus->seams);
    if (mailbox->queued || mailbox->forgotten) {
        // It will be run, or never again: enough.
    } else if (mailbox->running >= mailbox->running_max) {
        mailbox->wanted = true;
    } else {
        enqueue(runs, mailbox);
        wake = runs->sleeping > 0;
    }
    pl_mutex_unlock(&runs->lock, bus->seams);
    if (wake) {
        wake_sleeper(bus);
    }
    if (bus->workers < 0) {
        pl_poll_signal(bus);
    }
}

static struct pl_mailbox *take_run(struct peal_bus *bus)
{
    struct pl_runs *runs = &bus->runs;
    if (atomic_load_explicit(&runs->length, memory_order_acquire) == 0) {
        return NULL;
    }
    pl_mutex_lock(&runs->lock, bus->seams);
    struct pl_list *link = pl_list_pop_head(&runs->queue);
    struct pl_mailbox *mailbox = NULL;
    if (link) {
        mailbox = pl_container_of(link, struct pl_mailbox, run_link);
        mailbox->queued = false;
        mailbox->running++;
        runs->running++;
        atomic_fetch_sub_explicit(&runs->length, 1, memory_order_relaxed);
    }
    pl_mutex_unlock(&runs->lock, bus->seams);
    return mailbox;
}

// This thread has run a mailbox; there is `more`. True: it is to run it again at once, which
// happens only if it may `stay`.
static bool end_run(struct pl_mailbox *mailbox, bool more, bool stay)
{
    struct peal_bus *bus = mailbox->bus;
    struct pl_runs *runs = &bus->runs;
    pl_mutex_lock(&runs->lock, bus->seams);
    bool gone = mailbox->forgotten;
    bool again = mailbox->wanted && !gone && stay;
    more = (more || mailbox->wanted) && !gone && !again;
    mailbox->wanted = false;
    if (!again) {
        mailbox->running--;
        runs->running--;
        if (more && !mailbox->queued) {
            enqueue(runs, mailbox);
        }
    }
    bool free_it = gone && mailbox->running == 0 && mailbox->orphan;
    if (gone) {
        atomic_fetch_add_explicit(&mailbox->word, 1, memory_order_release);
        // Before the lock is let go: after it, who waits may free the mailbox.
        bus->seams->wake(bus->seams->world, &mailbox->word, UINT32_MAX);
    }
    pl_mutex_unlock(&runs->lock, bus->seams);
    if (free_it) {
        pl_mailbox_end(mailbox);
        pl_mailbox_unref(mailbox);
    }
    return again;
}

void pl_runs_forget(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    pl_mutex_lock(&bus->runs.lock, bus->seams);
    mailbox->forgotten = true;
    if (mailbox->queued) {
        mailbox->queued = false;
        pl_list_remove(&mailbox->run_link);
        atomic_fetch_sub_explicit(&bus->runs.length, 1, memory_order_relaxed);
    }
    pl_mutex_unlock(&bus->runs.lock, bus->seams);
    pl_mutex_lock(&bus->timers.lock, bus->seams);
    mailbox->timeless = true;
    pl_heap_remove(&bus->timers.heap, &mailbox->timer);
    pl_mutex_unlock(&bus->timers.lock, bus->seams);
}

static bool runs(const struct pl_slot *slot, const void *target)
{
    bool found = slot->member == target || pl_route_may_run(slot, target);
    for (unsigned i = 0; i < slot->handling && i < PL_DEPTH_MAX; i++) {
        found = found || slot->running[i] == target;
    }
    return found;
}

// Would `who`, waiting for the target, wait for `me`? Of a slot that waits all is as it was when it
// began to, under runs.lock. Those that wait never form a ring, because whoever would close it does
// not wait: so this ends.
static bool leads_to(struct peal_bus *bus, const struct pl_slot *who, const void *target,
                     const struct pl_slot *me)
{
    for (const struct pl_slot *slot = pl_slots(bus); slot; slot = slot->next) {
        if (slot != who && slot != me && slot->awaited && runs(slot, target) &&
            (runs(me, slot->awaited) || leads_to(bus, slot, slot->awaited, me))) {
            return true;
        }
    }
    return false;
}

bool pl_runs_may_wait(struct peal_bus *bus, const void *target, struct pl_slot *me)
{
    if (!me || (me->handling == 0 && me->depth == 0)) {
        return true; // nobody waits for it
    }
    bool may = !leads_to(bus, me, target, me);
    me->awaited = may ? target : NULL;
    return may;
}

void pl_runs_wait_gone(struct pl_mailbox *mailbox, struct pl_slot *me)
{
    struct peal_bus *bus = mailbox->bus;
    uint16_t mine = 0;
    for (unsigned i = 0; me && i < me->handling && i < PL_DEPTH_MAX; i++) {
        mine = (uint16_t)(mine + (me->running[i] == mailbox));
    }
    for (;;) {
        unsigned word = atomic_load_explicit(&mailbox->word, memory_order_acquire);
        pl_mutex_lock(&bus->runs.lock, bus->seams);
        // Inside its own handler it does not wait for the others of several either.
        bool gone = mailbox->running <= mine || mine > 0 || !pl_runs_may_wait(bus, mailbox, me);
        if (gone && me) {
            me->awaited = NULL;
        }
        if (gone && mailbox->running > 0) {
            mailbox->orphan = true; // its last run frees it
            pl_mailbox_ref(mailbox);
        }
        pl_mutex_unlock(&bus->runs.lock, bus->seams);
        if (gone) {
            return;
        }
        bus->seams->wait(bus->seams->world, &mailbox->word, word, PL_FOREVER);
    }
}

// ---- timers -------------------------------------------------------------------------------------

// Notes what is due first now, for those who sleep or poll. With timers.lock, which it gives back.
static void tell_earliest(struct peal_bus *bus)
{
    struct pl_timers *timers = &bus->timers;
    const struct pl_heap_node *first = pl_heap_peek(&timers->heap);
    int64_t earliest = first ? first->key : PL_FOREVER;
    int64_t before = atomic_exchange_explicit(&timers->earliest, earliest, memory_order_release);
    pl_mutex_unlock(&timers->lock, bus->seams);
    if (earliest < before) {
        wake_sleeper(bus); // whoever wakes looks at the timers before it sleeps again
    }
    if (earliest != before && bus->workers < 0) {
        pl_poll_timer(bus);
    }
}

void pl_timer_set(struct pl_mailbox *mailbox, int64_t when)
{
    struct peal_bus *bus = mailbox->bus;
    struct pl_timers *timers = &bus->timers;
    pl_mutex_lock(&timers->lock, bus->seams);
    if (!pl_heap_contains(&mailbox->timer) ? when == PL_FOREVER : mailbox->timer.key == when) {
        pl_mutex_unlock(&timers->lock, bus->seams);
        return;
    }
    pl_heap_remove(&timers->heap, &mailbox->timer);
    if (when != PL_FOREVER && !mailbox->timeless) {
        // Cannot fail: there is room for every mailbox there is.
        (void)pl_heap_insert(&timers->heap, &mailbox->timer, when, mailbox->serial);
    }
    tell_earliest(bus);
}

void pl_timer_lower(struct peal_bus *bus, int64_t when)
{
    struct pl_timers *timers = &bus->timers;
    struct pl_heap_node *node = &bus->schedule.timer;
    pl_mutex_lock(&timers->lock, bus->seams);
    if (pl_heap_contains(node) && node->key <= when) {
        pl_mutex_unlock(&timers->lock, bus->seams);
        return;
    }
    pl_heap_remove(&timers->heap, node);
    // Cannot fail: there is room for it since the bus was opened.
    (void)pl_heap_insert(&timers->heap, node, when, 0);
    tell_earliest(bus);
}

void pl_runs_look_again(struct peal_bus *bus)
{
    wake_sleeper(bus);
    if (bus->workers < 0) {
        pl_poll_timer(bus);
    }
}

int64_t pl_bus_next_timer(struct peal_bus *bus)
{
    int64_t save = atomic_load_explicit(&bus->saving.due, memory_order_relaxed);
    int64_t timer = atomic_load_explicit(&bus->timers.earliest, memory_order_acquire);
    return save < timer ? save : timer;
}

static void fire_mailbox(struct pl_mailbox *mailbox)
{
    if (mailbox->mode == PEAL_PULL) {
        pl_hold_tick(mailbox);
    }
    pl_runs_notify(mailbox);
    pl_mailbox_unref(mailbox);
}

// Saves what is to be saved, notifies the mailboxes whose time has come, and publishes the events
// whose time has.
static void fire_timers(struct peal_bus *bus)
{
    struct pl_timers *timers = &bus->timers;
    if (pl_bus_next_timer(bus) == PL_FOREVER || pl_bus_next_timer(bus) > pl_bus_ticks(bus)) {
        return;
    }
    pl_durable_fire(bus);
    for (;;) {
        pl_mutex_lock(&timers->lock, bus->seams);
        struct pl_heap_node *node = pl_heap_peek(&timers->heap);
        struct pl_mailbox *mailbox = NULL;
        bool due = node && node->key <= pl_bus_ticks(bus);
        bool scheduled = node == &bus->schedule.timer;
        if (due) {
            (void)pl_heap_pop(&timers->heap);
            mailbox = scheduled ? NULL : pl_container_of(node, struct pl_mailbox, timer);
            node = pl_heap_peek(&timers->heap);
        }
        if (mailbox) {
            pl_mailbox_ref(mailbox);
        }
        atomic_store_explicit(&timers->earliest, node ? node->key : PL_FOREVER,
                              memory_order_release);
        pl_mutex_unlock(&timers->lock, bus->seams);
        if (!due) {
            return;
        }
        if (mailbox) {
            fire_mailbox(mailbox);
        } else {
            pl_schedule_run(bus);
        }
    }
}

// ---- a worker -----------------------------------------------------------------------------------

struct worker {
    struct peal_bus *bus;
    struct pl_slot *slot;
    unsigned spin;         // ns before giving up
    unsigned lag;          // pauses before the first look
    int64_t crowded_until; // others want its CPU
};

static bool stopping(struct peal_bus *bus)
{
    return atomic_load_explicit(&bus->runs.stopping, memory_order_acquire);
}

// So many came, and at the first look. Several, and the more the longer we waited: it is a stream;
// fall a little further behind. One at a time has somebody waiting for it.
static void adapt(struct worker *worker, struct pl_intake *in, uint64_t news, bool first)
{
    worker->spin = worker->spin < SPIN_MAX ? worker->spin * 2 : SPIN_MAX;
    if (first && news >= 2 + worker->lag / 32) {
        worker->lag = worker->lag < LAG_MAX ? worker->lag * 2 + 1 : LAG_MAX;
    } else {
        worker->lag /= 2;
    }
    // Relaxed: several workers may run it, and any of their opinions will do.
    atomic_store_explicit(&in->distance, worker->lag == LAG_MAX ? DISTANCE : 0,
                          memory_order_relaxed);
}

// Between two looks at the clock: was somebody else on this CPU? Returns the time.
static int64_t look_at_clock(struct worker *worker, int64_t before)
{
    int64_t now = pl_bus_ticks(worker->bus);
    if (before && now - before > SPIN_AWAY) {
        worker->crowded_until = now + SPIN_CROWDED;
    }
    return now;
}

// Waits a moment for something to come to a drained mailbox. True: something has.
static bool spin(struct worker *worker, struct pl_intake *in)
{
    struct peal_bus *bus = worker->bus;
    if (bus->seams->point || !in) { // nothing comes to an inline one
        return false;
    }
    for (unsigned i = 0; i < worker->lag; i++) {
        pl_relax();
    }
    int64_t until = 0, now = 0;
    for (unsigned i = 0; now <= until; i++) {
        uint64_t news = pl_intake_news(in);
        if (news > 0) {
            adapt(worker, in, news, i == 0);
            return true;
        }
        if (atomic_load_explicit(&bus->runs.length, memory_order_relaxed) > 0) {
            return false; // others have work; this one may rest
        }
        for (unsigned j = 0; j < 4; j++) {
            pl_relax();
        }
        if (i % SPIN_LOOKS == SPIN_LOOKS - 1) {
            now = look_at_clock(worker, now);
            bool crowded = now < worker->crowded_until;
            until = until ? until : now + (crowded ? SPIN_MIN : worker->spin);
            until = crowded && until > now + SPIN_MIN ? now + SPIN_MIN : until;
        }
    }
    worker->spin = worker->spin > SPIN_MIN ? worker->spin / 2 : SPIN_MIN;
    return false;
}

// Runs a mailbox until it is drained, stuck, or others have waited long enough.
static void run_mailbox(struct worker *worker, struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = worker->bus;
    bool more;
    do {
        more = false;
        for (;;) {
            size_t done = 0;
            enum pl_run_result result = pl_mailbox_run(mailbox, worker->slot, BUDGET, &done);
            pl_space_check(bus);
            fire_timers(bus);
            if (result == PL_RUN_STUCK || (result == PL_RUN_DRAINED && !spin(worker, mailbox->in) &&
                                           pl_mailbox_rest_shared(mailbox))) {
                break;
            }
            if (atomic_load_explicit(&bus->runs.length, memory_order_relaxed) > 0 ||
                stopping(bus)) {
                more = true; // others have waited; or the time to drain is over
                break;
            }
        }
    } while (end_run(mailbox, more, !stopping(bus)));
    pl_space_check(bus); // its rest may have been what a publisher waits for
}

void pl_runs_park(struct peal_bus *bus, int64_t deadline)
{
    struct pl_runs *runs = &bus->runs;
    unsigned signal = atomic_load_explicit(&runs->signal, memory_order_acquire);
    pl_mutex_lock(&runs->lock, bus->seams);
    bool work = !pl_list_empty(&runs->queue) || stopping(bus);
    int64_t timer = pl_bus_next_timer(bus);
    bool keeps_time = !work && timer < runs->sleep_until;
    if (keeps_time) {
        runs->sleep_until = timer;
    }
    runs->sleeping += !work;
    pl_mutex_unlock(&runs->lock, bus->seams);
    if (work) {
        return;
    }
    pl_count_shared(&bus->parks, 1);
    int64_t until = keeps_time && timer < deadline ? timer : deadline;
    bus->seams->wait(bus->seams->world, &runs->signal, signal, until);
    pl_mutex_lock(&runs->lock, bus->seams);
    runs->sleeping--;
    bool hand_over = keeps_time && runs->sleeping > 0;
    if (keeps_time) {
        runs->sleep_until = PL_FOREVER;
    }
    pl_mutex_unlock(&runs->lock, bus->seams);
    if (hand_over && pl_bus_next_timer(bus) != PL_FOREVER) {
        wake_sleeper(bus); // who has kept the time may be off to a long handler
    }
}

static void worker_main(void *context)
{
    struct worker worker = { .bus = context, .spin = SPIN_MIN };
    struct peal_bus *bus = worker.bus;
    worker.slot = pl_slot_mine(bus);
    while (!stopping(bus)) {
        fire_timers(bus);
        struct pl_mailbox *mailbox = worker.slot ? take_run(bus) : NULL;
        if (mailbox) {
            run_mailbox(&worker, mailbox);
        } else {
            pl_runs_park(bus, PL_FOREVER);
        }
        if (!worker.slot) {
            worker.slot = pl_slot_mine(bus); // there was no memory; perhaps there is now
        }
    }
}

enum peal_err pl_workers_start(struct peal_bus *bus)
{
    if (bus->workers <= 0) {
        return PEAL_OK;
    }
    const struct pl_seams *seams = bus->seams;
    bus->threads = pl_new(seams, (size_t)bus->workers * sizeof(struct pl_thread *));
    if (!bus->threads) {
        return pl_fail(PEAL_ENOMEM, "no memory for %d workers", bus->workers);
    }
    for (int i = 0; i < bus->workers; i++) {
        enum peal_err err = seams->start(seams->world, &bus->threads[i], worker_main, bus);
        if (err) {
            return err;
        }
    }
    return PEAL_OK;
}

// Threads of the user that drive a bus without workers: each leaves after the handler that runs
// now. Nobody says so: it looks each millisecond.
static void wait_for_drivers(struct peal_bus *bus)
{
    const struct pl_seams *seams = bus->seams;
    for (;;) {
        pl_mutex_lock(&bus->runs.lock, seams);
        bool any = bus->runs.running > 0;
        pl_mutex_unlock(&bus->runs.lock, seams);
        if (!any) {
            return;
        }
        atomic_uint never = 0;
        seams->wait(seams->world, &never, 0, pl_bus_ticks(bus) + PL_NS_PER_MS);
    }
}

void pl_workers_stop(struct peal_bus *bus)
{
    const struct pl_seams *seams = bus->seams;
    pl_mutex_lock(&bus->runs.lock, seams);
    atomic_store_explicit(&bus->runs.stopping, true, memory_order_release);
    pl_mutex_unlock(&bus->runs.lock, seams);
    atomic_fetch_add_explicit(&bus->runs.signal, 1, memory_order_release);
    seams->wake(seams->world, &bus->runs.signal, UINT32_MAX);
    for (int i = 0; bus->threads && i < bus->workers; i++) {
        if (bus->threads[i]) {
            seams->join(seams->world, bus->threads[i]);
        }
    }
    pl_release(seams, bus->threads);
    bus->threads = NULL;
    wait_for_drivers(bus);
}

// ---- without workers ----------------------------------------------------------------------------

size_t pl_runs_dispatch(struct peal_bus *bus, struct pl_slot *slot, size_t budget)
{
    size_t done = 0;
    struct pl_mailbox *mailbox;
    fire_timers(bus);
    while ((budget == 0 || done < budget) && !stopping(bus) && (mailbox = take_run(bus)) != NULL) {
        size_t share = budget && budget - done < BUDGET ? budget - done : BUDGET;
        enum pl_run_result result = pl_mailbox_run(mailbox, slot, share, &done);
        bool more =
            result == PL_RUN_MORE || (result == PL_RUN_DRAINED && !pl_mailbox_rest_shared(mailbox));
        (void)end_run(mailbox, more, false); // never stays: the budget may be spent
        pl_space_check(bus);
        fire_timers(bus);
    }
    return done;
}
