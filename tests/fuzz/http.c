// SPDX-License-Identifier: MIT
//
// Any bytes as the head of a request: where it ends does not depend on how it came; it is read, and
// all that is found lies in it, or is refused with a status and a sentence. Its parts are decoded
// as the service does.
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/http_parse.h"

// An assert that a build without asserts keeps.
static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_inside(struct net_part part, const char *bytes, size_t size)
{
    check(part.bytes >= bytes && part.bytes + part.size <= bytes + size);
}

// Looked for whenever a byte has come, it is found where it is found at once.
static size_t find_end(const char *bytes, size_t size)
{
    size_t whole = net_head_size(bytes, size, 0);
    size_t at = 0;
    for (size_t come = 1; come <= size && !at; come++) {
        at = net_head_size(bytes, come, come - 1);
        check(at == 0 || at == come);
    }
    check(at == whole);
    return whole;
}

static void check_query(struct net_part query)
{
    const char *bytes = query.bytes;
    size_t size = query.size, left = query.size;
    struct net_part name, value;
    char *out = malloc(size + 1);
    check(out);
    while (net_query_next(&query, &name, &value)) {
        check_inside(name, bytes, size);
        check_inside(value, bytes, size);
        check(query.size < left);
        left = query.size;
        if (net_url_decode(out, value.size + 1, value, true)) {
            check(strlen(out) <= value.size);
        }
    }
    free(out);
}

static void check_head(const struct net_head *head, const char *bytes, size_t size)
{
    check(head->method.size > 0 && head->path.size > 0 && head->count <= NET_HTTP_HEADERS_MAX);
    check(!(head->chunked && head->has_length));
    check_inside(head->method, bytes, size);
    check_inside(head->path, bytes, size);
    check_inside(head->query, bytes, size);
    for (size_t i = 0; i < head->count; i++) {
        check_inside(head->headers[i].name, bytes, size);
        check_inside(head->headers[i].value, bytes, size);
        check(!memchr(head->headers[i].value.bytes, '\n', head->headers[i].value.size));
    }
    check_query(head->query);
}

// The name is libFuzzer's.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); // NOLINT
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t whole = find_end((const char *)data, size);
    if (whole) {
        struct net_head head;
        struct net_refusal refusal = { 0 };
        char *copy = malloc(whole); // of its size, so that one byte too many is seen
        check(copy);
        memcpy(copy, data, whole);
        if (net_head_parse(&head, copy, whole, &refusal)) {
            check_head(&head, copy, whole);
        } else {
            check(refusal.status >= 400 && refusal.status < 600 && refusal.reason);
        }
        free(copy);
    }
    return 0;
}
