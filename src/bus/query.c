// SPDX-License-Identifier: MIT
//
// What is asked of each event. A pattern is asked once a type: the answer stays in `types`, which
// grows with the types of the bus; without memory for it the pattern is asked every time.
#include "bus/query.h"

#include <string.h>

#include "base/error.h"
#include "base/plant.h"
#include "event/json.h"

#define TYPES_FIRST 64u

// False: no memory; those that were not copied are NULL.
static bool copy_strings(struct peal_query *query, const struct pl_seams *seams)
{
    const char **strings[] = { &query->correlation, &query->causation, &query->subject,
                               &query->source,      &query->id,        &query->contains };
    bool copied = true;
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        const char *text = *strings[i];
        *strings[i] = text && copied ? pl_copy_bytes(seams, text, strlen(text)) : NULL;
        copied = copied && (!text || *strings[i]);
    }
    return copied;
}

static void ask_attribute(struct pl_query *query, enum pl_tag tag, const char *text)
{
    if (text) {
        query->attributes[query->attribute_count].tag = tag;
        query->attributes[query->attribute_count++].text = text;
    }
}

static void make_ready(struct pl_query *query)
{
    const struct peal_query *asked = &query->asked;
    ask_attribute(query, PL_TAG_CORRELATION, asked->correlation);
    ask_attribute(query, PL_TAG_CAUSATION, asked->causation);
    ask_attribute(query, PL_TAG_SUBJECT, asked->subject);
    ask_attribute(query, PL_TAG_SOURCE, asked->source);
    query->of_frame = query->attribute_count || asked->from_time_ns || asked->to_time_ns;
    query->of_view = asked->id || query->contains || asked->filter;
}

enum peal_err pl_query_init(struct pl_query *out, const struct pl_seams *seams,
                            const struct peal_query *asked)
{
    *out = (struct pl_query){ .attribute_count = 0 };
    if (!asked) {
        return PEAL_OK;
    }
    out->asked = *asked;
    out->asked.pattern = NULL;
    bool copied = copy_strings(&out->asked, seams);
    enum peal_err err = PEAL_OK;
    if (asked->pattern) {
        err = pl_pattern_parse(&out->pattern, seams, asked->pattern);
    }
    if (!err && asked->contains) {
        err = pl_contains_compile(&out->contains, seams, asked->contains);
    }
    if (!err && !copied) {
        err = pl_fail(PEAL_ENOMEM, "no memory for a query");
    }
    make_ready(out);
    return err;
}

void pl_query_finish(struct pl_query *query, const struct pl_seams *seams)
{
    struct peal_query *asked = &query->asked;
    const char *strings[] = { asked->correlation, asked->causation, asked->subject,
                              asked->source,      asked->id,        asked->contains };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        pl_release(seams, (void *)strings[i]);
    }
    pl_pattern_free(query->pattern, seams);
    pl_contains_free(query->contains, seams);
    pl_release(seams, query->types);
    *query = (struct pl_query){ .attribute_count = 0 };
}

// ---- looking ------------------------------------------------------------------------------------

// Room to remember the answer for this type, if there is memory.
static void grow(struct pl_query *query, const struct pl_seams *seams, uint32_t type)
{
    uint32_t size = query->types_size ? query->types_size : TYPES_FIRST;
    while (size <= type) {
        size *= 2; // ids are below PL_CHUNKS * PL_CHUNK
    }
    uint8_t *grown = pl_resize(seams, query->types, size);
    if (grown) {
        memset(grown + query->types_size, PL_TYPE_NOT_ASKED, size - query->types_size);
        query->types = grown;
        query->types_size = size;
    }
}

bool pl_query_takes_type(struct pl_query *query, struct peal_bus *bus, uint32_t type)
{
    if (type < query->types_size && query->types[type] != PL_TYPE_NOT_ASKED) {
        return query->types[type] == PL_TYPE_WANTED;
    }
    const struct peal_topic *topic = pl_topic_by_id(bus, type);
    bool wanted = pl_pattern_match(query->pattern, topic->type, topic->length);
    if (type >= query->types_size) {
        grow(query, bus->seams, type);
    }
    if (type < query->types_size) {
        query->types[type] = wanted ? PL_TYPE_WANTED : PL_TYPE_UNWANTED;
    }
    return wanted;
}

static int64_t time_of(const struct pl_frame *frame)
{
    size_t length;
    int64_t time = frame->recorded;
    const char *given = pl_frame_attribute(frame, PL_TAG_TIME, &length);
    if (given) {
        memcpy(&time, given, sizeof time);
    }
    return time;
}

bool pl_query_takes_frame(const struct pl_query *query, const struct peal_bus *bus,
                          const struct pl_frame *frame)
{
    const struct peal_query *asked = &query->asked;
    if (asked->from_time_ns || asked->to_time_ns) {
        int64_t time = time_of(frame);
        if ((asked->from_time_ns && time < asked->from_time_ns) ||
            (asked->to_time_ns && time >= asked->to_time_ns)) {
            return false;
        }
    }
    for (size_t i = 0; i < query->attribute_count; i++) {
        size_t length;
        enum pl_tag tag = query->attributes[i].tag;
        if (PL_PLANTED(TRUSTED_CANDIDATE) && bus->engine->catalog) {
            continue;
        }
        const char *value = pl_frame_attribute(frame, tag, &length);
        if (!value || !*value) {
            value = tag == PL_TAG_SOURCE ? bus->origin.source : "";
        }
        if (strcmp(query->attributes[i].text, value) != 0) {
            return false;
        }
    }
    return true;
}

bool pl_query_takes_view(const struct pl_query *query, const struct peal_event *event)
{
    const struct peal_query *asked = &query->asked;
    if (asked->id && strcmp(asked->id, peal_event_id(event)) != 0) {
        return false;
    }
    if (query->contains && !(pl_json_content_type(peal_event_content_type(event)) &&
                             pl_contains_match(query->contains, event->data, event->size))) {
        return false;
    }
    return !asked->filter || asked->filter(event, asked->filter_context);
}
