// SPDX-License-Identifier: MIT
// ctest: threaded
//
// A matcher: a query that is asked of one event after another. That it takes what a reader gives,
// for every selector, is in bus_reader.c; that asking takes no memory in nomemory_machine.c.
#include "support/scene.h"

#include <peal/log.h>
#include <pthread.h>
#include <string.h>

static peal_matcher *create(const struct peal_query *query)
{
    peal_matcher *matcher = NULL;
    enum peal_err err = peal_matcher_create(&matcher, query);
    if (err) {
        print_error("making a matcher: %s\n", peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
    return matcher;
}

static const peal_event *newest(struct scene *scene)
{
    const peal_event *event = NULL, *kept = NULL;
    peal_reader *reader = NULL;
    const struct peal_query query = { .backwards = true, .limit = 1 };
    assert_int_equal(peal_reader_open(&reader, scene->bus, &query), PEAL_OK);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    assert_int_equal(peal_event_ref(&kept, event), PEAL_OK);
    peal_reader_close(reader);
    return kept;
}

static bool takes(const struct peal_query *query, const peal_event *event)
{
    peal_matcher *matcher = create(query);
    bool taken = peal_matcher_takes(matcher, event);
    peal_matcher_destroy(matcher);
    return taken;
}

static void without_a_query_everything_is_taken(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    scene_publish(&scene, "$own.test", NULL, "x");
    const peal_event *event = newest(&scene);
    assert_true(takes(NULL, event));
    assert_true(takes(&(struct peal_query){ 0 }, event));
    peal_event_unref(event);
    scene_close(&scene);
}

static void how_a_log_is_read_is_no_condition(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    scene_publish(&scene, "a", NULL, "x");
    const peal_event *event = newest(&scene);
    peal_matcher *matcher = create(
        &(struct peal_query){ .pattern = "a", .backwards = true, .limit = 1, .after = UINT64_MAX });
    for (int i = 0; i < 3; i++) {
        assert_true(peal_matcher_takes(matcher, event));
    }
    peal_matcher_destroy(matcher);
    peal_event_unref(event);
    scene_close(&scene);
}

static void an_event_of_no_log_is_taken_by_what_it_says(void **state)
{
    (void)state;
    char bytes[1024];
    struct scene scene;
    scene_open(&scene, 1, NULL);
    const char data[] = "{\"total\":5.0,\"lines\":[1,2]}";
    struct peal_message message = {
        .type = "order.paid", .subject = "o-17", .id = "mine", .data = data, .size = sizeof data - 1
    };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    const peal_event *event = newest(&scene), *loose = NULL;
    size_t size = peal_event_encode(event, bytes, sizeof bytes);
    assert_true(size <= sizeof bytes);
    assert_int_equal(peal_event_decode(&loose, bytes, size), PEAL_OK);

    assert_true(takes(
        &(struct peal_query){
            .pattern = "order.*", .subject = "o-17", .id = "mine", .contains = "{\"total\":5}" },
        loose));
    assert_false(takes(&(struct peal_query){ .contains = "{\"total\":6}" }, loose));
    assert_false(takes(&(struct peal_query){ .subject = "o-18" }, loose));
    assert_false(takes(&(struct peal_query){ .id = "yours" }, loose));
    assert_false(takes(&(struct peal_query){ .pattern = "order" }, loose));
    peal_event_unref(loose);
    peal_event_unref(event);
    scene_close(&scene);
}

static void the_query_is_copied_with_its_strings(void **state)
{
    (void)state;
    char pattern[] = "a.*", subject[] = "s", contains[] = "{\"k\":1}";
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_query query = { .pattern = pattern, .subject = subject, .contains = contains };
    peal_matcher *matcher = create(&query);
    memset(pattern, 'z', 3);
    memset(subject, 'z', 1);
    memset(contains, 'z', 7);
    struct peal_message message = { .type = "a.b", .subject = "s", .data = "{\"k\":1}", .size = 7 };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    const peal_event *event = newest(&scene);
    assert_true(peal_matcher_takes(matcher, event));
    peal_event_unref(event);
    peal_matcher_destroy(matcher);
    scene_close(&scene);
}

// ---- many at once -------------------------------------------------------------------------------

enum { THREADS = 4, TIMES = 2000, EVENTS = 8 };

struct crowd {
    const peal_matcher *matcher;
    const peal_event *events[EVENTS]; // of every second the data contains it
    size_t wrong[THREADS];
};

struct asker {
    struct crowd *crowd;
    size_t number;
};

static void *ask(void *context)
{
    const struct asker *asker = context;
    struct crowd *crowd = asker->crowd;
    for (size_t i = 0; i < TIMES; i++) {
        size_t which = (i + asker->number) % EVENTS;
        bool taken = peal_matcher_takes(crowd->matcher, crowd->events[which]);
        crowd->wrong[asker->number] += taken != (which % 2 == 0);
    }
    return NULL;
}

static void many_threads_ask_one_matcher(void **state)
{
    (void)state;
    struct scene scene;
    struct crowd crowd = { 0 };
    struct asker askers[THREADS];
    pthread_t threads[THREADS];
    scene_open(&scene, 1, NULL);
    for (size_t i = 0; i < EVENTS; i++) {
        scene_publish(&scene, "a", NULL,
                      i % 2 == 0 ? "{\"a\":[1,2,{\"b\":3}]}" : "{\"a\":[2,{\"b\":3}]}");
        crowd.events[i] = newest(&scene);
    }
    peal_matcher *matcher = create(&(struct peal_query){ .contains = "{\"a\":[{\"b\":3},1,2]}" });
    crowd.matcher = matcher;
    for (size_t i = 0; i < THREADS; i++) {
        askers[i] = (struct asker){ &crowd, i };
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(crowd.wrong[i], 0);
    }
    for (size_t i = 0; i < EVENTS; i++) {
        peal_event_unref(crowd.events[i]);
    }
    peal_matcher_destroy(matcher);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_query_everything_is_taken),
        cmocka_unit_test(how_a_log_is_read_is_no_condition),
        cmocka_unit_test(an_event_of_no_log_is_taken_by_what_it_says),
        cmocka_unit_test(the_query_is_copied_with_its_strings),
        cmocka_unit_test(many_threads_ask_one_matcher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
