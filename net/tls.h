// SPDX-License-Identifier: MIT
//
// Tls: what a server needs to speak TLS 1.2 and later.
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>

struct ssl_ctx_st;

// Files in PEM: the certificate with its chain, its key, and who signs the certificates of clients
// (NULL or "": none is asked for; else each must have one). *Given*: net_tls_close. False:
// `out_error` is a sentence.
bool net_tls_open(struct ssl_ctx_st **out, const char *certificate, const char *key,
                  const char *client_ca, char out_error[256]);
void net_tls_close(struct ssl_ctx_st *tls); // NULL is fine

#endif
