// SPDX-License-Identifier: MIT
//
// The bytes of requests and answers, in the order in which the structs have their members.
#include "base/wire_calls.h"

#include <string.h>

// What one message takes at least, so that a count can be believed: its numbers and the lengths of
// its texts.
#define MESSAGE_LEAST 152
#define PAIR_LEAST    16

// ---- messages and receipts ----------------------------------------------------------------------

#define TEXTS 11

// The texts of a message, in the order of the struct, so that writing and reading agree.
static const size_t texts[TEXTS] = {
    offsetof(struct peal_message, type),        offsetof(struct peal_message, content_type),
    offsetof(struct peal_message, subject),     offsetof(struct peal_message, key),
    offsetof(struct peal_message, correlation), offsetof(struct peal_message, causation),
    offsetof(struct peal_message, id),          offsetof(struct peal_message, source),
    offsetof(struct peal_message, schema),      offsetof(struct peal_message, traceparent),
    offsetof(struct peal_message, tracestate),
};

static void pack_message(struct pl_pack *pack, const struct peal_message *message)
{
    for (size_t i = 0; i < TEXTS; i++) {
        const char *text;
        memcpy(&text, (const char *)message + texts[i], sizeof text);
        pl_pack_text(pack, text);
    }
    pl_pack_bytes(pack, message->data, message->size);
    pl_pack_number(pack, (uint64_t)message->time_ns);
    pl_pack_number(pack, (uint64_t)message->priority);
    pl_pack_number(pack, message->expect);
    pl_pack_number(pack, message->expected_version);
    pl_pack_number(pack, message->durability);
    pl_pack_number(pack, (uint64_t)message->deliver_at_ns);
    pl_pack_number(pack, message->metadata_count);
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
    for (size_t i = 0; i < TEXTS; i++) {
        const char *text = pl_unpack_text(unpack);
        memcpy((char *)out + texts[i], &text, sizeof text);
    }
    out->data = pl_unpack_bytes(unpack, &out->size);
    out->time_ns = (int64_t)pl_unpack_number(unpack);
    out->priority = (int)pl_unpack_number(unpack);
    out->expect = (enum peal_expect)pl_unpack_number(unpack);
    out->expected_version = pl_unpack_number(unpack);
    out->durability = (enum peal_durability)pl_unpack_number(unpack);
    out->deliver_at_ns = (int64_t)pl_unpack_number(unpack);
    uint64_t count = pl_unpack_number(unpack);
    if (count > (size_t)(end - *pairs)) {
        unpack->bad = true;
        return;
    }
    out->metadata = *pairs;
    out->metadata_count = count;
    for (uint64_t i = 0; i < count; i++) {
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

void pl_pack_receipt(struct pl_pack *pack, const struct peal_receipt *receipt)
{
    pl_pack_text(pack, receipt->id);
    pl_pack_number(pack, receipt->position);
    pl_pack_number(pack, receipt->stream_version);
    pl_pack_number(pack, receipt->durability);
    pl_pack_number(pack, receipt->duplicate);
}

void pl_unpack_receipt(struct pl_unpack *unpack, struct peal_receipt *out)
{
    const char *id = pl_unpack_text(unpack);
    *out = (struct peal_receipt){ .position = pl_unpack_number(unpack) };
    out->stream_version = pl_unpack_number(unpack);
    out->durability = (enum peal_durability)pl_unpack_number(unpack);
    out->duplicate = pl_unpack_number(unpack) != 0;
    if (id && strlen(id) < sizeof out->id) {
        memcpy(out->id, id, strlen(id) + 1);
    }
}

// ---- filters ------------------------------------------------------------------------------------

void pl_pack_dead(struct pl_pack *pack, const struct peal_dead_filter *filter, bool dry_run)
{
    static const struct peal_dead_filter all;
    filter = filter ? filter : &all;
    pl_pack_number(pack, filter->id);
    pl_pack_text(pack, filter->pattern);
    pl_pack_text(pack, filter->subscription);
    pl_pack_text(pack, filter->reason);
    pl_pack_number(pack, filter->older_than_ms);
    pl_pack_number(pack, filter->limit);
    pl_pack_number(pack, dry_run);
}

struct peal_dead_filter pl_unpack_dead(struct pl_unpack *unpack, bool *out_dry_run)
{
    struct peal_dead_filter filter = { .id = pl_unpack_number(unpack) };
    filter.pattern = pl_unpack_text(unpack);
    filter.subscription = pl_unpack_text(unpack);
    filter.reason = pl_unpack_text(unpack);
    filter.older_than_ms = pl_unpack_number(unpack);
    filter.limit = pl_unpack_number(unpack);
    *out_dry_run = pl_unpack_number(unpack) != 0;
    return filter;
}

void pl_pack_schedule(struct pl_pack *pack, const struct peal_schedule_filter *filter, bool dry_run)
{
    static const struct peal_schedule_filter all;
    filter = filter ? filter : &all;
    pl_pack_text(pack, filter->id);
    pl_pack_text(pack, filter->source);
    pl_pack_text(pack, filter->pattern);
    pl_pack_text(pack, filter->subject);
    pl_pack_text(pack, filter->correlation);
    pl_pack_number(pack, filter->limit);
    pl_pack_number(pack, dry_run);
}

struct peal_schedule_filter pl_unpack_schedule(struct pl_unpack *unpack, bool *out_dry_run)
{
    struct peal_schedule_filter filter = { .id = pl_unpack_text(unpack) };
    filter.source = pl_unpack_text(unpack);
    filter.pattern = pl_unpack_text(unpack);
    filter.subject = pl_unpack_text(unpack);
    filter.correlation = pl_unpack_text(unpack);
    filter.limit = pl_unpack_number(unpack);
    *out_dry_run = pl_unpack_number(unpack) != 0;
    return filter;
}

void pl_pack_query(struct pl_pack *pack, const struct peal_query *query)
{
    pl_pack_text(pack, query->pattern);
    pl_pack_text(pack, query->correlation);
    pl_pack_text(pack, query->causation);
    pl_pack_text(pack, query->subject);
    pl_pack_text(pack, query->source);
    pl_pack_text(pack, query->id);
    pl_pack_text(pack, query->contains);
    pl_pack_number(pack, query->from_position);
    pl_pack_number(pack, query->to_position);
    pl_pack_number(pack, (uint64_t)query->from_time_ns);
    pl_pack_number(pack, (uint64_t)query->to_time_ns);
    pl_pack_number(pack, query->backwards);
    pl_pack_number(pack, query->limit);
    pl_pack_number(pack, query->after);
}

struct peal_query pl_unpack_query(struct pl_unpack *unpack)
{
    struct peal_query query = { .pattern = pl_unpack_text(unpack) };
    query.correlation = pl_unpack_text(unpack);
    query.causation = pl_unpack_text(unpack);
    query.subject = pl_unpack_text(unpack);
    query.source = pl_unpack_text(unpack);
    query.id = pl_unpack_text(unpack);
    query.contains = pl_unpack_text(unpack);
    query.from_position = pl_unpack_number(unpack);
    query.to_position = pl_unpack_number(unpack);
    query.from_time_ns = (int64_t)pl_unpack_number(unpack);
    query.to_time_ns = (int64_t)pl_unpack_number(unpack);
    query.backwards = pl_unpack_number(unpack) != 0;
    query.limit = pl_unpack_number(unpack);
    query.after = pl_unpack_number(unpack);
    return query;
}

// ---- names and numbers --------------------------------------------------------------------------

void pl_pack_names(struct pl_pack *pack, const struct peal_subscription_list *list)
{
    pl_pack_number(pack, list->count);
    for (size_t i = 0; i < list->count; i++) {
        const struct peal_subscription_info *info = &list->subscriptions[i];
        pl_pack_text(pack, info->name);
        pl_pack_text(pack, info->pattern);
        pl_pack_text(pack, info->label);
        pl_pack_number(pack, info->position);
        pl_pack_number(pack, info->lag);
        pl_pack_number(pack, info->lag_ns);
        pl_pack_number(pack, info->unsettled);
        pl_pack_number(pack, info->dead_letters);
        pl_pack_number(pack, info->members);
        pl_pack_number(pack, info->paused);
    }
}

struct peal_subscription_info pl_unpack_name(struct pl_unpack *unpack)
{
    struct peal_subscription_info info = { .name = pl_unpack_text(unpack) };
    info.pattern = pl_unpack_text(unpack);
    info.label = pl_unpack_text(unpack);
    info.position = pl_unpack_number(unpack);
    info.lag = pl_unpack_number(unpack);
    info.lag_ns = pl_unpack_number(unpack);
    info.unsettled = pl_unpack_number(unpack);
    info.dead_letters = pl_unpack_number(unpack);
    info.members = (unsigned)pl_unpack_number(unpack);
    info.paused = pl_unpack_number(unpack) != 0;
    unpack->bad = unpack->bad || !info.name || !info.pattern || !info.label;
    return info;
}

// Numbers that only the process which has the log knows, in the order in which they are sent.
static const size_t numbers[] = {
    offsetof(struct peal_bus_stats, published),     offsetof(struct peal_bus_stats, duplicates),
    offsetof(struct peal_bus_stats, refused),       offsetof(struct peal_bus_stats, rejected),
    offsetof(struct peal_bus_stats, emit_lost),     offsetof(struct peal_bus_stats, delivered),
    offsetof(struct peal_bus_stats, retried),       offsetof(struct peal_bus_stats, dropped),
    offsetof(struct peal_bus_stats, dead_letters),  offsetof(struct peal_bus_stats, memory_bytes),
    offsetof(struct peal_bus_stats, subscriptions), offsetof(struct peal_bus_stats, worker_parks),
    offsetof(struct peal_bus_stats, scheduled),     offsetof(struct peal_bus_stats, last_position),
    offsetof(struct peal_bus_stats, types),         offsetof(struct peal_bus_stats, log_files),
    offsetof(struct peal_bus_stats, log_archived),  offsetof(struct peal_bus_stats, log_bytes),
};

void pl_pack_stats(struct pl_pack *pack, const struct peal_bus_stats *stats)
{
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint64_t number;
        memcpy(&number, (const char *)stats + numbers[i], sizeof number);
        pl_pack_number(pack, number);
    }
}

struct peal_bus_stats pl_unpack_stats(struct pl_unpack *unpack)
{
    struct peal_bus_stats stats = { 0 };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint64_t number = pl_unpack_number(unpack);
        memcpy((char *)&stats + numbers[i], &number, sizeof number);
    }
    return stats;
}
