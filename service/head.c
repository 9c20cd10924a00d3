// SPDX-License-Identifier: MIT
//
// From headers and parameters to a message.
//
// The value of a header is encoded by percent signs where it is not printable ASCII (CloudEvents
// HTTP binding 1.0.2, section 3.1.3.2), and decoded here. One table says which attribute is which
// member of a message; what is none of them becomes metadata.
#include "service/events.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum kind { TEXT, TIME, PRIORITY, VERSION, IGNORED };

// Behind "ce-" in headers; and what the parameter of the query is called, if there is one.
static const struct attribute {
    const char *name, *parameter;
    enum kind kind;
    size_t place; // of a text
} attributes[] = {
    { "id", "id", TEXT, offsetof(struct peal_message, id) },
    { "source", "source", TEXT, offsetof(struct peal_message, source) },
    { "type", NULL, TEXT, offsetof(struct peal_message, type) },
    { "subject", "subject", TEXT, offsetof(struct peal_message, subject) },
    { "dataschema", "schema", TEXT, offsetof(struct peal_message, schema) },
    { "correlationid", "correlation", TEXT, offsetof(struct peal_message, correlation) },
    { "causationid", "causation", TEXT, offsetof(struct peal_message, causation) },
    { "traceparent", NULL, TEXT, offsetof(struct peal_message, traceparent) },
    { "tracestate", NULL, TEXT, offsetof(struct peal_message, tracestate) },
    { "partitionkey", "key", TEXT, offsetof(struct peal_message, key) },
    { "time", "time", TIME, 0 },
    { "pealpriority", "priority", PRIORITY, 0 },
    { "specversion", NULL, VERSION, 0 },
    { "datacontenttype", NULL, IGNORED, 0 }, // is Content-Type here
    { "pealposition", NULL, IGNORED, 0 },
    { "pealversion", NULL, IGNORED, 0 },
    { "recordedtime", NULL, IGNORED, 0 },
};
enum { ATTRIBUTES = sizeof attributes / sizeof attributes[0] };

bool service_is_binary(const struct net_head *head)
{
    return net_head_find(head, "ce-specversion").bytes != NULL;
}

static void set_text(struct peal_message *message, const struct attribute *attribute,
                     const char *text)
{
    memcpy((char *)message + attribute->place, &text, sizeof text);
}

// The value goes to its member. False: the call has failed.
static bool set(struct service_call *call, struct peal_message *message,
                const struct attribute *attribute, const char *value)
{
    switch (attribute->kind) {
    case TEXT:
        set_text(message, attribute, value);
        return true;
    case TIME:
        if (!ingest_time(&message->time_ns, value, strlen(value))) {
            service_refuse(call, 400, "inval", "%s: %s is no time as RFC 3339 has it",
                           attribute->name, value);
            return false;
        }
        return true;
    case PRIORITY:
        if (value[0] < '0' || value[0] > '9' || value[1]) {
            service_refuse(call, 400, "inval", "%s: %s is no priority: 0 to 9 are", attribute->name,
                           value);
            return false;
        }
        message->priority = PEAL_PRIORITY(value[0] - '0');
        return true;
    case VERSION:
        if (strcmp(value, "1.0") != 0) {
            service_refuse(call, 400, "unsupported", "specversion %s: only 1.0 is known here",
                           value);
            return false;
        }
        return true;
    default:
        return true;
    }
}

static const struct attribute *find(struct net_part name)
{
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        if (net_part_is_word(name, attributes[i].name)) {
            return &attributes[i];
        }
    }
    return NULL;
}

// A name of metadata, in lower case as everywhere.
static const char *keep_name(struct service_call *call, char **texts, struct net_part name)
{
    char *out = *texts;
    for (size_t i = 0; i < name.size; i++) {
        unsigned char byte = (unsigned char)name.bytes[i];
        out[i] = (char)(byte >= 'A' && byte <= 'Z' ? byte | 0x20U : byte);
        bool good = (out[i] >= 'a' && out[i] <= 'z') || (out[i] >= '0' && out[i] <= '9');
        if (!good || name.size > PEAL_METADATA_NAME_MAX) {
            service_refuse(call, 400, "inval",
                           "ce-%.*s: the name of an attribute is 1 to %d of a-z and 0-9",
                           (int)name.size, name.bytes, PEAL_METADATA_NAME_MAX);
            return NULL;
        }
    }
    out[name.size] = 0;
    *texts += name.size + 1;
    return out;
}

static bool take_header(struct service_call *call, struct service_message *out, char **texts,
                        const struct net_header *header)
{
    struct peal_message *message = &out->message;
    struct net_part name = { header->name.bytes + 3, header->name.size - 3 };
    char *value = *texts;
    if (!net_url_decode(value, header->value.size + 1, header->value, false)) {
        service_refuse(call, 400, "inval", "%.*s: is not encoded by percent signs as it should be",
                       (int)header->name.size, header->name.bytes);
        return false;
    }
    *texts += header->value.size + 1;
    const struct attribute *attribute = find(name);
    if (attribute) {
        return set(call, message, attribute, value);
    }
    if (message->metadata_count == PEAL_METADATA_MAX) {
        service_refuse(call, 400, "limit", "there are more than %d extensions", PEAL_METADATA_MAX);
        return false;
    }
    const char *kept = keep_name(call, texts, name);
    out->pairs[message->metadata_count] = (struct peal_pair){ kept, value };
    message->metadata_count += kept != NULL;
    return kept;
}

static bool take_headers(struct service_call *call, struct service_message *out)
{
    char *texts = out->texts;
    for (size_t i = 0; i < call->head->count; i++) {
        const struct net_header *header = &call->head->headers[i];
        bool is_attribute = header->name.size > 3 && strncasecmp(header->name.bytes, "ce-", 3) == 0;
        if (is_attribute && !take_header(call, out, &texts, header)) {
            return false;
        }
    }
    struct net_part trace = net_head_find(call->head, "traceparent");
    if (trace.bytes && !out->message.traceparent) {
        memcpy(texts, trace.bytes, trace.size);
        texts[trace.size] = 0;
        out->message.traceparent = texts;
    }
    return true;
}

static bool take_parameters(struct service_call *call, struct service_message *out)
{
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        const char *name = attributes[i].parameter;
        const char *value = name ? service_value(call, name) : NULL;
        if (value && !set(call, &out->message, &attributes[i], value)) {
            return false;
        }
    }
    return service_moment(call, "deliver_at", &out->message.deliver_at_ns);
}

struct service_message *service_message_of(struct service_call *call, const char *type)
{
    size_t room = 1;
    for (size_t i = 0; i < call->head->count; i++) {
        room += call->head->headers[i].name.size + call->head->headers[i].value.size + 2;
    }
    struct service_message *out = calloc(1, sizeof *out + room);
    if (!out) {
        service_refuse(call, 503, "nomem", "no memory; try again later");
        return NULL;
    }
    out->message.metadata = out->pairs;
    if (!take_headers(call, out) || !take_parameters(call, out)) {
        free(out);
        return NULL;
    }
    out->message.type = type ? type : out->message.type;
    out->message.content_type = call->content_type;
    out->message.durability = call->durability;
    return out;
}
