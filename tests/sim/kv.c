// SPDX-License-Identifier: MIT
// ctest: timeout=900
//
// The state table on a disk that loses power, everywhere. A seed makes a workload: transactions of
// one and of many changes, at every level, small values and large ones, so that generations follow
// each other; closing and opening. It is run once to count its I/O calls, then once for each of
// them: there the disk stops, and the process or the power is gone. The table is opened again,
// stopped again while it recovers, opened once more, checked against a model, used, and stopped
// without warning.
//
// The model keeps a picture of the table after each transaction, and which of them was the last
// acknowledged at each level. What is found must be one of the pictures, whole, and no older than
// what was acknowledged; but for what is ahead of the log, which the model takes away as well.
//
// support/sweep.h says how many seeds are run, and how to run more.
#include "support/drawer.h"

#include <errno.h>

#include "support/sweep.h"

#define SEEDS    1000
#define OPS      20
#define KEYS     10
#define VALUE    80000 // bytes, at most
#define PICTURES 4096

// The table: which transaction has put a key; 0: it is not there.
struct picture {
    uint32_t stamps[KEYS];
};

struct model {
    struct picture pictures[PICTURES]; // after the transaction of that number
    uint32_t end;                      // the newest, or perhaps the newest
    uint32_t os, disk;                 // acknowledged as
};

struct sim {
    struct drawer drawer;
    struct model model;
    uint64_t seed, chance;
    uint64_t states; // crashes so far, over all runs
    bool heavy;      // values are large
    bool stopped;    // a call has failed for good
};

static uint64_t draw(struct sim *sim, uint64_t below)
{
    return failing_random(&sim->chance) % below;
}

// ---- values -------------------------------------------------------------------------------------

static const char *make_value(const struct sim *sim, uint32_t stamp, size_t *size)
{
    static char bytes[VALUE + 1];
    uint64_t state = sim->seed * 1000003 + stamp;
    uint64_t chance = failing_random(&state);
    *size = 4 + (chance >> 8) % (chance % 3 ? 60 : 600);
    if (sim->heavy && chance % 5 == 0) {
        *size = 4 + (chance >> 8) % (VALUE - 4);
    }
    memset(bytes, (int)(chance >> 40), *size);
    memcpy(bytes, &stamp, sizeof stamp);
    return bytes;
}

static void key_of(unsigned index, char out[16])
{
    (void)snprintf(out, 16, "%c/key-%u", "ab"[index % 2], index);
}

// ---- checking -----------------------------------------------------------------------------------

static struct picture look(const struct sim *sim)
{
    struct picture picture = { { 0 } };
    char key[16];
    for (unsigned i = 0; i < KEYS; i++) {
        key_of(i, key);
        const struct pl_kv_entry *entry = pl_kv_get(sim->drawer.kv, key);
        if (entry) {
            size_t size = 0;
            memcpy(&picture.stamps[i], entry->value, sizeof picture.stamps[i]);
            const char *expected = make_value(sim, picture.stamps[i], &size);
            assert_int_equal(entry->size, size);
            assert_true(memcmp(entry->value, expected, size) == 0); // cmocka's takes its time
            assert_int_equal(entry->position, i > 0 ? picture.stamps[i] : 0);
        }
        pl_kv_unref(sim->drawer.kv, entry);
    }
    return picture;
}

// The table has just been opened.
static void check_recovered(struct sim *sim)
{
    struct model *model = &sim->model;
    const struct pl_kv_recovery *recovery = pl_kv_recovery(sim->drawer.kv);
    assert_int_equal(recovery->damaged, 0);
    assert_int_equal(recovery->headers, 0);
    struct picture found = look(sim);
    uint32_t number = found.stamps[0]; // every transaction puts the first key
    assert_in_range(number, model->os, model->end);
    struct picture expected = model->pictures[number];
    size_t entries = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        bool ahead = i > 0 && expected.stamps[i] >= sim->drawer.config.log_end;
        expected.stamps[i] = ahead ? 0 : expected.stamps[i];
        entries += expected.stamps[i] > 0;
    }
    assert_memory_equal(&found, &expected, sizeof found);
    assert_int_equal(pl_kv_stats(sim->drawer.kv).entries, entries);
    // It says that this is durable, and what was lost is nobody's any more.
    model->pictures[number] = found;
    model->end = number;
    model->os = number;
    model->disk = number;
}

// ---- working ------------------------------------------------------------------------------------

static void put(struct sim *sim, struct pl_kv_transaction *transaction, unsigned index,
                struct picture *picture)
{
    char key[16];
    key_of(index, key);
    if (index > 0 && draw(sim, 4) == 0) {
        assert_int_equal(pl_kv_remove(transaction, key), PEAL_OK);
        picture->stamps[index] = 0;
        return;
    }
    uint32_t stamp = sim->model.end + 1;
    size_t size = 0;
    const char *value = make_value(sim, stamp, &size);
    uint64_t position = index > 0 ? stamp : 0;
    assert_int_equal(pl_kv_put(transaction, key, position, value, size), PEAL_OK);
    picture->stamps[index] = stamp;
}

static void change(struct sim *sim, enum peal_durability level)
{
    struct model *model = &sim->model;
    struct pl_kv_transaction *transaction = NULL;
    assert_true(model->end + 1 < PICTURES);
    struct picture picture = model->pictures[model->end];
    assert_int_equal(pl_kv_begin(&transaction, sim->drawer.kv), PEAL_OK);
    put(sim, transaction, 0, &picture);
    for (uint64_t count = draw(sim, draw(sim, 3) ? 3 : 8); count > 0; count--) {
        put(sim, transaction, 1 + (unsigned)draw(sim, KEYS - 1), &picture);
    }
    model->pictures[++model->end] = picture; // perhaps
    enum peal_err err = pl_kv_commit(transaction, level);
    sim->stopped = sim->stopped || err;
    if (!err && level >= PEAL_DURABILITY_OS) {
        model->os = model->end;
    }
    if (!err && level == PEAL_DURABILITY_DISK) {
        model->disk = model->end;
    }
}

static bool reopen(struct sim *sim)
{
    if (drawer_close(&sim->drawer)) {
        return false;
    }
    sim->model.os = sim->model.end;
    sim->model.disk = sim->model.end;
    if (drawer_open(&sim->drawer)) {
        return false;
    }
    check_recovered(sim);
    return true;
}

// `stop`: not a step more once a call has failed; else as if nothing had happened.
static void work(struct sim *sim, uint64_t ops, bool stop)
{
    static const enum peal_durability levels[] = {
        PEAL_DURABILITY_MEMORY, PEAL_DURABILITY_OS,   PEAL_DURABILITY_OS,
        PEAL_DURABILITY_OS,     PEAL_DURABILITY_DISK, PEAL_DURABILITY_DISK,
    };
    for (uint64_t i = 0; i < ops && !(stop && sim->stopped); i++) {
        if (draw(sim, 24) == 0 && !reopen(sim)) {
            sim->stopped = true;
            return;
        }
        change(sim, levels[draw(sim, 6)]);
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
    pl_disk_inject(sim->drawer.disk, &fault);
}

static void end_process(struct sim *sim, enum mode mode)
{
    // A sync that failed may have lost what the system had already been handed.
    sim->model.os = mode == KILL ? sim->model.os : sim->model.disk;
    if (mode == POWER) {
        pl_disk_crash(sim->drawer.disk);
    } else {
        pl_disk_kill(sim->drawer.disk);
    }
    pl_disk_heal(sim->drawer.disk);
    drawer_leave(&sim->drawer);
    sim->stopped = false;
    sim->states++;
}

// Opens it, with the disk stopping on the way some times before; what it then has is checked. The
// log may have lost more than the table.
static void recover(struct sim *sim)
{
    uint64_t back = draw(sim, 4);
    if (draw(sim, 3) == 0 && sim->model.end > back) {
        sim->drawer.config.log_end = sim->model.end - back;
    }
    for (uint64_t again = draw(sim, 4); again > 0; again--) {
        enum mode mode = (enum mode)draw(sim, 3);
        stop_at(sim, 1 + draw(sim, 24), mode, true);
        if (drawer_open(&sim->drawer) == PEAL_OK) {
            check_recovered(sim);
        }
        end_process(sim, mode);
    }
    assert_int_equal(drawer_open(&sim->drawer), PEAL_OK);
    check_recovered(sim);
    sim->drawer.config.log_end = UINT64_MAX;
}

static void begin(struct sim *sim, uint64_t seed)
{
    sim->seed = seed;
    sim->chance = seed;
    sim->stopped = false;
    memset(&sim->model, 0, sizeof sim->model);
    drawer_init(&sim->drawer, seed * 1000003);
    sim->heavy = draw(sim, 3) == 0;
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
    drawer_finish(&sim->drawer);
}

// One run: until the n-th call, then on. Returns the calls of a run that nothing stops.
static uint64_t run(struct sim *sim, uint64_t seed, uint64_t nth, enum mode mode, bool for_ever)
{
    begin(sim, seed);
    if (nth > 0) {
        stop_at(sim, nth, mode, for_ever);
    }
    if (drawer_open(&sim->drawer) == PEAL_OK) {
        work(sim, OPS, for_ever);
    }
    uint64_t calls = pl_disk_calls(sim->drawer.disk, 0);
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
