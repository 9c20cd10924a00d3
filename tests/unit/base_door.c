// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Doors: one for each thing, found by every path to it, gone with who has it, and never a place to
// wait for ever.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/door.h"
#include "base/seams.h"

static char place[64];

static int make_place(void **state)
{
    (void)state;
    (void)snprintf(place, sizeof place, "/tmp/peal-door-XXXXXX");
    return mkdtemp(place) ? 0 : -1;
}

static int remove_place(void **state)
{
    (void)state;
    return rmdir(place);
}

static int64_t in_ms(int64_t ms)
{
    return pl_seams_real.monotonic(NULL) + ms * PL_NS_PER_MS;
}

static struct pl_door_name name_of(const char *path)
{
    struct pl_door_name name;
    assert_int_equal(pl_door_name(&name, path), 0);
    return name;
}

static void a_door_is_named_by_what_it_is_of_not_by_the_path(void **state)
{
    char other[128];
    (void)state;
    struct pl_door_name name = name_of(place);
    (void)snprintf(other, sizeof other, "%s/./", place);
    assert_string_equal(name_of(other).text, name.text);
    assert_int_equal(name.owner, getuid());
    assert_string_not_equal(name_of("/").text, name.text);
    assert_true(strlen(name.text) + 1 < sizeof((struct sockaddr_un *)0)->sun_path);
    assert_int_equal(pl_door_name(&name, "/tmp/peal-there-is-no-such-thing"), -ENOENT);
}

static void there_is_one_door_of_a_name_and_it_goes_with_who_has_it(void **state)
{
    (void)state;
    int64_t pid = 0;
    struct pl_door_name name = name_of(place);
    assert_int_equal(pl_door_knock(&name, in_ms(10000), &pid), -ECONNREFUSED);
    int door = pl_door_open(&name);
    assert_true(door >= 0);
    assert_int_equal(pl_door_open(&name), -EADDRINUSE);
    int connection = pl_door_knock(&name, in_ms(10000), &pid);
    assert_true(connection >= 0);
    assert_int_equal(pid, getpid());
    pl_door_close(connection);
    pl_door_close(door);
    assert_int_equal(pl_door_knock(&name, in_ms(10000), &pid), -ECONNREFUSED);
    door = pl_door_open(&name);
    assert_true(door >= 0);
    pl_door_close(door);
    pl_door_close(-1);
}

static void what_is_written_is_read_and_the_end_is_told(void **state)
{
    (void)state;
    static char sent[1 << 20], got[1 << 20];
    int64_t pid;
    struct pl_door_name name = name_of(place);
    int door = pl_door_open(&name);
    int asker = pl_door_knock(&name, in_ms(10000), &pid);
    int asked = pl_door_wait(door);
    assert_true(asked >= 0);
    memset(sent, 7, sizeof sent);
    for (size_t i = 0; i < sizeof sent; i += 4096) { // what fits into the socket at a time
        assert_int_equal(pl_door_write(asker, -1, sent + i, 4096, in_ms(10000)), 0);
        assert_int_equal(pl_door_read(asked, door, got + i, 4096, in_ms(10000)), 0);
    }
    assert_memory_equal(sent, got, sizeof sent);
    pl_door_close(asker);
    assert_int_equal(pl_door_read(asked, door, got, 1, in_ms(10000)), -EPIPE);
    int result = pl_door_write(asked, door, sent, 1, in_ms(10000));
    assert_int_equal(result, -EPIPE);
    pl_door_close(asked);
    pl_door_close(door);
}

static void nobody_waits_beyond_the_deadline(void **state)
{
    (void)state;
    static char bytes[4 << 20];
    char byte;
    int64_t pid;
    struct pl_door_name name = name_of(place);
    int door = pl_door_open(&name);
    int asker = pl_door_knock(&name, in_ms(10000), &pid);
    int asked = pl_door_wait(door);
    assert_int_equal(pl_door_read(asked, door, &byte, 1, in_ms(2)), -ETIMEDOUT);
    assert_int_equal(pl_door_read(asked, door, &byte, 1, in_ms(-2)), -ETIMEDOUT);
    assert_int_equal(pl_door_write(asker, -1, bytes, sizeof bytes, in_ms(2)), -ETIMEDOUT);
    assert_int_equal(pl_door_knock(&name, in_ms(-2), &pid), -ETIMEDOUT);
    pl_door_close(asker);
    pl_door_close(asked);
    pl_door_close(door);
}

static void *shut(void *context)
{
    pl_door_shut(*(int *)context);
    return NULL;
}

static void a_door_that_is_shut_ends_every_wait(void **state)
{
    (void)state;
    char byte;
    int64_t pid;
    pthread_t thread;
    struct pl_door_name name = name_of(place);
    for (int reading = 0; reading < 2; reading++) {
        int door = pl_door_open(&name);
        int asker = pl_door_knock(&name, in_ms(10000), &pid);
        int asked = pl_door_wait(door);
        assert_int_equal(pthread_create(&thread, NULL, shut, &door), 0);
        int result = reading ? pl_door_read(asked, door, &byte, 1, INT64_MAX) : pl_door_wait(door);
        assert_int_equal(result, -ECANCELED);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(pl_door_wait(door), -ECANCELED);
        pl_door_close(asker);
        pl_door_close(asked);
        pl_door_close(door);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_door_is_named_by_what_it_is_of_not_by_the_path),
        cmocka_unit_test(there_is_one_door_of_a_name_and_it_goes_with_who_has_it),
        cmocka_unit_test(what_is_written_is_read_and_the_end_is_told),
        cmocka_unit_test(nobody_waits_beyond_the_deadline),
        cmocka_unit_test(a_door_that_is_shut_ends_every_wait),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
