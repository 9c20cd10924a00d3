// SPDX-License-Identifier: MIT
//
// How connections send.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/socket.h"

static int listen_here(uint16_t *out_port)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listening >= 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listening, 4), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &size), 0);
    *out_port = ntohs(address.sin_port);
    return listening;
}

static void assert_sends_at_once(int connection)
{
    char way[16] = "";
    int on = 0;
    socklen_t size = sizeof way, on_size = sizeof on;
    assert_int_equal(getsockopt(connection, IPPROTO_TCP, TCP_CONGESTION, way, &size), 0);
    assert_string_equal(way, "reno");
    assert_int_equal(getsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, &on_size), 0);
    assert_int_equal(on, 1);
}

static void a_connection_within_the_machine_is_not_paced_at_either_end(void **state)
{
    (void)state;
    uint16_t port = 0;
    int listening = listen_here(&port), bell = pl_bell_open();
    assert_true(bell >= 0);
    int connection = pl_socket_connect("127.0.0.1", port, bell, INT64_MAX);
    assert_true(connection >= 0);
    int accepted = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    assert_true(accepted >= 0);
    pl_socket_prepare(accepted);
    assert_sends_at_once(connection);
    assert_sends_at_once(accepted);
    pl_socket_close(connection);
    pl_socket_close(accepted);
    pl_socket_close(listening);
    pl_socket_close(bell);
}

static void what_is_no_connection_is_left_as_it_was(void **state)
{
    (void)state;
    char before[16] = "", after[16] = "";
    socklen_t size = sizeof before, after_size = sizeof after;
    int alone = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(alone >= 0);
    assert_int_equal(getsockopt(alone, IPPROTO_TCP, TCP_CONGESTION, before, &size), 0);
    pl_socket_prepare(alone);
    assert_int_equal(getsockopt(alone, IPPROTO_TCP, TCP_CONGESTION, after, &after_size), 0);
    assert_string_equal(before, after);
    pl_socket_close(alone);
    pl_socket_prepare(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_within_the_machine_is_not_paced_at_either_end),
        cmocka_unit_test(what_is_no_connection_is_left_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
