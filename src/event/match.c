// SPDX-License-Identifier: MIT
//
// A trie whose nodes are segments of patterns, walked by a set of nodes instead of one.
//
// All edges of the trie are in one hash table, by parent and segment, instead of a table in each
// node: a node stays small, whether it has one child or a million. Children that are wildcards are
// in the table too, for add, and besides in a list of their parent, for find; in it '+', '*' and
// '**' come before the globs.
//
// Finding: the set starts with the root. For each segment of the type, every node in it brings its
// literal child of that name and those wildcard children that take the segment into the next set;
// '*' and '**' also bring themselves, as they may take more. Whoever brings a node brings its '**'
// child, which may take nothing. The mark of a node says whether it is in the set already, so a set
// is never larger than the trie and no path is walked twice. What ends at the nodes of the last set
// matches.
//
// A subscription with several includes has an entry at the end of each. It is reported by the first
// of its entries that is in the last set, which the marks tell; excludes are asked after that.
//
// The tables grow by one bucket an insert (linear hashing), because the millionth subscriber should
// not wait until all others have been moved. When there is no memory for buckets, chains become
// longer and nothing fails. So once a subscription and its nodes exist, adding cannot fail, and
// removing never can.
//
// Not here: an array or a table of children in each node, which most nodes with their one child
// would pay for; a second table for subscriptions without wildcards, which would save look-ups
// where only a new type pays for them.
#include "event/match.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

#define ACTIVE_MIN 64U

struct subscription;

struct entry {
    struct entry *next;
    struct entry **prev; // what points here
    struct pl_match_node *node;
    struct subscription *owner;
};

struct subscription {
    struct pl_match_link link; // first, so that one is the other
    const struct pl_pattern *pattern;
    void *subscriber;
    struct entry entries[]; // one for each include
};

struct pl_match_node {
    struct pl_match_link link; // first, so that one is the other
    struct pl_match_node *parent;
    struct pl_match_node *wild; // first of the children that are wildcards
    struct entry *entries;
    uint64_t mark; // the last step of finding it was active in
    uint32_t children;
    uint8_t kind;
    uint8_t length;
    char segment[]; // no zero byte; behind it, if the node is a wildcard, its `struct wild`
};

// A wildcard's place among those of its parent. Most nodes are none, and there are millions.
struct wild {
    struct pl_match_node *next;
    struct pl_match_node **prev; // what points here
};

// A set of nodes while it grows, in match->active.
struct set {
    struct pl_match *match;
    size_t count;
    bool failed; // no memory for it
};

_Static_assert(PL_TYPE_MAX <= UINT8_MAX, "the length of a segment fits");

typedef uint64_t link_hash(const struct pl_match *match, const struct pl_match_link *link);

static struct pl_match_link **bucket(struct pl_match_table *table, uint64_t hash)
{
    if (!table->buckets) {
        return &table->first;
    }
    size_t at = hash & table->mask;
    return &table->buckets[at <= table->last ? at : at & table->mask >> 1];
}

// Room for one more bucket behind the last. False: no memory.
static bool table_reserve(const struct pl_match *match, struct pl_match_table *table)
{
    if (table->last < table->mask) {
        return true;
    }
    size_t size = 2 * (table->mask + 1);
    struct pl_match_link **buckets =
        pl_resize(match->seams, table->buckets, size * sizeof(struct pl_match_link *));
    if (!buckets) {
        return false;
    }
    if (!table->buckets) {
        buckets[0] = table->first;
    }
    table->buckets = buckets;
    table->mask = size - 1;
    return true;
}

// Moves what belongs into a new last bucket out of the one it shared with another so far.
static void table_split(const struct pl_match *match, struct pl_match_table *table, link_hash *hash)
{
    if (!table_reserve(match, table)) {
        return; // longer chains will do, and the next insert tries again
    }
    size_t last = ++table->last;
    struct pl_match_link **to = &table->buckets[last];
    struct pl_match_link **from = &table->buckets[last & table->mask >> 1];
    *to = NULL;
    while (*from) {
        struct pl_match_link *link = *from;
        if ((hash(match, link) & table->mask) == last) {
            *from = link->next;
            link->next = *to;
            *to = link;
        } else {
            from = &link->next;
        }
    }
}

static void table_insert(const struct pl_match *match, struct pl_match_table *table,
                         struct pl_match_link *link, link_hash *hash)
{
    if (table->count > table->last) {
        table_split(match, table, hash);
    }
    struct pl_match_link **to = bucket(table, hash(match, link));
    link->next = *to;
    *to = link;
    table->count++;
}

static void table_remove(const struct pl_match *match, struct pl_match_table *table,
                         struct pl_match_link *link, link_hash *hash)
{
    struct pl_match_link **at = bucket(table, hash(match, link));
    while (*at != link) {
        at = &(*at)->next;
    }
    *at = link->next;
    table->count--;
}

// Frees everything in the table, and the table.
static void table_clear(const struct pl_match *match, struct pl_match_table *table)
{
    for (size_t i = 0; i <= table->last; i++) {
        struct pl_match_link *link = *bucket(table, i);
        while (link) {
            struct pl_match_link *next = link->next;
            pl_release(match->seams, link);
            link = next;
        }
    }
    pl_release(match->seams, table->buckets);
    *table = (struct pl_match_table){ 0 };
}

// A segment is hashed once and then looked for under each active node.
static uint64_t segment_hash(const struct pl_match *match, const char *text, size_t length)
{
    return pl_hash(text, length, match->seed);
}

static uint64_t edge_hash(const struct pl_match_node *parent, uint64_t segment)
{
    return pl_hash_mix((uintptr_t)parent ^ PL_HASH_A, segment ^ PL_HASH_B);
}

static uint64_t node_hash(const struct pl_match *match, const struct pl_match_link *link)
{
    const struct pl_match_node *node = (const struct pl_match_node *)link;
    return edge_hash(node->parent, segment_hash(match, node->segment, node->length));
}

static uint64_t pair_hash(const struct pl_match *match, const struct pl_pattern *pattern,
                          const void *subscriber)
{
    return pl_hash_mix((uintptr_t)pattern ^ match->seed ^ PL_HASH_A,
                       (uintptr_t)subscriber ^ PL_HASH_B);
}

static uint64_t subscription_hash(const struct pl_match *match, const struct pl_match_link *link)
{
    const struct subscription *subscription = (const struct subscription *)link;
    return pair_hash(match, subscription->pattern, subscription->subscriber);
}

// The literal and the wildcards share the table: no text of one is a text of the other.
static struct pl_match_node *find_child(struct pl_match *match, const struct pl_match_node *parent,
                                        const char *text, size_t length, uint64_t hash)
{
    struct pl_match_link *link = *bucket(&match->nodes, edge_hash(parent, hash));
    for (; link; link = link->next) {
        struct pl_match_node *node = (struct pl_match_node *)link;
        if (node->parent == parent && node->length == length &&
            memcmp(node->segment, text, length) == 0) {
            return node;
        }
    }
    return NULL;
}

static struct subscription *find_pair(struct pl_match *match, const struct pl_pattern *pattern,
                                      const void *subscriber)
{
    struct pl_match_link *link =
        *bucket(&match->subscriptions, pair_hash(match, pattern, subscriber));
    for (; link; link = link->next) {
        struct subscription *subscription = (struct subscription *)link;
        if (subscription->pattern == pattern && subscription->subscriber == subscriber) {
            return subscription;
        }
    }
    return NULL;
}

static size_t node_size(size_t length)
{
    size_t size = offsetof(struct pl_match_node, segment) + length;
    return (size + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *);
}

// Of a wildcard only.
static struct wild *wild_of(struct pl_match_node *node)
{
    return (struct wild *)(void *)((char *)node + node_size(node->length));
}

// The bytes of a segment start inside what sizeof counts as padding, so a node is never assigned.
static struct pl_match_node *new_node(const struct pl_match *match,
                                      const struct pl_pattern_segment *segment)
{
    size_t wild = segment->kind == PL_PATTERN_TEXT ? 0 : sizeof(struct wild);
    struct pl_match_node *node = pl_alloc(match->seams, node_size(segment->length) + wild);
    if (node) {
        memset(node, 0, offsetof(struct pl_match_node, segment));
        node->kind = (uint8_t)segment->kind;
        node->length = (uint8_t)segment->length;
        memcpy(node->segment, segment->text, segment->length);
    }
    return node;
}

static void add_wild(struct pl_match_node *parent, struct pl_match_node *node)
{
    struct pl_match_node **at = &parent->wild;
    while (node->kind == PL_PATTERN_GLOB && *at && (*at)->kind != PL_PATTERN_GLOB) {
        at = &wild_of(*at)->next;
    }
    struct wild *wild = wild_of(node);
    wild->next = *at;
    wild->prev = at;
    if (wild->next) {
        wild_of(wild->next)->prev = &wild->next;
    }
    *at = node;
}

static void remove_wild(struct pl_match_node *node)
{
    struct wild *wild = wild_of(node);
    *wild->prev = wild->next;
    if (wild->next) {
        wild_of(wild->next)->prev = wild->prev;
    }
}

// The child for a segment, made if it is not there. NULL: no memory.
static struct pl_match_node *need_child(struct pl_match *match, struct pl_match_node *parent,
                                        const struct pl_pattern_segment *segment)
{
    uint64_t hash = segment_hash(match, segment->text, segment->length);
    struct pl_match_node *node = find_child(match, parent, segment->text, segment->length, hash);
    if (node) {
        return node;
    }
    node = new_node(match, segment);
    if (!node) {
        return NULL;
    }
    node->parent = parent;
    parent->children++;
    if (node->kind != PL_PATTERN_TEXT) {
        add_wild(parent, node);
    }
    table_insert(match, &match->nodes, &node->link, node_hash);
    return node;
}

// Frees the node if nothing ends in it or below it, then its parent likewise. The root stays.
static void prune(struct pl_match *match, struct pl_match_node *node)
{
    while (node->parent && node->children == 0 && !node->entries) {
        struct pl_match_node *parent = node->parent;
        table_remove(match, &match->nodes, &node->link, node_hash);
        if (node->kind != PL_PATTERN_TEXT) {
            remove_wild(node);
        }
        parent->children--;
        pl_release(match->seams, node);
        node = parent;
    }
}

// The node at the end of a part, made if it is not there. NULL: no memory, and nothing is left.
static struct pl_match_node *need_end(struct pl_match *match, const struct pl_pattern_part *part)
{
    struct pl_match_node *node = match->root;
    struct pl_pattern_segment segment;
    const char *cursor = part->text;
    while (pl_pattern_next_segment(&segment, part, &cursor)) {
        struct pl_match_node *child = need_child(match, node, &segment);
        if (!child) {
            prune(match, node);
            return NULL;
        }
        node = child;
    }
    return node;
}

static void link_entry(struct pl_match_node *node, struct entry *entry, struct subscription *owner)
{
    *entry = (struct entry){ node->entries, &node->entries, node, owner };
    if (entry->next) {
        entry->next->prev = &entry->next;
    }
    node->entries = entry;
}

// Takes the first `count` entries out, which are in the trie, and frees the subscription.
static void drop(struct pl_match *match, struct subscription *subscription, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct entry *entry = &subscription->entries[i];
        *entry->prev = entry->next;
        if (entry->next) {
            entry->next->prev = entry->prev;
        }
        prune(match, entry->node);
    }
    pl_release(match->seams, subscription);
}

// Puts an entry at the end of each include. False: no memory, and the subscription is freed.
static bool link_includes(struct pl_match *match, struct subscription *subscription)
{
    size_t linked = 0;
    struct pl_pattern_part part;
    const char *cursor = pl_pattern_text(subscription->pattern);
    while (pl_pattern_next_part(&part, &cursor)) {
        if (part.exclude) {
            continue;
        }
        struct pl_match_node *node = need_end(match, &part);
        if (!node) {
            drop(match, subscription, linked);
            return false;
        }
        link_entry(node, &subscription->entries[linked++], subscription);
    }
    assert(linked == pl_pattern_includes(subscription->pattern));
    return true;
}

static bool subscribe(struct pl_match *match, const struct pl_pattern *pattern, void *subscriber)
{
    if (!match->root) {
        match->root = new_node(match, &(struct pl_pattern_segment){ .text = "" });
    }
    size_t includes = pl_pattern_includes(pattern);
    struct subscription *subscription =
        match->root ? pl_alloc(match->seams, sizeof *subscription + includes * sizeof(struct entry))
                    : NULL;
    if (!subscription) {
        return false;
    }
    subscription->pattern = pattern;
    subscription->subscriber = subscriber;
    if (!link_includes(match, subscription)) {
        return false;
    }
    table_insert(match, &match->subscriptions, &subscription->link, subscription_hash);
    return true;
}

static void clear(struct pl_match *match)
{
    table_clear(match, &match->subscriptions);
    table_clear(match, &match->nodes);
    pl_release(match->seams, match->root);
    pl_release(match->seams, match->active);
    match->root = NULL;
    match->active = NULL;
    match->active_max = 0;
}

static bool reserve(struct set *set)
{
    struct pl_match *match = set->match;
    size_t max = match->active_max ? 2 * match->active_max : ACTIVE_MIN;
    struct pl_match_node **active =
        pl_resize(match->seams, match->active, max * sizeof(struct pl_match_node *));
    if (!active) {
        return false;
    }
    match->active = active;
    match->active_max = max;
    return true;
}

static void push(struct set *set, struct pl_match_node *node)
{
    if (set->failed || (set->count == set->match->active_max && !reserve(set))) {
        set->failed = true;
        return;
    }
    set->match->active[set->count++] = node;
}

static struct pl_match_node *any_child(const struct pl_match_node *node)
{
    struct pl_match_node *child = node->wild;
    while (child && child->kind != PL_PATTERN_ANY) {
        child = child->kind == PL_PATTERN_GLOB ? NULL : wild_of(child)->next;
    }
    return child;
}

// A marked node has brought its '**' children already.
static void activate(struct set *set, struct pl_match_node *node)
{
    for (; node && node->mark != set->match->now; node = any_child(node)) {
        node->mark = set->match->now;
        push(set, node);
    }
}

static bool takes(const struct pl_match_node *node, const char *text, size_t length)
{
    struct pl_pattern_segment segment = { node->segment, node->length,
                                          (enum pl_pattern_kind)node->kind };
    return pl_pattern_segment_takes(&segment, text, length);
}

// Replaces the set by what it becomes after one more segment of the type.
static void step(struct set *set, const char *text, size_t length)
{
    struct pl_match *match = set->match;
    uint64_t hash = segment_hash(match, text, length);
    size_t before = set->count;
    match->now++;
    for (size_t i = 0; i < before; i++) {
        struct pl_match_node *node = match->active[i];
        activate(set, find_child(match, node, text, length, hash));
        for (struct pl_match_node *child = node->wild; child; child = wild_of(child)->next) {
            if (takes(child, text, length)) {
                activate(set, child);
            }
        }
        bool again = node->kind == PL_PATTERN_SOME || node->kind == PL_PATTERN_ANY;
        if (again && takes(node, text, length)) {
            activate(set, node);
        }
    }
    set->count -= before;
    memmove(match->active, match->active + before, set->count * sizeof(struct pl_match_node *));
}

// Whether the entry is the first of its subscription in the last set.
static bool speaks(const struct pl_match *match, const struct entry *entry)
{
    const struct entry *first = entry->owner->entries;
    while (first->node->mark != match->now) {
        first++;
    }
    return first == entry;
}

void pl_match_init(struct pl_match *match, const struct pl_seams *seams)
{
    *match = (struct pl_match){ .seams = seams, .seed = seams->random(seams->world) };
}

void pl_match_finish(struct pl_match *match)
{
    if (match->seams) {
        clear(match);
    }
}

enum peal_err pl_match_add(struct pl_match *match, const struct pl_pattern *pattern,
                           void *subscriber)
{
    if (find_pair(match, pattern, subscriber)) {
        return pl_fail(PEAL_EEXISTS, "\"%.200s\" is subscribed to already, by the same subscriber",
                       pl_pattern_text(pattern));
    }
    if (!subscribe(match, pattern, subscriber)) {
        if (match->subscriptions.count == 0) {
            clear(match);
        }
        return pl_fail(PEAL_ENOMEM, "no memory to subscribe to \"%.200s\" beside %zu others",
                       pl_pattern_text(pattern), match->subscriptions.count);
    }
    return PEAL_OK;
}

void pl_match_remove(struct pl_match *match, const struct pl_pattern *pattern, void *subscriber)
{
    struct subscription *subscription = find_pair(match, pattern, subscriber);
    if (!subscription) {
        return;
    }
    table_remove(match, &match->subscriptions, &subscription->link, subscription_hash);
    drop(match, subscription, pl_pattern_includes(pattern));
    if (match->subscriptions.count == 0) {
        clear(match);
    }
}

enum peal_err pl_match_find(struct pl_match *match, const char *type, size_t length,
                            void (*found)(void *context, void *subscriber), void *context)
{
    struct set set = { .match = match };
    match->now++;
    activate(&set, match->root);
    for (size_t at = 0; at <= length && set.count > 0 && !set.failed; at++) {
        const char *end = memchr(type + at, '.', length - at);
        size_t size = (end ? (size_t)(end - type) : length) - at;
        step(&set, type + at, size);
        at += size;
    }
    if (set.failed) {
        return pl_fail(PEAL_ENOMEM, "no memory to find who subscribed to \"%.*s\"", (int)length,
                       type);
    }
    for (size_t i = 0; i < set.count; i++) {
        for (struct entry *entry = match->active[i]->entries; entry; entry = entry->next) {
            const struct subscription *owner = entry->owner;
            if (speaks(match, entry) && !pl_pattern_excludes(owner->pattern, type, length)) {
                found(context, owner->subscriber);
            }
        }
    }
    return PEAL_OK;
}
