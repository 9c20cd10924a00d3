// SPDX-License-Identifier: MIT
//
// A recorder tells what happened on a bus and changes nothing of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/bus.h>
#include <peal/testing.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "testing/world.h"

struct stage {
    struct peal_world *world;
    peal_bus *bus;
    peal_recorder *recorder;
};

static void set_up(struct stage *stage, uint64_t seed, int workers)
{
    assert_int_equal(peal_world_open(&stage->world, seed), PEAL_OK);
    struct peal_bus_options options = { .world = stage->world, .workers = workers };
    assert_int_equal(peal_bus_open(&stage->bus, "mem:", &options), PEAL_OK);
    assert_int_equal(peal_recorder_open(&stage->recorder, stage->bus), PEAL_OK);
}

static void tear_down(struct stage *stage)
{
    peal_recorder_close(stage->recorder);
    peal_bus_close(stage->bus);
    peal_world_close(stage->world);
}

static void say(struct stage *stage, const char *type, const char *data)
{
    peal_emit(stage->bus, type, data, strlen(data));
}

static enum peal_verdict accept(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    return PEAL_DONE;
}

static enum peal_verdict reject(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    return PEAL_REJECT;
}

static void published_events_are_found_by_pattern(void **state)
{
    (void)state;
    struct stage stage;
    set_up(&stage, 1, PEAL_NO_WORKERS);
    say(&stage, "order.placed", "{\"n\":1}");
    say(&stage, "order.paid", "{\"n\":2}");
    say(&stage, "stock.low", "{}");

    assert_int_equal(peal_recorder_published(stage.recorder, NULL), 3);
    assert_int_equal(peal_recorder_published(stage.recorder, "order.*"), 2);
    assert_int_equal(peal_recorder_published(stage.recorder, "nothing"), 0);
    const peal_event *second = peal_recorder_event(stage.recorder, "order.*", 1);
    assert_non_null(second);
    assert_string_equal(peal_event_type(second), "order.paid");
    assert_memory_equal(peal_event_data(second), "{\"n\":2}", 7);
    assert_null(peal_recorder_event(stage.recorder, "order.*", 2));
    tear_down(&stage);
}

static void what_came_before_open_and_clear_is_not_recorded(void **state)
{
    (void)state;
    struct stage stage;
    set_up(&stage, 1, PEAL_NO_WORKERS);
    peal_recorder_close(stage.recorder);
    say(&stage, "before.open", "");
    assert_int_equal(peal_recorder_open(&stage.recorder, stage.bus), PEAL_OK);
    assert_int_equal(peal_recorder_published(stage.recorder, NULL), 0);

    say(&stage, "after.open", "");
    assert_int_equal(peal_recorder_published(stage.recorder, NULL), 1);
    peal_recorder_clear(stage.recorder);
    assert_int_equal(peal_recorder_published(stage.recorder, NULL), 0);
    say(&stage, "after.clear", "");
    assert_true(peal_recorder_expect(stage.recorder, "after.clear"));
    tear_down(&stage);
}

static void deliveries_and_deaths_are_counted_by_label(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct stage stage;
        set_up(&stage, seed, seed % 2 ? 3 : PEAL_NO_WORKERS);
        struct peal_subscribe_options good = { .label = "good" };
        struct peal_subscribe_options bad = { .label = "bad" };
        struct peal_subscribe_options here = { .label = "here", .mode = PEAL_INLINE };
        assert_int_equal(peal_subscribe(NULL, stage.bus, "a.*", &good, accept, NULL), PEAL_OK);
        assert_int_equal(peal_subscribe(NULL, stage.bus, "a.*", &bad, reject, NULL), PEAL_OK);
        assert_int_equal(peal_subscribe(NULL, stage.bus, "a.*", &here, accept, NULL), PEAL_OK);

        say(&stage, "a.one", "");
        say(&stage, "a.two", "");
        say(&stage, "b.three", "");
        peal_world_settle(stage.world);

        assert_int_equal(peal_recorder_delivered(stage.recorder, "good"), 2);
        assert_int_equal(peal_recorder_dead(stage.recorder, "good"), 0);
        assert_int_equal(peal_recorder_delivered(stage.recorder, "bad"), 0);
        assert_int_equal(peal_recorder_dead(stage.recorder, "bad"), 2);
        assert_int_equal(peal_recorder_delivered(stage.recorder, "here"), 2);
        assert_int_equal(peal_recorder_delivered(stage.recorder, "nobody"), 0);

        peal_recorder_clear(stage.recorder);
        say(&stage, "a.four", "");
        peal_world_settle(stage.world);
        assert_int_equal(peal_recorder_delivered(stage.recorder, "good"), 1);
        assert_int_equal(peal_recorder_delivered(stage.recorder, "here"), 1);
        assert_int_equal(peal_recorder_dead(stage.recorder, "bad"), 1);
        tear_down(&stage);
    }
}

static void a_subscription_is_found_by_its_name_and_by_its_label(void **state)
{
    (void)state;
    struct stage stage;
    set_up(&stage, 1, PEAL_NO_WORKERS);
    struct peal_subscribe_options both = { .name = "name", .label = "label" };
    struct peal_subscribe_options here = { .name = "here", PEAL_SUBSCRIBE_HERE };
    assert_int_equal(peal_subscribe(NULL, stage.bus, "a", &both, accept, NULL), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, stage.bus, "b", &here, reject, NULL), PEAL_OK);
    say(&stage, "a", "");
    say(&stage, "b", "");
    peal_world_settle(stage.world);
    assert_int_equal(peal_recorder_delivered(stage.recorder, "name"), 1);
    assert_int_equal(peal_recorder_delivered(stage.recorder, "label"), 1);
    assert_int_equal(peal_recorder_dead(stage.recorder, "here"), 1);
    tear_down(&stage);
}

// What stderr gets from a comparison that fails.
static void expect_difference(const struct stage *stage, const char *expected, char *out,
                              size_t size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int kept = dup(STDERR_FILENO);
    assert_true(kept >= 0);
    (void)dup2(ends[1], STDERR_FILENO);
    bool same = peal_recorder_expect(stage->recorder, expected);
    (void)dup2(kept, STDERR_FILENO);
    (void)close(kept);
    (void)close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], out + length, size - 1 - length)) > 0) {
        length += (size_t)got;
    }
    out[length] = 0;
    (void)close(ends[0]);
    assert_false(same);
}

// Is there a row with this mark and both texts?
static bool has_row(const char *rows, char mark, const char *left, const char *right)
{
    for (const char *at = rows; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        char row[256];
        (void)snprintf(row, sizeof row, "%.*s", (int)strcspn(at, "\n"), at);
        const char *bar = strstr(row, " | ");
        const char *found = strstr(row, left);
        if (row[0] == mark && bar && found && found <= bar && strstr(bar, right)) {
            return true;
        }
    }
    return false;
}

static void an_expectation_that_holds_is_true_and_silent(void **state)
{
    (void)state;
    struct stage stage;
    set_up(&stage, 1, PEAL_NO_WORKERS);
    assert_true(peal_recorder_expect(stage.recorder, ""));
    say(&stage, "order.placed", "{\"n\": 1}");
    say(&stage, "order.paid", "{}");

    assert_true(peal_recorder_expect(stage.recorder, "order.placed\norder.paid"));
    assert_true(peal_recorder_expect(stage.recorder, "  order.placed {\"n\": 1}\r\n\n"
                                                     "  order.paid {}\n"));
    tear_down(&stage);
}

static void an_expectation_that_fails_shows_the_difference(void **state)
{
    (void)state;
    struct stage stage;
    set_up(&stage, 1, PEAL_NO_WORKERS);
    say(&stage, "order.placed", "{\"n\":1}");
    say(&stage, "order.seen", "line\nline");
    say(&stage, "order.paid", "{}");
    char rows[4096];

    expect_difference(&stage, "order.placed\norder.paid", rows, sizeof rows);
    assert_true(has_row(rows, ' ', "order.placed", "order.placed {\"n\":1}"));
    assert_true(has_row(rows, '+', "", "order.seen line.line"));
    assert_true(has_row(rows, ' ', "order.paid", "order.paid"));

    expect_difference(&stage, "order.placed {\"n\":2}\norder.seen\norder.paid\norder.sent", rows,
                      sizeof rows);
    assert_true(has_row(rows, '!', "order.placed {\"n\":2}", "order.placed {\"n\":1}"));
    assert_true(has_row(rows, '-', "order.sent", ""));

    expect_difference(&stage, "", rows, sizeof rows);
    assert_true(has_row(rows, '+', "", "order.paid {}"));
    tear_down(&stage);
}

static void looking_does_not_run_anybody_or_use_up_a_fault(void **state)
{
    (void)state;
    struct stage stage;
    set_up(&stage, 3, 2);
    assert_int_equal(peal_subscribe(NULL, stage.bus, "a", NULL, accept, NULL), PEAL_OK);
    say(&stage, "a", "");
    peal_world_fail_allocation(stage.world, 1, true);
    uint64_t trace = pl_world_trace(stage.world);

    assert_int_equal(peal_recorder_published(stage.recorder, "a"), 1);
    (void)peal_recorder_delivered(stage.recorder, "a");

    assert_int_equal(pl_world_trace(stage.world), trace);
    assert_null(pl_alloc(pl_world_seams(stage.world), 1));
    peal_world_fail_allocation(stage.world, 0, false);
    tear_down(&stage);
}

static void misuse_is_refused(void **state)
{
    (void)state;
    struct stage stage;
    set_up(&stage, 1, PEAL_NO_WORKERS);
    peal_recorder *recorder = NULL;
    assert_int_equal(peal_recorder_open(NULL, stage.bus), PEAL_EINVAL);
    assert_int_equal(peal_recorder_open(&recorder, NULL), PEAL_EINVAL);
    assert_null(recorder);
    peal_recorder_close(NULL);
    tear_down(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_events_are_found_by_pattern),
        cmocka_unit_test(what_came_before_open_and_clear_is_not_recorded),
        cmocka_unit_test(deliveries_and_deaths_are_counted_by_label),
        cmocka_unit_test(a_subscription_is_found_by_its_name_and_by_its_label),
        cmocka_unit_test(an_expectation_that_holds_is_true_and_silent),
        cmocka_unit_test(an_expectation_that_fails_shows_the_difference),
        cmocka_unit_test(looking_does_not_run_anybody_or_use_up_a_fault),
        cmocka_unit_test(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
