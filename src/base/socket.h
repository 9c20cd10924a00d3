// SPDX-License-Identifier: MIT
//
// Sockets: a connection to another machine, and what wakes who waits for it.
//
//     who owns it            anybody
//     pl_socket_wait  ◄───── pl_bell_ring
//     receive, send
//
// Nothing here blocks but pl_socket_connect, which also looks a name up, and pl_socket_wait: both
// until their deadline, or until the bell rings. Results are descriptors, counts or 0, or minus an
// errno. A deadline is a time of the real monotonic clock, in ns.
//
// Threads: a connection belongs to one at a time; a bell is rung by any.
#ifndef PL_BASE_SOCKET_H
#define PL_BASE_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// -ENOENT: there is no such host. -ECANCELED: the bell rang. -ETIMEDOUT, -ECONNREFUSED, ...
int pl_socket_connect(const char *host, uint16_t port, int bell, int64_t deadline);
void pl_socket_close(int socket); // fine on what is below 0

// How a connection is to send, made by either side: at once, and between two programs of one
// machine without pacing. What the kernel cannot do is left as it was.
void pl_socket_prepare(int socket);

// How many bytes; 0: none now. -EPIPE: the other side has gone.
int64_t pl_socket_receive(int socket, void *out, size_t size);
int64_t pl_socket_send(int socket, const void *bytes, size_t size);

enum { PL_SOCKET_READABLE = 1, PL_SOCKET_WRITABLE = 2, PL_SOCKET_BELL = 4 };

// Waits until something can be received, sent (if that is wanted), or the bell rings, and says
// which; 0: the deadline. `socket` below 0: for the bell alone.
int pl_socket_wait(int socket, int bell, bool wants_to_send, int64_t deadline);

int pl_bell_open(void);
void pl_bell_ring(int bell);
void pl_bell_quiet(int bell); // what has rung was heard

#endif
