// SPDX-License-Identifier: MIT
//
// The engines' contract: where events live, and what a bus may ask of it.
//
// A bus does everything else itself: interceptors, routing, mailboxes, retries, dead letters, order
// per key, metrics. So they mean the same on every engine. An engine gives it
//
//     a log       the events this process knows of, in order (log/log.h); the bus routes from it.
//                 For `mem:` it is the store; an engine elsewhere fills it with what comes back.
//     append      puts messages into the store
//
// What an engine cannot do stands in its capabilities; asking for it is PEAL_EUNSUPPORTED when the
// bus or the subscription is opened, never a silent difference.
//
// Every engine is a row of the table in table.c and passes tests/contract/. One whose events are a
// log in this process with something behind it brings only that: a storage (log/storage.h), and
// takes the rest from engine/stored.h. docs/guide/engines.md goes through both.
#ifndef PL_ENGINE_ENGINE_H
#define PL_ENGINE_ENGINE_H

#include "base/files.h"
#include "base/url.h"
#include "log/catalog.h"
#include "log/erasure.h"
#include "log/log.h"

#include <peal/bus.h>
#include <peal/log.h>

enum pl_capability {
    PL_CAN_DELIVER = 1, // what is published reaches subscriptions
    PL_CAN_KEEP = 2,    // events stay, for queries, replay and those who come later
    PL_CAN_EXPECT = 4,  // expected stream versions
    PL_CAN_DEDUPLICATE = 8,
    PL_CAN_STORE = 16,   // events survive the process; history options say what of them to keep
    PL_CAN_SEGMENT = 32, // in files: of segment_bytes, the oldest forgotten, and go_on in a new one
    PL_CAN_REMOTE = 64,  // a service has the log: what is published is sent, what comes is taken
    PL_CAN_INLINE = 128, // who publishes can run handlers, before publish returns
    PL_CAN_ERASE = 256,  // what the log has of a subject
};

// What the numbers of types mean that frames bear. Any thread, also one that holds a lock of a
// mailbox.
struct pl_types {
    const char *(*name)(void *context, uint32_t number); // borrowed as long as the bus
    // PL_TYPE_INSIDE: there is no memory for one more. types_max is for who publishes: what is
    // stored can be read in any case.
    uint32_t (*number)(void *context, const char *name);
    void *context;
};

struct pl_kv;
struct pl_kv_entry;
struct pl_kv_transaction;

// What of the stored events is kept; zeros: all.
struct pl_retention {
    uint64_t events, bytes, age_ms;
    bool unread_too;     // nobody holds it up
    uint64_t archive_ms; // what is older is compressed; 0: nothing
};

// Events that have come from where the log is: frames as peal_event_encode writes them, one behind
// the other, that nobody has looked at.
struct pl_arrivals {
    const char *bytes;
    size_t size;
    uint64_t next; // positions below it have been looked at there: those left out have no event
};

// One message that leaves, with all that it is to say.
struct pl_departure {
    const struct peal_message *message;
    const char *type;
    const char *source; // if the message brings none
};

struct pl_departures {
    const struct pl_departure *each;
    size_t count;
    bool together;                   // all or none
    bool may_wait;                   // for room, and to be told what came of it
    enum peal_durability durability; // of those that do not say
};

// Events that were found where the log is, a page of them.
struct pl_findings {
    struct pl_segment *segment; // *given*, one reference: a frame for each, from 0 on; NULL: none
    uint32_t count;
    uint64_t cursor; // of the last one: `after` of the next page
    bool is_last;    // there is no next page
};

// A durable name that a service keeps: who takes it here, and how.
struct pl_afar {
    uint64_t id; // of the subscription, unique on this bus
    const char *name, *pattern;
    const struct peal_subscribe_options *options;
    uint64_t window; // deliveries that may be out at a time
};

// An event for such a name.
struct pl_afar_delivery {
    uint64_t subscription, number;
    unsigned attempt;
    const char *bytes; // as peal_event_encode writes it; nobody has looked at it
    size_t size;
};

// What became of it: *given* to who sends it (pl_release).
struct pl_settlement {
    struct pl_settlement *next;
    uint64_t subscription, number; // 0: it was handed over by a connection that is gone
    uint64_t position;             // of the event
    uint64_t request;              // the engine's: in which it was sent
    enum peal_verdict verdict;
    char code[32], text[256];
};

// A call of ask.h and its answer.
struct pl_engine_call {
    unsigned kind;
    const char *bytes; // of the request, behind its head
    size_t size;
    char *answer; // *given* (pl_release): all of it, from its head on; NULL: none
    size_t answer_size;
};

struct pl_engine_config {
    const struct pl_seams *seams;
    struct pl_log_limits limits;
    struct pl_state_limits state;
    const char *source; // of messages that bring none; borrowed as long as the engine
    // For engines that store:
    const struct pl_files *files;
    struct pl_types types;
    uint64_t segment_bytes; // of a file
    bool read_only;         // another process writes
    bool go_on;             // in a new file, after a failure
    struct pl_retention retention;
    // The first position somebody has yet to read. Takes locks of the bus.
    uint64_t (*unread)(void *context);
    void *unread_context;
    uint64_t origin[2];     // what ids are made of; the engine may say it knows better
    peal_log_callback *say; // NULL: nobody listens
    void *say_context;
    // What to do with an entry of the state table that is ahead of the log (log/kv.h).
    enum peal_err (*ahead)(void *context, struct pl_kv_transaction *transaction,
                           const struct pl_kv_entry *entry, uint64_t log_end);
    void *ahead_context;
    // For engines whose log a service has:
    const char *token;    // who we are; NULL: nobody. Borrowed for the call
    uint64_t spool_bytes; // of what was published and has yet to be answered
    enum peal_pressure pressure;
    uint64_t block_ms;
    // Takes events into the log, and hands them to who wants them. PEAL_ECLOSED, PEAL_ECORRUPT,
    // PEAL_ENOMEM. One thread at a time, no lock.
    enum peal_err (*arrive)(void *context, const struct pl_arrivals *arrivals);
    void *arrive_context;
    // Events of the log below `next` that have not arrived are gone for ever: subscriptions are
    // told. The context is that of `arrive`, and so are the threads.
    void (*forgotten)(void *context, uint64_t next);
    // Hands an event to who has the name. And: what was handed over and nobody has begun with is
    // void, because it will be handed over again; what somebody has begun with has no number any
    // more, until it is. The context is that of `arrive`, and so are the threads.
    void (*deliver)(void *context, const struct pl_afar_delivery *delivery);
    void (*void_deliveries)(void *context, uint64_t subscription);
};

// One message of a batch, and what became of it.
struct pl_request {
    struct pl_append append;
    bool conditional; // has an id, a subject or an expectation
    // NULL, or whether it is not to be appended any more, of one that is conditional: said before
    // a turn by who wants it to be in the log before that turn, or never.
    const atomic_bool *withdrawn;
    // The stream's version has to be looked up first (`look`); and what came of that: the version
    // below a position. 0: it was not.
    bool unknown;
    uint64_t looked_end, looked_version;
    uint64_t looked_erasures; // what the log had counted of them before it was looked
    // Filled in:
    const struct pl_frame *frame; // NULL: a duplicate
    uint64_t position;            // the event's, or the first one's
    uint64_t version;
    int64_t recorded;
};

struct pl_engine {
    const struct pl_engine_ops *ops;
    struct pl_log *log;  // NULL: nothing is ever delivered
    struct pl_kv *state; // NULL: cursors and dead letters do not survive the process
    // What is appended to the log is published: bytes need no `append`. Until the engine says no
    // more of that; then each goes through it.
    atomic_bool log_is_store;
    uint64_t origin[2];                    // of the ids of events that were given none
    char identity[PEAL_LOG_IDENTITY_SIZE]; // as a service says it; "": it is made from the origin
    struct pl_catalog *catalog; // the indexes of what is stored; NULL: queries look at everything
};

struct pl_engine_ops {
    const char *scheme;
    unsigned capabilities;
    enum peal_durability durability; // the best it has

    // Opens the store. May block and do I/O. On failure nothing stays. PEAL_EURL with a sentence
    // for what the URL says and the engine does not understand.
    enum peal_err (*open)(struct pl_engine **out, const struct pl_url *url,
                          const struct pl_engine_config *config);

    // Appends all or none, in order, checking each condition as if the ones before had happened.
    // The caller holds log->turn, publishes the end and routes; the member must not block, call
    // back or take another lock. PEAL_ECONFLICT, PEAL_EAGAIN (memory; or some are `unknown`: look,
    // and append again), PEAL_ENOMEM, PEAL_EUNSUPPORTED: all as before, outside blocks are the
    // caller's again. NULL in an engine without a log.
    enum peal_err (*append)(struct pl_engine *engine, struct pl_request *requests, size_t count);

    // The version of the stream of a request's subject, put into `version`. With the turn. False:
    // it is unknown, and noted so. NULL without PL_CAN_EXPECT.
    bool (*version)(struct pl_engine *engine, struct pl_request *request);

    // Looks up what is unknown of the requests. May do I/O; no turn, no lock of the bus. PEAL_EIO,
    // PEAL_ENOMEM. NULL in an engine where nothing ever is.
    enum peal_err (*look)(struct pl_engine *engine, struct pl_request *requests, size_t count);

    // Returns when the events below `end`, which are published, are as safe as `level` says. May do
    // I/O; no turn, no lock. PEAL_EIO: whether they are is unknown. PEAL_ENOMEM: not yet. NULL in
    // an engine that only has memory.
    enum peal_err (*settle)(struct pl_engine *engine, uint64_t end, enum peal_durability level);

    // Returns when what is published now can be forgotten by the log's memory, as far as the store
    // is concerned: settling at `os` may keep it there a little longer. As with `settle`. NULL:
    // `settle` is enough.
    enum peal_err (*write)(struct pl_engine *engine);

    // Of one that only reads: publishes the end of what was written since. PEAL_EIO, PEAL_ENOMEM.
    // NULL in an engine that cannot be opened so.
    enum peal_err (*refresh)(struct pl_engine *engine);

    // Reads all that is stored, and tells of each damage. PEAL_EIO, PEAL_ENOMEM. NULL in an engine
    // that only has memory.
    enum peal_err (*verify)(struct pl_engine *engine, const struct peal_verify *verify,
                            struct peal_health *out);

    // Compresses complete files, and counts them. PEAL_ESTATE (stopped, or read only), PEAL_EIO,
    // PEAL_ENOMEM, PEAL_EUNSUPPORTED. NULL in an engine without files of that kind.
    enum peal_err (*archive)(struct pl_engine *engine, const struct peal_archive *archive,
                             struct peal_savings *out);

    // Fills in what there is on the disk (log_*). May ask for a file's size. NULL: nothing.
    void (*holdings)(struct pl_engine *engine, struct peal_bus_stats *out);

    // Mends what can be, and tells of it. PEAL_EIO, PEAL_ENOMEM. NULL in an engine that has no
    // files of its own.
    enum peal_err (*repair)(struct pl_engine *engine, const struct peal_repair *wanted,
                            struct peal_repaired *out);

    // Erases what the log has of a subject (log/erasure.h: `end` is said here), in memory and where
    // it is stored, and counts it. Returns when that would survive a power cut. Not what the state
    // table has. May do I/O, and take long; no turn, no lock of the bus. PEAL_ESTATE: stopped by
    // `progress`. PEAL_EIO, PEAL_ENOMEM, PEAL_EBUSY (others hold it up). NULL in an engine that
    // keeps nothing.
    enum peal_err (*erase)(struct pl_engine *engine, const struct pl_erasure *erasure,
                           struct pl_erased *out);

    // Sends what is published instead of appending it, and says what came of it. May wait, and do
    // I/O; no turn, no lock, no route. `receipts` NULL, or as many as there are messages. The codes
    // are those of peal_publish. NULL in an engine that appends.
    enum peal_err (*publish)(struct pl_engine *engine, const struct pl_departures *what,
                             struct peal_receipt *receipts);

    // From now on what is published and matches the pattern arrives; it is canonical, and *copied*.
    // As above. Returns when the log ends where it did when it was called, or behind; below that it
    // may lack such events, and the past has them. NULL with `publish` NULL. And: one who listened
    // does so no more; each calls it once for each that succeeded.
    enum peal_err (*listen)(struct pl_engine *engine, const char *pattern);
    void (*unlisten)(struct pl_engine *engine, const char *pattern);

    // Looks for events where the log is: the query without its filter. As above.
    enum peal_err (*find)(struct pl_engine *engine, const struct peal_query *query,
                          struct pl_findings *out);

    // Makes a call where the log is. The code is the call's own. As above.
    enum peal_err (*call)(struct pl_engine *engine, struct pl_engine_call *call);

    // Takes a durable name, and gives it back: deliveries that are out are given to others then. As
    // above; the codes are those of peal_subscribe.
    enum peal_err (*take_name)(struct pl_engine *engine, const struct pl_afar *afar);
    void (*give_name)(struct pl_engine *engine, uint64_t subscription);

    // Says what became of a delivery. Any thread, with any lock.
    void (*settle_afar)(struct pl_engine *engine, struct pl_settlement *settlement);

    // An event is handed over, nobody has it in hand: was it settled already, and the service does
    // not know? True: it is told once more, and *takes* the settlement. In `deliver`, no lock.
    bool (*settled_afar)(struct pl_engine *engine, struct pl_settlement *settlement);

    // Waits until the service has saved all that was settled of a name. May wait, and do I/O; no
    // lock. The codes are those of peal_name_save.
    enum peal_err (*save_name)(struct pl_engine *engine, const char *name);

    // Nothing arrives any more, and no call is made. The bus stops. NULL: there is nothing to stop.
    void (*stop)(struct pl_engine *engine);

    // Closes; the bus has stopped. Frees the engine. NULL is fine.
    void (*close)(struct pl_engine *engine);
};

extern const struct pl_engine_ops pl_engine_noop;
extern const struct pl_engine_ops pl_engine_mem;
extern const struct pl_engine_ops pl_engine_file;
extern const struct pl_engine_ops pl_engine_sqlite; // where it is built: PEAL_SQLITE
extern const struct pl_engine_ops pl_engine_http;

// The engine of a scheme, or NULL. And all of them for a sentence: "noop:, mem:".
const struct pl_engine_ops *pl_engine_find(const char *scheme);
const char *pl_engine_schemes(void);

#endif
