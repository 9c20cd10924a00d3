// SPDX-License-Identifier: MIT
//
// Topic: what an event type may look like, and the limits of types and patterns.
//
//     order.created      $peal.gap      a
//
// A type is 1 to 32 segments joined by dots; a segment is letters, digits, '_' and '-', at least
// one of them. '$' may start the first segment: the system's own events. ASCII only.
//
// Threads: nothing here has state; any thread.
#ifndef PL_EVENT_TOPIC_H
#define PL_EVENT_TOPIC_H

#include <peal/event.h>
#include <stddef.h>

#define PL_TYPE_MAX          PEAL_TYPE_MAX          // bytes; also of one part of a pattern
#define PL_SEGMENTS_MAX      PEAL_TYPE_SEGMENTS_MAX // also of one part of a pattern
#define PL_PATTERN_MAX       4096                   // bytes, as given and in canonical form
#define PL_PATTERN_PARTS_MAX 64                     // parts of a pattern's comma list

// PEAL_OK if `type` can be published. PEAL_ELIMIT: too long or too many segments. PEAL_ETYPE:
// anything else, with a sentence of its own for a pattern. About 1 ns a byte.
enum peal_err pl_topic_check(const char *type, size_t length);

// How many bytes at the start of `text` may stand in a segment.
size_t pl_topic_span(const char *text, size_t length);

#endif
