// SPDX-License-Identifier: MIT
//
// A turn begins with the first that asks and finds it open, and ends with the callback: all that
// was posted by then is one turn. It is measured by the clock, not by what it took of a CPU: if
// others had the CPU, there is less to be had, and a longer rest is right.
#include "service/gather.h"

#include <stdlib.h>

struct service_gather {
    struct net_loop *loop;
    struct net_after after;
    struct net_timer timer;
    struct service_rest *first, **last; // who rests, as they came
    size_t wrote;                       // in this turn
    int64_t begun_ns;                   // 0: there is no turn
    int64_t until_ns;                   // 0: nobody has to rest
};

bool service_gather_begin(struct service_gather *gather, bool must)
{
    if (!gather->begun_ns) {
        int64_t now = net_loop_exact(gather->loop);
        if (now < gather->until_ns && !must) {
            return false;
        }
        gather->begun_ns = now;
    }
    return true;
}

void service_gather_wrote(struct service_gather *gather, size_t count)
{
    gather->wrote += count;
}

static void end_turn(void *context)
{
    struct service_gather *gather = context;
    if (gather->wrote >= SERVICE_GATHER_MANY && gather->begun_ns) {
        int64_t now = net_loop_exact(gather->loop);
        int64_t rest = now - gather->begun_ns, most = SERVICE_GATHER_MOST_US * INT64_C(1000);
        gather->until_ns = now + (rest < most ? rest : most);
    }
    gather->begun_ns = 0;
    gather->wrote = 0;
}

void service_gather_forget(struct service_gather *gather, struct service_rest *rest)
{
    if (rest->link) {
        *rest->link = rest->next;
        if (rest->next) {
            rest->next->link = rest->link;
        } else {
            gather->last = rest->link;
        }
        rest->link = NULL;
    }
}

void service_gather_end_rest(struct service_gather *gather)
{
    while (gather->first) {
        struct service_rest *rest = gather->first;
        (void)service_gather_begin(gather, true);
        service_gather_forget(gather, rest);
        rest->run(rest);
    }
}

static void on_time(void *context)
{
    service_gather_end_rest(context);
}

void service_gather_rest(struct service_gather *gather, struct service_rest *rest)
{
    if (rest->link) {
        return;
    }
    bool first = !gather->first;
    rest->next = NULL;
    rest->link = gather->last;
    *gather->last = rest;
    gather->last = &rest->next;
    int64_t left = gather->until_ns - net_loop_exact(gather->loop);
    uint64_t us = left > 1000 ? (uint64_t)left / 1000 : 1;
    if (first && net_timer_set_us(&gather->timer, gather->loop, us)) {
        service_gather_end_rest(gather);
    }
}

enum peal_err service_gather_open(struct service_gather **out, struct net_loop *loop)
{
    struct service_gather *gather = calloc(1, sizeof *gather);
    if (!gather) {
        return PEAL_ENOMEM;
    }
    gather->loop = loop;
    gather->last = &gather->first;
    gather->timer = (struct net_timer){ .run = on_time, .context = gather };
    gather->after = (struct net_after){ .run = end_turn, .context = gather };
    net_loop_after(loop, &gather->after);
    *out = gather;
    return PEAL_OK;
}

void service_gather_close(struct service_gather *gather)
{
    if (gather) {
        net_loop_after_remove(gather->loop, &gather->after);
        net_timer_finish(&gather->timer);
        free(gather);
    }
}
