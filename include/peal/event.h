// SPDX-License-Identifier: MIT
//
// Events: what a publisher says, and what everybody else reads.
//
//     struct peal_message ──► publish ──► log ──► const peal_event * ──► handlers, queries, replay
//      (yours, borrowed)                            (a view, read only)
//
// A **message** is a struct you fill in: only `type` (or `topic`) is needed, all else zero. It and
// all it points to are borrowed until the publishing call returns.
//
// An **event** is the immutable result: a CloudEvents 1.0.2 event with a place in the log. A
// handler is given a borrowed view that ends with the handler; `peal_event_ref` makes it yours,
// until `peal_event_unref`. The bytes are not copied for that: the reference keeps their part of
// the log.
//
// Threads: a view belongs to the handler's thread. A reference may be read by any thread, and
// unreferenced by any one.
#ifndef PEAL_EVENT_H
#define PEAL_EVENT_H

#include <peal/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Limits. A publish over one of them is PEAL_ELIMIT and changes nothing.
#define PEAL_TYPE_MAX          255      // bytes of a type
#define PEAL_TYPE_SEGMENTS_MAX 32       // segments of a type
#define PEAL_ID_MAX            128      // bytes of an id
#define PEAL_ATTRIBUTE_MAX     1024     // bytes of any other attribute
#define PEAL_METADATA_MAX      64       // extensions of an event
#define PEAL_METADATA_NAME_MAX 20       // bytes of an extension's name: [a-z0-9]
#define PEAL_DATA_DEFAULT_MAX  1048576  // bytes of data, unless the bus says otherwise
#define PEAL_DATA_MAX          67108864 // bytes of data, whatever the bus says
#define PEAL_HOPS_MAX          16       // handlers that publish because of an event, in a row
#define PEAL_BATCH_MAX         65536    // messages of a batch

typedef struct peal_bus peal_bus;     // see bus.h
typedef struct peal_topic peal_topic; // a type, looked up once; see bus.h
typedef struct peal_event peal_event; // opaque: read it with the functions below

// An extension of CloudEvents: name `[a-z0-9]{1,20}`, not the name of an attribute; any text.
struct peal_pair {
    const char *name;
    const char *value;
};

// 0 to 9, the default is 4; 9 goes first. In options and messages zero means "the default", so a
// priority is written PEAL_PRIORITY(n) there.
#define PEAL_PRIORITY_DEFAULT 4
#define PEAL_PRIORITY_HIGHEST 9
#define PEAL_PRIORITY(n)      ((n) + 1)

// What must be true of the stream (the events of this subject) for the publish to happen.
enum peal_expect {
    PEAL_EXPECT_ANY = 0, // nothing
    PEAL_EXPECT_NONE,    // it has no event yet
    PEAL_EXPECT_EXISTS,  // it has one
    PEAL_EXPECT_VERSION, // its version is `expected_version`
};

// What an acknowledged event survives. Ordered: a greater one survives more.
enum peal_durability {
    PEAL_DURABILITY_DEFAULT = 0, // what the engine does unless asked
    PEAL_DURABILITY_MEMORY,      // accepted, in memory
    PEAL_DURABILITY_OS,          // handed to the kernel: survives the process
    PEAL_DURABILITY_DISK,        // synced: survives power loss
};

// What a publisher says. Everything is borrowed until the call returns; strings end with a zero
// byte; NULL and 0 mean "not given".
struct peal_message {
    const char *type;        // dotted: "training.epoch_completed"
    const peal_topic *topic; // instead of `type`: saves the look-up
    const void *data;        // any bytes, kept to the byte
    size_t size;             // bytes of data

    const char *content_type; // default "application/json"
    const char *subject;      // the thing it is about; the stream of event sourcing
    const char *key;          // events of one key keep their order; default: the subject
    const char *correlation;  // default inside a handler: the handled event's
    const char *causation;    // default inside a handler: the handled event's id
    const char *id;           // default: a UUIDv7; with `source`, what duplicates are known by
    const char *source;       // URI reference; default: the bus's
    const char *schema;       // URI of the type and version of the data
    const char *traceparent;  // W3C trace context; default inside a handler: the handled event's
    const char *tracestate;

    const struct peal_pair *metadata;
    size_t metadata_count;

    int64_t time_ns; // when it happened, nanoseconds since the epoch, UTC; default: now
    int priority;    // PEAL_PRIORITY(0) to PEAL_PRIORITY(9); 0: the default

    enum peal_expect expect;
    uint64_t expected_version; // for PEAL_EXPECT_VERSION
    enum peal_durability durability;

    // When to publish it: nanoseconds since the epoch, UTC; 0, and a time that has come: now. Not
    // in a batch, and not with an expectation. See schedule.h.
    int64_t deliver_at_ns;
};

// What a publish achieved. On a conflict (PEAL_ECONFLICT) it is untouched like every result; the
// actual version is in the sentence and in peal_stream_version().
struct peal_receipt {
    char id[PEAL_ID_MAX + 1];
    uint64_t position;       // from 1; 0: the event was not kept (noop:, or nothing keeps it), or
                             // it waits for its time
    uint64_t stream_version; // from 1 within its subject; 0: no subject, or not kept
    enum peal_durability durability;
    bool duplicate; // known already: nothing was appended, `position` is the first one's
};

// Reading an event. Strings are borrowed as long as the event is; "" where the event has none.
PEAL_API const char *peal_event_type(const peal_event *event);
PEAL_API const void *peal_event_data(const peal_event *event); // NULL if there is none
PEAL_API size_t peal_event_size(const peal_event *event);      // bytes of data
PEAL_API const char *peal_event_id(const peal_event *event);   // made when first looked at
PEAL_API const char *peal_event_source(const peal_event *event);
PEAL_API const char *peal_event_subject(const peal_event *event);
PEAL_API const char *peal_event_key(const peal_event *event); // the key, or else the subject
PEAL_API const char *peal_event_content_type(const peal_event *event);
PEAL_API const char *peal_event_schema(const peal_event *event);
PEAL_API const char *peal_event_correlation(const peal_event *event);
PEAL_API const char *peal_event_causation(const peal_event *event);
PEAL_API const char *peal_event_traceparent(const peal_event *event);
PEAL_API const char *peal_event_tracestate(const peal_event *event);
PEAL_API int peal_event_priority(const peal_event *event); // 0 to 9

// When it happened, and when the log took it; nanoseconds since the epoch, UTC. An event that no
// log keeps was recorded when it happened.
PEAL_API int64_t peal_event_time(const peal_event *event);
PEAL_API int64_t peal_event_recorded_time(const peal_event *event);

PEAL_API uint64_t peal_event_position(const peal_event *event);       // 0: in no log
PEAL_API uint64_t peal_event_stream_version(const peal_event *event); // 0: in no stream

// How every event begins; nothing else of one is public. For the three below, which handlers call
// most: where the compiler inlines, reading costs a load and not a call.
struct peal_event_head {
    const char *type;
    const void *data;
    size_t size;
};

#if defined(__GNUC__) && defined(__OPTIMIZE__)
#define PEAL_INLINABLE extern inline __attribute__((gnu_inline))

PEAL_INLINABLE const char *peal_event_type(const peal_event *event)
{
    return ((const struct peal_event_head *)(const void *)event)->type;
}

PEAL_INLINABLE const void *peal_event_data(const peal_event *event)
{
    return ((const struct peal_event_head *)(const void *)event)->data;
}

PEAL_INLINABLE size_t peal_event_size(const peal_event *event)
{
    return ((const struct peal_event_head *)(const void *)event)->size;
}
#endif

// The value of an extension, or NULL. And all of them, by index, in the order given.
PEAL_API const char *peal_event_metadata(const peal_event *event, const char *name);
PEAL_API size_t peal_event_metadata_count(const peal_event *event);
PEAL_API struct peal_pair peal_event_metadata_at(const peal_event *event, size_t index);

// How this delivery came about: the attempt (from 1; 0 outside a handler), and whether it is a
// replay.
PEAL_API unsigned peal_event_attempt(const peal_event *event);
PEAL_API bool peal_event_is_replay(const peal_event *event);

// Makes the event outlive the handler: *shared*, until the matching unref. PEAL_ENOMEM only. Costs
// one small allocation; keeps one segment of the log in memory.
PEAL_API enum peal_err peal_event_ref(const peal_event **out, const peal_event *event);
PEAL_API void peal_event_unref(const peal_event *event); // NULL is fine

// The event as CloudEvents 1.0.2 JSON (structured mode), ended by a zero byte. Like snprintf:
// writes at most `size` bytes and returns how many the whole would need, without the zero byte.
// Data that is valid JSON by its content type stands in `data` byte for byte, text as a string, all
// else in `data_base64`.
PEAL_API size_t peal_event_to_json(const peal_event *event, char *out, size_t size);

// The event as the bytes of a self-contained frame (docs/format.md), checksummed, little-endian.
// Like snprintf: writes nothing unless all fits, returns the bytes needed. `peal_event_decode`
// makes an event of such bytes, *shared* until peal_event_unref; it believes nothing it reads:
// PEAL_ECORRUPT.
PEAL_API size_t peal_event_encode(const peal_event *event, void *out, size_t size);
PEAL_API enum peal_err peal_event_decode(const peal_event **out, const void *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
