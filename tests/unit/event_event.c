// SPDX-License-Identifier: MIT
//
// An event says the same wherever it lies: in a message, in a frame of a log, in a reference, in a
// copy, and after it was bytes. And who keeps it, keeps what it lies in.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "event/event.h"
#include "unit/base_failing.h"

#define NOW INT64_C(1738326896123456789)

// ---- a world whose time stands still until it is asked ------------------------------------------

struct world {
    struct failing failing; // first: it is what the memory functions take
    int64_t now;
};

static int64_t next_now(void *world)
{
    return ((struct world *)world)->now++;
}

static struct pl_seams world_seams(struct world *world, size_t fail_at)
{
    struct pl_seams seams = failing_seams(&world->failing, fail_at);
    world->now = NOW;
    seams.realtime = next_now;
    return seams;
}

static struct pl_origin origin_of(const struct pl_seams *seams)
{
    return (struct pl_origin){ .seams = seams, .source = "/bus", .seed = { 1, 2 } };
}

// ---- something that owns frames -----------------------------------------------------------------

struct owner {
    long kept;
    _Alignas(8) char bytes[8192];
};

static void keep(void *owner)
{
    ((struct owner *)owner)->kept++;
}

static void drop(void *owner)
{
    ((struct owner *)owner)->kept--;
}

static const struct pl_owner_ops owner_ops = { keep, drop };

// Writes the message into the owner as a log would, and fills in a view of it.
static void view_in_owner(struct peal_event *event, struct owner *owner,
                          const struct peal_message *message, const struct pl_stamp *stamp,
                          const struct pl_origin *origin)
{
    size_t attributes;
    struct pl_frame *frame = (struct pl_frame *)owner->bytes;
    if (pl_message_check(message, &attributes)) {
        fail_msg("%s", peal_error_sentence());
    }
    assert_true(pl_frame_size(attributes, message->size, stamp->outside) <= sizeof owner->bytes);
    pl_frame_write(frame, message, attributes, stamp);
    pl_event_from_frame(event, frame, message->type, origin);
    event->owner = owner;
    event->owner_ops = &owner_ops;
}

// ---- an event with everything -------------------------------------------------------------------

static const struct peal_pair meta[] = { { "model", "resnet" }, { "empty", "" }, { "z9", "last" } };

static const struct peal_message full = {
    .type = "training.epoch_completed",
    .data = "{\"epoch\":3}",
    .size = 11,
    .id = "id-1",
    .source = "/trainer",
    .subject = "run-7",
    .key = "gpu-0",
    .content_type = "application/x+json",
    .schema = "urn:epoch:1.0.0",
    .correlation = "cor",
    .causation = "cau",
    .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    .tracestate = "v=1",
    .metadata = meta,
    .metadata_count = 3,
    .time_ns = NOW - 1000,
    .priority = PEAL_PRIORITY(9),
};

static const struct peal_message bare = { .type = "a", .data = "x", .size = 1 };

static const struct pl_stamp stamp = {
    .position = 42, .recorded = NOW, .version = 3, .type = 5, .hops = 2
};

static const struct pl_stamp bare_stamp = { .position = 42, .recorded = NOW, .type = 5, .hops = 2 };

static void expect_same(const peal_event *a, const peal_event *b)
{
    const char *(*const strings[])(const peal_event *) = {
        peal_event_type,        peal_event_id,         peal_event_source,
        peal_event_subject,     peal_event_key,        peal_event_schema,
        peal_event_correlation, peal_event_causation,  peal_event_content_type,
        peal_event_traceparent, peal_event_tracestate,
    };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        assert_string_equal(strings[i](a), strings[i](b));
    }
    assert_int_equal(peal_event_size(a), peal_event_size(b));
    if (peal_event_size(a)) {
        assert_memory_equal(peal_event_data(a), peal_event_data(b), peal_event_size(a));
    }
    assert_int_equal(peal_event_priority(a), peal_event_priority(b));
    assert_true(peal_event_time(a) == peal_event_time(b));
    assert_true(peal_event_recorded_time(a) == peal_event_recorded_time(b));
    assert_true(peal_event_position(a) == peal_event_position(b));
    assert_true(peal_event_stream_version(a) == peal_event_stream_version(b));
    assert_int_equal(a->hops, b->hops);
    size_t count = peal_event_metadata_count(a);
    assert_int_equal(count, peal_event_metadata_count(b));
    for (size_t i = 0; i < count; i++) {
        struct peal_pair of_a = peal_event_metadata_at(a, i);
        struct peal_pair of_b = peal_event_metadata_at(b, i);
        assert_string_equal(of_a.name, of_b.name);
        assert_string_equal(of_a.value, of_b.value);
    }
}

static void expect_full(const peal_event *event)
{
    assert_string_equal(peal_event_type(event), full.type);
    assert_string_equal(peal_event_id(event), full.id);
    assert_string_equal(peal_event_source(event), full.source);
    assert_string_equal(peal_event_subject(event), full.subject);
    assert_string_equal(peal_event_key(event), full.key);
    assert_string_equal(peal_event_content_type(event), full.content_type);
    assert_string_equal(peal_event_schema(event), full.schema);
    assert_string_equal(peal_event_correlation(event), full.correlation);
    assert_string_equal(peal_event_causation(event), full.causation);
    assert_string_equal(peal_event_traceparent(event), full.traceparent);
    assert_string_equal(peal_event_tracestate(event), full.tracestate);
    assert_int_equal(peal_event_size(event), full.size);
    assert_memory_equal(peal_event_data(event), full.data, full.size);
    assert_int_equal(peal_event_priority(event), 9);
    assert_true(peal_event_time(event) == full.time_ns);
    assert_int_equal(peal_event_metadata_count(event), 3);
    assert_string_equal(peal_event_metadata_at(event, 2).name, "z9");
    assert_null(peal_event_metadata_at(event, 3).name);
    assert_string_equal(peal_event_metadata(event, "model"), "resnet");
    assert_string_equal(peal_event_metadata(event, "empty"), "");
    assert_null(peal_event_metadata(event, "none"));
    assert_null(peal_event_metadata(event, NULL));
    assert_int_equal(peal_event_attempt(event), 0);
    assert_false(peal_event_is_replay(event));
}

// ---- views --------------------------------------------------------------------------------------

static void a_view_of_a_message_says_what_the_message_says(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    struct peal_event event;
    pl_event_from_message(&event, &full, full.type, &origin, 7);
    expect_full(&event);
    assert_true(peal_event_position(&event) == 0);
    assert_true(peal_event_stream_version(&event) == 0);
    assert_true(peal_event_recorded_time(&event) == full.time_ns);
}

static void a_view_of_a_frame_says_what_its_message_said(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    static struct owner owner;
    struct peal_event event;
    view_in_owner(&event, &owner, &full, &stamp, &origin);
    expect_full(&event);
    assert_true(peal_event_position(&event) == 42);
    assert_true(peal_event_stream_version(&event) == 3);
    assert_true(peal_event_recorded_time(&event) == NOW);
    assert_int_equal(event.hops, 2);
}

static void what_nobody_gave_has_a_default(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    static struct owner owner;
    struct peal_event events[2];
    pl_event_from_message(&events[0], &bare, bare.type, &origin, 7);
    view_in_owner(&events[1], &owner, &bare, &bare_stamp, &origin);
    for (size_t i = 0; i < 2; i++) {
        const peal_event *event = &events[i];
        assert_string_equal(peal_event_source(event), "/bus");
        assert_string_equal(peal_event_content_type(event), "application/json");
        assert_string_equal(peal_event_subject(event), "");
        assert_string_equal(peal_event_key(event), "");
        assert_string_equal(peal_event_correlation(event), "");
        assert_int_equal(peal_event_priority(event), PEAL_PRIORITY_DEFAULT);
        assert_int_equal(peal_event_metadata_count(event), 0);
        assert_null(peal_event_metadata_at(event, 0).name);
        assert_true(peal_event_time(event) == NOW);
        assert_true(peal_event_time(event) == NOW); // and does not pass
        assert_true(peal_event_recorded_time(event) == NOW);
    }
    struct peal_message message = { .type = "a", .subject = "run-7" };
    pl_event_from_message(&events[0], &message, message.type, &origin, 7);
    assert_string_equal(peal_event_key(&events[0]), "run-7");
    assert_null(peal_event_data(&events[0]));
}

static void an_id_nobody_gave_is_made_and_stays(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    static struct owner owner;
    struct peal_event event;
    struct peal_event again;
    struct pl_stamp next = bare_stamp;
    view_in_owner(&event, &owner, &bare, &bare_stamp, &origin);
    const char *id = peal_event_id(&event);
    assert_int_equal(strlen(id), 36);
    assert_memory_equal(id, "0194bc", 6); // the time
    assert_int_equal(id[14], '7');
    assert_ptr_equal(peal_event_id(&event), id);

    pl_event_from_frame(&again, event.frame, "a", &origin);
    assert_string_equal(peal_event_id(&again), id);

    next.position++;
    view_in_owner(&again, &owner, &bare, &next, &origin);
    assert_string_not_equal(peal_event_id(&again), id);
}

// ---- references ---------------------------------------------------------------------------------

static void a_reference_to_a_frame_keeps_its_owner_once(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    struct pl_origin origin = origin_of(&seams);
    static struct owner owner;
    char type[] = "training.epoch_completed";
    char source[] = "/bus";
    origin.source = source;
    struct peal_message message = full;
    message.type = type;
    message.source = NULL;
    message.id = NULL;
    struct peal_event event;
    view_in_owner(&event, &owner, &message, &stamp, &origin);
    event.delivery = &event;
    event.attempt = 2;
    event.replay = true;

    const peal_event *first = NULL;
    const peal_event *second = NULL;
    assert_int_equal(peal_event_ref(&first, &event), PEAL_OK);
    assert_true(first->id_made); // before any other thread can ask for it
    assert_int_equal(peal_event_ref(&second, first), PEAL_OK);
    assert_ptr_equal(first, second);
    assert_ptr_not_equal(first, &event);
    assert_int_equal(owner.kept, 1);
    assert_int_equal(world.failing.living, 1);
    assert_ptr_equal(peal_event_data(first), peal_event_data(&event));
    expect_same(first, &event);
    assert_null(first->delivery);
    assert_int_equal(peal_event_attempt(first), 2);
    assert_true(peal_event_is_replay(first));

    memset(type, 'x', sizeof type - 1); // the bus is gone
    memset(source, 'x', sizeof source - 1);
    assert_string_equal(peal_event_type(first), full.type);
    assert_string_equal(peal_event_source(first), "/bus");

    peal_event_unref(first);
    assert_int_equal(owner.kept, 1);
    assert_string_equal(peal_event_subject(second), "run-7");
    peal_event_unref(second);
    assert_int_equal(owner.kept, 0);
    assert_int_equal(world.failing.living, 0);
}

static void a_reference_to_a_message_is_a_copy(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    const struct peal_message *const messages[] = { &full, &bare };
    for (size_t i = 0; i < 2; i++) {
        struct peal_message message = *messages[i];
        char data[16];
        memcpy(data, message.data, message.size);
        message.data = data;
        struct peal_event event;
        pl_event_from_message(&event, &message, message.type, &origin, 7);
        event.hops = PEAL_HOPS_MAX;

        const peal_event *kept = NULL;
        assert_int_equal(peal_event_ref(&kept, &event), PEAL_OK);
        expect_same(kept, &event);

        memset(data, 0, sizeof data); // the publish has returned
        memset(&message, 0, sizeof message);
        assert_memory_equal(peal_event_data(kept), messages[i]->data, messages[i]->size);
        assert_true(peal_event_position(kept) == 0);
        const peal_event *again = NULL;
        assert_int_equal(peal_event_ref(&again, kept), PEAL_OK);
        assert_ptr_equal(again, kept);
        peal_event_unref(kept);
        peal_event_unref(again);
        assert_int_equal(world.failing.living, 0);
    }
}

static void a_copy_leaves_the_owner_alone(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    static struct owner owner;
    const struct peal_message *const messages[] = { &full, &bare };
    const struct pl_stamp *const stamps[] = { &stamp, &bare_stamp };
    for (size_t i = 0; i < 2; i++) {
        struct peal_event event;
        const peal_event *copy = NULL;
        const peal_event *second = NULL;
        view_in_owner(&event, &owner, messages[i], stamps[i], &origin);
        event.attempt = 3;
        assert_int_equal(pl_event_copy(&copy, &event, NULL, 0), PEAL_OK);
        assert_int_equal(owner.kept, 0);
        expect_same(copy, &event);
        assert_int_equal(peal_event_attempt(copy), 3);

        memset(owner.bytes, 0xee, sizeof owner.bytes); // the log has forgotten it
        assert_int_equal(pl_event_copy(&second, copy, NULL, 0), PEAL_OK);
        peal_event_unref(copy);
        assert_string_equal(peal_event_type(second), messages[i]->type);
        assert_memory_equal(peal_event_data(second), messages[i]->data, messages[i]->size);
        assert_true(peal_event_stream_version(second) == stamps[i]->version);
        peal_event_unref(second);
        assert_int_equal(world.failing.living, 0);
    }
}

static void a_copy_may_have_other_data(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    static struct owner owner;
    char data[18] = "0123456789abcdefg";
    struct peal_event event;
    view_in_owner(&event, &owner, &full, &stamp, &origin);
    for (size_t size = 0; size <= 17; size++) {
        const peal_event *copy = NULL;
        const peal_event *second = NULL;
        assert_int_equal(pl_event_copy(&copy, &event, data, size), PEAL_OK);
        assert_int_equal(pl_event_copy(&second, copy, "other", 5), PEAL_OK);
        assert_int_equal(peal_event_size(copy), size);
        if (size) {
            assert_memory_equal(peal_event_data(copy), data, size);
        } else {
            assert_null(peal_event_data(copy));
        }
        assert_string_equal(peal_event_id(copy), "id-1");
        assert_string_equal(peal_event_metadata(copy, "z9"), "last");
        assert_memory_equal(peal_event_data(second), "other", 5);
        assert_string_equal(peal_event_tracestate(second), "v=1");
        peal_event_unref(copy);
        peal_event_unref(second);
    }
    assert_int_equal(world.failing.living, 0);
}

static void data_outside_is_copied_inside(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    static struct owner owner;
    static char large[100000];
    memset(large, 'L', sizeof large);
    struct peal_message message = full;
    message.data = large;
    message.size = sizeof large;
    struct pl_stamp outside = stamp;
    outside.outside = large;
    struct peal_event event;
    view_in_owner(&event, &owner, &message, &outside, &origin);
    assert_ptr_equal(peal_event_data(&event), large);

    const peal_event *copy = NULL;
    assert_int_equal(pl_event_copy(&copy, &event, NULL, 0), PEAL_OK);
    expect_same(copy, &event);
    assert_ptr_not_equal(peal_event_data(copy), large);
    assert_false(copy->frame->flags & PL_FLAG_OUTSIDE);
    peal_event_unref(copy);
}

static void without_memory_nothing_is_kept(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 1);
    const struct pl_origin origin = origin_of(&seams);
    static struct owner owner;
    struct peal_event message;
    struct peal_event frame;
    const peal_event *out = &message;
    pl_event_from_message(&message, &full, full.type, &origin, 7);
    view_in_owner(&frame, &owner, &full, &stamp, &origin);

    assert_int_equal(peal_event_ref(&out, &message), PEAL_ENOMEM);
    assert_non_null(strstr(peal_error_sentence(), full.type));
    world.failing.fail_at++;
    assert_int_equal(peal_event_ref(&out, &frame), PEAL_ENOMEM);
    assert_non_null(strstr(peal_error_sentence(), full.type));
    world.failing.fail_at++;
    assert_int_equal(pl_event_copy(&out, &frame, NULL, 0), PEAL_ENOMEM);
    world.failing.fail_at++;
    assert_int_equal(pl_event_copy(&out, &message, "x", 1), PEAL_ENOMEM);

    assert_int_equal(world.failing.calls, 4);
    assert_ptr_equal(out, &message);
    assert_int_equal(owner.kept, 0);
    assert_int_equal(world.failing.living, 0);
}

static void misuse_of_references_changes_nothing(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    struct peal_event event;
    const peal_event *out = NULL;
    pl_event_from_message(&event, &bare, bare.type, &origin, 7);
    assert_int_equal(peal_event_ref(NULL, &event), PEAL_EINVAL);
    assert_int_equal(peal_event_ref(&out, NULL), PEAL_EINVAL);
    assert_null(out);
    peal_event_unref(NULL);
    peal_event_unref(&event); // a view: not a reference
    assert_string_equal(peal_event_type(&event), "a");
    assert_int_equal(world.failing.calls, 0);
}

// ---- bytes --------------------------------------------------------------------------------------

static const peal_event *recoded(const peal_event *event)
{
    static _Alignas(8) char bytes[16384];
    size_t size = peal_event_encode(event, bytes, sizeof bytes);
    assert_in_range(size, 1, sizeof bytes);
    const peal_event *decoded = NULL;
    if (peal_event_decode(&decoded, bytes, size)) {
        fail_msg("%s", peal_error_sentence());
    }
    return decoded;
}

static void an_event_comes_back_from_its_bytes(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    static struct owner owner;
    const struct peal_message *const messages[] = { &full, &bare };
    const struct pl_stamp *const stamps[] = { &stamp, &bare_stamp };
    for (size_t i = 0; i < 2; i++) {
        struct peal_event event;
        view_in_owner(&event, &owner, messages[i], stamps[i], &origin);
        const peal_event *decoded = recoded(&event);
        expect_same(decoded, &event);
        const peal_event *twice = recoded(decoded);
        expect_same(twice, &event);
        peal_event_unref(decoded);
        peal_event_unref(twice);

        pl_event_from_message(&event, messages[i], messages[i]->type, &origin, 7);
        decoded = recoded(&event);
        expect_same(decoded, &event);
        peal_event_unref(decoded);
    }
}

static void priority_and_hops_come_back_from_bytes(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    for (int priority = 0; priority <= PEAL_PRIORITY_HIGHEST; priority++) {
        for (uint16_t hops = 0; hops <= PEAL_HOPS_MAX; hops++) {
            struct peal_message message = bare;
            message.priority = PEAL_PRIORITY(priority);
            struct peal_event event;
            pl_event_from_message(&event, &message, "a", &origin, 7);
            event.hops = hops;
            const peal_event *decoded = recoded(&event);
            assert_int_equal(peal_event_priority(decoded), priority);
            assert_int_equal(decoded->hops, hops);
            peal_event_unref(decoded);
        }
    }
}

static void data_of_any_size_comes_back_from_bytes(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    struct peal_message message = { .type = "a", .data = "0123456789abcdefg" };
    for (message.size = 0; message.size <= 17; message.size++) {
        struct peal_event event;
        pl_event_from_message(&event, &message, "a", &origin, 7);
        const peal_event *decoded = recoded(&event);
        expect_same(decoded, &event);
        peal_event_unref(decoded);
    }
}

static void encode_writes_all_or_nothing_at_any_byte(void **state)
{
    (void)state;
    struct world world;
    const struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    struct peal_event event;
    pl_event_from_message(&event, &full, full.type, &origin, 7);
    size_t needed = peal_event_encode(&event, NULL, 0);
    assert_int_equal(peal_event_encode(&event, NULL, 9999), needed);
    char *expected = malloc(needed);
    assert_non_null(expected);
    assert_int_equal(peal_event_encode(&event, expected, needed), needed);

    for (size_t shift = 0; shift < 8; shift++) {
        char *bytes = malloc(shift + needed);
        assert_non_null(bytes);
        memset(bytes, 0xee, shift + needed);
        assert_int_equal(peal_event_encode(&event, bytes + shift, needed - 1), needed);
        for (size_t i = 0; i < shift + needed; i++) {
            assert_int_equal((unsigned char)bytes[i], 0xee);
        }
        assert_int_equal(peal_event_encode(&event, bytes + shift, needed), needed);
        assert_memory_equal(bytes + shift, expected, needed);
        const peal_event *decoded = NULL;
        assert_int_equal(peal_event_decode(&decoded, bytes + shift, needed), PEAL_OK);
        free(bytes); // the event has a copy
        expect_same(decoded, &event);
        peal_event_unref(decoded);
    }
    free(expected);
    assert_int_equal(world.failing.calls, 0);
}

static void attributes_of_a_later_version_go_on(void **state)
{
    (void)state;
    static const char later[] = "\x01\x08"
                                "a\0\x01\x10"
                                "7\0\x05\xf8later\0\0\0\0\0\0\0\0"; // 24 bytes
    struct peal_message message = { .data = "x", .size = 1, .priority = PEAL_PRIORITY(1) };
    struct pl_stamp passed = { .position = 8, .type = PL_TYPE_INSIDE, .attributes = later };
    char bytes[64];
    char again[64];
    pl_frame_encode(bytes, &message, 24, &passed);
    const peal_event *decoded = NULL;
    const peal_event *copy = NULL;
    const peal_event *other = NULL;
    assert_int_equal(peal_event_decode(&decoded, bytes, sizeof bytes), PEAL_OK);
    assert_string_equal(peal_event_type(decoded), "a");
    assert_int_equal(peal_event_encode(decoded, again, sizeof again), sizeof again);
    assert_memory_equal(again, bytes, sizeof bytes);
    assert_int_equal(pl_event_copy(&copy, decoded, "y", 1), PEAL_OK);
    assert_int_equal(pl_event_copy(&other, copy, "x", 1), PEAL_OK);
    assert_int_equal(peal_event_encode(other, again, sizeof again), sizeof again);
    assert_memory_equal(again, bytes, sizeof bytes);
    peal_event_unref(decoded);
    peal_event_unref(copy);
    peal_event_unref(other);
}

static void what_cannot_be_decoded_changes_nothing(void **state)
{
    (void)state;
    struct world world;
    struct pl_seams seams = world_seams(&world, 0);
    const struct pl_origin origin = origin_of(&seams);
    char bytes[1024];
    struct peal_event event;
    pl_event_from_message(&event, &full, full.type, &origin, 7);
    size_t size = peal_event_encode(&event, bytes, sizeof bytes);
    const peal_event *out = &event;

    assert_int_equal(peal_event_decode(NULL, bytes, size), PEAL_EINVAL);
    assert_int_equal(peal_event_decode(&out, NULL, size), PEAL_EINVAL);
    assert_int_equal(pl_event_decode(&out, &seams, bytes, size - 8), PEAL_ECORRUPT);
    assert_int_equal(world.failing.calls, 0); // not even memory is asked for
    seams = world_seams(&world, 1);
    assert_int_equal(pl_event_decode(&out, &seams, bytes, size), PEAL_ENOMEM);
    assert_ptr_equal(out, &event);
    assert_int_equal(pl_event_decode(&out, &seams, bytes, size), PEAL_OK);
    assert_int_equal(world.failing.living, 1);
    peal_event_unref(out);
    assert_int_equal(world.failing.living, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_view_of_a_message_says_what_the_message_says),
        cmocka_unit_test(a_view_of_a_frame_says_what_its_message_said),
        cmocka_unit_test(what_nobody_gave_has_a_default),
        cmocka_unit_test(an_id_nobody_gave_is_made_and_stays),
        cmocka_unit_test(a_reference_to_a_frame_keeps_its_owner_once),
        cmocka_unit_test(a_reference_to_a_message_is_a_copy),
        cmocka_unit_test(a_copy_leaves_the_owner_alone),
        cmocka_unit_test(a_copy_may_have_other_data),
        cmocka_unit_test(data_outside_is_copied_inside),
        cmocka_unit_test(without_memory_nothing_is_kept),
        cmocka_unit_test(misuse_of_references_changes_nothing),
        cmocka_unit_test(an_event_comes_back_from_its_bytes),
        cmocka_unit_test(priority_and_hops_come_back_from_bytes),
        cmocka_unit_test(data_of_any_size_comes_back_from_bytes),
        cmocka_unit_test(encode_writes_all_or_nothing_at_any_byte),
        cmocka_unit_test(attributes_of_a_later_version_go_on),
        cmocka_unit_test(what_cannot_be_decoded_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
