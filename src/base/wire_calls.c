// SPDX-License-Identifier: MIT
//
// The bytes of requests and answers, in the order in which the structs have their members.
//
// What is written and what is read is one table for each struct: so the two cannot disagree.
#include "base/wire_calls.h"

#include <string.h>

// What one message takes at least, so that a count can be believed: its numbers and the lengths of
// its texts.
#define MESSAGE_LEAST 152
#define PAIR_LEAST    16

// ---- members ------------------------------------------------------------------------------------

enum kind { NONE = 0, TEXT, NUMBER, SIGNED, SMALL, YES_NO };

struct member {
    enum kind kind;
    size_t at; // in the struct
};

// A macro, since a type decides. An enum is an unsigned; any other type does not compile.
// clang-format off
#define KIND_OF(value)                                                                             \
    _Generic((value), const char *: TEXT, uint64_t: NUMBER, int64_t: NUMBER, int: SIGNED,          \
             unsigned: SMALL, bool: YES_NO)
#define MEMBER(name, member)                                                                       \
    { KIND_OF(((const struct name *)NULL)->member), offsetof(struct name, member) }
#define LAST { NONE, 0 }
// clang-format on

static void pack_member(struct pl_pack *pack, enum kind kind, const char *from)
{
    if (kind == TEXT) {
        const char *text;
        memcpy(&text, from, sizeof text);
        pl_pack_text(pack, text);
        return;
    }
    uint64_t number = 0;
    if (kind == NUMBER) {
        memcpy(&number, from, sizeof number);
    } else if (kind == YES_NO) {
        number = *(const bool *)from;
    } else {
        int value;
        memcpy(&value, from, sizeof value);
        number = kind == SIGNED ? (uint64_t)value : (unsigned)value;
    }
    pl_pack_number(pack, number);
}

static void unpack_member(struct pl_unpack *unpack, enum kind kind, char *out)
{
    if (kind == TEXT) {
        const char *text = pl_unpack_text(unpack);
        memcpy(out, &text, sizeof text);
        return;
    }
    uint64_t number = pl_unpack_number(unpack);
    if (kind == NUMBER) {
        memcpy(out, &number, sizeof number);
    } else if (kind == YES_NO) {
        *(bool *)out = number != 0;
    } else {
        unsigned value = (unsigned)number; // of an int the same bits
        memcpy(out, &value, sizeof value);
    }
}

static void pack_members(struct pl_pack *pack, const void *from, const struct member *members)
{
    for (; members->kind != NONE; members++) {
        pack_member(pack, members->kind, (const char *)from + members->at);
    }
}

static void unpack_members(struct pl_unpack *unpack, void *out, const struct member *members)
{
    for (; members->kind != NONE; members++) {
        unpack_member(unpack, members->kind, (char *)out + members->at);
    }
}

// ---- messages and receipts ----------------------------------------------------------------------

static const struct member message_texts[] = {
    MEMBER(peal_message, type),        MEMBER(peal_message, content_type),
    MEMBER(peal_message, subject),     MEMBER(peal_message, key),
    MEMBER(peal_message, correlation), MEMBER(peal_message, causation),
    MEMBER(peal_message, id),          MEMBER(peal_message, source),
    MEMBER(peal_message, schema),      MEMBER(peal_message, traceparent),
    MEMBER(peal_message, tracestate),  LAST,
};

// Behind the data.
static const struct member message_numbers[] = {
    MEMBER(peal_message, time_ns),        MEMBER(peal_message, priority),
    MEMBER(peal_message, expect),         MEMBER(peal_message, expected_version),
    MEMBER(peal_message, durability),     MEMBER(peal_message, deliver_at_ns),
    MEMBER(peal_message, metadata_count), LAST,
};

static void pack_message(struct pl_pack *pack, const struct peal_message *message)
{
    pack_members(pack, message, message_texts);
    pl_pack_bytes(pack, message->data, message->size);
    pack_members(pack, message, message_numbers);
    for (size_t i = 0; i < message->metadata_count; i++) {
        pl_pack_text(pack, message->metadata[i].name);
        pl_pack_text(pack, message->metadata[i].value);
    }
}

void pl_pack_messages(struct pl_pack *pack, const struct peal_message *messages, size_t count,
                      const char *source)
{
    uint64_t pairs = 0;
    for (size_t i = 0; i < count; i++) {
        pairs += messages[i].metadata_count;
    }
    pl_pack_number(pack, count);
    pl_pack_number(pack, pairs);
    for (size_t i = 0; i < count; i++) {
        struct peal_message message = messages[i];
        message.type = message.topic ? peal_topic_type(message.topic) : message.type;
        message.source = message.source ? message.source : source;
        pack_message(pack, &message);
    }
}

// *pairs: room for its metadata, of which it takes what it needs.
static void unpack_message(struct pl_unpack *unpack, struct peal_message *out,
                           struct peal_pair **pairs, const struct peal_pair *end)
{
    unpack_members(unpack, out, message_texts);
    out->data = pl_unpack_bytes(unpack, &out->size);
    unpack_members(unpack, out, message_numbers);
    size_t count = out->metadata_count;
    if (count > (size_t)(end - *pairs)) {
        out->metadata_count = 0;
        unpack->bad = true;
        return;
    }
    out->metadata = *pairs;
    for (size_t i = 0; i < count; i++) {
        (*pairs)->name = pl_unpack_text(unpack);
        (*pairs)->value = pl_unpack_text(unpack);
        (*pairs)++;
    }
}

struct peal_message *pl_unpack_messages(struct pl_unpack *unpack, const struct pl_seams *seams,
                                        size_t *out_count)
{
    uint64_t count = pl_unpack_number(unpack), pairs = pl_unpack_number(unpack);
    if (count == 0 || count > PEAL_BATCH_MAX || count > unpack->left / MESSAGE_LEAST ||
        pairs > unpack->left / PAIR_LEAST) {
        unpack->bad = true;
        return NULL;
    }
    struct peal_message *messages =
        pl_new(seams, count * sizeof *messages + (pairs + 1) * sizeof(struct peal_pair));
    if (!messages) {
        return NULL;
    }
    struct peal_pair *room = (struct peal_pair *)(void *)(messages + count);
    const struct peal_pair *end = room + pairs;
    for (uint64_t i = 0; i < count && !unpack->bad; i++) {
        unpack_message(unpack, &messages[i], &room, end);
    }
    if (unpack->bad) {
        pl_release(seams, messages);
        return NULL;
    }
    *out_count = count;
    return messages;
}

// Behind the id.
static const struct member receipt_rest[] = {
    MEMBER(peal_receipt, position),
    MEMBER(peal_receipt, stream_version),
    MEMBER(peal_receipt, durability),
    MEMBER(peal_receipt, duplicate),
    LAST,
};

void pl_pack_receipt(struct pl_pack *pack, const struct peal_receipt *receipt)
{
    pl_pack_text(pack, receipt->id);
    pack_members(pack, receipt, receipt_rest);
}

void pl_unpack_receipt(struct pl_unpack *unpack, struct peal_receipt *out)
{
    const char *id = pl_unpack_text(unpack);
    *out = (struct peal_receipt){ 0 };
    unpack_members(unpack, out, receipt_rest);
    if (id && strlen(id) < sizeof out->id) {
        memcpy(out->id, id, strlen(id) + 1);
    }
}

// ---- filters ------------------------------------------------------------------------------------

static const struct member dead_filter[] = {
    MEMBER(peal_dead_filter, id),
    MEMBER(peal_dead_filter, pattern),
    MEMBER(peal_dead_filter, subscription),
    MEMBER(peal_dead_filter, reason),
    MEMBER(peal_dead_filter, older_than_ms),
    MEMBER(peal_dead_filter, limit),
    LAST,
};

void pl_pack_dead(struct pl_pack *pack, const struct peal_dead_filter *filter, bool dry_run)
{
    static const struct peal_dead_filter all;
    pack_members(pack, filter ? filter : &all, dead_filter);
    pl_pack_number(pack, dry_run);
}

struct peal_dead_filter pl_unpack_dead(struct pl_unpack *unpack, bool *out_dry_run)
{
    struct peal_dead_filter filter = { 0 };
    unpack_members(unpack, &filter, dead_filter);
    *out_dry_run = pl_unpack_number(unpack) != 0;
    return filter;
}

static const struct member schedule_filter[] = {
    MEMBER(peal_schedule_filter, id),
    MEMBER(peal_schedule_filter, source),
    MEMBER(peal_schedule_filter, pattern),
    MEMBER(peal_schedule_filter, subject),
    MEMBER(peal_schedule_filter, correlation),
    MEMBER(peal_schedule_filter, limit),
    LAST,
};

void pl_pack_schedule(struct pl_pack *pack, const struct peal_schedule_filter *filter, bool dry_run)
{
    static const struct peal_schedule_filter all;
    pack_members(pack, filter ? filter : &all, schedule_filter);
    pl_pack_number(pack, dry_run);
}

struct peal_schedule_filter pl_unpack_schedule(struct pl_unpack *unpack, bool *out_dry_run)
{
    struct peal_schedule_filter filter = { 0 };
    unpack_members(unpack, &filter, schedule_filter);
    *out_dry_run = pl_unpack_number(unpack) != 0;
    return filter;
}

static const struct member query_members[] = {
    MEMBER(peal_query, pattern),
    MEMBER(peal_query, correlation),
    MEMBER(peal_query, causation),
    MEMBER(peal_query, subject),
    MEMBER(peal_query, source),
    MEMBER(peal_query, id),
    MEMBER(peal_query, contains),
    MEMBER(peal_query, from_position),
    MEMBER(peal_query, to_position),
    MEMBER(peal_query, from_time_ns),
    MEMBER(peal_query, to_time_ns),
    MEMBER(peal_query, backwards),
    MEMBER(peal_query, limit),
    MEMBER(peal_query, after),
    LAST,
};

void pl_pack_query(struct pl_pack *pack, const struct peal_query *query)
{
    pack_members(pack, query, query_members);
}

struct peal_query pl_unpack_query(struct pl_unpack *unpack)
{
    struct peal_query query = { 0 };
    unpack_members(unpack, &query, query_members);
    return query;
}

// ---- names and numbers --------------------------------------------------------------------------

static const struct member name_members[] = {
    MEMBER(peal_subscription_info, name),
    MEMBER(peal_subscription_info, pattern),
    MEMBER(peal_subscription_info, label),
    MEMBER(peal_subscription_info, position),
    MEMBER(peal_subscription_info, lag),
    MEMBER(peal_subscription_info, lag_ns),
    MEMBER(peal_subscription_info, unsettled),
    MEMBER(peal_subscription_info, dead_letters),
    MEMBER(peal_subscription_info, members),
    MEMBER(peal_subscription_info, paused),
    LAST,
};

void pl_pack_names(struct pl_pack *pack, const struct peal_subscription_list *list)
{
    pl_pack_number(pack, list->count);
    for (size_t i = 0; i < list->count; i++) {
        pack_members(pack, &list->subscriptions[i], name_members);
    }
}

struct peal_subscription_info pl_unpack_name(struct pl_unpack *unpack)
{
    struct peal_subscription_info info = { 0 };
    unpack_members(unpack, &info, name_members);
    unpack->bad = unpack->bad || !info.name || !info.pattern || !info.label;
    return info;
}

// Only what the process which has the log knows.
static const struct member stats_members[] = {
    MEMBER(peal_bus_stats, published),
    MEMBER(peal_bus_stats, duplicates),
    MEMBER(peal_bus_stats, refused),
    MEMBER(peal_bus_stats, rejected),
    MEMBER(peal_bus_stats, emit_lost),
    MEMBER(peal_bus_stats, delivered),
    MEMBER(peal_bus_stats, retried),
    MEMBER(peal_bus_stats, dropped),
    MEMBER(peal_bus_stats, dead_letters),
    MEMBER(peal_bus_stats, memory_bytes),
    MEMBER(peal_bus_stats, subscriptions),
    MEMBER(peal_bus_stats, worker_parks),
    MEMBER(peal_bus_stats, scheduled),
    MEMBER(peal_bus_stats, last_position),
    MEMBER(peal_bus_stats, types),
    MEMBER(peal_bus_stats, log_files),
    MEMBER(peal_bus_stats, log_archived),
    MEMBER(peal_bus_stats, log_bytes),
    LAST,
};

void pl_pack_stats(struct pl_pack *pack, const struct peal_bus_stats *stats)
{
    pack_members(pack, stats, stats_members);
}

struct peal_bus_stats pl_unpack_stats(struct pl_unpack *unpack)
{
    struct peal_bus_stats stats = { 0 };
    unpack_members(unpack, &stats, stats_members);
    return stats;
}
