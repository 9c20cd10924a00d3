// SPDX-License-Identifier: MIT
//
// Addresses: where a webhook may send, so that nobody can have the service knock on doors that only
// it can reach.
//
//     name ─► resolver ─► addresses ─► refused? ─► allowed all the same? ─► the one connected to
//                                      the table    the configuration's
//                                                   names and networks
//
// Refused is what is not for everybody: every range of the IANA special-purpose registries (RFC
// 6890), multicast, and of IPv6 all that is no global unicast. An IPv6 address that stands for an
// IPv4 one (mapped, NAT64) is refused when that one is; the forms nobody should meet any more
// (compatible, 6to4, Teredo) always are.
//
// Whether a service may reach them all the same, the configuration says: by host name (whatever it
// resolves to), by address, or by network.
//
// Threads: an allow list is read by any; it does not change.
#ifndef SERVICE_ADDRESS_H
#define SERVICE_ADDRESS_H

#include <peal/error.h>
#include <stdbool.h>
#include <stddef.h>

struct sockaddr;

struct service_ip {
    int family;              // AF_INET or AF_INET6
    unsigned char bytes[16]; // network order; of AF_INET the first four
};

#define SERVICE_IP_TEXT 46 // bytes of one as text, with its end

// From numbers ("10.0.0.1", "::1"; no names, no zones), and from what the system has. An IPv4
// address mapped into IPv6 becomes the IPv4 address. false: it is none.
bool service_ip_parse(struct service_ip *out, const char *text);
bool service_ip_from(struct service_ip *out, const struct sockaddr *from);

void service_ip_print(char out[SERVICE_IP_TEXT], const struct service_ip *address);
bool service_ip_equal(const struct service_ip *a, const struct service_ip *b);

// NULL: anybody may be there. Else what it is, "loopback" for one; static.
const char *service_ip_refusal(const struct service_ip *address);

// ---- what is allowed all the same ---------------------------------------------------------------

#define SERVICE_ALLOW_MAX 256 // entries of a list

struct service_allow;

// Makes a list of host names ("hooks.example.net"), addresses ("10.0.0.7") and networks
// ("10.0.0.0/8", "fd00::/8"); they are *copied*. PEAL_EINVAL: one of them is none of these.
// PEAL_ELIMIT, PEAL_ENOMEM. *Shared*: the count of holders begins at one.
enum peal_err service_allow_create(struct service_allow **out, const char *const *entries,
                                   size_t count);
struct service_allow *service_allow_ref(struct service_allow *allow);
void service_allow_unref(struct service_allow *allow); // NULL is fine

// May a webhook send to this address, that the host name stands for? NULL: yes. Else what it is.
const char *service_allow_refusal(const struct service_allow *allow, const char *host,
                                  const struct service_ip *address);

#endif
