// SPDX-License-Identifier: MIT
//
// What is allowed all the same: a list of host names and networks; an address is a network of one.
#include "service/address.h"

#include "base/error.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_BYTES 253 // of a host name

struct entry {
    struct service_ip network;
    unsigned bits;
    char name[NAME_MAX_BYTES + 1]; // "" : a network
};

struct service_allow {
    atomic_uint holders;
    size_t count;
    struct entry entries[];
};

static bool is_name(const char *text)
{
    size_t length = strlen(text);
    return length > 0 && length <= NAME_MAX_BYTES && text[0] != '.' && text[0] != '-' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               length;
}

// "10.0.0.0/8": the bits behind the slash; without one all of them. false: it is no network.
static bool read_network(struct entry *out, const char *text)
{
    char address[SERVICE_IP_TEXT];
    size_t length = strcspn(text, "/");
    if (length >= sizeof address) {
        return false;
    }
    memcpy(address, text, length);
    address[length] = 0;
    if (!service_ip_parse(&out->network, address)) {
        return false;
    }
    unsigned most = out->network.family == AF_INET ? 32 : 128;
    out->bits = most;
    if (text[length] == 0) {
        return true;
    }
    const char *digits = text + length + 1;
    size_t count = strspn(digits, "0123456789");
    if (count == 0 || count > 3 || digits[count] != 0) {
        return false;
    }
    unsigned long bits = strtoul(digits, NULL, 10);
    bool was_mapped = strchr(address, ':') && out->network.family == AF_INET;
    if (was_mapped && bits < 96) {
        return false; // more than the IPv4 addresses: which others, nobody can mean
    }
    out->bits = (unsigned)(was_mapped ? bits - 96 : bits);
    return out->bits <= most;
}

static bool read_entry(struct entry *out, const char *text)
{
    if (read_network(out, text)) {
        return true;
    }
    // What is made of digits and dots only, and is no address, is a slip and no name.
    if (!is_name(text) || strspn(text, "0123456789.") == strlen(text)) {
        return false;
    }
    memcpy(out->name, text, strlen(text) + 1);
    return true;
}

enum peal_err service_allow_create(struct service_allow **out, const char *const *entries,
                                   size_t count)
{
    if (count > SERVICE_ALLOW_MAX) {
        return pl_fail(PEAL_ELIMIT, "webhooks.allow has %zu entries, more than %d", count,
                       SERVICE_ALLOW_MAX);
    }
    struct service_allow *allow = calloc(1, sizeof *allow + count * sizeof allow->entries[0]);
    if (!allow) {
        return pl_fail(PEAL_ENOMEM, "no memory for what webhooks may reach");
    }
    atomic_init(&allow->holders, 1);
    allow->count = count;
    for (size_t i = 0; i < count; i++) {
        if (!entries[i] || !read_entry(&allow->entries[i], entries[i])) {
            free(allow);
            return pl_fail(PEAL_EINVAL,
                           "webhooks.allow: entry %zu is no host name, address or network; write "
                           "hooks.example.net, 10.0.0.7 or 10.0.0.0/8",
                           i + 1);
        }
    }
    *out = allow;
    return PEAL_OK;
}

struct service_allow *service_allow_ref(struct service_allow *allow)
{
    // Relaxed: who makes a reference has one already.
    atomic_fetch_add_explicit(&allow->holders, 1, memory_order_relaxed);
    return allow;
}

void service_allow_unref(struct service_allow *allow)
{
    // Release and acquire: all that others have read of it comes before it is freed.
    if (allow && atomic_fetch_sub_explicit(&allow->holders, 1, memory_order_acq_rel) == 1) {
        free(allow);
    }
}

static bool in_network(const struct entry *entry, const struct service_ip *address)
{
    if (entry->network.family != address->family) {
        return false;
    }
    for (unsigned bit = 0; bit < entry->bits; bit++) {
        unsigned char mask = (unsigned char)(0x80U >> bit % 8);
        if ((entry->network.bytes[bit / 8] ^ address->bytes[bit / 8]) & mask) {
            return false;
        }
    }
    return true;
}

// Names are compared without their case, and without the dot that may end one.
static bool same_name(const char *a, const char *b)
{
    size_t a_length = strlen(a), b_length = strlen(b);
    a_length -= a_length > 0 && a[a_length - 1] == '.';
    b_length -= b_length > 0 && b[b_length - 1] == '.';
    return a_length == b_length && strncasecmp(a, b, a_length) == 0;
}

const char *service_allow_refusal(const struct service_allow *allow, const char *host,
                                  const struct service_ip *address)
{
    const char *what = service_ip_refusal(address);
    for (size_t i = 0; what && allow && i < allow->count; i++) {
        const struct entry *entry = &allow->entries[i];
        if (entry->name[0] ? same_name(entry->name, host) : in_network(entry, address)) {
            return NULL;
        }
    }
    return what;
}
