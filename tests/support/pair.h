// SPDX-License-Identifier: MIT
//
// Pair: a bus on mem:, a stand that serves it, and a client's bus on `http:`, in one process.
//
//     struct pair pair;
//     pair_open(&pair);
//     peal_subscribe(NULL, pair.client, "a", NULL, note, &diary);
//     peal_publish(pair.served, &message, NULL);
//     ...
//     pair_close(&pair);
//
// Include cmocka.h first. What cannot be done here fails the test.
#ifndef TESTS_SUPPORT_PAIR_H
#define TESTS_SUPPORT_PAIR_H

#include <string.h>

#include "support/stand.h"

struct pair {
    peal_bus *served, *client;
    struct stand stand;
};

static inline void pair_connect(struct pair *pair)
{
    enum peal_err err = peal_bus_open(&pair->client, pair->stand.url, NULL);
    if (err) {
        print_error("%s\n", peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
}

// The service is on that URL.
static inline void pair_open_on(struct pair *pair, const char *url)
{
    memset(pair, 0, sizeof *pair);
    assert_int_equal(peal_bus_open(&pair->served, url, NULL), PEAL_OK);
    stand_open(&pair->stand, pair->served, 0);
    pair_connect(pair);
}

static inline void pair_open(struct pair *pair)
{
    pair_open_on(pair, "mem:");
}

static inline void pair_close(struct pair *pair)
{
    peal_bus_close(pair->client);
    stand_close(&pair->stand);
    peal_bus_close(pair->served);
}

// The service goes, and another one comes to the same log and port.
static inline void pair_restart(struct pair *pair)
{
    unsigned short port = pair->stand.port;
    stand_close(&pair->stand);
    stand_open(&pair->stand, pair->served, port);
}

#endif
