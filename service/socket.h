// SPDX-License-Identifier: MIT
//
// Socket: `GET /v1/ws`, events both ways on one WebSocket.
//
//     cloudevents.json   one CloudEvent a message of text, in either direction
//     peal.v1            binary: what the library speaks when its URL is `http:` (session.h)
//
// Without a subprotocol it is cloudevents.json.
#ifndef SERVICE_SOCKET_H
#define SERVICE_SOCKET_H

#include "service/call.h"

void service_get_socket(struct service_call *call);

struct service_sockets; // all of a service, and what they share

// *Given*: service_sockets_close, when none is left. PEAL_ENOMEM.
enum peal_err service_sockets_open(struct service_sockets **out);
void service_sockets_close(struct service_sockets *sockets); // NULL is fine
// Says goodbye to all (1001): the service stops.
void service_sockets_drain(struct service_sockets *sockets);
// Once a second: ends those whose token was taken back.
void service_sockets_tick(struct service_sockets *sockets);
size_t service_sockets_count(const struct service_sockets *sockets); // those without a feed

#endif
