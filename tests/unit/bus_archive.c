// SPDX-License-Identifier: MIT
//
// Archiving of file:, by a call and by age: queries, replay, retention and others that read go on
// as if nothing had happened.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"
#include "support/wreck.h"

#define ROUND 5000 // events: some hundred KiB, several files of 64 KiB

static void open_log(struct stage *stage, const char *parameters)
{
    char url[160];
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    (void)snprintf(url, sizeof url, "file:./events?segment_bytes=64k&%s", parameters);
    stage_open_as(stage, 1, url, &options);
}

static void reopen(struct stage *stage, const char *url)
{
    peal_bus_close(stage->bus);
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .world = stage->world };
    assert_int_equal(peal_bus_open(&stage->bus, url, &options), PEAL_OK);
}

static void publish(struct stage *stage, unsigned count)
{
    static const char data[100];
    struct peal_message messages[100] = { { 0 } };
    for (unsigned i = 0; i < 100; i++) {
        messages[i] = (struct peal_message){ .type = i % 10 ? "a" : "b.rare",
                                             .data = data,
                                             .size = sizeof data,
                                             .subject = i % 50 ? NULL : "s" };
    }
    for (unsigned i = 0; i < count; i += 100) {
        assert_int_equal(peal_publish_batch(stage->bus, messages, 100, NULL), PEAL_OK);
    }
    peal_world_settle(stage->world);
}

static unsigned count_of(struct stage *stage, const struct peal_query *query)
{
    peal_reader *reader;
    const peal_event *event;
    unsigned count = 0;
    enum peal_err err;
    assert_int_equal(peal_reader_open(&reader, stage->bus, query), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        count++;
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    return count;
}

static void check_queries(struct stage *stage, unsigned events)
{
    const struct peal_query rare = { .pattern = "b.*" }, subject = { .subject = "s" };
    const struct peal_query back = { .subject = "s", .backwards = true };
    assert_int_equal(count_of(stage, NULL), events);
    assert_int_equal(count_of(stage, &rare), events / 10);
    assert_int_equal(count_of(stage, &subject), events / 50);
    assert_int_equal(count_of(stage, &back), events / 50);
    struct peal_health health;
    assert_int_equal(peal_log_verify(&health, stage->bus, NULL), PEAL_OK);
    assert_int_equal(health.damages, 0);
}

struct told {
    struct peal_savings sum;
    uint64_t end, done, total, stop_at;
};

static void meet_file(const struct peal_archived *file, void *context)
{
    struct told *told = context;
    assert_true(strstr(file->file, ".seg.zst"));
    assert_true(file->first >= told->end && file->end > file->first);
    assert_true(file->packed < file->bytes);
    told->end = file->end;
    told->sum.files++;
    told->sum.bytes += file->bytes;
    told->sum.packed += file->packed;
}

static bool meet_progress(uint64_t done, uint64_t total, void *context)
{
    struct told *told = context;
    assert_true(done >= told->done && done <= total);
    told->done = done;
    told->total = total;
    return told->stop_at == 0 || done < told->stop_at;
}

static void what_is_archived_is_found_as_before(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "durability=disk");
    publish(&stage, 2 * ROUND);
    struct peal_bus_stats before = stage_stats(&stage);
    assert_true(before.log_files > 5);
    assert_int_equal(before.log_archived, 0);
    check_queries(&stage, 2 * ROUND);
    struct told told = { .end = 1 };
    const struct peal_archive archive = { .file = meet_file,
                                          .progress = meet_progress,
                                          .context = &told };
    struct peal_savings savings;
    assert_int_equal(peal_log_archive(&savings, stage.bus, &archive), PEAL_OK);
    assert_int_equal(savings.files, before.log_files - 2);
    assert_int_equal(savings.left, 0);
    assert_memory_equal(&savings, &told.sum, sizeof savings);
    assert_int_equal(told.done, told.total);
    assert_int_equal(told.total, savings.bytes);
    struct peal_bus_stats after = stage_stats(&stage);
    assert_int_equal(after.log_files, before.log_files);
    assert_int_equal(after.log_archived, savings.files);
    assert_int_equal(after.log_bytes, before.log_bytes - savings.bytes + savings.packed);
    check_queries(&stage, 2 * ROUND);
    publish(&stage, ROUND);
    reopen(&stage, "file:./events");
    check_queries(&stage, 3 * ROUND);
    uint64_t version = 0;
    assert_int_equal(peal_stream_version(&version, stage.bus, "s"), PEAL_OK);
    assert_int_equal(version, 3 * ROUND / 50);
    reopen(&stage, "file:./events?read_only");
    check_queries(&stage, 3 * ROUND);
    assert_int_equal(stage_stats(&stage).log_archived, savings.files);
    assert_int_equal(peal_log_archive(NULL, stage.bus, NULL), PEAL_ESTATE);
    stage_close(&stage);
}

static void what_is_younger_stays(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_savings savings;
    open_log(&stage, "durability=disk");
    publish(&stage, ROUND);
    peal_world_advance(stage.world, 60000);
    int64_t now = peal_world_now(stage.world);
    publish(&stage, ROUND);
    struct told told = { .end = 1 };
    const struct peal_archive archive = { .before_ns = now, .file = meet_file, .context = &told };
    assert_int_equal(peal_log_archive(&savings, stage.bus, &archive), PEAL_OK);
    assert_true(savings.files > 3);
    assert_true(told.end <= ROUND + 1 && told.end > ROUND - 1000);
    const struct peal_archive early = { .before_ns = 1 };
    assert_int_equal(peal_log_archive(&savings, stage.bus, &early), PEAL_OK);
    assert_int_equal(savings.files, 0);
    check_queries(&stage, 2 * ROUND);
    stage_close(&stage);
}

static void it_stops_when_it_is_told_to_and_goes_on_later(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_savings savings;
    open_log(&stage, "durability=disk");
    publish(&stage, 2 * ROUND);
    struct told told = { .end = 1, .stop_at = 150000 }; // in the third file
    const struct peal_archive archive = { .file = meet_file,
                                          .progress = meet_progress,
                                          .context = &told };
    assert_int_equal(peal_log_archive(&savings, stage.bus, &archive), PEAL_ESTATE);
    assert_int_equal(told.sum.files, 2);
    assert_int_equal(stage_stats(&stage).log_archived, 2);
    check_queries(&stage, 2 * ROUND);
    assert_int_equal(peal_log_archive(&savings, stage.bus, NULL), PEAL_OK);
    assert_int_equal(savings.files, stage_stats(&stage).log_files - 4);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_log_archive(&savings, stage.bus, NULL), PEAL_ECLOSED);
    stage_close(&stage);
}

static void what_is_old_is_archived_while_more_comes(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "durability=disk&archive_ms=1h");
    publish(&stage, 2 * ROUND);
    assert_int_equal(stage_stats(&stage).log_archived, 0);
    peal_world_advance(stage.world, 3600001);
    publish(&stage, ROUND);
    peal_world_settle(stage.world);
    uint64_t archived = stage_stats(&stage).log_archived;
    assert_true(archived > 5);
    assert_int_equal(wreck_files(stage.world, "events", ".seg.zst"), archived);
    check_queries(&stage, 3 * ROUND);
    stage_close(&stage);
}

static void archives_are_forgotten_like_other_files(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "durability=disk&archive_ms=1&history_events=10000"); // two rounds
    for (unsigned i = 0; i < 4; i++) {
        peal_world_advance(stage.world, 10);
        publish(&stage, ROUND);
    }
    struct peal_bus_stats stats = stage_stats(&stage);
    assert_true(stats.first_position > ROUND);
    assert_true(stats.log_archived > 2);
    assert_int_equal(wreck_files(stage.world, "events", ".seg.zst"), stats.log_archived);
    assert_int_equal(count_of(&stage, NULL), 4 * ROUND + 1 - stats.first_position);
    uint64_t first = stats.first_position;
    reopen(&stage, "file:./events");
    assert_int_equal(stage_stats(&stage).first_position, first);
    assert_int_equal(count_of(&stage, NULL), 4 * ROUND + 1 - first);
    stage_close(&stage);
}

static void of_a_size_archives_are_counted_as_they_are(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_savings savings;
    open_log(&stage, "durability=disk");
    publish(&stage, 4 * ROUND); // some 3 MB
    assert_int_equal(peal_log_archive(&savings, stage.bus, NULL), PEAL_OK);
    assert_true(savings.bytes > 1 << 20 && savings.packed < 512 << 10);
    reopen(&stage, "file:./events?segment_bytes=64k&durability=disk&history_bytes=1M");
    publish(&stage, 100);
    assert_int_equal(stage_stats(&stage).first_position, 1);
    reopen(&stage, "file:./events?segment_bytes=64k&durability=disk&history_bytes=256k");
    publish(&stage, 100);
    assert_true(stage_stats(&stage).first_position > 1);
    stage_close(&stage);
}

static void it_is_for_engines_with_files(void **state)
{
    (void)state;
    peal_bus *bus = NULL;
    assert_int_equal(peal_bus_open(&bus, "mem:?archive_ms=1d", NULL), PEAL_EUNSUPPORTED);
    assert_non_null(strstr(peal_error_sentence(), "archive_ms"));
    assert_int_equal(peal_bus_open(&bus, "file:./e?archive_ms=0", NULL), PEAL_EURL);
    assert_int_equal(peal_bus_open(&bus, "noop:", NULL), PEAL_OK);
    struct peal_savings savings;
    assert_int_equal(peal_log_archive(&savings, bus, NULL), PEAL_EUNSUPPORTED);
    peal_bus_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_archived_is_found_as_before),
        cmocka_unit_test(what_is_younger_stays),
        cmocka_unit_test(it_stops_when_it_is_told_to_and_goes_on_later),
        cmocka_unit_test(what_is_old_is_archived_while_more_comes),
        cmocka_unit_test(archives_are_forgotten_like_other_files),
        cmocka_unit_test(of_a_size_archives_are_counted_as_they_are),
        cmocka_unit_test(it_is_for_engines_with_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
