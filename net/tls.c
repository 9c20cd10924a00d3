// SPDX-License-Identifier: MIT
//
// OpenSSL's defaults, without what is old: no TLS below 1.2, no renegotiation, no compression, and
// no tickets, whose key would live as long as the process.
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

static bool fail(char out[256], const char *file, const char *what)
{
    char reason[120];
    ERR_error_string_n(ERR_peek_last_error(), reason, sizeof reason);
    ERR_clear_error();
    (void)snprintf(out, 256, "%s: %s (%s)", file, what, reason);
    return false;
}

static bool set_up(SSL_CTX *tls, const char *certificate, const char *key, const char *client_ca,
                   char out_error[256])
{
    (void)SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1) {
        return fail(out_error, certificate, "is no certificate that can be read");
    }
    if (SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(tls) != 1) {
        return fail(out_error, key, "is not the key of the certificate, or cannot be read");
    }
    if (client_ca && *client_ca) {
        if (SSL_CTX_load_verify_locations(tls, client_ca, NULL) != 1) {
            return fail(out_error, client_ca, "has no certificates that can be read");
        }
        SSL_CTX_set_client_CA_list(tls, SSL_load_client_CA_file(client_ca));
        SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return true;
}

bool net_tls_open(struct ssl_ctx_st **out, const char *certificate, const char *key,
                  const char *client_ca, char out_error[256])
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (!tls || !set_up(tls, certificate, key, client_ca, out_error)) {
        if (!tls) {
            (void)fail(out_error, certificate, "no memory for TLS");
        }
        SSL_CTX_free(tls);
        return false;
    }
    *out = tls;
    return true;
}

void net_tls_close(struct ssl_ctx_st *tls)
{
    SSL_CTX_free(tls);
}
