// SPDX-License-Identifier: MIT
//
// Options: what a bus is opened with, from three places: the caller's struct, then the URL, which
// wins, then the defaults. What makes no sense, or what the engine does not have, is refused.
#include "bus/calls.h"

#include "base/error.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

// What the options call PEAL_NO_HISTORY and the like.
#define NONE UINT64_MAX

#define SEGMENT_BYTES_MIN (64ULL << 10)
#define SEGMENT_BYTES_MAX (1ULL << 30)

// Of what is stored, memory holds the newest: as much as mem: would, or half of what there is.
#define STORED_HISTORY_BYTES (8ULL << 20)

enum kind { NUMBER, SIZE, MILLISECONDS, WORKERS, PRESSURE, DURABILITY, FLAG, TEXT };

// The options a URL may set, by their names.
static const struct parameter {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *no_zero; // why it cannot be 0, or "none"; NULL: it can, and then there is none
} parameters[] = {
    { "source", TEXT, offsetof(struct peal_bus_options, source), NULL },
    { "workers", WORKERS, offsetof(struct peal_bus_options, workers), NULL },
    { "history_events", NUMBER, offsetof(struct peal_bus_options, history_events), NULL },
    { "history_bytes", SIZE, offsetof(struct peal_bus_options, history_bytes), NULL },
    { "history_ms", MILLISECONDS, offsetof(struct peal_bus_options, history_ms), NULL },
    { "memory_max", SIZE, offsetof(struct peal_bus_options, memory_max),
      "the bus would be of no use" },
    { "pressure", PRESSURE, offsetof(struct peal_bus_options, pressure), NULL },
    { "block_ms", MILLISECONDS, offsetof(struct peal_bus_options, block_ms),
      "not to wait is pressure=reject" },
    { "data_max", SIZE, offsetof(struct peal_bus_options, data_max), "the bus would be of no use" },
    { "types_max", NUMBER, offsetof(struct peal_bus_options, types_max),
      "the bus would be of no use" },
    { "subscriptions_max", NUMBER, offsetof(struct peal_bus_options, subscriptions_max),
      "the bus would be of no use" },
    { "duplicate_events", NUMBER, offsetof(struct peal_bus_options, duplicate_events), NULL },
    { "duplicate_ms", MILLISECONDS, offsetof(struct peal_bus_options, duplicate_ms), NULL },
    { "dead_max", NUMBER, offsetof(struct peal_bus_options, dead_max), NULL },
    { "dead_ms", MILLISECONDS, offsetof(struct peal_bus_options, dead_ms),
      "to be rid of all, discard them" },
    { "scheduled_max", NUMBER, offsetof(struct peal_bus_options, scheduled_max), NULL },
    { "scheduled_bytes", SIZE, offsetof(struct peal_bus_options, scheduled_bytes),
      "to schedule nothing is scheduled_max=0" },
    { "read_only", FLAG, offsetof(struct peal_bus_options, read_only), NULL },
    { "ask_owner", FLAG, offsetof(struct peal_bus_options, ask_owner), NULL },
    { "no_requests", FLAG, offsetof(struct peal_bus_options, no_requests), NULL },
    { "go_on", FLAG, offsetof(struct peal_bus_options, go_on), NULL },
    { "forget_unread", FLAG, offsetof(struct peal_bus_options, forget_unread), NULL },
    { "archive_ms", MILLISECONDS, offsetof(struct peal_bus_options, archive_ms),
      "to archive nothing, leave it out" },
    { "durability", DURABILITY, offsetof(struct peal_bus_options, durability), NULL },
    { "segment_bytes", SIZE, offsetof(struct peal_bus_options, segment_bytes),
      "a file holds events" },
    { "token", TEXT, offsetof(struct peal_bus_options, token), NULL },
    { "spool_bytes", SIZE, offsetof(struct peal_bus_options, spool_bytes),
      "nothing could be published" },
};

#define PARAMETERS (sizeof parameters / sizeof parameters[0])

static enum peal_err set_durability(struct peal_bus_options *options, const char *text)
{
    static const char *const names[] = { "memory", "os", "disk" };
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            options->durability = (enum peal_durability)(PEAL_DURABILITY_MEMORY + i);
            return PEAL_OK;
        }
    }
    return pl_fail(PEAL_EURL, "durability=%s: must be memory, os or disk", text);
}

static enum peal_err set_pressure(struct peal_bus_options *options, const char *text)
{
    static const char *const names[] = { "block", "reject", "drop_oldest" };
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            options->pressure = (enum peal_pressure)i;
            return PEAL_OK;
        }
    }
    return pl_fail(PEAL_EURL, "pressure=%s: must be block, reject or drop_oldest", text);
}

static enum peal_err set_workers(struct peal_bus_options *options, const struct pl_url *url)
{
    uint64_t count;
    enum peal_err err = pl_url_size(&count, url, "workers");
    if (!err && count > 1024) {
        err = pl_fail(PEAL_EURL, "workers=%" PRIu64 ": at most 1024", count);
    }
    if (!err) {
        // In a URL 0 means what it says: no threads.
        options->workers = count == 0 ? PEAL_NO_WORKERS : (int)count;
    }
    return err;
}

// A plain number of a *_ms parameter is milliseconds; with a unit it must be whole ones.
static enum peal_err read_number(uint64_t *out, const struct pl_url *url, const char *name,
                                 enum kind kind)
{
    const char *text = pl_url_parameter(url, name);
    if (kind != MILLISECONDS || text[strspn(text, "0123456789")] == '\0') {
        return pl_url_size(out, url, name);
    }
    int64_t ns;
    enum peal_err err = pl_url_duration(&ns, url, name);
    if (!err && ns % PL_NS_PER_MS != 0) {
        return pl_fail(PEAL_EURL, "%s=%s: must be whole milliseconds", name, text);
    }
    if (!err) {
        *out = (uint64_t)(ns / PL_NS_PER_MS);
    }
    return err;
}

// "none" is a word for 0 where that means none.
static enum peal_err set_number(char *member, const struct pl_url *url,
                                const struct parameter *parameter)
{
    uint64_t number = 0;
    const char *text = pl_url_parameter(url, parameter->name);
    if (parameter->no_zero || strcmp(text, "none") != 0) {
        enum peal_err err = read_number(&number, url, parameter->name, parameter->kind);
        if (err) {
            return err;
        }
    }
    if (number == 0 && parameter->no_zero) {
        return pl_fail(PEAL_EURL, "%s=%s: must be more than 0; %s", parameter->name, text,
                       parameter->no_zero);
    }
    number = number > 0 ? number : NONE;
    memcpy(member, &number, sizeof number);
    return PEAL_OK;
}

static enum peal_err set_text(char *member, const char *name, const char *text)
{
    if (!*text) {
        return pl_fail(PEAL_EURL, "%s=: must not be empty; leave it out for the default", name);
    }
    memcpy(member, &text, sizeof text);
    return PEAL_OK;
}

static enum peal_err set_parameter(struct peal_bus_options *options, const struct pl_url *url,
                                   size_t index)
{
    const char *name = parameters[index].name;
    const char *text = pl_url_parameter(url, name);
    char *member = (char *)options + parameters[index].offset;
    if (!text) {
        return PEAL_OK;
    }
    if (parameters[index].kind == TEXT) {
        return set_text(member, name, text);
    }
    if (parameters[index].kind == PRESSURE) {
        return set_pressure(options, text);
    }
    if (parameters[index].kind == FLAG) {
        return pl_url_bool((bool *)(void *)member, url, name);
    }
    if (parameters[index].kind == DURABILITY) {
        return set_durability(options, text);
    }
    if (parameters[index].kind == WORKERS) {
        return set_workers(options, url);
    }
    return set_number(member, url, &parameters[index]);
}

static enum peal_err read_url(struct peal_bus_options *options, const struct pl_url *url)
{
    const char *known[PARAMETERS + 1] = { NULL };
    for (size_t i = 0; i < PARAMETERS; i++) {
        known[i] = parameters[i].name;
        enum peal_err err = set_parameter(options, url, i);
        if (err) {
            return err;
        }
    }
    return pl_url_check(url, known);
}

static void set_default(uint64_t *option, uint64_t value)
{
    if (*option == 0) {
        *option = value;
    }
}

// An option that says none is 0 from here on.
static void set_none(uint64_t *option)
{
    if (*option == NONE) {
        *option = 0;
    }
}

static int cpus(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > 64 ? 64 : (int)count;
}

static enum peal_err fill_defaults(struct peal_bus_options *options)
{
    if (!options->source) {
        options->source = "/peal";
    }
    if (options->workers == 0) {
        // In a test's world the number must not depend on the machine.
        options->workers = options->world ? 2 : cpus();
    }
    if (options->workers < PEAL_NO_WORKERS || options->workers > 1024) {
        return pl_fail(PEAL_EINVAL, "workers %d: must be 1 to 1024, 0 or PEAL_NO_WORKERS",
                       options->workers);
    }
    bool none = options->history_events == PEAL_NO_HISTORY ||
                options->history_bytes == PEAL_NO_HISTORY || options->history_ms == PEAL_NO_HISTORY;
    if (none) {
        options->history_bytes = PEAL_NO_HISTORY;
    }
    set_default(&options->history_events, 1000000);
    set_default(&options->history_bytes, 8 << 20);
    uint64_t least = none ? 0 : options->history_bytes * 2;
    set_default(&options->memory_max, least > 64 << 20 ? least : 64 << 20);
    if (options->memory_max < 1 << 20) {
        return pl_fail(PEAL_EINVAL, "memory_max %" PRIu64 ": at least 1 MiB is needed",
                       options->memory_max);
    }
    if (!none && (options->history_bytes > UINT64_MAX / 2 || options->memory_max < least)) {
        return pl_fail(PEAL_EINVAL,
                       "history_bytes %" PRIu64 ": may be half of memory_max (%" PRIu64
                       ") at most; the other half is for events yet to be read",
                       options->history_bytes, options->memory_max);
    }
    set_default(&options->block_ms, 5000);
    set_default(&options->data_max, (uint64_t)PEAL_DATA_DEFAULT_MAX);
    if (options->data_max > (uint64_t)PEAL_DATA_MAX ||
        options->data_max * 2 > options->memory_max) {
        return pl_fail(PEAL_EINVAL,
                       "data_max %" PRIu64 ": may be %d at most, and half of memory_max (%" PRIu64
                       ")",
                       options->data_max, PEAL_DATA_MAX, options->memory_max);
    }
    if ((unsigned)options->pressure > PEAL_PRESSURE_DROP_OLDEST) {
        return pl_fail(PEAL_EINVAL,
                       "pressure %d: must be PEAL_PRESSURE_BLOCK, _REJECT or _DROP_OLDEST",
                       (int)options->pressure);
    }
    set_default(&options->types_max, 1000000);
    set_default(&options->subscriptions_max, 10000000);
    set_default(&options->duplicate_events, 65536);
    set_default(&options->duplicate_ms, 600000);
    set_default(&options->dead_max, 10000);
    bool no_window = options->duplicate_ms == PEAL_NO_DUPLICATES;
    options->duplicate_events = no_window ? PEAL_NO_DUPLICATES : options->duplicate_events;
    set_none(&options->duplicate_events);
    set_none(&options->dead_max);
    set_default(&options->scheduled_max, 100000);
    set_none(&options->scheduled_max);
    set_default(&options->scheduled_bytes, 64 << 20);
    set_default(&options->dead_ms, 30ULL * 24 * 3600 * 1000);
    return PEAL_OK;
}

// Of a bus whose log a service has: what is kept, and how, is said there.
// `memory_max`: 0 is the default, which is enough.
static uint64_t newest_of_stored(uint64_t memory_max)
{
    bool little = memory_max && memory_max / 2 < STORED_HISTORY_BYTES;
    return little ? memory_max / 2 : STORED_HISTORY_BYTES;
}

static enum peal_err check_remote(struct peal_bus_options *options, const struct pl_engine_ops *ops)
{
    if (options->segment_bytes || options->go_on || options->forget_unread || options->archive_ms ||
        options->no_requests || options->history_events || options->history_bytes ||
        options->history_ms || options->world) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s: is the log of a service: what it keeps and how (history_events, "
                       "history_bytes, history_ms, segment_bytes, go_on, forget_unread, "
                       "archive_ms, no_requests) is said there; nor is there one in a world",
                       ops->scheme);
    }
    options->read_only = true; // but for what goes to the service
    options->ask_owner = true;
    options->history_events = UINT64_MAX - 1;
    set_default(&options->memory_max, 64 << 20);
    options->history_bytes = newest_of_stored(options->memory_max);
    set_default(&options->spool_bytes, 16 << 20);
    return PEAL_OK;
}

// Options that the engine does not have are refused, before any default is filled in.
static enum peal_err check_engine(struct peal_bus_options *options, struct pl_retention *retention,
                                  const struct pl_engine_ops *ops)
{
    if (!(ops->capabilities & PL_CAN_DELIVER)) {
        return PEAL_OK; // it takes everything, so that a program can be switched to it
    }
    if (ops->capabilities & PL_CAN_REMOTE) {
        return check_remote(options, ops);
    }
    if (options->token || options->spool_bytes) {
        return pl_fail(PEAL_EUNSUPPORTED, "%s: token and spool_bytes are for http:", ops->scheme);
    }
    if (!(ops->capabilities & PL_CAN_STORE)) {
        if (options->durability > ops->durability || options->segment_bytes || options->read_only ||
            options->go_on || options->forget_unread || options->archive_ms || options->ask_owner ||
            options->no_requests) {
            return pl_fail(PEAL_EUNSUPPORTED,
                           "%s: has memory only: durability, segment_bytes, read_only, go_on, "
                           "forget_unread, archive_ms, ask_owner and no_requests are for file:",
                           ops->scheme);
        }
        return PEAL_OK;
    }
    bool limited = options->history_events || options->history_bytes || options->history_ms;
    if (!(ops->capabilities & PL_CAN_SEGMENT) &&
        (options->segment_bytes || options->go_on || options->forget_unread ||
         options->archive_ms || limited)) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s: has one file and keeps every event: segment_bytes, go_on, "
                       "history_events, history_bytes, history_ms, forget_unread and archive_ms "
                       "are for file:",
                       ops->scheme);
    }
    if (options->history_events == PEAL_NO_HISTORY || options->history_bytes == PEAL_NO_HISTORY ||
        options->history_ms == PEAL_NO_HISTORY) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s: keeps events; to keep none is for mem:", ops->scheme);
    }
    // What is said of the history is for the files. The memory of the newest has limits of its own.
    *retention = (struct pl_retention){ .events = options->history_events,
                                        .bytes = options->history_bytes,
                                        .age_ms = options->history_ms,
                                        .unread_too = options->forget_unread,
                                        .archive_ms = options->archive_ms };
    options->history_events = UINT64_MAX - 1;
    options->history_bytes = newest_of_stored(options->memory_max);
    options->history_ms = 0;
    if (options->pressure == PEAL_PRESSURE_DROP_OLDEST) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s: drops nothing: pressure=drop_oldest is for mem:", ops->scheme);
    }
    return PEAL_OK;
}

static enum peal_err check_storage(struct peal_bus_options *options, bool remote)
{
    if (options->ask_owner && (!options->read_only || options->world)) {
        return pl_fail(PEAL_EINVAL, "ask_owner is for a bus that only reads: it goes with "
                                    "read_only, and not with a world");
    }
    if ((unsigned)options->durability > PEAL_DURABILITY_DISK) {
        return pl_fail(PEAL_EINVAL, "durability %d: there is no such level",
                       (int)options->durability);
    }
    if (options->durability == PEAL_DURABILITY_DEFAULT && !remote) {
        options->durability = PEAL_DURABILITY_OS;
    }
    set_default(&options->segment_bytes, 64 << 20);
    if (options->segment_bytes < SEGMENT_BYTES_MIN || options->segment_bytes > SEGMENT_BYTES_MAX) {
        return pl_fail(PEAL_EINVAL, "segment_bytes %" PRIu64 ": must be 64 KiB to 1 GiB",
                       options->segment_bytes);
    }
    return PEAL_OK;
}

enum peal_err pl_options_fill(struct peal_bus_options *options, struct pl_retention *retention,
                              const struct pl_url *url, const struct pl_engine_ops *ops)
{
    enum peal_err err = read_url(options, url);
    err = err ? err : check_engine(options, retention, ops);
    err = err ? err : fill_defaults(options);
    return err ? err : check_storage(options, ops->capabilities & PL_CAN_REMOTE);
}
