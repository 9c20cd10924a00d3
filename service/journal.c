// SPDX-License-Identifier: MIT
//
// Journal: who may speak, and how often.
//
// A line is made on the stack of its thread and written with one call, so no lock is held while it
// is written. The lock guards what is remembered of messages: a table of PLACES, each message at
// the place of its hash. Two messages that share a place take it from each other, and what was held
// back of one is said then; so no count is lost, and at worst too much is said.
#include "service/journal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "service/journal_inside.h"

enum { PLACES = 64, MESSAGE_MAX = 128 };

static const char *const levels[] = { "debug", "info", "warning", "error" };

// A message that was said lately.
struct spoken {
    char message[MESSAGE_MAX];
    enum peal_level level;
    int64_t since_ns;    // when its period began
    uint64_t said, held; // nothing was said: the place is empty
};

struct journal {
    struct journal_options options;
    atomic_int level;
    pthread_mutex_t lock; // guards the rest
    struct spoken places[PLACES];
};

static void system_clock(int64_t *wall_ns, int64_t *steady_ns, void *context)
{
    struct timespec wall = { 0 }, steady = { 0 };
    (void)context;
    (void)clock_gettime(CLOCK_REALTIME, &wall); // these clocks are always there
    (void)clock_gettime(CLOCK_MONOTONIC, &steady);
    *wall_ns = wall.tv_sec * INT64_C(1000000000) + wall.tv_nsec;
    *steady_ns = steady.tv_sec * INT64_C(1000000000) + steady.tv_nsec;
}

enum peal_err journal_open(struct journal **out, const struct journal_options *options)
{
    struct journal *journal = calloc(1, sizeof *journal);
    if (!journal) {
        return PEAL_ENOMEM;
    }
    journal->options = *options;
    journal->options.burst = options->burst ? options->burst : JOURNAL_BURST;
    journal->options.period_ms = options->period_ms ? options->period_ms : JOURNAL_PERIOD_MS;
    if (!options->clock) {
        journal->options.clock = system_clock;
    }
    atomic_init(&journal->level, (int)options->level);
    (void)pthread_mutex_init(&journal->lock, NULL); // cannot fail on Linux
    *out = journal;
    return PEAL_OK;
}

// Relaxed: a line more or less when the level changes.
void journal_set_level(struct journal *journal, enum peal_level level)
{
    atomic_store_explicit(&journal->level, (int)level, memory_order_relaxed);
}

bool journal_says(const struct journal *journal, enum peal_level level)
{
    return (int)level >= atomic_load_explicit(&journal->level, memory_order_relaxed);
}

// ---- fields -------------------------------------------------------------------------------------

struct journal_field journal_text(const char *key, const char *text)
{
    return journal_bytes(key, text ? text : "", text ? strlen(text) : 0);
}

struct journal_field journal_bytes(const char *key, const void *bytes, size_t size)
{
    return (struct journal_field){ .key = key, .kind = JOURNAL_TEXT, .text = bytes, .size = size };
}

struct journal_field journal_number(const char *key, int64_t number)
{
    return (struct journal_field){ .key = key, .kind = JOURNAL_NUMBER, .number = number };
}

struct journal_field journal_real(const char *key, double real)
{
    return (struct journal_field){ .key = key, .kind = JOURNAL_REAL, .real = real };
}

struct journal_field journal_bool(const char *key, bool yes)
{
    return (struct journal_field){ .key = key, .kind = JOURNAL_BOOL, .number = yes };
}

// ---- lines --------------------------------------------------------------------------------------

static void write_line(const struct journal *journal, const struct journal_line *line)
{
    size_t done = 0;
    while (done < line->size) {
        ssize_t wrote = write(journal->options.fd, line->bytes + done, line->size - done);
        if (wrote == 0 || (wrote < 0 && errno != EINTR)) {
            return; // there is nobody to tell
        }
        done += wrote > 0 ? (size_t)wrote : 0;
    }
}

static void begin_line(struct journal_line *line, const struct journal *journal,
                       enum peal_level level, const char *message, int64_t wall_ns)
{
    static const char *const colours[] = { "\x1b[2m", "", "\x1b[33m", "\x1b[31m" };
    char date[32], head[128];
    bool colour = journal->options.colour && *colours[level];
    time_t seconds = (time_t)(wall_ns / 1000000000);
    struct tm parts = { 0 };
    (void)gmtime_r(&seconds, &parts); // 64 bits of nanoseconds have a year
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts); // it fits
    const char *format = line->json ? "{\"time\":\"%s.%03dZ\",\"level\":\"%s%s%s\",\"message\":"
                                    : "%s.%03dZ %s%-7s%s ";
    int size = snprintf(head, sizeof head, format, date, (int)(wall_ns / 1000000 % 1000),
                        colour ? colours[level] : "", levels[level], colour ? "\x1b[0m" : "");
    (void)journal_put(line, head, (size_t)size); // a line has room for it
    if (line->json) {
        journal_put_value(line, message, strlen(message));
    } else {
        journal_put_words(line, message, strlen(message));
    }
}

static void put_line(const struct journal *journal, enum peal_level level, const char *message,
                     const struct journal_field *fields, int64_t wall_ns)
{
    static const char cut_json[] = ",\"cut\":true", cut_text[] = " ...";
    struct journal_line line = { .json = journal->options.json };
    line.end = sizeof line.bytes - sizeof cut_json - 2; // what a line may end with
    begin_line(&line, journal, level, message, wall_ns);
    for (; fields && fields->kind != JOURNAL_END; fields++) {
        journal_put_field(&line, fields);
    }
    line.end = sizeof line.bytes;
    if (line.cut) { // there is room
        (void)journal_put(&line, line.json ? cut_json : cut_text,
                          line.json ? sizeof cut_json - 1 : sizeof cut_text - 1);
    }
    (void)journal_put(&line, line.json ? "}\n" : "\n", line.json ? 2 : 1);
    write_line(journal, &line);
}

// ---- repeats ------------------------------------------------------------------------------------

// What was held back, on its own.
static void say_held(const struct journal *journal, const struct spoken *spoken, int64_t wall_ns)
{
    if (spoken->held > 0) {
        put_line(journal, spoken->level, spoken->message,
                 JOURNAL_FIELDS(journal_number("said_more_times", (int64_t)spoken->held)), wall_ns);
    }
}

static size_t place_of(const char *message, enum peal_level level)
{
    uint32_t hash = 2166136261U + (uint32_t)level; // FNV-1a: short texts of our own
    for (; *message; message++) {
        hash = (hash ^ (unsigned char)*message) * 16777619U;
    }
    return (hash ^ hash >> 16) % PLACES;
}

static bool is_over(const struct journal *journal, const struct spoken *spoken, int64_t now_ns)
{
    return now_ns - spoken->since_ns >= (int64_t)journal->options.period_ms * 1000000;
}

// Whether a message may be said now; what has to be said before it, because its place is taken or
// its period is over, is moved to `before`.
static bool admit(struct journal *journal, enum peal_level level, const char *message,
                  int64_t now_ns, struct spoken *before)
{
    struct spoken *place = &journal->places[place_of(message, level)];
    (void)pthread_mutex_lock(&journal->lock);
    bool same = place->said && place->level == level &&
                strncmp(place->message, message, MESSAGE_MAX - 1) == 0;
    if (!same || is_over(journal, place, now_ns)) {
        *before = *place;
        *place = (struct spoken){ .level = level, .since_ns = now_ns };
        (void)snprintf(place->message, MESSAGE_MAX, "%s", message); // a long one is cut
    }
    bool yes = place->said < journal->options.burst;
    place->said += yes;
    place->held += !yes;
    (void)pthread_mutex_unlock(&journal->lock);
    return yes;
}

void journal_say(struct journal *journal, enum peal_level level, const char *message,
                 const struct journal_field *fields)
{
    int64_t wall_ns = 0, steady_ns = 0;
    struct spoken before = { .held = 0 };
    if (!journal_says(journal, level)) {
        return;
    }
    journal->options.clock(&wall_ns, &steady_ns, journal->options.clock_context);
    bool yes = admit(journal, level, message, steady_ns, &before);
    say_held(journal, &before, wall_ns);
    if (yes) {
        put_line(journal, level, message, fields, wall_ns);
    }
}

// Says and forgets the places whose period is over, or all of them.
static void sweep(struct journal *journal, bool all)
{
    int64_t wall_ns = 0, steady_ns = 0;
    journal->options.clock(&wall_ns, &steady_ns, journal->options.clock_context);
    for (size_t i = 0; i < PLACES; i++) {
        struct spoken *place = &journal->places[i];
        struct spoken over = { .held = 0 };
        (void)pthread_mutex_lock(&journal->lock);
        if (place->said && (all || is_over(journal, place, steady_ns))) {
            over = *place;
            *place = (struct spoken){ .held = 0 };
        }
        (void)pthread_mutex_unlock(&journal->lock);
        say_held(journal, &over, wall_ns);
    }
}

void journal_tick(struct journal *journal)
{
    sweep(journal, false);
}

void journal_close(struct journal *journal)
{
    if (journal) {
        sweep(journal, true);
        (void)pthread_mutex_destroy(&journal->lock); // nobody holds it
        free(journal);
    }
}

void journal_from_bus(enum peal_level level, const char *text, void *context)
{
    journal_say(context, level, text, NULL);
}
