// SPDX-License-Identifier: MIT
//
// Ingest: JSON that comes from outside becomes messages to publish.
//
//     {"specversion":"1.0","type":"order.created","data":{"total": 1.50}}      CloudEvents
//     {"event":"order.created","at":"2026-11-21T09:15:00Z","total":1.50}       a plain object
//          │
//          ▼
//     struct peal_message   type, time, ...; `data` is the bytes as they came: {"total": 1.50}
//
// Of a CloudEvent each attribute goes to its place, `data` is kept to the byte, `data_base64` is
// decoded, and what is left over becomes metadata. The log's own attributes (pealposition,
// pealversion, recordedtime) are left out: a log that takes the event gives its own. `id` and
// `source` may be missing, and are given too. A plain object is data as a whole; where its type and
// the rest come from is for the caller to say (struct ingest_plain).
//
// Nothing is believed: all of the text is checked, also inside `data` and behind the end (RFC 8259,
// UTF-8). What is wrong is said with its offset.
//
// For programs: it stands on simdjson, and the library does not. Threads: a reader belongs to one
// thread at a time.
#ifndef NET_INGEST_H
#define NET_INGEST_H

#include <peal/event.h>

#ifdef __cplusplus
extern "C" {
#endif

#define INGEST_DEPTH_MAX 512       // arrays and objects inside each other, unless fewer are allowed
#define INGEST_TEXT_MAX  134217728 // bytes of one JSON text

struct ingest;

struct ingest_text {
    const char *bytes;
    size_t size;
};

struct ingest_fault {
    size_t offset; // in the text
    char reason[160];
};

// Where a plain object's attributes come from: the type itself, if no member has it; else names of
// members of the object (texts; `time` is RFC 3339, or a number of seconds since the epoch, from
// 1e11 on of milliseconds). NULL: not given.
struct ingest_plain {
    const char *type;
    const char *type_member;
    const char *time_member;
    const char *subject_member;
    const char *correlation_member;
};

// *Given*: ingest_close. PEAL_ENOMEM. Closing NULL is fine.
enum peal_err ingest_open(struct ingest **out);
void ingest_close(struct ingest *ingest);

// From now on data may have so many arrays and objects inside each other: 1 to INGEST_DEPTH_MAX.
// What is around the data, such as the CloudEvent itself, does not count.
void ingest_limit_depth(struct ingest *ingest, unsigned most);

// Reads one object; `plain` NULL refuses all but CloudEvents. The text is *copied*; what the
// message points to is *borrowed* until ingest_forget, so that messages can be collected into a
// batch. false: `fault` says what is wrong, and the message is untouched.
bool ingest_event(struct peal_message *out, struct ingest *ingest, struct ingest_text text,
                  const struct ingest_plain *plain, struct ingest_fault *fault);

// Takes back the memory of all messages read so far.
void ingest_forget(struct ingest *ingest);

// A copy of some bytes, ended by a zero byte, *borrowed* like a message. NULL: no memory.
char *ingest_keep(struct ingest *ingest, const void *bytes, size_t size);

// Whether the text is one JSON value and nothing else.
bool ingest_check(struct ingest *ingest, struct ingest_text text, struct ingest_fault *fault);

// How many bytes from the start the object or array takes that begins there, by its brackets and
// quotes alone; 0 if it does not end within the text.
size_t ingest_span(struct ingest_text text);

// How many arrays and objects stand inside each other at the deepest place, by brackets and quotes
// alone: no fewer than a parser would find before it finds a mistake.
size_t ingest_depth(struct ingest_text text);

// RFC 3339 as nanoseconds since the epoch.
bool ingest_time(int64_t *out, const char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
