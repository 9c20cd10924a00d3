// SPDX-License-Identifier: MIT
//
// What tests of the bus have in common.
#include "support/scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void remember_line(enum peal_level level, const char *text, void *context)
{
    struct scene *scene = context;
    if (scene->lines < SCENE_LINES) {
        scene->levels[scene->lines] = level;
        (void)snprintf(scene->text[scene->lines], SCENE_LINE, "%s", text); // cut is enough
    }
    scene->lines++;
}

enum peal_err scene_try_again(struct scene *scene, const char *url,
                              const struct peal_bus_options *options)
{
    peal_bus_close(scene->bus);
    scene->bus = NULL;
    scene->lines = 0;
    struct peal_bus_options wanted = { .workers = PEAL_NO_WORKERS };
    if (options) {
        wanted = *options;
        wanted.workers = options->workers ? options->workers : PEAL_NO_WORKERS;
    }
    wanted.world = scene->world;
    if (!wanted.log) {
        wanted.log = remember_line;
        wanted.log_context = scene;
    }
    return peal_bus_open(&scene->bus, url, &wanted);
}

void scene_again(struct scene *scene, const char *url, const struct peal_bus_options *options)
{
    enum peal_err err = scene_try_again(scene, url, options);
    if (err) {
        print_error("opening %s: %s\n", url, peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
}

void scene_open_url(struct scene *scene, uint64_t seed, const char *url,
                    const struct peal_bus_options *options)
{
    *scene = (struct scene){ 0 };
    assert_int_equal(peal_world_open(&scene->world, seed), PEAL_OK);
    scene_again(scene, url, options);
}

void scene_open(struct scene *scene, uint64_t seed, const struct peal_bus_options *options)
{
    scene_open_url(scene, seed, "mem:", options);
}

void scene_close(struct scene *scene)
{
    peal_bus_close(scene->bus);
    peal_world_close(scene->world);
}

bool scene_said(const struct scene *scene, enum peal_level level, const char *part)
{
    for (size_t i = 0; i < scene->lines && i < SCENE_LINES; i++) {
        if (scene->levels[i] == level && strstr(scene->text[i], part)) {
            return true;
        }
    }
    return false;
}

static void copy_data(char *out, size_t size, const peal_event *event)
{
    size_t length = peal_event_size(event) < size - 1 ? peal_event_size(event) : size - 1;
    if (length > 0) {
        memcpy(out, peal_event_data(event), length);
    }
    out[length] = '\0';
}

enum peal_verdict actor_handle(const peal_event *event, void *context)
{
    struct actor *actor = context;
    struct seen seen = {
        .position = peal_event_position(event),
        .time_ns = actor->world ? peal_world_now(actor->world) : 0,
        .attempt = peal_event_attempt(event),
        .replay = peal_event_is_replay(event),
    };
    (void)snprintf(seen.type, sizeof seen.type, "%s", peal_event_type(event)); // cut is enough
    (void)snprintf(seen.key, sizeof seen.key, "%s", peal_event_key(event));
    copy_data(seen.data, sizeof seen.data, event);
    if (actor->count < SCENE_SEEN) {
        actor->seen[actor->count] = seen;
    }
    actor->count++;
    if (actor->failed >= actor->failures || (actor->data && strcmp(actor->data, seen.data) != 0)) {
        return PEAL_DONE;
    }
    actor->failed++;
    if (actor->code || actor->text) {
        peal_fail(event, actor->code, actor->text);
    }
    return actor->verdict;
}

const char *actor_data(struct actor *actor)
{
    static _Thread_local char text[SCENE_SEEN + 1];
    size_t count = actor->count < SCENE_SEEN ? actor->count : SCENE_SEEN;
    for (size_t i = 0; i < count; i++) {
        char first = actor->seen[i].data[0];
        text[i] = first;
        if (!first) {
            text[i] = '-';
        }
    }
    text[count] = '\0';
    return text;
}

peal_subscription *scene_subscribe(struct scene *scene, const char *pattern,
                                   const struct peal_subscribe_options *options,
                                   struct actor *actor)
{
    peal_subscription *subscription = NULL;
    actor->world = scene->world;
    enum peal_err err =
        peal_subscribe(&subscription, scene->bus, pattern, options, actor_handle, actor);
    if (err) {
        print_error("subscribing to %s: %s\n", pattern, peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
    return subscription;
}

uint64_t scene_publish(struct scene *scene, const char *type, const char *key, const char *data)
{
    struct peal_message message = {
        .type = type, .key = key, .data = data, .size = data ? strlen(data) : 0
    };
    struct peal_receipt receipt;
    enum peal_err err = peal_publish(scene->bus, &message, &receipt);
    if (err) {
        print_error("publishing %s: %s\n", type, peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
    return receipt.position;
}

struct peal_bus_stats scene_stats(struct scene *scene)
{
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, scene->bus), PEAL_OK);
    return stats;
}

struct peal_subscription_stats scene_box(peal_subscription *subscription)
{
    struct peal_subscription_stats stats;
    assert_int_equal(peal_subscription_stats(&stats, subscription), PEAL_OK);
    return stats;
}

struct peal_dead_list scene_dead(struct scene *scene, size_t expected)
{
    struct peal_dead_list list;
    assert_int_equal(peal_dead_list(&list, scene->bus, NULL), PEAL_OK);
    assert_int_equal(list.count, expected);
    assert_int_equal(scene_stats(scene).dead_letters, expected);
    return list;
}

void scene_assert_dead(struct scene *scene, size_t expected)
{
    struct peal_dead_list list = scene_dead(scene, expected);
    peal_dead_list_finish(&list);
}

uint64_t scene_effort(void)
{
    const char *given = getenv("PEAL_EFFORT"); // NOLINT(concurrency-mt-unsafe): nobody sets it
    uint64_t effort = given ? strtoull(given, NULL, 10) : 100;
    return effort ? effort : 1;
}
