// SPDX-License-Identifier: MIT
// ctest: wrap=pl_log_find,pl_segment_ref,pl_segment_unref
//
// What a batch that is published costs beside its events: the segment they lie in is found, and
// kept for inline handlers, once for all of them. Counted by the linker's --wrap.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "support/stage.h"
// the stage comes first
#include "log/log.h"

// The linker chooses these names.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
struct pl_segment *__real_pl_log_find(const struct pl_log *log, uint64_t position);
void __real_pl_segment_ref(struct pl_segment *segment);
void __real_pl_segment_unref(struct pl_segment *segment);
struct pl_segment *__wrap_pl_log_find(const struct pl_log *log, uint64_t position);
void __wrap_pl_segment_ref(struct pl_segment *segment);
void __wrap_pl_segment_unref(struct pl_segment *segment);

static unsigned finds, pins, unpins; // calls from outside of log.c and segment.c

struct pl_segment *__wrap_pl_log_find(const struct pl_log *log, uint64_t position)
{
    finds++;
    return __real_pl_log_find(log, position);
}

void __wrap_pl_segment_ref(struct pl_segment *segment)
{
    pins++;
    __real_pl_segment_ref(segment);
}

void __wrap_pl_segment_unref(struct pl_segment *segment)
{
    unpins += segment != NULL;
    __real_pl_segment_unref(segment);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

enum { EVENTS = 600, SIZE = 1000 };

static unsigned heard;

static enum peal_verdict hear(const peal_event *event, void *context)
{
    (void)context;
    heard += peal_event_size(event) == SIZE;
    return PEAL_DONE;
}

static void publish_some(const struct stage *stage, size_t count)
{
    static const char data[SIZE];
    static struct peal_message messages[EVENTS];
    for (size_t i = 0; i < count; i++) {
        messages[i] = (struct peal_message){ .type = "a", .data = data, .size = sizeof data };
    }
    finds = pins = unpins = heard = 0;
    assert_int_equal(peal_publish_batch(stage->bus, messages, count, NULL), PEAL_OK);
}

static void a_batch_finds_and_pins_its_segment_once_for_all_its_events(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    const struct peal_subscribe_options options = { .mode = PEAL_INLINE };
    (void)stage_subscribe(&stage, "a", &options, hear, NULL);
    publish_some(&stage, 1); // there is a segment

    publish_some(&stage, 100);

    assert_int_equal(heard, 100);
    assert_int_equal(finds, 1);
    assert_int_equal(pins, 1);
    assert_int_equal(unpins, 1);
    stage_close(&stage);
}

static void a_batch_over_several_segments_pins_each_once(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    const struct peal_subscribe_options options = { .mode = PEAL_INLINE };
    (void)stage_subscribe(&stage, "a", &options, hear, NULL);

    publish_some(&stage, EVENTS);

    assert_int_equal(heard, EVENTS);
    assert_in_range(finds, 2, (size_t)EVENTS * SIZE / PL_SEGMENT_MIN + 2);
    assert_int_equal(pins, finds);
    assert_int_equal(unpins, finds);
    stage_close(&stage);
}

static void a_batch_that_nobody_hears_inline_pins_nothing(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);

    publish_some(&stage, 100);

    assert_int_equal(finds + pins + unpins, 0);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_finds_and_pins_its_segment_once_for_all_its_events),
        cmocka_unit_test(a_batch_over_several_segments_pins_each_once),
        cmocka_unit_test(a_batch_that_nobody_hears_inline_pins_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
