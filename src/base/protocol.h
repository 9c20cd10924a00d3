// SPDX-License-Identifier: MIT
//
// Protocol: the messages of `peal.v1`, which a bus on `http:` and a service exchange.
// docs/peal.v1.md says what each means; here is how they are written and read.
//
//     client                                              service
//     HELLO, PUBLISH, FOLLOW, STRETCH, ... ──────────────►
//                        ◄────────────── ANSWER of the same number: a code, a sentence or a result
//                        ◄────────────── EVENTS, DELIVERY, ...: of themselves, numbered 0
//
// Every message is one binary WebSocket message:
//
//     0  u8   version: PL_PROTOCOL_VERSION
//     1  u8   0
//     2  u16  what it is: enum pl_protocol_kind
//     4  u32  of an answer the code (enum peal_err), else 0
//     8  u64  number of the request; its answer has the same; of what nobody asked for 0
//    16       what the kind says: numbers and texts (base/wire.h), or records as below
//
// All is little-endian. What is read is not believed, and needs not be aligned.
#ifndef PL_BASE_PROTOCOL_H
#define PL_BASE_PROTOCOL_H

#include "base/wire.h"

#include <peal/event.h>

#define PL_PROTOCOL_VERSION   1
#define PL_PROTOCOL_NAME      "peal.v1"
#define PL_PROTOCOL_PATH      "/v1/ws"
#define PL_PROTOCOL_HEAD      PL_WIRE_HEAD
#define PL_PROTOCOL_BYTES_MAX (128ULL << 20) // of a message; each end may accept less (HELLO)

enum pl_protocol_kind {
    PL_PROTOCOL_HELLO = 1,  // the first request of a connection, and the only one before its answer
    PL_PROTOCOL_PUBLISH,    // message records
    PL_PROTOCOL_FOLLOW,     // the events from a position on, as they come
    PL_PROTOCOL_CREDIT,     // so many more bytes of EVENTS may be sent; not answered
    PL_PROTOCOL_STRETCH,    // events of the past that follow each other
    PL_PROTOCOL_QUERY,      // events of the past that match
    PL_PROTOCOL_VERSION_OF, // a stream's version
    PL_PROTOCOL_ENDS,       // the first position there is, and the next there will be
    PL_PROTOCOL_SUBSCRIBE,  // takes a durable name
    PL_PROTOCOL_SETTLE,     // says what became of a delivery; SETTLED comes once it is saved
    PL_PROTOCOL_UNSUBSCRIBE, // gives a durable name back
    PL_PROTOCOL_WANT,        // other patterns for what is followed

    PL_PROTOCOL_CALL = 32, // 32 + n: the call n of bus/ask.h, and its bytes

    PL_PROTOCOL_ANSWER = 64, // of the service, to the request of its number
    PL_PROTOCOL_EVENTS,      // what is followed
    PL_PROTOCOL_DELIVERY,    // an event for a durable name
    PL_PROTOCOL_SAY,         // what a person should know
    PL_PROTOCOL_GONE,        // of what is followed: forgotten before it could be sent
    PL_PROTOCOL_SETTLED,     // SETTLEs of a name are done and saved
};

#define PL_PROTOCOL_PATTERNS_MAX 256 // that are followed; who wants more follows all there is

// The calls that ask.h numbers, for those who do not see it.
enum pl_protocol_call {
    PL_CALL_WHO = 1,
    PL_CALL_PUBLISH,
    PL_CALL_DEAD_RETRY,
    PL_CALL_DEAD_DISCARD,
    PL_CALL_DEAD_EDIT,
    PL_CALL_CANCEL,
    PL_CALL_PAUSE,
    PL_CALL_RESUME,
    PL_CALL_SEEK,
    PL_CALL_FORGET,
    PL_CALL_NAMES,
    PL_CALL_STATS,
    PL_CALL_LOOK,
    PL_CALL_DEAD_LIST,
    PL_CALL_DEAD_COUNT,
    PL_CALL_SCHEDULE_LIST,
    PL_CALL_SAVE, // not of ask.h
};

struct pl_protocol_head {
    unsigned kind, code;
    uint64_t number;
};

void pl_protocol_head_write(char out[PL_PROTOCOL_HEAD], const struct pl_protocol_head *head);

// False: too short, or of another version.
bool pl_protocol_head_read(struct pl_protocol_head *out, const void *bytes, size_t size);

// ---- publishing ---------------------------------------------------------------------------------
//
// PUBLISH:
//    16  u32  flags: PL_PUBLISH_*
//    20  u32  how many records
//    24  u64  of a repeat: the events, if they are in the log, are at this position or behind it
//    32       message records
//
// A message record, a multiple of 8 bytes:
//     0  u32  length of the record
//     4  u32  length of the data
//     8  u8   priority, u8 durability, u8 expect (as in struct peal_message), u8 1: the id was made
//             by who sends it, and not given by who publishes
//    12  u32  length of the attributes: `u16 tag << 11 | length`, the bytes, a zero byte; each
//    16  i64  time, or 0: when the service takes it
//    24  i64  deliver_at, or 0
//    32  u64  expected version
//    40       attributes, data, zeros
//
// The answer to it:
//    16       for each record: u64 position, u64 version, u32 code, u8 durability, u8 duplicate,
//             u16 0; and once, behind all of them, the sentence of the first that failed, a text

#define PL_PUBLISH_TOGETHER 1U // all or none, as peal_publish_batch
#define PL_PUBLISH_REPEAT   2U // they may have been published before: look

#define PL_PUBLISH_HEAD    32 // bytes before the first record
#define PL_RECORD_HEAD     40
#define PL_OUTCOME_SIZE    24
#define PL_PUBLISH_BYTES   262144 // a client fills a PUBLISH so far, then begins another
#define PL_PUBLISH_RECORDS 4096

struct pl_publish_head {
    unsigned flags, count;
    uint64_t from;
};

// What became of one of them.
struct pl_outcome {
    uint64_t position, version;
    enum peal_err code;
    enum peal_durability durability;
    bool duplicate;
};

void pl_publish_head_write(char *out, const struct pl_publish_head *head); // at offset 16
bool pl_publish_head_read(struct pl_publish_head *out, const void *bytes, size_t size);

// The bytes that the record of a message takes. `type`, `id` and `source`: instead of the
// message's.
struct pl_record_names {
    const char *type, *id, *source;
};
size_t pl_record_size(const struct peal_message *message, const struct pl_record_names *names);
void pl_record_write(char *out, size_t size, const struct peal_message *message,
                     const struct pl_record_names *names);

// Reads the next record; its texts and data are *borrowed* from the bytes. `pairs` has room for
// PEAL_METADATA_MAX. False: it is none.
bool pl_record_read(struct peal_message *out, struct peal_pair *pairs, struct pl_unpack *unpack);

// Was the id of the record that begins here made? Of one that was read.
bool pl_record_made_id(const char *record);

void pl_outcome_write(char out[PL_OUTCOME_SIZE], const struct pl_outcome *outcome);
bool pl_outcome_read(struct pl_outcome *out, struct pl_unpack *unpack);

// ---- events -------------------------------------------------------------------------------------
//
// EVENTS, and the answers to STRETCH and QUERY:
//    16  u64  the end of the log: the next position it gives
//    24  u64  up to here, and no further, was looked: what comes next goes on with this position
//    32       frames as peal_event_encode writes them, one behind the other

#define PL_EVENTS_HEAD 32

struct pl_events_head {
    uint64_t end, next;
};

void pl_events_head_write(char *out, const struct pl_events_head *head); // at offset 16
bool pl_events_head_read(struct pl_events_head *out, const void *bytes, size_t size);

// The next frame's bytes and their number, not looked at but for that; NULL: there is none, and
// the unpack is bad if something is left.
const char *pl_events_next(struct pl_unpack *unpack, size_t *out_size);

#endif
