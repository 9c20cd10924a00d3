// SPDX-License-Identifier: MIT
//
// A disk that is full, a real one: a small tmpfs that nobody else sees. What was acknowledged stays
// readable, the error says what to do, and once there is room the log goes on.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <peal/log.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "support/stage.h"

static char directory[] = "/tmp/peal-full-XXXXXX";
static char url[128];

// A file system of so many bytes at `directory`. False: this process may not mount.
static bool mount_small(const char *size)
{
    char options[32];
    (void)snprintf(options, sizeof options, "size=%s", size);
    // As root in a name space of our own; without, in one in which we are root.
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
        return false;
    }
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", directory, "tmpfs", 0, options) == 0;
}

static peal_bus *open_bus(struct complaints *complaints)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .log = complain_to,
                                        .log_context = complaints };
    peal_bus *bus = NULL;
    assert_int_equal(peal_bus_open(&bus, url, &options), PEAL_OK);
    return bus;
}

// Publishes numbers until that fails; gives the first that was not acknowledged.
static unsigned fill(peal_bus *bus, unsigned number, enum peal_err *err)
{
    char data[1000];
    for (;; number++) {
        memset(data, ' ', sizeof data);
        (void)snprintf(data, sizeof data, "%u", number);
        struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
        *err = peal_publish(bus, &message, NULL);
        if (*err) {
            return number;
        }
    }
}

// All that was acknowledged is there, in order; perhaps one more, of which nothing was said.
static unsigned count_events(peal_bus *bus, unsigned acknowledged)
{
    peal_reader *reader;
    const peal_event *event;
    unsigned count = 0;
    assert_int_equal(peal_reader_open(&reader, bus, NULL), PEAL_OK);
    enum peal_err err;
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        assert_int_equal(peal_event_position(event), count + 1);
        count++;
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    peal_reader_close(reader);
    assert_true(count >= acknowledged && count <= acknowledged + 1);
    return count;
}

static void a_full_disk_is_an_error_and_loses_nothing(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(url, sizeof url, "file:%s/events?segment_bytes=256k", directory);
    if (!mount_small("2m")) {
        print_message("a small file system needs mount(2), and this process may not: %s\n",
                      strerror(errno));
        (void)rmdir(directory);
        skip();
    }
    struct complaints complaints = { 0 };
    peal_bus *bus = open_bus(&complaints);
    enum peal_err err;
    unsigned acknowledged = fill(bus, 0, &err);
    assert_int_equal(err, PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "No space left on device"));
    assert_true(acknowledged > 1000); // most of the disk was used
    assert_int_equal(complaints.level, PEAL_LEVEL_ERROR);
    (void)count_events(bus, acknowledged);
    peal_bus_close(bus);

    assert_int_equal(mount("tmpfs", directory, "tmpfs", MS_REMOUNT, "size=4m"), 0);
    bus = open_bus(&complaints);
    unsigned there = count_events(bus, acknowledged);
    acknowledged = fill(bus, there, &err);
    assert_int_equal(err, PEAL_EIO);
    assert_true(acknowledged > there + 1000);
    (void)count_events(bus, acknowledged);
    peal_bus_close(bus);
    assert_int_equal(umount(directory), 0);
    assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_is_an_error_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
