// SPDX-License-Identifier: MIT
// ctest: timeout=900
//
// The store on a disk that loses power, everywhere. A seed makes a workload: single events,
// batches, large data, settling at every level, full files, closing and opening, what the flusher
// does, and a process that reads beside. It is run once to count its I/O calls, then once for each
// of them: there the disk stops, and the process or the power is gone. The store is opened again,
// stopped again while it recovers, opened once more, checked, used, stopped without warning, and
// checked again.
//
// The model is kept apart: what was published, and how much of it the store has said is safe. It
// asks that everything acknowledged is there, once, unchanged and in order; that nothing is there
// which nobody published; that no batch is there in part.
//
// support/sweep.h says how many seeds are run, and how to run more.
#include "support/shelf.h"

#include <errno.h>

#include "log/internal.h"
#include "support/sweep.h"

#define SEEDS      1200
#define OPS        24
#define EVENTS_MAX 4096

struct published {
    uint64_t life;
    uint32_t size;
    bool more;    // the batch goes on
    bool perhaps; // nobody knows whether it is there: a failure came over it
};

struct model {
    struct published events[EVENTS_MAX]; // by position
    uint64_t end;                        // what is published, or was
    uint64_t os, disk;                   // acknowledged as; positions below are safe
    uint64_t first, forgotten;           // what is there for sure begins; what may be
};

struct sim {
    struct shelf shelf;
    struct model model;
    uint64_t chance;
    uint64_t states; // crashes so far, over all runs
    size_t size;     // of every event; 0: any. What was torn may then fit what is written anew
    bool archives;   // it archives, now and then
    bool stopped;    // a call has failed for good
    bool hands;      // what is settled at `os` is handed over
    struct pl_store *reader; // another process; NULL: there is none
    uint64_t seen;           // how far it has seen the log
};

static uint64_t draw(struct sim *sim, uint64_t below)
{
    return failing_random(&sim->chance) % below;
}

// ---- checking -----------------------------------------------------------------------------------

static void meet(void *context, const struct pl_frame *frame)
{
    struct sim *sim = context;
    assert_true(frame->position < sim->model.end);
    const struct published *event = &sim->model.events[frame->position];
    shelf_check(frame, event->size, event->life, NULL);
    assert_int_equal((frame->flags & PL_FLAG_MORE) != 0, event->more);
}

static uint64_t count_perhaps(const struct model *model, uint64_t position, uint64_t end)
{
    uint64_t count = 0;
    for (; position < end; position++) {
        count += model->events[position].perhaps;
    }
    return count;
}

// A failure came: who waited for what is not durable is told that it is unknown.
static void become_unknown(struct sim *sim)
{
    struct model *model = &sim->model;
    for (uint64_t i = model->disk; i < model->end && sim->shelf.config.go_on; i++) {
        model->events[i].perhaps = true;
    }
}

// Any one event can be had. Reading fails where the disk stops.
static void check_one(struct sim *sim, uint64_t end)
{
    static _Alignas(8) char room[512 << 10];
    uint64_t first = pl_store_first(sim->shelf.store);
    first = sim->model.forgotten > first ? sim->model.forgotten : first;
    if (first >= end) {
        return;
    }
    uint64_t position = first + draw(sim, end - first);
    const struct pl_frame *frame = NULL;
    size_t size = sizeof room;
    enum peal_err err = pl_store_get(&frame, sim->shelf.store, position, room, &size);
    assert_true(err == PEAL_OK || err == PEAL_EIO);
    if (!err) {
        assert_true(frame || sim->model.events[position].perhaps);
    }
    if (!err && frame) {
        assert_int_equal(frame->position, position);
        meet(sim, frame);
    }
}

// The store has just been opened. False: reading has failed, as the disk stops.
static bool check_recovered(struct sim *sim)
{
    struct model *model = &sim->model;
    const struct pl_recovery *recovery = pl_store_recovery(sim->shelf.store);
    uint64_t end = pl_store_end(sim->shelf.store);
    assert_in_range(end, model->os, model->end);
    assert_int_equal(recovery->damaged, 0);
    uint64_t first = pl_store_first(sim->shelf.store);
    assert_true(recovery->headers == 0 || first < model->forgotten); // half removed
    while (model->forgotten < first && model->events[model->forgotten].perhaps) {
        model->forgotten++;
    }
    assert_in_range(first, model->first, model->forgotten);
    model->first = first;
    uint64_t count = 0;
    enum peal_err err = shelf_try_walk(&sim->shelf, 1, meet, sim, &count);
    uint64_t sure = model->forgotten > first ? model->forgotten : first; // below, files may be cut
    sure = sure < end ? sure : end;
    uint64_t perhaps = count_perhaps(model, sure, end);
    assert_true((count >= end - sure - perhaps && count <= end - first) || err == PEAL_EIO);
    assert_false(end > 1 && model->events[end - 1].more);
    check_one(sim, end);
    model->end = end;
    model->os = end;
    assert_true(pl_store_durable(sim->shelf.store) <= end);
    model->disk = pl_store_durable(sim->shelf.store); // it says so
    return err == PEAL_OK;
}

// ---- working ------------------------------------------------------------------------------------

static bool publish(struct sim *sim, size_t size, bool more)
{
    struct model *model = &sim->model;
    assert_int_equal(shelf_try(&sim->shelf, size, more), PEAL_OK);
    uint64_t position = pl_segment_end(sim->shelf.ledger.log.tail) - 1;
    assert_true(position + 1 < EVENTS_MAX);
    model->events[position] = (struct published){ sim->shelf.life, (uint32_t)size, more, false };
    if (!more) {
        shelf_publish(&sim->shelf);
        model->end = position + 1;
    }
    return true;
}

static size_t draw_size(struct sim *sim)
{
    if (sim->size > 0) {
        return sim->size;
    }
    switch (draw(sim, 32)) {
    case 0:
        return draw(sim, 30000);
    case 1:
        return 5000 + draw(sim, 4000);
    default:
        return draw(sim, 500);
    }
}

static void batch(struct sim *sim)
{
    bool huge = draw(sim, 12) == 0; // it does not fit the store's buffer
    uint64_t count = huge ? 4 : 2 + draw(sim, draw(sim, 8) ? 8 : 60);
    for (uint64_t i = 1; i <= count; i++) {
        (void)publish(sim, huge ? 100000 : draw_size(sim), i < count);
    }
}

static void settle(struct sim *sim, enum peal_durability level)
{
    struct model *model = &sim->model;
    enum peal_err err = shelf_settle(&sim->shelf, level);
    sim->stopped = sim->stopped || err;
    if (err) {
        become_unknown(sim);
    }
    if (!err && level >= PEAL_DURABILITY_OS) {
        model->os = model->end;
    }
    if (!err && level == PEAL_DURABILITY_DISK) {
        model->disk = model->end;
        assert_true(pl_store_durable(sim->shelf.store) >= model->end);
    }
    // What the getters say is a promise, too.
    uint64_t handed = pl_store_handed(sim->shelf.store);
    uint64_t written = pl_store_written(sim->shelf.store);
    uint64_t durable = pl_store_durable(sim->shelf.store);
    assert_true(durable <= written && written <= handed && handed <= model->end);
    model->os = handed > model->os ? handed : model->os;
    model->disk = durable > model->disk ? durable : model->disk;
}

static bool reopen(struct sim *sim)
{
    if (shelf_close(&sim->shelf)) {
        become_unknown(sim);
        return false;
    }
    sim->model.os = sim->model.end;
    sim->model.disk = sim->model.end;
    if (shelf_open(&sim->shelf)) {
        return false;
    }
    return check_recovered(sim);
}

// ---- a process that reads -----------------------------------------------------------------------

static void end_reader(struct sim *sim)
{
    assert_int_equal(pl_store_close(sim->reader, NULL), PEAL_OK);
    sim->reader = NULL;
}

// What it has not seen yet. It may fail while the disk does.
static void read_on(struct sim *sim)
{
    uint64_t written = pl_store_written(sim->reader);
    assert_in_range(written, sim->seen, sim->model.end);
    while (sim->seen < written) {
        struct pl_segment *segment = NULL;
        if (pl_store_read(&segment, sim->reader, sim->shelf.ledger.log.budget, sim->seen)) {
            return;
        }
        // What a failed sync has lost is a hole, and what was forgotten.
        uint64_t next = segment ? segment->first : written;
        uint64_t missing = next - sim->seen;
        assert_true(missing == 0 || sim->stopped || next <= sim->model.forgotten ||
                    count_perhaps(&sim->model, sim->seen, next) == missing);
        if (!segment) {
            return;
        }
        sim->seen = segment->first;
        for (; pl_segment_has(segment, sim->seen); sim->seen++) {
            meet(sim, pl_segment_frame(segment, sim->seen));
        }
        pl_segment_unref(segment);
    }
    assert_false(written > 1 && sim->model.events[written - 1].more);
}

static void look_on(struct sim *sim)
{
    if (sim->reader && draw(sim, 4) == 0) {
        end_reader(sim);
    }
    if (!sim->reader) {
        struct pl_store_config config = sim->shelf.config;
        config.read_only = true;
        if (pl_store_open(&sim->reader, &config)) {
            assert_null(sim->reader);
            return;
        }
        sim->seen = pl_store_first(sim->reader);
    } else if (pl_store_refresh(sim->reader)) {
        return;
    }
    read_on(sim);
}

// It writes what was handed over; time passes.
static void write_handed(struct sim *sim)
{
    if (draw(sim, 3) == 0) {
        sim->shelf.ledger.now += 2 * PL_NS_PER_MS;
    } else if (pl_store_write(sim->shelf.store, &sim->shelf.ledger.log)) {
        sim->stopped = true;
        become_unknown(sim);
    }
}

// What the flusher does when it is asked to.
static void flush(struct sim *sim)
{
    if (sim->hands && draw(sim, 2)) {
        write_handed(sim);
        return;
    }
    if (draw(sim, 2)) {
        pl_reserve_make(sim->shelf.store);
    } else if (pl_sync_sealed(sim->shelf.store)) {
        sim->stopped = true;
        become_unknown(sim);
    }
}

// Old files go.
static void forget(struct sim *sim)
{
    struct model *model = &sim->model;
    uint64_t position = model->first + draw(sim, model->end - model->first + 1);
    model->forgotten = position > model->forgotten ? position : model->forgotten;
    uint64_t first = 0;
    enum peal_err err = pl_store_forget(sim->shelf.store, position, &first);
    while (model->forgotten < first && model->events[model->forgotten].perhaps) {
        model->forgotten++; // the next file begins behind those
    }
    model->first = err ? model->first : first;
    assert_in_range(first, model->first, model->forgotten);
}

// The oldest complete file is compressed, if there is one.
static void archive(struct sim *sim)
{
    struct pl_archived archived;
    const struct pl_archive_wanted wanted = { .below = UINT64_MAX };
    enum peal_err err = pl_store_archive(&archived, sim->shelf.store, &wanted);
    sim->stopped = sim->stopped || (err && err != PEAL_EUNSUPPORTED); // built without zstd
}

// One thing to do. False: the process cannot go on.
static bool step(struct sim *sim)
{
    static const enum peal_durability levels[] = {
        PEAL_DURABILITY_MEMORY, PEAL_DURABILITY_OS,   PEAL_DURABILITY_OS,
        PEAL_DURABILITY_OS,     PEAL_DURABILITY_DISK, PEAL_DURABILITY_DISK,
    };
    uint64_t what = draw(sim, 48);
    if (what == 0) {
        return reopen(sim);
    }
    if (what == 1) {
        return publish(sim, 200000 + draw(sim, 200000), false);
    }
    if (what < 8) {
        batch(sim);
    } else if (what < 12) {
        flush(sim);
    } else if (what < 16) {
        look_on(sim);
    } else if (what == 16) {
        forget(sim);
    } else if (what > 42 && sim->archives) {
        archive(sim);
    } else {
        (void)publish(sim, draw_size(sim), false);
    }
    if (what % 3) {
        settle(sim, levels[draw(sim, 6)]);
    }
    return true;
}

// `stop`: not a step more once a call has failed; else as if nothing had happened.
static void work(struct sim *sim, uint64_t ops, bool stop)
{
    for (uint64_t i = 0; i < ops && !(stop && sim->stopped); i++) {
        if (!step(sim)) {
            sim->stopped = true;
            return;
        }
    }
}

// ---- stopping -----------------------------------------------------------------------------------

// How it ends: the power goes; the process is killed, which makes no sync fail; or a disk fails for
// a while, and the process gives up.
enum mode { POWER, KILL, FAILURE };

static void stop_at(struct sim *sim, uint64_t nth, enum mode mode, bool for_ever)
{
    static const int errors[] = { EIO, ENOSPC, EROFS, EIO };
    struct pl_disk_fault fault = { .nth = nth, .for_ever = for_ever, .error = errors[nth % 4] };
    fault.calls =
        PL_DISK_ANY & ~(mode == KILL ? (unsigned)(PL_DISK_SYNC | PL_DISK_SYNC_DIRECTORY) : 0U);
    pl_disk_inject(sim->shelf.disk, &fault);
}

static void end_process(struct sim *sim, enum mode mode)
{
    end_reader(sim);
    // A sync that failed may have lost what the system had already been handed.
    sim->model.os = mode == KILL ? sim->model.os : sim->model.disk;
    if (mode == POWER) {
        pl_disk_crash(sim->shelf.disk);
    } else {
        pl_disk_kill(sim->shelf.disk);
    }
    pl_disk_heal(sim->shelf.disk);
    if (sim->shelf.store) {
        shelf_leave(&sim->shelf);
    }
    shelf_end_log(&sim->shelf);
    sim->stopped = false;
    sim->states++;
}

// A directory whose name could not be synced may vanish, and the store cannot know of it when it
// is opened again: where syncs fail, it is there before.
static void make_directory(struct sim *sim)
{
    const struct pl_files *files = sim->shelf.config.files;
    int result = files->make_directory(files->world, SHELF_PATH);
    assert_true(result == 0 || result == -EEXIST);
    assert_int_equal(files->sync_directory(files->world, "/"), 0);
}

// Opens it, with the disk stopping on the way some times before; what it then has is checked.
static void recover(struct sim *sim)
{
    for (uint64_t again = draw(sim, 4); again > 0; again--) {
        enum mode mode = (enum mode)draw(sim, 3);
        if (mode == FAILURE) {
            make_directory(sim);
        }
        stop_at(sim, 1 + draw(sim, 30), mode, true);
        if (shelf_open(&sim->shelf) == PEAL_OK) {
            (void)check_recovered(sim); // the disk may stop here, too
        }
        end_process(sim, mode);
    }
    assert_int_equal(shelf_open(&sim->shelf), PEAL_OK);
    assert_true(check_recovered(sim));
}

static void begin(struct sim *sim, uint64_t seed, enum mode mode)
{
    sim->chance = seed;
    sim->stopped = false;
    sim->model = (struct model){ .end = 1, .os = 1, .disk = 1, .first = 1, .forgotten = 1 };
    shelf_init(&sim->shelf, seed * 1000003);
    sim->shelf.config.file_bytes = PL_STORE_FILE_MIN << draw(sim, 3);
    sim->size = draw(sim, 3) ? 0 : draw(sim, 400);
    sim->shelf.config.go_on = draw(sim, 2);
    sim->hands = seed % 3 == 0;
    if (sim->hands) {
        shelf_let_hand(&sim->shelf);
    }
    sim->archives = seed % 8 == 1 || seed % 8 == 6;
    if (mode == FAILURE) {
        make_directory(sim);
    }
}

// It is as good as new.
static void finish(struct sim *sim)
{
    for (uint64_t again = draw(sim, 3); again > 0; again--) {
        work(sim, 3, true);
        assert_false(sim->stopped);
        end_process(sim, draw(sim, 3) ? POWER : KILL);
        recover(sim);
    }
    work(sim, 4, true);
    assert_false(sim->stopped);
    assert_true(reopen(sim));
    end_reader(sim);
    shelf_finish(&sim->shelf);
}

// One run: until the n-th call, then on. Returns the calls of a run that nothing stops.
static uint64_t run(struct sim *sim, uint64_t seed, uint64_t nth, enum mode mode, bool for_ever)
{
    begin(sim, seed, mode);
    if (nth > 0) {
        stop_at(sim, nth, mode, for_ever);
    }
    if (shelf_open(&sim->shelf) == PEAL_OK) {
        work(sim, OPS, for_ever);
    }
    uint64_t calls = pl_disk_calls(sim->shelf.disk, 0);
    sim->chance ^= nth;
    end_process(sim, mode);
    recover(sim);
    finish(sim);
    return calls;
}

// Every call of a seed's workload, one after the other.
static void run_seed(struct sim *sim, struct sweep *sweep)
{
    static const enum mode modes[] = { POWER, POWER, KILL, FAILURE };
    uint64_t seed = sweep->seed;
    enum mode mode = modes[seed % 4];
    bool for_ever = seed % 8 < 5;
    uint64_t calls = run(sim, seed, 0, mode, true);
    for (sweep->nth = 1; sweep->nth <= calls; sweep->nth++) {
        (void)run(sim, seed, sweep->nth, mode, for_ever);
    }
}

static void nothing_acknowledged_is_lost_wherever_the_disk_stops(void **state)
{
    static struct sim sim; // too large for a stack
    static struct sweep sweep;
    *state = &sweep;
    for (sweep_begin(&sweep, SEEDS); sweep_goes_on(&sweep, sim.states); sweep.seed++) {
        run_seed(&sim, &sweep);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(nothing_acknowledged_is_lost_wherever_the_disk_stops, sweep_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
