// SPDX-License-Identifier: MIT
//
// What the parts of the bus simulation share: one run, and what its model knows.
//
//     bus.c ─► bus_config.h   what bus, what subscriptions: drawn from the seed
//         ├──► bus_actors.h   who does what to them: members, pullers, an operator;
//         │                   bus_publish.h, bus_handlers.h, bus_query.h
//         ├──► bus_model.h    what was published, what each subscription was given, what may come
//         ├──► bus_checks.h   is it what the bus says of itself, and is anything missing
//         └──► bus_again.h    what of it is there when the log is opened again
//
// The model knows a bus by its public headers only. It is told what every publisher was answered
// and what every handler saw, and stops the run at the first thing that may not be.
//
// A **note** is what was to be published. A **box** is a subscription, or a durable name with
// several members. A **life** is a note in a box.
#ifndef BUS_SIM_H
#define BUS_SIM_H

#include <peal/deadletter.h>
#include <peal/log.h>
#include <peal/testing.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOTES_MAX   400 // of a run
#define BOXES_MAX   16
#define MEMBERS_MAX 3
#define HANDLES_MAX 1024
#define OPEN_MAX    128 // begun and not settled, of one line
#define LINES       8   // keys "k1" to "k4", and subjects "s1" to "s3"
#define IDS         8
#define GAPS_MAX    256

#define TYPES    6
#define PATTERNS 10

#define MS 1000000LL // nanoseconds

#define LOG_URL "file:./events"

static const char *const type_names[TYPES] = { "order.created",     "order.paid", "user.created",
                                               "user.deleted.soft", "audit",      "stock_mat.low" };

// Which types a pattern matches, as bits: by hand, not by the matcher under test.
static const struct {
    const char *text;
    unsigned types;
} patterns[PATTERNS] = {
    { "*", 0x3f },           { "order.*", 0x03 },
    { "*.created", 0x05 },   { "user.*", 0x0c },
    { "audit", 0x10 },       { "order.paid,audit", 0x12 },
    { "*,!user.*", 0x33 },   { "user.+", 0x04 },
    { "stock_*.low", 0x20 }, { "order.created", 0x01 },
};

static const char *const key_names[] = { NULL, "k1", "k2", "k3", "k4" };
static const char *const subject_names[] = { NULL, "s1", "s2", "s3" };
static const char *const line_names[LINES] = { "", "k1", "k2", "k3", "k4", "s1", "s2", "s3" };

enum fate { ON_ITS_WAY = 0, ACCEPTED, REJECTED, DUPLICATE };

struct note {
    uint8_t type, key, subject; // as the log will have them
    uint8_t id;                 // given by the publisher, 1 to IDS; 0: none
    uint8_t priority;
    bool emitted;     // nobody is told what became of it
    bool refused;     // an interceptor will
    bool nested;      // published inside a handler
    bool conditional; // on its stream's version
    bool promised;    // to be there when the log is opened again
    uint8_t fate;     // enum fate
    uint8_t level;    // enum peal_durability
    uint32_t size;
    uint64_t begun, ended; // stamps around the publish; `ended` 0: not over
    int64_t begun_at, ended_at;
    uint64_t position, version; // 0: not known, or none
    uint64_t expected;          // version + 1 that the stream should be at; 0: any
    uint64_t batch_end;         // the last position of its batch; 0: none, or not known
    char made_id[PEAL_ID_MAX + 1];
    char cause[PEAL_ID_MAX + 1]; // id of the event that was being handled
};

// DONE and all after it are the end.
enum state { NONE = 0, RUNNING, OPEN, LATER, DONE, FILTERED, DEAD, DROPPED, DISCARDED, LOST };

enum reason { ATTEMPTS = 0, REJECTED_BY_HANDLER, ACK_WAIT, SOFT, FATAL };
static const char *const reason_names[] = { "attempts", "rejected", "ack_wait", "soft", "fatal" };

struct life {
    uint8_t state;
    uint8_t reason;   // of its death
    uint8_t failing;  // what peal_fail said in this attempt: 0, SOFT or FATAL
    uint8_t early;    // verdict + 1, settled before its handler returned
    uint8_t settling; // verdict + 1, somebody is calling peal_delivery_settle
    bool revive;      // its dead letter may be retried at any time
    bool retried;     // it came back from the dead letters
    bool discard;     // its dead letter may be discarded at any time
    bool edited;
    bool passed;   // the filter let it through
    uint8_t given; // times released
    unsigned attempt, token;
    unsigned epoch;     // when the token changed
    uint64_t call;      // the last handler call that had it
    int64_t not_before; // OPEN: when it may be given again,
    int64_t not_after;  // and when it must have been, if nothing hinders
    int64_t deadline;   // LATER
    int64_t extended;   // RUNNING: what the deadline will be; 0: as usual
};

// The events of one key in a box.
struct line {
    uint64_t last; // position of the newest that began
    unsigned count;
    uint32_t open[OPEN_MAX]; // serials
};

enum presence { ABSENT = 0, COMING, HERE, LEAVING, LEAVING_ITSELF, LEFT };

struct member {
    struct box *box;
    peal_subscription *subscription;
    uint8_t presence;
    unsigned busy;  // calls with its handle under way
    unsigned epoch; // when it left itself
    unsigned running;
};

// What a subscription was told to have lost.
struct loss {
    uint64_t count, first, last;
};

struct box {
    struct sim *sim;
    unsigned index;
    unsigned pattern;
    bool named, filters, batches, fails_softly;
    struct peal_subscribe_options options;
    char label[16], name[16];
    uint64_t came_begun, came, gone_begun, gone; // stamps; 0: not yet
    int64_t came_at, from_time;
    uint64_t from_position;
    unsigned switching; // calls that pause or resume it under way
    bool unsure;        // there were several at a time
    bool paused;        // by us
    bool frozen;        // paused, and everybody was at rest since
    int64_t touched;    // when something last happened in it
    unsigned lives_open;
    struct loss gaps[GAPS_MAX];
    unsigned gap_count;
    uint64_t lost;   // sum of the gaps
    uint64_t pulled; // of those, given by a pull
    struct {
        uint64_t delivered, filtered, failed, released, rejected, dead, dropped;
    } counts;
    struct member members[MEMBERS_MAX];
    struct line lines[LINES];
    struct life lives[NOTES_MAX];
};

// A delivery that waits to be settled.
struct handle {
    peal_delivery *delivery;
    struct box *box;   // NULL: this place is free
    struct life *life; // NULL: of a gap
    unsigned token;
    bool taken;     // by who is settling it
    int64_t rested; // at this time nobody may: its handler is returning another verdict
};

struct sim {
    uint64_t seed, chance;
    bool talks;
    struct peal_world *world;
    peal_bus *bus;

    // The run's nature, drawn.
    struct peal_bus_options options;
    bool stores;  // on file:
    bool keeps;   // a history
    bool forgets; // something of it may be gone before the end
    bool intercepts, wraps, mixed, nests;
    bool tapped;
    unsigned publishers, steps;
    unsigned sizes; // of data: 0 tiny to 3 beyond what a segment takes inside
    unsigned id_share;
    unsigned trouble; // percent of verdicts that are not PEAL_DONE

    // The run.
    uint64_t stamp, calls;
    unsigned epoch; // times that everybody was at rest
    unsigned actors, loopers;
    unsigned publisher_count;
    bool calm;     // handlers do what they should
    bool winding;  // whoever loops goes home
    bool stopping; // peal_bus_stop has been called
    bool stopped;  // and has returned
    bool dark;     // the power was cut: what fails with PEAL_EIO may
    unsigned running;
    int64_t busy; // when a handler last ran
    uint64_t emits, accepted, duplicates, refused;
    uint64_t wrapped;
    uint32_t note_count;
    unsigned box_count;
    struct note notes[NOTES_MAX];
    uint32_t at[NOTES_MAX + 1]; // serial of the note at a position
    uint64_t id_position[IDS + 1];
    const peal_topic *topics[TYPES];
    struct handle handles[HANDLES_MAX];
    struct box boxes[BOXES_MAX];
};

// ---- chance, words ------------------------------------------------------------------------------

static inline uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

static inline unsigned draw(struct sim *sim, unsigned below)
{
    sim->chance += 0x9e3779b97f4a7c15U;
    return below ? (unsigned)((mix(sim->chance) >> 32) * below >> 32) : 0;
}

static inline bool chance(struct sim *sim, unsigned percent)
{
    return draw(sim, 100) < percent;
}

static inline int64_t now_of(const struct sim *sim)
{
    return peal_world_now(sim->world);
}

static inline double ms_of(const struct sim *sim)
{
    return (double)(now_of(sim) - 1767225600000000000LL) / (double)MS;
}

// What happens, for who reads along.
static inline __attribute__((format(printf, 2, 3))) void tell(const struct sim *sim,
                                                              const char *format, ...)
{
    if (sim->talks) {
        va_list args;
        va_start(args, format);
        (void)printf("%10.3f ", ms_of(sim));
        (void)vprintf(format, args);
        (void)putchar('\n');
        va_end(args);
    }
}

// The end of a run that went wrong. The line that reproduces it is printed on the way out.
static inline _Noreturn __attribute__((format(printf, 2, 3))) void wrong(const struct sim *sim,
                                                                         const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fflush(stdout);
    (void)fprintf(stderr, "seed %llu, +%.3f ms: ", (unsigned long long)sim->seed, ms_of(sim));
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    abort();
}

static inline uint32_t serial_of(const struct box *box, const struct life *life)
{
    return (uint32_t)(life - box->lives) + 1;
}

static inline struct note *note_of(struct sim *sim, uint32_t serial)
{
    return &sim->notes[serial - 1];
}

static inline unsigned line_of(const struct note *note)
{
    return note->key ? note->key : note->subject ? 4U + note->subject : 0;
}

static inline bool is_lossy(const struct box *box)
{
    enum peal_overflow overflow = box->options.overflow;
    return overflow == PEAL_DROP_OLDEST || overflow == PEAL_DROP_NEWEST ||
           overflow == PEAL_LATEST_PER_KEY;
}

// May the log forget something that a box has yet to read? Only what was there before it came, what
// nobody was there for, and what the bus was told to drop.
static inline bool may_miss(const struct box *box)
{
    const struct sim *sim = box->sim;
    return sim->forgets && (box->named || box->options.from != PEAL_FROM_NOW ||
                            sim->options.pressure == PEAL_PRESSURE_DROP_OLDEST);
}

static inline bool matches(const struct box *box, const struct note *note)
{
    return patterns[box->pattern].types >> note->type & 1;
}

// What the filter of a box that has one says no to.
static inline bool is_filtered(const struct box *box, uint32_t serial)
{
    return box->filters && mix(serial * 31U + box->index) % 4 == 0;
}

#endif
