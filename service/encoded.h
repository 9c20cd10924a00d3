// SPDX-License-Identifier: MIT
//
// Encoded: an event as JSON, made once for all feeds that send it.
//
// Feeds are sent the same events at nearly the same time, a batch each, one after the other. So the
// text of an event is kept where its position says, until another event's takes the place, and for
// about a second at most: what is erased from the log must not live on here.
//
// A single feed does not pay for this: nothing is kept while there is only one.
//
// Memory: SERVICE_ENCODED_SLOTS texts of at most SERVICE_ENCODED_MAX bytes. Threads: any, but for
// opening, closing, joining and the tick.
#ifndef SERVICE_ENCODED_H
#define SERVICE_ENCODED_H

#include "net/text.h"

enum { SERVICE_ENCODED_SLOTS = 2048, SERVICE_ENCODED_MAX = 4096 };

struct service_encoded;

// *Given*: service_encoded_close. PEAL_ENOMEM.
enum peal_err service_encoded_open(struct service_encoded **out);
void service_encoded_close(struct service_encoded *encoded); // NULL is fine

// The event's JSON behind what the text has; as net_json_event, but without a comma.
void service_encoded_put(struct service_encoded *encoded, struct net_text *out,
                         const peal_event *event);

// A feed comes or goes.
void service_encoded_join(struct service_encoded *encoded);
void service_encoded_leave(struct service_encoded *encoded);
// Forgets all; once a second.
void service_encoded_tick(struct service_encoded *encoded);

#endif
