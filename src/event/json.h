// SPDX-License-Identifier: MIT
//
// JSON: is it one? For data that is passed on inside another JSON text as it stands.
//
// Strict, so that every reader of the whole agrees: RFC 8259, in UTF-8, with the surrogates of \u
// escapes in pairs. Numbers may be of any size and names may repeat: that is for readers to judge.
//
// And the pieces of which whoever looks into JSON without a document is made (filter/contains.c).
//
// Takes no memory and does not recurse. Threads: any.
#ifndef PL_EVENT_JSON_H
#define PL_EVENT_JSON_H

#include <stdbool.h>
#include <stddef.h>

// Arrays and objects inside each other. Many readers give up at 128 or soon after.
#define PL_JSON_DEPTH_MAX 127

// Whether the bytes are one JSON text and nothing else. About half a nanosecond a byte.
bool pl_json_valid(const void *bytes, size_t size);

// The same, and where and why not: `*out` is filled in if it is false. The text is static.
struct pl_json_fault {
    size_t offset; // bytes before the place
    const char *why;
};
bool pl_json_check(const void *bytes, size_t size, struct pl_json_fault *out);

// Whether data of this content type is to be read as JSON: "application/json", "text/json",
// "application/cloudevents+json", with or without parameters.
bool pl_json_content_type(const char *type);

// How many bytes at the start stand for themselves in a JSON string and are ASCII.
size_t pl_json_span(const char *bytes, size_t size);

// How many bytes at the start are neither a quote nor a backslash.
size_t pl_json_unquoted(const char *bytes, size_t size);

// The character that an escape stands for, in UTF-8: 1 to 4 bytes, or 0 if it is none. `*at` stands
// behind the backslash, and is moved behind the escape.
size_t pl_json_unescape(const char **at, const char *end, char out[4]);

// How many of the first `size` bytes are one character in UTF-8: 1 to 4, or 0 if they begin none.
size_t pl_utf8_next(const char *bytes, size_t size);

// Whether all bytes are UTF-8.
bool pl_utf8_valid(const char *bytes, size_t size);

#endif
