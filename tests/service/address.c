// SPDX-License-Identifier: MIT
//
// Addresses: every range of the IANA special-purpose registries at its edges, the IPv6 forms of
// IPv4 addresses, and what the configuration allows all the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "service/address.h"

static struct service_ip ip(const char *text)
{
    struct service_ip address;
    if (!service_ip_parse(&address, text)) {
        fail_msg("%s is no address", text);
    }
    return address;
}

static const char *refusal(const char *text)
{
    struct service_ip address = ip(text);
    return service_ip_refusal(&address);
}

// The first and the last of a range, and what lies beside it: refused ("" where another refused
// range begins there, NULL where nothing does) or not.
struct row {
    const char *first, *last, *what, *before, *after;
};

static const struct row rows[] = {
    { "0.0.0.0", "0.255.255.255", "unspecified", NULL, "1.0.0.0" },
    { "10.0.0.0", "10.255.255.255", "private", "9.255.255.255", "11.0.0.0" },
    { "100.64.0.0", "100.127.255.255", "shared by a carrier (CGNAT)", "100.63.255.255",
      "100.128.0.0" },
    { "127.0.0.0", "127.255.255.255", "loopback", "126.255.255.255", "128.0.0.0" },
    { "169.254.0.0", "169.254.255.255", "link-local", "169.253.255.255", "169.255.0.0" },
    { "172.16.0.0", "172.31.255.255", "private", "172.15.255.255", "172.32.0.0" },
    { "192.0.0.0", "192.0.0.255", "of IETF protocols", "191.255.255.255", "192.0.1.0" },
    { "192.0.0.8", "192.0.0.11", "of IETF protocols", NULL, NULL },
    { "192.0.0.170", "192.0.0.171", "of IETF protocols", NULL, NULL },
    { "192.0.2.0", "192.0.2.255", "for documentation", "192.0.1.255", "192.0.3.0" },
    { "192.31.196.0", "192.31.196.255", "of AS112", "192.31.195.255", "192.31.197.0" },
    { "192.52.193.0", "192.52.193.255", "of AMT", "192.52.192.255", "192.52.194.0" },
    { "192.88.99.0", "192.88.99.255", "of 6to4 relays", "192.88.98.255", "192.88.100.0" },
    { "192.168.0.0", "192.168.255.255", "private", "192.167.255.255", "192.169.0.0" },
    { "192.175.48.0", "192.175.48.255", "of AS112", "192.175.47.255", "192.175.49.0" },
    { "198.18.0.0", "198.19.255.255", "for benchmarks", "198.17.255.255", "198.20.0.0" },
    { "198.51.100.0", "198.51.100.255", "for documentation", "198.51.99.255", "198.51.101.0" },
    { "203.0.113.0", "203.0.113.255", "for documentation", "203.0.112.255", "203.0.114.0" },
    { "224.0.0.0", "239.255.255.255", "multicast", "223.255.255.255", NULL },
    { "240.0.0.0", "255.255.255.254", "reserved", NULL, NULL },
    { "255.255.255.255", "255.255.255.255", "broadcast", NULL, NULL },

    { "::", "::", "unspecified", NULL, NULL },
    { "::1", "::1", "loopback", NULL, NULL },
    { "::2", "::ffff:ffff", "IPv4-compatible", NULL, NULL },
    { "::1:0:0", "::fffe:ffff:ffff", "no global unicast", NULL, NULL },
    { "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "of a local NAT64", NULL, NULL },
    { "64:ff9b:2::", "ff:ffff::", "no global unicast", NULL, NULL },
    { "100::", "100::ffff:ffff:ffff:ffff", "discarded", NULL, NULL },
    { "100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", "a dummy", NULL, NULL },
    { "100:0:0:2::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "no global unicast", NULL,
      "2000::" },
    { "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo",
      "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
    { "2001:1::", "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", "of IETF protocols", NULL, NULL },
    { "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", "for benchmarks", NULL, NULL },
    { "2001:2:1::", "2001:f:ffff:ffff:ffff:ffff:ffff:ffff", "of IETF protocols", NULL, NULL },
    { "2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", "of ORCHID", NULL, NULL },
    { "2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", "of ORCHIDv2", NULL, NULL },
    { "2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", "of drones", NULL, NULL },
    { "2001:40::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "of IETF protocols", NULL,
      "2001:200::" },
    { "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "for documentation",
      "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::" },
    { "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4",
      "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::" },
    { "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "of AS112",
      "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::" },
    { "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "for documentation",
      "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::" },
    { "4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "no global unicast",
      "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
    { "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "of segment routing", NULL, NULL },
    { "5f01::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "no global unicast", NULL, NULL },
    { "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private", NULL, NULL },
    { "fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "no global unicast", NULL, NULL },
    { "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local", NULL, NULL },
    { "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local", NULL, NULL },
    { "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast", NULL, NULL },
};

#define ROWS (sizeof rows / sizeof rows[0])

static void every_special_range_is_refused_from_its_first_to_its_last_address(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        assert_string_equal(refusal(rows[i].first), rows[i].what);
        assert_string_equal(refusal(rows[i].last), rows[i].what);
    }
}

static void what_lies_beside_a_range_is_not_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].before && refusal(rows[i].before)) {
            fail_msg("%s is refused: %s", rows[i].before, refusal(rows[i].before));
        }
        if (rows[i].after && refusal(rows[i].after)) {
            fail_msg("%s is refused: %s", rows[i].after, refusal(rows[i].after));
        }
    }
}

// Every row of IPv4 in each form that IPv6 has for it.
static void a_refused_ipv4_address_is_refused_in_every_form_of_ipv6(void **state)
{
    (void)state;
    static const char *const forms[] = { "::ffff:%s", "64:ff9b::%s", "::%s" };
    for (size_t i = 0; i < ROWS && !strchr(rows[i].first, ':'); i++) {
        for (size_t form = 0; form < 3; form++) {
            char text[64];
            (void)snprintf(text, sizeof text, forms[form], rows[i].last);
            assert_non_null(refusal(text));
        }
        struct service_ip inner = ip(rows[i].last);
        struct service_ip outer = { AF_INET6, { 0x20, 0x02 } }; // 6to4
        memcpy(outer.bytes + 2, inner.bytes, 4);
        assert_string_equal(service_ip_refusal(&outer), "6to4");
        struct service_ip teredo = { AF_INET6, { 0x20, 0x01 } };
        for (size_t byte = 0; byte < 4; byte++) {
            teredo.bytes[12 + byte] = (unsigned char)~inner.bytes[byte];
        }
        assert_string_equal(service_ip_refusal(&teredo), "Teredo");
    }
}

static void a_global_ipv4_address_is_reached_mapped_and_through_nat64(void **state)
{
    (void)state;
    assert_null(refusal("::ffff:8.8.8.8"));
    assert_null(refusal("64:ff9b::8.8.8.8"));
    assert_string_equal(refusal("::8.8.8.8"), "IPv4-compatible");
    assert_string_equal(refusal("2002:808:808::1"), "6to4");
    assert_int_equal(ip("::ffff:8.8.8.8").family, AF_INET);
    struct service_ip unmapped = { AF_INET6, { [10] = 0xff, 0xff, 127, 0, 0, 1 } };
    assert_string_equal(service_ip_refusal(&unmapped), "loopback");
}

static void only_numbers_in_their_usual_form_are_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",      "localhost", "127.1",      "0x7f.0.0.1", "2130706433",   "127.0.0.1 ",
        "1.2.3", "1.2.3.256", "1.2.3.4.5",  "::1%lo",     "[::1]",        "1:2:3:4:5:6:7",
        ":::",   "::g",       "10.0.0.0/8", "0127.0.0.1", "::ffff:1.2.3",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct service_ip address = { .family = 77 };
        assert_false(service_ip_parse(&address, bad[i]));
        assert_int_equal(address.family, 77);
    }
}

static void an_address_is_what_the_system_has_and_is_printed_as_text(void **state)
{
    (void)state;
    char text[SERVICE_IP_TEXT];
    struct service_ip address;
    struct sockaddr_in in4 = { .sin_family = AF_INET };
    in4.sin_addr.s_addr = htonl(0x0a000007);
    assert_true(service_ip_from(&address, (const struct sockaddr *)&in4));
    service_ip_print(text, &address);
    assert_string_equal(text, "10.0.0.7");

    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct service_ip other;
    assert_true(service_ip_from(&other, (const struct sockaddr *)&in6));
    service_ip_print(text, &other);
    assert_string_equal(text, "::1");
    assert_false(service_ip_equal(&address, &other));
    assert_true(service_ip_equal(&other, &other));

    struct sockaddr local = { .sa_family = AF_UNIX };
    assert_false(service_ip_from(&address, &local));
    struct service_ip odd = { .family = AF_UNIX };
    assert_non_null(service_ip_refusal(&odd));
}

// ---- what is allowed all the same ---------------------------------------------------------------

struct question {
    const char *host, *address;
    bool allowed;
};

static const char *const entries[] = {
    "hooks.internal", "10.1.2.3",    "192.168.0.0/16",
    "fd12::/16",      "127.0.0.0/9", "::ffff:172.16.0.0/108",
};

static const struct question questions[] = {
    { "hooks.internal", "10.9.9.9", true },
    { "HOOKS.Internal.", "::1", true },
    { "a.hooks.internal", "10.9.9.9", false },
    { "hooks.internal.example", "10.9.9.9", false },
    { "else", "10.1.2.3", true },
    { "else", "::ffff:10.1.2.3", true },
    { "else", "10.1.2.4", false },
    { "else", "192.168.255.255", true },
    { "else", "192.169.0.0", true }, // not refused at all
    { "else", "172.16.0.0", true },
    { "else", "172.31.255.255", true },
    { "else", "127.127.255.255", true },
    { "else", "127.128.0.0", false },
    { "else", "fd12:ffff::1", true },
    { "else", "fd13::1", false },
    { "else", "64:ff9b::10.1.2.3", false }, // allowed as it is connected to, and only so
};

static void names_addresses_and_networks_are_allowed_and_nothing_beside_them(void **state)
{
    (void)state;
    struct service_allow *allow;
    assert_int_equal(service_allow_create(&allow, entries, sizeof entries / sizeof entries[0]),
                     PEAL_OK);
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        struct service_ip address = ip(questions[i].address);
        const char *what = service_allow_refusal(allow, questions[i].host, &address);
        if ((what == NULL) != questions[i].allowed) {
            fail_msg("%s at %s: %s", questions[i].host, questions[i].address, what ? what : "yes");
        }
    }
    service_allow_unref(service_allow_ref(allow));
    service_allow_unref(allow);
    service_allow_unref(NULL);
}

static void everything_can_be_allowed(void **state)
{
    (void)state;
    static const char *const all[] = { "0.0.0.0/0", "::/0" };
    struct service_allow *allow;
    assert_int_equal(service_allow_create(&allow, all, 2), PEAL_OK);
    for (size_t i = 0; i < ROWS; i++) {
        struct service_ip address = ip(rows[i].first);
        assert_null(service_allow_refusal(allow, "any", &address));
    }
    service_allow_unref(allow);
}

static void an_empty_list_and_none_allow_nothing(void **state)
{
    (void)state;
    struct service_allow *allow;
    struct service_ip address = ip("::1");
    assert_int_equal(service_allow_create(&allow, NULL, 0), PEAL_OK);
    assert_string_equal(service_allow_refusal(allow, "localhost", &address), "loopback");
    assert_string_equal(service_allow_refusal(NULL, "localhost", &address), "loopback");
    service_allow_unref(allow);
}

static void an_entry_that_says_nothing_is_refused_by_its_number(void **state)
{
    (void)state;
    static const char *const bad[] = {
        NULL,
        "",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/x",
        "10.0.0.0/8/8",
        "::1/129",
        "10.0.0",
        "10.0.0.256",
        "a b",
        ".a",
        "-a",
        "http://a/",
        "*.example",
        "::ffff:10.0.0.0/8",
        "10.0.0.0/0008",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *const two[] = { "good.example", bad[i] };
        struct service_allow *allow = NULL;
        assert_int_equal(service_allow_create(&allow, two, 2), PEAL_EINVAL);
        assert_null(allow);
        assert_non_null(strstr(peal_error_sentence(), "entry 2"));
    }
    const char *many[SERVICE_ALLOW_MAX + 1];
    for (size_t i = 0; i <= SERVICE_ALLOW_MAX; i++) {
        many[i] = "a";
    }
    struct service_allow *allow = NULL;
    assert_int_equal(service_allow_create(&allow, many, SERVICE_ALLOW_MAX + 1), PEAL_ELIMIT);
    assert_int_equal(service_allow_create(&allow, many, SERVICE_ALLOW_MAX), PEAL_OK);
    service_allow_unref(allow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_special_range_is_refused_from_its_first_to_its_last_address),
        cmocka_unit_test(what_lies_beside_a_range_is_not_refused),
        cmocka_unit_test(a_refused_ipv4_address_is_refused_in_every_form_of_ipv6),
        cmocka_unit_test(a_global_ipv4_address_is_reached_mapped_and_through_nat64),
        cmocka_unit_test(only_numbers_in_their_usual_form_are_addresses),
        cmocka_unit_test(an_address_is_what_the_system_has_and_is_printed_as_text),
        cmocka_unit_test(names_addresses_and_networks_are_allowed_and_nothing_beside_them),
        cmocka_unit_test(everything_can_be_allowed),
        cmocka_unit_test(an_empty_list_and_none_allow_nothing),
        cmocka_unit_test(an_entry_that_says_nothing_is_refused_by_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
