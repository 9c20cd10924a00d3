// SPDX-License-Identifier: MIT
// ctest: threaded timeout=300
//
// One adds to a tail, others look at the same time: what was added before they began is found.
// Several look for the first time in a sealed index, and in a tail while it is sealed.
#include "support/indexed.h"

#include "support/crowd.h"

#include <unistd.h>

#define READERS  3
#define EVENTS   120000
#define SUBJECTS 97
#define TYPES    211

struct meeting {
    struct indexed indexed;
    struct pl_index *tail;
    atomic_bool done;
    atomic_uint failures, questions;
};

static uint64_t subject_of(const struct meeting *meeting, uint64_t position)
{
    return indexed_hash(&meeting->indexed, PL_KEY_SUBJECT, (uint32_t)(position % SUBJECTS) + 1);
}

static void *add_all(void *context)
{
    struct meeting *meeting = context;
    for (uint64_t position = 1; position <= EVENTS; position++) {
        struct pl_index_event event = { .position = position,
                                        .offset = position * 64,
                                        .time = (int64_t)position };
        char name[64];
        size_t size = indexed_name(name, (uint32_t)(position % TYPES));
        event.keys[PL_KEY_SUBJECT] = subject_of(meeting, position);
        event.keys[PL_KEY_ID] = pl_index_hash(meeting->indexed.seed, &position, sizeof position);
        bool fine = pl_index_number(meeting->tail, name, size, &event.type) == PEAL_OK &&
                    pl_index_add(meeting->tail, &event) == PEAL_OK;
        atomic_fetch_add(&meeting->failures, !fine);
    }
    atomic_store(&meeting->done, true);
    return NULL;
}

// Every `step`-th position from `first` on is found, and none that is not there yet is needed.
static bool finds_every(struct pl_index *index, const struct pl_sought *wanted, uint64_t first,
                        uint64_t step)
{
    struct pl_find find;
    uint64_t expected =
        wanted->backwards
            ? (wanted->end <= first ? 0 : wanted->end - 1 - (wanted->end - 1 - first) % step)
            : first;
    if (pl_find_begin(&find, index, wanted)) {
        return false;
    }
    for (;;) {
        uint64_t found = 0;
        if (pl_find_next(&find, &found)) {
            return false;
        }
        if (found == 0) {
            break;
        }
        if (found != expected) {
            continue; // false candidates: if it was passed over, the last check says so
        }
        expected = wanted->backwards ? (expected > first ? expected - step : 0) : expected + step;
    }
    return wanted->backwards ? expected == 0 : expected >= wanted->end;
}

static bool looks_right(const struct meeting *meeting, uint64_t chance)
{
    struct pl_index_facts facts;
    pl_index_facts(meeting->tail, &facts);
    uint64_t some = chance % 89 + 1; // a position, and so a subject and a type
    struct pl_sought wanted = { .end = facts.end, .backwards = chance >> 20 & 1 };
    wanted.hash = subject_of(meeting, some);
    if (facts.end > some && !finds_every(meeting->tail, &wanted, some, SUBJECTS)) {
        return false;
    }
    char name[64];
    uint32_t number = 0;
    uint32_t count = 0;
    size_t size = indexed_name(name, (uint32_t)some);
    if (facts.end <= some) {
        return true;
    }
    wanted = (struct pl_sought){
        .end = facts.end, .backwards = wanted.backwards, .types = &number, .type_count = 1
    };
    struct pl_stretch stretch = {
        .first = some, .end = some + 1, .earliest = (int64_t)some, .latest = (int64_t)some
    };
    uint64_t offset = 0;
    return !pl_index_find_type(meeting->tail, name, size, &number, &count) && count > 0 &&
           finds_every(meeting->tail, &wanted, some, TYPES) &&
           !pl_index_times(meeting->tail, false, &stretch) && stretch.first == some &&
           stretch.end == some + 1 && !pl_index_offset(meeting->tail, facts.end - 1, &offset) &&
           offset + 640 > facts.end * 64 && offset <= (facts.end - 1) * 64;
}

static enum peal_err count_types(void *context, const struct pl_index_type *type)
{
    *(uint32_t *)context += type->size > 0;
    return PEAL_OK;
}

static void *look(void *context)
{
    struct meeting *meeting = context;
    uint64_t chance = atomic_fetch_add(&meeting->questions, 1);
    bool last = false;
    while (!last) {
        last = atomic_load(&meeting->done);
        for (int i = 0; i < 20; i++) {
            uint32_t types = 0;
            bool fine = looks_right(meeting, failing_random(&chance)) &&
                        !pl_index_types(meeting->tail, count_types, &types) && types <= TYPES;
            atomic_fetch_add(&meeting->failures, !fine);
            atomic_fetch_add(&meeting->questions, 1);
        }
    }
    return NULL;
}

static void open_meeting(struct meeting *meeting)
{
    memset(meeting, 0, sizeof *meeting);
    indexed_open(&meeting->indexed, &(struct indexed_shape){ .seed = 9, .base = 1 });
    meeting->tail = meeting->indexed.tail;
}

static void who_looks_while_another_adds_finds_all_that_was_there(void **state)
{
    (void)state;
    static struct meeting meeting;
    open_meeting(&meeting);
    pthread_t threads[READERS + 1];
    threads[READERS] = begin(add_all, &meeting);
    for (int i = 0; i < READERS; i++) {
        threads[i] = begin(look, &meeting);
    }
    for (int i = 0; i <= READERS; i++) {
        end(threads[i]);
    }
    assert_int_equal(atomic_load(&meeting.failures), 0);
    assert_true(atomic_load(&meeting.questions) >= (unsigned)READERS * 20);
    indexed_close(&meeting.indexed);
}

static void a_tail_is_sealed_while_others_look(void **state)
{
    (void)state;
    static struct meeting meeting;
    open_meeting(&meeting);
    (void)add_all(&meeting);
    atomic_store(&meeting.done, false);
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++) {
        threads[i] = begin(look, &meeting);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            pl_index_seal(meeting.tail, meeting.indexed.files, INDEXED_PATH, 64 * EVENTS + 64),
            PEAL_OK);
    }
    atomic_store(&meeting.done, true);
    for (int i = 0; i < READERS; i++) {
        end(threads[i]);
    }
    assert_int_equal(atomic_load(&meeting.failures), 0);
    indexed_close(&meeting.indexed);
}

// ---- a sealed one: files and memory of the machine, which are for many threads ------------------

static void *look_in_sealed(void *context)
{
    struct meeting *meeting = context;
    for (uint32_t i = 0; i < 200; i++) {
        uint64_t some = i % 89 + 1;
        struct pl_sought wanted = { .hash = subject_of(meeting, some),
                                    .end = EVENTS + 1,
                                    .backwards = i % 2 };
        bool fine = finds_every(meeting->tail, &wanted, some, SUBJECTS);
        uint64_t offset = 0;
        struct pl_stretch stretch = { .end = UINT64_MAX, .latest = INT64_MAX };
        fine = fine && !pl_index_offset(meeting->tail, some, &offset) && offset > 0 &&
               !pl_index_times(meeting->tail, false, &stretch) && stretch.end == EVENTS + 1;
        atomic_fetch_add(&meeting->failures, !fine);
    }
    pl_index_unref(meeting->tail);
    return NULL;
}

static void many_look_for_the_first_time_in_a_sealed_index(void **state)
{
    (void)state;
    static struct meeting meeting;
    open_meeting(&meeting);
    (void)add_all(&meeting);
    char path[] = "/tmp/peal-index-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(pl_index_seal(meeting.tail, &pl_files_real, path, 64 * EVENTS + 64), PEAL_OK);
    const struct pl_index_source source = {
        .seed = { meeting.indexed.seed[0], meeting.indexed.seed[1] }, .base = 1
    };
    for (int round = 0; round < 20; round++) {
        pthread_t threads[READERS];
        assert_int_equal(
            pl_index_open(&meeting.tail, &pl_seams_real, &pl_files_real, path, &source), PEAL_OK);
        for (int i = 0; i < READERS; i++) {
            pl_index_ref(meeting.tail);
            threads[i] = begin(look_in_sealed, &meeting);
        }
        pl_index_unref(meeting.tail); // the last of the threads frees it
        for (int i = 0; i < READERS; i++) {
            end(threads[i]);
        }
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(atomic_load(&meeting.failures), 0);
    indexed_close(&meeting.indexed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_looks_while_another_adds_finds_all_that_was_there),
        cmocka_unit_test(a_tail_is_sealed_while_others_look),
        cmocka_unit_test(many_look_for_the_first_time_in_a_sealed_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
