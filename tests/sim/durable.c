// SPDX-License-Identifier: MIT
//
// Durable names on a disk that fails everywhere. A seed makes a workload: events published, pulled
// and settled in any order, retried, rejected, letters retried and discarded, the name moved on by
// time, the bus closed and opened. It is run once to count its I/O calls, then once for each of
// them: there the disk stops, and the process or the power is gone. The bus is opened again, with
// the disk stopping on the way some times, used, and ended once more.
//
// The model knows events by their numbers, and of each whether it was settled, and whether a clean
// end, or 100 ms before a process was killed, has made that final. It asks:
//
//     what is final is never delivered again
//     what is in the log in the end was settled, or is a dead letter: nothing is passed over
//     an id of a dead letter that was seen is never that of another event
//
//     PEAL_SEEDS=100000 PEAL_SEED=1 durable        as many as you like
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <peal/deadletter.h>
#include <peal/log.h>

#include "support/home.h"
#include "unit/base_failing.h"

#define SEEDS 400

#define OPS     14
#define EVENTS  512
#define LETTERS 4096

struct sim {
    struct stage stage;
    peal_subscription *subscription;
    uint64_t chance, states;
    bool stopped; // a call has failed
    unsigned published;
    bool handled[EVENTS];  // by number: settled once, whoever remembers it
    bool settled[EVENTS];  // and this process knows
    bool saved[EVENTS];    // survives a kill
    bool final[EVENTS];    // survives all
    unsigned ids[LETTERS]; // the event of a letter that was seen
};

static uint64_t draw(struct sim *sim, uint64_t below)
{
    return failing_random(&sim->chance) % below;
}

// ---- looking ------------------------------------------------------------------------------------

// Letters that are there; `dead` gets those of each event.
static void look_at_letters(struct sim *sim, unsigned *dead)
{
    struct peal_dead_list list;
    assert_int_equal(peal_dead_list(&list, sim->stage.bus, NULL), PEAL_OK);
    for (size_t i = 0; i < list.count; i++) {
        const struct peal_dead_letter *letter = &list.letters[i];
        unsigned number = number_of(letter->event);
        assert_in_range(number, 1, sim->published);
        assert_in_range(letter->id, 1, LETTERS - 1);
        assert_true(sim->ids[letter->id] == 0 || sim->ids[letter->id] == number);
        assert_string_equal(letter->subscription, "name");
        if (dead) {
            dead[number]++;
        }
        // On a disk that fails it could not be saved before it was shown.
        if (!sim->stopped) {
            sim->ids[letter->id] = number;
        }
    }
    peal_dead_list_finish(&list);
}

// ---- working ------------------------------------------------------------------------------------

static void publish(struct sim *sim)
{
    static const enum peal_durability levels[] = { PEAL_DURABILITY_MEMORY, PEAL_DURABILITY_OS,
                                                   PEAL_DURABILITY_OS, PEAL_DURABILITY_DISK };
    char data[16];
    (void)snprintf(data, sizeof data, "%u", ++sim->published);
    assert_true(sim->published < EVENTS);
    struct peal_message message = { .type = "a", .data = data, .size = strlen(data) };
    message.key = draw(sim, 3) ? NULL : "key";
    message.durability = levels[draw(sim, 4)];
    sim->stopped = peal_publish(sim->stage.bus, &message, NULL) || sim->stopped;
}

static void settle(struct sim *sim, peal_delivery *delivery)
{
    static const enum peal_verdict verdicts[] = { PEAL_DONE,  PEAL_DONE,   PEAL_DONE,
                                                  PEAL_RETRY, PEAL_REJECT, PEAL_RELEASE };
    unsigned number = number_of(peal_delivery_event(delivery));
    assert_in_range(number, 1, sim->published);
    assert_false(sim->saved[number]);
    enum peal_verdict verdict = verdicts[draw(sim, 6)];
    if (!peal_delivery_settle(delivery, verdict) && verdict == PEAL_DONE) {
        sim->handled[number] = true;
        sim->settled[number] = true;
    }
}

// Takes some, and settles some of them, in any order; the others are left to time.
static void consume(struct sim *sim)
{
    peal_delivery *taken[6];
    size_t count = 0;
    if (peal_subscription_pull(taken, &count, sim->subscription, 1 + draw(sim, 6), 0)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t other = i + draw(sim, count - i);
        peal_delivery *delivery = taken[other];
        taken[other] = taken[i];
        if (draw(sim, 5) > 0) {
            settle(sim, delivery);
        } else {
            unsigned number = number_of(peal_delivery_event(delivery));
            assert_false(sim->saved[number]);
            (void)peal_delivery_settle(delivery, PEAL_RELEASE); // late: perhaps after its time
        }
    }
}

static bool come(struct sim *sim)
{
    const struct peal_subscribe_options options = { .name = "name",
                                                    .mode = PEAL_PULL,
                                                    .from = PEAL_FROM_BEGINNING,
                                                    .retry = { .initial_ms = 50,
                                                               .max_attempts = 2 } };
    enum peal_err err =
        peal_subscribe(&sim->subscription, sim->stage.bus, "a", &options, NULL, NULL);
    sim->stopped = sim->stopped || err;
    return !err;
}

// What fails when nobody waits for it is said here.
static void hear(enum peal_level level, const char *text, void *context)
{
    struct sim *sim = context;
    sim->stopped = sim->stopped || level == PEAL_LEVEL_ERROR;
    assert_true(strlen(text) > 10);
}

static bool try_open(struct sim *sim)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .world = sim->stage.world,
                                        .log = hear,
                                        .log_context = sim,
                                        .data_max = 1000,
                                        .segment_bytes = 64 << 10 };
    sim->stage.bus = NULL;
    bool opened = peal_bus_open(&sim->stage.bus, HOME_URL, &options) == PEAL_OK;
    if (opened) { // what was there has been synced
        memcpy(sim->final, sim->saved, sizeof sim->final);
    }
    return opened;
}

// True: all of it is on the disk.
static bool leave(struct sim *sim)
{
    bool clean = peal_bus_stop(sim->stage.bus, 0, NULL) == PEAL_OK;
    peal_bus_close(sim->stage.bus);
    sim->stage.bus = NULL;
    return clean;
}

static bool reopen(struct sim *sim)
{
    bool clean = leave(sim) && !sim->stopped;
    for (unsigned i = 0; i < EVENTS && clean; i++) {
        sim->final[i] = sim->final[i] || sim->settled[i];
        sim->saved[i] = sim->final[i];
    }
    sim->stopped = sim->stopped || !clean;
    return try_open(sim) && come(sim);
}

static void pass_time(struct sim *sim)
{
    peal_world_advance(sim->stage.world, 100);
    if (!sim->stopped) {
        memcpy(sim->saved, sim->settled, sizeof sim->saved);
    }
}

// One thing to do. False: there is no bus any more.
static bool step(struct sim *sim)
{
    switch (draw(sim, 12)) {
    case 0:
        return reopen(sim);
    case 1:
        pass_time(sim);
        return true;
    case 2:
        look_at_letters(sim, NULL);
        return true;
    case 3: {
        const struct peal_dead_filter one = { .limit = 1 };
        sim->stopped = peal_dead_retry(sim->stage.bus, &one, false, NULL) || sim->stopped;
        return true;
    }
    case 4:
    case 5:
    case 6:
    case 7:
        publish(sim);
        return true;
    default:
        consume(sim);
        return true;
    }
}

static void work(struct sim *sim, unsigned ops)
{
    for (unsigned i = 0; i < ops && !sim->stopped; i++) {
        if (!step(sim)) {
            sim->stopped = true;
        }
    }
}

// ---- ending -------------------------------------------------------------------------------------

enum mode { POWER, KILL, FAILURE };

static void stop_at(struct sim *sim, uint64_t nth, enum mode mode)
{
    static const int errors[] = { EIO, ENOSPC, EROFS, EIO };
    struct pl_disk_fault fault = { .nth = nth, .for_ever = true, .error = errors[nth % 4] };
    fault.calls =
        PL_DISK_ANY & ~(mode == KILL ? (unsigned)(PL_DISK_SYNC | PL_DISK_SYNC_DIRECTORY) : 0U);
    pl_disk_inject(sim->stage.world->disk, &fault);
}

static void end_process(struct sim *sim, enum mode mode)
{
    if (mode == POWER) {
        peal_world_crash(sim->stage.world);
    } else {
        pl_disk_kill(sim->stage.world->disk);
    }
    if (sim->stage.bus) {
        (void)leave(sim);
    }
    pl_disk_heal(sim->stage.world->disk);
    for (unsigned i = 0; i < EVENTS; i++) {
        sim->saved[i] = mode == KILL ? sim->saved[i] : sim->final[i];
        sim->settled[i] = sim->saved[i];
    }
    sim->stopped = false;
    sim->states++;
}

static void recover(struct sim *sim)
{
    for (uint64_t again = draw(sim, 3); again > 0; again--) {
        enum mode mode = (enum mode)draw(sim, 3);
        stop_at(sim, 1 + draw(sim, 60), mode);
        if (try_open(sim) && come(sim)) {
            work(sim, 2);
        }
        end_process(sim, mode);
    }
    assert_true(try_open(sim));
    assert_true(come(sim));
}

// Takes all that is left, and says done.
static void drain(struct sim *sim)
{
    for (unsigned quiet = 0; quiet < 3;) {
        peal_delivery *taken[16];
        size_t count = 0;
        if (peal_subscription_pull(taken, &count, sim->subscription, 16, 0)) {
            peal_world_advance(sim->stage.world, 60000);
            quiet++;
            continue;
        }
        quiet = 0;
        for (size_t i = 0; i < count; i++) {
            unsigned number = number_of(peal_delivery_event(taken[i]));
            assert_false(sim->saved[number]);
            assert_int_equal(peal_delivery_settle(taken[i], PEAL_DONE), PEAL_OK);
            sim->handled[number] = true;
            sim->settled[number] = true;
        }
    }
}

static void check_all(struct sim *sim)
{
    static unsigned dead[EVENTS];
    memset(dead, 0, sizeof dead);
    drain(sim);
    look_at_letters(sim, dead);
    peal_reader *reader = NULL;
    const peal_event *event = NULL;
    assert_int_equal(peal_reader_open(&reader, sim->stage.bus, NULL), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        unsigned number = number_of(event);
        assert_true(sim->handled[number] || dead[number] > 0);
        assert_true(dead[number] <= 1);
    }
    peal_reader_close(reader);
}

static void begin(struct sim *sim, uint64_t seed)
{
    uint64_t states = sim->states;
    memset(sim, 0, sizeof *sim);
    sim->states = states;
    sim->chance = seed;
    assert_int_equal(peal_world_open(&sim->stage.world, seed), PEAL_OK);
    pl_disk_let_share(sim->stage.world->disk, seed % 3 == 0); // what is published is handed over
    const struct pl_files *files = pl_disk_files(sim->stage.world->disk);
    assert_int_equal(files->make_directory(files->world, "/home"), 0);
    assert_int_equal(files->sync_directory(files->world, "/"), 0);
}

// One run: until the n-th call, then on. Returns the calls of a run that nothing stops.
static uint64_t run(struct sim *sim, uint64_t seed, uint64_t nth, enum mode mode)
{
    begin(sim, seed);
    if (nth > 0) {
        stop_at(sim, nth, mode);
    }
    if (try_open(sim) && come(sim)) {
        work(sim, OPS);
    }
    uint64_t calls = pl_disk_calls(sim->stage.world->disk, 0);
    sim->chance ^= nth;
    end_process(sim, mode);
    recover(sim);
    work(sim, 4);
    assert_false(sim->stopped);
    end_process(sim, draw(sim, 2) ? POWER : KILL);
    recover(sim);
    check_all(sim);
    assert_true(leave(sim));
    peal_world_settle(sim->stage.world);
    peal_world_close(sim->stage.world);
    return calls;
}

static uint64_t setting(const char *name, uint64_t usual)
{
    const char *text = getenv(name); // NOLINT(concurrency-mt-unsafe): nobody sets it
    return text && *text ? strtoull(text, NULL, 10) : usual;
}

static void nothing_is_passed_over_wherever_the_disk_stops(void **state)
{
    (void)state;
    static struct sim sim; // too large for a stack
    uint64_t first = setting("PEAL_SEED", 1);
    uint64_t seeds = setting("PEAL_SEEDS", SEEDS * setting("PEAL_EFFORT", 100) / 100);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        static const enum mode modes[] = { POWER, POWER, KILL, FAILURE };
        enum mode mode = modes[seed % 4];
        uint64_t calls = run(&sim, seed, 0, mode);
        for (uint64_t nth = 1; nth <= calls; nth++) {
            (void)run(&sim, seed, nth, mode);
        }
    }
    print_message("%llu crash states of %llu seeds\n", (unsigned long long)sim.states,
                  (unsigned long long)seeds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_passed_over_wherever_the_disk_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
