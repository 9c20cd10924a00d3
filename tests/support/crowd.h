// SPDX-License-Identifier: MIT
//
// A crowd: real threads around a bus, that wait for each other by counting.
//
//     struct tally seen = TALLY;
//     subscribe(bus, "a", NULL, count_it, &seen);      // a worker adds one for each event
//     pthread_t thread = begin(publish_many, bus);
//     assert_true(tally_reaches(&seen, 1000));         // false after a minute
//     end(thread);
//
// Nobody sleeps. Every function here fails the test if what it does fails.
#ifndef PL_TESTS_SUPPORT_CROWD_H
#define PL_TESTS_SUPPORT_CROWD_H

#include <peal/bus.h>
#include <pthread.h>
#include <stdatomic.h>

#include "support/stage.h" // effort

#define PATIENCE_S 60

// A count somebody waits for.
struct tally {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t count;
};

#define TALLY                                                                                      \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0                                     \
    }

void tally_add(struct tally *tally, uint64_t more);
uint64_t tally_read(struct tally *tally);
bool tally_reaches(struct tally *tally, uint64_t count); // in time

pthread_t begin(void *(*main)(void *), void *context);
void end(pthread_t thread);

peal_bus *open_bus(const struct peal_bus_options *options); // mem:
peal_subscription *subscribe(peal_bus *bus, const char *pattern,
                             const struct peal_subscribe_options *options, peal_handler *handler,
                             void *context);
void publish(peal_bus *bus, const char *type, const char *data);

// Handlers. One counts into the tally that is its context, one counts and fails each event once.
enum peal_verdict count_it(const peal_event *event, void *context);
enum peal_verdict fail_once(const peal_event *event, void *context);

// And one that stays until a tally has come so far.
struct patient {
    struct tally entered;
    struct tally *awaited;
    uint64_t until;
    atomic_bool served;
};

enum peal_verdict wait_for_the_other(const peal_event *event, void *context);

// What a publishing thread is to do.
struct stream {
    peal_bus *bus;
    uint32_t events;
};

// The main function of a thread that drives a bus without workers until it is stopped.
void *drive(void *bus);

#endif
