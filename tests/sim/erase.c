// SPDX-License-Identifier: MIT
// ctest: timeout=900
//
// Erasing on a disk that loses power, everywhere. A seed makes a workload of a bus on file: events
// of a few subjects, alone and in batches, small and large, at every level; subjects erased; the
// bus opened again. It is run once to count its I/O calls, then once for each of them: there the
// disk stops, and the process or the power is gone. The bus is opened again, checked, every subject
// is erased, and it is checked that nothing is left.
//
// The model is kept apart: what was published, as how safe it was acknowledged, and of whom an
// erasure has said that it is done. It asks that what was acknowledged and never erased is there,
// once, where it was; that of what was erased for sure nothing is, in no byte of no file; and
// nothing is damaged.
//
// support/sweep.h says how many seeds are run, and how to run more.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/stage.h"
// the stage comes first
#include "support/home.h"
#include "support/leftover.h"
#include "support/sweep.h"

#define SEEDS      40
#define OPS        22
#define EVENTS_MAX 256
#define SUBJECTS   4

struct published {
    unsigned subject;
    uint64_t position; // 0: nobody has said
    enum peal_durability level;
    bool acknowledged;
    bool perhaps; // an erasure of it has begun, and has not been said to be done
    bool erased;
    bool found;
};

struct sim {
    struct stage stage;
    uint64_t chance;
    struct published events[EVENTS_MAX];
    unsigned count;
    bool gone; // the disk has stopped
};

static uint64_t draw(struct sim *sim, uint64_t below)
{
    sim->chance = sim->chance * 6364136223846793005ULL + 1442695040888963407ULL;
    return (sim->chance >> 33) % below;
}

static void secret_of(char out[24], unsigned subject)
{
    (void)snprintf(out, 24, "secret-of-person-%u", subject);
}

static void name_of(char out[24], unsigned subject)
{
    (void)snprintf(out, 24, "person-number-%u", subject);
}

// ---- the workload -------------------------------------------------------------------------------

// "<number> <secret> ..."
static void fill_message(struct sim *sim, struct peal_message *out, char *name, char *data)
{
    char secret[24];
    unsigned subject = (unsigned)draw(sim, SUBJECTS);
    size_t size = draw(sim, 6) == 0 ? 18000 : draw(sim, 2) ? 30 : 900;
    secret_of(secret, subject);
    name_of(name, subject);
    memset(data, '.', size);
    data[snprintf(data, size, "%u %s", sim->count, secret)] = ' ';
    sim->events[sim->count] = (struct published){ .subject = subject };
    *out = (struct peal_message){
        .type = subject % 2 ? "a" : "b.c", .subject = name, .data = data, .size = size
    };
}

static void publish(struct sim *sim)
{
    static char data[3][20000], names[3][24];
    struct peal_message messages[3];
    struct peal_receipt receipts[3];
    unsigned count = draw(sim, 3) ? 1 : 3, first = sim->count;
    enum peal_durability level = (enum peal_durability)(1 + draw(sim, 3));
    for (unsigned i = 0; i < count; i++) {
        fill_message(sim, &messages[i], names[i], data[i]);
        messages[i].durability = level;
        sim->count++;
    }
    enum peal_err err = peal_publish_batch(sim->stage.bus, messages, count, receipts);
    for (unsigned i = 0; i < count && !err; i++) {
        sim->events[first + i].acknowledged = true;
        sim->events[first + i].level = level;
        sim->events[first + i].position = receipts[i].position;
    }
}

static void erase(struct sim *sim, unsigned subject)
{
    char name[24];
    struct peal_erased erased;
    name_of(name, subject);
    enum peal_err err = peal_log_erase(&erased, sim->stage.bus, name, NULL);
    assert_true(err == PEAL_OK || (err == PEAL_EIO && sim->gone));
    for (unsigned i = 0; i < sim->count; i++) {
        struct published *event = &sim->events[i];
        event->perhaps = event->perhaps || event->subject == subject;
        event->erased = event->erased || (event->subject == subject && !err);
    }
}

static void run(struct sim *sim, uint64_t seed)
{
    sim->chance = seed * 7919;
    for (unsigned i = 0; i < OPS; i++) {
        uint64_t what = draw(sim, 10);
        if (what < 7) {
            publish(sim);
        } else if (what < 9) {
            erase(sim, (unsigned)draw(sim, SUBJECTS));
        } else if (!sim->gone) {
            peal_world_advance(sim->stage.world, 1000); // what nobody waits for is written
        }
    }
}

// ---- checking -----------------------------------------------------------------------------------

static void meet(struct sim *sim, const peal_event *event)
{
    char name[24];
    unsigned number = (unsigned)strtoul(peal_event_data(event), NULL, 10);
    assert_true(number < sim->count);
    struct published *published = &sim->events[number];
    name_of(name, published->subject);
    assert_string_equal(peal_event_subject(event), name);
    assert_false(published->found);
    assert_false(published->erased);
    assert_true(!published->position || published->position == peal_event_position(event));
    published->found = true;
}

// `least`: what was acknowledged at this level is there.
static void check(struct sim *sim, enum peal_durability least)
{
    peal_reader *reader;
    const peal_event *event;
    enum peal_err err;
    for (unsigned i = 0; i < sim->count; i++) {
        sim->events[i].found = false;
    }
    assert_int_equal(peal_reader_open(&reader, sim->stage.bus, NULL), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        meet(sim, event);
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    bool left[SUBJECTS] = { false };
    for (unsigned i = 0; i < sim->count; i++) {
        const struct published *published = &sim->events[i];
        bool sure = published->acknowledged && published->level >= least && !published->perhaps;
        assert_true(published->found || !sure);
        left[published->subject] = left[published->subject] || !published->erased;
    }
    for (unsigned i = 0; i < SUBJECTS; i++) {
        char secret[24];
        secret_of(secret, i);
        const struct pl_files *files = pl_world_files(sim->stage.world);
        assert_true(left[i] || !leftover_in(files, "/home", secret));
    }
    struct peal_health health;
    assert_int_equal(peal_log_verify(&health, sim->stage.bus, NULL), PEAL_OK);
    assert_int_equal(health.lost, 0); // a summary may be torn, which costs nothing
}

static void open_sim(struct sim *sim, uint64_t seed)
{
    memset(sim, 0, sizeof *sim);
    home_open(&sim->stage, seed, PEAL_NO_WORKERS);
}

static void stop_at(struct sim *sim, uint64_t seed, uint64_t nth)
{
    struct pl_disk *disk = sim->stage.world->disk;
    const struct pl_disk_fault fault = { .nth = nth, .for_ever = true };
    sim->gone = true;
    pl_disk_inject(disk, &fault);
    run(sim, seed);
    bool power = draw(sim, 3) > 0;
    if (power) {
        peal_world_crash(sim->stage.world);
    } else {
        pl_disk_kill(disk);
    }
    pl_disk_heal(disk);
    home_reopen(&sim->stage);
    sim->gone = false;
    check(sim, PEAL_DURABILITY_DISK); // a sync that failed takes the rest along
    for (unsigned i = 0; i < SUBJECTS; i++) {
        erase(sim, i);
    }
    home_cut(&sim->stage);
    check(sim, PEAL_DURABILITY_DISK);
}

static void what_was_erased_is_gone_and_nothing_else_is(void **state)
{
    static struct sweep sweep;
    static struct sim sim;
    uint64_t states = 0;
    *state = &sweep;
    for (sweep_begin(&sweep, SEEDS); sweep_goes_on(&sweep, states); sweep.seed++) {
        open_sim(&sim, sweep.seed);
        uint64_t calls = pl_disk_calls(sim.stage.world->disk, 0);
        run(&sim, sweep.seed);
        check(&sim, PEAL_DURABILITY_MEMORY);
        calls = pl_disk_calls(sim.stage.world->disk, 0) - calls;
        stage_close(&sim.stage);
        for (sweep.nth = 1; sweep.nth <= calls; sweep.nth++) {
            open_sim(&sim, sweep.seed);
            stop_at(&sim, sweep.seed, sweep.nth);
            stage_close(&sim.stage);
            states++;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_was_erased_is_gone_and_nothing_else_is, sweep_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
