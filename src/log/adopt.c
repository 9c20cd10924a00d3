// SPDX-License-Identifier: MIT
//
// A record becomes a frame of this process: its type gets the number that the process has for it,
// and if the file was written under another source than ours, it gets that as an attribute.
#include "log/internal.h"

#include "base/error.h"

#include <string.h>

enum peal_err pl_place_number(const struct pl_place *place, const struct pl_store *store,
                              uint32_t type, uint32_t *out)
{
    struct pl_name *name = pl_guide_name(place->volume.guide, type);
    if (!name) {
        return PEAL_ENOTFOUND;
    }
    // Relaxed: whoever asks is told the same number.
    uint32_t number = atomic_load_explicit(&name->number, memory_order_relaxed);
    if (__builtin_expect(number == PL_TYPE_INSIDE, 0)) {
        number = store->config.number_of(store->config.type_context, name->text);
        if (number == PL_TYPE_INSIDE) {
            return pl_fail(PEAL_ENOMEM, "%s: no memory for the type \"%s\"", store->path,
                           name->text);
        }
        atomic_store_explicit(&name->number, number, memory_order_relaxed);
    }
    *out = number;
    return PEAL_OK;
}

// What becomes of the attributes: `head` bytes (the id), the source, `rest` bytes.
struct parts {
    const char *attributes;
    size_t head, rest;
    const char *source; // NULL: nothing is put in
};

static void take_apart(struct parts *parts, const struct pl_frame *record, const char *source)
{
    *parts = (struct parts){ .attributes = pl_frame_attributes(record) };
    parts->source = source && *source ? source : NULL;
    const char *cursor = NULL;
    struct pl_attribute attribute;
    while (pl_frame_next(record, &cursor, &attribute)) {
        size_t size = (size_t)(cursor - parts->attributes);
        parts->head = attribute.tag == PL_TAG_ID ? size : parts->head;
        parts->source = attribute.tag == PL_TAG_SOURCE ? NULL : parts->source;
        parts->rest = size;
    }
    parts->rest -= parts->head;
}

static size_t attributes_size(const struct parts *parts)
{
    size_t source = parts->source ? 2 + strlen(parts->source) + 1 : 0;
    return pl_round8(parts->head + source + parts->rest);
}

size_t pl_place_frame_size(const struct pl_place *place, const struct pl_frame *record)
{
    struct parts parts;
    take_apart(&parts, record, place->volume.source);
    return parts.source
               ? record->length - pl_frame_attributes_size(record) + attributes_size(&parts)
               : record->length;
}

static void put_together(char *at, const struct parts *parts)
{
    size_t size = attributes_size(parts);
    memset(at + size - 8, 0, 8);
    memcpy(at, parts->attributes, parts->head);
    at += parts->head;
    size_t length = strlen(parts->source);
    uint16_t head = (uint16_t)(PL_TAG_SOURCE << PL_ATTRIBUTE_LENGTH_BITS | length);
    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, parts->source, length + 1);
    memcpy(at + sizeof head + length + 1, parts->attributes + parts->head, parts->rest);
}

void pl_place_frame(const struct pl_place *place, const struct pl_frame *record, uint32_t type,
                    struct pl_frame *out)
{
    struct parts parts;
    take_apart(&parts, record, place->volume.source);
    if (parts.source) {
        size_t old = pl_frame_attributes_size(record);
        size_t attributes = attributes_size(&parts);
        *out = *record;
        out->length = (uint32_t)(record->length - old + attributes);
        out->attribute_words = (uint16_t)(attributes / 8);
        put_together((char *)(out + 1), &parts);
        memcpy((char *)(out + 1) + attributes, (const char *)(record + 1) + old,
               record->length - sizeof *record - old);
    } else {
        memcpy(out, record, record->length);
    }
    out->type = type;
    out->crc = 0;
}
