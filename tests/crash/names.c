// SPDX-License-Identifier: MIT
// ctest: timeout=600
//
// A process with a durable name is killed, again and again, wherever it happens to be. In the end
// every event of the log was handled or is a dead letter: nothing is passed over.
//
//     parent ── fork ──► child: publishes; two workers handle, retry, reject
//       │                  │ counts in memory both share what was handled
//       └── SIGKILL ──────►┘
//     in the end: opens the log, handles what is left, compares
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/deadletter.h>
#include <peal/log.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/stage.h"

#define KILLS      200
#define EVENTS_MAX 400000
#define LIFE_MAX   1000 // events of one life

// Survives the child.
struct history {
    _Atomic uint32_t handled[EVENTS_MAX];
    _Atomic uint32_t failed, published;
};

struct life {
    char directory[64], url[128];
    uint64_t chance;
    struct history *history;
};

static const struct peal_subscribe_options options = { .name = "name",
                                                       .from = PEAL_FROM_BEGINNING,
                                                       .concurrency = 2,
                                                       .retry = { .initial_ms = 1,
                                                                  .max_attempts = 100 } };

static uint64_t draw(uint64_t *chance, uint64_t below)
{
    *chance = *chance * 6364136223846793005U + 1442695040888963407U;
    return (*chance >> 33) % below;
}

static enum peal_verdict handle(const peal_event *event, void *context)
{
    struct history *history = context;
    unsigned number = number_of(event);
    if (number == 0 || number >= EVENTS_MAX) {
        atomic_store(&history->failed, 1);
        return PEAL_DONE;
    }
    if (number % 50 == 0) {
        return PEAL_REJECT;
    }
    if (number % 31 == 0 && peal_event_attempt(event) == 1) {
        return PEAL_RETRY;
    }
    atomic_fetch_add(&history->handled[number], 1);
    return PEAL_DONE;
}

static _Noreturn void give_up(struct history *history, const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", what, peal_error_sentence());
    atomic_store(&history->failed, 1);
    _exit(1);
}

static _Noreturn void be_child(const struct life *life, int began)
{
    struct history *history = life->history;
    peal_bus *bus;
    if (peal_bus_open(&bus, life->url, NULL)) {
        give_up(history, "open");
    }
    if (peal_subscribe(NULL, bus, "a", &options, handle, history)) {
        give_up(history, "subscribe");
    }
    if (write(began, "", 1) != 1) {
        _exit(1);
    }
    for (unsigned i = 0; i < LIFE_MAX; i++) {
        char data[16];
        unsigned number = atomic_fetch_add(&history->published, 1) + 1;
        (void)snprintf(data, sizeof data, "%u", number);
        struct peal_message message = { .type = "a", .data = data, .size = strlen(data) };
        message.key = number % 3 ? NULL : "key";
        if (peal_publish(bus, &message, NULL)) {
            give_up(history, "publish");
        }
    }
    for (;;) {
        (void)pause(); // until it is killed
    }
}

static void live_and_die(struct life *life)
{
    int began[2];
    assert_int_equal(pipe(began), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        be_child(life, began[1]);
    }
    assert_int_equal(close(began[1]), 0);
    if (draw(&life->chance, 4) > 0) { // else while it opens, perhaps
        char byte;
        assert_int_equal(read(began[0], &byte, 1), 1);
    }
    assert_int_equal(close(began[0]), 0);
    struct timespec delay = { 0, (long)draw(&life->chance, 20000000) };
    (void)nanosleep(&delay, NULL); // not to wait for something: to strike somewhere
    assert_int_equal(kill(child, SIGKILL), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(atomic_load(&life->history->failed), 0);
}

static unsigned char *count_letters(peal_bus *bus)
{
    struct peal_dead_list list;
    unsigned char *dead = calloc(EVENTS_MAX, 1);
    assert_non_null(dead);
    assert_int_equal(peal_dead_list(&list, bus, NULL), PEAL_OK);
    for (size_t i = 0; i < list.count; i++) {
        unsigned number = number_of(list.letters[i].event);
        assert_int_equal(number % 50, 0); // nothing else was rejected, or blamed for a kill
        assert_string_equal(list.letters[i].reason, "rejected");
        dead[number]++;
        assert_int_equal(dead[number], 1);
    }
    peal_dead_list_finish(&list);
    return dead;
}

static void handle_the_rest(const struct life *life)
{
    peal_bus *bus;
    struct peal_leftover left;
    assert_int_equal(peal_bus_open(&bus, life->url, NULL), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, bus, "a", &options, handle, life->history), PEAL_OK);
    assert_int_equal(peal_bus_stop(bus, 60000, &left), PEAL_OK);
    assert_int_equal(left.undelivered + left.retrying + left.unsettled, 0);
    peal_bus_close(bus);
}

static uint64_t compare(const struct life *life)
{
    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, life->url, NULL), PEAL_OK);
    unsigned char *dead = count_letters(bus);
    peal_reader *reader;
    const peal_event *event;
    uint64_t count = 0;
    assert_int_equal(peal_reader_open(&reader, bus, NULL), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        unsigned number = number_of(event);
        assert_true(dead[number] || atomic_load(&life->history->handled[number]) > 0);
        count++;
    }
    peal_reader_close(reader);
    free(dead);
    peal_bus_close(bus);
    return count;
}

static void a_killed_process_passes_nothing_over(void **state)
{
    (void)state;
    struct life life = { .directory = "/tmp/peal-names-XXXXXX", .chance = 1 };
    life.history =
        mmap(NULL, sizeof *life.history, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(life.history, MAP_FAILED);
    assert_non_null(mkdtemp(life.directory));
    (void)snprintf(life.url, sizeof life.url, "file:%s?workers=2&segment_bytes=256k",
                   life.directory);
    unsigned kills = effort(KILLS);
    for (unsigned i = 0; i < kills; i++) {
        live_and_die(&life);
    }
    handle_the_rest(&life);
    uint64_t count = compare(&life);
    print_message("%u kills, %llu events\n", kills, (unsigned long long)count);
    assert_true(count > 5ULL * kills); // it was killed at work
    char command[160];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", life.directory);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c): a name of our own making
    (void)munmap(life.history, sizeof *life.history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_process_passes_nothing_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
