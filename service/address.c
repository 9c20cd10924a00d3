// SPDX-License-Identifier: MIT
//
// Addresses: one table of ranges, the narrow ones before the wide ones they lie in, and the first
// that matches decides.
//
// The table follows the IANA IPv4 and IPv6 Special-Purpose Address Registries. What these call
// globally reachable within a refused range (192.0.0.9 and such: services of the network itself) is
// refused with it; no receiver of webhooks lives there.
#include "service/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

struct range {
    const char *start;
    unsigned bits;
    const char *what;
};

static const struct range ranges_4[] = {
    { "0.0.0.0", 8, "unspecified" },
    { "10.0.0.0", 8, "private" },
    { "100.64.0.0", 10, "shared by a carrier (CGNAT)" },
    { "127.0.0.0", 8, "loopback" },
    { "169.254.0.0", 16, "link-local" },
    { "172.16.0.0", 12, "private" },
    { "192.0.0.0", 24, "of IETF protocols" },
    { "192.0.2.0", 24, "for documentation" },
    { "192.31.196.0", 24, "of AS112" },
    { "192.52.193.0", 24, "of AMT" },
    { "192.88.99.0", 24, "of 6to4 relays" },
    { "192.168.0.0", 16, "private" },
    { "192.175.48.0", 24, "of AS112" },
    { "198.18.0.0", 15, "for benchmarks" },
    { "198.51.100.0", 24, "for documentation" },
    { "203.0.113.0", 24, "for documentation" },
    { "224.0.0.0", 4, "multicast" },
    { "255.255.255.255", 32, "broadcast" },
    { "240.0.0.0", 4, "reserved" },
};

// What is in none of these and outside of 2000::/3 is refused too.
static const struct range ranges_6[] = {
    { "::1", 128, "loopback" },
    { "::", 128, "unspecified" },
    { "::", 96, "IPv4-compatible" },
    { "64:ff9b:1::", 48, "of a local NAT64" },
    { "100::", 64, "discarded" },
    { "100:0:0:1::", 64, "a dummy" },
    { "2001::", 32, "Teredo" },
    { "2001:2::", 48, "for benchmarks" },
    { "2001:10::", 28, "of ORCHID" },
    { "2001:20::", 28, "of ORCHIDv2" },
    { "2001:30::", 28, "of drones" },
    { "2001:db8::", 32, "for documentation" },
    { "2001::", 23, "of IETF protocols" },
    { "2002::", 16, "6to4" },
    { "2620:4f:8000::", 48, "of AS112" },
    { "3fff::", 20, "for documentation" },
    { "5f00::", 16, "of segment routing" },
    { "fc00::", 7, "private" },
    { "fe80::", 10, "link-local" },
    { "fec0::", 10, "site-local" },
    { "ff00::", 8, "multicast" },
};

static const struct range nat64 = { "64:ff9b::", 96, NULL };
static const struct range global_6 = { "2000::", 3, NULL };

static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static bool same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned mask = 0xff00U >> bits % 8 & 0xff; // of the byte the range ends in
    return memcmp(a, b, whole) == 0 && (mask == 0 || ((a[whole] ^ b[whole]) & mask) == 0);
}

// The text is ours, and good.
static bool lies_in(const struct service_ip *address, const struct range *range)
{
    unsigned char start[16] = { 0 };
    (void)inet_pton(address->family, range->start, start);
    return same_bits(address->bytes, start, range->bits);
}

static const char *what_in(const struct service_ip *address, const struct range *ranges,
                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (lies_in(address, &ranges[i])) {
            return ranges[i].what;
        }
    }
    return NULL;
}

static const char *refusal_4(const struct service_ip *address)
{
    return what_in(address, ranges_4, sizeof ranges_4 / sizeof ranges_4[0]);
}

static struct service_ip last_four(const struct service_ip *address)
{
    struct service_ip inner = { .family = AF_INET };
    memcpy(inner.bytes, address->bytes + 12, 4);
    return inner;
}

const char *service_ip_refusal(const struct service_ip *address)
{
    if (address->family == AF_INET) {
        return refusal_4(address);
    }
    if (address->family != AF_INET6) {
        return "of no family we know";
    }
    if (memcmp(address->bytes, mapped, sizeof mapped) == 0 || lies_in(address, &nat64)) {
        struct service_ip inner = last_four(address);
        return refusal_4(&inner);
    }
    const char *what = what_in(address, ranges_6, sizeof ranges_6 / sizeof ranges_6[0]);
    if (what) {
        return what;
    }
    return lies_in(address, &global_6) ? NULL : "no global unicast";
}

// ---- reading and writing ------------------------------------------------------------------------

static void unmap(struct service_ip *address)
{
    if (address->family == AF_INET6 && memcmp(address->bytes, mapped, sizeof mapped) == 0) {
        *address = last_four(address);
    }
}

bool service_ip_parse(struct service_ip *out, const char *text)
{
    struct service_ip address = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };
    if (inet_pton(address.family, text, address.bytes) != 1) {
        return false;
    }
    unmap(&address);
    *out = address;
    return true;
}

bool service_ip_from(struct service_ip *out, const struct sockaddr *from)
{
    struct service_ip address = { .family = from->sa_family };
    if (from->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof in);
        memcpy(address.bytes, &in.sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, from, sizeof in);
        memcpy(address.bytes, &in.sin6_addr, 16);
    } else {
        return false;
    }
    unmap(&address);
    *out = address;
    return true;
}

void service_ip_print(char out[SERVICE_IP_TEXT], const struct service_ip *address)
{
    if (!inet_ntop(address->family, address->bytes, out, SERVICE_IP_TEXT)) {
        memcpy(out, "?", 2);
    }
}

bool service_ip_equal(const struct service_ip *a, const struct service_ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == AF_INET ? 4 : 16) == 0;
}
