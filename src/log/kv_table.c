// SPDX-License-Identifier: MIT
//
// A skip list. A node is as high as a fair four-sided coin says, so that finding a key among n
// takes some 4 log4(n) comparisons.
//
// What must stay true: at each level the keys rise; a node is linked at all levels below its
// height, or at none.
#include "log/kv_table.h"

#include <string.h>

void pl_kv_table_init(struct pl_kv_table *table, const struct pl_seams *seams)
{
    *table = (struct pl_kv_table){ .seams = seams, .chance = 1 };
}

void pl_kv_table_finish(struct pl_kv_table *table)
{
    for (struct pl_kv_node *node = table->head[0]; node;) {
        struct pl_kv_node *next = node->next[0];
        pl_kv_node_unref(table->seams, node);
        node = next;
    }
    *table = (struct pl_kv_table){ .seams = table->seams, .chance = table->chance };
}

// ---- nodes --------------------------------------------------------------------------------------

static unsigned draw_height(struct pl_kv_table *table)
{
    // A linear generator; its upper bits are good enough for a coin.
    table->chance = table->chance * 6364136223846793005U + 1442695040888963407U;
    unsigned height = 1;
    for (uint64_t bits = table->chance >> 20; height < PL_KV_HEIGHT_MAX && bits % 4 == 0;
         bits /= 4) {
        height++;
    }
    return height;
}

struct pl_kv_node *pl_kv_node_create(struct pl_kv_table *table, const struct pl_kv_change *change)
{
    unsigned height = draw_height(table);
    size_t links = height * sizeof(struct pl_kv_node *);
    size_t size = sizeof(struct pl_kv_node) + links + change->key_size + change->value_size + 2;
    struct pl_kv_node *node = pl_alloc(table->seams, size);
    if (!node) {
        return NULL;
    }
    char *key = (char *)(node + 1) + links;
    char *value = key + change->key_size + 1;
    memcpy(key, change->key, change->key_size);
    key[change->key_size] = '\0';
    if (change->value_size > 0) {
        memcpy(value, change->value, change->value_size);
    }
    value[change->value_size] = '\0';
    atomic_init(&node->refs, 1);
    node->height = height;
    node->removed = change->kind == PL_KV_REMOVE;
    node->entry = (struct pl_kv_entry){ key, value, change->value_size, change->position };
    memset(node->next, 0, links);
    return node;
}

void pl_kv_node_ref(struct pl_kv_node *node)
{
    // Relaxed: who adds one has one, or the lock of who has.
    (void)atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);
}

void pl_kv_node_unref(const struct pl_seams *seams, struct pl_kv_node *node)
{
    // Release what we did with it, acquire what the others did, before it is freed.
    if (node && atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) == 1) {
        pl_release(seams, node);
    }
}

struct pl_kv_node *pl_kv_node_of(const struct pl_kv_entry *entry)
{
    return (struct pl_kv_node *)(void *)((char *)entry - offsetof(struct pl_kv_node, entry));
}

struct pl_kv_change pl_kv_node_change(const struct pl_kv_node *node)
{
    return (struct pl_kv_change){ .key = node->entry.key,
                                  .value = node->entry.value,
                                  .position = node->entry.position,
                                  .value_size = (uint32_t)node->entry.size,
                                  .key_size = (uint16_t)strlen(node->entry.key),
                                  .kind = node->removed ? PL_KV_REMOVE : PL_KV_PUT };
}

uint64_t pl_kv_node_bytes(const struct pl_kv_node *node)
{
    return node->removed ? 0 : strlen(node->entry.key) + node->entry.size + PL_KV_OVERHEAD;
}

static uint64_t record_bytes(const struct pl_kv_node *node)
{
    struct pl_kv_change change = pl_kv_node_change(node);
    return sizeof(struct pl_kv_record) + pl_kv_change_size(&change);
}

// ---- the list -----------------------------------------------------------------------------------

// The links, one a level, that lead to the first node whose key is not below `key`.
struct path {
    struct pl_kv_node **links[PL_KV_HEIGHT_MAX];
};

static struct pl_kv_node *walk(struct pl_kv_table *table, const char *key, struct path *path)
{
    struct pl_kv_node **links = table->head;
    for (int level = PL_KV_HEIGHT_MAX - 1; level >= 0; level--) {
        while (links[level] && strcmp(links[level]->entry.key, key) < 0) {
            links = links[level]->next;
        }
        path->links[level] = &links[level];
    }
    return links[0];
}

struct pl_kv_node *pl_kv_table_after(const struct pl_kv_table *table, const char *key, bool above)
{
    struct pl_kv_node *const *links = table->head;
    for (int level = PL_KV_HEIGHT_MAX - 1; level >= 0; level--) {
        while (links[level] && strcmp(links[level]->entry.key, key) < (above ? 1 : 0)) {
            links = links[level]->next;
        }
    }
    return links[0];
}

struct pl_kv_node *pl_kv_table_find(const struct pl_kv_table *table, const char *key)
{
    struct pl_kv_node *node = pl_kv_table_after(table, key, false);
    return node && strcmp(node->entry.key, key) == 0 ? node : NULL;
}

static void unlink_node(struct pl_kv_table *table, struct pl_kv_node *node, const struct path *path)
{
    for (unsigned level = 0; level < node->height; level++) {
        *path->links[level] = node->next[level];
    }
    table->count--;
    table->bytes -= pl_kv_node_bytes(node);
    table->records -= record_bytes(node);
}

struct pl_kv_node *pl_kv_table_take(struct pl_kv_table *table, const char *key)
{
    struct path path;
    struct pl_kv_node *node = walk(table, key, &path);
    if (!node || strcmp(node->entry.key, key) != 0) {
        return NULL;
    }
    unlink_node(table, node, &path);
    return node;
}

struct pl_kv_node *pl_kv_table_put(struct pl_kv_table *table, struct pl_kv_node *node)
{
    struct path path;
    struct pl_kv_node *old = walk(table, node->entry.key, &path);
    if (old && strcmp(old->entry.key, node->entry.key) == 0) {
        unlink_node(table, old, &path);
    } else {
        old = NULL;
    }
    for (unsigned level = 0; level < node->height; level++) {
        node->next[level] = *path.links[level];
        *path.links[level] = node;
    }
    table->count++;
    table->bytes += pl_kv_node_bytes(node);
    table->records += record_bytes(node);
    return old;
}
