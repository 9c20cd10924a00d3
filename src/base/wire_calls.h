// SPDX-License-Identifier: MIT
//
// Calls of public functions as bytes: what they are given, and what they say.
//
// Asking the process that has a log (bus/ask.h) and asking a service (base/protocol.h) are the same
// calls over different roads. What is read points into the bytes and is borrowed as they are.
#ifndef PL_BASE_WIRE_CALLS_H
#define PL_BASE_WIRE_CALLS_H

#include "base/wire.h"

#include <peal/deadletter.h>
#include <peal/log.h>
#include <peal/schedule.h>

// Of those that are read the array is *given* (one pl_release), NULL: bad, or no memory.
void pl_pack_messages(struct pl_pack *pack, const struct peal_message *messages, size_t count,
                      const char *source);
struct peal_message *pl_unpack_messages(struct pl_unpack *unpack, const struct pl_seams *seams,
                                        size_t *out_count);
void pl_pack_receipt(struct pl_pack *pack, const struct peal_receipt *receipt);
void pl_unpack_receipt(struct pl_unpack *unpack, struct peal_receipt *out);
void pl_pack_dead(struct pl_pack *pack, const struct peal_dead_filter *filter, bool dry_run);
struct peal_dead_filter pl_unpack_dead(struct pl_unpack *unpack, bool *out_dry_run);
void pl_pack_schedule(struct pl_pack *pack, const struct peal_schedule_filter *filter,
                      bool dry_run);
struct peal_schedule_filter pl_unpack_schedule(struct pl_unpack *unpack, bool *out_dry_run);
// Without the filter.
void pl_pack_query(struct pl_pack *pack, const struct peal_query *query);
struct peal_query pl_unpack_query(struct pl_unpack *unpack);
void pl_pack_names(struct pl_pack *pack, const struct peal_subscription_list *list);
struct peal_subscription_info pl_unpack_name(struct pl_unpack *unpack);
void pl_pack_stats(struct pl_pack *pack, const struct peal_bus_stats *stats);
struct peal_bus_stats pl_unpack_stats(struct pl_unpack *unpack);

#endif
