// SPDX-License-Identifier: MIT
//
// Entries in the order of their keys: what a state table has in memory, and what a transaction
// changes.
//
//     head ─────────────► b ───────────────► NULL       a skip list: each entry brings its links,
//     head ───► a ──────► b ──────► d ─────► NULL       so that putting it in cannot fail
//     head ───► a ► (a2)► b ──► c ─► d ────► NULL
//
// Ownership: a node is *shared* and immutable once it is in a table, but for its links, which
// belong to the table. Threads: the caller has a lock; references may be dropped without one.
#ifndef PL_LOG_KV_TABLE_H
#define PL_LOG_KV_TABLE_H

#include "log/kv.h"
#include "log/kv_bytes.h"

#define PL_KV_HEIGHT_MAX 16 // enough for 4^16 entries

struct pl_kv_node {
    atomic_uint refs;
    unsigned height;
    bool removed; // in a transaction: the key goes
    struct pl_kv_entry entry;
    struct pl_kv_node *next[]; // `height` of them, then the key and the value
};

struct pl_kv_table {
    const struct pl_seams *seams;
    struct pl_kv_node *head[PL_KV_HEIGHT_MAX];
    uint64_t chance; // for heights
    size_t count;
    uint64_t bytes;   // keys, values, PL_KV_OVERHEAD each
    uint64_t records; // what its entries take in a file, a record each
};

void pl_kv_table_init(struct pl_kv_table *table, const struct pl_seams *seams);
void pl_kv_table_finish(struct pl_kv_table *table); // fine on zeros

// A node with one reference, in no table yet. The change's bytes are *copied*. NULL: no memory.
struct pl_kv_node *pl_kv_node_create(struct pl_kv_table *table, const struct pl_kv_change *change);
void pl_kv_node_ref(struct pl_kv_node *node);
void pl_kv_node_unref(const struct pl_seams *seams, struct pl_kv_node *node);
struct pl_kv_node *pl_kv_node_of(const struct pl_kv_entry *entry);

// What it says, as a change.
struct pl_kv_change pl_kv_node_change(const struct pl_kv_node *node);

// What it counts.
uint64_t pl_kv_node_bytes(const struct pl_kv_node *node);

// NULL: there is none. Borrowed.
struct pl_kv_node *pl_kv_table_find(const struct pl_kv_table *table, const char *key);

// The first node whose key is not below `key`, or above it. Borrowed.
struct pl_kv_node *pl_kv_table_after(const struct pl_kv_table *table, const char *key, bool above);

// Puts the node, which is *taken*, in the place of what has its key; that is *given*, or NULL.
struct pl_kv_node *pl_kv_table_put(struct pl_kv_table *table, struct pl_kv_node *node);

// Takes what has a key out of the table, and gives it; NULL: there is none.
struct pl_kv_node *pl_kv_table_take(struct pl_kv_table *table, const char *key);

#endif
