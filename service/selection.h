// SPDX-License-Identifier: MIT
//
// Selection: which events a feed is asked for, and where it begins; by the parameters that
// `/v1/stream` and `/v1/ws` have in common.
#ifndef SERVICE_SELECTION_H
#define SERVICE_SELECTION_H

#include "service/feed.h"

// What is wanted.
struct service_selection {
    peal_matcher *matcher;          // its own: all that was asked but for the pattern
    struct auth_identity *identity; // who reads: shared; or NULL
};

// May one more stream or socket be opened? False: the call has failed with a sentence.
bool service_has_room(struct service_call *call);

// Fills in both but for the filter; `start` points to texts of the call. False: the call has failed
// with a sentence; the selection is to be finished.
bool service_selection_read(struct service_call *call, struct service_selection *selection,
                            struct service_feed_start *start);
void service_selection_finish(struct service_selection *selection); // fine on zeros

bool service_selects(const struct service_selection *selection, const peal_event *event); // any
// Whoever reads may not do so any more: his token was taken from him.
bool service_selection_is_over(const struct service_selection *selection);

#endif
