// SPDX-License-Identifier: MIT
//
// Contains: does this data have that JSON in it?
//
//     {"model":"resnet","metrics":{"loss":0.5}}            the pattern
//     {"run":7,"model":"resnet","metrics":{"acc":0.9,"loss":5e-1},"tags":["a","b"]}      contains
//     it
//
// As PostgreSQL's jsonb @> :
//
//     object    contains one of which it has every member: the name, and a value that contains the
//               other's value. {} is in every object
//     array     contains one of which each element is contained in some element of it, wherever and
//               how often that stands. [] is in every array
//     others    contain what is equal: numbers by their value (1 = 1.0 = 10e-1, exactly, however
//               many digits), strings by their characters ("\u00e9" = "é"), true, false, null
//     an array that is the whole data also contains a string, number, true, false or null that is
//               one of its elements
//
// Of a name that repeats in an object the last value counts, in the pattern and in the data. A
// number whose exponent has more than 18 digits is refused in a pattern, and equal to none in data.
//
// Data that is not JSON contains nothing. It is read as it lies there, without a document, without
// memory, once; nothing it says is believed, and it is checked whole before the answer is yes. The
// time is at most that of reading the data once for every value of the pattern, and usually that of
// reading it once.
//
// Ownership: compiled, the pattern is one piece of memory, copied from the text.
// Threads: any, once it is compiled: what is found is noted elsewhere.
#ifndef PL_FILTER_CONTAINS_H
#define PL_FILTER_CONTAINS_H

#include "base/seams.h"

#include <peal/error.h>

// Bytes of a pattern. Arrays and objects inside each other: PL_JSON_DEPTH_MAX.
#define PL_CONTAINS_MAX 4096

struct pl_contains;

// PEAL_EINVAL with place and reason: not JSON. PEAL_ELIMIT: too long. PEAL_ENOMEM.
enum peal_err pl_contains_compile(struct pl_contains **out, const struct pl_seams *seams,
                                  const char *json);
// With the seams it was made with. NULL is fine.
void pl_contains_free(struct pl_contains *contains, const struct pl_seams *seams);

bool pl_contains_match(const struct pl_contains *contains, const void *data, size_t size);

#endif
