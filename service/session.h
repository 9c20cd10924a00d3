// SPDX-License-Identifier: MIT
//
// Session: one client that speaks `peal.v1` (docs/peal.v1.md), on the service's side. It knows
// messages and no sockets: whoever has the connection hands it what came, whole messages of a
// WebSocket, and is handed what is to be sent.
//
//     connection ─► service_session_receive ─► queue ─► work: one request after the other ─► bus
//         ▲                 └── what is published and waits for no disk: at once ──────────► bus
//         │                                                          │
//         └──────────────── send ◄──── answers ◄────────────────────┘
//                             ▲
//                             └──── what is followed: whenever the feed rings
//
// The feed is shared by all sessions of a bus. What several follow is encoded once: a message that
// all of them may read is one piece of memory, which each of them sends.
//
// Where `soon` says so, an event takes no other thread than that of the connections: it is
// published as it comes, and read for those who follow when all that came has been. Whoever has to
// wait for a disk, for memory, or is behind, does it in a job.
//
// Threads. receive, writable, tick and close belong to the thread that has the connection, which
// none of them keeps for long. `send` and `drained` are called by any thread, one at a time for a
// session, and must not call the session; after close has returned, neither is called any more.
// `work` may run the jobs of a session at the same time, on any threads but that of the connection;
// they may take as long as the disk does. A feed is opened first, and closed after the last
// session.
//
// Memory: what a client may have here is bounded: SERVICE_QUEUE_MAX of requests (receive says when
// to stop reading), `waiting_max` and one message of what is to be sent.
#ifndef SERVICE_SESSION_H
#define SERVICE_SESSION_H

#include <peal/peal.h>
#include <stdatomic.h>

#define SERVICE_QUEUE_MAX   4194304 // bytes of requests that wait
#define SERVICE_WAITING_MAX 1048576 // bytes that wait to be sent, by default

// Bytes that several may send: *shared*.
struct service_bytes {
    atomic_uint refs;
    size_t size;
    struct session_types *types; // of the events in it, for who sends a part; NULL: it has none
    char bytes[];
};

void service_bytes_ref(struct service_bytes *bytes);
void service_bytes_unref(struct service_bytes *bytes); // NULL is fine

struct service_tail;
struct service_session;

// What a client may do; a function that is NULL allows everything. Called by any thread, for each
// event that is published or goes out: the type is *borrowed* for the call.
struct service_rights {
    bool (*may_publish)(void *context, const char *type);
    bool (*may_read)(void *context, const char *type);
    bool (*may_read_all)(void *context); // whatever type, now? NULL: each is asked for
    // Were they taken back, or changed? From then on the three above say false, and nothing is said
    // to the client: what he is not given now he may be given when he comes back.
    bool (*are_over)(void *context);
    void *context;
    // It may not: pause, resume, move and forget durable names, and see them; mend dead letters,
    // cancel what is scheduled, read the statistics.
    bool only_events;
};

struct service_session_config {
    peal_bus *bus;
    struct service_tail *feed; // of that bus
    struct service_rights rights;

    // Takes a message to be sent: one reference is *given*. NULL: there was no memory for one, so
    // the connection is to be ended, soon. How many bytes wait now; when they are more than
    // waiting_max, nothing more of what is followed is sent until service_session_writable.
    size_t (*send)(void *context, struct service_bytes *message);
    // There is room for more requests again, after receive has said that there was none.
    void (*drained)(void *context);
    // Has `run(job)` called by another thread, one that may wait, once, soon. Any thread; it must
    // not wait for a job, nor call the session.
    void (*work)(void *context, void (*run)(void *job), void *job);
    // The same by the thread of the connection, for what does not wait. NULL: `work` has it done.
    void (*soon)(void *context, void (*run)(void *job), void *job);
    void *context; // of all four, *borrowed* until close has returned; of jobs until they ran

    size_t waiting_max;  // 0: SERVICE_WAITING_MAX
    bool at_once;        // receive may publish what waits for no disk
    uint64_t publish_ms; // how long a publisher is slowed before it is refused; 0: not at all
};

// Closing waits, a quarter of a second at most, for threads that serve durable names.
enum peal_err service_tail_open(struct service_tail **out, peal_bus *bus);
void service_tail_close(struct service_tail *feed); // NULL is fine
// Have the sessions been told of all that was published when this is called?
bool service_tail_rests(const struct service_tail *tail);
// Has this one sent what it is told of, but for what its client does not want yet?
bool service_session_rests(struct service_session *session);

// Events its own subscription was given, by which it notices that there are some. Any thread.
uint64_t service_tail_delivered(const struct service_tail *feed);

enum peal_err service_session_open(struct service_session **out,
                                   const struct service_session_config *config);

enum service_reception {
    SERVICE_GO_ON = 0, // there is room for more
    SERVICE_ENOUGH,    // read no more until `drained`
    SERVICE_BREACH, // it does not speak the protocol, or there is no memory: close the connection
};

// Takes one binary message, *borrowed* for the call.
enum service_reception service_session_receive(struct service_session *session, const void *bytes,
                                               size_t size);

// Less waits to be sent than did.
void service_session_writable(struct service_session *session);

// A second has passed: what could not be read is tried again. Nobody may publish any more, so that
// nothing else would come to read it.
void service_session_tick(struct service_session *session);

// The client has gone. What it has asked for and was not begun is not done; deliveries it has not
// settled are given to others. Jobs that are under way keep what they need. NULL is fine.
void service_session_close(struct service_session *session);

#endif
