// SPDX-License-Identifier: MIT
//
// Remote: the log of a service, as a bus in another process has it.
//
//     publishers ─► spool (remote_spool.c) ──┐
//     who calls  ─► calls (remote_call.c) ───┤     one thread      one connection
//                                            ├─► remote_link.c ◄──────────────────► service
//     bus->arrive ◄── EVENTS ────────────────┘
//
// One thread has the connection. Others leave with it what they want to be sent and, if they want
// an answer, wait for it. When the connection breaks, the thread makes another, after a pause that
// doubles from PL_REMOTE_PAUSE_MS to PL_REMOTE_PAUSE_MAX_MS, of which chance takes up to a half.
//
// What was published and not answered is sent again, in the order in which it was published, marked
// as a repeat: each message has had an id since before it was first sent, and the service finds
// those that it has. What was followed goes on behind the last position that arrived. A call that
// changes something and was under way is PEAL_EIO: whether it was done is unknown; one that only
// looks is made again.
//
// Who publishes while nothing is unanswered sends it himself, so that the link need not wake up for
// it; what follows before the answer gathers in a block for the link. So one at a time is sent at
// once, and many go together.
//
// A service may come back with another log, or with one that has lost its end. Its positions would
// be mixed with those that are here, so then nothing more is followed and nothing read:
// PEAL_ESTATE. Publishing and durable names, which live where the log is, go on.
//
// Threads: `lock` guards what is not said otherwise. `wire` is held by who sends, and is taken
// before `lock`; nobody waits for it but the link. The thread of the link never waits for others
// but for their locks.
#ifndef PL_ENGINE_REMOTE_H
#define PL_ENGINE_REMOTE_H

#include "base/clock.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/protocol.h"
#include "base/websocket.h"
#include "engine/local.h"

#define PL_REMOTE_PORT         7325
#define PL_REMOTE_OPEN_MS      5000  // for the first connection
#define PL_REMOTE_CONNECT_MS   5000  // for each later one
#define PL_REMOTE_WAIT_MS      30000 // for an answer
#define PL_REMOTE_PAUSE_MS     20
#define PL_REMOTE_PAUSE_MAX_MS 5000
#define PL_REMOTE_PING_MS      10000   // of silence; of twice as much more the service is gone
#define PL_REMOTE_CREDIT       8388608 // bytes of events that may be on their way
#define PL_REMOTE_OUT          524288  // bytes that wait to be sent, about
#define PL_REMOTE_SPARES       4

// A PUBLISH: messages that go together, and whoever waits to hear of them.
struct pl_remote_block {
    struct pl_list link; // in `waiting` or in `sent`
    unsigned refs;       // the spool's, and one for each who waits
    atomic_uint done;    // 1: answered. Release, after what is below
    uint64_t number;
    unsigned count, flags; // of messages; PL_PUBLISH_*
    bool sealed;           // it takes no more
    uint64_t from;         // where the service's log ended when it was first sent
    char *bytes;           // PL_PUBLISH_HEAD, then records
    size_t size, room;
    struct pl_outcome *outcomes; // NULL: it failed as a whole
    enum peal_err err;           // then the code
    char *sentence;              // of the first that failed; NULL: there was no memory for it
    unsigned unheard;            // messages nobody waits for
};

// A request that somebody waits for, on its stack.
struct pl_remote_call {
    struct pl_list link;
    uint64_t number;
    const struct pl_pack *pack;
    bool only_looks; // it may be made again
    bool reads_log;  // it speaks of positions, which mean something in one log only
    bool sent;
    atomic_uint done; // 1: answered, or given up
    enum peal_err err;
    char *answer; // *given*: all of the message; NULL: none
    size_t answer_size;
};

// Settlements in a row, the oldest first. Zeros are none.
struct pl_settled {
    struct pl_settlement *first, **end;
};

struct pl_remote {
    const struct pl_seams *seams;
    struct pl_local *local;
    char *host, *path, *token, *name; // `name`: "http://host:port", for sentences
    uint16_t port;
    int bell;
    struct pl_thread *thread;
    atomic_bool stopping;

    // The first connection: 0 not yet, 1 it is there, 2 it failed.
    atomic_uint opened;
    enum peal_err open_err;
    char open_sentence[256];

    struct pl_mutex lock;
    bool connected;
    atomic_bool asleep; // the link looks at nothing until the bell rings
    uint64_t next_number;
    struct pl_list calls;           // in order of their numbers
    struct pl_list waiting, sent;   // blocks
    size_t spooled, spool_max;      // bytes of blocks
    char *spares[PL_REMOTE_SPARES]; // room of PL_PUBLISH_BYTES each, for the next large blocks
    unsigned spare_count;
    atomic_uint room_word; // changes when there is room, or nothing is left
    unsigned room_waiters;
    struct pl_list wants;          // patterns that somebody listens to
    uint64_t wanted, wanted_known; // how often that list has changed; and of it the service knows
    uint64_t wanted_sent;
    bool wants_follow, following; // following: FOLLOW was sent on this connection
    uint64_t chance[2];           // what ids are made of,
    int64_t id_ms;                // and the last one: its time, and the rest
    uint64_t id[2];
    struct pl_clock clock; // the time in it
    uint64_t lost;         // published for nobody to hear of it, and refused

    enum peal_pressure pressure;
    uint64_t block_ms;

    struct pl_list names; // durable names that are taken
    uint64_t epoch;       // of the connection: how many there were

    // What became of deliveries, newest first: any thread pushes (release), and who has the lock
    // takes all (acquire), to `unsent` or to a name.
    _Atomic(struct pl_settlement *) settlements;
    _Atomic uint64_t settling; // of them, those that are not in `out` yet
    struct pl_settled unsent;
    atomic_uint settled_word; // changes when the service has saved some, or the connection breaks
    unsigned settled_waiters;

    // Which log it was that we were opened on; and whether the service has another one now, so that
    // what is here is of no use there. `estranged` is changed with the lock.
    char identity[PEAL_LOG_IDENTITY_SIZE];
    atomic_bool estranged;

    // Of the service's log, as was last heard.
    _Atomic uint64_t first, end;
    atomic_uint arrived; // changes when something has
    atomic_uint arrival_waiters;

    enum peal_err (*arrive)(void *context, const struct pl_arrivals *arrivals);
    void (*deliver)(void *context, const struct pl_afar_delivery *delivery);
    void (*void_deliveries)(void *context, uint64_t subscription);
    void (*forgotten)(void *context, uint64_t next);
    void *arrive_context;
    struct pl_types types;
    peal_log_callback *say;
    void *say_context;

    // What is being sent. The socket is another only while not connected.
    struct pl_mutex wire; // guards what follows
    int socket;
    char *out;
    size_t out_begin, out_end, out_room;

    // The link's alone.
    struct pl_ws_reader reader;
    uint64_t follow_number, want_number; // of the last FOLLOW, or WANT
    size_t consumed;                     // bytes of events since the last credit
    int64_t heard;                       // when something last came
    bool pinged;
    enum peal_err told; // why it is not connected, as it was said; PEAL_OK: it was not
};

// ---- remote_link.c ------------------------------------------------------------------------------

// Starts the link, and waits until it is connected. PEAL_EIO, PEAL_ENOMEM, PEAL_EREFUSED, ...
enum peal_err pl_remote_start(struct pl_remote *remote);

// Ends the link: who waits is told PEAL_ECLOSED.
void pl_remote_end(struct pl_remote *remote);

// There is something to be sent. With the lock.
void pl_remote_wake(struct pl_remote *remote);

void pl_remote_say(const struct pl_remote *remote, enum peal_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// ---- remote_out.c -------------------------------------------------------------------------------

// Sends what can be, unless the link is at it: as pl_remote_wake, but without its thread. No lock.
void pl_remote_send(struct pl_remote *remote);

// ---- remote_wants.c -----------------------------------------------------------------------------

// The members `listen` and `unlisten` of an engine.
enum peal_err pl_remote_listen(struct pl_engine *engine, const char *pattern);
void pl_remote_unlisten(struct pl_engine *engine, const char *pattern);

// Writes what is wanted; the list has been told then, if that is sent. With the lock.
void pl_remote_pack_wants(struct pl_remote *remote, struct pl_pack *pack);

// The service knows what was last sent of it. No lock.
void pl_remote_wants_known(struct pl_remote *remote);

void pl_remote_drop_wants(struct pl_remote *remote); // nobody uses it any more

// Until the log here ends where the other one does, if it is followed.
enum peal_err pl_remote_refresh(struct pl_engine *engine);

// ---- remote_names.c -----------------------------------------------------------------------------

// A durable name that is taken.
// Verdicts by the position of their event: a service hands out some thousand again at once, and
// each is looked for.
#define PL_KEPT_LINES 256

struct pl_kept {
    struct pl_settled lines[PL_KEPT_LINES];
    uint64_t count;
};

struct pl_remote_name {
    struct pl_list link;
    uint64_t id;
    char *text;
    uint64_t epoch;      // of the connection on which it was last taken
    bool ready;          // it was taken once, and is taken again by the link
    struct pl_pack pack; // SUBSCRIBE

    struct pl_settled sent; // over this connection; SETTLED has yet to come
    struct pl_kept kept;    // done, or rejected, over one that is gone: whether it is known is not
    uint64_t asked;         // the request in which the service was asked of them; 0: none
    int64_t ask_at;         // then it is to be asked
};

// The members `take_name` and `give_name` of an engine.
enum peal_err pl_remote_take_name(struct pl_engine *engine, const struct pl_afar *afar);
void pl_remote_give_name(struct pl_engine *engine, uint64_t subscription);
void pl_remote_drop_names(struct pl_remote *remote); // nobody uses it any more

// ---- remote_settle.c ----------------------------------------------------------------------------

#define PL_REMOTE_ASK_MS 5000 // after this the service is asked once more of what was kept

// The members `settle_afar`, `settled_afar` and `save_name` of an engine.
void pl_remote_settle(struct pl_engine *engine, struct pl_settlement *settlement);
bool pl_remote_settled(struct pl_engine *engine, struct pl_settlement *settlement);
enum peal_err pl_remote_save_name(struct pl_engine *engine, const char *text);

static inline void pl_settled_init(struct pl_settled *settled)
{
    settled->first = NULL;
    settled->end = &settled->first;
}

// Sorts what others have said since; then the next to be sent, which counts as sent. NULL: none.
// With the lock.
struct pl_settlement *pl_remote_next_settlement(struct pl_remote *remote);

// A name of which the service is to be asked now, and the request for it: *given*. NULL: none. With
// the lock.
struct pl_remote_name *pl_remote_next_question(struct pl_remote *remote, struct pl_pack *out);

// Takes SETTLED; and the answer to a question: false, it is none. No lock.
void pl_remote_take_settled(struct pl_remote *remote, uint64_t subscription, uint64_t request);
bool pl_remote_take_known(struct pl_remote *remote, const struct pl_protocol_head *head,
                          const char *bytes, size_t size);

// The connection has gone, and the bus knows: what was done over it is kept. No lock.
void pl_remote_break_settlements(struct pl_remote *remote);

// The bus stops: waits until all that was said is saved, but not for long. No lock.
void pl_remote_await_settled(struct pl_remote *remote);

void pl_remote_forget_settled(struct pl_remote *remote, struct pl_remote_name *name); // of a name
void pl_remote_drop_settled(struct pl_remote *remote); // nobody uses it any more

// ---- remote_spool.c -----------------------------------------------------------------------------

enum peal_err pl_remote_publish(struct pl_engine *engine, const struct pl_departures *what,
                                struct peal_receipt *receipts);

// Waits until all that was published is answered. PEAL_EIO: it is not, and why.
enum peal_err pl_remote_flush(struct pl_remote *remote, int64_t deadline);

// The block that is to be sent next, moved to `sent`; NULL: none. With the lock.
struct pl_remote_block *pl_remote_next_block(struct pl_remote *remote);

// Takes the answer to a block. False: it is none. No lock.
bool pl_remote_block_answered(struct pl_remote *remote, const struct pl_protocol_head *head,
                              const char *bytes, size_t size);

// All that was sent is to be sent again. With the lock.
void pl_remote_repeat(struct pl_remote *remote);

// Who waits is told, and nothing is left. With the lock.
void pl_remote_drop_blocks(struct pl_remote *remote);
void pl_remote_drop_spares(struct pl_remote *remote); // nobody uses it any more

// ---- remote_call.c ------------------------------------------------------------------------------

// Makes a request, and waits for its answer: `pack` is *borrowed*, its head is written here.
// *out_answer is *given* (pl_release), all of the message. The code is the answer's.
enum peal_err pl_remote_call(struct pl_remote *remote, unsigned kind, struct pl_pack *pack,
                             char **out_answer, size_t *out_size);

// Takes the answer to a call. No lock.
void pl_remote_call_answered(struct pl_remote *remote, const struct pl_protocol_head *head,
                             const char *bytes, size_t size);

// The service has another log: who reads is told. With the lock.
void pl_remote_refuse_reads(struct pl_remote *remote);

// Those that were under way: what may be made again is; the others are told. `closing`: all are
// told. With the lock.
void pl_remote_break_calls(struct pl_remote *remote, bool closing);

// ---- remote_past.c ------------------------------------------------------------------------------

// What the log's past is read by.
enum peal_err pl_remote_read(void *context, struct pl_segment **out, uint64_t position);
uint64_t pl_remote_first(void *context);

// As `find` of an engine.
enum peal_err pl_remote_find(struct pl_engine *engine, const struct peal_query *query,
                             struct pl_findings *out);

#endif
