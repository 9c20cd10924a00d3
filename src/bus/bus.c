// SPDX-License-Identifier: MIT
//
// Opening, stopping and closing a bus.
//
// Opening: options (the caller's, then the URL's, then the defaults), the engine, the workers. Any
// failure goes through peal_bus_close, which takes half a bus.
//
// Stopping, in this order: no new publishes (the version moves on, so that every publisher meets
// the closed gate); those under way end; workers drain the mailboxes until the deadline; workers
// end. From then on only memory is left.
#include "bus/schedule.h"

#include "base/error.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DRAIN_MS 5000

#define SEGMENT_BYTES_MIN (64ULL << 10)
#define SEGMENT_BYTES_MAX (1ULL << 30)

// What the options call PEAL_NO_HISTORY and the like.
#define NONE UINT64_MAX

void pl_bus_say(struct peal_bus *bus, enum peal_level level, const char *format, ...)
{
    if (!bus->options.log) {
        return;
    }
    char text[PL_SENTENCE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); // cut is better than nothing
    va_end(args);
    bus->options.log(level, text, bus->options.log_context);
}

enum peal_err pl_bus_check_open(struct peal_bus *bus)
{
    // Acquire: who sees it closed sees why.
    if (atomic_load_explicit(&bus->state, memory_order_acquire) == PL_BUS_OPEN) {
        return PEAL_OK;
    }
    return pl_fail(PEAL_ECLOSED, "the bus has been stopped");
}

int64_t pl_deadline(struct peal_bus *bus, uint64_t timeout_ms)
{
    int64_t now = pl_bus_ticks(bus);
    if (timeout_ms >= (uint64_t)(PL_FOREVER - now) / (uint64_t)PL_NS_PER_MS) {
        return PL_FOREVER;
    }
    return now + (int64_t)timeout_ms * PL_NS_PER_MS;
}

// ---- options ------------------------------------------------------------------------------------

enum kind { NUMBER, SIZE, MILLISECONDS, WORKERS, PRESSURE, DURABILITY, TEXT };

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
    { "durability", DURABILITY, offsetof(struct peal_bus_options, durability), NULL },
    { "segment_bytes", SIZE, offsetof(struct peal_bus_options, segment_bytes),
      "a file holds events" },
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

// ---- opening ------------------------------------------------------------------------------------

static uint64_t next_bus_id(void)
{
    // The one mutable global: the numbers by which threads remember their buses must never repeat.
    static _Atomic uint64_t last;
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

// Of what is stored, memory holds the newest: as much as mem: would, or half of what there is.
#define STORED_HISTORY_BYTES (8ULL << 20)

// Options that the engine does not have are refused, before any default is filled in.
static enum peal_err check_engine(struct peal_bus_options *options, const struct pl_engine_ops *ops)
{
    if (!(ops->capabilities & PL_CAN_DELIVER)) {
        return PEAL_OK; // it takes everything, so that a program can be switched to it
    }
    if (!(ops->capabilities & PL_CAN_STORE)) {
        if (options->durability > ops->durability || options->segment_bytes) {
            return pl_fail(
                PEAL_EUNSUPPORTED,
                "%s: has memory only: durability and segment_bytes are for file:", ops->scheme);
        }
        return PEAL_OK;
    }
    if (options->history_events || options->history_bytes || options->history_ms) {
        return pl_fail(
            PEAL_EUNSUPPORTED,
            "%s: keeps every event: history_events, history_bytes and history_ms are for "
            "mem:",
            ops->scheme);
    }
    if (options->pressure == PEAL_PRESSURE_DROP_OLDEST) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s: drops nothing: pressure=drop_oldest is for mem:", ops->scheme);
    }
    if (options->memory_max && options->memory_max / 2 < STORED_HISTORY_BYTES) {
        options->history_bytes = options->memory_max / 2;
    }
    return PEAL_OK;
}

static enum peal_err check_storage(struct peal_bus_options *options)
{
    if ((unsigned)options->durability > PEAL_DURABILITY_DISK) {
        return pl_fail(PEAL_EINVAL, "durability %d: there is no such level",
                       (int)options->durability);
    }
    if (options->durability == PEAL_DURABILITY_DEFAULT) {
        options->durability = PEAL_DURABILITY_OS;
    }
    set_default(&options->segment_bytes, 64 << 20);
    if (options->segment_bytes < SEGMENT_BYTES_MIN || options->segment_bytes > SEGMENT_BYTES_MAX) {
        return pl_fail(PEAL_EINVAL, "segment_bytes %" PRIu64 ": must be 64 KiB to 1 GiB",
                       options->segment_bytes);
    }
    return PEAL_OK;
}

// What the engine is told of the options.
static struct pl_engine_config describe(struct peal_bus *bus)
{
    const struct peal_bus_options *options = &bus->options;
    uint64_t age = options->history_ms;
    return (struct pl_engine_config){
        .seams = bus->seams,
        .source = options->source,
        .limits = { .history = options->history_bytes != PEAL_NO_HISTORY,
                    .history_events = options->history_events,
                    .history_bytes = options->history_bytes,
                    .history_ns = age && age < INT64_MAX / 1000000 ? age * (uint64_t)PL_NS_PER_MS
                                                                   : UINT64_MAX,
                    .memory_max = options->memory_max,
                    .drop_oldest = options->pressure == PEAL_PRESSURE_DROP_OLDEST },
        .state = { .duplicate_events = options->duplicate_events,
                   .duplicate_ns = options->duplicate_ms < INT64_MAX / 1000000
                                       ? (int64_t)options->duplicate_ms * PL_NS_PER_MS
                                       : INT64_MAX },
        .files = bus->files,
        .types = { pl_topic_name, pl_topic_number, bus },
        .segment_bytes = options->segment_bytes,
        .origin = { bus->origin.seed[0], bus->origin.seed[1] },
        .say = options->log,
        .say_context = options->log_context,
        .ahead = pl_durable_fall_back,
        .ahead_context = bus,
    };
}

static enum peal_err open_engine(struct peal_bus *bus, const struct pl_url *url,
                                 const struct pl_engine_ops *ops)
{
    struct pl_engine_config config = describe(bus);
    enum peal_err err = ops->open(&bus->engine, url, &config);
    if (err) {
        return err;
    }
    bus->log = bus->engine->log;
    bus->kv = bus->engine->state;
    bus->silent = !(ops->capabilities & PL_CAN_DELIVER);
    bus->keeps = (ops->capabilities & PL_CAN_KEEP) && config.limits.history;
    if (bus->log) {
        memcpy(bus->origin.seed, bus->engine->origin, sizeof bus->origin.seed);
    }
    if (bus->log && !bus->log->find_floor) {
        bus->log->find_floor = pl_intakes_floor;
        bus->log->floor_context = bus;
    }
    return PEAL_OK;
}

static void init(struct peal_bus *bus, const struct pl_seams *seams)
{
    bus->seams = seams;
    bus->files = &pl_files_real;
    bus->id = next_bus_id();
    bus->event_fd = -1;
    bus->timer_fd = -1;
    bus->poll_fd = -1;
    bus->hash_seed = seams->random(seams->world);
    bus->origin.seams = seams;
    bus->origin.seed[0] = seams->random(seams->world);
    bus->origin.seed[1] = seams->random(seams->world);
    bus->next_serial = 1;
    bus->dead.next_id = 1;
    pl_list_init(&bus->mailboxes);
    pl_list_init(&bus->interceptors);
    pl_list_init(&bus->active);
    pl_list_init(&bus->runs.queue);
    pl_list_init(&bus->dead.letters);
    pl_list_init(&bus->dead.unsaved);
    pl_list_init(&bus->dead.gone);
    pl_list_init(&bus->ghosts);
    pl_list_init(&bus->saving.durables);
    atomic_init(&bus->saving.due, PL_FOREVER);
    pl_map_init(&bus->dead.by_id, bus->seams);
    pl_heap_init(&bus->timers.heap, seams);
    pl_schedule_init(&bus->schedule, seams);
    pl_match_init(&bus->match, seams);
    atomic_init(&bus->version, 1);
    atomic_init(&bus->timers.earliest, PL_FOREVER);
    bus->runs.sleep_until = PL_FOREVER;
}

static enum peal_err open_with(struct peal_bus *bus, const struct pl_url *url)
{
    const struct pl_engine_ops *ops = pl_engine_find(url->scheme);
    if (!ops) {
        return pl_fail(PEAL_EURL, "\"%s:\" is not an engine; there are %s", url->scheme,
                       pl_engine_schemes());
    }
    enum peal_err err = read_url(&bus->options, url);
    err = err ? err : check_engine(&bus->options, ops);
    err = err ? err : fill_defaults(&bus->options);
    err = err ? err : check_storage(&bus->options);
    if (err) {
        return err;
    }
    if (!*bus->options.source) {
        return pl_fail(PEAL_EINVAL, "source: must not be empty; NULL is the default");
    }
    if (strnlen(bus->options.source, PEAL_ATTRIBUTE_MAX + 1) > PEAL_ATTRIBUTE_MAX) {
        return pl_fail(PEAL_ELIMIT, "source: longer than %d bytes", PEAL_ATTRIBUTE_MAX);
    }
    bus->options.source =
        pl_copy_bytes(bus->seams, bus->options.source, strlen(bus->options.source));
    bus->origin.source = bus->options.source;
    if (!bus->options.source) {
        return pl_fail(PEAL_ENOMEM, "no memory to open a bus");
    }
    bus->data_max = bus->options.data_max;
    err = open_engine(bus, url, ops);
    bus->workers = bus->options.workers;
    if (bus->silent) {
        bus->workers = PEAL_NO_WORKERS; // nothing is ever delivered
    }
    if (!err && pl_heap_reserve(&bus->timers.heap, 1)) {
        err = pl_fail(PEAL_ENOMEM, "no memory to open a bus"); // room for the schedule's timer
    }
    if (!err && bus->kv) {
        err = pl_durable_load(bus);
    }
    return err ? err : pl_workers_start(bus);
}

enum peal_err peal_bus_open(peal_bus **out, const char *url, const struct peal_bus_options *options)
{
    if (!out || !url) {
        return pl_fail(PEAL_EINVAL, "peal_bus_open needs a URL (\"mem:\") and a place for the bus");
    }
    struct peal_bus_options wanted = { 0 };
    if (options) {
        size_t size = options->struct_size ? options->struct_size : sizeof wanted;
        if (size > sizeof wanted) {
            return pl_fail(PEAL_EINVAL,
                           "options of %zu bytes: from a newer header than this library", size);
        }
        memcpy(&wanted, options, size);
    }
    const struct pl_seams *seams = wanted.world ? pl_world_seams(wanted.world) : &pl_seams_real;
    struct pl_url *parsed;
    enum peal_err err = pl_url_create(&parsed, seams, url);
    if (err) {
        return err;
    }
    // Cache lines of its own: the fields that publishers read stand apart from those that change.
    void *memory = pl_new(seams, sizeof(struct peal_bus) + 64);
    if (!memory) {
        pl_url_destroy(parsed);
        return pl_fail(PEAL_ENOMEM, "no memory to open a bus");
    }
    struct peal_bus *bus = pl_align64(memory);
    bus->memory = memory;
    bus->options = wanted;
    init(bus, seams);
    if (wanted.world) {
        bus->files = pl_world_files(wanted.world);
        err = pl_world_attach(wanted.world, bus);
    }
    err = err ? err : open_with(bus, parsed);
    pl_url_destroy(parsed);
    if (err) {
        bus->options.source = bus->origin.source; // the copy, or none: all that is ours
        peal_bus_close(bus);
        return err;
    }
    *out = bus;
    return PEAL_OK;
}

// ---- stopping -----------------------------------------------------------------------------------

static bool anybody_inside(struct peal_bus *bus)
{
    if (atomic_load_explicit(&bus->batching, memory_order_acquire) != 0) {
        return true;
    }
    for (const struct pl_slot *slot = pl_slots(bus); slot; slot = slot->next) {
        for (size_t i = 0; i < PL_DEPTH_MAX; i++) {
            if (atomic_load_explicit(&slot->hazards[i], memory_order_acquire)) {
                return true;
            }
        }
    }
    return false;
}

// Waits until no publisher is inside. The gate is closed; workers may still run.
static void wait_for_publishers(struct peal_bus *bus)
{
    atomic_fetch_add_explicit(&bus->quiet_wanted, 1, memory_order_seq_cst);
    bus->seams->barrier(bus->seams->world);
    for (;;) {
        unsigned word = atomic_load_explicit(&bus->quiet_word, memory_order_acquire);
        // Publishers that wait for memory must see that nobody will come.
        atomic_fetch_add_explicit(&bus->space_word, 1, memory_order_release);
        bus->seams->wake(bus->seams->world, &bus->space_word, UINT32_MAX);
        pl_mutex_lock(&bus->lock, bus->seams);
        bool inside = anybody_inside(bus);
        pl_mutex_unlock(&bus->lock, bus->seams);
        if (!inside) {
            break;
        }
        // A publisher between its look at the gate and its sleep may have missed the wake: look
        // again soon.
        bus->seams->wait(bus->seams->world, &bus->quiet_word, word,
                         pl_bus_ticks(bus) + 10 * PL_NS_PER_MS);
    }
    atomic_fetch_sub_explicit(&bus->quiet_wanted, 1, memory_order_seq_cst);
}

static void count_leftover(struct peal_bus *bus, struct peal_leftover *out)
{
    *out = (struct peal_leftover){ .scheduled = pl_schedule_count(bus) };
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_mailbox *mailbox;
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        struct peal_subscription_stats stats;
        struct pl_hold_numbers numbers;
        pl_mailbox_stats(mailbox, &stats, &numbers);
        pl_mutex_lock(&bus->runs.lock, bus->seams);
        uint64_t running = mailbox->running;
        pl_mutex_unlock(&bus->runs.lock, bus->seams);
        out->undelivered += stats.waiting - pl_mailbox_unwanted(mailbox, &numbers);
        out->retrying += numbers.retrying;
        out->unsettled += numbers.in_flight > running ? numbers.in_flight - running : 0;
        out->running += running;
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
}

// Nothing is ready, and nobody runs: what is left waits for time or for a person.
static bool is_drained(struct peal_bus *bus)
{
    bool drained = true;
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_mailbox *mailbox;
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        struct peal_subscription_stats stats;
        struct pl_hold_numbers numbers;
        pl_mailbox_stats(mailbox, &stats, &numbers);
        pl_mutex_lock(&bus->runs.lock, bus->seams);
        bool busy = mailbox->running > 0 || mailbox->queued;
        pl_mutex_unlock(&bus->runs.lock, bus->seams);
        bool can_go_on = !stats.paused && !stats.failed_overflow && mailbox->mode != PEAL_PULL &&
                         mailbox->member_count > 0;
        drained = drained && !busy && !(can_go_on && (stats.waiting > 0 || numbers.in_flight > 0));
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    return drained;
}

// Deliveries between two looks at the deadline.
#define DRAIN_BUDGET 64

static void drain(struct peal_bus *bus, struct pl_slot *slot, int64_t deadline)
{
    while (!is_drained(bus) && pl_bus_ticks(bus) < deadline) {
        if (bus->workers < 0 && slot && pl_runs_dispatch(bus, slot, DRAIN_BUDGET) > 0) {
            continue;
        }
        // Nobody says that a handler of another thread has ended: it looks each millisecond, until
        // the deadline, once in its life.
        int64_t soon = pl_bus_ticks(bus) + PL_NS_PER_MS;
        atomic_uint never = 0;
        bus->seams->wait(bus->seams->world, &never, 0, soon < deadline ? soon : deadline);
    }
}

// Who runs a mailbox leaves it after the handler that runs now.
static void halt(struct peal_bus *bus)
{
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_mailbox *mailbox;
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        atomic_store_explicit(&mailbox->paused, true, memory_order_relaxed);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
}

// Another thread stops the bus: waits until it has.
static void wait_for_stop(struct peal_bus *bus)
{
    while (atomic_load_explicit(&bus->state, memory_order_acquire) == PL_BUS_STOPPING) {
        bus->seams->wait(bus->seams->world, &bus->state, PL_BUS_STOPPING, PL_FOREVER);
    }
}

static void set_state(struct peal_bus *bus, enum pl_bus_state state)
{
    atomic_store_explicit(&bus->state, state, memory_order_release);
    bus->seams->wake(bus->seams->world, &bus->state, UINT32_MAX);
}

// Makes durable what was published; whoever asks again is told the same.
static enum peal_err settle_all(struct peal_bus *bus)
{
    if (!bus->log || !bus->engine->ops->settle) {
        return PEAL_OK;
    }
    return bus->engine->ops->settle(bus->engine, pl_log_end(bus->log), PEAL_DURABILITY_DISK);
}

enum peal_err peal_bus_stop(peal_bus *bus, uint64_t deadline_ms, struct peal_leftover *out)
{
    if (!bus) {
        return pl_fail(PEAL_EINVAL, "peal_bus_stop needs a bus");
    }
    struct pl_slot *slot = pl_slot_mine(bus);
    if (slot && (slot->current || slot->depth > 0)) { // a handler, or an interceptor
        return pl_fail(PEAL_ESTATE, "a handler cannot stop the bus that waits for it: do it from "
                                    "another thread, or set a flag");
    }
    unsigned open = PL_BUS_OPEN;
    if (!atomic_compare_exchange_strong(&bus->state, &open, PL_BUS_STOPPING)) {
        wait_for_stop(bus);
        if (out) {
            count_leftover(bus, out);
        }
        return settle_all(bus);
    }
    set_state(bus, PL_BUS_STOPPING); // who waits for a replay's pace looks again
    int64_t deadline = pl_deadline(bus, deadline_ms);
    pl_mutex_lock(&bus->lock, bus->seams);
    atomic_fetch_add_explicit(&bus->version, 1, memory_order_release); // the gate
    pl_mutex_unlock(&bus->lock, bus->seams);
    wait_for_publishers(bus);
    if (!bus->silent) {
        drain(bus, slot, deadline);
    }
    struct peal_leftover running, left;
    count_leftover(bus, &running);
    halt(bus);
    pl_workers_stop(bus);
    count_leftover(bus, &left);
    left.running = running.running;
    enum peal_err err = settle_all(bus);
    enum peal_err saved = pl_durable_save(bus, PEAL_DURABILITY_DISK, true);
    err = err ? err : saved;
    set_state(bus, PL_BUS_STOPPED);
    pl_pulls_wake(bus);
    if (out) {
        *out = left;
    }
    return err;
}

static void free_mailboxes(struct peal_bus *bus)
{
    struct pl_mailbox *mailbox, *after;
    PL_LIST_EACH_SAFE (mailbox, after, &bus->mailboxes, link) {
        pl_list_remove(&mailbox->link);
        pl_subscriptions_free(mailbox);
        pl_mutex_lock(&mailbox->lock, bus->seams);
        pl_hold_finish(mailbox);
        pl_mutex_unlock(&mailbox->lock, bus->seams);
        pl_mailbox_unref(mailbox);
    }
    while (bus->retired_boxes) {
        mailbox = bus->retired_boxes;
        bus->retired_boxes = mailbox->retired.next;
        pl_mailbox_unref(mailbox);
    }
}

static void free_interceptors(struct peal_bus *bus)
{
    struct pl_interceptor *interceptor, *after;
    PL_LIST_EACH_SAFE (interceptor, after, &bus->interceptors, link) {
        pl_pattern_free(interceptor->pattern, bus->seams);
        pl_release(bus->seams, interceptor);
    }
    struct pl_middlewares *list = atomic_load_explicit(&bus->middlewares, memory_order_relaxed);
    while (list) {
        struct pl_middlewares *older = list->older;
        pl_release(bus->seams, list);
        list = older;
    }
}

void peal_bus_close(peal_bus *bus)
{
    if (!bus) {
        return;
    }
    if (peal_bus_stop(bus, DRAIN_MS, NULL) == PEAL_ESTATE) {
        return; // from inside a handler: freeing it would pull the ground away
    }
    if (bus->options.world) {
        pl_world_detach(bus->options.world, bus);
    }
    const struct pl_seams *seams = bus->seams;
    (void)pl_durable_save(bus, PEAL_DURABILITY_OS, true); // deliveries settled since it stopped
    pl_poll_close(bus);
    pl_dead_finish(bus);
    pl_ghosts_finish(bus);
    pl_match_finish(&bus->match);
    pl_heap_finish(&bus->timers.heap); // the timers are in the mailboxes
    pl_schedule_finish(bus);
    free_mailboxes(bus);
    free_interceptors(bus);
    struct pl_upcasts *upcasts = atomic_load_explicit(&bus->upcasts, memory_order_acquire);
    if (upcasts) {
        upcasts->close(upcasts);
    }
    pl_slots_finish(bus);
    if (bus->engine) {
        bus->engine->ops->close(bus->engine); // which asks for the names of types to the last
    }
    pl_topics_finish(bus);
    pl_release(seams, (void *)bus->options.source);
    pl_release(seams, bus->memory);
}
