// SPDX-License-Identifier: MIT
// ctest: serial timeout=900
//
// `peal serve` is killed under load from HTTP and C clients, 100 times, or PEAL_KILLS, in percent
// of PEAL_EFFORT. Of what it has acknowledged nothing is lost, changed or doubled; nothing is
// invented; who follows and resumes has seen each event once, in order; and what was settled, and
// is known to be, is not delivered again.
//
//     publishers   one at a time, tried again until answered, and never tried again; batches;
//                  NDJSON; the library through `http:`
//     readers      SSE with Last-Event-ID, WebSocket with `after`, pull and settle; the library: a
//                  subscription, and a durable name, of which it asks what is done
//
// Each life lasts until every client has got on in it, and for as many events more as chance says;
// some are cut off as soon as they listen. Whose connection breaks waits for the next life: one
// that breaks without a kill holds the test up until it fails.
//
// Event n of publisher p has the id "p-n", and data that follow from it. So a reader knows what it
// should have been sent, and the log is compared with what was said, without keeping either.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <peal/peal.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "crash/caller.h"
#include "support/folder.h"

enum {
    PUBLISHERS = 8,
    READERS = 5,
    ACTORS = PUBLISHERS + READERS,
    THREADS = ACTORS - 1, // the last reader is a handler of the library
    EVENTS_MAX = 1 << 20, // of one publisher, and in all
    AHEAD = 3000,         // events that the slowest reader may be behind
    BATCH = 16,
    PATIENCE_MS = 30000,
    LIFE_S = 60, // a life in which somebody does not get on is too long then
};

#define TYPE        "load.event"
#define CLOUDEVENT  "Content-Type: application/cloudevents+json\r\n"
#define EVENTS_JSON "Content-Type: application/cloudevents-batch+json\r\n"
#define NDJSON      "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n"

// What a publisher knows of an event.
enum { UNKNOWN, ACKNOWLEDGED };

struct publisher {
    unsigned number;
    uint64_t said;      // events below were said, or begun to be
    uint64_t *position; // where the service has said it is
    unsigned char *known;
};

struct reader {
    uint64_t last;          // position
    uint64_t *seen;         // by position: what was there, as event_key
    unsigned char *settled; // and answered
    uint64_t again, sure;   // had come before; are known to be done
};

struct world;

struct actor {
    struct world *world;
    pthread_t thread;
    unsigned number;
    struct caller caller;
    struct publisher publisher;
    struct reader reader;
    uint64_t life;     // that it is connected in
    uint64_t moved_in; // it has got on in; with the lock
};

struct world {
    struct folder folder;
    char url[64], log[300], port_file[300], journal[300];
    int ports; // a pipe with a name: what the service says when it listens
    unsigned short port;
    pid_t pid;
    peal_bus *bus; // the library's, through `http:`
    peal_subscription *durable;

    pthread_mutex_t lock; // what stands below
    pthread_cond_t changed;
    uint64_t life;      // 1: the first; 0: nobody listens
    uint64_t lives;     // how many there were
    uint64_t published; // events that were acknowledged
    uint64_t read[READERS];
    bool stopping, ending; // publishers stop; then readers, when they have all
    uint64_t end;          // the last position
    char wrong[400];

    struct actor actors[ACTORS];
};

// ---- what is wrong ------------------------------------------------------------------------------

__attribute__((format(printf, 2, 3))) static void say_wrong(struct world *world, const char *format,
                                                            ...)
{
    va_list list;
    va_start(list, format);
    (void)pthread_mutex_lock(&world->lock);
    if (!*world->wrong) {
        (void)vsnprintf(world->wrong, sizeof world->wrong, format, list);
    }
    (void)pthread_cond_broadcast(&world->changed);
    (void)pthread_mutex_unlock(&world->lock);
    va_end(list);
}

// Waits for a change. False: nothing has changed for too long. With the lock.
static bool wait_for_change(struct world *world)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    return pthread_cond_timedwait(&world->changed, &world->lock, &until) == 0;
}

// ---- events -------------------------------------------------------------------------------------

static uint64_t event_key(unsigned publisher, uint64_t number)
{
    return (uint64_t)(publisher + 1) << 32 | number;
}

// Some are longer than others.
static int put_data(char out[512], unsigned publisher, uint64_t number)
{
    return snprintf(out, 512, "{\"p\":%u,\"n\":%" PRIu64 ",\"x\":\"%0*" PRIx64 "\"}", publisher,
                    number, (int)(16 + number * 7 % 300), number * UINT64_C(0x9e3779b97f4a7c15));
}

static int put_event(char out[1024], unsigned publisher, uint64_t number)
{
    char data[512];
    (void)put_data(data, publisher, number);
    return snprintf(out, 1024,
                    "{\"specversion\":\"1.0\",\"id\":\"%u-%" PRIu64
                    "\",\"source\":\"/crash\",\"type\":\"" TYPE "\",\"data\":%s}",
                    publisher, number, data);
}

// Which event a text of JSON is, if it is one of ours and unchanged; 0: it is not.
static uint64_t read_event(const char *text, uint64_t *out_position)
{
    unsigned publisher = 0;
    uint64_t number = 0;
    char data[512], wanted[600];
    const char *id = strstr(text, "\"id\":\""), *at = strstr(text, "\"pealposition\":\"");
    if (!id || !at || sscanf(id + 6, "%u-%" SCNu64 "\"", &publisher, &number) != 2) {
        return 0;
    }
    (void)put_data(data, publisher, number);
    (void)snprintf(wanted, sizeof wanted, "\"data\":%s}", data);
    *out_position = strtoull(at + 16, NULL, 10);
    return strstr(text, wanted) ? event_key(publisher, number) : 0;
}

// ---- lives --------------------------------------------------------------------------------------

// Waits until there is another life than the actor's, and connects. False: it is to stop.
static bool live_again(struct actor *actor)
{
    struct world *world = actor->world;
    bool stops = false;
    (void)pthread_mutex_lock(&world->lock);
    while (!*world->wrong && !world->ending && (!world->life || world->life == actor->life)) {
        (void)wait_for_change(world);
    }
    actor->life = world->life;
    stops = *world->wrong || world->ending;
    (void)pthread_mutex_unlock(&world->lock);
    actor->caller.port = world->port;
    return !stops;
}

// Something was acknowledged, or has come.
static void get_on(struct actor *actor, uint64_t published, uint64_t read)
{
    struct world *world = actor->world;
    (void)pthread_mutex_lock(&world->lock);
    world->published += published;
    if (actor->number >= PUBLISHERS) {
        world->read[actor->number - PUBLISHERS] += read;
    }
    actor->moved_in = world->life;
    (void)pthread_cond_broadcast(&world->changed);
    (void)pthread_mutex_unlock(&world->lock);
}

// Events have come that had not; that is not yet to get on.
static void count_read(struct actor *actor, uint64_t fresh)
{
    struct world *world = actor->world;
    (void)pthread_mutex_lock(&world->lock);
    world->read[actor->number - PUBLISHERS] += fresh;
    (void)pthread_cond_broadcast(&world->changed);
    (void)pthread_mutex_unlock(&world->lock);
}

static uint64_t slowest(const struct world *world)
{
    uint64_t least = world->read[0];
    for (unsigned i = 1; i < READERS; i++) {
        least = world->read[i] < least ? world->read[i] : least;
    }
    return least;
}

// Publishers wait for the readers. False: it is time to stop.
static bool may_publish(struct actor *actor)
{
    struct world *world = actor->world;
    (void)pthread_mutex_lock(&world->lock);
    while (!*world->wrong && !world->stopping && world->published > slowest(world) + AHEAD) {
        (void)pthread_cond_wait(&world->changed, &world->lock);
    }
    bool may = !*world->wrong && !world->stopping;
    (void)pthread_mutex_unlock(&world->lock);
    return may && actor->publisher.said + BATCH < EVENTS_MAX;
}

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

// What the service says to be done, is. It is asked of one in eight: each costs a way there and
// back.
static void find_out(struct actor *actor, const uint64_t *positions, size_t count)
{
    for (size_t i = 0; i < count; i += 8) {
        struct peal_standing found = { .state = PEAL_STANDS_AHEAD };
        enum peal_err err = peal_name_look(&found, actor->world->bus, "handler", positions[i]);
        if (!err && found.state == PEAL_STANDS_DONE) {
            actor->reader.settled[positions[i]] = 1;
            actor->reader.sure++;
        }
    }
}

static void handle_some(struct actor *actor, peal_delivery **deliveries, size_t count)
{
    uint64_t positions[PULL], fresh = 0;
    for (size_t i = 0; i < count; i++) {
        const peal_event *event = peal_delivery_event(deliveries[i]);
        uint64_t position = positions[i] = peal_event_position(event);
        bool seen = position >= EVENTS_MAX || actor->reader.seen[position];
        if (note(actor, position, key_of(event), true) && actor->reader.settled[position]) {
            say_wrong(actor->world, "%" PRIu64 " is done, and comes to the library again",
                      position);
        }
        fresh += !seen;
        actor->reader.again += seen;
        (void)peal_delivery_settle(deliveries[i], PEAL_DONE); // it may be too late: then it comes
    }
    count_read(actor, fresh);
    find_out(actor, positions, count);
    get_on(actor, 0, 0);
}

static void *read_by_name(void *context)
{
    struct actor *actor = context;
    struct world *world = actor->world;
    bool goes = true;
    while (goes) {
        peal_delivery *deliveries[PULL];
        size_t count = 0;
        enum peal_err err = peal_subscription_pull(deliveries, &count, world->durable, PULL, 100);
        if (!err) {
            handle_some(actor, deliveries, count);
        }
        (void)pthread_mutex_lock(&world->lock);
        goes = !world->ending && !*world->wrong && (!err || err == PEAL_ETIMEDOUT);
        (void)pthread_mutex_unlock(&world->lock);
    }
    return NULL;
}

// ---- the service --------------------------------------------------------------------------------

static void run_service(const struct world *world)
{
    char listen_to[32];
    int journal = open(world->journal, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)snprintf(listen_to, sizeof listen_to, "127.0.0.1:%u", (unsigned)world->port);
    (void)dup2(journal, 1);
    (void)dup2(journal, 2);
    (void)execl(PEAL_PROGRAM, "peal", "serve", "--url", world->log, "--listen", listen_to,
                "--port-file", world->port_file, (char *)NULL);
    _exit(127);
}

// Waits until it listens, and says so to those who wait for it.
static void start_service(struct world *world)
{
    char line[16] = "";
    world->pid = fork();
    assert_true(world->pid >= 0);
    if (world->pid == 0) {
        run_service(world);
    }
    for (size_t used = 0; used < sizeof line - 1 && !strchr(line, '\n');) {
        struct pollfd said = { .fd = world->ports, .events = POLLIN };
        if (poll(&said, 1, PATIENCE_MS) != 1) {
            fail_msg("the service does not start: see %s", world->journal);
        }
        ssize_t got = read(world->ports, line + used, sizeof line - 1 - used);
        assert_true(got > 0);
        used += (size_t)got;
    }
    world->port = (unsigned short)strtoul(line, NULL, 10);
    (void)pthread_mutex_lock(&world->lock);
    world->life = ++world->lives;
    (void)pthread_cond_broadcast(&world->changed);
    (void)pthread_mutex_unlock(&world->lock);
}

static void kill_service(struct world *world)
{
    int status;
    (void)pthread_mutex_lock(&world->lock);
    world->life = 0; // nobody begins anything new in this one
    (void)pthread_mutex_unlock(&world->lock);
    assert_int_equal(kill(world->pid, SIGKILL), 0);
    assert_int_equal(waitpid(world->pid, &status, 0), world->pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        fail_msg("the service has ended by itself (%x): see %s", (unsigned)status, world->journal);
    }
    world->pid = 0;
}

// ---- the test -----------------------------------------------------------------------------------

static unsigned setting(const char *name, unsigned usual)
{
    const char *given = getenv(name); // NOLINT(concurrency-mt-unsafe): nobody sets it
    return given ? (unsigned)strtoul(given, NULL, 10) : usual;
}

static uint64_t chance(uint64_t *seed, uint64_t below)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed % below;
}

// What was published, and what all readers have: who publishes waits for them. With the lock.
static uint64_t progress(const struct world *world)
{
    return world->published + slowest(world);
}

// Everybody has got on in this life, and all together so far. With the lock.
static bool has_lived(const struct world *world, uint64_t until)
{
    bool all = progress(world) >= until;
    for (unsigned i = 0; i < ACTORS; i++) {
        all = all && world->actors[i].moved_in == world->life;
    }
    return all;
}

static void live_and_die(struct world *world, uint64_t more)
{
    (void)pthread_mutex_lock(&world->lock);
    uint64_t until = progress(world) + more;
    bool late = false;
    time_t last = time(NULL) + LIFE_S;
    while (!*world->wrong && !late && !has_lived(world, until)) {
        late = !wait_for_change(world) || time(NULL) > last;
    }
    for (unsigned i = 0; i < ACTORS && late; i++) {
        if (world->actors[i].moved_in != world->life) {
            print_message("client %u does not get on\n", i);
        }
    }
    bool wrong = late || *world->wrong;
    (void)pthread_mutex_unlock(&world->lock);
    if (!wrong) {
        kill_service(world);
        start_service(world);
    } else if (late) {
        say_wrong(world, "somebody does not get on in life %" PRIu64, world->life);
    }
}

static void open_world(struct world *world)
{
    folder_open(&world->folder, "");
    (void)snprintf(world->log, sizeof world->log, "file:%s/events", world->folder.path);
    (void)snprintf(world->journal, sizeof world->journal, "%s/journal", world->folder.path);
    (void)snprintf(world->port_file, sizeof world->port_file, "%s/port", world->folder.path);
    (void)pthread_mutex_init(&world->lock, NULL);
    (void)pthread_cond_init(&world->changed, NULL);
    assert_int_equal(mkfifo(world->port_file, 0600), 0);
    world->ports = open(world->port_file, O_RDWR | O_CLOEXEC);
    assert_true(world->ports >= 0);
    start_service(world);
    struct caller caller = { .port = world->port };
    assert_true(caller_begin(&caller));
    assert_true(caller_ask(&caller, "/v1/subscriptions", "",
                           "{\"name\":\"puller\",\"pattern\":\"load.*\",\"from\":\"beginning\","
                           "\"retry\":{\"max_attempts\":1000,\"initial_ms\":20,"
                           "\"max_interval_ms\":20}}"));
    assert_int_equal(caller.status, 201);
    caller_end(&caller);
}

static void open_library(struct world *world)
{
    const struct peal_subscribe_options by_name = {
        .name = "handler",
        .mode = PEAL_PULL,
        .from = PEAL_FROM_BEGINNING,
        .retry = { .max_attempts = 1000, .initial_ms = 20, .max_ms = 20 },
    };
    const struct peal_subscribe_options all = { .from = PEAL_FROM_BEGINNING };
    (void)snprintf(world->url, sizeof world->url, "http://127.0.0.1:%u", (unsigned)world->port);
    assert_int_equal(peal_bus_open(&world->bus, world->url, NULL), PEAL_OK);
    assert_int_equal(
        peal_subscribe(NULL, world->bus, "load.*", &all, hear, &world->actors[ACTORS - 1]),
        PEAL_OK);
    assert_int_equal(peal_subscribe(&world->durable, world->bus, "load.*", &by_name, NULL, NULL),
                     PEAL_OK);
}

static void start_actors(struct world *world)
{
    for (unsigned i = 0; i < ACTORS; i++) {
        struct actor *actor = &world->actors[i];
        actor->world = world;
        actor->number = i;
        if (i < PUBLISHERS) {
            actor->publisher.position = calloc(EVENTS_MAX, sizeof(uint64_t));
            actor->publisher.known = calloc(EVENTS_MAX, 1);
            assert_true(actor->publisher.position && actor->publisher.known);
        } else {
            actor->reader.seen = calloc(EVENTS_MAX, sizeof(uint64_t));
            actor->reader.settled = calloc(EVENTS_MAX, 1);
            assert_true(actor->reader.seen && actor->reader.settled);
        }
    }
    open_library(world);
    static void *(*const readers[])(void *) = { read_stream, read_socket, read_pulled,
                                                read_by_name };
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&world->actors[i].thread, NULL,
                                        i < PUBLISHERS ? publish : readers[i - PUBLISHERS],
                                        &world->actors[i]),
                         0);
    }
}

// Publishers stop; what there is then, all readers have to have.
static void end_publishing(struct world *world)
{
    (void)pthread_mutex_lock(&world->lock);
    world->stopping = true;
    (void)pthread_cond_broadcast(&world->changed);
    (void)pthread_mutex_unlock(&world->lock);
    for (unsigned i = 0; i < PUBLISHERS; i++) {
        assert_int_equal(pthread_join(world->actors[i].thread, NULL), 0);
    }
    struct peal_bus_stats stats;
    enum peal_err err = *world->wrong ? PEAL_OK : peal_bus_stats(&stats, world->bus);
    if (err) {
        say_wrong(world, "%s", peal_error_sentence());
    }
    (void)pthread_mutex_lock(&world->lock);
    world->end = *world->wrong ? 0 : stats.last_position;
    bool late = false;
    while (!*world->wrong && !late && slowest(world) < world->end) {
        late = !wait_for_change(world);
    }
    world->ending = true;
    (void)pthread_cond_broadcast(&world->changed);
    for (unsigned i = 0; i < READERS && late; i++) {
        print_message("reader %u: %" PRIu64 " of %" PRIu64 "\n", i, world->read[i], world->end);
    }
    (void)pthread_mutex_unlock(&world->lock);
    if (late) {
        say_wrong(world, "a reader does not get all of %" PRIu64 " events", world->end);
    }
}

static void join_readers(struct world *world)
{
    // It asks the service, so that has to be there; the others wait for what does not come any
    // more.
    assert_int_equal(pthread_join(world->actors[THREADS - 1].thread, NULL), 0);
    if (world->pid) {
        kill_service(world);
    }
    for (unsigned i = PUBLISHERS; i < THREADS - 1; i++) {
        assert_int_equal(pthread_join(world->actors[i].thread, NULL), 0);
    }
    peal_bus_close(world->bus);
}

// One event of the log: somebody has said it, it is unchanged, and it stands where they were told.
static void check_event(struct world *world, const peal_event *event, uint64_t *kept)
{
    uint64_t key = key_of(event), position = peal_event_position(event);
    uint64_t number = key & UINT32_MAX, who = key >> 32;
    if (key == 0 || who > PUBLISHERS || number >= world->actors[who - 1].publisher.said) {
        fail_msg("%" PRIu64 ": nobody has said that: %s", position, peal_event_id(event));
    }
    const struct publisher *publisher = &world->actors[who - 1].publisher;
    uint64_t told = publisher->position[number];
    if (told == UINT64_MAX) {
        fail_msg("%s stands twice in the log, at last at %" PRIu64, peal_event_id(event), position);
    }
    if (told && told != position) {
        fail_msg("%s was said to be at %" PRIu64 ", and is at %" PRIu64, peal_event_id(event), told,
                 position);
    }
    for (unsigned i = 0; i < READERS; i++) {
        if (world->actors[PUBLISHERS + i].reader.seen[position] != key) {
            fail_msg("reader %u has another event, or none, for %" PRIu64, i, position);
        }
    }
    publisher->position[number] = UINT64_MAX; // it was found
    (*kept)++;
}

static void check_log(struct world *world)
{
    peal_bus *bus;
    peal_reader *reader;
    const peal_event *event;
    uint64_t kept = 0, acknowledged = 0;
    assert_int_equal(peal_bus_open(&bus, world->log, NULL), PEAL_OK);
    assert_int_equal(peal_reader_open(&reader, bus, &(struct peal_query){ .pattern = TYPE }),
                     PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        check_event(world, event, &kept);
    }
    peal_reader_close(reader);
    peal_bus_close(bus);
    assert_int_equal(kept, world->end);
    for (unsigned i = 0; i < PUBLISHERS; i++) {
        const struct publisher *publisher = &world->actors[i].publisher;
        for (uint64_t number = 0; number < publisher->said; number++) {
            acknowledged += publisher->known[number];
            if (publisher->known[number] && publisher->position[number] != UINT64_MAX) {
                fail_msg("%u-%" PRIu64 " was acknowledged, and is lost", i, number);
            }
        }
    }
    print_message("%" PRIu64 " events, %" PRIu64 " acknowledged; %" PRIu64
                  " known to be done by the library, to which %" PRIu64 " came again\n",
                  kept, acknowledged, world->actors[THREADS - 1].reader.sure,
                  world->actors[THREADS - 1].reader.again);
    assert_true(world->actors[THREADS - 1].reader.sure > kept / 40);
    assert_true(acknowledged >= ACTORS);
}

static void free_actors(struct world *world)
{
    for (unsigned i = 0; i < ACTORS; i++) {
        free(world->actors[i].publisher.position);
        free(world->actors[i].publisher.known);
        free(world->actors[i].reader.seen);
        free(world->actors[i].reader.settled);
    }
}

static void a_killed_service_keeps_what_it_has_acknowledged(void **state)
{
    (void)state;
    static struct world world;
    unsigned effort = setting("PEAL_EFFORT", 100);
    unsigned kills = setting("PEAL_KILLS", effort > 0 ? effort : 1);
    uint64_t seed = setting("PEAL_SEED", (unsigned)time(NULL)) | 1;
    print_message("seed %" PRIu64 "\n", seed);
    (void)signal(SIGPIPE, SIG_IGN);
    open_world(&world);
    start_actors(&world);

    for (unsigned i = 0; i < kills && !*world.wrong; i++) {
        live_and_die(&world, 1 + chance(&seed, 2400));
        if (chance(&seed, 8) == 0 && !*world.wrong) { // and once more, before it has served anybody
            kill_service(&world);
            start_service(&world);
        }
    }
    end_publishing(&world);
    join_readers(&world);

    if (*world.wrong) {
        fail_msg("%s; see %s", world.wrong, world.folder.path);
    }
    check_log(&world);
    free_actors(&world);
    (void)close(world.ports);
    folder_close(&world.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_service_keeps_what_it_has_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
