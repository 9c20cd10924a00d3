// SPDX-License-Identifier: MIT
//
// Heap: what is due first. Nodes live inside the things they order; the smallest key comes out
// first, the smaller tie among equal keys.
//
//     struct retry { struct pl_heap_node due; ... };
//
//     pl_heap_insert(&heap, &retry->due, now + delay, sequence)  ──►  pl_heap_peek, pl_heap_pop
//
// Only insert and reserve can fail; after `reserve(heap, n)` the next n inserts cannot. The array
// of pointers doubles as needed and is kept until `finish`.
//
// Ownership: nodes are borrowed from insert until they are removed or popped, or the heap is
// finished. A node of zeros is in no heap. Threads: none.
#ifndef PL_BASE_HEAP_H
#define PL_BASE_HEAP_H

#include "base/seams.h"

struct pl_heap_node {
    size_t index; // 1 and up: its place in the heap; 0: in no heap
    int64_t key;  // changes only while the node is in no heap
    uint64_t tie; // the same
};

struct pl_heap {
    const struct pl_seams *seams;
    struct pl_heap_node **nodes; // nodes[0] is the root; node->index is one more than its place
    size_t count;
    size_t capacity;
};

void pl_heap_init(struct pl_heap *heap, const struct pl_seams *seams);

// Forgets every node (each is in no heap afterwards) and frees the array. Fine on zeros.
void pl_heap_finish(struct pl_heap *heap);

// Room for `more` nodes besides those in the heap. PEAL_ENOMEM.
enum peal_err pl_heap_reserve(struct pl_heap *heap, size_t more);

// The node must be in no heap. PEAL_ENOMEM, never after a reserve.
enum peal_err pl_heap_insert(struct pl_heap *heap, struct pl_heap_node *node, int64_t key,
                             uint64_t tie);

// The smallest, or NULL when there is none; pop removes it.
struct pl_heap_node *pl_heap_peek(const struct pl_heap *heap);
struct pl_heap_node *pl_heap_pop(struct pl_heap *heap);

// Any node; one that is in no heap stays so.
void pl_heap_remove(struct pl_heap *heap, struct pl_heap_node *node);

static inline bool pl_heap_contains(const struct pl_heap_node *node)
{
    return node->index != 0;
}

#endif
