// SPDX-License-Identifier: MIT
//
// Local: an engine that is the log itself, in this process.
//
//     mem.c    the log and nothing else
//     file.c   the log, written behind into files (log/store.h)
//     sqlite.c the log, written behind into a database
//     http.c   a log in memory of what a service sends of its own
#ifndef PL_ENGINE_LOCAL_H
#define PL_ENGINE_LOCAL_H

#include "engine/engine.h"
#include "log/storage.h"

struct pl_store;
struct pl_remote;

// Who forgets and archives in the background (keeper.c).
struct pl_keeper {
    struct pl_mutex starting; // the thread
    struct pl_thread *thread; // NULL: nobody has needed it
    bool without;             // it could not be started, or has been stopped
    atomic_uint wanted;       // an enum wanted
    _Atomic uint64_t look_at; // when so much is written,
    _Atomic uint64_t begun;   // or another file than this was begun
};

// How old events are, by a clock that may be set. An hour ahead of the monotonic clock, all at
// once, is not believed for an hour: what is forgotten does not come back when the clock does.
struct pl_age {
    bool known;
    int64_t ahead;         // of the monotonic clock, as it was believed last
    int64_t doubted_since; // on the monotonic clock; 0: it is not doubted
    bool unsaid;           // that it is doubted
};

struct pl_local {
    struct pl_engine engine; // first: the engine is the local
    struct pl_log log;
    const char *source;
    void *memory; // what was allocated: the log in it begins at a cache line

    // Streams whose last event is at this position or behind it are in the log's state; of others
    // it may not know. Changed with the turn. 0: it knows all there are.
    _Atomic uint64_t known_from;

    // Of engines that store (stored.h).
    struct pl_storage storage;
    struct pl_types types;
    bool read_only;
    peal_log_callback *say;
    void *say_context;

    struct pl_remote *remote; // http: only

    // file: only.
    struct pl_store *store;
    struct pl_budget *reading; // of stretches of the past
    // To pick into, with a reference; NULL: there is none, or somebody has taken it.
    _Atomic(struct pl_segment *) picked;
    struct pl_mutex refreshing; // one at a time; held across I/O
    struct pl_retention retention;
    uint64_t (*unread)(void *context);
    void *unread_context;
    struct pl_mutex retaining; // who forgets, archives, mends or erases; held across I/O
    struct pl_age age;         // guarded by `retaining`
    struct pl_keeper keeper;
};

static inline struct pl_local *pl_local_of(struct pl_engine *engine)
{
    return (struct pl_local *)(void *)engine;
}

// So many streams are in the state of an engine that can look them up; then those whose last event
// is the oldest leave it.
#define PL_STREAMS_KNOWN 262144

// An engine without `ops`, with a log that is empty. PEAL_ENOMEM.
enum peal_err pl_local_create(struct pl_local **out, const struct pl_engine_config *config);
void pl_local_destroy(struct pl_local *local);

// The members `append` and `version` of an engine.
enum peal_err pl_local_append(struct pl_engine *engine, struct pl_request *requests, size_t count);
bool pl_local_version(struct pl_engine *engine, struct pl_request *request);

// ---- erase.c ------------------------------------------------------------------------------------

// Erases what the storage has; NULL: there is none.
typedef enum peal_err pl_erase_stored(struct pl_local *local, const struct pl_erasure *erasure,
                                      struct pl_erased *out);

// As `erase` of an engine.
enum peal_err pl_local_erase(struct pl_local *local, const struct pl_erasure *erasure,
                             pl_erase_stored *stored, struct pl_erased *out);

// Another part is gone where it is stored: who has read it before looks anew. Any thread.
void pl_local_erased(struct pl_local *local);

// ---- retain.c -----------------------------------------------------------------------------------

// Forgets what the retention has no use for; nothing if it says nothing, or if somebody forgets,
// archives, mends or erases. No lock. What cannot be forgotten now is tried again later, and said.
void pl_local_retain(struct pl_local *local);

// ---- archive.c ----------------------------------------------------------------------------------

// The member `archive` of file:. In the calling thread.
enum peal_err pl_local_archive(struct pl_local *local, const struct peal_archive *archive,
                               struct peal_savings *savings);

// ---- keeper.c -----------------------------------------------------------------------------------

// Has the keeper look for what may go and what is old enough, if it is time to. No lock.
void pl_keeper_note(struct pl_local *local);

// Ends it, in the middle of a file that it archives. It does not begin again. More than once is
// fine, one after the other.
void pl_keeper_stop(struct pl_local *local);

#endif
