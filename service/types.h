// SPDX-License-Identifier: MIT
//
// Types: which there are, how many events of each, how many a second.
//
//     publisher ─► inline handler ─► table ◄─ peal_log_types, once, in the pool: what was there
//     before
//                                      │
//                                      └─► GET /v1/types
//
// What is published from now on is counted by its publisher: no thread is woken for it, and none
// waits for it. What the log had before is counted in the background, once, mostly by its indexes;
// until that is done the counts are not complete, and say so. Where a service elsewhere has the
// log, a subscription from the beginning counts both.
//
// Threads: any, but for opening, closing and `tick`: the loop's.
#ifndef SERVICE_TYPES_H
#define SERVICE_TYPES_H

#include <peal/peal.h>

struct net_loop;
struct net_text;
struct service_types;

#define SERVICE_TYPES_MAX 100000 // that are counted each; the rest is not

// The bus and the loop, whose pool counts, are *borrowed* until it is closed. PEAL_ENOMEM, and what
// the library says.
enum peal_err service_types_open(struct service_types **out, peal_bus *bus, struct net_loop *loop);
// What counts in the background ends soon; the loop is settled before it is closed.
void service_types_stop(struct service_types *types);  // NULL is fine
void service_types_close(struct service_types *types); // before the bus; NULL is fine
void service_types_tick(struct service_types *types);  // once a second
// The position of the newest event that was published since it was opened, 0 if none was. An event
// of a type that does not begin with `$` is not behind it once its publisher was answered. False:
// it is not known. Any thread.
bool service_types_last(const struct service_types *types, uint64_t *out);
// Events the subscription that counts them was given.
uint64_t service_types_delivered(const struct service_types *types);
// Those that `may_read` (NULL: all) says yes to.
void service_types_put(struct service_types *types, struct net_text *text,
                       bool (*may_read)(void *context, const char *type), void *context);

#endif
