// SPDX-License-Identifier: MIT
//
// Opening, stopping and closing a bus.
//
// Opening: options (options.c), the engine, the workers. Any failure goes through peal_bus_close,
// which takes half a bus.
//
// Stopping, in this order: no new publishes (the version moves on, so that every publisher meets
// the closed gate); those under way end; workers drain the mailboxes until the deadline; workers
// end. From then on only memory is left.
#include "bus/ask.h"
#include "bus/letter.h"
#include "bus/schedule.h"

#include "base/error.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DRAIN_MS 5000

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

enum peal_err pl_bus_fail_closed(void)
{
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

// ---- opening ------------------------------------------------------------------------------------

static uint64_t next_bus_id(void)
{
    // The one mutable global: the numbers by which threads remember their buses must never repeat.
    static _Atomic uint64_t last;
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
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
        .read_only = options->read_only,
        .go_on = options->go_on,
        .unread = pl_bus_unread,
        .unread_context = bus,
        .origin = { bus->origin.seed[0], bus->origin.seed[1] },
        .say = options->log,
        .say_context = options->log_context,
        .ahead = pl_durable_fall_back,
        .ahead_context = bus,
        .token = options->token,
        .spool_bytes = options->spool_bytes,
        .pressure = options->pressure,
        .block_ms = options->block_ms,
        .arrive = pl_bus_arrive,
        .arrive_context = bus,
        .forgotten = pl_bus_forgotten,
        .deliver = pl_bus_deliver,
        .void_deliveries = pl_bus_void_deliveries,
    };
}

static enum peal_err open_engine(struct peal_bus *bus, const struct pl_url *url,
                                 const struct pl_engine_ops *ops,
                                 const struct pl_retention *retention)
{
    struct pl_engine_config config = describe(bus);
    config.retention = *retention;
    enum peal_err err = ops->open(&bus->engine, url, &config);
    if (err) {
        return err;
    }
    bus->log = bus->engine->log;
    bus->kv = bus->engine->state;
    bus->silent = !(ops->capabilities & PL_CAN_DELIVER);
    atomic_store_explicit(&bus->aside, bus->silent, memory_order_relaxed);
    bus->keeps = (ops->capabilities & PL_CAN_KEEP) && config.limits.history;
    if (pl_is_remote(bus)) {
        bus->dead.next_id = PL_LETTER_HERE;
    }
    if (bus->log) {
        memcpy(bus->origin.seed, bus->engine->origin, sizeof bus->origin.seed);
    }
    if (bus->log && !bus->log->find_floor) {
        bus->log->find_floor = pl_is_remote(bus) ? pl_intakes_floor_of_remote : pl_intakes_floor;
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
    pl_list_init(&bus->needs);
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

// The engine that a URL means, static, and what its bus is opened with, of which texts are
// *borrowed*. Nothing is opened.
static enum peal_err choose(const struct pl_engine_ops **out, struct peal_bus_options *options,
                            struct pl_retention *retention, const struct pl_url *url)
{
    const struct pl_engine_ops *ops = pl_engine_find(url->scheme);
    if (!ops && strcmp(url->scheme, "https") == 0) {
        return pl_fail(PEAL_EURL,
                       "\"https:\" is not there yet: write http:, and where others could "
                       "listen lead it through a tunnel (ssh -L, a proxy that ends TLS)");
    }
    if (!ops) {
        return pl_fail(PEAL_EURL, "\"%s:\" is not an engine; there are %s", url->scheme,
                       pl_engine_schemes());
    }
    enum peal_err err = pl_options_fill(options, retention, url, ops);
    if (err) {
        return err;
    }
    if (!*options->source) {
        return pl_fail(PEAL_EINVAL, "source: must not be empty; NULL is the default");
    }
    if (strnlen(options->source, PEAL_ATTRIBUTE_MAX + 1) > PEAL_ATTRIBUTE_MAX) {
        return pl_fail(PEAL_ELIMIT, "source: longer than %d bytes", PEAL_ATTRIBUTE_MAX);
    }
    *out = ops;
    return PEAL_OK;
}

static enum peal_err open_with(struct peal_bus *bus, const struct pl_url *url)
{
    const struct pl_engine_ops *ops;
    struct pl_retention retention = { 0 };
    enum peal_err err = choose(&ops, &bus->options, &retention, url);
    if (err) {
        return err;
    }
    bus->options.source =
        pl_copy_bytes(bus->seams, bus->options.source, strlen(bus->options.source));
    bus->origin.source = bus->options.source;
    if (!bus->options.source) {
        return pl_fail(PEAL_ENOMEM, "no memory to open a bus");
    }
    bus->data_max = bus->options.data_max;
    err = open_engine(bus, url, ops, &retention);
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
    if (!err && bus->kv) {
        err = pl_schedule_load(bus);
    }
    err = err ? err : pl_workers_start(bus);
    if (!err && (ops->capabilities & PL_CAN_STORE) && !bus->options.world) {
        // What cannot be found now is a log that cannot be asked; it can be written to all the
        // same.
        (void)pl_door_name(&bus->door, url->path);
        pl_answer_start(bus);
    }
    return err;
}

static enum peal_err copy_options(struct peal_bus_options *out,
                                  const struct peal_bus_options *options)
{
    *out = (struct peal_bus_options){ 0 };
    if (options) {
        size_t size = options->struct_size ? options->struct_size : sizeof *out;
        if (size > sizeof *out) {
            return pl_fail(PEAL_EINVAL,
                           "options of %zu bytes: from a newer header than this library", size);
        }
        memcpy(out, options, size);
    }
    return PEAL_OK;
}

static const struct pl_seams *seams_of(const struct peal_bus_options *options)
{
    return options->world ? pl_world_seams(options->world) : &pl_seams_real;
}

enum peal_err peal_bus_check(const char *url, const struct peal_bus_options *options)
{
    if (!url) {
        return pl_fail(PEAL_EINVAL, "peal_bus_check needs a URL (\"mem:\")");
    }
    const struct pl_engine_ops *ops;
    struct peal_bus_options wanted;
    struct pl_retention retention = { 0 };
    struct pl_url *parsed = NULL;
    enum peal_err err = copy_options(&wanted, options);
    err = err ? err : pl_url_create(&parsed, seams_of(&wanted), url);
    err = err ? err : choose(&ops, &wanted, &retention, parsed);
    pl_url_destroy(parsed);
    return err;
}

enum peal_err peal_bus_open(peal_bus **out, const char *url, const struct peal_bus_options *options)
{
    if (!out || !url) {
        return pl_fail(PEAL_EINVAL, "peal_bus_open needs a URL (\"mem:\") and a place for the bus");
    }
    struct peal_bus_options wanted;
    enum peal_err err = copy_options(&wanted, options);
    if (err) {
        return err;
    }
    const struct pl_seams *seams = seams_of(&wanted);
    struct pl_url *parsed;
    err = pl_url_create(&parsed, seams, url);
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
        char sentence[PL_SENTENCE_MAX]; // closing may fail, too, and say so in the place of this
        (void)snprintf(sentence, sizeof sentence, "%s", peal_error_sentence()); // fits
        bus->options.source = bus->origin.source; // the copy, or none: all that is ours
        peal_bus_close(bus);
        return pl_fail(err, "%s", sentence);
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
    pl_answer_stop(bus);
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
    if (bus->engine && bus->engine->ops->stop) {
        bus->engine->ops->stop(bus->engine);
    }
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
        pl_members_free(mailbox);
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
    pl_release(bus->seams, atomic_load_explicit(&bus->tracing, memory_order_relaxed));
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
    pl_bus_arrive_finish(bus);
    pl_routes_finish(bus);
    pl_topics_finish(bus);
    pl_release(seams, (void *)bus->options.source);
    pl_release(seams, bus->memory);
}
