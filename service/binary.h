// SPDX-License-Identifier: MIT
//
// Binary: the subprotocol peal.v1 on a WebSocket: a session (session.h) and its connection.
//
//     loop ─► message ─► session ─► jobs in the pool ─► bus
//     loop ◄─ posted ◄── messages that any thread has sent
//
// Threads: the loop's.
#ifndef SERVICE_BINARY_H
#define SERVICE_BINARY_H

#include "service/call.h"

// Takes the connection of a call over. The handshake was looked at.
void service_begin_binary(struct service_call *call);

struct service_binaries; // all of a service

// *Given*: service_binaries_close, when none is left, and before the bus. PEAL_ENOMEM, and what the
// library says.
enum peal_err service_binaries_open(struct service_binaries **out, struct service *service);
void service_binaries_close(struct service_binaries *binaries); // NULL is fine
// Has every client been sent what was published when this is called, as far as it wants it?
bool service_binaries_rest(const struct service_binaries *binaries);
void service_binaries_drain(struct service_binaries *binaries); // says goodbye to all (1001)
void service_binaries_tick(struct service_binaries *binaries);  // ends those without a token
size_t service_binaries_count(const struct service_binaries *binaries);
uint64_t service_binaries_delivered(const struct service_binaries *binaries); // any thread

#endif
