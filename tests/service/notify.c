// SPDX-License-Identifier: MIT
//
// What the service manager is told, as it hears it: on a socket of the test's, which is a file, or
// has a name in no file system.
#include "support/scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "service/notify.h"
#include "support/folder.h"

static struct folder folder;
static char name[128];
static int listener = -1;
static char heard[1024];

// Listens under `name`, and says so in the environment.
static void listen_there(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = strlen(name);
    memcpy(address.sun_path, name, length);
    if (name[0] == '@') {
        address.sun_path[0] = '\0';
    }
    listener = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(listener >= 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    assert_int_equal(bind(listener, (const struct sockaddr *)(const void *)&address, size), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
}

static int begin_file(void **state)
{
    (void)state;
    folder_open(&folder, "");
    (void)snprintf(name, sizeof name, "%s/notify", folder.path);
    listen_there();
    return 0;
}

static int begin_abstract(void **state)
{
    (void)state;
    folder_open(&folder, "");
    (void)snprintf(name, sizeof name, "@peal-notify-%d", (int)getpid());
    listen_there();
    return 0;
}

static int end(void **state)
{
    (void)state;
    (void)close(listener);
    folder_close(&folder);
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
    return 0;
}

// The next message; "" if there is none.
static const char *hear(void)
{
    ssize_t size = recv(listener, heard, sizeof heard - 1, 0);
    heard[size > 0 ? size : 0] = '\0';
    return heard;
}

static void a_service_is_ready_when_it_says_so(void **state)
{
    (void)state;
    struct notify notify = notify_begin();

    assert_true(notify_ready(&notify, "on 127.0.0.1:7325"));

    assert_string_equal(hear(), "READY=1\nSTATUS=on 127.0.0.1:7325");
    assert_string_equal(hear(), "");
}

static void a_status_may_be_left_out(void **state)
{
    (void)state;
    struct notify notify = notify_begin();

    assert_true(notify_stopping(&notify, NULL));

    assert_string_equal(hear(), "STOPPING=1\n");
}

static void reloading_is_told_with_the_time_of_the_monotonic_clock(void **state)
{
    (void)state;
    struct notify notify = notify_begin();
    unsigned long long usec = 0;

    assert_true(notify_reloading(&notify));

    assert_int_equal(sscanf(hear(), "RELOADING=1\nMONOTONIC_USEC=%llu", &usec), 1);
    assert_true(usec > 0);
}

static void a_watchdog_is_fed_twice_as_often_as_it_asks(void **state)
{
    (void)state;
    assert_int_equal(setenv("WATCHDOG_USEC", "30000000", 1), 0);

    struct notify notify = notify_begin();

    assert_int_equal(notify.watchdog_ms, 15000);
    assert_true(notify_watchdog(&notify));
    assert_string_equal(hear(), "WATCHDOG=1");
}

static void a_watchdog_of_another_process_is_not_ours(void **state)
{
    (void)state;
    assert_int_equal(setenv("WATCHDOG_USEC", "30000000", 1), 0);
    assert_int_equal(setenv("WATCHDOG_PID", "1", 1), 0);

    assert_int_equal(notify_begin().watchdog_ms, 0);
}

static void a_status_cannot_say_more_than_a_status(void **state)
{
    (void)state;
    struct notify notify = notify_begin();

    assert_true(notify_status(&notify, "waits\nMAINPID=1\x1b[0m"));

    assert_string_equal(hear(), "\nSTATUS=waits MAINPID=1 [0m");
}

static void a_long_status_is_cut(void **state)
{
    (void)state;
    struct notify notify = notify_begin();
    char status[2000];
    memset(status, 'a', sizeof status - 1);
    status[sizeof status - 1] = '\0';

    assert_true(notify_ready(&notify, status));

    assert_int_equal(strlen(hear()), 511);
}

static void nobody_is_told_where_nobody_listens(void **state)
{
    (void)state;
    static const char *const names[] = { "", "@", "relative", "/no/such/socket", NULL };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct notify notify = { .socket = names[i] };
        assert_false(notify_ready(&notify, "ready"));
    }
    char long_name[200];
    memset(long_name, '/', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    struct notify notify = { .socket = long_name };
    assert_false(notify_ready(&notify, "ready"));
    assert_string_equal(hear(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_service_is_ready_when_it_says_so, begin_file, end),
        cmocka_unit_test_setup_teardown(a_service_is_ready_when_it_says_so, begin_abstract, end),
        cmocka_unit_test_setup_teardown(a_status_may_be_left_out, begin_file, end),
        cmocka_unit_test_setup_teardown(reloading_is_told_with_the_time_of_the_monotonic_clock,
                                        begin_file, end),
        cmocka_unit_test_setup_teardown(a_watchdog_is_fed_twice_as_often_as_it_asks, begin_file,
                                        end),
        cmocka_unit_test_setup_teardown(a_watchdog_of_another_process_is_not_ours, begin_file, end),
        cmocka_unit_test_setup_teardown(a_status_cannot_say_more_than_a_status, begin_file, end),
        cmocka_unit_test_setup_teardown(a_long_status_is_cut, begin_file, end),
        cmocka_unit_test_setup_teardown(nobody_is_told_where_nobody_listens, begin_file, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
