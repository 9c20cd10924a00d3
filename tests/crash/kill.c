// SPDX-License-Identifier: MIT
// ctest: timeout=600
//
// A process that publishes to file: is killed, again and again, wherever it happens to be; what it
// was told is compared with what is there when the log is opened next.
//
//     parent ── fork ──► child: two threads publish, at all levels, singly and in batches
//       │                  │ before and after each publish: a word in memory both share
//       └── SIGKILL ──────►┘
//     opens the log, reads it: all of a level that was acknowledged is there, unchanged, once and
//     in order; batches are whole; nothing is there that was not published
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <pthread.h>
#include <sched.h>
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

#define KILLS     500
#define THREADS   2
#define SPEAK_MAX 20000 // events of a thread in one life
#define BATCH     5
#define DATA_MAX  40000
#define FRESH     100 // lives of one directory

// What an event's data begins with; its rest follows from it.
struct word {
    uint32_t life, thread, number;
    uint32_t batch;    // of how many events; 1: none
    uint32_t in_batch; // which of them
    uint32_t size;     // bytes of all the data
};

// Survives the child: the history, kept outside of what is tested.
struct history {
    struct {
        _Atomic uint32_t begun, ended; // numbers below: publish was called; has returned PEAL_OK
        struct {
            uint64_t position;
            uint32_t level;
        } acknowledged[SPEAK_MAX];
    } threads[THREADS];
    _Atomic uint32_t failed; // a publish said something else than PEAL_OK
};

struct life {
    char directory[64], url[128];
    uint32_t number; // of the life
    uint64_t end;    // of the log, before it
    uint64_t digest; // of all events below `end`
    uint64_t chance;
    unsigned handed; // lives that left something handed over (src/log/handover.h)
    struct history *history;
};

static uint64_t draw(uint64_t *chance, uint64_t below)
{
    *chance += 0x9e3779b97f4a7c15ULL;
    uint64_t z = *chance;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return (z ^ z >> 31) % below;
}

// ---- the child ----------------------------------------------------------------------------------

static size_t compose(char *data, const struct word *word)
{
    memcpy(data, word, sizeof *word);
    for (size_t i = sizeof *word; i < word->size; i++) {
        data[i] = (char)(word->number * 31 + word->thread + i * 7 + word->life);
    }
    return word->size;
}

static uint32_t some_size(uint64_t *chance)
{
    uint64_t kind = draw(chance, 100);
    uint64_t most = kind < 90 ? 400 : kind < 99 ? 4000 : DATA_MAX - sizeof(struct word);
    return (uint32_t)(sizeof(struct word) + draw(chance, most));
}

struct speaker {
    peal_bus *bus;
    struct history *history;
    uint32_t life, thread;
    char data[BATCH][DATA_MAX];
};

// Publishes `count` events, as one batch if it is more than one.
static void speak(struct speaker *speaker, uint32_t number, uint32_t count, uint64_t *chance)
{
    static const char *const types[] = { "a", "b.c", "order.paid", "order.placed" };
    struct peal_message messages[BATCH] = { { 0 } };
    struct peal_receipt receipts[BATCH];
    enum peal_durability level = PEAL_DURABILITY_MEMORY;
    uint64_t kind = draw(chance, 100);
    level = kind < 70 ? PEAL_DURABILITY_OS : level;
    if (kind < 5 && speaker->life % 2) { // every sync writes what was handed over
        level = PEAL_DURABILITY_DISK;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct word word = {
            speaker->life, speaker->thread, number + i, count, i, some_size(chance)
        };
        messages[i].type = types[draw(chance, 4)];
        messages[i].subject = speaker->thread ? "left" : NULL;
        messages[i].data = speaker->data[i];
        messages[i].size = compose(speaker->data[i], &word);
        messages[i].durability = level;
    }
    atomic_store(&speaker->history->threads[speaker->thread].begun, number + count);
    enum peal_err err = count == 1 ? peal_publish(speaker->bus, messages, receipts)
                                   : peal_publish_batch(speaker->bus, messages, count, receipts);
    if (err) {
        (void)fprintf(stderr, "publish: %s\n", peal_error_sentence());
        atomic_store(&speaker->history->failed, 1);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        speaker->history->threads[speaker->thread].acknowledged[number + i].position =
            receipts[i].position;
        speaker->history->threads[speaker->thread].acknowledged[number + i].level =
            (uint32_t)receipts[i].durability;
    }
    atomic_store(&speaker->history->threads[speaker->thread].ended, number + count);
}

static void *run_speaker(void *context)
{
    struct speaker *speaker = context;
    uint64_t chance = speaker->life * 2654435761ULL + speaker->thread;
    uint32_t number = 0;
    while (number + BATCH <= SPEAK_MAX && !atomic_load(&speaker->history->failed)) {
        uint32_t count = draw(&chance, 10) == 0 ? BATCH : 1;
        speak(speaker, number, count, &chance);
        number += count;
    }
    return NULL;
}

static _Noreturn void be_child(const struct life *life)
{
    static struct speaker speakers[THREADS];
    peal_bus *bus;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    char url[160]; // every other life it rolls seldom, which writes what was handed over
    (void)snprintf(url, sizeof url, "%s?segment_bytes=%s", life->url,
                   life->number % 2 ? "256k" : "16M");
    if (peal_bus_open(&bus, url, &options)) {
        (void)fprintf(stderr, "open: %s\n", peal_error_sentence());
        atomic_store(&life->history->failed, 1);
        _exit(1);
    }
    pthread_t threads[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        speakers[i].bus = bus;
        speakers[i].history = life->history;
        speakers[i].life = life->number;
        speakers[i].thread = i;
        if (pthread_create(&threads[i], NULL, run_speaker, &speakers[i])) {
            _exit(1);
        }
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    for (;;) {
        (void)pause(); // until it is killed
    }
}

// ---- the parent ---------------------------------------------------------------------------------

static uint64_t digest_of(uint64_t digest, const peal_event *event)
{
    const unsigned char *bytes = peal_event_data(event);
    size_t size = peal_event_size(event);
    digest = (digest ^ peal_event_position(event)) * 0x100000001b3ULL;
    for (size_t i = 0; i < size; i += 16) { // a sixteenth will do
        digest = (digest ^ bytes[i]) * 0x100000001b3ULL;
    }
    return (digest ^ size) * 0x100000001b3ULL;
}

// What of a life is in the log.
struct found {
    uint32_t next[THREADS]; // the number of the thread's next event
    uint32_t rest[THREADS]; // events of its batch that must follow
};

static void check_event(const struct life *life, struct found *found, const peal_event *event)
{
    static char expected[DATA_MAX];
    struct word word;
    assert_true(peal_event_size(event) >= sizeof word);
    memcpy(&word, peal_event_data(event), sizeof word);
    assert_int_equal(word.life, life->number);
    assert_true(word.thread < THREADS);
    assert_int_equal(word.number, found->next[word.thread]); // once, in order, without a hole
    assert_int_equal(word.size, peal_event_size(event));
    compose(expected, &word);
    assert_memory_equal(expected, peal_event_data(event), word.size);
    assert_string_equal(peal_event_subject(event), word.thread ? "left" : "");
    assert_true(word.number < atomic_load(&life->history->threads[word.thread].begun));
    if (word.number < atomic_load(&life->history->threads[word.thread].ended)) {
        assert_int_equal(life->history->threads[word.thread].acknowledged[word.number].position,
                         peal_event_position(event));
    }
    assert_int_equal(found->rest[word.thread], word.in_batch ? word.batch - word.in_batch : 0);
    found->rest[word.thread] = word.batch - word.in_batch - 1;
    found->next[word.thread]++;
}

static void check_acknowledged(const struct life *life, const struct found *found)
{
    for (uint32_t t = 0; t < THREADS; t++) {
        uint32_t ended = atomic_load(&life->history->threads[t].ended);
        assert_int_equal(found->rest[t], 0); // no half of a batch
        for (uint32_t i = found->next[t]; i < ended; i++) {
            assert_int_equal(life->history->threads[t].acknowledged[i].level,
                             PEAL_DURABILITY_MEMORY);
        }
    }
}

// Opens the log and compares it with the history. All of it: also what was there before.
static void look(struct life *life, bool all)
{
    struct complaints complaints = { 0 };
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .log = complain_to,
                                        .log_context = &complaints };
    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, life->url, &options), PEAL_OK);
    assert_true(complaints.count == 0 || complaints.level == PEAL_LEVEL_WARNING); // a torn tail
    peal_reader *reader;
    struct peal_query query = { .from_position = all ? 0 : life->end };
    assert_int_equal(peal_reader_open(&reader, bus, &query), PEAL_OK);
    struct found found = { { 0 }, { 0 } };
    uint64_t position = all ? 1 : life->end;
    uint64_t digest = all ? 0 : life->digest;
    const peal_event *event;
    enum peal_err err;
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        assert_int_equal(peal_event_position(event), position);
        if (position == life->end) {
            assert_true(digest == life->digest); // what was there before is there unchanged
        }
        if (position >= life->end) {
            check_event(life, &found, event);
        }
        digest = digest_of(digest, event);
        position++;
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    check_acknowledged(life, &found);
    peal_reader_close(reader);
    life->end = position;
    life->digest = digest;
    peal_bus_close(bus);
}

static void live_and_die(struct life *life)
{
    memset(life->history, 0, sizeof *life->history);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        be_child(life);
    }
    // Some while they open the log, most while they publish.
    bool opening = draw(&life->chance, 4) == 0;
    while (!opening && !atomic_load(&life->history->threads[0].begun) &&
           !atomic_load(&life->history->failed)) {
        (void)sched_yield();
    }
    struct timespec delay = { 0, (long)draw(&life->chance, 20000000) };
    (void)nanosleep(&delay, NULL); // not to wait for something: to strike somewhere
    assert_int_equal(kill(child, SIGKILL), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(atomic_load(&life->history->failed), 0);
}

// Did the process leave more in its handover than was in its files?
static bool left_something(const struct life *life)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/handover", life->directory);
    FILE *file = fopen(path, "rb");
    uint64_t head = 0;
    if (file) {
        (void)fseek(file, 64, SEEK_SET);
        head = fread(&head, sizeof head, 1, file) == 1 ? head : 0;
        (void)fclose(file); // it was only read
    }
    return head != 0;
}

static void remove_directory(const char *directory)
{
    char command[160];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", directory);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c): a name of our own making
}

static void begin_directory(struct life *life)
{
    (void)snprintf(life->directory, sizeof life->directory, "/tmp/peal-kill-XXXXXX");
    assert_non_null(mkdtemp(life->directory));
    (void)snprintf(life->url, sizeof life->url, "file:%s", life->directory);
    life->end = 1;
    life->digest = 0;
}

static void a_killed_process_has_lost_nothing_that_was_acknowledged(void **state)
{
    (void)state;
    struct life life = { .chance = 1 };
    life.history =
        mmap(NULL, sizeof *life.history, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(life.history, MAP_FAILED);
    unsigned kills = effort(KILLS);
    uint64_t events = 0;
    for (unsigned i = 0; i < kills; i++) {
        if (i % FRESH == 0) {
            begin_directory(&life);
        }
        uint64_t before = life.end;
        life.number = i + 1;
        live_and_die(&life);
        life.handed += left_something(&life);
        bool last = i % FRESH == FRESH - 1 || i + 1 == kills;
        look(&life, last || i % 20 == 0);
        events += life.end - before;
        if (last) {
            remove_directory(life.directory);
        }
    }
    // On some file systems nothing can be handed over (base/files.h).
    print_message("%u kills, of which %u left something handed over; %llu events survived\n", kills,
                  life.handed, (unsigned long long)events);
    assert_true(events > 10ULL * kills); // it was killed at work
    (void)munmap(life.history, sizeof *life.history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_process_has_lost_nothing_that_was_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
