// SPDX-License-Identifier: MIT
//
// Reading, and transactions.
//
// A transaction collects its changes in a table of its own, so that the last one to a key counts
// and memory is asked for while it may still be refused. Committing needs memory once more, for the
// record in the buffer; after that nothing can fail: the record is in the buffer and the nodes are
// in the table, under one hold of the lock, so that the file says what the table says, in the same
// order.
#include "log/kv_internal.h"

#include "base/error.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

// Pending changes of more bytes are written by whoever commits, whatever the level.
#define PENDING_MAX (1U << 20)

#define RECORD_MAX ((size_t)1 << 30)

// ---- reading ------------------------------------------------------------------------------------

static const struct pl_kv_entry *share(struct pl_kv_node *node)
{
    if (!node) {
        return NULL;
    }
    pl_kv_node_ref(node);
    return &node->entry;
}

const struct pl_kv_entry *pl_kv_get(struct pl_kv *kv, const char *key)
{
    pl_mutex_lock(&kv->lock, kv->seams);
    const struct pl_kv_entry *entry = share(pl_kv_table_find(&kv->table, key));
    pl_mutex_unlock(&kv->lock, kv->seams);
    return entry;
}

const struct pl_kv_entry *pl_kv_next(struct pl_kv *kv, const char *prefix,
                                     const struct pl_kv_entry *after)
{
    pl_mutex_lock(&kv->lock, kv->seams);
    struct pl_kv_node *node =
        pl_kv_table_after(&kv->table, after ? after->key : prefix, after != NULL);
    bool fits = node && strncmp(node->entry.key, prefix, strlen(prefix)) == 0;
    const struct pl_kv_entry *entry = share(fits ? node : NULL);
    pl_mutex_unlock(&kv->lock, kv->seams);
    pl_kv_unref(kv, after);
    return entry;
}

void pl_kv_unref(struct pl_kv *kv, const struct pl_kv_entry *entry)
{
    if (entry) {
        pl_kv_node_unref(kv->seams, pl_kv_node_of(entry));
    }
}

struct pl_kv_stats pl_kv_stats(struct pl_kv *kv)
{
    // Relaxed: numbers to look at.
    struct pl_kv_stats stats = {
        .bytes_max = kv->bytes_max,
        .file_bytes = atomic_load_explicit(&kv->shown, memory_order_relaxed),
        .generation = atomic_load_explicit(&kv->generation, memory_order_relaxed),
    };
    pl_mutex_lock(&kv->lock, kv->seams);
    stats.entries = kv->table.count;
    stats.bytes = kv->table.bytes;
    pl_mutex_unlock(&kv->lock, kv->seams);
    return stats;
}

// ---- transactions -------------------------------------------------------------------------------

enum peal_err pl_kv_begin(struct pl_kv_transaction **out, struct pl_kv *kv)
{
    if (kv->read_only) {
        return pl_fail(PEAL_ESTATE, "%s: it was opened to be looked at, not to be changed",
                       kv->path);
    }
    struct pl_kv_transaction *transaction = pl_new(kv->seams, sizeof *transaction);
    if (!transaction) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to change what is kept beside the log",
                       kv->path);
    }
    transaction->kv = kv;
    pl_kv_table_init(&transaction->table, kv->seams);
    *out = transaction;
    return PEAL_OK;
}

void pl_kv_abandon(struct pl_kv_transaction *transaction)
{
    if (transaction) {
        pl_kv_table_finish(&transaction->table);
        pl_release(transaction->kv->seams, transaction);
    }
}

static enum peal_err change_key(struct pl_kv_transaction *transaction, struct pl_kv_change *change)
{
    const struct pl_kv *kv = transaction->kv;
    size_t size = change->key ? strlen(change->key) : 0;
    if (size == 0) {
        return pl_fail(PEAL_EINVAL, "%s: an entry needs a key", kv->path);
    }
    if (size > PL_KV_KEY_MAX) {
        return pl_fail(PEAL_ELIMIT, "%s: the key \"%.40s...\" has %zu bytes; at most %d", kv->path,
                       change->key, size, PL_KV_KEY_MAX);
    }
    change->key_size = (uint16_t)size;
    struct pl_kv_node *node = pl_kv_node_create(&transaction->table, change);
    if (!node) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to change \"%s\"", kv->path, change->key);
    }
    pl_kv_node_unref(kv->seams, pl_kv_table_put(&transaction->table, node));
    return PEAL_OK;
}

enum peal_err pl_kv_put(struct pl_kv_transaction *transaction, const char *key, uint64_t position,
                        const void *value, size_t size)
{
    if (size > PL_KV_VALUE_MAX) {
        return pl_fail(PEAL_ELIMIT, "%s: the value of \"%.100s\" has %zu bytes; at most %u",
                       transaction->kv->path, key ? key : "", size, PL_KV_VALUE_MAX);
    }
    struct pl_kv_change change = { .key = key,
                                   .value = value,
                                   .position = position,
                                   .value_size = (uint32_t)size,
                                   .kind = PL_KV_PUT };
    return change_key(transaction, &change);
}

enum peal_err pl_kv_remove(struct pl_kv_transaction *transaction, const char *key)
{
    struct pl_kv_change change = { .key = key, .kind = PL_KV_REMOVE };
    return change_key(transaction, &change);
}

// ---- committing ---------------------------------------------------------------------------------

static void put_aside(struct pl_kv_table *aside, struct pl_kv_node *node)
{
    if (node) {
        node->next[0] = aside->head[0];
        aside->head[0] = node;
    }
}

void pl_kv_apply(struct pl_kv *kv, struct pl_kv_transaction *transaction)
{
    struct pl_kv_table aside = { .seams = kv->seams };
    struct pl_kv_node *node = transaction->table.head[0];
    while (node) {
        struct pl_kv_node *next = node->next[0];
        if (node->removed) {
            put_aside(&aside, pl_kv_table_take(&kv->table, node->entry.key));
            put_aside(&aside, node);
        } else {
            put_aside(&aside, pl_kv_table_put(&kv->table, node));
        }
        node = next;
    }
    transaction->table = aside;
}

// What the table would have.
static uint64_t bytes_after(const struct pl_kv *kv, const struct pl_kv_table *changes)
{
    uint64_t bytes = kv->table.bytes + changes->bytes;
    for (const struct pl_kv_node *node = changes->head[0]; node; node = node->next[0]) {
        const struct pl_kv_node *old = pl_kv_table_find(&kv->table, node->entry.key);
        bytes -= old ? pl_kv_node_bytes(old) : 0;
    }
    return bytes;
}

static enum peal_err check_room(const struct pl_kv *kv, const struct pl_kv_table *changes)
{
    uint64_t bytes = bytes_after(kv, changes);
    if (bytes > kv->bytes_max && bytes > kv->table.bytes) {
        return pl_fail(PEAL_ELIMIT,
                       "%s: cursors, dead letters and the like would have %" PRIu64
                       " bytes; at most %" PRIu64 ": discard dead letters, or raise the limit",
                       kv->path, bytes, kv->bytes_max);
    }
    return PEAL_OK;
}

static enum peal_err widen(struct pl_kv *kv, struct pl_kv_buffer *buffer, size_t more)
{
    size_t size = buffer->size + more;
    if (size <= buffer->capacity) {
        return PEAL_OK;
    }
    size_t capacity = buffer->capacity * 2 > size ? buffer->capacity * 2 : size;
    char *grown = pl_resize(kv->seams, buffer->bytes, capacity);
    if (!grown) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to write down a change of %zu bytes", kv->path,
                       more);
    }
    buffer->bytes = grown;
    buffer->capacity = capacity;
    return PEAL_OK;
}

// Appends the changes as one record; it is sealed when it is written. There is room.
static void put_record(struct pl_kv_buffer *buffer, const struct pl_kv_table *changes, size_t size)
{
    struct pl_kv_record record = { .length = (uint32_t)size, .changes = (uint32_t)changes->count };
    char *at = buffer->bytes + buffer->size;
    memcpy(at, &record, sizeof record);
    at += sizeof record;
    for (const struct pl_kv_node *node = changes->head[0]; node; node = node->next[0]) {
        struct pl_kv_change change = pl_kv_node_change(node);
        pl_kv_change_write(at, &change);
        at += pl_kv_change_size(&change);
    }
    buffer->size += size;
}

// With the lock.
static enum peal_err take_in(struct pl_kv *kv, struct pl_kv_transaction *transaction)
{
    const struct pl_kv_table *changes = &transaction->table;
    if (pl_kv_has_failed(kv)) {
        return pl_kv_say_failed(kv);
    }
    enum peal_err err = check_room(kv, changes);
    if (err) {
        return err;
    }
    uint64_t size = changes->records - (changes->count - 1) * sizeof(struct pl_kv_record);
    if (size > RECORD_MAX) {
        return pl_fail(PEAL_ELIMIT, "%s: a transaction of %" PRIu64 " bytes; at most %zu", kv->path,
                       size, RECORD_MAX);
    }
    err = widen(kv, &kv->pending, size);
    if (err) {
        return err;
    }
    put_record(&kv->pending, changes, size);
    pl_kv_apply(kv, transaction);
    kv->committed++;
    return PEAL_OK;
}

enum peal_err pl_kv_commit(struct pl_kv_transaction *transaction, enum peal_durability level)
{
    struct pl_kv *kv = transaction->kv;
    if (transaction->table.count == 0) {
        pl_kv_abandon(transaction);
        return pl_kv_settle(kv, level);
    }
    pl_mutex_lock(&kv->lock, kv->seams);
    enum peal_err err = take_in(kv, transaction);
    uint64_t number = kv->committed;
    bool much = kv->pending.size > PENDING_MAX;
    pl_mutex_unlock(&kv->lock, kv->seams);
    pl_kv_abandon(transaction); // with what it has replaced
    if (err) {
        return err;
    }
    level = level == PEAL_DURABILITY_MEMORY && much ? PEAL_DURABILITY_OS : level;
    return pl_kv_settle_to(kv, number, level);
}

enum peal_err pl_kv_settle(struct pl_kv *kv, enum peal_durability level)
{
    pl_mutex_lock(&kv->lock, kv->seams);
    uint64_t number = kv->committed;
    pl_mutex_unlock(&kv->lock, kv->seams);
    return pl_kv_settle_to(kv, number, level);
}
