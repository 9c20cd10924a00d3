// SPDX-License-Identifier: MIT
//
// The inside of sessions.
#ifndef SERVICE_SESSION_INSIDE_H
#define SERVICE_SESSION_INSIDE_H

#include "service/session.h"

#include "base/list.h"
#include "base/protocol.h"
#include "base/wire_calls.h"

#include <peal/log.h>
#include <pthread.h>

// A message that came.
struct session_request {
    struct pl_list link;
    size_t size;
    char bytes[]; // 8-byte aligned
};

enum session_pump {
    PUMP_NONE = 0, // nothing is followed
    PUMP_IDLE,     // all there is was sent; the feed wakes it
    PUMP_STALLED,  // no credit, or too much waits to be sent
    PUMP_RUNS,     // a job is at it, or about to be
};

struct service_session {
    struct service_session_config config;
    atomic_uint refs; // who opened it, and each job

    pthread_mutex_t lock; // guards what follows
    struct pl_list queue; // requests
    size_t queued;        // bytes
    bool serving;         // a job is at the queue
    bool full;            // receive has said so
    bool closed;
    bool greeted;
    bool broken; // by a breach: nothing more is taken
    enum session_pump pump;
    bool failed; // what is next could not be read: it is tried again when time has passed
    int64_t credit;
    uint64_t owed;               // the client waits until it was told of all below
    size_t waiting;              // bytes, as the last send said
    unsigned emptied;            // how often they were sent
    struct session_wants *wants; // a reference; NULL: everything
    struct pl_list names;

    pthread_mutex_t sending; // held around `send` and `drained`; guards `gone`
    bool gone;

    // The pump's alone, or whoever begins it.
    uint64_t cursor;

    struct pl_list follow_link; // in the feed, under its lock
};

// ---- session.c ----------------------------------------------------------------------------------

void session_ref(struct service_session *session);
void session_unref(struct service_session *session);

// Gives a message away to be sent. NULL: there was no memory for one, which the client would wait
// for: its connection ends, so that it asks again.
void session_send(struct service_session *session, struct service_bytes *message);

// Sends an answer: what is packed, or of an error the sentence. The pack is finished.
void session_answer(struct service_session *session, uint64_t number, enum peal_err err,
                    struct pl_pack *pack);

// The same for what the session itself refuses.
void session_refuse(struct service_session *session, uint64_t number, enum peal_err err,
                    const char *sentence);

bool session_may_read(const struct service_session *session, const char *type);
bool session_is_over(const struct service_session *session); // its rights are
bool session_may_publish(const struct service_session *session, const char *type);

struct service_bytes *service_bytes_create(size_t size); // NULL: no memory

// ---- session_feed.c -----------------------------------------------------------------------------

// The session follows from a position on; what it wants is *taken*. PEAL_ESTATE: it does already.
enum peal_err session_follow(struct service_session *session, uint64_t from, int64_t credit,
                             struct session_wants *wants);
void session_unfollow(struct service_session *session);
void session_credit(struct service_session *session, int64_t more);
// It may be able to go on. With session->lock.
void session_nudge(struct service_session *session);

// Until it is released, who follows is not woken by what is published. Then those who have nothing
// else to read are sent it, by the thread that releases it: one of the pool. Held for a moment
// only, while nothing is waited for.
void session_hold_bell(struct service_tail *feed);
void session_release_bell(struct service_tail *feed);

// ---- session_encode.c ---------------------------------------------------------------------------

#define SESSION_CHUNK_BYTES 262144 // of a message of what is followed; one event may be larger

// Events on their way into a message. What came of it is zero before.
struct session_encoding {
    peal_bus *bus;
    const struct service_session *session; // whose rights count; NULL: everybody's
    size_t bytes_max;                      // then no other event follows

    struct service_bytes *message; // without its head: *given*; NULL: there was no event
    size_t room;                   // the message's size is what is used of it
    uint64_t first;                // position of the first event that was read; 0: there was none
    uint64_t gone;                 // positions below it were forgotten, or cannot be read; 0: none
    bool at_end;                   // there was nothing more
};

// The events that a query means from *next on, which is its from_position; *next: where to go on.
// Waits until what is read would survive the service.
enum peal_err session_encode(struct session_encoding *encoding, uint64_t *next,
                             const struct peal_query *query);

// A page of those that match: *out_cursor is `after` of the next page, *out_more: there may be one.
enum peal_err session_find(struct session_encoding *encoding, const struct peal_query *query,
                           uint64_t *out_cursor, bool *out_more);

// Writes the heads of a message of events, *taken*; NULL: one without any. NULL: no memory.
struct service_bytes *session_events(struct service_bytes *message,
                                     const struct pl_protocol_head *head,
                                     const struct pl_events_head *more);

// The log has positions [first, end) now.
enum peal_err session_ends(peal_bus *bus, uint64_t *out_first, uint64_t *out_end);

// ---- session_sift.c -----------------------------------------------------------------------------

struct session_types; // of the events in a message
struct session_wants; // what a client follows

// The events of a message are of this type up to here, from where they were noted last. False: no
// memory.
bool session_types_note(struct session_types **types, const char *type, size_t end);
void session_types_free(struct session_types *types); // NULL is fine

// Reads a list of patterns. *out NULL: all. PEAL_EINVAL, PEAL_EPATTERN, PEAL_ELIMIT, PEAL_ENOMEM.
enum peal_err session_wants_read(struct session_wants **out, struct pl_unpack *unpack);
void session_wants_unref(struct session_wants *wants); // NULL is fine

// From now on the session wants this; *taken*.
void session_want(struct service_session *session, struct session_wants *wants);

// Leaves of a message what the session wants and may read; it may be another one then. The pump's
// alone, after it has read: so who changes what is wanted knows that what was left out by the
// patterns before was in the log before the change. PEAL_ENOMEM: it is NULL.
enum peal_err session_sift(struct service_bytes **message, struct service_session *session);

// ---- session_publish.c --------------------------------------------------------------------------

void session_publish(struct service_session *session, const struct pl_protocol_head *head,
                     const char *bytes, size_t size);

// The same without waiting, on any thread. False: nothing was done, it has to wait or is refused.
bool session_publish_at_once(struct service_session *session, const struct pl_protocol_head *head,
                             const char *bytes, size_t size);

// ---- session_named.c ----------------------------------------------------------------------------

struct session_named; // a durable name that the client has taken

void session_subscribe(struct service_session *session, const struct pl_protocol_head *head,
                       struct pl_unpack *unpack);
void session_unsubscribe(struct service_session *session, const struct pl_protocol_head *head,
                         struct pl_unpack *unpack);
void session_settle(struct service_session *session, const struct pl_protocol_head *head,
                    struct pl_unpack *unpack);

// Has the client taken a durable name of that text?
bool session_has_name(struct service_session *session, const char *name);

// The client has gone: what it has is given to others.
void session_leave_names(struct service_session *session);

uint64_t session_next_delivery(struct service_tail *feed);

// A thread that uses the bus begins, or ends: the feed is not closed before.
void session_count_thread(struct service_tail *feed, bool begins);

// ---- session_calls.c ----------------------------------------------------------------------------

// False: there is no such request.
bool session_call(struct service_session *session, const struct pl_protocol_head *head,
                  struct pl_unpack *unpack);

#endif
