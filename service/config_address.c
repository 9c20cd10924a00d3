// SPDX-License-Identifier: MIT
//
// Addresses: what `listen` says, and whether to listen there.
//
// The question is asked of the address that will be bound, not of the name that stands for it: what
// a name means is for others to change.
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "service/config.h"

static bool port_read(char out[6], const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length > 5 || strspn(text, "0123456789") != length ||
        strtoul(text, NULL, 10) > 65535) {
        return false;
    }
    memcpy(out, text, length + 1);
    return true;
}

bool service_address_read(struct service_address *out, const char *text)
{
    struct service_address address = { .host = "127.0.0.1" };
    const char *colon = strrchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : 0;
    const char *host = text;
    if (length > 2 && text[0] == '[' && text[length - 1] == ']') {
        host++;
        length -= 2;
    } else if (memchr(text, ':', length)) {
        return false; // an IPv6 address without brackets: where would its port begin?
    }
    if (length >= sizeof address.host || (colon && strcspn(host, " \t/@[]") < length) ||
        !port_read(address.port, colon ? colon + 1 : text)) {
        return false;
    }
    if (colon) {
        memcpy(address.host, host, length);
        address.host[length] = '\0';
    }
    *out = address;
    return true;
}

// Only programs of this machine can connect there.
static bool is_loopback(const struct sockaddr *address)
{
    static const unsigned char mapped[13] = { [10] = 0xff, [11] = 0xff, [12] = 127 };
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        const struct in6_addr *in6 =
            &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(in6) || memcmp(in6->s6_addr, mapped, sizeof mapped) == 0;
    }
    return address->sa_family == AF_UNIX;
}

enum service_binding service_binding(char why[SERVICE_SENTENCE_MAX],
                                     const struct service_config *config,
                                     const struct sockaddr *address)
{
    bool asks = config->auth_tokens.count > 0 || *config->tls_client_ca;
    enum service_binding answer = SERVICE_BIND;
    const char *sentence = "";
    if (is_loopback(address)) {
        return SERVICE_BIND;
    }
    if (!asks && !config->insecure) {
        answer = SERVICE_BIND_REFUSED;
        sentence = "others can reach this address, and nobody would be asked who they are: give "
                   "auth.tokens (`peal token new` makes one), or say insecure";
    } else if (!asks) {
        answer = SERVICE_BIND_WARNED;
        sentence = "who reaches this address may read, publish and erase everything (insecure)";
    } else if (!*config->tls_certificate) {
        answer = SERVICE_BIND_WARNED;
        sentence = "tokens and events travel readable: give tls.certificate and tls.key, or put a "
                   "proxy in front that does TLS";
    }
    if (*sentence) {
        (void)snprintf(why, SERVICE_SENTENCE_MAX, "%s", sentence); // it fits
    }
    return answer;
}
