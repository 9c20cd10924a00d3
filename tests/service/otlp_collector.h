// SPDX-License-Identifier: MIT
//
// Collector: an OpenTelemetry collector of the test's own, on a port of its own. It answers as it
// is told, keeps the spans it has taken, and is strict: what the protocol does not allow fails the
// test.
//
//     struct collector collector;
//     collector_open(&collector);
//     collector_answers(&collector, 503, "Retry-After: 0\r\n");    the next one; then 200 again
//     ... options.url = collector.url ...
//     collector_wait(&collector, 6);                               until it has so many spans
//     collector_close(&collector);
//
// The rules, and where they are from:
// - OTLP 1, "OTLP/HTTP": POST, Content-Type: application/json, the body an
// ExportTraceServiceRequest.
// - OTLP 1, "JSON Protobuf Encoding": keys in lowerCamelCase; traceId, spanId and parentSpanId in
//   hex; enums as integers; 64-bit integers as decimal strings (proto3 JSON mapping), 32-bit ones
//   as numbers. A receiver must pass over unknown fields; this one takes them for mistakes.
// - trace.proto, common.proto, resource.proto of opentelemetry-proto v1: which fields there are;
//   ids of 16 and 8 bytes that are not all zeros; no parentSpanId for a root; a name; an end that
//   is not before the start; keys of attributes not empty and unique; of AnyValue one member.
#ifndef PEAL_TESTS_COLLECTOR_H
#define PEAL_TESTS_COLLECTOR_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define COLLECTOR_ANSWERS 16

struct collector_answer {
    int status;      // 0: hangs up without one; -1: says nothing until it is closed
    char header[64]; // "Name: value\r\n"
    char body[200];
};

struct collector {
    char url[64];
    int listener;
    pthread_t thread;
    pthread_mutex_t lock; // of all below
    pthread_cond_t changed;
    struct collector_answer answers[COLLECTOR_ANSWERS];
    size_t answer_count, answered;
    size_t requests;
    json_t *spans;    // an array of all it has taken
    json_t *resource; // of the last request
    char head[2048];  // of the last request
    char fault[200];  // the first rule that was broken; "" none
    bool closing;
    int open; // the connection; -1
};

// ---- the schema ---------------------------------------------------------------------------------

static inline bool collector_is_hex(const json_t *value, size_t bytes)
{
    const char *text = json_string_value(value);
    if (!text || strlen(text) != 2 * bytes || strspn(text, "0") == 2 * bytes) {
        return false;
    }
    return strspn(text, "0123456789abcdefABCDEF") == 2 * bytes;
}

// A 64-bit integer: digits in a string.
static inline bool collector_is_long(const json_t *value)
{
    const char *text = json_string_value(value);
    return text && *text && strlen(text) <= 20 && text[strspn(text, "0123456789")] == '\0';
}

static inline bool collector_is_number(const json_t *value, json_int_t most)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 &&
           json_integer_value(value) <= most;
}

// Are all members of an object among those names, a comma list?
static inline bool collector_has_only(const json_t *object, const char *names)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) {
        return false;
    }
    json_object_foreach((json_t *)object, key, value)
    {
        const char *at = strstr(names, key);
        size_t length = strlen(key);
        if (!at || (at != names && at[-1] != ',') || (at[length] && at[length] != ',')) {
            return false;
        }
    }
    return true;
}

static inline const char *collector_attributes(const json_t *attributes)
{
    size_t i, j;
    json_t *one, *other;
    if (!json_is_array(attributes)) {
        return "attributes are no array";
    }
    json_array_foreach(attributes, i, one)
    {
        const json_t *value = json_object_get(one, "value");
        const char *key = json_string_value(json_object_get(one, "key"));
        if (!collector_has_only(one, "key,value") || !key || !*key ||
            json_object_size(value) != 1) {
            return "an attribute is not a key and a value of one kind";
        }
        if (!json_is_string(json_object_get(value, "stringValue")) &&
            !collector_is_long(json_object_get(value, "intValue")) &&
            !json_is_boolean(json_object_get(value, "boolValue"))) {
            return "a value is neither text, nor digits, nor a boolean";
        }
        json_array_foreach(attributes, j, other)
        {
            if (i != j && json_equal(json_object_get(one, "key"), json_object_get(other, "key"))) {
                return "two attributes have one key";
            }
        }
    }
    return NULL;
}

static inline const char *collector_link(const json_t *link)
{
    bool ok = collector_has_only(link, "traceId,spanId,traceState,attributes,flags") &&
              collector_is_hex(json_object_get(link, "traceId"), 16) &&
              collector_is_hex(json_object_get(link, "spanId"), 8);
    return ok ? NULL : "a link is none";
}

static inline bool collector_is_in_order(const json_t *span)
{
    const json_t *start = json_object_get(span, "startTimeUnixNano");
    const json_t *end = json_object_get(span, "endTimeUnixNano");
    return collector_is_long(start) && collector_is_long(end) &&
           strtoull(json_string_value(start), NULL, 10) > 0 &&
           strtoull(json_string_value(start), NULL, 10) <=
               strtoull(json_string_value(end), NULL, 10);
}

static inline const char *collector_span(const json_t *span)
{
    static const char names[] =
        "traceId,spanId,traceState,parentSpanId,flags,name,kind,startTimeUnixNano,"
        "endTimeUnixNano,attributes,droppedAttributesCount,events,droppedEventsCount,links,"
        "droppedLinksCount,status";
    const json_t *parent = json_object_get(span, "parentSpanId");
    const json_t *flags = json_object_get(span, "flags");
    const json_t *status = json_object_get(span, "status");
    const char *name = json_string_value(json_object_get(span, "name"));
    size_t i;
    json_t *link;
    if (!collector_has_only(span, names)) {
        return "a span has a field that the protocol does not know";
    }
    if (!collector_is_hex(json_object_get(span, "traceId"), 16) ||
        !collector_is_hex(json_object_get(span, "spanId"), 8) ||
        (parent && !collector_is_hex(parent, 8))) {
        return "an id of a span is none";
    }
    if (!name || !*name || !collector_is_number(json_object_get(span, "kind"), 5) ||
        (flags && !collector_is_number(flags, UINT32_MAX))) {
        return "a span has no name, or a kind or flags that are none";
    }
    if (!collector_is_in_order(span)) {
        return "the times of a span are none, or not in order";
    }
    if (status && (!collector_has_only(status, "message,code") ||
                   (json_object_get(status, "code") &&
                    !collector_is_number(json_object_get(status, "code"), 2)))) {
        return "a status is none";
    }
    const char *fault = collector_attributes(json_object_get(span, "attributes"));
    json_array_foreach(json_object_get(span, "links"), i, link)
    {
        fault = fault ? fault : collector_link(link);
    }
    return fault;
}

// What is wrong with a request; NULL: nothing. Its spans are added to `spans`.
static inline const char *collector_check(const json_t *request, json_t *spans, json_t **resource)
{
    size_t i, j, k;
    json_t *of_resource, *of_scope, *span;
    if (!collector_has_only(request, "resourceSpans")) {
        return "the request has more than resourceSpans";
    }
    json_array_foreach(json_object_get(request, "resourceSpans"), i, of_resource)
    {
        *resource = json_object_get(of_resource, "resource");
        const char *fault = collector_attributes(json_object_get(*resource, "attributes"));
        if (fault || !collector_has_only(of_resource, "resource,scopeSpans,schemaUrl")) {
            return fault ? fault : "resourceSpans has a field too many";
        }
        json_array_foreach(json_object_get(of_resource, "scopeSpans"), j, of_scope)
        {
            const json_t *scope = json_object_get(of_scope, "scope");
            if (!collector_has_only(of_scope, "scope,spans,schemaUrl") ||
                !collector_has_only(scope, "name,version,attributes,droppedAttributesCount")) {
                return "scopeSpans has a field too many";
            }
            json_array_foreach(json_object_get(of_scope, "spans"), k, span)
            {
                fault = collector_span(span);
                if (fault) {
                    return fault;
                }
                (void)json_array_append(spans, span);
            }
        }
    }
    return NULL;
}

// ---- the server ---------------------------------------------------------------------------------

static inline void collector_blame(struct collector *collector, const char *fault)
{
    if (fault && !collector->fault[0]) {
        (void)snprintf(collector->fault, sizeof collector->fault, "%s", fault);
    }
}

// Reads a request; *given*. NULL: the connection has ended.
static inline char *collector_read(struct collector *collector, int fd, size_t *out_size)
{
    char *bytes = malloc(1 << 23);
    size_t size = 0, head = 0, body = 0;
    while (bytes) {
        ssize_t count = recv(fd, bytes + size, (1 << 23) - 1 - size, 0);
        if (count <= 0) {
            free(bytes);
            return NULL;
        }
        size += (size_t)count;
        bytes[size] = '\0';
        const char *end = head ? NULL : strstr(bytes, "\r\n\r\n");
        if (end) {
            head = (size_t)(end - bytes) + 4;
            const char *length = strcasestr(bytes, "\r\ncontent-length:");
            body = length ? strtoul(length + 17, NULL, 10) : 0;
        }
        if (head && size >= head + body) {
            break;
        }
    }
    (void)pthread_mutex_lock(&collector->lock);
    (void)snprintf(collector->head, sizeof collector->head, "%.*s", (int)head, bytes);
    (void)pthread_mutex_unlock(&collector->lock);
    memmove(bytes, bytes + head, body);
    *out_size = body;
    return bytes;
}

static inline void collector_take(struct collector *collector, const char *body, size_t size,
                                  bool keep)
{
    json_error_t error;
    json_t *request = json_loadb(body, size, JSON_REJECT_DUPLICATES, &error);
    json_t *spans = json_array(), *resource = NULL;
    (void)pthread_mutex_lock(&collector->lock);
    collector_blame(collector, request ? NULL : error.text);
    collector_blame(collector, request ? collector_check(request, spans, &resource) : NULL);
    if (strncmp(collector->head, "POST /v1/traces HTTP/1.1\r\n", 26) != 0 ||
        !strcasestr(collector->head, "\r\ncontent-type: application/json\r\n")) {
        collector_blame(collector, "it is no POST of JSON to /v1/traces");
    }
    if (keep) {
        (void)json_array_extend(collector->spans, spans);
        json_decref(collector->resource);
        collector->resource = json_incref(resource);
    }
    collector->requests++;
    (void)pthread_cond_broadcast(&collector->changed);
    (void)pthread_mutex_unlock(&collector->lock);
    json_decref(spans);
    json_decref(request);
}

// One request and its answer. False: the connection ends.
static inline bool collector_serve(struct collector *collector, int fd)
{
    size_t size;
    char *body = collector_read(collector, fd, &size);
    if (!body) {
        return false;
    }
    (void)pthread_mutex_lock(&collector->lock);
    struct collector_answer answer = { .status = 200, .body = "{}" };
    if (collector->answered < collector->answer_count) {
        answer = collector->answers[collector->answered++];
    }
    (void)pthread_mutex_unlock(&collector->lock);
    collector_take(collector, body, size, answer.status == 200);
    free(body);
    if (answer.status == 0) {
        return false;
    }
    if (answer.status < 0) {
        char byte;
        return recv(fd, &byte, 1, 0) > 0 && false; // until it goes, or we are closed
    }
    char text[512];
    int length = snprintf(text, sizeof text,
                          "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%s"
                          "Content-Length: %zu\r\n\r\n%s",
                          answer.status, answer.header, strlen(answer.body), answer.body);
    return send(fd, text, (size_t)length, MSG_NOSIGNAL) == length;
}

static inline void *collector_run(void *context)
{
    struct collector *collector = context;
    for (;;) {
        int fd = accept(collector->listener, NULL, NULL);
        (void)pthread_mutex_lock(&collector->lock);
        collector->open = fd;
        bool closing = collector->closing;
        (void)pthread_mutex_unlock(&collector->lock);
        while (fd >= 0 && !closing && collector_serve(collector, fd)) {
        }
        (void)pthread_mutex_lock(&collector->lock);
        collector->open = -1;
        closing = collector->closing;
        (void)pthread_mutex_unlock(&collector->lock);
        if (fd >= 0) {
            (void)close(fd);
        }
        if (closing || fd < 0) {
            return NULL;
        }
    }
}

static inline void collector_open(struct collector *collector)
{
    memset(collector, 0, sizeof *collector);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    collector->open = -1;
    collector->spans = json_array();
    (void)pthread_mutex_init(&collector->lock, NULL);
    (void)pthread_cond_init(&collector->changed, NULL);
    collector->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr *any = (struct sockaddr *)(void *)&address;
    assert_int_equal(bind(collector->listener, any, size), 0);
    assert_int_equal(listen(collector->listener, 8), 0);
    assert_int_equal(getsockname(collector->listener, any, &size), 0);
    (void)snprintf(collector->url, sizeof collector->url, "http://127.0.0.1:%u/v1/traces",
                   (unsigned)ntohs(address.sin_port));
    assert_int_equal(pthread_create(&collector->thread, NULL, collector_run, collector), 0);
}

static inline void collector_answers_with(struct collector *collector, int status,
                                          const char *header, const char *body)
{
    (void)pthread_mutex_lock(&collector->lock);
    struct collector_answer *answer = &collector->answers[collector->answer_count++];
    answer->status = status;
    (void)snprintf(answer->header, sizeof answer->header, "%s", header);
    (void)snprintf(answer->body, sizeof answer->body, "%s", body);
    (void)pthread_mutex_unlock(&collector->lock);
}

// What the next one is answered that has no answer yet.
static inline void collector_answers(struct collector *collector, int status, const char *header)
{
    collector_answers_with(collector, status, header, "{\"message\":\"no\"}");
}

// Waits until it has taken so many spans. A test that waits in vain is ended by its timeout.
static inline void collector_wait(struct collector *collector, size_t spans)
{
    (void)pthread_mutex_lock(&collector->lock);
    while (json_array_size(collector->spans) < spans && !collector->fault[0]) {
        (void)pthread_cond_wait(&collector->changed, &collector->lock);
    }
    (void)pthread_mutex_unlock(&collector->lock);
}

// The same, for so many requests, however they were answered.
static inline void collector_wait_requests(struct collector *collector, size_t requests)
{
    (void)pthread_mutex_lock(&collector->lock);
    while (collector->requests < requests) {
        (void)pthread_cond_wait(&collector->changed, &collector->lock);
    }
    (void)pthread_mutex_unlock(&collector->lock);
}

// It takes nothing any more; its spans stay until collector_finish.
static inline void collector_stop(struct collector *collector)
{
    (void)pthread_mutex_lock(&collector->lock);
    collector->closing = true;
    if (collector->open >= 0) {
        (void)shutdown(collector->open, SHUT_RDWR);
    }
    (void)shutdown(collector->listener, SHUT_RDWR); // accept returns
    (void)pthread_mutex_unlock(&collector->lock);
    (void)pthread_join(collector->thread, NULL);
    (void)close(collector->listener);
    collector->listener = -1;
}

static inline void collector_close(struct collector *collector)
{
    if (collector->listener >= 0) {
        collector_stop(collector);
    }
    assert_string_equal(collector->fault, "");
    json_decref(collector->spans);
    json_decref(collector->resource);
    (void)pthread_cond_destroy(&collector->changed);
    (void)pthread_mutex_destroy(&collector->lock);
}

// ---- looking ------------------------------------------------------------------------------------

// The n-th span (from 0) of that name, or NULL. Once nothing more comes.
static inline const json_t *collector_find(const struct collector *collector, const char *name,
                                           size_t nth)
{
    size_t i;
    json_t *span;
    json_array_foreach(collector->spans, i, span)
    {
        if (strcmp(json_string_value(json_object_get(span, "name")), name) == 0 && nth-- == 0) {
            return span;
        }
    }
    return NULL;
}

// An attribute, as text; "" if it has none of that key.
static inline const char *collector_says(const json_t *owner, const char *key)
{
    size_t i;
    json_t *attribute;
    json_array_foreach(json_object_get(owner, "attributes"), i, attribute)
    {
        if (strcmp(json_string_value(json_object_get(attribute, "key")), key) == 0) {
            const json_t *value = json_object_get(attribute, "value");
            const char *text = json_string_value(json_object_get(value, "stringValue"));
            return text ? text : json_string_value(json_object_get(value, "intValue"));
        }
    }
    return "";
}

static inline const char *collector_field(const json_t *span, const char *name)
{
    const char *text = json_string_value(json_object_get(span, name));
    return text ? text : "";
}

#endif
