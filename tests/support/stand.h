// SPDX-License-Identifier: MIT
//
// Stand: a service that speaks `peal.v1` on a port of the loopback, for tests of those who connect
// to it: the handshake, frames, and service/session.h behind them. No other HTTP.
//
//     struct stand stand;
//     stand_open(&stand, bus, 0);
//     peal_bus_open(&client, stand.url, NULL);
//     ...
//     stand_close(&stand);
//
// It can be made to fail: cut every connection now, or a new one after so many bytes.
#ifndef TESTS_SUPPORT_STAND_H
#define TESTS_SUPPORT_STAND_H

#include "service/session.h"

#include "base/list.h"

#include <pthread.h>

struct stand {
    peal_bus *bus;
    struct service_tail *feed;
    int socket, bell;
    unsigned short port;
    char url[64];
    const char *token; // NULL: everybody may come in
    struct service_rights rights;
    pthread_t accepting;
    pthread_mutex_t lock; // guards the lists and numbers below
    struct pl_list connections;
    struct pl_list jobs;
    pthread_cond_t job_there;
    pthread_t workers[2];
    bool closing;
    unsigned accepted;
};

// `port` 0: any. It is in stand->url.
void stand_open(struct stand *stand, peal_bus *bus, unsigned short port);
void stand_close(struct stand *stand);
void stand_cut(struct stand *stand); // every connection there is
// Those there are end when so many more bytes of messages would have come, or have gone; SIZE_MAX:
// never. What comes is taken or not as whole messages; what goes is cut within one.
void stand_cut_after(struct stand *stand, size_t in, size_t out);
unsigned stand_accepted(struct stand *stand);

#endif
