// SPDX-License-Identifier: MIT
//
// jansson reads; a table says what may stand in an object.
#include "service/json.h"

#include "net/ingest.h"
#include "net/words.h"

#include <jansson.h>
#include <string.h>

enum { DOCUMENT_MAX = 1 << 20, FIELDS_MAX = 32 };

json_t *service_json_body(struct service_call *call)
{
    json_error_t error;
    if (call->body_size > DOCUMENT_MAX) {
        service_refuse(call, 413, "limit", "a document of this kind has at most %d bytes",
                       DOCUMENT_MAX);
        return NULL;
    }
    // jansson would build what it reads as deep as it goes.
    unsigned most = atomic_load_explicit(&call->service->json_depth, memory_order_relaxed);
    if (ingest_depth((struct ingest_text){ call->body, call->body_size }) > most) {
        service_refuse(call, 400, "limit",
                       "the body has arrays and objects inside each other more than %u deep", most);
        return NULL;
    }
    if (call->body_size == 0) {
        json_t *empty = json_object();
        if (!empty) {
            service_refuse(call, 503, "nomem", "no memory; try again later");
        }
        return empty;
    }
    json_t *document = json_loadb(call->body, call->body_size, JSON_REJECT_DUPLICATES, &error);
    if (!document) {
        service_refuse(call, 400, "inval", "the body is not JSON: line %d, column %d: %s",
                       error.line, error.column, error.text);
    } else if (!json_is_object(document)) {
        json_decref(document);
        document = NULL;
        service_refuse(call, 400, "inval", "the body is JSON, but no object");
    }
    return document;
}

static const struct service_field *find(const struct service_field *fields, const char *name)
{
    while (fields->name && strcmp(fields->name, name) != 0) {
        fields++;
    }
    return fields->name ? fields : NULL;
}

static void refuse_member(struct service_call *call, const struct service_field *fields,
                          const char *name)
{
    const char *names[FIELDS_MAX];
    size_t count = 0;
    for (; fields->name && count < FIELDS_MAX; fields++) {
        names[count++] = fields->name;
    }
    const char *near = words_nearest(name, names, count);
    service_refuse(call, 400, "inval", "there is no member \"%s\" here%s%s%s", name,
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static bool read_value(const struct service_field *field, json_t *value, void *out)
{
    char *place = (char *)out + field->place;
    switch (field->kind) {
    case SERVICE_JSON_TEXT: {
        const char *text = json_string_value(value);
        bool whole = text && strlen(text) == json_string_length(value);
        memcpy(place, &text, sizeof text);
        return whole;
    }
    case SERVICE_JSON_NUMBER: {
        uint64_t number = (uint64_t)json_integer_value(value);
        memcpy(place, &number, sizeof number);
        return json_is_integer(value) && json_integer_value(value) >= 0;
    }
    case SERVICE_JSON_REAL: {
        double number = json_number_value(value);
        memcpy(place, &number, sizeof number);
        return json_is_number(value);
    }
    case SERVICE_JSON_BOOL: {
        bool is = json_is_true(value);
        memcpy(place, &is, sizeof is);
        return json_is_boolean(value);
    }
    default:
        *(json_t **)(void *)place = value;
        return field->kind == SERVICE_JSON_OBJECT ? json_is_object(value) : json_is_array(value);
    }
}

bool service_json_read(struct service_call *call, json_t *object,
                       const struct service_field *fields, void *out)
{
    static const char *const kinds[] = { "a text",        "a number from 0 on", "a number",
                                         "true or false", "an object",          "an array" };
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        const struct service_field *field = find(fields, name);
        if (!field) {
            refuse_member(call, fields, name);
            return false;
        }
        if (!read_value(field, value, out)) {
            service_refuse(call, 400, "inval", "\"%s\" is not %s", name, kinds[field->kind]);
            return false;
        }
    }
    return true;
}
