// SPDX-License-Identifier: MIT
// ctest: threaded wrap=malloc,calloc,realloc,free,mmap,munmap,mprotect
// ctest: wrap=pthread_create,pthread_join,eventfd,timerfd_create,epoll_create1,epoll_ctl,close
//
// No memory on the real machine: what no world stands behind, or the world itself. The n-th request
// is refused, once or from then on, for every n there is: blocks, stacks, threads and descriptors.
// A call says so and has changed nothing, and all it took is given back; or it succeeds all the
// same. Then it works.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/bus.h>
#include <peal/deadletter.h>
#include <peal/log.h>
#include <peal/testing.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/kit.h"
#include "support/machine.h"

#define EVENTS    70 // more than a recorder first has room for
#define REQUESTS  500
#define BYTES_MAX 4096
#define NO_PLACE  (-77)

struct ground {
    peal_world *world;
    peal_bus *bus;
    peal_subscription *box;
    peal_recorder *recorder;
    peal_reader *reader;
    const peal_event *view;
    size_t size;
    unsigned char bytes[BYTES_MAX];
    unsigned handled;
    unsigned ran; // fibers
};

// ---- before each call ---------------------------------------------------------------------------

static enum peal_verdict handle(const peal_event *event, void *context)
{
    struct ground *ground = context;
    (void)event;
    ground->handled++;
    return PEAL_DONE;
}

static void say(struct ground *ground, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct peal_message message = { .type = i ? "a.x" : "a.first", .data = "{}", .size = 2 };
        assert_int_equal(peal_publish(ground->bus, &message, NULL), PEAL_OK);
    }
    assert_int_equal(peal_bus_dispatch(ground->bus, 0, NULL), PEAL_OK);
}

static void on_nothing(struct ground *ground)
{
    *ground = (struct ground){ 0 };
}

static void on_a_bus(struct ground *ground)
{
    on_nothing(ground);
    struct peal_subscribe_options options = { .label = "box" };
    assert_int_equal(peal_bus_open(&ground->bus, "mem:?workers=0", NULL), PEAL_OK);
    assert_int_equal(peal_subscribe(&ground->box, ground->bus, "a.*", &options, handle, ground),
                     PEAL_OK);
    say(ground, 3);
}

static void on_a_view(struct ground *ground)
{
    on_a_bus(ground);
    assert_int_equal(peal_reader_open(&ground->reader, ground->bus, NULL), PEAL_OK);
    assert_int_equal(peal_reader_next(&ground->view, ground->reader), PEAL_OK);
}

static void on_bytes(struct ground *ground)
{
    on_a_view(ground);
    ground->size = peal_event_encode(ground->view, ground->bytes, sizeof ground->bytes);
    assert_in_range(ground->size, 1, sizeof ground->bytes);
}

// More subscriptions than a recorder first has room for.
static void on_a_full_bus(struct ground *ground)
{
    on_a_bus(ground);
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    for (size_t i = 0; i < EVENTS; i++) {
        assert_int_equal(peal_subscribe(NULL, ground->bus, "none", &pull, NULL, NULL), PEAL_OK);
    }
}

static void record(struct ground *ground)
{
    assert_int_equal(peal_recorder_open(&ground->recorder, ground->bus), PEAL_OK);
    say(ground, EVENTS);
}

static void on_a_recorder(struct ground *ground)
{
    on_a_bus(ground);
    record(ground);
}

static void on_a_full_recorder(struct ground *ground)
{
    on_a_full_bus(ground);
    record(ground);
}

static void on_a_world(struct ground *ground)
{
    on_nothing(ground);
    assert_int_equal(peal_world_open(&ground->world, 1), PEAL_OK);
}

static void count_run(void *context)
{
    struct ground *ground = context;
    ground->ran++;
}

// The next fiber needs a longer list.
static void on_a_crowded_world(struct ground *ground)
{
    on_a_world(ground);
    for (int i = 0; i < 15; i++) {
        assert_int_equal(peal_world_spawn(ground->world, count_run, ground), PEAL_OK);
    }
}

static void leave(struct ground *ground)
{
    peal_reader_close(ground->reader);
    peal_recorder_close(ground->recorder);
    peal_bus_close(ground->bus);
    peal_world_close(ground->world);
}

// ---- calls that return an error -----------------------------------------------------------------

// Makes the call, checks its out-parameters, and undoes it if it succeeded.
typedef enum peal_err call(struct ground *ground);

static enum peal_err open_bus_at(const char *url)
{
    peal_bus *bus = kit_nowhere();
    enum peal_err err = peal_bus_open(&bus, url, NULL);
    if (err) {
        assert_ptr_equal(bus, kit_nowhere());
    } else {
        peal_bus_close(bus);
    }
    return err;
}

static enum peal_err open_a_bus(struct ground *ground)
{
    (void)ground;
    return open_bus_at("mem:?workers=0&source=/here");
}

static enum peal_err open_a_bus_with_workers(struct ground *ground)
{
    (void)ground;
    return open_bus_at("mem:?workers=3");
}

static enum peal_err open_a_silent_bus(struct ground *ground)
{
    (void)ground;
    return open_bus_at("noop:");
}

// Topics share blocks of memory: long ones, so many that they need another block.
static enum peal_err open_a_topic(struct ground *ground)
{
    char type[PEAL_TYPE_MAX + 1];
    memset(type, 't', PEAL_TYPE_MAX);
    type[PEAL_TYPE_MAX] = '\0';
    enum peal_err err = PEAL_OK;
    for (type[0] = 'a'; !err && type[0] <= 'z'; type[0]++) {
        const peal_topic *topic = kit_nowhere();
        err = peal_topic_open(&topic, ground->bus, type);
        assert_true(err ? topic == kit_nowhere() : topic != kit_nowhere());
    }
    return err;
}

static enum peal_err subscribe(struct ground *ground)
{
    struct peal_subscribe_options options = { .name = "name",
                                              .label = "label",
                                              .retry = { .non_retryable = "one,two" } };
    peal_subscription *box = kit_nowhere();
    enum peal_err err =
        peal_subscribe(&box, ground->bus, "b.**, !b.c, *.d", &options, handle, ground);
    if (err) {
        assert_ptr_equal(box, kit_nowhere());
    } else {
        peal_unsubscribe(box);
    }
    return err;
}

static enum peal_err publish(struct ground *ground)
{
    static const char data[20000];
    const struct peal_message messages[] = {
        { .type = "new.one", .id = "1", .data = data, .size = sizeof data, .subject = "s" },
        { .type = "new.two", .id = "2", .data = data, .size = sizeof data, .key = "k" },
    };
    struct peal_receipt receipts[2];
    kit_pattern(receipts, sizeof receipts);
    enum peal_err err = peal_publish_batch(ground->bus, messages, 2, receipts);
    if (err) {
        kit_untouched(receipts, sizeof receipts);
    }
    return err;
}

static enum peal_err open_a_reader(struct ground *ground)
{
    const struct peal_query query = { .pattern = "**, !b", .subject = "s", .id = "x" };
    peal_reader *reader = kit_nowhere();
    enum peal_err err = peal_reader_open(&reader, ground->bus, &query);
    if (err) {
        assert_ptr_equal(reader, kit_nowhere());
    } else {
        peal_reader_close(reader);
    }
    return err;
}

// Made for once and asked without any memory: it answers as it always does.
static enum peal_err create_a_matcher(struct ground *ground)
{
    const struct peal_query query = { .pattern = "**, !b",
                                      .source = "/peal",
                                      .contains = "{\"a\":[1,\"b\"]}" };
    peal_matcher *matcher = kit_nowhere();
    enum peal_err err = peal_matcher_create(&matcher, &query);
    if (err) {
        assert_ptr_equal(matcher, kit_nowhere());
    } else {
        uint64_t asked = machine_asked();
        assert_false(peal_matcher_takes(matcher, ground->view));
        assert_int_equal(machine_asked(), asked);
        peal_matcher_destroy(matcher);
    }
    return err;
}

static enum peal_err list_the_dead(struct ground *ground)
{
    struct peal_dead_list list;
    kit_pattern(&list, sizeof list);
    struct peal_dead_filter filter = { .pattern = "a.*" };
    enum peal_err err = peal_dead_list(&list, ground->bus, &filter);
    if (err) {
        kit_untouched(&list, sizeof list);
    } else {
        peal_dead_list_finish(&list);
    }
    return err;
}

static enum peal_err get_a_descriptor(struct ground *ground)
{
    int fd = NO_PLACE;
    enum peal_err err = peal_bus_fd(&fd, ground->bus);
    assert_true(err ? fd == NO_PLACE : fd >= 0);
    return err;
}

static enum peal_err keep_a_view(struct ground *ground)
{
    const peal_event *kept = kit_nowhere();
    enum peal_err err = peal_event_ref(&kept, ground->view);
    if (err) {
        assert_ptr_equal(kept, kit_nowhere());
    } else {
        peal_event_unref(kept);
    }
    return err;
}

static enum peal_err decode(struct ground *ground)
{
    const peal_event *event = kit_nowhere();
    enum peal_err err = peal_event_decode(&event, ground->bytes, ground->size);
    if (err) {
        assert_ptr_equal(event, kit_nowhere());
    } else {
        assert_string_equal(peal_event_type(event), "a.first");
        peal_event_unref(event);
    }
    return err;
}

static enum peal_err open_a_recorder(struct ground *ground)
{
    peal_recorder *recorder = kit_nowhere();
    enum peal_err err = peal_recorder_open(&recorder, ground->bus);
    if (err) {
        assert_ptr_equal(recorder, kit_nowhere());
    } else {
        peal_recorder_close(recorder);
    }
    return err;
}

static enum peal_err open_a_world(struct ground *ground)
{
    (void)ground;
    peal_world *world = kit_nowhere();
    enum peal_err err = peal_world_open(&world, 7);
    if (err) {
        assert_ptr_equal(world, kit_nowhere());
    } else {
        peal_world_close(world);
    }
    return err;
}

// A world counts what it could give, and no more.
static enum peal_err open_a_bus_in_a_world(struct ground *ground)
{
    peal_bus *bus = kit_nowhere();
    struct peal_bus_options options = { .world = ground->world, .workers = 3 };
    enum peal_err err = peal_bus_open(&bus, "mem:", &options);
    if (err) {
        assert_ptr_equal(bus, kit_nowhere());
    } else {
        peal_bus_close(bus);
    }
    assert_int_equal(peal_world_bytes(ground->world), 0);
    return err;
}

// Whoever was started before runs, and nobody else.
static enum peal_err spawn(struct ground *ground)
{
    enum peal_err err = peal_world_spawn(ground->world, count_run, ground);
    if (!err) {
        unsigned before = ground->ran;
        peal_world_settle(ground->world);
        assert_true(ground->ran > before);
    }
    return err;
}

static const struct trial {
    const char *name;
    void (*arrange)(struct ground *ground);
    call *call;
    enum machine_kind kind;
    enum peal_err expected;
    const char *sentence; // a part of it; NULL: any
    bool keeps;           // what it was for is kept until its bus or world is closed
} trials[] = {
    { "peal_bus_open", on_nothing, open_a_bus, MACHINE_MEMORY, PEAL_ENOMEM, NULL, false },
    { "peal_bus_open, workers", on_nothing, open_a_bus_with_workers, MACHINE_MEMORY, PEAL_ENOMEM,
      NULL, false },
    { "peal_bus_open, no threads", on_nothing, open_a_bus_with_workers, MACHINE_THREADS,
      PEAL_ENOMEM, "refuses another thread", false },
    { "peal_bus_open, noop", on_nothing, open_a_silent_bus, MACHINE_MEMORY, PEAL_ENOMEM, NULL,
      false },
    { "peal_topic_open", on_a_bus, open_a_topic, MACHINE_MEMORY, PEAL_ENOMEM, NULL, true },
    { "peal_subscribe", on_a_bus, subscribe, MACHINE_MEMORY, PEAL_ENOMEM, NULL, true },
    { "peal_publish_batch", on_a_bus, publish, MACHINE_MEMORY, PEAL_ENOMEM, NULL, true },
    { "peal_reader_open", on_a_bus, open_a_reader, MACHINE_MEMORY, PEAL_ENOMEM, NULL, false },
    { "peal_matcher_create", on_a_bus, create_a_matcher, MACHINE_MEMORY, PEAL_ENOMEM, NULL, false },
    { "peal_dead_list", on_a_bus, list_the_dead, MACHINE_MEMORY, PEAL_ENOMEM, NULL, false },
    { "peal_bus_fd", on_a_bus, get_a_descriptor, MACHINE_DESCRIPTORS, PEAL_EIO, "descriptor",
      true },
    { "peal_event_ref", on_a_view, keep_a_view, MACHINE_MEMORY, PEAL_ENOMEM, NULL, false },
    { "peal_event_decode", on_bytes, decode, MACHINE_MEMORY, PEAL_ENOMEM, NULL, false },
    { "peal_recorder_open", on_a_full_bus, open_a_recorder, MACHINE_MEMORY, PEAL_ENOMEM, NULL,
      false },
    { "peal_world_open", on_nothing, open_a_world, MACHINE_MEMORY, PEAL_ENOMEM, NULL, false },
    { "peal_bus_open, world", on_a_world, open_a_bus_in_a_world, MACHINE_MEMORY, PEAL_ENOMEM, NULL,
      true },
    { "peal_world_spawn", on_a_world, spawn, MACHINE_MEMORY, PEAL_ENOMEM, NULL, true },
    { "peal_world_spawn, crowded", on_a_crowded_world, spawn, MACHINE_MEMORY, PEAL_ENOMEM, NULL,
      true },
};

// One call whose n-th request fails. True: it did not come to so many.
static bool try_once(const struct trial *trial, uint64_t n, bool for_ever, size_t *failures)
{
    struct ground ground;
    int64_t at_first = machine_held();
    trial->arrange(&ground);
    assert_int_equal(peal_event_decode(NULL, NULL, 0), PEAL_EINVAL); // another sentence
    char before[256];
    (void)snprintf(before, sizeof before, "%s", peal_error_sentence());
    int64_t held = machine_held();

    machine_refuse(trial->kind, n, for_ever);
    enum peal_err err = trial->call(&ground);
    machine_relent();

    bool over = machine_refused() == 0;
    assert_false(err && over);
    assert_true(trial->keeps || machine_held() == held);
    if (err) {
        assert_string_equal(peal_err_name(err), peal_err_name(trial->expected));
        assert_string_not_equal(peal_error_sentence(), before);
        assert_true(!trial->sentence || strstr(peal_error_sentence(), trial->sentence));
        ++*failures;
    }
    assert_int_equal(err && trial->call(&ground), 0); // it works now
    assert_true(trial->keeps || machine_held() == held);
    leave(&ground);
    assert_int_equal(machine_held(), at_first);
    return over;
}

static size_t try_all(const struct trial *trial, bool for_ever)
{
    size_t failures = 0;
    uint64_t n = 1;
    while (!try_once(trial, n, for_ever, &failures)) {
        assert_in_range(++n, 2, REQUESTS);
    }
    return failures;
}

static void each_call_fails_cleanly_or_succeeds_whatever_the_machine_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++) {
        size_t failures = try_all(&trials[i], false) + try_all(&trials[i], true);
        if (failures == 0) {
            print_error("%s: never failed\n", trials[i].name);
        }
        assert_int_not_equal(failures, 0);
    }
}

// ---- views, where handlers have them ------------------------------------------------------------

static void check_keeping(const peal_event *view)
{
    const peal_event *kept = kit_nowhere();
    int64_t held = machine_held();
    machine_refuse(MACHINE_MEMORY, 1, true);
    assert_int_equal(peal_event_ref(&kept, view), PEAL_ENOMEM);
    machine_relent();
    assert_ptr_equal(kept, kit_nowhere());
    assert_int_equal(machine_held(), held);

    assert_int_equal(peal_event_ref(&kept, view), PEAL_OK);
    assert_string_equal(peal_event_id(kept), peal_event_id(view));
    peal_event_unref(kept);
    assert_int_equal(machine_held(), held);
}

static enum peal_verdict keep_in_a_handler(const peal_event *event, void *context)
{
    ((struct ground *)context)->handled++;
    check_keeping(event);
    return PEAL_DONE;
}

static enum peal_err keep_in_an_interceptor(peal_draft *draft, void *context)
{
    ((struct ground *)context)->handled++;
    check_keeping(peal_draft_event(draft));
    return PEAL_OK;
}

static void an_event_that_cannot_be_kept_stays_a_view(void **state)
{
    (void)state;
    struct ground ground;
    int64_t at_first = machine_held();
    on_a_bus(&ground);
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    peal_bus *bus = ground.bus;
    assert_int_equal(peal_bus_intercept(bus, "k", 0, keep_in_an_interceptor, &ground), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, bus, "k", &inlined, keep_in_a_handler, &ground), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, bus, "k", NULL, keep_in_a_handler, &ground), PEAL_OK);

    ground.handled = 0;
    assert_int_equal(peal_publish(bus, &(struct peal_message){ .type = "k" }, NULL), PEAL_OK);
    assert_int_equal(peal_bus_dispatch(bus, 0, NULL), PEAL_OK);

    assert_int_equal(ground.handled, 3);
    leave(&ground);
    assert_int_equal(machine_held(), at_first);
}

// ---- the recorder -------------------------------------------------------------------------------

struct capture {
    int ends[2];
    int kept;
};

static void capture_stderr(struct capture *capture)
{
    assert_int_equal(pipe(capture->ends), 0);
    capture->kept = dup(STDERR_FILENO);
    assert_true(capture->kept >= 0 && dup2(capture->ends[1], STDERR_FILENO) >= 0);
}

static void release_stderr(struct capture *capture, char *out, size_t size)
{
    (void)dup2(capture->kept, STDERR_FILENO);
    (void)close(capture->kept);
    (void)close(capture->ends[1]);
    ssize_t got = read(capture->ends[0], out, size - 1);
    out[got > 0 ? got : 0] = 0;
    (void)close(capture->ends[0]);
}

// Asks a recorder that has seen EVENTS events. True: the right answer; false: none, which is the
// only other one there may be.
typedef bool question(struct ground *ground);

static bool count_all(struct ground *ground)
{
    size_t count = peal_recorder_published(ground->recorder, NULL);
    assert_true(count == EVENTS || count == 0);
    return count == EVENTS;
}

static bool count_some(struct ground *ground)
{
    size_t count = peal_recorder_published(ground->recorder, "a.*, !a.first");
    assert_true(count == EVENTS - 1 || count == 0);
    return count == EVENTS - 1;
}

static bool find_one(struct ground *ground)
{
    const peal_event *event = peal_recorder_event(ground->recorder, "*.x", 68);
    assert_true(!event || strcmp(peal_event_type(event), "a.x") == 0);
    return event != NULL;
}

static bool expect_them(struct ground *ground)
{
    char lines[EVENTS * 8] = "a.first";
    size_t length = strlen(lines);
    for (size_t i = 1; i < EVENTS; i++) {
        memcpy(lines + length, "\na.x {}", 8);
        length += 7;
    }
    return peal_recorder_expect(ground->recorder, lines);
}

// All or nothing. What it has cleared is asked for with the memory that is there again.
static bool clear(struct ground *ground)
{
    peal_recorder_clear(ground->recorder);
    machine_relent();
    size_t published = peal_recorder_published(ground->recorder, NULL);
    size_t delivered = peal_recorder_delivered(ground->recorder, "box");
    assert_true(published == delivered && (published == EVENTS || published == 0));
    return published == 0;
}

static const struct inquiry {
    const char *name;
    void (*arrange)(struct ground *ground);
    question *question;
} inquiries[] = {
    { "peal_recorder_published", on_a_recorder, count_all },
    { "peal_recorder_published, pattern", on_a_recorder, count_some },
    { "peal_recorder_event", on_a_recorder, find_one },
    { "peal_recorder_expect", on_a_recorder, expect_them },
    { "peal_recorder_clear", on_a_full_recorder, clear },
};

static bool ask_once(const struct inquiry *inquiry, uint64_t n, bool for_ever, size_t *failures)
{
    struct ground ground;
    struct capture capture;
    char said[BYTES_MAX];
    int64_t at_first = machine_held();
    inquiry->arrange(&ground);

    capture_stderr(&capture);
    machine_refuse(MACHINE_MEMORY, n, for_ever);
    bool right = inquiry->question(&ground);
    machine_relent();
    bool over = machine_refused() == 0;
    release_stderr(&capture, said, sizeof said);

    if (right) {
        assert_string_equal(said, "");
    } else {
        assert_false(over);
        assert_ptr_equal(strstr(said, "peal recorder: no memory"), said);
        assert_ptr_equal(strchr(said, '\n') + 1, said + strlen(said)); // and nothing else
        assert_true(inquiry->question(&ground));
        ++*failures;
    }
    leave(&ground);
    assert_int_equal(machine_held(), at_first);
    return over;
}

static void a_recorder_without_memory_says_so_and_answers_later(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * sizeof inquiries / sizeof inquiries[0]; i++) {
        const struct inquiry *inquiry = &inquiries[i / 2];
        size_t failures = 0;
        uint64_t n = 1;
        while (!ask_once(inquiry, n, i % 2, &failures)) {
            assert_in_range(++n, 2, REQUESTS);
        }
        if (failures == 0) {
            print_error("%s: never failed\n", inquiry->name);
        }
        assert_int_not_equal(failures, 0);
    }
}

// ---- what asks for nothing ----------------------------------------------------------------------

static void reading_and_writing_an_event_needs_no_memory(void **state)
{
    (void)state;
    struct ground ground;
    on_bytes(&ground);
    const peal_event *event = NULL;
    assert_int_equal(peal_event_decode(&event, ground.bytes, ground.size), PEAL_OK);

    machine_refuse(MACHINE_ANYTHING, 1, true);
    const peal_event *again = NULL;
    assert_int_equal(peal_event_ref(&again, event), PEAL_OK);
    assert_ptr_equal(again, event);
    assert_true(strlen(peal_event_id(ground.view)) > 0);
    assert_null(peal_event_metadata(event, "none"));
    assert_int_equal(peal_event_encode(ground.view, ground.bytes, BYTES_MAX), ground.size);
    assert_in_range(peal_event_to_json(event, (char *)ground.bytes, BYTES_MAX), 1, BYTES_MAX);
    assert_int_equal(peal_event_decode(&again, "damaged", 7), PEAL_ECORRUPT);
    assert_true(strlen(peal_error_sentence()) > 0);
    peal_event_unref(again);
    peal_event_unref(event);
    assert_int_equal(machine_asked(), 0);
    machine_relent();
    leave(&ground);
}

static void counters_and_settling_need_no_memory(void **state)
{
    (void)state;
    struct ground ground;
    on_a_recorder(&ground);
    struct ground crowd;
    on_a_crowded_world(&crowd);

    machine_refuse(MACHINE_ANYTHING, 1, true);
    assert_int_equal(peal_recorder_delivered(ground.recorder, "box"), EVENTS);
    assert_int_equal(peal_recorder_dead(ground.recorder, "box"), 0);
    (void)peal_world_random(crowd.world);
    peal_world_settle(crowd.world);
    peal_world_advance(crowd.world, 1000);
    assert_int_equal(crowd.ran, 15);
    assert_int_equal(machine_asked(), 0);
    machine_relent();
    leave(&ground);
    leave(&crowd);
}

static void closing_needs_no_memory(void **state)
{
    (void)state;
    int64_t at_first = machine_held();
    struct ground ground;
    on_a_view(&ground);
    assert_int_equal(peal_recorder_open(&ground.recorder, ground.bus), PEAL_OK);
    say(&ground, EVENTS);
    assert_int_equal(peal_recorder_published(ground.recorder, NULL), EVENTS);
    const peal_event *kept = NULL;
    assert_int_equal(peal_event_ref(&kept, ground.view), PEAL_OK);
    struct ground crowd;
    on_a_crowded_world(&crowd);
    peal_world_settle(crowd.world);

    machine_refuse(MACHINE_ANYTHING, 1, true);
    leave(&ground);
    leave(&crowd);
    peal_event_unref(kept); // it has outlived its bus
    machine_relent();

    assert_int_equal(machine_held(), at_first);
}

// ---- workers ------------------------------------------------------------------------------------

static void a_worker_without_memory_goes_on_when_there_is_some(void **state)
{
    (void)state;
    int64_t at_first = machine_held();
    struct ground ground = { 0 };
    machine_refuse_others();
    assert_int_equal(peal_bus_open(&ground.bus, "mem:?workers=1", NULL), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, ground.bus, "a.*", NULL, handle, &ground), PEAL_OK);
    for (int i = 0; i < 10; i++) {
        const struct peal_message message = { .type = "a.x" };
        assert_int_equal(peal_publish(ground.bus, &message, NULL), PEAL_OK);
    }
    while (machine_refused() == 0) {
        (void)sched_yield(); // the worker has yet to start
    }
    machine_relent();

    struct peal_leftover left;
    assert_int_equal(peal_bus_stop(ground.bus, 60000, &left), PEAL_OK);
    assert_int_equal(left.undelivered, 0);
    assert_int_equal(ground.handled, 10);
    leave(&ground);
    assert_int_equal(machine_held(), at_first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_fails_cleanly_or_succeeds_whatever_the_machine_refuses),
        cmocka_unit_test(an_event_that_cannot_be_kept_stays_a_view),
        cmocka_unit_test(a_recorder_without_memory_says_so_and_answers_later),
        cmocka_unit_test(reading_and_writing_an_event_needs_no_memory),
        cmocka_unit_test(counters_and_settling_need_no_memory),
        cmocka_unit_test(closing_needs_no_memory),
        cmocka_unit_test(a_worker_without_memory_goes_on_when_there_is_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
