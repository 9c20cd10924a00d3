// SPDX-License-Identifier: MIT
//
// Journal: what the service says of itself, a line each.
//
//     journal_say(journal, PEAL_LEVEL_INFO, "listens",
//                 JOURNAL_FIELDS(journal_text("address", "127.0.0.1:7325"),
//                                journal_number("connections", 3)));
//
//     2026-11-21T09:15:02.123Z info    listens  address=127.0.0.1:7325 connections=3
//     {"time":"2026-11-21T09:15:02.123Z","level":"info","message":"listens","address":...}
//
// A message is constant, so that it can be looked for; what varies stands in fields.
//
// Whatever a value is, it is one value on one line: control characters, what commands a terminal,
// turns the direction of text or is no UTF-8 is written as an escape. Tokens and secrets do not get
// in: a value whose key says that it is one, and the part of any value that looks like one
// (`pt_...`, `whsec_...`, `Bearer ...`, the password of a URL), are written as `***`.
//
// Who says the same again and again does not drown the rest: of one message at one level, the first
// BURST in PERIOD are written, then only how many more there were.
//
// A line has at most JOURNAL_LINE_MAX bytes, which the system writes to a pipe whole; what does not
// fit is cut at the end of a value, or left out, and the line says so.
//
// Ownership: everything given is borrowed for the call. Threads: any. Who writes waits for whoever
// reads the other end.
#ifndef SERVICE_JOURNAL_H
#define SERVICE_JOURNAL_H

#include <peal/bus.h>

struct journal;

enum {
    JOURNAL_LINE_MAX = 4096,  // with its end
    JOURNAL_VALUE_MAX = 1024, // bytes of one value, as it is given; more is cut
    JOURNAL_BURST = 10,
    JOURNAL_PERIOD_MS = 10000,
};

struct journal_options {
    int fd;                // borrowed until journal_close
    bool json;             // JSON lines; else text for people
    bool colour;           // levels in colour, of text
    enum peal_level level; // the least that is said
    uint64_t burst;        // 0: JOURNAL_BURST; UINT64_MAX: everything is said
    uint64_t period_ms;    // 0: JOURNAL_PERIOD_MS
    // Nanoseconds, of the wall and of a clock that only goes forward; NULL: those of the system.
    void (*clock)(int64_t *wall_ns, int64_t *steady_ns, void *context);
    void *clock_context;
};

// *Given*: journal_close, which says what was held back; NULL is fine. PEAL_ENOMEM.
enum peal_err journal_open(struct journal **out, const struct journal_options *options);
void journal_close(struct journal *journal);

void journal_set_level(struct journal *journal, enum peal_level level);
bool journal_says(const struct journal *journal, enum peal_level level); // whether it is heard

// ---- saying -------------------------------------------------------------------------------------

enum journal_kind { JOURNAL_END, JOURNAL_TEXT, JOURNAL_NUMBER, JOURNAL_REAL, JOURNAL_BOOL };

struct journal_field {
    const char *key; // letters, digits and '_'
    enum journal_kind kind;
    const char *text;
    size_t size;
    int64_t number;
    double real;
};

struct journal_field journal_text(const char *key, const char *text); // NULL: ""
struct journal_field journal_bytes(const char *key, const void *bytes, size_t size);
struct journal_field journal_number(const char *key, int64_t number);
struct journal_field journal_real(const char *key, double real);
struct journal_field journal_bool(const char *key, bool yes);

// A list of fields, of one or more; NULL is none.
#define JOURNAL_FIELDS(...)                                                                        \
    (const struct journal_field[])                                                                 \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

void journal_say(struct journal *journal, enum peal_level level, const char *message,
                 const struct journal_field *fields);

// Says what was held back and whose period is over; call it about once a second.
void journal_tick(struct journal *journal);

// The log callback of a bus; the context is the journal. Its sentence is the message.
void journal_from_bus(enum peal_level level, const char *text, void *context);

#endif
