// SPDX-License-Identifier: MIT
//
// Queries: every selector against a naive one, both directions, page by page, while the log rolls.
#include "support/scene.h"

#include <peal/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 300

static peal_reader *open_reader(struct scene *scene, const struct peal_query *query)
{
    peal_reader *reader = NULL;
    enum peal_err err = peal_reader_open(&reader, scene->bus, query);
    if (err) {
        print_error("opening a reader: %s\n", peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
    return reader;
}

// Reads to the end; the positions it gives, at most EVENTS_MAX. Returns how many.
static size_t read_all(peal_reader *reader, uint64_t *positions)
{
    size_t count = 0;
    const peal_event *event = NULL;
    enum peal_err err;
    while (!(err = peal_reader_next(&event, reader)) && count < EVENTS_MAX) {
        assert_int_equal(peal_event_attempt(event), 0);
        assert_false(peal_event_is_replay(event));
        positions[count++] = peal_event_position(event);
        assert_int_equal(peal_reader_cursor(reader), positions[count - 1]);
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_ENOTFOUND); // the end stays
    return count;
}

static size_t query_all(struct scene *scene, const struct peal_query *query, uint64_t *positions)
{
    peal_reader *reader = open_reader(scene, query);
    size_t count = read_all(reader, positions);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    return count;
}

static void assert_positions(const uint64_t *positions, size_t count, uint64_t first, uint64_t last)
{
    size_t expected = first <= last ? last - first + 1 : first - last + 1;
    assert_int_equal(count, expected);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(positions[i], first <= last ? first + i : first - i);
    }
}

static void publish_many(struct scene *scene, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        scene_publish(scene, "a", NULL, "x");
    }
}

// ---- a naive reader -----------------------------------------------------------------------------

// What was published, as a model. Each attribute is one of a few.
struct model {
    size_t count;
    struct peal_message messages[EVENTS_MAX];
    char ids[EVENTS_MAX][16];
};

static const char *const types[] = { "a", "a.b", "a.b.c", "b", "c.d", "$own.test" };
static const char *const words[] = { NULL, "one", "two", "three" };
static const char *const sources[] = { NULL, "/other", "/peal" };
static const char *const datas[] = { NULL, "{\"k\":[1,{\"l\":2e0}],\"m\":0}", "{\"k\":[3]}",
                                     "{\"k\":[3]" };
// The index of one says of which of the datas it is true.
static const char *const containeds[] = { "{", "{\"k\":[{\"l\":2.0}]}", " {\"k\":[3]}" };

static size_t draw(struct scene *scene, size_t count)
{
    return (size_t)(peal_world_random(scene->world) % count);
}

static void publish_model(struct scene *scene, struct model *model, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct peal_message *message = &model->messages[i];
        *message = (struct peal_message){
            .type = types[draw(scene, 6)],
            .correlation = words[draw(scene, 4)],
            .causation = words[draw(scene, 4)],
            .subject = words[draw(scene, 4)],
            .source = sources[draw(scene, 3)],
            .data = datas[draw(scene, 4)],
            .id = model->ids[i],
            .time_ns =
                draw(scene, 3) == 0 ? (int64_t)draw(scene, 50) - 10 : peal_world_now(scene->world),
        };
        (void)snprintf(model->ids[i], sizeof model->ids[i], "id-%hu", (unsigned short)i);
        if (message->time_ns == 0) {
            message->time_ns = 1;
        }
        message->size = message->data ? strlen(message->data) : 0;
        assert_int_equal(peal_publish(scene->bus, message, NULL), PEAL_OK);
        if (draw(scene, 4) == 0) {
            peal_world_advance(scene->world, draw(scene, 20));
        }
    }
    model->count = count;
}

static bool same(const char *wanted, const char *value)
{
    return !wanted || strcmp(wanted, value ? value : "") == 0;
}

// The patterns used, spelled out.
static bool type_matches(const char *pattern, const char *type)
{
    if (!pattern) {
        return true;
    }
    if (strcmp(pattern, "*") == 0 || strcmp(pattern, "**") == 0) {
        return type[0] != '$';
    }
    if (strcmp(pattern, "a.*") == 0) {
        return strncmp(type, "a.", 2) == 0;
    }
    return strcmp(pattern, type) == 0;
}

static bool model_matches(const struct model *model, size_t index, const struct peal_query *query)
{
    const struct peal_message *message = &model->messages[index];
    uint64_t position = index + 1;
    const char *source = message->source ? message->source : "/peal";
    return type_matches(query->pattern, message->type) && position >= query->from_position &&
           (!query->to_position || position < query->to_position) &&
           (!query->from_time_ns || message->time_ns >= query->from_time_ns) &&
           (!query->to_time_ns || message->time_ns < query->to_time_ns) &&
           same(query->correlation, message->correlation) &&
           same(query->causation, message->causation) && same(query->subject, message->subject) &&
           same(query->source, source) && same(query->id, message->id) &&
           (!query->contains || message->data == datas[query->contains == containeds[1] ? 1 : 2]) &&
           (!query->filter || position % 3 == 0);
}

static bool every_third(const peal_event *event, void *context)
{
    size_t *asked = context;
    ++*asked;
    return peal_event_position(event) % 3 == 0;
}

static int64_t some_time(struct scene *scene)
{
    return draw(scene, 2) ? (int64_t)draw(scene, 50) - 10
                          : peal_world_now(scene->world) - (int64_t)draw(scene, 500) * SCENE_MS;
}

// A query with a few conditions, so that some events match it.
static struct peal_query draw_query(struct scene *scene, const struct model *model, size_t *asked)
{
    static const char *const patterns[] = { "*", "**", "a.*", "a", "$own.test", "b" };
    struct peal_query query = { .backwards = draw(scene, 2) };
    for (size_t conditions = draw(scene, 4); conditions > 0; conditions--) {
        switch (draw(scene, 10)) {
        case 0:
            query.pattern = patterns[draw(scene, 6)];
            break;
        case 1:
            query.from_position = draw(scene, model->count + 10);
            break;
        case 2:
            query.to_position = draw(scene, model->count + 10);
            break;
        case 3:
            query.from_time_ns = some_time(scene);
            break;
        case 4:
            query.to_time_ns = some_time(scene);
            break;
        case 5:
            query.correlation = words[1 + draw(scene, 3)];
            break;
        case 6:
            query.causation = draw(scene, 3) ? words[1 + draw(scene, 3)] : "";
            break;
        case 7:
            query.subject = words[1 + draw(scene, 3)];
            break;
        case 8:
            query.contains = containeds[1 + draw(scene, 2)];
            break;
        default:
            query.source = sources[1 + draw(scene, 2)];
            break;
        }
    }
    if (draw(scene, 10) == 0) {
        query.id = model->ids[draw(scene, model->count)];
    }
    if (draw(scene, 5) == 0) {
        query.filter = every_third;
        query.filter_context = asked;
    }
    return query;
}

static size_t expected_of(const struct model *model, const struct peal_query *query,
                          uint64_t *positions)
{
    size_t count = 0;
    for (size_t i = 0; i < model->count; i++) {
        size_t index = query->backwards ? model->count - 1 - i : i;
        if (model_matches(model, index, query)) {
            positions[count++] = index + 1;
        }
    }
    return count;
}

// The same query in pages, each opened behind the one before.
static void check_pages(struct scene *scene, struct peal_query query, const uint64_t *expected,
                        size_t count)
{
    uint64_t positions[EVENTS_MAX];
    size_t at = 0;
    query.limit = 1 + draw(scene, 7);
    for (;;) {
        peal_reader *reader = open_reader(scene, &query);
        size_t got = read_all(reader, positions);
        assert_true(got <= query.limit);
        assert_true(at + got <= count);
        assert_memory_equal(positions, expected + at, got * sizeof *positions);
        at += got;
        query.after = peal_reader_cursor(reader);
        peal_reader_close(reader);
        if (got < query.limit) {
            break;
        }
    }
    assert_int_equal(at, count);
}

// A matcher, asked of every event there is, takes those that the reader gives.
static void check_matcher(struct scene *scene, const struct peal_query *query,
                          const uint64_t *expected, size_t count)
{
    peal_matcher *matcher = NULL;
    const peal_event *event = NULL;
    uint64_t positions[EVENTS_MAX];
    size_t taken = 0;
    assert_int_equal(peal_matcher_create(&matcher, query), PEAL_OK);
    peal_reader *reader = open_reader(scene, &(struct peal_query){ .backwards = query->backwards });
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        if (peal_matcher_takes(matcher, event)) {
            positions[taken++] = peal_event_position(event);
        }
    }
    assert_int_equal(taken, count);
    assert_memory_equal(positions, expected, count * sizeof *expected);
    peal_reader_close(reader);
    peal_matcher_destroy(matcher);
}

static void every_selector_agrees_with_a_naive_one_in_both_directions_and_in_pages(void **state)
{
    (void)state;
    uint64_t seeds = 2 + scene_effort() / 10;
    static struct model model;
    uint64_t expected[EVENTS_MAX], positions[EVENTS_MAX];
    size_t matched = 0;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        struct scene scene;
        scene_open(&scene, seed, NULL);
        publish_model(&scene, &model, 1 + draw(&scene, EVENTS_MAX - 1));
        for (int i = 0; i < 200; i++) {
            size_t asked = 0;
            struct peal_query query = draw_query(&scene, &model, &asked);
            size_t count = expected_of(&model, &query, expected);
            assert_int_equal(query_all(&scene, &query, positions), count);
            assert_memory_equal(positions, expected, count * sizeof *expected);
            check_pages(&scene, query, expected, count);
            check_matcher(&scene, &query, expected, count);
            matched += count;
        }
        scene_close(&scene);
    }
    assert_true(matched > seeds * 1000); // the queries were not all empty
}

// ---- one by one ---------------------------------------------------------------------------------

static void without_a_query_a_reader_gives_everything_in_log_order(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    publish_many(&scene, 20);
    uint64_t positions[EVENTS_MAX];
    assert_positions(positions, query_all(&scene, NULL, positions), 1, 20);
    struct peal_query query = { .backwards = true };
    assert_positions(positions, query_all(&scene, &query, positions), 20, 1);
    scene_close(&scene);
}

static void a_generated_id_can_be_asked_for(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    publish_many(&scene, 5);
    struct peal_message message = { .type = "a" };
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(scene.bus, &message, &receipt), PEAL_OK);
    publish_many(&scene, 5);
    struct peal_query query = { .id = receipt.id };
    uint64_t positions[EVENTS_MAX];
    assert_positions(positions, query_all(&scene, &query, positions), 6, 6);
    scene_close(&scene);
}

static void a_range_includes_its_first_and_not_its_last(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    for (int i = 0; i < 10; i++) {
        publish_many(&scene, 1);
        peal_world_advance(scene.world, 1000);
    }
    uint64_t positions[EVENTS_MAX];
    struct peal_query by_position = { .from_position = 3, .to_position = 7 };
    assert_positions(positions, query_all(&scene, &by_position, positions), 3, 6);
    struct peal_query by_time = { .from_time_ns = (SCENE_EPOCH_S + 2) * SCENE_SECOND,
                                  .to_time_ns = (SCENE_EPOCH_S + 6) * SCENE_SECOND };
    assert_positions(positions, query_all(&scene, &by_time, positions), 3, 6);
    by_time.backwards = true;
    assert_positions(positions, query_all(&scene, &by_time, positions), 6, 3);
    scene_close(&scene);
}

static void a_range_of_nothing_is_empty(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    uint64_t positions[EVENTS_MAX];
    const struct peal_query empty[] = {
        { .from_position = 11 },
        { .from_position = UINT64_MAX },
        { .from_position = 5, .to_position = 5 },
        { .from_position = 7, .to_position = 3 },
        { .to_position = 1 },
        { .after = 10 },
        { .after = UINT64_MAX },
        { .after = 1, .backwards = true },
        { .from_time_ns = INT64_MAX },
        { .to_time_ns = INT64_MIN },
        { .pattern = "nobody.publishes.this" },
    };
    assert_int_equal(query_all(&scene, NULL, positions), 0); // also an empty log
    for (int published = 0; published <= 10; published += 10) {
        for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
            assert_int_equal(query_all(&scene, &empty[i], positions), 0);
            struct peal_query other = empty[i];
            other.backwards = other.after != 1 && other.after != 10 && !other.backwards &&
                              other.after != UINT64_MAX;
            if (other.backwards) {
                assert_int_equal(query_all(&scene, &other, positions), 0);
            }
        }
        publish_many(&scene, 10);
    }
    scene_close(&scene);
}

static void the_cursor_is_zero_before_the_first_and_stays_behind_the_last(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    publish_many(&scene, 3);
    peal_reader *reader = open_reader(&scene, NULL);
    assert_int_equal(peal_reader_cursor(reader), 0);
    uint64_t positions[EVENTS_MAX];
    assert_int_equal(read_all(reader, positions), 3);
    assert_int_equal(peal_reader_cursor(reader), 3);
    peal_reader_close(reader);

    // An empty page does not start again from the beginning.
    struct peal_query query = { .after = 3 };
    reader = open_reader(&scene, &query);
    assert_int_equal(read_all(reader, positions), 0);
    assert_int_equal(peal_reader_cursor(reader), 3);
    peal_reader_close(reader);
    assert_int_equal(peal_reader_cursor(NULL), 0);
    assert_int_equal(peal_reader_skipped(NULL), 0);
    peal_reader_close(NULL);
    scene_close(&scene);
}

static void a_limit_ends_the_reader(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    publish_many(&scene, 10);
    uint64_t positions[EVENTS_MAX];
    struct peal_query query = { .limit = 3 };
    assert_positions(positions, query_all(&scene, &query, positions), 1, 3);
    query.backwards = true;
    assert_positions(positions, query_all(&scene, &query, positions), 10, 8);
    query.limit = 100;
    assert_positions(positions, query_all(&scene, &query, positions), 10, 1);
    scene_close(&scene);
}

static void the_filter_is_asked_last(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    publish_many(&scene, 9);
    scene_publish(&scene, "b", NULL, "x");
    size_t asked = 0;
    struct peal_query query = { .pattern = "b", .filter = every_third, .filter_context = &asked };
    uint64_t positions[EVENTS_MAX];
    assert_int_equal(query_all(&scene, &query, positions), 0);
    assert_int_equal(asked, 1);
    scene_close(&scene);
}

// Publishes data of a content type; returns its position.
static uint64_t publish_data(struct scene *scene, const char *content_type, const char *data)
{
    struct peal_message message = {
        .type = "a", .content_type = content_type, .data = data, .size = strlen(data)
    };
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(scene->bus, &message, &receipt), PEAL_OK);
    return receipt.position;
}

static void only_json_contains_json(void **state)
{
    (void)state;
    static const char json[] = "{\"a\":[1,2]}";
    struct scene scene;
    scene_open(&scene, 1, NULL);
    uint64_t wanted[3], positions[EVENTS_MAX];
    wanted[0] = publish_data(&scene, NULL, json);
    (void)publish_data(&scene, "text/plain", json); // says that it is none
    wanted[1] = publish_data(&scene, "application/x+json; charset=utf-8", json);
    (void)publish_data(&scene, NULL, "{\"a\":[1,2]} and more"); // is none
    (void)publish_data(&scene, NULL, "");
    wanted[2] = publish_data(&scene, "text/json", "{\"a\":[2],\"b\":0}");
    struct peal_query query = { .contains = "{\"a\":[2.0]}" };
    assert_int_equal(query_all(&scene, &query, positions), 3);
    assert_memory_equal(positions, wanted, sizeof wanted);
    query.contains = "{\"a\":[3]}";
    assert_int_equal(query_all(&scene, &query, positions), 0);
    scene_close(&scene);
}

static void contains_that_is_no_json_is_refused_with_the_place(void **state)
{
    (void)state;
    static char large[4098];
    struct scene scene;
    scene_open(&scene, 1, NULL);
    peal_reader *reader = NULL;
    struct peal_query query = { .contains = "{\"a\":1,}" };
    assert_int_equal(peal_reader_open(&reader, scene.bus, &query), PEAL_EINVAL);
    assert_non_null(strstr(peal_error_sentence(), "byte 7"));
    query.contains = "";
    assert_int_equal(peal_reader_open(&reader, scene.bus, &query), PEAL_EINVAL);
    memset(large, '1', 4096);
    query.contains = large;
    assert_int_equal(peal_reader_open(&reader, scene.bus, &query), PEAL_OK);
    peal_reader_close(reader);
    large[4096] = '1';
    reader = NULL;
    assert_int_equal(peal_reader_open(&reader, scene.bus, &query), PEAL_ELIMIT);
    assert_null(reader);
    scene_close(&scene);
}

static void many_types_match_the_same_with_and_without_memory_to_remember_them(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    uint64_t wanted = 0;
    for (unsigned i = 0; i < 1000; i++) {
        char type[32];
        (void)snprintf(type, sizeof type, "t%u.%s", i % 500, i % 3 ? "yes" : "no"); // it fits
        peal_emit(scene.bus, type, NULL, 0);
        wanted += i % 3 != 0;
    }
    for (int memory = 0; memory < 2; memory++) {
        struct peal_query query = { .pattern = "*.yes", .limit = 0 };
        peal_reader *reader = open_reader(&scene, &query);
        if (!memory) {
            peal_world_fail_allocation(scene.world, 1, true);
        }
        const peal_event *event;
        uint64_t given = 0;
        while (peal_reader_next(&event, reader) == PEAL_OK) {
            assert_non_null(strstr(peal_event_type(event), ".yes"));
            given++;
        }
        assert_int_equal(given, wanted);
        peal_world_fail_allocation(scene.world, 0, false);
        peal_reader_close(reader);
    }
    scene_close(&scene);
}

static void the_query_is_copied_with_its_strings(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_message message = {
        .type = "a", .subject = "s", .correlation = "c", .causation = "d", .source = "/e", .id = "f"
    };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    char text[6][4] = { "a", "s", "c", "d", "/e", "f" };
    struct peal_query query = { .pattern = text[0],
                                .subject = text[1],
                                .correlation = text[2],
                                .causation = text[3],
                                .source = text[4],
                                .id = text[5] };
    peal_reader *reader = open_reader(&scene, &query);
    memset(text, 'z', sizeof text);
    memset(&query, 0xff, sizeof query);
    uint64_t positions[EVENTS_MAX];
    assert_int_equal(read_all(reader, positions), 1);
    peal_reader_close(reader);
    scene_close(&scene);
}

static void a_reader_sees_the_log_as_it_was_when_it_was_opened(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    publish_many(&scene, 5);
    struct peal_query backwards = { .backwards = true };
    peal_reader *forth = open_reader(&scene, NULL), *back = open_reader(&scene, &backwards);
    const peal_event *event;
    assert_int_equal(peal_reader_next(&event, forth), PEAL_OK);
    publish_many(&scene, 5);
    uint64_t positions[EVENTS_MAX];
    assert_positions(positions, read_all(forth, positions), 2, 5);
    assert_positions(positions, read_all(back, positions), 5, 1);
    peal_reader_close(forth);
    peal_reader_close(back);
    scene_close(&scene);
}

static void an_event_can_be_kept_beyond_its_reader(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    scene_publish(&scene, "a", "key", "kept");
    peal_reader *reader = open_reader(&scene, NULL);
    const peal_event *event, *kept;
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    assert_int_equal(peal_event_ref(&kept, event), PEAL_OK);
    peal_reader_close(reader);
    peal_bus_close(scene.bus);
    assert_memory_equal(peal_event_data(kept), "kept", 4);
    assert_string_equal(peal_event_key(kept), "key");
    peal_event_unref(kept);
    peal_world_close(scene.world);
}

static enum peal_verdict query_inside(const peal_event *event, void *context)
{
    struct scene *scene = context;
    (void)event;
    uint64_t positions[EVENTS_MAX];
    assert_int_equal(query_all(scene, NULL, positions), 4);
    return PEAL_DONE;
}

static void a_handler_can_query(void **state)
{
    (void)state;
    for (int mode = PEAL_WORKER; mode <= PEAL_INLINE; mode++) {
        struct scene scene;
        scene_open(&scene, 1, NULL);
        struct peal_subscribe_options options = { .mode = (enum peal_mode)mode };
        assert_int_equal(peal_subscribe(NULL, scene.bus, "b", &options, query_inside, &scene),
                         PEAL_OK);
        publish_many(&scene, 3);
        scene_publish(&scene, "b", NULL, NULL);
        peal_world_settle(scene.world);
        assert_int_equal(scene_stats(&scene).delivered, 1);
        scene_close(&scene);
    }
}

// ---- what is kept -------------------------------------------------------------------------------

static void a_bus_that_keeps_nothing_cannot_be_read_back(void **state)
{
    (void)state;
    const struct peal_bus_options none[] = { { .history_events = PEAL_NO_HISTORY },
                                             { .history_bytes = PEAL_NO_HISTORY },
                                             { .history_ms = PEAL_NO_HISTORY } };
    peal_reader *reader = NULL;
    for (size_t i = 0; i < 3; i++) {
        struct scene scene;
        scene_open(&scene, 1, &none[i]);
        assert_int_equal(peal_reader_open(&reader, scene.bus, NULL), PEAL_EUNSUPPORTED);
        scene_close(&scene);
    }
    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, "noop:", NULL), PEAL_OK);
    assert_int_equal(peal_reader_open(&reader, bus, NULL), PEAL_EUNSUPPORTED);
    assert_null(reader);
    peal_bus_close(bus);
}

static void the_history_is_exact_to_the_event(void **state)
{
    (void)state;
    const uint64_t limits[] = { 1, 2, 10, 99 };
    for (size_t i = 0; i < 4; i++) {
        struct scene scene;
        scene_open(&scene, 1, &(struct peal_bus_options){ .history_events = limits[i] });
        uint64_t positions[EVENTS_MAX];
        for (uint64_t published = 1; published <= 120; published++) {
            publish_many(&scene, 1);
            uint64_t first = published > limits[i] ? published - limits[i] + 1 : 1;
            assert_int_equal(scene_stats(&scene).first_position, first);
            assert_positions(positions, query_all(&scene, NULL, positions), first, published);
        }
        struct peal_query query = { .backwards = true };
        assert_positions(positions, query_all(&scene, &query, positions), 120, 121 - limits[i]);
        query = (struct peal_query){ .from_position = 1, .limit = 1 };
        assert_int_equal(query_all(&scene, &query, positions), 1);
        assert_int_equal(positions[0], 121 - limits[i]);
        scene_close(&scene);
    }
}

static void the_history_is_exact_to_the_age(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .history_ms = 1000 });
    uint64_t positions[EVENTS_MAX];
    for (int i = 0; i < 50; i++) {
        publish_many(&scene, 1);
        peal_world_advance(scene.world, 100);
    }
    // Now is 100 ms after the last: 900 ms before that are ten events.
    assert_positions(positions, query_all(&scene, NULL, positions), 41, 50);
    peal_world_advance(scene.world, 1);
    assert_positions(positions, query_all(&scene, NULL, positions), 42, 50);
    assert_int_equal(scene_stats(&scene).first_position, 42);
    peal_world_advance(scene.world, 899);
    assert_positions(positions, query_all(&scene, NULL, positions), 50, 50);
    peal_world_advance(scene.world, 1);
    assert_int_equal(query_all(&scene, NULL, positions), 0);
    assert_int_equal(scene_stats(&scene).first_position, 51);
    assert_int_equal(scene_stats(&scene).last_position, 50);
    scene_close(&scene);
}

static void the_history_in_bytes_is_kept_within_a_segment(void **state)
{
    (void)state;
    const uint64_t segment = 256 << 10, limit = 4 * segment;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .history_bytes = limit });
    static const char data[8000];
    for (int i = 0; i < 1000; i++) {
        peal_emit(scene.bus, "a", data, sizeof data);
        struct peal_bus_stats stats = scene_stats(&scene);
        uint64_t kept = (stats.last_position - stats.first_position + 1) * sizeof data;
        assert_true(kept <= limit + segment);
        assert_true(i < 200 || kept >= limit - segment);
    }
    scene_close(&scene);
}

// ---- while the log rolls ------------------------------------------------------------------------

// A bus that keeps little, and publishes events of some 10,000 bytes.
static void open_rolling(struct scene *scene)
{
    scene_open(scene, 1,
               &(struct peal_bus_options){ .history_bytes = 1 << 20, .memory_max = 8 << 20 });
}

static void roll(struct scene *scene, int count)
{
    static const char data[10000];
    for (int i = 0; i < count; i++) {
        peal_emit(scene->bus, "a", data, sizeof data);
    }
}

static void what_is_forgotten_before_the_reader_gets_there_is_skipped_and_counted(void **state)
{
    (void)state;
    struct scene scene;
    open_rolling(&scene);
    roll(&scene, 80);
    struct peal_query query = { .limit = EVENTS_MAX };
    peal_reader *reader = open_reader(&scene, &query);
    const peal_event *event;
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
        assert_int_equal(peal_event_position(event), i);
    }
    roll(&scene, 85); // forgets some of what it was to see, but not all
    uint64_t first = scene_stats(&scene).first_position;
    assert_in_range(first, 40, 75);

    uint64_t given = 3, last = 3;
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        given++;
        assert_true(peal_event_position(event) > last);
        last = peal_event_position(event);
    }
    assert_int_equal(last, 80);
    assert_true(peal_reader_skipped(reader) > 0);
    assert_int_equal(given + peal_reader_skipped(reader), 80); // to the event
    peal_reader_close(reader);
    scene_close(&scene);
}

static void a_reader_whose_whole_log_is_forgotten_skips_the_rest(void **state)
{
    (void)state;
    for (int backwards = 0; backwards < 2; backwards++) {
        struct scene scene;
        open_rolling(&scene);
        roll(&scene, 80);
        struct peal_query query = { .backwards = backwards };
        peal_reader *reader = open_reader(&scene, &query);
        const peal_event *event;
        assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
        roll(&scene, 300);
        uint64_t given = 1;
        while (peal_reader_next(&event, reader) == PEAL_OK) {
            given++; // the segment it stands in
        }
        assert_in_range(given, 2, 40);
        assert_int_equal(given + peal_reader_skipped(reader), 80);
        peal_reader_close(reader);

        reader = open_reader(&scene, &(struct peal_query){ .to_position = 5 });
        assert_int_equal(peal_reader_next(&event, reader), PEAL_ENOTFOUND);
        assert_int_equal(peal_reader_skipped(reader), 0); // it was gone before it was opened
        peal_reader_close(reader);
        scene_close(&scene);
    }
}

static void a_reader_keeps_the_segment_it_stands_in_and_no_other(void **state)
{
    (void)state;
    struct scene scene;
    open_rolling(&scene);
    roll(&scene, 1000);
    uint64_t without = scene_stats(&scene).memory_bytes;
    peal_reader *reader = open_reader(&scene, NULL);
    const peal_event *event;
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    uint64_t position = peal_event_position(event);
    roll(&scene, 1000);
    assert_int_equal(peal_event_position(event), position); // still there to be read
    assert_int_equal(peal_event_size(event), 10000);
    assert_in_range(scene_stats(&scene).memory_bytes, without, without + 300000);
    peal_reader_close(reader);
    assert_in_range(scene_stats(&scene).memory_bytes, without - 300000, without);
    scene_close(&scene);
}

struct rolling_reader {
    struct scene *scene;
    bool backwards;
    uint64_t given, skipped, opened;
};

static void read_slowly(void *context)
{
    struct rolling_reader *self = context;
    struct peal_query query = { .backwards = self->backwards };
    struct peal_bus_stats stats = scene_stats(self->scene);
    peal_reader *reader = open_reader(self->scene, &query);
    self->opened = stats.last_position - stats.first_position + 1;
    const peal_event *event;
    uint64_t last = self->backwards ? UINT64_MAX : 0;
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        uint64_t position = peal_event_position(event);
        assert_true(self->backwards ? position < last : position > last);
        assert_int_equal(peal_event_size(event), 10000);
        last = position;
        self->given++;
        peal_world_yield(self->scene->world);
    }
    self->skipped = peal_reader_skipped(reader);
    peal_reader_close(reader);
}

static void publish_steadily(void *context)
{
    struct scene *scene = context;
    for (int i = 0; i < 100; i++) {
        roll(scene, 3);
        peal_world_yield(scene->world);
    }
}

static void with_any_order_of_publishers_and_readers_given_and_skipped_add_up(void **state)
{
    (void)state;
    uint64_t seeds = 2 + scene_effort() / 5;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        struct scene scene;
        scene_open(&scene, seed,
                   &(struct peal_bus_options){ .history_bytes = 1 << 20, .memory_max = 8 << 20 });
        roll(&scene, 150);
        struct rolling_reader readers[2] = { { .scene = &scene },
                                             { .scene = &scene, .backwards = true } };
        // Opened before anybody publishes, so that what was there is known.
        for (int i = 0; i < 2; i++) {
            assert_int_equal(peal_world_spawn(scene.world, read_slowly, &readers[i]), PEAL_OK);
        }
        assert_int_equal(peal_world_spawn(scene.world, publish_steadily, &scene), PEAL_OK);
        peal_world_settle(scene.world);
        for (int i = 0; i < 2; i++) {
            assert_true(readers[i].given > 0);
            // Its stats may be from a moment before it was opened.
            assert_in_range(readers[i].given + readers[i].skipped, readers[i].opened - 60,
                            readers[i].opened + 60);
        }
        scene_close(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_selector_agrees_with_a_naive_one_in_both_directions_and_in_pages),
        cmocka_unit_test(without_a_query_a_reader_gives_everything_in_log_order),
        cmocka_unit_test(a_generated_id_can_be_asked_for),
        cmocka_unit_test(a_range_includes_its_first_and_not_its_last),
        cmocka_unit_test(a_range_of_nothing_is_empty),
        cmocka_unit_test(the_cursor_is_zero_before_the_first_and_stays_behind_the_last),
        cmocka_unit_test(a_limit_ends_the_reader),
        cmocka_unit_test(the_filter_is_asked_last),
        cmocka_unit_test(only_json_contains_json),
        cmocka_unit_test(contains_that_is_no_json_is_refused_with_the_place),
        cmocka_unit_test(many_types_match_the_same_with_and_without_memory_to_remember_them),
        cmocka_unit_test(the_query_is_copied_with_its_strings),
        cmocka_unit_test(a_reader_sees_the_log_as_it_was_when_it_was_opened),
        cmocka_unit_test(an_event_can_be_kept_beyond_its_reader),
        cmocka_unit_test(a_handler_can_query),
        cmocka_unit_test(a_bus_that_keeps_nothing_cannot_be_read_back),
        cmocka_unit_test(the_history_is_exact_to_the_event),
        cmocka_unit_test(the_history_is_exact_to_the_age),
        cmocka_unit_test(the_history_in_bytes_is_kept_within_a_segment),
        cmocka_unit_test(what_is_forgotten_before_the_reader_gets_there_is_skipped_and_counted),
        cmocka_unit_test(a_reader_whose_whole_log_is_forgotten_skips_the_rest),
        cmocka_unit_test(a_reader_keeps_the_segment_it_stands_in_and_no_other),
        cmocka_unit_test(with_any_order_of_publishers_and_readers_given_and_skipped_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
