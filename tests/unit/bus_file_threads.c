// SPDX-License-Identifier: MIT
// ctest: threaded
//
// file: with real threads on the real disk: publishers at all levels, workers that are live and
// workers that read the files, readers, a stop in the middle; and opening it all again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <string.h>

#include "support/crowd.h"
#include "support/folder.h"

#define PUBLISHERS 3

static peal_bus *open_file(const struct folder *folder)
{
    peal_bus *bus;
    enum peal_err err = peal_bus_open(&bus, folder->url, NULL);
    assert_string_equal(err ? peal_error_sentence() : "", "");
    return bus;
}

// ---- publishers ---------------------------------------------------------------------------------

struct publisher {
    peal_bus *bus;
    uint32_t thread, events;
};

// What an event says: whose it is, and which of his.
struct word {
    uint32_t thread, number;
    char rest[500];
};

static void *publish_all(void *context)
{
    const struct publisher *publisher = context;
    struct word words[4];
    memset(words, 0, sizeof words);
    for (uint32_t i = 0; i < publisher->events;) {
        struct peal_message messages[4];
        char key[2] = { (char)('a' + publisher->thread), 0 };
        size_t count = i % 7 == 0 && publisher->events - i >= 4 ? 4 : 1;
        for (size_t j = 0; j < count; j++) {
            words[j].thread = publisher->thread;
            words[j].number = i++;
            enum peal_durability level = i % 50 == 0 ? PEAL_DURABILITY_DISK
                                         : i % 3     ? PEAL_DURABILITY_OS
                                                     : PEAL_DURABILITY_MEMORY;
            messages[j] = (struct peal_message){ .type = "a",
                                                 .key = key,
                                                 .data = &words[j],
                                                 .size = sizeof words[j] - i % 300,
                                                 .durability = level };
        }
        struct peal_receipt receipts[4];
        enum peal_err err = peal_publish_batch(publisher->bus, messages, count, receipts);
        if (err == PEAL_ECLOSED) {
            return NULL;
        }
        assert_int_equal(err, PEAL_OK);
        assert_int_equal(receipts[count - 1].position, receipts[0].position + count - 1);
    }
    return NULL;
}

static void start_publishers(peal_bus *bus, uint32_t events, struct publisher *publishers,
                             pthread_t *threads)
{
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        publishers[i] = (struct publisher){ bus, i, events };
        threads[i] = begin(publish_all, &publishers[i]);
    }
}

// ---- who reads ----------------------------------------------------------------------------------

// Each thread's events come in its order, none is missing, none comes twice.
struct listener {
    struct tally seen;
    uint32_t next[PUBLISHERS];
    uint64_t last;
};

static void listen(struct listener *listener, const peal_event *event)
{
    struct word word;
    assert_true(peal_event_size(event) >= offsetof(struct word, rest));
    memcpy(&word, peal_event_data(event), offsetof(struct word, rest));
    assert_true(peal_event_position(event) > listener->last);
    listener->last = peal_event_position(event);
    assert_int_equal(word.number, listener->next[word.thread]);
    listener->next[word.thread]++;
}

static enum peal_verdict hear(const peal_event *event, void *context)
{
    struct listener *listener = context;
    listen(listener, event);
    tally_add(&listener->seen, 1);
    return PEAL_DONE;
}

static uint64_t read_everything(peal_bus *bus)
{
    struct listener listener = { .seen = TALLY };
    peal_reader *reader;
    const peal_event *event;
    uint64_t count = 0;
    enum peal_err err;
    assert_int_equal(peal_reader_open(&reader, bus, NULL), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        listen(&listener, event);
        count++;
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    return count;
}

#define SMALL "?workers=2&segment_bytes=64k&memory_max=1M&data_max=100k"

static void publishers_workers_and_readers_go_on_together(void **state)
{
    (void)state;
    uint32_t events = effort(6000);
    struct folder folder;
    folder_open(&folder, SMALL);
    peal_bus *bus = open_file(&folder);
    struct listener now = { .seen = TALLY }, all = { .seen = TALLY };
    subscribe(bus, "a", NULL, hear, &now);
    struct publisher publishers[PUBLISHERS];
    pthread_t threads[PUBLISHERS];
    start_publishers(bus, events, publishers, threads);
    assert_true(tally_reaches(&now.seen, events));
    struct peal_subscribe_options beginning = { .from = PEAL_FROM_BEGINNING };
    subscribe(bus, "a", &beginning, hear, &all); // in the files, while they are written
    uint64_t before = read_everything(bus);
    assert_true(before >= events);
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        end(threads[i]);
    }
    uint64_t total = (uint64_t)events * PUBLISHERS;
    assert_true(tally_reaches(&now.seen, total));
    assert_true(tally_reaches(&all.seen, total));
    assert_int_equal(read_everything(bus), total);
    assert_int_equal(peal_bus_stop(bus, 1000, NULL), PEAL_OK);
    peal_bus_close(bus);

    bus = open_file(&folder);
    assert_int_equal(read_everything(bus), total);
    struct listener again = { .seen = TALLY };
    subscribe(bus, "a", &beginning, hear, &again);
    assert_true(tally_reaches(&again.seen, total));
    peal_bus_close(bus);
    folder_close(&folder);
}

static void stopping_while_others_publish_keeps_what_they_were_told(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder, SMALL);
    uint64_t total = 0;
    for (unsigned round = 0; round < 5; round++) {
        peal_bus *bus = open_file(&folder);
        struct publisher publishers[PUBLISHERS];
        pthread_t threads[PUBLISHERS];
        struct listener now = { .seen = TALLY };
        subscribe(bus, "a", NULL, hear, &now);
        start_publishers(bus, UINT32_MAX / 2, publishers, threads);
        assert_true(tally_reaches(&now.seen, 500));
        assert_int_equal(peal_bus_stop(bus, 10000, NULL), PEAL_OK);
        for (uint32_t i = 0; i < PUBLISHERS; i++) {
            end(threads[i]);
        }
        struct peal_bus_stats stats;
        assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
        assert_int_equal(stats.last_position, total + stats.published);
        total = stats.last_position;
        peal_bus_close(bus);
    }
    peal_bus *bus = open_file(&folder);
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
    assert_int_equal(stats.last_position, total);
    peal_bus_close(bus);
    folder_close(&folder);
}

static void what_is_emitted_is_written_by_a_thread_of_its_own(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder, "?workers=0");
    peal_bus *bus = open_file(&folder);
    for (unsigned i = 0; i < 1000; i++) {
        peal_emit(bus, "a", "x", 1);
    }
    peal_bus_close(bus); // whether it has written them or not
    bus = open_file(&folder);
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
    assert_int_equal(stats.last_position, 1000);
    peal_bus_close(bus);
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publishers_workers_and_readers_go_on_together),
        cmocka_unit_test(stopping_while_others_publish_keeps_what_they_were_told),
        cmocka_unit_test(what_is_emitted_is_written_by_a_thread_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
