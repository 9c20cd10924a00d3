// SPDX-License-Identifier: MIT
// ctest: timeout=600
//
// Indexes against a list that is looked through: whatever is asked, in either kind, in either
// direction, nothing is missing, and little is there that should not be.
#include "support/indexed.h"

static const struct indexed_shape shapes[] = {
    { .count = 0, .seed = 1 },
    { .count = 1, .keys = { 1, 1, 1, 1 }, .types = 1, .seed = 2 },
    { .count = 2, .keys = { 2, 1, 0, 2 }, .types = 2, .seed = 3, .base = 1 },
    { .count = 100, .keys = { 10, 3, 100, 0 }, .types = 5, .left_out = 4, .seed = 4 },
    { .count = 1024, .keys = { 1, 1024, 1024, 1 }, .types = 1, .seed = 5 },
    { .count = 5000, .keys = { 500, 50, 5000, 5000 }, .types = 40, .without = 3, .seed = 6 },
    { .count = 16384, .keys = { 300, 16384, 0, 7 }, .types = 300, .seed = 7 },
    { .count = 16385, .keys = { 300, 2, 9, 7 }, .types = 3, .favourite = 2, .seed = 8 },
    { .count = 20000,
      .keys = { 400, 20000, 40000, 3 },
      .types = 20000,
      .left_out = 50,
      .without = 10,
      .seed = 9 },
    { .count = 30000, .keys = { 9, 99, 999, 9999 }, .types = 9, .gap_at = 7, .gap = 5, .seed = 10 },
    { .count = 30000,
      .keys = { 9, 99, 999, 9999 },
      .types = 9,
      .gap_at = 20001,
      .gap = 50000,
      .seed = 11,
      .base = UINT64_MAX / 2 },
    { .count = 60000,
      .keys = { 6000, 60000, 60000, 100 },
      .types = 1000,
      .favourite = 3,
      .left_out = 100,
      .seed = 12 },
};

#define SHAPES (sizeof shapes / sizeof shapes[0])

static int64_t file_size(const struct indexed *indexed)
{
    struct pl_file file = { 0 };
    const struct pl_files *files = indexed->files;
    assert_int_equal(files->open(files->world, &file, INDEXED_PATH, PL_FILE_READ), 0);
    int64_t size = files->size(files->world, file);
    files->close(files->world, &file);
    return size;
}

static struct indexed_question some_question(struct indexed *indexed)
{
    struct indexed_question question = { .kind = indexed_below(indexed, PL_KEYS) };
    uint64_t span = indexed_end(indexed) - indexed->shape.base;
    question.first = indexed->shape.base;
    question.end = question.first + span;
    if (indexed_one_in(indexed, 3)) {
        question.first += indexed_below(indexed, (uint32_t)span + 2);
    }
    if (indexed_one_in(indexed, 3)) {
        question.end -= indexed_below(indexed, (uint32_t)span + 2);
    }
    if (indexed_one_in(indexed, 5)) {
        question.first = 0;
        question.end = UINT64_MAX;
    }
    question.backwards = indexed_one_in(indexed, 2);
    // Now and then a key that nothing has.
    question.key = indexed_below(indexed, indexed->shape.keys[question.kind] * 10 / 9 + 3) + 1;
    question.key = indexed_one_in(indexed, 4) ? 1 : question.key;
    return question;
}

// Calls `each` for questions about every shape, in both kinds of index.
static void about_every_shape(uint32_t questions,
                              void (*each)(struct indexed *indexed, struct pl_index *index))
{
    for (size_t i = 0; i < SHAPES; i++) {
        struct indexed indexed;
        indexed_open(&indexed, &shapes[i]);
        indexed_seal(&indexed);
        for (uint32_t n = 0; n < questions; n++) {
            each(&indexed, indexed.tail);
            each(&indexed, indexed.sealed);
        }
        indexed_close(&indexed);
    }
}

static void ask_for_a_key(struct indexed *indexed, struct pl_index *index)
{
    struct indexed_question question = some_question(indexed);
    (void)indexed_ask(indexed, index, &question); // what is too many is counted elsewhere
}

static void every_event_of_a_key_is_found_in_order_both_ways(void **state)
{
    (void)state;
    about_every_shape(100, ask_for_a_key);
}

// Of a key that the index says it lacks, it has no event; a sealed one that has been asked before
// says so of most keys that nothing has, a tail of none.
static void what_is_lacked_is_nowhere(void **state)
{
    (void)state;
    uint32_t lacked = 0;
    uint32_t nowhere = 0;
    for (size_t i = 0; i < SHAPES; i++) {
        struct indexed indexed;
        indexed_open(&indexed, &shapes[i]);
        indexed_seal(&indexed);
        for (uint32_t n = 0; n < 100; n++) {
            struct indexed_question question = some_question(&indexed);
            question.first = 0;
            question.end = UINT64_MAX;
            uint64_t hash = indexed_hash(&indexed, question.kind, question.key);
            uint32_t events = 0;
            for (uint32_t k = 0; k < indexed.count; k++) {
                events += indexed.events[k].keys[question.kind] == question.key;
            }
            (void)indexed_ask(&indexed, indexed.sealed, &question);
            pl_index_hint(indexed.tail, question.kind, hash);
            pl_index_hint(indexed.sealed, question.kind, hash);
            assert_false(pl_index_lacks(indexed.tail, question.kind, hash));
            bool lacks = pl_index_lacks(indexed.sealed, question.kind, hash);
            assert_true(!lacks || events == 0);
            lacked += lacks;
            nowhere += events == 0;
        }
        indexed_close(&indexed);
    }
    assert_true(lacked > 0 && lacked >= nowhere - nowhere / 8);
}

static void what_nobody_has_asked_for_is_not_known_to_lack(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_open(&indexed, &shapes[2]);
    indexed_seal(&indexed);
    for (uint32_t key = 1; key < 200; key++) { // that would take a read
        uint64_t hash = indexed_hash(&indexed, PL_KEY_SUBJECT, key + 100000000);
        pl_index_hint(indexed.sealed, PL_KEY_SUBJECT, hash);
        assert_false(pl_index_lacks(indexed.sealed, PL_KEY_SUBJECT, hash));
    }
    indexed_close(&indexed);
}

static void ask_for_types(struct indexed *indexed, struct pl_index *index)
{
    uint32_t types[INDEXED_TYPES];
    struct indexed_question question = some_question(indexed);
    question.key = 0;
    question.types = types;
    question.type_count = indexed_one_in(indexed, 2) ? 1 : indexed_below(indexed, INDEXED_TYPES);
    for (size_t i = 0; i < question.type_count; i++) {
        // Each once: they begin anywhere and follow each other. Some do not exist.
        types[i] = i ? types[i - 1] + 1 : indexed_below(indexed, indexed->shape.types + 1);
    }
    (void)indexed_ask(indexed, index, &question); // none is too many
}

static void exactly_the_events_of_any_of_some_types_are_found(void **state)
{
    (void)state;
    about_every_shape(100, ask_for_types);
}

// ---- types --------------------------------------------------------------------------------------

struct counted {
    struct indexed *indexed;
    uint32_t types, events;
};

static enum peal_err count_type(void *context, const struct pl_index_type *type)
{
    struct counted *counted = context;
    assert_int_equal(type->number, counted->types);
    char name[64];
    unsigned number = 0;
    memcpy(name, type->name, type->size);
    name[type->size] = '\0';
    assert_int_equal(sscanf(name, "type.%u.", &number), 1);
    assert_int_equal(indexed_name(name, number), type->size);
    assert_memory_equal(name, type->name, type->size);
    uint32_t count = 0;
    for (uint32_t i = 0; i < counted->indexed->count && counted->indexed->shape.types < 100; i++) {
        count += counted->indexed->events[i].type == number;
    }
    assert_true(counted->indexed->shape.types >= 100 || count == type->count);
    counted->types++;
    counted->events += type->count;
    return PEAL_OK;
}

static enum peal_err stop_at_the_third(void *context, const struct pl_index_type *type)
{
    ++*(int *)context;
    return type->number == 2 ? PEAL_ECLOSED : PEAL_OK;
}

static void check_types(struct indexed *indexed, struct pl_index *index)
{
    struct counted counted = { .indexed = indexed };
    struct pl_index_facts facts;
    pl_index_facts(index, &facts);
    assert_int_equal(pl_index_types(index, count_type, &counted), PEAL_OK);
    assert_int_equal(counted.types, facts.types);
    assert_int_equal(counted.events, indexed->count);
    int calls = 0;
    enum peal_err expected = facts.types > 2 ? PEAL_ECLOSED : PEAL_OK;
    assert_int_equal(pl_index_types(index, stop_at_the_third, &calls), expected);
    assert_int_equal(calls, facts.types > 2 ? 3 : facts.types);
}

static void all_types_are_told_with_their_names_and_counts(void **state)
{
    (void)state;
    about_every_shape(1, check_types);
}

static void check_names(struct indexed *indexed, struct pl_index *index)
{
    uint32_t number = 12345;
    uint32_t count = 0;
    char name[64];
    size_t size = indexed_name(name, indexed->shape.types);
    assert_int_equal(pl_index_find_type(index, name, size, &number, &count), PEAL_OK);
    assert_int_equal(count, 0);
    assert_int_equal(number, 12345); // untouched
    assert_int_equal(pl_index_find_type(index, "", 0, &number, &count), PEAL_OK);
    assert_int_equal(count, 0);
    for (uint32_t i = 0; i < indexed->count; i += 97) {
        assert_true(indexed_number(index, indexed->events[i].type, &number));
    }
}

static void a_type_is_found_by_its_name_alone(void **state)
{
    (void)state;
    about_every_shape(1, check_names);
}

static void a_type_that_was_numbered_and_never_used_is_not_there(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_open(&indexed, &shapes[2]);
    uint32_t number = 0;
    uint32_t again = 1;
    assert_int_equal(pl_index_number(indexed.tail, "never", 5, &number), PEAL_OK);
    assert_int_equal(pl_index_number(indexed.tail, "never", 5, &again), PEAL_OK);
    assert_int_equal(number, again);
    indexed_seal(&indexed);
    struct pl_index *const indexes[] = { indexed.tail, indexed.sealed };
    for (size_t i = 0; i < 2; i++) {
        uint32_t count = 1;
        assert_int_equal(pl_index_find_type(indexes[i], "never", 5, &again, &count), PEAL_OK);
        assert_int_equal(count, 0);
        struct pl_sought wanted = { .types = &number, .type_count = 1, .end = UINT64_MAX };
        struct pl_find find;
        uint64_t found = 1;
        assert_int_equal(pl_find_begin(&find, indexes[i], &wanted), PEAL_OK);
        assert_int_equal(pl_find_next(&find, &found), PEAL_OK);
        assert_int_equal(found, 0);
        assert_int_equal(pl_find_next(&find, &found), PEAL_OK); // and again
        assert_int_equal(found, 0);
    }
    indexed_close(&indexed);
}

// ---- times, offsets, facts ----------------------------------------------------------------------

// Narrows as often as there is something left, and looks whether an event was passed over.
static void ask_for_times(struct indexed *indexed, struct pl_index *index)
{
    struct indexed_question question = some_question(indexed);
    struct pl_stretch all = { .first = question.first, .end = question.end };
    all.earliest = 1000000 + indexed_below(indexed, indexed->count * 1000 + 1);
    all.latest = all.earliest + indexed_below(indexed, 500000) - 1000;
    uint64_t covered = 0;
    uint32_t fit = 0;
    for (uint32_t i = 0; i < indexed->count; i++) {
        const struct indexed_event *event = &indexed->events[i];
        fit += event->position >= all.first && event->position < all.end &&
               event->time >= all.earliest && event->time <= all.latest;
    }
    struct pl_stretch left = all;
    while (left.first < left.end) {
        struct pl_stretch found = left;
        assert_int_equal(pl_index_times(index, question.backwards, &found), PEAL_OK);
        if (found.first == found.end) {
            break;
        }
        assert_true(found.first >= left.first && found.end <= left.end && found.first < found.end);
        for (uint32_t i = 0; i < indexed->count; i++) {
            const struct indexed_event *event = &indexed->events[i];
            fit -= event->position >= found.first && event->position < found.end &&
                   event->time >= all.earliest && event->time <= all.latest;
        }
        covered += found.end - found.first;
        if (question.backwards) {
            left.end = found.first;
        } else {
            left.first = found.end;
        }
    }
    assert_int_equal(fit, 0);
    if (all.latest < all.earliest) {
        assert_true(covered <= 4096); // blocks that are of both
    }
}

static void no_event_of_a_time_is_passed_over(void **state)
{
    (void)state;
    about_every_shape(10, ask_for_times);
}

static void times_that_nothing_has_are_nowhere(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_open(&indexed, &shapes[6]);
    indexed_seal(&indexed);
    for (int i = 0; i < 4; i++) {
        struct pl_stretch stretch = { .first = 0, .end = UINT64_MAX };
        stretch.earliest = i < 2 ? INT64_MIN : INT64_MAX - 1;
        stretch.latest = i < 2 ? 999999 : INT64_MAX;
        struct pl_index *index = i % 2 ? indexed.sealed : indexed.tail;
        assert_int_equal(pl_index_times(index, i % 2, &stretch), PEAL_OK);
        assert_int_equal(stretch.first, stretch.end);
    }
    indexed_close(&indexed);
}

// A day's events are found in a few blocks, not in all.
static void a_short_time_is_a_short_stretch(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_open(&indexed, &shapes[6]);
    indexed_seal(&indexed);
    for (int i = 0; i < 4; i++) {
        struct pl_stretch stretch = { .first = 0, .end = UINT64_MAX };
        stretch.earliest = stretch.latest = indexed.events[8000].time;
        struct pl_index *index = i % 2 ? indexed.sealed : indexed.tail;
        assert_int_equal(pl_index_times(index, i >= 2, &stretch), PEAL_OK);
        assert_in_range(stretch.end - stretch.first, 1, 2048);
        assert_in_range(indexed.events[8000].position, stretch.first, stretch.end - 1);
    }
    indexed_close(&indexed);
}

// A clock that was set back: times come twice, and are two stretches.
static void a_time_that_comes_again_is_another_stretch(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_open(&indexed, &(struct indexed_shape){ .seed = 3, .base = 1 });
    uint32_t type = 0;
    assert_int_equal(pl_index_number(indexed.tail, "t", 1, &type), PEAL_OK);
    for (uint32_t i = 0; i < 20000; i++) {
        const struct pl_index_event event = { .position = 1 + i, .time = i % 10000 };
        assert_int_equal(pl_index_add(indexed.tail, &event), PEAL_OK);
    }
    const struct pl_stretch all = { .end = UINT64_MAX, .earliest = 5000, .latest = 5001 };
    struct pl_stretch first = all;
    struct pl_stretch last = all;
    assert_int_equal(pl_index_times(indexed.tail, false, &first), PEAL_OK);
    assert_int_equal(pl_index_times(indexed.tail, true, &last), PEAL_OK);
    assert_in_range(5001, first.first, first.end - 2);
    assert_in_range(15001, last.first, last.end - 2);
    assert_true(first.end - first.first <= 2048 && last.end - last.first <= 2048);
    indexed_close(&indexed);
}

static void check_offsets(struct indexed *indexed, struct pl_index *index)
{
    uint32_t next = 0;
    uint64_t offset = 1;
    for (uint64_t position = indexed->shape.base; position < indexed_end(indexed); position++) {
        assert_int_equal(pl_index_offset(index, position, &offset), PEAL_OK);
        while (indexed->events[next].position < position) {
            next++;
        }
        // Not behind its record, and some of a few small ones before it.
        assert_true(offset >= 4096 && offset <= indexed->events[next].offset);
        assert_true(next < 8 || offset >= indexed->events[next - 8].offset);
    }
    assert_int_equal(pl_index_offset(index, indexed_end(indexed), &offset), PEAL_OK);
    assert_int_equal(offset, 0);
    assert_int_equal(pl_index_offset(index, UINT64_MAX, &offset), PEAL_OK);
    assert_int_equal(offset, 0);
    assert_int_equal(pl_index_offset(index, 0, &offset), PEAL_OK); // before all of them
    assert_int_equal(offset, indexed->count ? indexed->events[0].offset : 0);
}

static void a_record_is_found_a_few_records_behind_the_offset_told(void **state)
{
    (void)state;
    about_every_shape(1, check_offsets);
}

static void offsets_that_nobody_told_take_no_room(void **state)
{
    (void)state;
    struct indexed indexed;
    int64_t sizes[2];
    for (int i = 0; i < 2; i++) {
        indexed_set(&indexed, &shapes[5]);
        for (uint32_t n = 0; n < indexed.count; n++) {
            indexed.events[n].offset *= (uint64_t)i;
        }
        assert_int_equal(
            pl_index_create(&indexed.tail, &indexed.seams, indexed.seed, indexed.shape.base),
            PEAL_OK);
        assert_int_equal(indexed_add(&indexed, indexed.tail, 0, indexed.count), PEAL_OK);
        indexed_seal(&indexed);
        uint64_t offset = 1;
        assert_int_equal(pl_index_offset(indexed.sealed, indexed.shape.base + 99, &offset),
                         PEAL_OK);
        assert_int_equal(offset != 0, i);
        const struct indexed_question question = { .key = 7, .end = UINT64_MAX };
        (void)indexed_ask(&indexed, indexed.sealed, &question);
        sizes[i] = file_size(&indexed);
        indexed_close(&indexed);
    }
    assert_true(sizes[0] + 5000 / 2 < sizes[1] + 512);
}

static void check_facts(struct indexed *indexed, struct pl_index *index)
{
    struct pl_index_facts facts;
    pl_index_facts(index, &facts);
    int64_t earliest = INT64_MAX;
    int64_t latest = INT64_MIN;
    for (uint32_t i = 0; i < indexed->count; i++) {
        earliest = indexed->events[i].time < earliest ? indexed->events[i].time : earliest;
        latest = indexed->events[i].time > latest ? indexed->events[i].time : latest;
    }
    assert_int_equal(facts.base, indexed->shape.base);
    assert_int_equal(facts.end, indexed_end(indexed));
    assert_int_equal(facts.bytes, index == indexed->sealed ? indexed->bytes : 0);
    assert_int_equal(facts.events, indexed->count);
    assert_true(facts.earliest == earliest && facts.latest == latest);
}

static void an_index_knows_what_it_is_about(void **state)
{
    (void)state;
    about_every_shape(1, check_facts);
}

// ---- how much -----------------------------------------------------------------------------------

static const struct indexed_shape usual = {
    .count = 100000, .keys = { 60000, 60000, 100000, 100000 }, .types = 50, .seed = 77
};

static void a_candidate_that_is_none_is_rare(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_open(&indexed, &usual);
    indexed_seal(&indexed);
    struct pl_index *const indexes[] = { indexed.tail, indexed.sealed };
    for (size_t i = 0; i < 2; i++) {
        uint64_t too_many = 0;
        for (uint32_t n = 0; n < 500; n++) {
            struct indexed_question question = some_question(&indexed);
            too_many += indexed_ask(&indexed, indexes[i], &question);
        }
        assert_true(too_many <= 5);
    }
    indexed_close(&indexed);
}

// Of 10,000 keys that are not there, the filter lets few cause a read.
static void a_key_that_is_not_there_seldom_costs_a_read(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_open(&indexed, &usual);
    indexed_seal(&indexed);
    struct indexed_question question = { .key = 1, .end = UINT64_MAX };
    (void)indexed_ask(&indexed, indexed.sealed, &question); // the summary is there now
    uint64_t reads = pl_disk_calls(indexed.disk, PL_DISK_READ);
    for (uint32_t n = 0; n < 10000; n++) {
        question.key = 1000000 + n;
        (void)indexed_ask(&indexed, indexed.sealed, &question);
    }
    reads = pl_disk_calls(indexed.disk, PL_DISK_READ) - reads;
    assert_in_range(reads, 1, 500);
    question.key = 7;
    reads = pl_disk_calls(indexed.disk, PL_DISK_READ);
    (void)indexed_ask(&indexed, indexed.sealed, &question);
    assert_true(pl_disk_calls(indexed.disk, PL_DISK_READ) - reads <= 1); // of one that may be there
    indexed_close(&indexed);
}

static void an_index_keeps_to_the_memory_and_the_bytes_it_promises(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_open(&indexed, &usual);
    indexed_seal(&indexed);
    for (unsigned kind = 0; kind < PL_KEYS; kind++) {
        struct indexed_question question = { .kind = kind, .key = 1, .end = UINT64_MAX };
        (void)indexed_ask(&indexed, indexed.sealed, &question);
    }
    uint64_t offset = 0;
    struct pl_stretch stretch = { .end = UINT64_MAX, .latest = INT64_MAX };
    assert_int_equal(pl_index_offset(indexed.sealed, 50000, &offset), PEAL_OK);
    assert_int_equal(pl_index_times(indexed.sealed, false, &stretch), PEAL_OK);
    struct pl_index_facts facts;
    pl_index_facts(indexed.tail, &facts);
    assert_true(facts.memory <= 131072 * 39 + 131072);
    pl_index_facts(indexed.sealed, &facts);
    assert_true(facts.memory <= 100000 * 3); // four kinds of key, offsets
    assert_true(file_size(&indexed) <=
                100000 * (4 * 4 + 1 + 2 + 2)); // keys, type, filters, the rest
    indexed_close(&indexed);
}

// ---- a tail that goes on ------------------------------------------------------------------------

static void what_is_added_while_somebody_looks_is_not_in_the_way(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_set(&indexed, &shapes[7]);
    assert_int_equal(
        pl_index_create(&indexed.tail, &indexed.seams, indexed.seed, indexed.shape.base), PEAL_OK);
    const uint32_t half = 9000;
    assert_int_equal(indexed_add(&indexed, indexed.tail, 0, half), PEAL_OK);
    struct pl_sought wanted = { .hash = indexed_hash(&indexed, 0, 1), .end = UINT64_MAX };
    struct pl_find find;
    assert_int_equal(pl_find_begin(&find, indexed.tail, &wanted), PEAL_OK);
    assert_int_equal(indexed_add(&indexed, indexed.tail, half, indexed.count), PEAL_OK);
    uint32_t expected = 0;
    for (uint32_t i = 0; i < half; i++) {
        expected += indexed.events[i].keys[0] == 1;
    }
    uint64_t found = 0;
    uint32_t got = 0;
    for (;; got++) {
        assert_int_equal(pl_find_next(&find, &found), PEAL_OK);
        if (found == 0) {
            break;
        }
        assert_true(found <= indexed.events[half - 1].position);
    }
    assert_true(got >= expected);
    indexed_close(&indexed);
}

static void a_tail_that_is_reset_is_as_new_and_takes_no_memory_again(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_open(&indexed, &shapes[11]);
    size_t calls = indexed.memory.calls;
    pl_index_reset(indexed.tail, indexed.shape.base);
    struct pl_index_facts facts;
    pl_index_facts(indexed.tail, &facts);
    assert_true(facts.events == 0 && facts.types == 0 && facts.end == facts.base);
    struct indexed_question question = { .key = 1, .end = UINT64_MAX };
    struct pl_sought wanted = { .hash = indexed_hash(&indexed, 0, 1), .end = UINT64_MAX };
    struct pl_find find;
    uint64_t found = 1;
    assert_int_equal(pl_find_begin(&find, indexed.tail, &wanted), PEAL_OK);
    assert_int_equal(pl_find_next(&find, &found), PEAL_OK);
    assert_int_equal(found, 0);
    assert_int_equal(indexed_add(&indexed, indexed.tail, 0, indexed.count), PEAL_OK);
    (void)indexed_ask(&indexed, indexed.tail, &question);
    check_types(&indexed, indexed.tail);
    check_facts(&indexed, indexed.tail);
    assert_true(indexed.memory.calls - calls <= 4); // names
    indexed_close(&indexed);
}

static void an_index_stays_for_who_has_a_reference(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_open(&indexed, &shapes[3]);
    indexed_seal(&indexed);
    struct indexed_question question = { .key = 1, .end = UINT64_MAX };
    pl_index_ref(indexed.sealed);
    pl_index_unref(indexed.sealed);
    (void)indexed_ask(&indexed, indexed.sealed, &question);
    pl_index_unref(NULL); // is fine
    indexed_close(&indexed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_of_a_key_is_found_in_order_both_ways),
        cmocka_unit_test(what_is_lacked_is_nowhere),
        cmocka_unit_test(what_nobody_has_asked_for_is_not_known_to_lack),
        cmocka_unit_test(exactly_the_events_of_any_of_some_types_are_found),
        cmocka_unit_test(all_types_are_told_with_their_names_and_counts),
        cmocka_unit_test(a_type_is_found_by_its_name_alone),
        cmocka_unit_test(a_type_that_was_numbered_and_never_used_is_not_there),
        cmocka_unit_test(no_event_of_a_time_is_passed_over),
        cmocka_unit_test(times_that_nothing_has_are_nowhere),
        cmocka_unit_test(a_short_time_is_a_short_stretch),
        cmocka_unit_test(a_time_that_comes_again_is_another_stretch),
        cmocka_unit_test(a_record_is_found_a_few_records_behind_the_offset_told),
        cmocka_unit_test(offsets_that_nobody_told_take_no_room),
        cmocka_unit_test(an_index_knows_what_it_is_about),
        cmocka_unit_test(a_candidate_that_is_none_is_rare),
        cmocka_unit_test(a_key_that_is_not_there_seldom_costs_a_read),
        cmocka_unit_test(an_index_keeps_to_the_memory_and_the_bytes_it_promises),
        cmocka_unit_test(what_is_added_while_somebody_looks_is_not_in_the_way),
        cmocka_unit_test(a_tail_that_is_reset_is_as_new_and_takes_no_memory_again),
        cmocka_unit_test(an_index_stays_for_who_has_a_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
