// SPDX-License-Identifier: MIT
//
// Event sourcing: the state is what the events say.
//
//     command ─► decide ─► append (expected version) ─► log ═══════════════════════════════►
//     readers
//                  ▲                                     │ │
//                  │                newest snapshot ◄────┘ └────► projection ─► your read model
//                  │                      │
//                  └───── aggregate ◄─────┴─ the events after it
//
// A **stream** is the events of one subject; the log counts their versions from 1. Two writers that
// both read version 7 cannot both write version 8: an append says which version it expects.
//
// An **aggregate** is a state, a function that applies an event to it, and the version of that
// function, the *reducer*. It is loaded from its newest **snapshot** and the events after that. A
// snapshot is an event like others, of the system's type `$peal.snapshot`, so it survives what the
// log survives; one that another version of the reducer has made is left alone.
//
// A **projection** is a durable subscription from the beginning, with a state of yours that it
// fills. It can be rebuilt beside the one that serves, and takes its place when it has caught up.
//
// An **upcaster** makes an event of today of one that was written in an old form, when it is read.
// The log keeps the original.
//
//     struct peal_aggregate_type account = {
//         .name = "account", .version = 1, .state_size = sizeof(struct account),
//         .apply = on_event, .snapshot_every = 1000,
//     };
//     peal_aggregate_load(&aggregate, bus, &account, "account-7");
//     peal_aggregate_execute(aggregate, 0, withdraw, &amount);
//     peal_aggregate_close(aggregate);
//
// Needs a bus that keeps events; elsewhere all of it is PEAL_EUNSUPPORTED. On `mem:` a stream is as
// long as the history: see history_events, history_bytes and memory_max in bus.h.
//
// Threads: the functions that take a bus or a projection, any; an aggregate and a stream belong to
// one thread at a time.
#ifndef PEAL_SOURCING_H
#define PEAL_SOURCING_H

#include <peal/log.h>

// A C++ compiler would say that functions here hide the constructors of structs of their names.
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct peal_stream peal_stream;
typedef struct peal_aggregate peal_aggregate;
typedef struct peal_projection peal_projection;
typedef struct peal_upcast peal_upcast;

// ---- streams ------------------------------------------------------------------------------------

// Events for one stream. All of it is borrowed for the call.
struct peal_append {
    const char *subject;     // the stream
    enum peal_expect expect; // of the stream before the first event; the others follow it
    uint64_t expected_version;
    // Their `subject` may be NULL; `expect` and `deliver_at_ns` are 0.
    const struct peal_message *messages;
    size_t count;                  // at least 1
    struct peal_receipt *receipts; // NULL, or an array of `count`
};

// What came of it.
struct peal_appended {
    uint64_t version;  // the stream's, with these events; on a conflict the one it is at
    uint64_t position; // of the last event; 0 on a conflict
    size_t duplicates; // messages that were known already, and left out
};

// Appends to a stream, all or none. PEAL_ECONFLICT: the stream is not as expected, nothing has
// changed, and `out` says at which version it is, unlike other results of calls that fail. An
// append that was made before, with ids, succeeds and changes nothing; one of which only a part is
// known is a conflict, if it expects a version. `out` may be NULL. The errors are those of
// peal_publish_batch; PEAL_EUNSUPPORTED on a bus that keeps nothing.
PEAL_API enum peal_err peal_stream_append(struct peal_appended *out, peal_bus *bus,
                                          const struct peal_append *append);

// To several streams, all or none. `out` is NULL or an array of `count`. On PEAL_ECONFLICT it says
// of each at which version it is: those that differ from what was expected are the reason.
PEAL_API enum peal_err peal_stream_append_all(struct peal_appended *out, peal_bus *bus,
                                              const struct peal_append *appends, size_t count);

// Which events of a stream to read. Zero and NULL mean "any".
struct peal_stream_query {
    const char *subject;
    uint64_t from_version; // the first to be read; backwards: the newest to be read
    bool backwards;        // newest first
    uint64_t limit;        // events at most
    uint64_t after;        // the cursor of a page before: goes on behind it
};

// Opens a stream for reading, as it is now; the query is *copied*. A stream without events is
// empty, and no error. The errors are those of peal_reader_open.
PEAL_API enum peal_err peal_stream_open(peal_stream **out, peal_bus *bus,
                                        const struct peal_stream_query *query);

// The next event, borrowed until the next call on this stream. PEAL_ENOTFOUND at the end. What has
// been forgotten is a hole in the versions. The errors are those of peal_reader_next.
PEAL_API enum peal_err peal_stream_next(const peal_event **out, peal_stream *stream);

// The cursor behind the last event given: `after` of the next page. 0 before the first.
PEAL_API uint64_t peal_stream_cursor(const peal_stream *stream);
PEAL_API void peal_stream_close(peal_stream *stream); // NULL is fine; before the bus

// ---- aggregates ---------------------------------------------------------------------------------

#define PEAL_AGGREGATE_NAME_MAX    64  // bytes of an aggregate's name
#define PEAL_AGGREGATE_SUBJECT_MAX 949 // bytes of its subject: the two fit a snapshot's subject
#define PEAL_SNAPSHOTS_TRIED       4   // newest ones that a load looks at, until one is usable
#define PEAL_ATTEMPTS_DEFAULT      10  // of peal_aggregate_execute

// Applies an event to the state. Anything but PEAL_OK ends the load, and is what it returns. Types
// it does not know it should pass over.
typedef enum peal_err peal_apply(void *state, const peal_event *event, void *context);

// What an aggregate is. Fill it in once; it and what it points to are borrowed until the last
// aggregate of it is closed.
struct peal_aggregate_type {
    size_t struct_size; // sizeof(struct peal_aggregate_type), or 0 for that of this header
    const char *name;   // letters, digits, '.', '_' and '-'
    uint32_t version;   // of the reducer: another one whenever `apply` or the state changes
    size_t state_size;  // bytes of the state, which begins as zeros
    peal_apply *apply;

    // All below may be NULL or 0.
    enum peal_err (*init)(void *state, const char *subject, void *context); // after the zeros
    void (*finish)(void *state, void *context); // frees what the state holds
    void *context;                              // of all these functions; borrowed

    uint64_t snapshot_every; // events of a stream; 0: only when asked for

    // The state as bytes, and back. Without them a snapshot is the bytes of the state as they lie
    // in memory, so it must hold no pointer. `save` is like snprintf: it writes nothing unless all
    // fits, and returns the bytes needed; SIZE_MAX: it cannot. `restore` is given a state that has
    // just begun; anything but PEAL_OK says that the bytes cannot be read.
    size_t (*save)(const void *state, void *out, size_t size, void *context);
    enum peal_err (*restore)(void *state, const void *bytes, size_t size, void *context);
};

// Loads the aggregate of a stream: its newest usable snapshot, and the events after it. A stream
// without events gives a state that has just begun, at version 0. PEAL_EINVAL, PEAL_ELIMIT,
// PEAL_ENOMEM, PEAL_ECLOSED, PEAL_EUNSUPPORTED; PEAL_ENOTFOUND: events of it have been forgotten
// and no snapshot stands for them; PEAL_ECORRUPT: one is damaged, and none stands for it; PEAL_EIO;
// and what `init`, `apply` and upcasters return.
PEAL_API enum peal_err peal_aggregate_load(peal_aggregate **out, peal_bus *bus,
                                           const struct peal_aggregate_type *type,
                                           const char *subject);

// Borrowed until the next call that loads, refreshes, appends or closes.
PEAL_API const void *peal_aggregate_state(const peal_aggregate *aggregate);
PEAL_API uint64_t peal_aggregate_version(const peal_aggregate *aggregate); // 0: no events
PEAL_API const char *peal_aggregate_subject(const peal_aggregate *aggregate);

// Applies what was appended since. The errors are those of peal_aggregate_load; after one of
// `apply` the state is not to be used, and the next refresh begins anew.
PEAL_API enum peal_err peal_aggregate_refresh(peal_aggregate *aggregate);

// Appends to its stream, at the version it is at, and applies. PEAL_ECONFLICT: somebody else has
// appended, and nothing has changed but `out`, as in peal_stream_append; refresh, and decide anew.
// PEAL_OK: the events are in the log. If they could not be applied, for want of memory or because
// `apply` refused, that is reported to the log callback, the aggregate's version stays below that
// in `out` (which may be NULL), and the next refresh tries again. PEAL_ESTATE: a refresh before has
// failed. Takes a snapshot when a multiple of `snapshot_every` was passed; if that fails, it is
// counted and reported, and the append is what it is.
PEAL_API enum peal_err peal_aggregate_append(struct peal_appended *out, peal_aggregate *aggregate,
                                             const struct peal_message *messages, size_t count);

// Looks at the state, decides, appends with peal_aggregate_append, and returns what that returned.
// One that has nothing to append, or refuses, returns so.
typedef enum peal_err peal_command(peal_aggregate *aggregate, void *context);

// Runs a command on the state as it is now; after a conflict again, on the new state, `attempts`
// times in all (0: PEAL_ATTEMPTS_DEFAULT). PEAL_ECONFLICT when they are spent; else what the
// command or the refresh returned.
PEAL_API enum peal_err peal_aggregate_execute(peal_aggregate *aggregate, unsigned attempts,
                                              peal_command *command, void *context);

// Takes a snapshot now, of the state as it is. PEAL_ESTATE at version 0, or until a refresh when
// one has failed or something was erased (peal_log_erase). PEAL_ELIMIT: larger than the bus's
// data_max. PEAL_EINVAL: `save` cannot. The errors of peal_publish.
PEAL_API enum peal_err peal_aggregate_snapshot(peal_aggregate *aggregate);

// What became of it so far.
struct peal_aggregate_stats {
    uint64_t applied;           // events, in loads, refreshes and appends
    uint64_t snapshot_version;  // the stream's, of the snapshot last loaded or taken; 0: none
    uint64_t snapshots_taken;   //
    uint64_t snapshots_failed;  // could not be taken
    uint64_t snapshots_ignored; // could not be read, or did not belong to the stream as it is
    uint64_t snapshots_foreign; // made by another version of the reducer
    uint64_t conflicts;         // met by appends
};
PEAL_API enum peal_err peal_aggregate_stats(struct peal_aggregate_stats *out,
                                            const peal_aggregate *aggregate);

PEAL_API void peal_aggregate_close(peal_aggregate *aggregate); // NULL is fine; before the bus

// ---- projections --------------------------------------------------------------------------------

#define PEAL_PROJECTION_NAME_MAX 100 // bytes of a projection's name

// A **generation** is one filling of the state, from the first event on. Its durable name is
// `name@generation`, so its place in the log is kept like that of any durable subscription.
struct peal_projection_options {
    size_t struct_size;    // sizeof(struct peal_projection_options), or 0 for that of this header
    const char *name;      // without '@'. *Copied*
    const char *pattern;   // which events
    peal_handler *handler; // its context is the state. One event at a time
    void *context;         // of the two below; borrowed

    // Makes the state of a generation, and ends it when nobody uses it any more. Without `create`
    // the state is `context`, for every generation. Anything but PEAL_OK fails the call.
    enum peal_err (*create)(void **state, uint64_t generation, void *context);
    void (*destroy)(void *state, uint64_t generation, void *context);

    // Nobody will ask for this generation again, and no process after this one: what is kept of it
    // elsewhere may go. After `destroy`, where there was a state. A crash may swallow the call.
    void (*forget)(uint64_t generation, void *context);

    // The state outlives the projection (in a database, say): it goes on with the generation it
    // had, where that was. Else it begins anew, with another generation, each time it is opened.
    bool durable;
    struct peal_retry retry; // of the subscription; see bus.h
    enum peal_spent spent;
    const char *label;
};

// Opens a projection: events up to now and all to come go to the handler, in workers or by whoever
// drives the bus. What it loses because the log forgot it comes as a `$peal.gap`. PEAL_EINVAL,
// PEAL_ELIMIT, PEAL_EPATTERN, PEAL_ENOMEM, PEAL_ECLOSED, PEAL_EUNSUPPORTED, PEAL_EEXISTS (it is
// open already; or a durable one had another pattern or other options: give the new one another
// name), PEAL_EIO, and what `create` returns.
PEAL_API enum peal_err peal_projection_open(peal_projection **out, peal_bus *bus,
                                            const struct peal_projection_options *options);

// Fills a new generation beside the one that serves, from the beginning of what is kept. Once it is
// near, the other one is paused; and when it has seen all that the other one has, it takes its
// place in one step, and the other one is ended. An event that its handler failed has been seen.
// PEAL_ESTATE while one is being built; else the errors of peal_projection_open.
PEAL_API enum peal_err peal_projection_rebuild(peal_projection *projection);

// Gives up the generation being built. PEAL_ENOTFOUND if there is none.
PEAL_API enum peal_err peal_projection_cancel(peal_projection *projection);

// Waits until no generation is being built. PEAL_ETIMEDOUT; PEAL_EAGAIN inside a handler, which may
// not wait; PEAL_ESTATE on a bus without workers, which somebody has to drive meanwhile.
PEAL_API enum peal_err peal_projection_wait(peal_projection *projection, uint64_t timeout_ms);

// The state of the generation that serves, and its number: *shared* until that is released, and not
// destroyed before, also when another generation takes its place. The handler may be changing it
// meanwhile: what both touch is yours to lock.
PEAL_API enum peal_err peal_projection_acquire(void **out, uint64_t *generation,
                                               peal_projection *projection);
PEAL_API void peal_projection_release(peal_projection *projection, uint64_t generation);

struct peal_projection_progress {
    uint64_t generation; // that serves
    uint64_t position;   // the last event its handler was given; 0: none yet
    uint64_t lag;        // events of the log it has yet to look at
    uint64_t building;   // the generation being built; 0: none
    uint64_t building_position;
    uint64_t building_lag;
    uint64_t last_position; // of the log
};
PEAL_API enum peal_err peal_projection_progress(struct peal_projection_progress *out,
                                                peal_projection *projection);

// Closes it. Returns when no handler of it runs any more. The name of a durable one keeps its
// place. Every acquired state has been released. NULL is fine; before the bus, and not in a handler
// of it, where it does nothing.
PEAL_API void peal_projection_close(peal_projection *projection);

// ---- upcasters ----------------------------------------------------------------------------------

#define PEAL_UPCASTS_MAX 64 // upcasters one event may pass; more would be a ring

// Makes an event one form newer: looks at it, and sets its schema or its type, and what else is
// new. Anything but PEAL_OK is a failure. Any thread, several at a time; must not publish.
typedef enum peal_err peal_upcaster(peal_upcast *upcast, void *context);

PEAL_API const peal_event *peal_upcast_event(const peal_upcast *upcast); // as it comes
// The value is *copied*. PEAL_EINVAL, PEAL_ETYPE, PEAL_ELIMIT, PEAL_ENOMEM.
PEAL_API enum peal_err peal_upcast_set_type(peal_upcast *upcast, const char *type);
PEAL_API enum peal_err peal_upcast_set_schema(peal_upcast *upcast, const char *schema);
PEAL_API enum peal_err peal_upcast_set_data(peal_upcast *upcast, const void *data, size_t size);

struct peal_upcast_rule {
    const char *type;   // exactly this; *copied*
    const char *schema; // the event's schema, or if it has none its metadata "dataversion"; NULL or
                        // "": events that have neither. *Copied*
    peal_upcaster *upcaster;
    void *context; // borrowed until the bus closes
    bool lenient;  // when it fails, the event is given as it was before; else see below
};

// From now on events of this form are made newer whenever they are read: by peal_reader, replay,
// streams and aggregates, and by handlers of any subscription but batch handlers and pull. Patterns
// and filters see what the log has. Rules follow each other until none applies. Where one fails,
// and is not lenient: a read returns the error, and the next call goes on behind the event; a
// delivery is rejected, with the reason "upcast", and lies among the dead letters until it can be
// retried. PEAL_EEXISTS: there is a rule for that type and schema. PEAL_EINVAL, PEAL_ETYPE,
// PEAL_ELIMIT, PEAL_ENOMEM, PEAL_ECLOSED.
PEAL_API enum peal_err peal_bus_upcast(peal_bus *bus, const struct peal_upcast_rule *rule);

// The newest form of an event somebody has in hand: in a batch, a delivery, a dead letter.
// *Shared*: peal_event_unref. Without a rule for it, a reference to the event as it is.
PEAL_API enum peal_err peal_event_upcast(const peal_event **out, peal_bus *bus,
                                         const peal_event *event);

struct peal_upcast_stats {
    uint64_t rules;
    uint64_t upcast;  // events that were given in a newer form
    uint64_t failed;  // times an upcaster failed
    uint64_t lenient; // of those: given as they were before
};
PEAL_API enum peal_err peal_upcast_stats(struct peal_upcast_stats *out, peal_bus *bus);

#ifdef __cplusplus
}
#endif

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#endif
