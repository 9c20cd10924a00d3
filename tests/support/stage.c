// SPDX-License-Identifier: MIT
//
// Small functions, so that a test says only what it is about.
#include "support/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void stage_open_as(struct stage *stage, uint64_t seed, const char *url,
                   const struct peal_bus_options *options)
{
    assert_int_equal(peal_world_open(&stage->world, seed), PEAL_OK);
    struct peal_bus_options own = options ? *options : (struct peal_bus_options){ 0 };
    own.world = stage->world;
    assert_int_equal(peal_bus_open(&stage->bus, url, &own), PEAL_OK);
}

void stage_open(struct stage *stage, uint64_t seed, int workers)
{
    struct peal_bus_options options = { .workers = workers };
    stage_open_as(stage, seed, "mem:", &options);
}

void stage_close(struct stage *stage)
{
    peal_bus_close(stage->bus);
    peal_world_settle(stage->world);
    peal_world_close(stage->world);
}

peal_subscription *stage_subscribe(struct stage *stage, const char *pattern,
                                   const struct peal_subscribe_options *options,
                                   peal_handler *handler, void *context)
{
    peal_subscription *subscription = NULL;
    assert_int_equal(peal_subscribe(&subscription, stage->bus, pattern, options, handler, context),
                     PEAL_OK);
    assert_non_null(subscription);
    return subscription;
}

void say_of(struct stage *stage, const char *type, const char *key, const char *data)
{
    struct peal_message message = { .type = type, .key = key, .data = data, .size = strlen(data) };
    assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
}

void say(struct stage *stage, const char *type, const char *data)
{
    say_of(stage, type, NULL, data);
}

void say_numbers(struct stage *stage, const char *type, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++) {
        char data[16];
        (void)snprintf(data, sizeof data, "%u", i);
        say(stage, type, data);
    }
}

struct peal_bus_stats stage_stats(struct stage *stage)
{
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, stage->bus), PEAL_OK);
    return stats;
}

struct peal_subscription_stats stage_look(peal_subscription *subscription)
{
    struct peal_subscription_stats stats;
    assert_int_equal(peal_subscription_stats(&stats, subscription), PEAL_OK);
    return stats;
}

void diary_word(struct diary *diary, const char *word)
{
    size_t room = sizeof diary->text - diary->length;
    int written = snprintf(diary->text + diary->length, room, diary->length ? " %s" : "%s", word);
    assert_true(written >= 0 && (size_t)written < room);
    diary->length += (size_t)written;
}

// Reads the number behind a name. The gap is the bus's own: its form is known.
static unsigned long long member(const char *json, const char *name)
{
    const char *at = strstr(json, name);
    assert_non_null(at);
    return strtoull(at + strlen(name), NULL, 10);
}

bool read_gap(const peal_event *event, struct gap *out)
{
    if (strcmp(peal_event_type(event), "$peal.gap") != 0) {
        return false;
    }
    char json[128] = { 0 };
    assert_true(peal_event_size(event) < sizeof json);
    memcpy(json, peal_event_data(event), peal_event_size(event));
    out->count = member(json, "{\"count\":");
    out->first = member(json, ",\"first\":");
    out->last = member(json, ",\"last\":");
    return true;
}

void diary_note(struct diary *diary, const peal_event *event)
{
    char word[256];
    size_t size = peal_event_size(event);
    assert_true(size < sizeof word);
    struct gap gap;
    if (read_gap(event, &gap)) {
        (void)snprintf(word, sizeof word, "gap(%llu,%llu,%llu)", gap.count, gap.first, gap.last);
    } else if (size > 0) {
        memcpy(word, peal_event_data(event), size);
        word[size] = '\0';
    }
    diary->count++;
    diary_word(diary, size > 0 ? word : peal_event_type(event));
}

void diary_clear(struct diary *diary)
{
    diary->text[0] = '\0';
    diary->length = 0;
    diary->count = 0;
}

enum peal_verdict diary_write(const peal_event *event, void *context)
{
    struct diary *diary = context;
    diary_note(diary, event);
    bool answers = diary->answers == 0 || diary->count <= diary->answers;
    return answers ? diary->verdict : PEAL_DONE;
}

void diary_write_batch(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                       void *context)
{
    struct diary *diary = context;
    assert_int_equal(verdicts[0], PEAL_DONE); // as they come
    verdicts[0] = PEAL_DONE;
    diary_word(diary, "[");
    for (size_t i = 0; i < count; i++) {
        diary_note(diary, events[i]);
    }
    diary_word(diary, "]");
}

void complain_to(enum peal_level level, const char *text, void *context)
{
    struct complaints *complaints = context;
    complaints->count++;
    complaints->level = level;
    (void)snprintf(complaints->text, sizeof complaints->text, "%s", text);
}

unsigned effort(unsigned usual)
{
    const char *given = getenv("PEAL_EFFORT"); // NOLINT(concurrency-mt-unsafe): nobody sets it
    unsigned long percent = given ? strtoul(given, NULL, 10) : 100;
    unsigned long share = usual * percent / 100;
    return share > 0 ? (unsigned)share : 1;
}

unsigned number_of(const peal_event *event)
{
    char text[16] = { 0 };
    size_t size = peal_event_size(event);
    if (size > 0 && size < sizeof text) {
        memcpy(text, peal_event_data(event), size);
    }
    return (unsigned)strtoul(text, NULL, 10);
}
