// SPDX-License-Identifier: MIT
//
// A binary heap of pointers. What stays true: no node sorts before its parent, the parent of place
// i being (i - 1) / 2, and nodes[i]->index == i + 1.
#include "base/heap.h"

#include <assert.h>

#include "base/error.h"

#define CAPACITY_MIN 16U

static bool before(const struct pl_heap_node *left, const struct pl_heap_node *right)
{
    return left->key != right->key ? left->key < right->key : left->tie < right->tie;
}

static void place(struct pl_heap *heap, size_t at, struct pl_heap_node *node)
{
    heap->nodes[at] = node;
    node->index = at + 1;
}

// Finds the place for `node` from the hole `at` towards the root.
static void rise(struct pl_heap *heap, size_t at, struct pl_heap_node *node)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!before(node, heap->nodes[parent])) {
            break;
        }
        place(heap, at, heap->nodes[parent]);
        at = parent;
    }
    place(heap, at, node);
}

// The same towards the leaves.
static void sink(struct pl_heap *heap, size_t at, struct pl_heap_node *node)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count && before(heap->nodes[child + 1], heap->nodes[child])) {
            child++;
        }
        if (!before(heap->nodes[child], node)) {
            break;
        }
        place(heap, at, heap->nodes[child]);
        at = child;
    }
    place(heap, at, node);
}

void pl_heap_init(struct pl_heap *heap, const struct pl_seams *seams)
{
    *heap = (struct pl_heap){ .seams = seams };
}

void pl_heap_finish(struct pl_heap *heap)
{
    for (size_t i = 0; i < heap->count; i++) {
        heap->nodes[i]->index = 0;
    }
    if (heap->nodes) {
        pl_release(heap->seams, heap->nodes);
    }
    *heap = (struct pl_heap){ .seams = heap->seams };
}

enum peal_err pl_heap_reserve(struct pl_heap *heap, size_t more)
{
    if (more <= heap->capacity - heap->count) {
        return PEAL_OK;
    }
    size_t most = SIZE_MAX / 2 / sizeof(struct pl_heap_node *);
    struct pl_heap_node **nodes = NULL;
    size_t capacity = heap->capacity < CAPACITY_MIN ? CAPACITY_MIN : heap->capacity * 2;
    if (more <= most - heap->count) {
        capacity = capacity < heap->count + more ? heap->count + more : capacity;
        nodes = pl_resize(heap->seams, heap->nodes, capacity * sizeof(struct pl_heap_node *));
    }
    if (!nodes) {
        return pl_fail(PEAL_ENOMEM, "no memory for %zu more timers beside %zu", more, heap->count);
    }
    heap->nodes = nodes;
    heap->capacity = capacity;
    return PEAL_OK;
}

enum peal_err pl_heap_insert(struct pl_heap *heap, struct pl_heap_node *node, int64_t key,
                             uint64_t tie)
{
    assert(!pl_heap_contains(node));
    enum peal_err err = pl_heap_reserve(heap, 1);
    if (err) {
        return err;
    }
    node->key = key;
    node->tie = tie;
    rise(heap, heap->count++, node);
    return PEAL_OK;
}

struct pl_heap_node *pl_heap_peek(const struct pl_heap *heap)
{
    return heap->count ? heap->nodes[0] : NULL;
}

struct pl_heap_node *pl_heap_pop(struct pl_heap *heap)
{
    struct pl_heap_node *first = pl_heap_peek(heap);
    if (first) {
        pl_heap_remove(heap, first);
    }
    return first;
}

// The last node fills the hole. It may belong above it, when the two are in different branches.
void pl_heap_remove(struct pl_heap *heap, struct pl_heap_node *node)
{
    if (!pl_heap_contains(node)) {
        return;
    }
    size_t at = node->index - 1;
    assert(at < heap->count && heap->nodes[at] == node);

    struct pl_heap_node *last = heap->nodes[--heap->count];
    node->index = 0;
    if (last == node) {
        return;
    }
    if (before(last, node)) {
        rise(heap, at, last);
    } else {
        sink(heap, at, last);
    }
}
