// SPDX-License-Identifier: MIT
//
// Settling: who asks for a level gets it here, and what nobody waits for is written by a thread
// that the first such event starts.
#include "log/internal.h"

#include "base/error.h"

#include <string.h>

#define FLUSH_DELAY_NS (80 * PL_NS_PER_MS) // of the 100 ms that PEAL_DURABILITY_MEMORY promises
#define WRITE_DELAY_NS (8 * PL_NS_PER_MS)  // of the 10 ms that others wait for what is handed over

// Events that wait to be written, from which on they are written at once: a quick publisher would
// fill the memory of the log within the delay, and then have to write all of it himself while the
// flusher sleeps.
#define HURRY 16384

static enum peal_err say_unknown(const struct pl_store *store, uint64_t end)
{
    return pl_store_is_unknown(store, end) ? pl_store_say_failed(store) : PEAL_OK;
}

// With the turn: after a failure the store goes on at once, if it does at all, so that only those
// who waited are told of it. Else the sentence stays, which says what has failed.
static void go_on(struct pl_store *store, struct pl_log *log)
{
    if (store->config.go_on && pl_store_has_failed(store)) {
        (void)pl_write_go_on(store, log); // if it cannot, the next one to settle tries again
    }
}

// Who has the turn does it for all that is published, so who waits for it may find it done.
static enum peal_err settle_to(struct pl_store *store, struct pl_log *log,
                               const struct pl_turn_goal *goal,
                               enum peal_err (*write)(struct pl_store *store, struct pl_log *log))
{
    // Acquire: who has been told that an event is safe sees why.
    bool reached = atomic_load_explicit(goal->reached, memory_order_acquire) >= goal->wanted;
    if (reached || !pl_turn_take_unless(&store->writing, store->seams, goal)) {
        return say_unknown(store, goal->wanted);
    }
    reached = atomic_load_explicit(goal->reached, memory_order_relaxed) >= goal->wanted;
    enum peal_err err = reached ? PEAL_OK : write(store, log);
    if (err == PEAL_EIO) {
        go_on(store, log);
    }
    pl_turn_give(&store->writing, store->seams);
    return err ? err : say_unknown(store, goal->wanted);
}

static enum peal_err settle_os(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    struct pl_turn_goal goal = { &store->handed, end };
    return settle_to(store, log, &goal, pl_write_handed);
}

// In the file, and not only handed over.
static enum peal_err settle_written(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    struct pl_turn_goal goal = { &store->written, end };
    return settle_to(store, log, &goal, pl_write_all);
}

static enum peal_err settle_disk(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    enum peal_err err = settle_written(store, log, end);
    if (err) {
        return err;
    }
    err = pl_sync_until(store, end);
    if (err == PEAL_EIO && pl_store_has_failed(store)) {
        pl_turn_take(&store->writing, store->seams);
        go_on(store, log);
        pl_turn_give(&store->writing, store->seams);
    }
    return err ? err : say_unknown(store, end);
}

// ---- the flusher --------------------------------------------------------------------------------

// Takes these from what is wanted. Acquire and release, before we look at what it is about: who
// wants it after this says so again, and what was done before is seen.
static bool take_wanted(struct pl_store *store, unsigned bits)
{
    return atomic_fetch_and_explicit(&store->wanted, ~bits, memory_order_acq_rel) & bits;
}

// A failure is kept, and met by whoever settles or closes. Memory may come back, and room on the
// disk: it is tried again, and meanwhile nobody is told that his events will be written soon.
static void flush(struct pl_store *store)
{
    (void)take_wanted(store, PL_WANTED_FLUSH | PL_WANTED_WRITE);
    enum peal_err err = settle_written(store, store->flushed, pl_log_end(store->flushed));
    bool again = err && !pl_store_has_failed(store);
    // Relaxed: a hint, and who does not see it yet is as if he had come a moment before.
    atomic_store_explicit(&store->stuck, again, memory_order_relaxed);
    if (again) {
        atomic_fetch_or(&store->wanted, PL_WANTED_FLUSH);
    }
}

// When to flush, if not earlier.
static int64_t due_of(unsigned wanted, int64_t now)
{
    if (wanted & PL_WANTED_WRITE) {
        return now + WRITE_DELAY_NS;
    }
    return wanted & PL_WANTED_FLUSH ? now + FLUSH_DELAY_NS : PL_FOREVER;
}

// For those who do not wait themselves.
static void settle_for(struct pl_store *store, struct pl_log *log)
{
    enum peal_err err = settle_disk(store, log, pl_log_end(log));
    if (store->config.settled) {
        store->config.settled(store->config.settled_context, err);
    }
}

static void run_flusher(void *context)
{
    struct pl_store *store = context;
    const struct pl_seams *seams = store->seams;
    int64_t due = PL_FOREVER; // to flush
    for (;;) {
        unsigned wanted = atomic_load_explicit(&store->wanted, memory_order_acquire);
        int64_t now = seams->monotonic(seams->world);
        if (wanted & PL_WANTED_END) {
            return;
        }
        if (now >= due) {
            flush(store);
            due = PL_FOREVER;
        } else if (take_wanted(store, PL_WANTED_DISK)) {
            settle_for(store, store->flushed);
        } else if (take_wanted(store, PL_WANTED_SYNC)) {
            (void)pl_sync_sealed(store); // as with flushing
        } else if (take_wanted(store, PL_WANTED_RESERVE)) {
            pl_reserve_make(store);
        } else if (wanted & PL_WANTED_FLUSH && take_wanted(store, PL_WANTED_HURRY)) {
            due = now; // last, so that a quick publisher keeps nobody else waiting
        } else {
            due = due_of(wanted, now) < due ? due_of(wanted, now) : due;
            seams->wait(seams->world, &store->wanted, wanted, due);
        }
    }
}

static enum peal_err start_flusher(struct pl_store *store, struct pl_log *log)
{
    if (store->config.no_thread) {
        return PEAL_EUNSUPPORTED;
    }
    pl_mutex_lock(&store->starting, store->seams);
    enum peal_err err = PEAL_OK;
    if (!store->flushed) {
        store->flushed = log;
        err = store->seams->start(store->seams->world, &store->flusher, run_flusher, store);
        store->flushed = err ? NULL : log;
    }
    pl_mutex_unlock(&store->starting, store->seams);
    return err;
}

void pl_flusher_ask(struct pl_store *store, struct pl_log *log, unsigned wanted)
{
    if (!start_flusher(store, log)) {
        atomic_fetch_or(&store->wanted, wanted);
        store->seams->wake(store->seams->world, &store->wanted, 1);
    }
}

bool pl_flusher_writes_soon(struct pl_store *store, struct pl_log *log)
{
    // Sequentially consistent: the flusher takes the bit before it takes the turn, which is ours.
    if (atomic_load_explicit(&store->wanted, memory_order_seq_cst) & PL_WANTED_WRITE) {
        return true;
    }
    if (start_flusher(store, log)) {
        return false;
    }
    atomic_fetch_or(&store->wanted, PL_WANTED_WRITE);
    store->seams->wake(store->seams->world, &store->wanted, 1);
    return true;
}

// The flusher has been told that it has time. Is that still so?
static void hurry(struct pl_store *store, unsigned wanted, uint64_t end)
{
    // Relaxed: a hint, and the next event looks again.
    uint64_t written = atomic_load_explicit(&store->written, memory_order_relaxed);
    if (__builtin_expect(end >= written + HURRY && !(wanted & PL_WANTED_HURRY), 0) &&
        !(atomic_fetch_or(&store->wanted, PL_WANTED_HURRY) & PL_WANTED_HURRY)) {
        store->seams->wake(store->seams->world, &store->wanted, 1);
    }
}

// Once in a while costs a wake, otherwise a look.
static enum peal_err settle_memory(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    if (pl_store_has_failed(store)) {
        return store->config.go_on ? settle_os(store, log, end) : pl_store_say_failed(store);
    }
    if (__builtin_expect(atomic_load_explicit(&store->stuck, memory_order_relaxed), 0)) {
        return settle_written(store, log, end); // or the sentence that says why not
    }
    // Sequentially consistent: the flusher takes the bit before it looks at the log's end, which
    // was stored before this looks at it.
    unsigned wanted = atomic_load_explicit(&store->wanted, memory_order_seq_cst);
    if (wanted & PL_WANTED_FLUSH) {
        hurry(store, wanted, end);
        return PEAL_OK;
    }
    if (start_flusher(store, log)) {
        return settle_os(store, log, end); // without a thread we do it ourselves
    }
    if (!(atomic_fetch_or(&store->wanted, PL_WANTED_FLUSH) & PL_WANTED_FLUSH)) {
        store->seams->wake(store->seams->world, &store->wanted, 1);
    }
    return PEAL_OK;
}

static void end_flusher(struct pl_store *store)
{
    if (store->flusher) {
        atomic_fetch_or(&store->wanted, PL_WANTED_END);
        store->seams->wake(store->seams->world, &store->wanted, 1);
        store->seams->join(store->seams->world, store->flusher);
        store->flusher = NULL;
    }
}

enum peal_err pl_store_write(struct pl_store *store, struct pl_log *log)
{
    return settle_written(store, log, pl_log_end(log));
}

void pl_store_wipe(struct pl_store *store)
{
    pl_turn_take(&store->writing, store->seams);
    memset(store->buffer + store->buffered, 0, PL_STORE_BUFFER - store->buffered);
    pl_turn_give(&store->writing, store->seams);
}

void pl_store_settle_soon(struct pl_store *store, struct pl_log *log)
{
    if (start_flusher(store, log)) {
        settle_for(store, log);
    } else if (!(atomic_fetch_or(&store->wanted, PL_WANTED_DISK) & PL_WANTED_DISK)) {
        store->seams->wake(store->seams->world, &store->wanted, 1);
    }
}

enum peal_err pl_store_settle(struct pl_store *store, struct pl_log *log, uint64_t end,
                              enum peal_durability level)
{
    if (store->config.read_only) {
        return pl_fail(PEAL_ESTATE, "%s: is open to be read only", store->path);
    }
    switch (level) {
    case PEAL_DURABILITY_MEMORY:
        return settle_memory(store, log, end);
    case PEAL_DURABILITY_DISK:
        return settle_disk(store, log, end);
    default:
        return settle_os(store, log, end);
    }
}

// ---- closing ------------------------------------------------------------------------------------

// A last note: what is damaged from now on was once whole; then the end. If that fails, the next
// opening does without.
static void tidy_up(struct pl_store *store)
{
    if (!pl_write_end(store)) {
        (void)store->files->sync(store->files->world, store->file.file); // as said
    }
}

enum peal_err pl_store_finish(struct pl_store *store, struct pl_log *log)
{
    end_flusher(store);
    pl_reserve_clear(store);
    if (pl_store_has_failed(store)) {
        return pl_store_say_failed(store);
    }
    enum peal_err err = log ? settle_disk(store, log, pl_log_end(log)) : PEAL_OK;
    if (!err) {
        tidy_up(store);
    }
    if (take_wanted(store, PL_WANTED_DISK) && store->config.settled) {
        store->config.settled(store->config.settled_context, err);
    }
    return err;
}
