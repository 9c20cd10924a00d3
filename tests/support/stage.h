// SPDX-License-Identifier: MIT
//
// A stage: a bus in a world, and handlers that write down what they are given.
//
//     struct stage stage;
//     stage_open(&stage, 1, PEAL_NO_WORKERS);
//     struct diary diary = { 0 };
//     stage_subscribe(&stage, "order.*", NULL, diary_write, &diary);
//     say(&stage, "order.paid", "7");
//     peal_world_settle(stage.world);
//     assert_string_equal(diary.text, "7");
//     stage_close(&stage);
//
// Every function here fails the test if what it does fails.
#ifndef PL_TESTS_SUPPORT_STAGE_H
#define PL_TESTS_SUPPORT_STAGE_H

#include <peal/bus.h>
#include <peal/testing.h>

struct stage {
    struct peal_world *world;
    peal_bus *bus;
};

void stage_open(struct stage *stage, uint64_t seed, int workers);

// With options of the test's own, in the stage's world.
void stage_open_as(struct stage *stage, uint64_t seed, const char *url,
                   const struct peal_bus_options *options);
void stage_close(struct stage *stage);

peal_subscription *stage_subscribe(struct stage *stage, const char *pattern,
                                   const struct peal_subscribe_options *options,
                                   peal_handler *handler, void *context);

void say(struct stage *stage, const char *type, const char *data);
void say_of(struct stage *stage, const char *type, const char *key, const char *data);
// Publishes "1", "2", ... up to `last`, from `first` on.
void say_numbers(struct stage *stage, const char *type, unsigned first, unsigned last);

struct peal_bus_stats stage_stats(struct stage *stage);
struct peal_subscription_stats stage_look(peal_subscription *subscription);

// The data of the events a handler was given, one space between; of an event without data its
// type. A gap is written as "gap(count,first,last)".
#define DIARY_MAX 16384
struct diary {
    char text[DIARY_MAX];
    size_t length;
    unsigned count;            // of events, gaps too
    enum peal_verdict verdict; // what diary_write answers
    unsigned answers;          // so many times, then PEAL_DONE; 0: always
};

void diary_note(struct diary *diary, const peal_event *event);
void diary_word(struct diary *diary, const char *word);
void diary_clear(struct diary *diary);
enum peal_verdict diary_write(const peal_event *event, void *context);
void diary_write_batch(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                       void *context);

// What a gap event says; false if it is none.
struct gap {
    unsigned long long count, first, last;
};
bool read_gap(const peal_event *event, struct gap *out);

// What the bus told its log callback.
struct complaints {
    unsigned count;
    enum peal_level level; // of the last one
    char text[512];
};
void complain_to(enum peal_level level, const char *text, void *context);

// The environment's PEAL_EFFORT as a share of `usual`, at least 1.
unsigned effort(unsigned usual);

// The number in an event's data; 0 if it is none.
unsigned number_of(const peal_event *event);

#endif
