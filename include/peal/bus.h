// SPDX-License-Identifier: MIT
//
// The bus: publish events, subscribe to them. Read this header first.
//
//     peal_bus *bus;
//     peal_bus_open(&bus, "mem:", NULL);
//     peal_subscribe(&sub, bus, "training.*", NULL, on_training, NULL);
//     peal_emit(bus, "training.started", "{\"run\":7}", 9);
//     peal_bus_close(bus);
//
// One idea carries it: **a log with ears**. Publishing appends an immutable event to a log.
// Subscriptions are cursors on that log:
//
//     publisher ─► interceptors ─► log ─► inline handlers     in the publishing thread
//                                   └───► mailboxes ─► workers ─► filter ─► middleware ─► handler
//                                                                    │
//                                  done ◄── retry (backoff) ◄── verdict ──► dead letters
//
// A URL says where events live. Today: `noop:` (every publish succeeds, nothing is kept, nobody
// hears), `mem:` (this process, bounded memory), `file:./events` (the same, with every event kept
// in files of that directory, which is made if it is not there) and, where it was built in,
// `sqlite:./events.db` (the same in a SQLite database). Parameters of the URL are the options below
// by their names: `mem:?workers=2&history_events=1000`. There, a zero means what it says.
//
// Guarantees
// - Events of one key reach a worker subscription in log order, one at a time. A retry holds back
//   its own key and no other.
// - Within a run, every event is settled exactly once by every subscription that matches it, unless
//   the subscription asked to lose events; then it is told of each loss (`$peal.gap`).
// - Inline handlers run before publish returns, in the publishing thread. Events of one publishing
//   thread reach them in order; several publishing threads run them at the same time.
// - No lock is held while your code runs. You may call any function of this header from a handler,
//   except those that say otherwise; none of them blocks there: they return PEAL_EAGAIN.
//
// Threads: every function may be called by any thread at any time, except peal_bus_close.
// Memory: what you pass in is borrowed for the call unless it says otherwise.
// Results go first and are called `out`; a result nobody needs to ask for comes last and may be
// NULL.
#ifndef PEAL_BUS_H
#define PEAL_BUS_H

#include <peal/event.h>

// A C++ compiler would say that functions here hide the constructors of structs of their names.
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct peal_subscription peal_subscription;
typedef struct peal_delivery peal_delivery;
struct peal_world; // see testing.h

// ---- opening and closing ------------------------------------------------------------------------

enum peal_level { PEAL_LEVEL_DEBUG = 0, PEAL_LEVEL_INFO, PEAL_LEVEL_WARNING, PEAL_LEVEL_ERROR };

// Told what a person should know; runs on whatever thread found out, with no lock held. `text` is
// one line without its end, borrowed for the call. It must not call the bus.
typedef void peal_log_callback(enum peal_level level, const char *text, void *context);

// What a publisher meets when the memory is full of events somebody has yet to read.
enum peal_pressure {
    PEAL_PRESSURE_BLOCK = 0, // wait up to `block_ms`, then PEAL_ETIMEDOUT; in a handler PEAL_EAGAIN
    PEAL_PRESSURE_REJECT,    // PEAL_EAGAIN
    PEAL_PRESSURE_DROP_OLDEST, // forget the oldest; who had not read it gets a `$peal.gap`
};

// The caller drives the bus: no thread is started. See peal_bus_run.
#define PEAL_NO_WORKERS (-1)

// None of these: for options where 0 is the default. In a URL they are 0, or "none".
#define PEAL_NO_HISTORY      UINT64_MAX
#define PEAL_NO_DUPLICATES   UINT64_MAX
#define PEAL_NO_DEAD_LETTERS UINT64_MAX
#define PEAL_NO_SCHEDULE     UINT64_MAX

// Zero is the default everywhere. New members are only ever added at the end.
struct peal_bus_options {
    size_t struct_size; // sizeof(struct peal_bus_options), or 0 for that of this header
    const char *source; // the `source` of events that bring none, not empty; default "/peal"
    int workers;        // threads that run handlers; 0: one a CPU; PEAL_NO_WORKERS: none

    // What is kept for those who come later, at most. PEAL_NO_HISTORY in any of the three: nothing.
    // `file:` keeps everything unless told, forgets whole files, and never what an open reader, a
    // subscription or a durable name has yet to read (see `forget_unread`); PEAL_NO_HISTORY is
    // PEAL_EUNSUPPORTED there.
    uint64_t history_events; // default 1,000,000
    uint64_t history_bytes;  // default 8 MiB; a whole segment (256 KiB) is forgotten at a time
    uint64_t history_ms;     // age; default: any

    uint64_t memory_max;         // bytes of all events, read or not; default 64 MiB
    enum peal_pressure pressure; // when memory_max is reached; `file:` drops nothing
    uint64_t block_ms;           // default 5,000; not to wait is PEAL_PRESSURE_REJECT

    uint64_t data_max;          // bytes of data of an event; default 1 MiB, at most 64 MiB
    uint64_t types_max;         // different types that are published; default 1,000,000
    uint64_t subscriptions_max; // default 10,000,000

    // How many ids given by publishers are remembered, and for how long. PEAL_NO_DUPLICATES in one
    // of the two: no duplicate is recognised.
    uint64_t duplicate_events; // default 65,536
    uint64_t duplicate_ms;     // default 600,000

    // Dead letters kept; default 10,000. When there are so many, a subscription that would add one
    // pauses. PEAL_NO_DEAD_LETTERS: there is room for none, and it pauses at the first.
    uint64_t dead_max;
    uint64_t dead_ms; // age at which peal_dead_purge drops them by default; default 30 days

    peal_log_callback *log; // default: silence
    void *log_context;

    struct peal_world *world; // a test's time, files, memory, chance and threads; see testing.h

    // Of `file:` and `sqlite:`; on `mem:` PEAL_EUNSUPPORTED, but for PEAL_DURABILITY_MEMORY.
    // How durable an event is when its publish returns, unless its message says otherwise; default
    // PEAL_DURABILITY_OS. What peal_emit publishes is written within 100 ms.
    enum peal_durability durability;
    uint64_t segment_bytes; // of a file, `file:` only; default 64 MiB, 64 KiB to 1 GiB

    // Events that wait for their time (schedule.h), and the memory they take, besides memory_max.
    // PEAL_NO_SCHEDULE: none may.
    uint64_t scheduled_max;   // default 100,000
    uint64_t scheduled_bytes; // default 64 MiB

    // Of `file:` and `sqlite:`. Look at a log that another process may be writing: nothing can be
    // published or subscribed to (PEAL_EUNSUPPORTED), nothing is changed. Who opens a reader, or
    // asks for statistics or a stream's version, sees what has been written until then: what is
    // published at PEAL_DURABILITY_OS, within 10 ms; of a process that was killed, the last events
    // when the log has been opened to write.
    bool read_only;
    // Of `file:` only. After a write or a sync that failed: go on in a new file, behind every
    // position that was given. Who waited for the failed one is told PEAL_EIO all the same.
    // Default: take nothing more.
    bool go_on;
    // Of `file:` only. Forget also what durable names have yet to read that nobody is subscribed to
    // now, and what subscriptions have: they are told of it by `$peal.gap`.
    bool forget_unread;

    // Of `file:` and `sqlite:`, with `read_only`. What would change something is asked of the
    // process that has the log, which does it as if its own code had called: peal_publish and
    // peal_publish_batch (and what appends by them), peal_log_erase and peal_log_archive, retrying,
    // editing and discarding dead letters, cancelling what is scheduled, and what the functions of
    // durable names do (peal_name_pause, ...). PEAL_EUNSUPPORTED: nobody has the log, or who has it
    // takes no requests; PEAL_ETIMEDOUT, PEAL_EIO: whether it was done is unknown. What statistics
    // and the list of durable names say is also asked, where somebody answers.
    bool ask_owner;
    // Of `file:` and `sqlite:`. Take no requests of other processes. Else a bus that has workers
    // keeps one thread more that sleeps until somebody asks (ask_owner, the program `peal`), by a
    // socket of no file and no port; only processes of the same user, and root's, are answered.
    bool no_requests;
    // Of `file:` only. Complete files whose events are all older than this are compressed in the
    // background, while others are published, and read as before (peal_log_archive). Default: none.
    uint64_t archive_ms;

    // Of `http:` only. Who we are: sent as `Authorization: Bearer`. *Copied*. Default: nobody.
    const char *token;
    // Of `http:` only. Bytes of what was published and the service has yet to answer: as much waits
    // while it cannot be reached. Then `pressure` decides. Default 16 MiB.
    uint64_t spool_bytes;
};

// Opens a bus. PEAL_EURL (unknown scheme or parameter), PEAL_EINVAL, PEAL_EUNSUPPORTED (an option
// the engine does not have), PEAL_ENOMEM. Of `file:` and `sqlite:` also PEAL_EBUSY (another process
// writes to that log), PEAL_ECORRUPT (the directory is no log, or not one log), PEAL_EUNSUPPORTED
// (a log of a later version), PEAL_EIO (permissions, a full disk, ...: the sentence says). What
// recovery has cut or found damaged goes to the log callback.
PEAL_API enum peal_err peal_bus_open(peal_bus **out, const char *url,
                                     const struct peal_bus_options *options);

// Says what peal_bus_open would say of a URL and options before it opens anything: the same codes
// and sentences, and PEAL_OK where it would go on. Nothing is looked for or made; so whether there
// is such a directory, or a service, only opening tells. For who reads a configuration.
PEAL_API enum peal_err peal_bus_check(const char *url, const struct peal_bus_options *options);

// What was left when the bus stopped.
struct peal_leftover {
    uint64_t undelivered; // events waiting for a subscription, each counted for each
    uint64_t retrying;    // of those: waiting for their next attempt
    uint64_t unsettled;   // given to a handler that said PEAL_LATER or pulled, never settled
    uint64_t running;     // handlers still running (and waited for)
    uint64_t scheduled;   // events whose time has not come (schedule.h)
};

// Stops accepting, lets handlers finish what is waiting for at most `deadline_ms`, stops the
// workers, and makes durable what was published, and where durable names are. From then on nothing
// of the bus runs, and every call returns PEAL_ECLOSED but those that look or give back:
// statistics, readers and deliveries that are open, unsubscribing. PEAL_OK even if events were
// left: see `out` (may be NULL). PEAL_ESTATE from inside a handler. PEAL_EIO: stopped, but what was
// published or settled last may not be in the files. Idempotent.
PEAL_API enum peal_err peal_bus_stop(peal_bus *bus, uint64_t deadline_ms,
                                     struct peal_leftover *out);

// Stops the bus if that was not done (with 5 s to drain) and frees it, its topics and
// subscriptions. No other thread may be using the bus. Events kept by peal_event_ref stay valid;
// so do deliveries that are out: their event can be read until they are settled, which is
// PEAL_ETIMEDOUT from then on. NULL is fine.
PEAL_API void peal_bus_close(peal_bus *bus);

// ---- publishing ---------------------------------------------------------------------------------

// Publishes one event, and returns when it is as durable as the message or the bus asks; who is
// subscribed may see it before that. `receipt` may be NULL. The order of checks is the order of
// this list: PEAL_EINVAL, PEAL_ECLOSED, PEAL_ETYPE (also one that begins with `$peal.`: the
// system's own), PEAL_ELIMIT, PEAL_ELOOP, PEAL_EUNSUPPORTED (a durability the engine does not
// have), PEAL_EREFUSED, PEAL_ECONFLICT, PEAL_EAGAIN, PEAL_ETIMEDOUT, PEAL_ENOMEM. PEAL_EIO: it
// could not be written or synced; whether it is in the log when that is next opened is unknown, and
// until then nothing more is taken; but if the disk was full, from when it has room.
// A message with a time to come waits for it (schedule.h): PEAL_ELIMIT if too many do, or it is too
// far ahead.
PEAL_API enum peal_err peal_publish(peal_bus *bus, const struct peal_message *message,
                                    struct peal_receipt *receipt);

// All or none, with consecutive positions. `receipts` is NULL or an array of `count`. A message
// that is a duplicate is left out of the log and marked so. One that fails may have had as many of
// the oldest ids forgotten that duplicates are known by, and history if memory_max was reached.
PEAL_API enum peal_err peal_publish_batch(peal_bus *bus, const struct peal_message *messages,
                                          size_t count, struct peal_receipt *receipts);

// Returns when all that was published before the call, by anybody, is as durable as that, so also
// what was published by who did not wait for it; PEAL_DURABILITY_DEFAULT: as the bus says. May wait
// for a disk. PEAL_EINVAL, PEAL_ECLOSED, PEAL_EUNSUPPORTED (a durability the engine does not have,
// or a log that is only read), PEAL_EIO, PEAL_ENOMEM.
PEAL_API enum peal_err peal_bus_settle(peal_bus *bus, enum peal_durability level);

// For code that must not care: cannot fail and does not wait, neither for readers nor for a disk:
// on `file:` the event is PEAL_DURABILITY_MEMORY. What is lost is counted (`emit_lost`) and
// reported to the log callback, with the reason, at most once a second.
PEAL_API void peal_emit(peal_bus *bus, const char *type, const void *data, size_t size);

// A type looked up once: publishing by it saves the look-up. *Borrowed* until the bus closes.
// PEAL_ETYPE, PEAL_ELIMIT, PEAL_ENOMEM.
PEAL_API enum peal_err peal_topic_open(const peal_topic **out, peal_bus *bus, const char *type);
PEAL_API enum peal_err peal_topic_publish(const peal_topic *topic, const void *data, size_t size);
PEAL_API const char *peal_topic_type(const peal_topic *topic);

// Does anybody listen to this type, or keep it? So that an expensive payload need not be built.
PEAL_API bool peal_wants(peal_bus *bus, const char *type);
PEAL_API bool peal_topic_wants(const peal_topic *topic);

// The version of a subject's stream: how many events it has; 0 if none. `mem:` knows the subjects
// that still have an event in its history, `file:` all. PEAL_EUNSUPPORTED where nothing is kept.
PEAL_API enum peal_err peal_stream_version(uint64_t *out, peal_bus *bus, const char *subject);

// ---- interceptors: between the publisher and the log --------------------------------------------

// The message on its way: read it like an event, change it with the functions below.
typedef struct peal_draft peal_draft;

// Runs in the publishing thread, higher priority first, then in the order added. PEAL_OK lets the
// event pass; anything else refuses it, and the publish returns that code. PEAL_EREFUSED is the
// usual one; `peal_draft_refuse` adds the sentence.
typedef enum peal_err peal_interceptor(peal_draft *draft, void *context);

PEAL_API const peal_event *peal_draft_event(const peal_draft *draft); // as it is now
// Change an attribute: the value is *copied*. PEAL_EINVAL, PEAL_ELIMIT, PEAL_ENOMEM.
PEAL_API enum peal_err peal_draft_set_metadata(peal_draft *draft, const char *name,
                                               const char *value);
PEAL_API enum peal_err peal_draft_set_data(peal_draft *draft, const void *data, size_t size);
PEAL_API enum peal_err peal_draft_set_subject(peal_draft *draft, const char *subject);
PEAL_API enum peal_err peal_draft_set_key(peal_draft *draft, const char *key);
PEAL_API enum peal_err peal_draft_set_correlation(peal_draft *draft, const char *correlation);
PEAL_API enum peal_err peal_draft_set_schema(peal_draft *draft, const char *schema);
PEAL_API enum peal_err peal_draft_set_priority(peal_draft *draft, int priority); // 0 to 9
// Returns PEAL_EREFUSED, with a sentence of yours: `return peal_draft_refuse(draft, "no user id");`
PEAL_API enum peal_err peal_draft_refuse(peal_draft *draft, const char *why);

// Adds an interceptor for the types a pattern matches. It stays until the bus closes.
PEAL_API enum peal_err peal_bus_intercept(peal_bus *bus, const char *pattern, int priority,
                                          peal_interceptor *interceptor, void *context);

// ---- subscribing --------------------------------------------------------------------------------

// What a handler says of an event.
enum peal_verdict {
    PEAL_DONE = 0, // handled
    PEAL_RETRY,    // failed: again, after a backoff; counts as an attempt
    PEAL_RELEASE,  // not now: give it back; does not count
    PEAL_REJECT,   // will never work: to the dead letters now
    PEAL_LATER,    // will be settled through a delivery taken with peal_delivery_take
};

typedef enum peal_verdict peal_handler(const peal_event *event, void *context);

// Gets up to `batch_max` events; `verdicts` comes filled with PEAL_DONE. Events of one key stand in
// order; a verdict settles its own event.
typedef void peal_batch_handler(const peal_event *const *events, size_t count,
                                enum peal_verdict *verdicts, void *context);

// Inside a batch handler: what it publishes from here on is because of this event of its batch.
// Until it says so, it is because of the first one, come as many causal hops as any of the batch
// has. Ignored elsewhere, and of an event that this thread's handler was not given.
PEAL_API void peal_handling(const peal_event *event);

// Does the subscription want this event? Must be quick, must not call the bus.
typedef bool peal_filter(const peal_event *event, void *context);

enum peal_mode {
    PEAL_WORKER = 0, // a worker runs the handler (or whoever drives the bus)
    PEAL_INLINE,     // the publisher runs it, before publish returns; not on `http:`
    PEAL_PULL,       // nobody runs it: peal_subscription_pull
};

enum peal_start {
    PEAL_FROM_NOW = 0,
    PEAL_FROM_BEGINNING, // of what is kept
    PEAL_FROM_POSITION,  // `from_position`; what is gone of it is a gap; at most the next one
    PEAL_FROM_TIME,      // the first event recorded at or after `from_time_ns`, which has come
};

enum peal_order {
    PEAL_ORDER_KEY = 0, // events of one key in order, one at a time
    PEAL_ORDER_NONE,    // as they come; only with concurrency above 1 is there a difference
};

// When the mailbox is full. Of PEAL_LATEST_PER_KEY: one that takes the place of an older one has
// its own age and priority, and keeps the turn of the older one, so that a key that changes all the
// time has one too. If as many events as the mailbox holds are not done with, and none of them only
// waits, no more are taken from the log until one is; what the log has forgotten by then is told.
enum peal_overflow {
    PEAL_CATCH_UP = 0,   // leave live mode, read the log until caught up; loses nothing
    PEAL_DROP_OLDEST,    // of the waiting ones
    PEAL_DROP_NEWEST,    // those that find it full
    PEAL_LATEST_PER_KEY, // of the waiting ones the newest of each key stay; then the oldest go
    PEAL_FAIL,           // stop this subscription: PEAL_EOVERFLOW, reported to the log callback
};

// When the attempts are spent. What is rejected, or failed for a reason that is not retryable,
// becomes a dead letter in any case, and blocks or pauses like one.
enum peal_spent {
    PEAL_SPENT_DEAD_LETTER = 0,
    PEAL_SPENT_DROP,  // forget it, counted; but one that was retried keeps its dead letter
    PEAL_SPENT_BLOCK, // dead letter, and its key waits for a person
    PEAL_SPENT_PAUSE, // dead letter, and the subscription pauses
};

// What later events of a key do while one of them is a dead letter.
enum peal_after_dead {
    PEAL_AFTER_DEAD_GO_ON = 0,
    PEAL_AFTER_DEAD_PARK, // wait behind it; a retry or a discard releases them in order
};

// Delay before attempt n+1: jitter(min(max, initial * coefficient^(n-1))).
struct peal_retry {
    unsigned immediate;      // retries without a delay, first; default 0
    uint64_t initial_ms;     // default 1,000
    double coefficient;      // default 2.0
    uint64_t max_ms;         // default 100 * initial
    unsigned max_attempts;   // default 5; 1: no retry
    bool unlimited;          // attempts without end
    uint64_t max_elapsed_ms; // since the first failure; default: any
    bool no_jitter;          // default: full jitter, a delay between 0 and the computed one
    const char
        *non_retryable; // comma list of reasons that go to the dead letters at once; *copied*
};

struct peal_subscribe_options {
    size_t struct_size; // sizeof(struct peal_subscribe_options), or 0 for that of this header
    const char *file;   // filled in by PEAL_SUBSCRIBE_HERE, which stands before the others
    int line;

    // A durable name, not empty: the place in the log is kept under it, also while nobody is
    // subscribed, as long as the engine keeps anything: on `file:` from process to process.
    // Several subscriptions of one name share the work. *Copied*.
    const char *name;
    enum peal_start from;
    uint64_t from_position;
    int64_t from_time_ns;

    peal_filter *filter;
    void *filter_context;

    int priority; // of inline handlers: higher first; default 0
    enum peal_mode mode;
    unsigned concurrency; // handlers at a time, of each who shares a name; default 1, at most 1,024
    enum peal_order order;

    peal_batch_handler *batch; // instead of a handler
    unsigned batch_max;        // default 64, at most 4,096
    uint64_t batch_wait_ms;    // how long an incomplete batch may wait; default 0: not at all

    unsigned mailbox; // waiting events, rounded up to a power of two; default 1,024
    enum peal_overflow overflow;

    uint64_t ack_wait_ms; // PEAL_LATER and pulled: unsettled for so long is a failed attempt;
                          // default 30,000
    struct peal_retry retry;
    enum peal_spent spent;
    enum peal_after_dead after_dead;

    const char *label; // who is it, in reports; default "file:line", name or pattern. *Copied*.
    uint64_t slow_ms;  // report a handler that runs longer; default 1,000 (inline: only if set)
};

// `struct peal_subscribe_options o = { PEAL_SUBSCRIBE_HERE, .name = "billing" };`
#define PEAL_SUBSCRIBE_HERE .file = __FILE__, .line = __LINE__

// Subscribes. `options` may be NULL. The handler runs until peal_unsubscribe; `context` is borrowed
// until then. `out` may be NULL: the subscription then lives as long as the bus. PEAL_EINVAL (also
// a start in the future; who comes back to a name has started already), PEAL_EPATTERN, PEAL_ELIMIT,
// PEAL_ENOMEM, PEAL_ECLOSED, PEAL_EUNSUPPORTED (the engine keeps nothing), PEAL_EEXISTS (the name
// is in use with another pattern or other options, or was when it was last used), PEAL_EIO (`file:`
// could not look up the start, or cannot keep the name).
// On `file:`, a subscription that has to read an event that cannot be read now (a failing disk, no
// memory) pauses, with a report to the log callback; resumed, it tries again, and has lost nothing.
PEAL_API enum peal_err peal_subscribe(peal_subscription **out, peal_bus *bus, const char *pattern,
                                      const struct peal_subscribe_options *options,
                                      peal_handler *handler, void *context);

// Ends the subscription and frees it. Returns when no handler of it runs any more; inside its own
// handler it returns at once and takes effect after. So it does inside a handler that one of its
// handlers waits for, in peal_unsubscribe too: two that leave each other do not wait for ever.
// Pulls that wait end with PEAL_ECLOSED. NULL is fine.
PEAL_API void peal_unsubscribe(peal_subscription *subscription);

// Stops and goes on with deliveries; what is published meanwhile waits. Pausing does not wait for a
// running handler. What has a durable name stays paused, or not, from process to process.
// PEAL_ESTATE for inline subscriptions. PEAL_EIO: done, but a restart may not know of it.
PEAL_API enum peal_err peal_subscription_pause(peal_subscription *subscription);
PEAL_API enum peal_err peal_subscription_resume(peal_subscription *subscription);

// Moves a durable name to another place in the log: what it is given next is what comes from there
// on, once more or for the first time. `position` and `time_ns` mean what they do in the options
// above. What waited for it, also for its next attempt, is forgotten; what a handler has, it
// settles; dead letters stay. All who share the name move. PEAL_EINVAL (also a start in the
// future), PEAL_ESTATE (it has no name), PEAL_ECLOSED, PEAL_EIO.
PEAL_API enum peal_err peal_subscription_seek(peal_subscription *subscription, enum peal_start from,
                                              uint64_t position, int64_t time_ns);

// The same by name, of whoever has it, and of what nobody has taken since the log was opened: who
// comes back to it finds it so. Two changes of a name at once are made one after the other, and
// both are kept; of one that is forgotten meanwhile nothing stays, whatever its change returned.
// PEAL_ENOTFOUND: there is no such name. PEAL_EUNSUPPORTED: the bus only reads (but see ask_owner).
// The other errors are those above.
PEAL_API enum peal_err peal_name_pause(peal_bus *bus, const char *name);
PEAL_API enum peal_err peal_name_resume(peal_bus *bus, const char *name);
PEAL_API enum peal_err peal_name_seek(peal_bus *bus, const char *name, enum peal_start from,
                                      uint64_t position, int64_t time_ns);

// Forgets a durable name that nobody has now: its place in the log, and what it was not done with.
// Its dead letters stay. Until then the log keeps what it has yet to read. PEAL_ESTATE: somebody
// has it. PEAL_ENOTFOUND, PEAL_EUNSUPPORTED, PEAL_ECLOSED, PEAL_EIO.
PEAL_API enum peal_err peal_name_forget(peal_bus *bus, const char *name);

// Returns when a process that comes after this one knows of all that was settled of a durable name
// before the call; without it that is so within 100 ms. For who answers for it, as somebody who has
// been told by others that they are done. May wait for a disk, and for others who save. On an
// engine that keeps no names it is PEAL_OK at once. On `http:` it waits until the service has saved
// what this bus has told it, through broken connections, up to half a minute. PEAL_ENOTFOUND,
// PEAL_ECLOSED; PEAL_EUNSUPPORTED: another process has the log (ask_owner); PEAL_EIO, PEAL_ENOMEM,
// PEAL_ELIMIT, PEAL_ETIMEDOUT: it may come again after a restart.
PEAL_API enum peal_err peal_name_save(peal_bus *bus, const char *name);

// ---- settling later -----------------------------------------------------------------------------

// Inside a handler that will return PEAL_LATER: *given* to you, until it is settled. The event
// stays readable through peal_delivery_event, also when subscription and bus are gone. If it is
// settled before the handler returns, that verdict counts and what the handler returns does not; if
// the handler returns another verdict than PEAL_LATER first, it has settled it. PEAL_ESTATE outside
// a handler, in an inline or replay one.
PEAL_API enum peal_err peal_delivery_take(peal_delivery **out, const peal_event *event);
PEAL_API const peal_event *peal_delivery_event(const peal_delivery *delivery); // borrowed

// Settles it, from any thread, and frees the handle. Not PEAL_LATER (PEAL_EINVAL). PEAL_ETIMEDOUT:
// the acknowledgement wait had passed and the event was given out again, its handler has settled it
// by returning, or subscription or bus are gone; the handle is freed all the same.
PEAL_API enum peal_err peal_delivery_settle(peal_delivery *delivery, enum peal_verdict verdict);

// Why it failed, for the retry policy and the dead letter; both *copied*: of the code at most 31
// bytes, of the text 255, what is longer is cut between two characters of UTF-8. In a handler:
// peal_fail(event, "timeout", "..."); the code, as it was cut, is matched with `non_retryable`.
PEAL_API void peal_fail(const peal_event *event, const char *code, const char *text);

// Starts the acknowledgement wait anew, from now.
PEAL_API enum peal_err peal_delivery_extend(peal_delivery *delivery, uint64_t ack_wait_ms);

// Takes up to `max` waiting events of a PEAL_PULL subscription, waiting up to `timeout_ms` for the
// first. PEAL_ETIMEDOUT (PEAL_EAGAIN when the timeout is 0) if there is none, PEAL_EOVERFLOW if
// PEAL_FAIL has stopped it, PEAL_ECLOSED when the bus stops or somebody unsubscribes it meanwhile
// (begin no pull after that). Each is settled with peal_delivery_settle.
PEAL_API enum peal_err peal_subscription_pull(peal_delivery **out, size_t *out_count,
                                              peal_subscription *subscription, size_t max,
                                              uint64_t timeout_ms);

// ---- middleware: around every handler -----------------------------------------------------------

typedef struct peal_next peal_next;

// Calls the rest of the chain and the handler. At most once in a middleware (more: PEAL_DONE).
PEAL_API enum peal_verdict peal_next_call(peal_next *next, const peal_event *event);

typedef enum peal_verdict peal_middleware(const peal_event *event, peal_next *next, void *context);

// Adds a middleware around the handlers of every subscription, outermost first by priority, then in
// the order added. It stays until the bus closes. Batch handlers and pull are not wrapped.
PEAL_API enum peal_err peal_bus_use(peal_bus *bus, int priority, peal_middleware *middleware,
                                    void *context);

// ---- driving a bus without workers --------------------------------------------------------------

// Runs what is ready: at most `budget` deliveries (0: no limit) without waiting for more. `done`
// (may be NULL) says how many. PEAL_ESTATE if the bus has workers, or from inside a handler.
PEAL_API enum peal_err peal_bus_dispatch(peal_bus *bus, size_t budget, size_t *done);

// The same, waiting for work until `timeout_ms` have passed (UINT64_MAX: until the bus stops or
// peal_bus_wake is called). PEAL_OK also when nothing came.
PEAL_API enum peal_err peal_bus_run(peal_bus *bus, uint64_t timeout_ms);

// Makes peal_bus_run return soon. Any thread, also a handler.
PEAL_API void peal_bus_wake(peal_bus *bus);

// A file descriptor that is readable (level-triggered) while peal_bus_dispatch has something to do,
// timers included. *Borrowed* until the bus closes; only poll it. PEAL_ESTATE if the bus has
// workers.
PEAL_API enum peal_err peal_bus_fd(int *out, peal_bus *bus);

// ---- watching -----------------------------------------------------------------------------------

// A histogram with buckets at powers of two: bucket i counts values below 2^i ns, the last all
// others.
#define PEAL_HISTOGRAM_BUCKETS 40
struct peal_histogram {
    uint64_t buckets[PEAL_HISTOGRAM_BUCKETS];
    uint64_t count;
    uint64_t sum_ns;
};
// The value below which a share (0 to 1) of the values lie, by the bucket's upper bound, in ns.
PEAL_API uint64_t peal_histogram_quantile(const struct peal_histogram *histogram, double share);

struct peal_bus_stats {
    uint64_t published;  // events accepted
    uint64_t duplicates; // recognised and not appended
    uint64_t refused;    // by interceptors
    uint64_t rejected;   // by back-pressure, limits, conflicts
    uint64_t emit_lost;  // peal_emit that did not get through
    uint64_t delivered;  // settled as PEAL_DONE, all subscriptions together
    uint64_t retried;
    uint64_t dropped;      // by overflow, back-pressure, or PEAL_SPENT_DROP
    uint64_t dead_letters; // there now
    uint64_t last_position;
    uint64_t first_position; // of what is kept; last + 1 if nothing is
    uint64_t memory_bytes;   // of the log
    uint64_t types;
    uint64_t subscriptions;
    uint64_t worker_parks;              // times a worker went to sleep
    struct peal_histogram publish_wait; // of publishers that had to wait for memory
    uint64_t scheduled;                 // events that wait for their time
    // Of `file:`: its segment files, how many of them are archived, and the bytes they take, about;
    // of `http:`, those of the service's log.
    uint64_t log_files, log_archived, log_bytes;

    // Of those dropped, by reason; of a bus that asks (`ask_owner`) all 0.
    uint64_t dropped_overflow;  // a mailbox was full
    uint64_t dropped_forgotten; // the log had forgotten them before they were read: back-pressure
    uint64_t dropped_spent;     // PEAL_SPENT_DROP
    uint64_t dropped_memory;    // no memory to hold one that had failed
    // One in 256 publishes of a thread is timed, from the call to its return, as durable as was
    // asked; of bytes (peal_emit, peal_topic_publish) only those that a log takes. And each sync of
    // a file of `file:`; those that failed are among them.
    struct peal_histogram publish_time, sync_time;
    uint64_t sync_failures;
};
// PEAL_EIO, PEAL_ENOMEM: of a bus that only reads.
PEAL_API enum peal_err peal_bus_stats(struct peal_bus_stats *out, peal_bus *bus);

// The process that has the log of a bus opened with `ask_owner`, and answers. PEAL_ENOTFOUND: none.
// PEAL_ESTATE: the bus does not ask. PEAL_EINVAL, PEAL_ECLOSED, PEAL_ETIMEDOUT.
PEAL_API enum peal_err peal_bus_owner(int64_t *out_pid, peal_bus *bus);

struct peal_subscription_stats {
    uint64_t delivered; // settled as PEAL_DONE
    uint64_t filtered;  // the filter said no
    uint64_t failed;    // verdicts PEAL_RETRY and missed acknowledgements
    uint64_t released;
    uint64_t rejected;
    uint64_t dead; // sent to the dead letters
    uint64_t dropped;
    uint64_t slow;      // handlers that ran longer than `slow_ms`
    uint64_t waiting;   // in the mailbox, or held back by their key
    uint64_t in_flight; // with a handler (not an inline one), or to be settled later
    uint64_t lag;       // events of the log not yet looked at
    uint64_t lag_ns;    // age of the oldest that waits or is in flight, so of one that hangs; or 0
    bool paused;
    bool failed_overflow; // stopped by PEAL_FAIL
    // One in 64 deliveries is timed; inline ones only if `slow_ms` is given. A batch handler is
    // timed each time; how long a handler works on what it took or pulled is not known.
    struct peal_histogram handler_time;
    struct peal_histogram delivery_time; // from publish to the handler's start, or to the pull
    uint64_t retried;                    // of those that failed, tried again
    // Of those dropped, by reason, as in peal_bus_stats.
    uint64_t dropped_overflow, dropped_forgotten, dropped_spent, dropped_memory;
};
PEAL_API enum peal_err peal_subscription_stats(struct peal_subscription_stats *out,
                                               peal_subscription *subscription);

// A durable name, whether somebody is subscribed by it or not.
struct peal_subscription_info {
    const char *name, *pattern, *label; // borrowed as long as the list
    uint64_t position;                  // the first event it is not done with; or the next there is
    uint64_t lag;                       // events of the log not yet looked at
    uint64_t lag_ns;                    // age of the event at `position`; 0: there is none
    uint64_t unsettled;                 // looked at, and waiting, with a handler, or failed
    uint64_t dead_letters;
    unsigned members; // subscriptions that share it now
    bool paused;
};

struct peal_subscription_list {
    struct peal_subscription_info *subscriptions; // by name
    size_t count;
    void *owner; // what the texts point into
};

// How far a durable name is with one event.
enum peal_stands {
    PEAL_STANDS_DONE = 0, // it was handled, or dropped; or never wanted: by the pattern, the filter
    PEAL_STANDS_AHEAD,    // it has not looked at it yet
    PEAL_STANDS_WAITING,  // for its turn, or for a handler
    PEAL_STANDS_IN_HAND,  // a handler has it
    PEAL_STANDS_RETRYING, // it failed, and is tried again at `due_ns`
    PEAL_STANDS_DEAD,     // it was given up: see `dead_letter`
};

struct peal_standing {
    enum peal_stands state;
    unsigned attempts;    // begun so far; 0: it is not known to have failed
    int64_t due_ns;       // since the epoch, UTC; of PEAL_STANDS_RETRYING
    uint64_t dead_letter; // its id; of PEAL_STANDS_DEAD
    bool filtered;        // there is a filter besides the pattern
};

// Where the event at a position stands with a name, whoever has it, or as it was left. What a
// service says to be done (`http:`) is saved, and does not come again if it is killed. PEAL_EINVAL,
// PEAL_ENOTFOUND (there is no such name), PEAL_ECLOSED.
PEAL_API enum peal_err peal_name_look(struct peal_standing *out, peal_bus *bus, const char *name,
                                      uint64_t position);

// Lists the durable names of a bus; on `file:` also those that nobody has taken since it was
// opened. *Given*: peal_subscription_list_finish, also after the bus is closed. PEAL_EINVAL,
// PEAL_ECLOSED, PEAL_ENOMEM.
PEAL_API enum peal_err peal_subscription_list(struct peal_subscription_list *out, peal_bus *bus);
PEAL_API void peal_subscription_list_finish(struct peal_subscription_list *list);

#ifdef __cplusplus
}
#endif

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#endif
