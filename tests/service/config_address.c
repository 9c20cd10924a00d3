// SPDX-License-Identifier: MIT
//
// Addresses: how they are read, and where a service may listen without asking who is there.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "service/config.h"
#include "service/support/read.h"

static void addresses_are_host_and_port(void **state)
{
    static const struct {
        const char *text, *host, *port;
    } good[] = {
        { "127.0.0.1:7325", "127.0.0.1", "7325" },
        { "localhost:0", "localhost", "0" },
        { "[::1]:80", "::1", "80" },
        { ":65535", "", "65535" },
        { "7325", "127.0.0.1", "7325" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct service_address address;
        assert_true(service_address_read(&address, good[i].text));
        assert_string_equal(address.host, good[i].host);
        assert_string_equal(address.port, good[i].port);
    }
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "localhost",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:1x",
        "::1:80",
        "[::1]",
        "[::1:80",
        "a b:80",
        "http://a:80",
        "127.0.0.1:000080",
        "user@a:80",
        "[]:80",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct service_address address = { .host = "untouched" };
        if (service_address_read(&address, bad[i])) {
            fail_msg("\"%s\" was taken for %s port %s", bad[i], address.host, address.port);
        }
        assert_string_equal(address.host, "untouched");
    }
    char longest[400];
    memset(longest, 'a', sizeof longest);
    memcpy(longest + sizeof longest - 4, ":80", 4);
    struct service_address address;
    assert_false(service_address_read(&address, longest));
}

static enum service_binding binding(const char *yaml, const char *host)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST };
    struct addrinfo *found = NULL;
    char why[SERVICE_SENTENCE_MAX] = "";
    struct service_config *config = read_yaml(yaml);
    assert_int_equal(getaddrinfo(host, "1", &hints, &found), 0);
    enum service_binding answer = service_binding(why, config, found->ai_addr);
    assert_int_equal(*why != '\0', answer != SERVICE_BIND);
    freeaddrinfo(found);
    service_config_close(config);
    return answer;
}

#define TOKENS "auth: {tokens: [{name: a, hash: \"" READ_HASH_A "\"}]}\n"

static void this_machine_may_always_connect(void **state)
{
    static const char *const hosts[] = { "127.0.0.1", "127.255.1.2", "::1", "::ffff:127.0.0.1" };
    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        assert_int_equal(binding("", hosts[i]), SERVICE_BIND);
        assert_int_equal(binding(TOKENS, hosts[i]), SERVICE_BIND);
    }
    struct service_config *config = read_yaml("");
    const struct sockaddr_un local = { .sun_family = AF_UNIX, .sun_path = "/run/peal" };
    char why[SERVICE_SENTENCE_MAX];
    assert_int_equal(service_binding(why, config, (const struct sockaddr *)(const void *)&local),
                     SERVICE_BIND);
    service_config_close(config);
}

static void others_may_not_connect_unless_they_are_asked_who_they_are(void **state)
{
    static const char *const hosts[] = { "0.0.0.0",   "::",          "10.0.0.1",       "192.0.2.1",
                                         "128.0.0.1", "2001:db8::1", "::ffff:10.0.0.1" };
    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        assert_int_equal(binding("", hosts[i]), SERVICE_BIND_REFUSED);
        assert_int_equal(binding("insecure: true\n", hosts[i]), SERVICE_BIND_WARNED);
        assert_int_equal(binding(TOKENS, hosts[i]), SERVICE_BIND_WARNED);
        assert_int_equal(binding(TOKENS "tls: {certificate: a, key: b}\n", hosts[i]), SERVICE_BIND);
        assert_int_equal(binding("tls: {certificate: a, key: b}\n", hosts[i]),
                         SERVICE_BIND_REFUSED);
        assert_int_equal(binding("tls: {certificate: a, key: b, client_ca: c}\n", hosts[i]),
                         SERVICE_BIND);
    }
}

static void an_address_that_would_be_refused_is_a_fault(void **state)
{
    (void)state;
    expect_only("listen: [\"127.0.0.1:1\", \"0.0.0.0:7325\"]\n",
                "peal.yaml:1:1: listen \"0.0.0.0:7325\": others can reach this address");
    expect_only("listen: \":7325\"\n", "peal.yaml:1:1: listen \":7325\": others can reach");
    expect_only("listen: \"[::]:7325\"\n", "peal.yaml:1:1: listen \"[::]:7325\": others can reach");
    expect_only("listen: nonsense\n", "peal.yaml:1:1: listen: \"nonsense\" is no address");
    struct service_config *config = read_yaml("listen: \"0.0.0.0:1\"\ninsecure: yes\n");
    expect_sound(config);
    service_config_close(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_host_and_port),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(this_machine_may_always_connect),
        cmocka_unit_test(others_may_not_connect_unless_they_are_asked_who_they_are),
        cmocka_unit_test(an_address_that_would_be_refused_is_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
