// SPDX-License-Identifier: MIT
//
// Load: publishers and readers of every kind, each a thread that goes on until it is told to stop.
#ifndef PEAL_TESTS_CRASH_LOAD_H
#define PEAL_TESTS_CRASH_LOAD_H

#include "crash/world.h"

// ---- publishing ---------------------------------------------------------------------------------

static void acknowledge(struct actor *actor, uint64_t number, uint64_t position)
{
    actor->publisher.known[number] = ACKNOWLEDGED;
    actor->publisher.position[number] = position;
}

static void refuse_answer(struct actor *actor)
{
    say_wrong(actor->world, "publisher %u was answered %d: %.200s", actor->number,
              actor->caller.status, actor->caller.body);
}

// Of an answer {"position":7,...}; 0: it is none.
static uint64_t position_in(const char *text)
{
    const char *at = strstr(text, "\"position\":");
    return at ? strtoull(at + 11, NULL, 10) : 0;
}

// One event, as CloudEvents JSON, until it is answered.
static void publish_one(struct actor *actor)
{
    char event[1024];
    uint64_t number = actor->publisher.said++;
    (void)put_event(event, actor->number, number);
    while (actor->life == 0 || !caller_ask(&actor->caller, "/v1/events", CLOUDEVENT, event)) {
        do {
            if (!live_again(actor)) {
                return;
            }
        } while (!caller_begin(&actor->caller));
    }
    if (actor->caller.status != 201) {
        refuse_answer(actor);
        return;
    }
    acknowledge(actor, number, position_in(actor->caller.body));
    get_on(actor, 1, 0);
}

// The friendly form. What is not answered stays unknown.
static void publish_carelessly(struct actor *actor)
{
    char path[128], data[512];
    uint64_t number = actor->publisher.said++;
    (void)put_data(data, actor->number, number);
    (void)snprintf(path, sizeof path, "/v1/events/" TYPE "?source=/crash&id=%u-%" PRIu64,
                   actor->number, number);
    if (actor->life == 0 || !caller_ask(&actor->caller, path, "", data)) {
        while (live_again(actor) && !caller_begin(&actor->caller)) {
        }
        return;
    }
    if (actor->caller.status != 201) {
        refuse_answer(actor);
        return;
    }
    acknowledge(actor, number, position_in(actor->caller.body));
    get_on(actor, 1, 0);
}

static bool send_batch(struct actor *actor, uint64_t first)
{
    static const char between[] = "[,";
    char body[BATCH * 1024 + 8];
    size_t used = 0;
    for (uint64_t i = 0; i < BATCH; i++) {
        body[used++] = between[i > 0];
        used += (size_t)put_event(body + used, actor->number, first + i);
    }
    body[used++] = ']';
    body[used] = 0;
    return caller_ask(&actor->caller, "/v1/events", EVENTS_JSON, body);
}

// All or none: of one that was not answered, either all are known when it is sent again, or none.
static void publish_batch(struct actor *actor)
{
    uint64_t first = actor->publisher.said;
    actor->publisher.said += BATCH;
    while (actor->life == 0 || !send_batch(actor, first)) {
        do {
            if (!live_again(actor)) {
                return;
            }
        } while (!caller_begin(&actor->caller));
    }
    unsigned known = 0, fresh = 0;
    const char *at = actor->caller.body;
    for (uint64_t i = 0; i < BATCH && actor->caller.status == 201; i++) {
        at = strstr(at, "\"position\":");
        if (!at) {
            break;
        }
        acknowledge(actor, first + i, position_in(at));
        const char *duplicate = strstr(at, "\"duplicate\":");
        known += duplicate && duplicate[12] == 't';
        fresh += duplicate && duplicate[12] == 'f';
        at++;
    }
    if (known + fresh != BATCH || (known > 0 && fresh > 0)) {
        refuse_answer(actor);
        return;
    }
    get_on(actor, BATCH, 0);
}

// Lines of one request, each in a chunk of its own.
static bool send_lines(struct actor *actor, uint64_t first)
{
    static const char head[] = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\n" NDJSON "\r\n";
    bool good = caller_send(&actor->caller, head, sizeof head - 1);
    for (uint64_t i = 0; i < BATCH && good; i++) {
        char event[1024], chunk[1100];
        int size = put_event(event, actor->number, first + i);
        size = snprintf(chunk, sizeof chunk, "%x\r\n%s\n\r\n", (unsigned)size + 1, event);
        good = caller_send(&actor->caller, chunk, (size_t)size);
    }
    return good && caller_send(&actor->caller, "0\r\n\r\n", 5) && caller_answer(&actor->caller);
}

static void publish_lines(struct actor *actor)
{
    uint64_t first = actor->publisher.said, published = 0, duplicates = 0;
    actor->publisher.said += BATCH;
    while (actor->life == 0 || !send_lines(actor, first)) {
        do {
            if (!live_again(actor)) {
                return;
            }
        } while (!caller_begin(&actor->caller));
    }
    if (actor->caller.status != 200 ||
        sscanf(actor->caller.body, "{\"published\":%" SCNu64 ",\"duplicates\":%" SCNu64, &published,
               &duplicates) != 2 ||
        published + duplicates != BATCH) {
        refuse_answer(actor);
        return;
    }
    for (uint64_t i = 0; i < BATCH; i++) {
        acknowledge(actor, first + i, 0); // where, it does not say
    }
    get_on(actor, BATCH, 0);
}

// The library waits through a death by itself.
static void publish_from_c(struct actor *actor)
{
    char data[512], id[32];
    uint64_t number = actor->publisher.said++;
    struct peal_receipt receipt;
    struct peal_message message = { .type = TYPE, .source = "/crash", .id = id, .data = data };
    (void)snprintf(id, sizeof id, "%u-%" PRIu64, actor->number, number);
    message.size = (size_t)put_data(data, actor->number, number);
    enum peal_err err = peal_publish(actor->world->bus, &message, &receipt);
    if (err || receipt.durability < PEAL_DURABILITY_OS) {
        say_wrong(actor->world, "the library's publisher failed: %s", peal_error_sentence());
        return;
    }
    acknowledge(actor, number, receipt.position);
    get_on(actor, 1, 0);
}

static void *publish(void *context)
{
    static void (*const ways[PUBLISHERS])(struct actor *) = {
        publish_one,   publish_one,   publish_one,    publish_carelessly,
        publish_batch, publish_lines, publish_from_c, publish_from_c,
    };
    struct actor *actor = context;
    while (may_publish(actor)) {
        ways[actor->number](actor);
    }
    caller_end(&actor->caller);
    return NULL;
}

// ---- reading ------------------------------------------------------------------------------------

// An event has come. `repeats`: it may have come before.
static bool note(struct actor *actor, uint64_t position, uint64_t key, bool repeats)
{
    struct reader *reader = &actor->reader;
    if (key == 0 || position == 0 || position >= EVENTS_MAX) {
        say_wrong(actor->world, "reader %u was sent what nobody has said, at %" PRIu64,
                  actor->number, position);
        return false;
    }
    if (!repeats && position != reader->last + 1) {
        say_wrong(actor->world, "reader %u was sent %" PRIu64 " behind %" PRIu64, actor->number,
                  position, reader->last);
        return false;
    }
    if (reader->seen[position] && reader->seen[position] != key) {
        say_wrong(actor->world, "reader %u: another event at %" PRIu64, actor->number, position);
        return false;
    }
    reader->last = position;
    reader->seen[position] = key;
    return true;
}

// Connects, and asks for what comes behind the last event. False: it is to stop.
static bool follow(struct actor *actor, const char *format)
{
    char request[512];
    size_t length;
    while (live_again(actor)) {
        int size = snprintf(request, sizeof request, format, actor->reader.last);
        if (!caller_begin(&actor->caller) || !caller_send(&actor->caller, request, (size_t)size) ||
            !caller_head(&actor->caller, &length)) {
            continue;
        }
        if (actor->caller.status == 200 || actor->caller.status == 101) {
            return true;
        }
        say_wrong(actor->world, "reader %u was answered %d: %.200s", actor->number,
                  actor->caller.status, actor->caller.bytes + actor->caller.from);
    }
    return false;
}

static bool note_text(struct actor *actor, const char *text)
{
    uint64_t position = 0, key = read_event(text, &position);
    bool good = note(actor, position, key, false);
    get_on(actor, 0, good);
    return good;
}

// All events of what stream has come; the beginning of the next stays in `text`.
static bool note_stream(struct actor *actor, char *text)
{
    for (char *end; (end = strstr(text, "\n\n"));) {
        *end = 0;
        if (text[0] != ':' && !note_text(actor, text)) {
            return false;
        }
        memmove(text, end + 2, strlen(end + 2) + 1);
    }
    return true;
}

static void *read_stream(void *context)
{
    struct actor *actor = context;
    char *text = malloc((size_t)2 * CALLER_ROOM);
    bool good = text != NULL;
    while (good && follow(actor, "GET /v1/stream?type=load.* HTTP/1.1\r\nHost: localhost\r\n"
                                 "Last-Event-ID: %" PRIu64 "\r\n\r\n")) {
        text[0] = 0;
        while (good && caller_chunk(&actor->caller)) {
            (void)strcat(text, actor->caller.body); // room for what is left and one piece
            good = note_stream(actor, text);
        }
    }
    free(text);
    caller_end(&actor->caller);
    return NULL;
}

static void *read_socket(void *context)
{
    struct actor *actor = context;
    bool good = true;
    while (good && follow(actor, "GET /v1/ws?type=load.*&after=%" PRIu64 " HTTP/1.1\r\n"
                                 "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Version: 13\r\n"
                                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")) {
        while (good && caller_message(&actor->caller)) {
            good = note_text(actor, actor->caller.body);
        }
    }
    caller_end(&actor->caller);
    return NULL;
}

// ---- pulling ------------------------------------------------------------------------------------

enum { PULL = 32 };

struct pulled {
    uint64_t positions[PULL];
    char receipts[PULL][48];
    size_t count;
};

// What has come, each with its receipt.
static bool take_deliveries(struct actor *actor, struct pulled *out)
{
    struct reader *reader = &actor->reader;
    static const char begins[] = "{\"receipt\":\"";
    uint64_t fresh = 0;
    out->count = 0;
    char *at = strstr(actor->caller.body, begins);
    while (at && out->count < PULL) {
        char *next = strstr(at + 1, begins);
        uint64_t position = 0, key;
        if (next) {
            next[-1] = 0;
        }
        key = read_event(at, &position);
        bool seen = position >= EVENTS_MAX || reader->seen[position];
        if (!note(actor, position, key, true)) {
            return false;
        }
        if (reader->settled[position]) {
            say_wrong(actor->world, "%" PRIu64 " was settled, and is delivered again", position);
            return false;
        }
        (void)sscanf(at + sizeof begins - 1, "%47[^\"]", out->receipts[out->count]);
        out->positions[out->count++] = position;
        fresh += !seen;
        at = next;
    }
    count_read(actor, fresh);
    return true;
}

// Settles them. False: the connection is broken, or something is wrong.
static bool settle(struct actor *actor, const struct pulled *pulled)
{
    char body[PULL * 100 + 64] = "{\"settlements\":[";
    size_t used = strlen(body);
    for (size_t i = 0; i < pulled->count; i++) {
        used += (size_t)snprintf(body + used, sizeof body - used,
                                 "%s{\"receipt\":\"%s\",\"verdict\":\"done\"}", i ? "," : "",
                                 pulled->receipts[i]);
    }
    (void)snprintf(body + used, sizeof body - used, "]}");
    if (!caller_ask(&actor->caller, "/v1/subscriptions/puller/settle", "", body)) {
        return false;
    }
    if (actor->caller.status != 200) {
        refuse_answer(actor);
        return false;
    }
    for (size_t i = 0; i < pulled->count; i++) {
        if (!strstr(actor->caller.body, pulled->receipts[i])) { // it was not missed
            actor->reader.settled[pulled->positions[i]] = 1;
        }
    }
    get_on(actor, 0, 0);
    return true;
}

static bool pull_some(struct actor *actor)
{
    struct pulled pulled;
    if (!caller_ask(&actor->caller, "/v1/subscriptions/puller/pull", "",
                    "{\"max\":32,\"wait_ms\":100}")) {
        return false;
    }
    if (actor->caller.status != 200) {
        refuse_answer(actor);
        return false;
    }
    return take_deliveries(actor, &pulled) && (pulled.count == 0 || settle(actor, &pulled));
}

static void *read_pulled(void *context)
{
    struct actor *actor = context;
    while (live_again(actor)) {
        bool good = caller_begin(&actor->caller);
        while (good) {
            good = pull_some(actor);
            struct world *world = actor->world;
            (void)pthread_mutex_lock(&world->lock);
            good = good && !world->ending && !*world->wrong;
            (void)pthread_mutex_unlock(&world->lock);
        }
    }
    caller_end(&actor->caller);
    return NULL;
}

// ---- the library --------------------------------------------------------------------------------

static uint64_t key_of(const peal_event *event)
{
    unsigned publisher = 0;
    uint64_t number = 0;
    char data[512];
    if (sscanf(peal_event_id(event), "%u-%" SCNu64, &publisher, &number) != 2) {
        return 0;
    }
    size_t size = (size_t)put_data(data, publisher, number);
    bool same = peal_event_size(event) == size && memcmp(peal_event_data(event), data, size) == 0;
    return same ? event_key(publisher, number) : 0;
}

static enum peal_verdict hear(const peal_event *event, void *context)
{
    struct actor *actor = context;
    bool good = note(actor, peal_event_position(event), key_of(event), false);
    get_on(actor, 0, good);
    return PEAL_DONE;
}

// ---- a durable name -----------------------------------------------------------------------------

static bool open_named(struct world *world)
{
    const struct peal_subscribe_options options = {
        .name = "handler",
        .mode = PEAL_PULL,
        .from = PEAL_FROM_BEGINNING,
        .retry = { .max_attempts = 1000, .initial_ms = 20, .max_ms = 20 },
    };
    bool good = !peal_bus_open(&world->named, world->url, NULL) &&
                !peal_subscribe(&world->durable, world->named, "load.*", &options, NULL, NULL);
    if (!good) { // the service has died meanwhile
        peal_bus_close(world->named);
        world->named = NULL;
    }
    return good;
}

// Another process might have it now: what this one has settled and not saved may come again, what
// was saved may not.
static void change_hands(struct actor *actor)
{
    struct reader *reader = &actor->reader;
    peal_bus_close(actor->world->named);
    actor->world->named = NULL;
    for (size_t i = 0; i < reader->held_count; i++) {
        reader->settled[reader->held[i]] = 0;
    }
    reader->held_count = 0;
    reader->changes++;
}

// What was settled so far is so for ever.
static void save_named(struct actor *actor)
{
    struct reader *reader = &actor->reader;
    enum peal_err err = peal_name_save(actor->world->named, "handler");
    if (err && err != PEAL_EIO && err != PEAL_ETIMEDOUT) {
        say_wrong(actor->world, "it cannot be saved: %s", peal_error_sentence());
    } else if (!err) {
        reader->sure += reader->held_count;
        reader->held_count = 0;
    }
}

// What was settled does not come again, as long as the bus lives; saved or not.
static void handle_some(struct actor *actor, peal_delivery **deliveries, size_t count)
{
    struct reader *reader = &actor->reader;
    uint64_t fresh = 0;
    for (size_t i = 0; i < count; i++) {
        const peal_event *event = peal_delivery_event(deliveries[i]);
        uint64_t position = peal_event_position(event);
        bool seen = position >= EVENTS_MAX || reader->seen[position];
        bool good = note(actor, position, key_of(event), true);
        if (good && reader->settled[position]) {
            say_wrong(actor->world, "%" PRIu64 " was settled, and comes to the library again",
                      position);
        }
        fresh += !seen;
        reader->again += seen;
        if (!peal_delivery_settle(deliveries[i], PEAL_DONE) && good) {
            reader->settled[position] = 1;
            reader->held[reader->held_count++] = position;
        }
    }
    count_read(actor, fresh);
    if (reader->held_count > HELD_MAX - PULL || fresh % 3 == 0) {
        save_named(actor);
    }
    get_on(actor, 0, 0);
}

// Every third life it is another bus that has the name.
static bool may_change(struct actor *actor)
{
    struct world *world = actor->world;
    (void)pthread_mutex_lock(&world->lock);
    bool changes = world->lives % 3 == 0 && world->lives != actor->life;
    actor->life = changes ? world->lives : actor->life;
    (void)pthread_mutex_unlock(&world->lock);
    return changes;
}

static void *read_by_name(void *context)
{
    struct actor *actor = context;
    struct world *world = actor->world;
    bool goes = true;
    while (goes) {
        peal_delivery *deliveries[PULL];
        size_t count = 0;
        if (may_change(actor)) {
            change_hands(actor);
        }
        enum peal_err err = PEAL_ETIMEDOUT;
        if (world->named || open_named(world)) {
            err = peal_subscription_pull(deliveries, &count, world->durable, PULL, 100);
        }
        if (!err) {
            handle_some(actor, deliveries, count);
        }
        (void)pthread_mutex_lock(&world->lock);
        goes = !world->ending && !*world->wrong && (!err || err == PEAL_ETIMEDOUT);
        (void)pthread_mutex_unlock(&world->lock);
    }
    save_named(actor);
    peal_bus_close(world->named);
    return NULL;
}

#endif
