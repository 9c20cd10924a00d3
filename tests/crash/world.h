// SPDX-License-Identifier: MIT
//
// World: a service that dies again and again, those who use it, and what they know.
//
// Event n of publisher p has the id "p-n", and data that follow from it. So a reader knows what it
// should have been sent, and the log is compared with what was said, without keeping either.
//
// Whose connection breaks waits for the next life (live_again). What goes wrong in a thread is
// said to all (say_wrong), and the test fails of it.
#ifndef PEAL_TESTS_CRASH_WORLD_H
#define PEAL_TESTS_CRASH_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <peal/peal.h>
#include <pthread.h>
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
    HELD_MAX = 256,
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
    uint64_t last;           // position
    uint64_t *seen;          // by position: what was there, as event_key
    unsigned char *settled;  // and answered
    uint64_t again, sure;    // had come before; were settled and saved
    uint64_t held[HELD_MAX]; // settled, and not saved
    size_t held_count;
    unsigned changes; // of who has the durable name
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
    peal_bus *bus;   // the library's, through `http:`
    peal_bus *named; // another, for a durable name; NULL: not now
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

#endif
