// SPDX-License-Identifier: MIT
//
// The index of a file that still grows.
//
//     stripe: 16,384 nodes, and for each kind of key
//
//         slots   ┌───┬───┬───┐
//         newest  │ · │ 7 │ 9 │          the last event whose hash falls there
//                 └───┴─┬─┴─┬─┘
//         nodes   ... 2 ◄──7   9 ──► 4   each leads to the one before it
//
// Adding writes one node of 32 bytes and five slots; nothing is ever moved. Since a chain stays in
// its stripe, its links are 16 bits, and who looks for something later than a stripe never walks
// through it. A chain leads backwards; candidates become bits, which can be read either way.
//
// One adds while others look, without a lock. A node is written whole before its slot leads to it
// (release, acquire), and never again; `span` is stored after everything an event changes, so who
// loads it (acquire) sees all of what is below. What is above it may be met, and is passed over.
//
// Stripes that are no longer needed stay for the next file: to touch memory for the first time
// costs more than all the rest.
//
// Tried and dropped: one table for all of a file (its links are twice as wide, and it has to grow
// while somebody looks); sorted runs that are merged (a publisher stands still meanwhile).
#include "base/error.h"
#include "log/index_inside.h"

#include <assert.h>
#include <string.h>

static uint32_t tail_span(const struct pl_index *index)
{
    return atomic_load_explicit(&pl_tail_in(index)->span, memory_order_acquire);
}

void *pl_tail_take(struct pl_tail *tail, size_t size, const char *what)
{
    void *memory = pl_alloc(tail->index.seams, size);
    if (memory) {
        atomic_fetch_add_explicit(&tail->memory, size, memory_order_relaxed); // a mere count
    } else {
        pl_explain("no memory for %s of the index of the log's last file", what);
    }
    return memory;
}

static void give_memory(struct pl_tail *tail, void *memory, size_t size)
{
    pl_release(tail->index.seams, memory);
    atomic_fetch_sub_explicit(&tail->memory, size, memory_order_relaxed); // a mere count
}

// ---- adding -------------------------------------------------------------------------------------

// A stripe without events, of memory that has been used before if there is some.
static struct pl_tail_stripe *make_stripe(struct pl_tail *tail)
{
    struct pl_tail_stripe *stripe = NULL;
    if (tail->spare_count > 0) {
        stripe = tail->spare[--tail->spare_count];
    } else {
        stripe = pl_tail_take(tail, sizeof *stripe, "16,384 events");
    }
    if (stripe) {
        memset(stripe->newest, 0xff, sizeof stripe->newest); // PL_TAIL_NONE, before anybody looks
        for (size_t i = 0; i < PL_MOMENTS; i++) {
            atomic_init(&stripe->earliest[i], INT64_MAX);
            atomic_init(&stripe->latest[i], INT64_MIN);
        }
    }
    return stripe;
}

// Leaves out [from, to) of a stripe; `mark` says where the records behind it are.
static void leave_out(struct pl_tail_stripe *stripe, uint32_t from, uint32_t to, uint32_t mark)
{
    for (uint32_t place = from; place < to; place++) {
        struct pl_tail_node *node = &stripe->nodes[place];
        memset(node, 0, sizeof *node);
        node->keys[PL_KEY_TYPE] = PL_TYPE_NONE;
        if (place % PL_TAIL_MARK == 0) {
            stripe->marks[place / PL_TAIL_MARK] = mark;
        }
    }
}

// The stripe where a place is that does not follow the last one in the same stripe.
static enum peal_err step(struct pl_tail *tail, uint32_t span, uint32_t place, uint32_t mark)
{
    struct pl_tail_stripe *last = tail->last;
    unsigned from = span / PL_STRIPE;
    unsigned to = place / PL_STRIPE;
    const bool same = last && (span - 1) / PL_STRIPE == to; // `last` is where span - 1 is
    struct pl_tail_stripe *next = same ? last : make_stripe(tail);
    if (!next) {
        return PEAL_ENOMEM;
    }
    if (last && !same) {
        leave_out(last, (span - 1) % PL_STRIPE + 1, PL_STRIPE, mark);
    }
    leave_out(next, to == from ? span % PL_STRIPE : 0, place % PL_STRIPE, mark);
    // Relaxed: before `span`.
    atomic_store_explicit(&tail->stripes[to], next, memory_order_relaxed);
    tail->last = next;
    return PEAL_OK;
}

static void add_moment(struct pl_tail *tail, struct pl_tail_stripe *stripe, uint32_t place,
                       int64_t time)
{
    // Relaxed: we alone store them, before `span`.
    size_t block = place % PL_STRIPE / PL_TIME_PLACES;
    if (time < atomic_load_explicit(&stripe->earliest[block], memory_order_relaxed)) {
        atomic_store_explicit(&stripe->earliest[block], time, memory_order_relaxed);
        if (time < atomic_load_explicit(&tail->earliest, memory_order_relaxed)) {
            atomic_store_explicit(&tail->earliest, time, memory_order_relaxed);
        }
    }
    if (time > atomic_load_explicit(&stripe->latest[block], memory_order_relaxed)) {
        atomic_store_explicit(&stripe->latest[block], time, memory_order_relaxed);
        if (time > atomic_load_explicit(&tail->latest, memory_order_relaxed)) {
            atomic_store_explicit(&tail->latest, time, memory_order_relaxed);
        }
    }
}

static void count_type(struct pl_tail *tail, uint32_t number, unsigned stripe)
{
    // Relaxed: we alone store them, before `span`.
    struct pl_tail_type *type = pl_tail_type(tail, number);
    uint32_t count = atomic_load_explicit(&type->count, memory_order_relaxed);
    uint64_t stripes = atomic_load_explicit(&type->stripes, memory_order_relaxed);
    atomic_store_explicit(&type->count, count + 1, memory_order_relaxed);
    atomic_store_explicit(&type->stripes, stripes | 1ULL << stripe, memory_order_relaxed);
}

static void link_node(struct pl_tail_stripe *stripe, uint32_t place,
                      const struct pl_index_event *event)
{
    uint16_t here = (uint16_t)(place % PL_STRIPE);
    struct pl_tail_node *node = &stripe->nodes[here];
    for (size_t kind = 0; kind < PL_KEYS; kind++) {
        node->keys[kind] = event->keys[kind] ? pl_index_short(event->keys[kind]) : 0;
    }
    node->keys[PL_KEY_TYPE] = event->type;
    for (size_t kind = 0; kind < PL_KINDS; kind++) {
        uint32_t key = node->keys[kind];
        if (key != 0 || kind == PL_KEY_TYPE) {
            _Atomic uint16_t *slot = &stripe->newest[kind][key % PL_TAIL_SLOTS];
            node->before[kind] = atomic_load_explicit(slot, memory_order_relaxed); // ours
        }
    }
    // Only now, when the node is whole.
    for (size_t kind = 0; kind < PL_KINDS; kind++) {
        uint32_t key = node->keys[kind];
        if (key != 0 || kind == PL_KEY_TYPE) {
            atomic_store_explicit(&stripe->newest[kind][key % PL_TAIL_SLOTS], here,
                                  memory_order_release);
        }
    }
}

enum peal_err pl_index_add(struct pl_index *index, const struct pl_index_event *event)
{
    struct pl_tail *tail = pl_tail_of(index);
    const uint32_t span = atomic_load_explicit(&tail->span, memory_order_relaxed); // ours
    assert(index->ops == &pl_tail_ops && event->position >= index->base + span);
    assert(event->offset % 8 == 0);
    if (event->position - index->base >= PL_INDEX_POSITIONS_MAX) {
        return pl_fail(PEAL_ELIMIT,
                       "position %llu: a segment file has at most %d, from %llu on: begin another",
                       (unsigned long long)event->position, PL_INDEX_POSITIONS_MAX,
                       (unsigned long long)index->base);
    }
    if (event->offset >= PL_INDEX_OFFSET_MAX) {
        return pl_fail(PEAL_ELIMIT, "position %llu: a segment file has at most %llu bytes",
                       (unsigned long long)event->position, PL_INDEX_OFFSET_MAX);
    }
    const uint32_t place = (uint32_t)(event->position - index->base);
    const uint32_t mark = (uint32_t)(event->offset / 8);
    if (place != span || place % PL_STRIPE == 0) {
        enum peal_err err = step(tail, span, place, mark);
        if (err) {
            return err;
        }
    }
    struct pl_tail_stripe *stripe = tail->last;
    if (place % PL_TAIL_MARK == 0) {
        stripe->marks[place % PL_STRIPE / PL_TAIL_MARK] = mark;
    }
    add_moment(tail, stripe, place, event->time);
    count_type(tail, event->type, place / PL_STRIPE);
    link_node(stripe, place, event);
    uint32_t events = atomic_load_explicit(&tail->events, memory_order_relaxed); // ours
    atomic_store_explicit(&tail->events, events + 1, memory_order_relaxed);
    atomic_store_explicit(&tail->span, place + 1, memory_order_release);
    return PEAL_OK;
}

// ---- finding ------------------------------------------------------------------------------------

static uint16_t newest(const struct pl_tail_stripe *stripe, unsigned kind, uint32_t key)
{
    return atomic_load_explicit(&stripe->newest[kind][key % PL_TAIL_SLOTS], memory_order_acquire);
}

static uint64_t stripes_between(uint32_t low, uint32_t high)
{
    unsigned count = (high - 1) / PL_STRIPE - low / PL_STRIPE + 1;
    return (count == 64 ? ~0ULL : (1ULL << count) - 1) << low / PL_STRIPE;
}

// The stripes that have something in the slot of a key.
static uint64_t stripes_of_key(const struct pl_find *find, uint64_t among)
{
    const struct pl_tail *tail = pl_tail_in(find->index);
    uint32_t key = pl_index_short(find->wanted.hash);
    uint64_t found = 0;
    for (uint64_t left = among; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctzll(left);
        const struct pl_tail_stripe *stripe = pl_tail_stripe(tail, i);
        if (stripe && newest(stripe, find->wanted.key, key) != PL_TAIL_NONE) {
            found |= 1ULL << i;
        }
    }
    return found;
}

static enum peal_err tail_begin(struct pl_find *find)
{
    const struct pl_tail *tail = pl_tail_in(find->index);
    uint64_t stripes = stripes_between(find->low, find->high);
    if (find->wanted.hash) {
        find->stripes = stripes_of_key(find, stripes);
        return PEAL_OK;
    }
    for (size_t i = 0; i < find->wanted.type_count; i++) {
        assert(find->wanted.types[i] < atomic_load(&tail->types));
        const struct pl_tail_type *type = pl_tail_type(tail, find->wanted.types[i]);
        // Relaxed: `span` was acquired, and only what is below it is wanted.
        find->stripes |= atomic_load_explicit(&type->stripes, memory_order_relaxed);
        find->weight += atomic_load_explicit(&type->count, memory_order_relaxed);
    }
    find->stripes &= stripes;
    return PEAL_OK;
}

// Walks a chain from its end to `low`, and sets the bits of those below `high`.
static void walk(struct pl_find *find, const struct pl_tail_stripe *stripe, uint32_t first,
                 unsigned kind, uint32_t key)
{
    for (uint16_t at = newest(stripe, kind, key); at != PL_TAIL_NONE && first + at >= find->low;) {
        const struct pl_tail_node *node = &stripe->nodes[at];
        if (node->keys[kind] == key && first + at < find->high) {
            pl_find_set(find, at);
        }
        at = node->before[kind];
    }
}

static enum peal_err tail_stripe(struct pl_find *find, unsigned number)
{
    const struct pl_tail *tail = pl_tail_in(find->index);
    const struct pl_tail_stripe *stripe = pl_tail_stripe(tail, number);
    const uint32_t first = number * PL_STRIPE;
    if (find->wanted.hash) {
        walk(find, stripe, first, find->wanted.key, pl_index_short(find->wanted.hash));
        return PEAL_OK;
    }
    for (size_t i = 0; i < find->wanted.type_count; i++) {
        walk(find, stripe, first, PL_KEY_TYPE, find->wanted.types[i]);
    }
    return PEAL_OK;
}

// Of a key nobody knows the number: some chains are counted, and stand for the others.
static uint64_t tail_weight(const struct pl_find *find)
{
    if (!find->wanted.hash) {
        return find->weight;
    }
    const uint64_t stripes = stripes_of_key(find, stripes_between(find->low, find->high));
    const uint32_t key = pl_index_short(find->wanted.hash);
    uint64_t count = 0;
    for (uint64_t left = stripes; left; left &= left - 1) {
        const struct pl_tail_stripe *stripe =
            pl_tail_stripe(pl_tail_in(find->index), (unsigned)__builtin_ctzll(left));
        uint16_t at = newest(stripe, find->wanted.key, key);
        for (int i = 0; i < 256 && at != PL_TAIL_NONE; i++) {
            count++;
            at = stripe->nodes[at].before[find->wanted.key];
        }
        count += at != PL_TAIL_NONE ? PL_STRIPE : 0;
    }
    return count;
}

static enum peal_err tail_moments(struct pl_index *index, unsigned block, int64_t *earliest,
                                  int64_t *latest)
{
    const struct pl_tail_stripe *stripe = pl_tail_stripe(pl_tail_in(index), block / PL_MOMENTS);
    if (stripe) {
        *earliest = atomic_load_explicit(&stripe->earliest[block % PL_MOMENTS], // see their comment
                                         memory_order_relaxed);
        *latest = atomic_load_explicit(&stripe->latest[block % PL_MOMENTS], memory_order_relaxed);
    }
    return PEAL_OK;
}

static enum peal_err tail_offset(struct pl_index *index, uint32_t place, uint64_t *out)
{
    const struct pl_tail *tail = pl_tail_in(index);
    unsigned number = place / PL_STRIPE;
    size_t mark = place % PL_STRIPE / PL_TAIL_MARK;
    const struct pl_tail_stripe *stripe = pl_tail_stripe(tail, number);
    while (!stripe) { // left out; the last one is there
        stripe = pl_tail_stripe(tail, ++number);
        mark = 0;
    }
    *out = (uint64_t)stripe->marks[mark] * 8;
    return PEAL_OK;
}

static void tail_facts(const struct pl_index *index, struct pl_index_facts *out)
{
    const struct pl_tail *tail = pl_tail_in(index);
    *out = (struct pl_index_facts){ .base = index->base, .end = index->base + tail_span(index) };
    // Relaxed: behind the acquire of `span` they tell of at least what is below it.
    out->events = atomic_load_explicit(&tail->events, memory_order_relaxed);
    out->types = atomic_load_explicit(&tail->types, memory_order_relaxed);
    out->earliest = atomic_load_explicit(&tail->earliest, memory_order_relaxed);
    out->latest = atomic_load_explicit(&tail->latest, memory_order_relaxed);
    out->memory = atomic_load_explicit(&tail->memory, memory_order_relaxed);
}

// ---- life ---------------------------------------------------------------------------------------

static void set_empty(struct pl_tail *tail, uint64_t base)
{
    assert(base > 0);
    tail->index.base = base;
    tail->last = NULL;
    for (size_t i = 0; i < PL_TYPE_SLOTS; i++) {
        atomic_init(&tail->slots[i], 0);
    }
    atomic_init(&tail->types, 0);
    atomic_init(&tail->events, 0);
    atomic_init(&tail->earliest, INT64_MAX);
    atomic_init(&tail->latest, INT64_MIN);
    atomic_store_explicit(&tail->span, 0, memory_order_release);
}

void pl_index_reset(struct pl_index *index, uint64_t base)
{
    struct pl_tail *tail = pl_tail_of(index);
    assert(index->ops == &pl_tail_ops);
    for (size_t i = 0; i < PL_STRIPES; i++) {
        struct pl_tail_stripe *stripe = pl_tail_stripe(tail, (unsigned)i);
        if (stripe) {
            tail->spare[tail->spare_count++] = stripe;
            atomic_init(&tail->stripes[i], NULL);
        }
    }
    while (tail->names && tail->names->next) {
        struct pl_tail_names *names = tail->names;
        tail->names = names->next;
        give_memory(tail, names, sizeof *names);
    }
    if (tail->names) {
        tail->names->used = 0;
    }
    set_empty(tail, base);
}

static void tail_destroy(struct pl_index *index)
{
    struct pl_tail *tail = pl_tail_of(index);
    const struct pl_seams *seams = index->seams;
    pl_index_reset(index, 1);
    while (tail->spare_count > 0) {
        give_memory(tail, tail->spare[--tail->spare_count], sizeof(struct pl_tail_stripe));
    }
    for (size_t i = 0; i < PL_TYPE_CHUNKS; i++) {
        pl_release(seams, atomic_load_explicit(&tail->chunks[i], memory_order_relaxed)); // alone
    }
    pl_release(seams, tail->names);
    pl_release(seams, tail);
}

enum peal_err pl_index_create(struct pl_index **out, const struct pl_seams *seams,
                              const uint64_t seed[2], uint64_t base)
{
    struct pl_tail *tail = pl_new(seams, sizeof *tail);
    if (!tail) {
        return pl_fail(PEAL_ENOMEM, "no memory for the index of the log's last file");
    }
    tail->index.ops = &pl_tail_ops;
    tail->index.seams = seams;
    tail->index.seed[0] = seed[0];
    tail->index.seed[1] = seed[1];
    atomic_init(&tail->index.refs, 1);
    atomic_init(&tail->memory, sizeof *tail);
    set_empty(tail, base);
    *out = &tail->index;
    return PEAL_OK;
}

const struct pl_index_ops pl_tail_ops = {
    .destroy = tail_destroy,
    .facts = tail_facts,
    .span = tail_span,
    .begin = tail_begin,
    .next = pl_find_in_stripes,
    .ahead = pl_find_ahead_in_stripes,
    .weight = tail_weight,
    .stripe = tail_stripe,
    .types = pl_tail_types,
    .find_type = pl_tail_find_type,
    .moments = tail_moments,
    .offset = tail_offset,
};
