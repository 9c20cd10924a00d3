// SPDX-License-Identifier: MIT
//
// Misuse, as in bus_misuse.c, of what lies around the bus: dead letters, reading back, events,
// errors, and what tests use.
//
// The table at the end names every function of include/peal/ that is not in bus.h, nor in
// sourcing.h (sourcing_misuse.c). It is compared with the headers, so that a new function without a
// row is noticed, in a new header too.
#include "support/kit.h"

#include <dirent.h>
#include <peal/peal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bus_misuse_table.h"

// ---- dead letters -------------------------------------------------------------------------------

static void misuse_dead_list(struct kit *kit)
{
    struct peal_dead_list list;
    kit_pattern(&list, sizeof list);
    const struct peal_dead_filter bad = { .pattern = "a..b" };
    kit_refused(kit, PEAL_EINVAL, peal_dead_list(NULL, kit->bus, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_dead_list(&list, NULL, NULL));
    kit_refused(kit, PEAL_EPATTERN, peal_dead_list(&list, kit->bus, &bad));
    kit_untouched(&list, sizeof list);
    peal_dead_list_finish(NULL);
    peal_dead_list_finish(&(struct peal_dead_list){ 0 });
}

static void misuse_dead_count(struct kit *kit)
{
    struct peal_dead_count row;
    size_t count;
    kit_pattern(&row, sizeof row);
    kit_pattern(&count, sizeof count);
    kit_refused(kit, PEAL_EINVAL, peal_dead_count(NULL, &count, kit->bus, PEAL_DEAD_BY_TYPE, 1));
    kit_refused(kit, PEAL_EINVAL, peal_dead_count(&row, NULL, kit->bus, PEAL_DEAD_BY_TYPE, 1));
    kit_refused(kit, PEAL_EINVAL, peal_dead_count(&row, &count, NULL, PEAL_DEAD_BY_TYPE, 1));
    kit_refused(kit, PEAL_EINVAL,
                peal_dead_count(&row, &count, kit->bus, (enum peal_dead_group)3, 1));
    kit_refused(kit, PEAL_EINVAL,
                peal_dead_count(&row, &count, kit->bus, (enum peal_dead_group)UINT32_MAX, 1));
    kit_untouched(&row, sizeof row);
    kit_untouched(&count, sizeof count);
}

static void misuse_dead_operations(struct kit *kit)
{
    uint64_t affected;
    kit_pattern(&affected, sizeof affected);
    const struct peal_dead_filter bad = { .pattern = "a..b" }, missing = { .id = 99 };
    for (int dry = 0; dry < 2; dry++) {
        kit_refused(kit, PEAL_EINVAL, peal_dead_retry(NULL, NULL, dry, &affected));
        kit_refused(kit, PEAL_EPATTERN, peal_dead_retry(kit->bus, &bad, dry, &affected));
        kit_refused(kit, PEAL_ENOTFOUND, peal_dead_retry(kit->bus, &missing, dry, &affected));
        kit_refused(kit, PEAL_EINVAL, peal_dead_discard(NULL, NULL, dry, &affected));
        kit_refused(kit, PEAL_EPATTERN, peal_dead_discard(kit->bus, &bad, dry, &affected));
        kit_refused(kit, PEAL_ENOTFOUND, peal_dead_discard(kit->bus, &missing, dry, &affected));
    }
    static const char large[101];
    kit_refused(kit, PEAL_EINVAL, peal_dead_edit(NULL, 1, "x", 1));
    kit_refused(kit, PEAL_EINVAL, peal_dead_edit(kit->bus, 0, "x", 1));
    kit_refused(kit, PEAL_EINVAL, peal_dead_edit(kit->bus, 1, NULL, 1));
    kit_refused(kit, PEAL_ELIMIT, peal_dead_edit(kit->bus, 1, large, sizeof large));
    kit_refused(kit, PEAL_ENOTFOUND, peal_dead_edit(kit->bus, 99, "x", 1));
    kit_refused(kit, PEAL_EINVAL, peal_dead_purge(NULL, 1, &affected));
    kit_untouched(&affected, sizeof affected);
}

// ---- reading back -------------------------------------------------------------------------------

static void misuse_reader(struct kit *kit)
{
    peal_reader *reader = kit_nowhere();
    const peal_event *event = kit_nowhere();
    const struct peal_query bad = { .pattern = "a..b" }, none = { .contains = "{" };
    kit_refused(kit, PEAL_EINVAL, peal_reader_open(&reader, kit->bus, &none));
    kit_refused(kit, PEAL_EINVAL, peal_reader_open(NULL, kit->bus, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_reader_open(&reader, NULL, NULL));
    kit_refused(kit, PEAL_EPATTERN, peal_reader_open(&reader, kit->bus, &bad));
    kit_refused(kit, PEAL_EINVAL, peal_reader_next(NULL, kit->reader));
    kit_refused(kit, PEAL_EINVAL, peal_reader_next(&event, NULL));
    assert_int_equal(peal_reader_cursor(NULL), 0);
    assert_int_equal(peal_reader_skipped(NULL), 0);
    peal_reader_close(NULL);
    const peal_event *last = NULL;
    while (peal_reader_next(&last, kit->reader) == PEAL_OK) {
    }
    kit_refused(kit, PEAL_ENOTFOUND, peal_reader_next(&event, kit->reader));
    assert_ptr_equal(event, kit_nowhere());
    assert_ptr_equal(reader, kit_nowhere());
}

static void misuse_matcher(struct kit *kit)
{
    peal_matcher *matcher = kit_nowhere();
    const struct peal_query bad = { .pattern = "a..b" }, none = { .contains = "{" };
    static char large[4098];
    memset(large, '1', sizeof large - 1);
    const struct peal_query long_one = { .contains = large };
    kit_refused(kit, PEAL_EINVAL, peal_matcher_create(NULL, NULL));
    kit_refused(kit, PEAL_EPATTERN, peal_matcher_create(&matcher, &bad));
    kit_refused(kit, PEAL_EINVAL, peal_matcher_create(&matcher, &none));
    kit_refused(kit, PEAL_ELIMIT, peal_matcher_create(&matcher, &long_one));
    assert_ptr_equal(matcher, kit_nowhere());
    assert_false(peal_matcher_takes(NULL, NULL));
    peal_matcher_destroy(NULL);
}

static void misuse_repair(struct kit *kit)
{
    struct peal_repaired done;
    kit_pattern(&done, sizeof done);
    kit_refused(kit, PEAL_EINVAL, peal_log_repair(NULL, kit->bus, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_log_repair(&done, NULL, NULL));
    kit_refused(kit, PEAL_EUNSUPPORTED, peal_log_repair(&done, kit->bus, NULL)); // mem:
    kit_untouched(&done, sizeof done);
}

static void misuse_verify(struct kit *kit)
{
    struct peal_health health;
    kit_refused(kit, PEAL_EINVAL, peal_log_verify(NULL, kit->bus, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_log_verify(&health, NULL, NULL));
    kit_refused(kit, PEAL_EUNSUPPORTED, peal_log_verify(&health, kit->bus, NULL)); // mem:
}

static void ignore_type(const struct peal_type_info *type, void *context)
{
    (void)type;
    ++*(unsigned *)context;
}

static void misuse_types(struct kit *kit)
{
    unsigned told = 0;
    const struct peal_types nobody = { .context = &told };
    const struct peal_types types = { .type = ignore_type, .context = &told };
    kit_refused(kit, PEAL_EINVAL, peal_log_types(NULL, &types));
    kit_refused(kit, PEAL_EINVAL, peal_log_types(kit->bus, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_log_types(kit->bus, &nobody));
    assert_int_equal(told, 0);
}

static void misuse_identity(struct kit *kit)
{
    char text[PEAL_LOG_IDENTITY_SIZE];
    kit_pattern(text, sizeof text);
    kit_refused(kit, PEAL_EINVAL, peal_log_identity(NULL, kit->bus));
    kit_refused(kit, PEAL_EINVAL, peal_log_identity(text, NULL));
    kit_untouched(text, sizeof text);
}

static void misuse_archive(struct kit *kit)
{
    struct peal_savings savings;
    const struct peal_archive before = { .before_ns = -1 };
    kit_pattern(&savings, sizeof savings);
    kit_refused(kit, PEAL_EINVAL, peal_log_archive(&savings, NULL, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_log_archive(&savings, kit->bus, &before));
    kit_refused(kit, PEAL_EUNSUPPORTED, peal_log_archive(&savings, kit->bus, NULL)); // mem:
    kit_untouched(&savings, sizeof savings);
}

static void misuse_erase(struct kit *kit)
{
    struct peal_erased erased;
    const struct peal_erase dry = { .dry_run = true };
    char longest[PEAL_ATTRIBUTE_MAX + 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    kit_pattern(&erased, sizeof erased);
    for (int i = 0; i < 2; i++) {
        const struct peal_erase *erase = i ? &dry : NULL;
        kit_refused(kit, PEAL_EINVAL, peal_log_erase(NULL, kit->bus, "s", erase));
        kit_refused(kit, PEAL_EINVAL, peal_log_erase(&erased, NULL, "s", erase));
        kit_refused(kit, PEAL_EINVAL, peal_log_erase(&erased, kit->bus, NULL, erase));
        kit_refused(kit, PEAL_EINVAL, peal_log_erase(&erased, kit->bus, "", erase));
        kit_refused(kit, PEAL_ELIMIT, peal_log_erase(&erased, kit->bus, longest, erase));
    }
    kit_untouched(&erased, sizeof erased);
    longest[PEAL_ATTRIBUTE_MAX] = '\0';
    assert_int_equal(peal_log_erase(&erased, kit->bus, longest, NULL), PEAL_OK);
    assert_int_equal(erased.events, 0);
}

static void misuse_replay(struct kit *kit)
{
    uint64_t count;
    kit_pattern(&count, sizeof count);
    const struct peal_replay all = { 0 }, back = { .query = { .backwards = true } },
                             slow = { .speed = -1 }, bad = { .query = { .pattern = "a..b" } };
    kit_refused(kit, PEAL_EINVAL, peal_replay(NULL, &all, &count, actor_handle, &kit->done));
    kit_refused(kit, PEAL_EINVAL, peal_replay(kit->bus, NULL, &count, actor_handle, &kit->done));
    kit_refused(kit, PEAL_EINVAL, peal_replay(kit->bus, &all, &count, NULL, &kit->done));
    kit_refused(kit, PEAL_EINVAL, peal_replay(kit->bus, &back, &count, actor_handle, &kit->done));
    kit_refused(kit, PEAL_EINVAL, peal_replay(kit->bus, &slow, &count, actor_handle, &kit->done));
    kit_refused(kit, PEAL_EPATTERN, peal_replay(kit->bus, &bad, &count, actor_handle, &kit->done));
    kit_untouched(&count, sizeof count);
}

// ---- scheduled events ---------------------------------------------------------------------------

static void misuse_schedule(struct kit *kit)
{
    struct peal_schedule_list list;
    uint64_t affected;
    kit_pattern(&list, sizeof list);
    kit_pattern(&affected, sizeof affected);
    const struct peal_schedule_filter bad = { .pattern = "a..b" }, missing = { .id = "nobody" };
    kit_refused(kit, PEAL_EINVAL, peal_schedule_list(NULL, kit->bus, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_schedule_list(&list, NULL, NULL));
    kit_refused(kit, PEAL_EPATTERN, peal_schedule_list(&list, kit->bus, &bad));
    for (int dry = 0; dry < 2; dry++) {
        kit_refused(kit, PEAL_EINVAL, peal_schedule_cancel(NULL, NULL, dry, &affected));
        kit_refused(kit, PEAL_EPATTERN, peal_schedule_cancel(kit->bus, &bad, dry, &affected));
        kit_refused(kit, PEAL_ENOTFOUND, peal_schedule_cancel(kit->bus, &missing, dry, &affected));
    }
    kit_untouched(&list, sizeof list);
    kit_untouched(&affected, sizeof affected);
    peal_schedule_list_finish(NULL);
    peal_schedule_list_finish(&(struct peal_schedule_list){ 0 });
}

// ---- traces -------------------------------------------------------------------------------------

static void no_spans(const struct peal_span *span, void *context)
{
    (void)span;
    (void)context;
    fail_msg("a bus that was not to be traced is");
}

static void misuse_trace(struct kit *kit)
{
    const struct peal_trace_options none = { .share = 1 },
                                    much = { .share = 1.5, .finished = no_spans },
                                    good = { .finished = no_spans };
    kit_refused(kit, PEAL_EINVAL, peal_bus_trace(NULL, &good));
    kit_refused(kit, PEAL_EINVAL, peal_bus_trace(kit->bus, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_bus_trace(kit->bus, &none));
    kit_refused(kit, PEAL_EINVAL, peal_bus_trace(kit->bus, &much));
}

// ---- events, and what tests use -----------------------------------------------------------------

static void misuse_event_references(struct kit *kit)
{
    const peal_event *event = kit_nowhere();
    kit_refused(kit, PEAL_EINVAL, peal_event_ref(NULL, peal_delivery_event(kit->delivery)));
    kit_refused(kit, PEAL_EINVAL, peal_event_ref(&event, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_event_decode(NULL, "x", 1));
    kit_refused(kit, PEAL_EINVAL, peal_event_decode(&event, NULL, 1));
    kit_refused(kit, PEAL_ECORRUPT, peal_event_decode(&event, "x", 1));
    assert_ptr_equal(event, kit_nowhere());
    peal_event_unref(NULL);
    peal_event_unref(peal_delivery_event(kit->delivery)); // a view is nobody's to drop
}

static void misuse_error_texts(struct kit *kit)
{
    (void)kit;
    const int numbers[] = { -1, 20, 12345 };
    for (size_t i = 0; i < 3; i++) {
        assert_non_null(peal_err_name((enum peal_err)numbers[i]));
        assert_non_null(peal_err_text((enum peal_err)numbers[i]));
    }
}

static void misuse_world(struct kit *kit)
{
    kit_refused(kit, PEAL_EINVAL, peal_world_open(NULL, 1));
    kit_refused(kit, PEAL_EINVAL, peal_world_spawn(kit->scene.world, NULL, NULL));
    peal_world_close(NULL);
}

static void misuse_recorder(struct kit *kit)
{
    peal_recorder *recorder = kit_nowhere();
    kit_refused(kit, PEAL_EINVAL, peal_recorder_open(NULL, kit->bus));
    kit_refused(kit, PEAL_EINVAL, peal_recorder_open(&recorder, NULL));
    assert_ptr_equal(recorder, kit_nowhere());
    peal_recorder_close(NULL);
}

// ---- patterns -----------------------------------------------------------------------------------

static void misuse_pattern(struct kit *kit)
{
    char out[16];
    bool yes;
    kit_pattern(out, sizeof out);
    kit_pattern(&yes, sizeof yes);
    kit_refused(kit, PEAL_EINVAL, peal_pattern_canonical(NULL, sizeof out, "a"));
    kit_refused(kit, PEAL_EINVAL, peal_pattern_canonical(out, sizeof out, NULL));
    kit_refused(kit, PEAL_EPATTERN, peal_pattern_canonical(out, sizeof out, "a.>"));
    kit_refused(kit, PEAL_ELIMIT, peal_pattern_canonical(out, 3, "a.b"));
    kit_refused(kit, PEAL_EINVAL, peal_pattern_matches(NULL, "a", "a"));
    kit_refused(kit, PEAL_EINVAL, peal_pattern_matches(&yes, NULL, "a"));
    kit_refused(kit, PEAL_EINVAL, peal_pattern_matches(&yes, "a", NULL));
    kit_refused(kit, PEAL_EPATTERN, peal_pattern_matches(&yes, "a..b", "a"));
    kit_refused(kit, PEAL_ETYPE, peal_pattern_matches(&yes, "a", "a.*"));
    kit_untouched(out, sizeof out);
    kit_untouched(&yes, sizeof yes);
}

// ---- the table ----------------------------------------------------------------------------------

// Reads an event, which is never NULL and never wrong; tests/unit/event_*.c.
static void reads_an_event(struct kit *kit)
{
    (void)kit;
}

// Of a test's own world or recorder, which are never NULL; tests/unit/testing_*.c.
static void belongs_to_a_test(struct kit *kit)
{
    (void)kit;
}

static const struct misuse_row table[] = {
    { "peal_pattern_canonical", misuse_pattern },
    { "peal_pattern_matches", misuse_pattern },
    { "peal_err_name", misuse_error_texts },
    { "peal_err_text", misuse_error_texts },
    { "peal_error_sentence", misuse_error_texts },

    { "peal_event_type", reads_an_event },
    { "peal_event_data", reads_an_event },
    { "peal_event_size", reads_an_event },
    { "peal_event_id", reads_an_event },
    { "peal_event_source", reads_an_event },
    { "peal_event_subject", reads_an_event },
    { "peal_event_key", reads_an_event },
    { "peal_event_content_type", reads_an_event },
    { "peal_event_schema", reads_an_event },
    { "peal_event_correlation", reads_an_event },
    { "peal_event_causation", reads_an_event },
    { "peal_event_traceparent", reads_an_event },
    { "peal_event_tracestate", reads_an_event },
    { "peal_event_priority", reads_an_event },
    { "peal_event_time", reads_an_event },
    { "peal_event_recorded_time", reads_an_event },
    { "peal_event_position", reads_an_event },
    { "peal_event_stream_version", reads_an_event },
    { "peal_event_metadata", reads_an_event },
    { "peal_event_metadata_count", reads_an_event },
    { "peal_event_metadata_at", reads_an_event },
    { "peal_event_attempt", reads_an_event },
    { "peal_event_is_replay", reads_an_event },
    { "peal_event_to_json", reads_an_event },
    { "peal_event_encode", reads_an_event },
    { "peal_event_ref", misuse_event_references },
    { "peal_event_unref", misuse_event_references },
    { "peal_event_decode", misuse_event_references },

    { "peal_dead_list", misuse_dead_list },
    { "peal_dead_list_finish", misuse_dead_list },
    { "peal_dead_count", misuse_dead_count },
    { "peal_dead_retry", misuse_dead_operations },
    { "peal_dead_edit", misuse_dead_operations },
    { "peal_dead_discard", misuse_dead_operations },
    { "peal_dead_purge", misuse_dead_operations },

    { "peal_reader_open", misuse_reader },
    { "peal_reader_next", misuse_reader },
    { "peal_reader_cursor", misuse_reader },
    { "peal_reader_skipped", misuse_reader },
    { "peal_reader_close", misuse_reader },
    { "peal_replay", misuse_replay },
    { "peal_matcher_create", misuse_matcher },
    { "peal_matcher_takes", misuse_matcher },
    { "peal_matcher_destroy", misuse_matcher },
    { "peal_log_identity", misuse_identity },
    { "peal_log_types", misuse_types },
    { "peal_log_verify", misuse_verify },
    { "peal_log_archive", misuse_archive },
    { "peal_log_repair", misuse_repair },
    { "peal_log_erase", misuse_erase },

    { "peal_schedule_list", misuse_schedule },
    { "peal_schedule_list_finish", misuse_schedule },
    { "peal_schedule_cancel", misuse_schedule },

    { "peal_bus_trace", misuse_trace },

    { "peal_world_open", misuse_world },
    { "peal_world_close", misuse_world },
    { "peal_world_now", belongs_to_a_test },
    { "peal_world_random", belongs_to_a_test },
    { "peal_world_settle", belongs_to_a_test },
    { "peal_world_advance", belongs_to_a_test },
    { "peal_world_spawn", misuse_world },
    { "peal_world_yield", belongs_to_a_test },
    { "peal_world_sleep", belongs_to_a_test },
    { "peal_world_crash", belongs_to_a_test },
    { "peal_world_fail_allocation", belongs_to_a_test },
    { "peal_world_allocations", belongs_to_a_test },
    { "peal_world_bytes", belongs_to_a_test },
    { "peal_recorder_open", misuse_recorder },
    { "peal_recorder_close", misuse_recorder },
    { "peal_recorder_clear", belongs_to_a_test },
    { "peal_recorder_published", belongs_to_a_test },
    { "peal_recorder_event", belongs_to_a_test },
    { "peal_recorder_delivered", belongs_to_a_test },
    { "peal_recorder_dead", belongs_to_a_test },
    { "peal_recorder_expect", belongs_to_a_test },
};

#define ROWS (sizeof table / sizeof table[0])

static void every_function_refuses_what_makes_no_sense_and_changes_nothing(void **state)
{
    (void)state;
    misuse_all(table, ROWS);
}

static void the_table_has_every_function_of_the_other_headers(void **state)
{
    (void)state;
    size_t count = 0, missing = 0;
    DIR *dir = opendir(MISUSE_HEADERS);
    assert_non_null(dir);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) { // NOLINT(concurrency-mt-unsafe): one thread
        char path[4096];
        (void)snprintf(path, sizeof path, MISUSE_HEADERS "/%s", entry->d_name); // it fits
        struct stat info;
        if (strcmp(entry->d_name, "bus.h") != 0 && strcmp(entry->d_name, "sourcing.h") != 0 &&
            stat(path, &info) == 0 && S_ISREG(info.st_mode)) {
            count += misuse_compare(entry->d_name, table, ROWS, &missing);
        }
    }
    assert_int_equal(closedir(dir), 0);
    assert_int_equal(missing, 0);
    assert_int_equal(count, ROWS); // nor has it one that is not there any more
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_refuses_what_makes_no_sense_and_changes_nothing),
        cmocka_unit_test(the_table_has_every_function_of_the_other_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
