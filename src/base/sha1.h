// SPDX-License-Identifier: MIT
//
// SHA-1 (RFC 3174), for the one thing that still asks for it: the handshake of WebSocket. It proves
// nothing and keeps nothing safe.
#ifndef PL_BASE_SHA1_H
#define PL_BASE_SHA1_H

#include <stddef.h>

#define PL_SHA1_SIZE 20
#define PL_SHA1_MAX  1024 // bytes of what is hashed, at most

void pl_sha1(unsigned char out[PL_SHA1_SIZE], const void *bytes, size_t size);

#endif
