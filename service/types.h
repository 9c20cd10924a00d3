// SPDX-License-Identifier: MIT
//
// Types: which there are, how many events of each, how many a second.
//
// What is published from now on is counted as it comes; what the log had before is counted in the
// background, once. Until that is done the counts are not complete, and say so.
//
// Threads: any.
#ifndef SERVICE_TYPES_H
#define SERVICE_TYPES_H

#include <peal/peal.h>

struct net_text;
struct service_types;

#define SERVICE_TYPES_MAX 100000 // that are counted each; the rest is not

enum peal_err service_types_open(struct service_types **out, peal_bus *bus);
void service_types_close(struct service_types *types); // before the bus; NULL is fine
void service_types_tick(struct service_types *types);  // once a second
// Events the subscription that counts them was given.
uint64_t service_types_delivered(const struct service_types *types);
// Those that `may_read` (NULL: all) says yes to.
void service_types_put(struct service_types *types, struct net_text *text,
                       bool (*may_read)(void *context, const char *type), void *context);

#endif
