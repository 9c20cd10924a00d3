// SPDX-License-Identifier: MIT
//
// The macros of the public headers in use, the way their comments show it, in C and in C++.
#include <peal/peal.h>

struct peal_message urgent(void);
struct peal_message urgent(void)
{
    struct peal_message message = { .type = "a", .priority = PEAL_PRIORITY(9) };
    return message;
}

int line_of_here(void);
int line_of_here(void)
{
    struct peal_subscribe_options o = { PEAL_SUBSCRIBE_HERE, .name = "billing" };
    struct peal_subscribe_options all = { PEAL_SUBSCRIBE_HERE,         .name = "billing",
                                          .from = PEAL_FROM_BEGINNING, .concurrency = 2,
                                          .label = "the billing",      .slow_ms = 5 };
    return o.line + all.line;
}

struct peal_bus_options nothing(void);
struct peal_bus_options nothing(void)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .history_events = PEAL_NO_HISTORY,
                                        .duplicate_events = PEAL_NO_DUPLICATES,
                                        .dead_max = PEAL_NO_DEAD_LETTERS,
                                        .scheduled_max = PEAL_NO_SCHEDULE };
    return options;
}

struct peal_trace_options trace(void);
struct peal_trace_options trace(void)
{
    struct peal_trace_options options = { .share = PEAL_TRACE_NONE };
    return options;
}

const char *names(enum peal_err err);
const char *names(enum peal_err err)
{
    switch (err) {
#define NAME(name, number, text)                                                                   \
    case PEAL_##name:                                                                              \
        return #name " " #number " " text;
        PEAL_ERRORS(NAME)
#undef NAME
    }
    return "";
}
