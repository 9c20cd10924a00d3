// SPDX-License-Identifier: MIT
//
// A scene: a bus in a world, and handlers that do as they are told and remember what they saw.
//
//     struct scene scene;
//     scene_open(&scene, 42, NULL);
//     struct actor actor = { .verdict = PEAL_RETRY, .failures = 2 };   // twice, then done
//     scene_subscribe(&scene, "order.*", NULL, &actor);
//     scene_publish(&scene, "order.placed", "key", "data");
//     peal_world_advance(scene.world, 10000);
//     assert_int_equal(actor.count, 3);
//     scene_close(&scene);
//
// Whatever a scene does for its test succeeds, or the test fails. What it allocates lies in the
// world and is missed there.
#ifndef PEAL_TESTS_SCENE_H
#define PEAL_TESTS_SCENE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/bus.h>
#include <peal/deadletter.h>
#include <peal/testing.h>

#define SCENE_LINES   16
#define SCENE_LINE    256
#define SCENE_SEEN    256
#define SCENE_ALWAYS  SIZE_MAX
#define SCENE_SECOND  1000000000LL
#define SCENE_MS      1000000LL
#define SCENE_EPOCH_S 1767225600LL // where a world's time begins

struct scene {
    struct peal_world *world;
    peal_bus *bus;
    size_t lines; // told to the log callback; the first SCENE_LINES are kept
    enum peal_level levels[SCENE_LINES];
    char text[SCENE_LINES][SCENE_LINE];
};

// Opens a world and a bus in it, "mem:", driven by the test unless `options` say otherwise. NULL:
// the defaults.
void scene_open(struct scene *scene, uint64_t seed, const struct peal_bus_options *options);
// The same with a URL.
void scene_open_url(struct scene *scene, uint64_t seed, const char *url,
                    const struct peal_bus_options *options);
void scene_close(struct scene *scene);

// Once more in the same world: closes the bus, if there is one, forgets what it said, and opens
// another.
void scene_again(struct scene *scene, const char *url, const struct peal_bus_options *options);
// The same, and says how opening went; after a failure there is no bus.
enum peal_err scene_try_again(struct scene *scene, const char *url,
                              const struct peal_bus_options *options);

// Is one of the kept lines of that level, with this in it?
bool scene_said(const struct scene *scene, enum peal_level level, const char *part);

// One call of a handler.
struct seen {
    uint64_t position;
    int64_t time_ns; // of the world
    unsigned attempt;
    bool replay;
    char type[48];
    char key[24];
    char data[32];
};

// A handler: `verdict` for the first `failures` calls with an event it is to fail, PEAL_DONE for
// all others.
struct actor {
    enum peal_verdict verdict;
    size_t failures;
    const char *data;        // NULL: all events; else only those with this data
    const char *code, *text; // NULL, or what it says with peal_fail before it fails

    struct peal_world *world; // filled in by scene_subscribe
    size_t failed, count;
    struct seen seen[SCENE_SEEN]; // the first of them
};

enum peal_verdict actor_handle(const peal_event *event, void *context);

// All that an actor has seen of it, one letter an event: its data. Borrowed until the next call.
const char *actor_data(struct actor *actor);

peal_subscription *scene_subscribe(struct scene *scene, const char *pattern,
                                   const struct peal_subscribe_options *options,
                                   struct actor *actor);

// Publishes; `key` and `data` may be NULL. Returns the position.
uint64_t scene_publish(struct scene *scene, const char *type, const char *key, const char *data);

struct peal_bus_stats scene_stats(struct scene *scene);
struct peal_subscription_stats scene_box(peal_subscription *subscription);

// Lists all dead letters, and checks that there are so many.
struct peal_dead_list scene_dead(struct scene *scene, size_t expected);
void scene_assert_dead(struct scene *scene, size_t expected);

// How much there is to do: PEAL_EFFORT, 100 unless it says otherwise.
uint64_t scene_effort(void);

#endif
