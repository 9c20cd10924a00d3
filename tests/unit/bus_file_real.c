// SPDX-License-Identifier: MIT
// ctest: threaded
//
// file: on the real disk, from one process to the next: what one has published another finds, and
// while one has the log no other may write to it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <sys/wait.h>

#include "support/folder.h"
#include "support/stage.h"
#include "support/whole.h"

static peal_bus *open_log(const char *url)
{
    peal_bus *bus = NULL;
    enum peal_err err = peal_bus_open(&bus, url, NULL);
    assert_string_equal(err ? peal_error_sentence() : "", "");
    return bus;
}

static void publish_all(peal_bus *bus)
{
    assert_int_equal(peal_publish(bus, &whole_message, NULL), PEAL_OK);
    struct peal_message batch[3] = { { .type = "a" },
                                     { .type = "b", .subject = "order 1" },
                                     { .type = "c", .durability = PEAL_DURABILITY_DISK } };
    assert_int_equal(peal_publish_batch(bus, batch, 3, NULL), PEAL_OK);
    peal_emit(bus, "emitted", "x", 1);
    static char large[40000];
    memset(large, 'x', sizeof large);
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, bus, "large"), PEAL_OK);
    assert_int_equal(peal_topic_publish(topic, large, sizeof large), PEAL_OK);
}

static char before[200000], after[200000];

static void events_are_the_same_when_the_log_is_opened_again(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder, "?workers=0&segment_bytes=64k");
    peal_bus *bus = open_log(folder.url);
    publish_all(bus);
    assert_true(whole_log(bus, before, sizeof before) > 40000);
    for (int i = 0; i < 3; i++) {
        peal_bus_close(bus);
        bus = open_log(folder.url);
        (void)whole_log(bus, after, sizeof after);
        assert_string_equal(before, after);
    }
    struct peal_message known = { .type = "order.created", .id = "my id", .source = "/elsewhere" };
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(bus, &known, &receipt), PEAL_OK);
    assert_true(receipt.duplicate);
    uint64_t version;
    assert_int_equal(peal_stream_version(&version, bus, "order 1"), PEAL_OK);
    assert_int_equal(version, 2);
    peal_bus_close(bus);
    folder_close(&folder);
}

// Runs a function in a process of its own; it returns that of the function.
static int elsewhere(int (*main)(const struct folder *folder), const struct folder *folder)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(main(folder));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int try_to_open(const struct folder *folder)
{
    peal_bus *bus = NULL;
    enum peal_err err = peal_bus_open(&bus, folder->url, NULL);
    char process[32];
    (void)snprintf(process, sizeof process, "process %ld ", (long)getppid());
    if (err == PEAL_EBUSY && !strstr(peal_error_sentence(), process)) {
        return 99; // it is to say who
    }
    peal_bus_close(bus);
    return (int)err;
}

static int publish_and_die(const struct folder *folder)
{
    peal_bus *bus;
    struct peal_message message = { .type = "a", .data = "from there", .size = 10 };
    enum peal_err err = peal_bus_open(&bus, folder->url, NULL);
    err = err ? err : peal_publish(bus, &message, NULL);
    return (int)err; // without closing
}

static void one_process_at_a_time_has_the_log(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder, "?workers=0");
    peal_bus *bus = open_log(folder.url);
    assert_int_equal(elsewhere(try_to_open, &folder), PEAL_EBUSY);
    peal_bus *second = NULL;
    assert_int_equal(peal_bus_open(&second, folder.url, NULL), PEAL_EBUSY); // nor twice in one
    peal_bus_close(bus);
    assert_int_equal(elsewhere(try_to_open, &folder), PEAL_OK);
    assert_int_equal(elsewhere(publish_and_die, &folder), PEAL_OK);
    bus = open_log(folder.url); // the lock has gone with its process
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
    assert_int_equal(stats.last_position, 1);
    peal_bus_close(bus);
    folder_close(&folder);
}

static void what_is_in_the_way_is_said(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder, "/file");
    FILE *file = fopen(folder.url + strlen("file:"), "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    peal_bus *bus = NULL;
    assert_int_equal(peal_bus_open(&bus, folder.url, NULL), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "Not a directory"));
    char url[200];
    (void)snprintf(url, sizeof url, "file:%s", folder.path); // has a file that is no log's
    assert_int_equal(peal_bus_open(&bus, url, NULL), PEAL_EINVAL);
    assert_non_null(strstr(peal_error_sentence(), "other files"));
    assert_null(bus);
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_the_same_when_the_log_is_opened_again),
        cmocka_unit_test(one_process_at_a_time_has_the_log),
        cmocka_unit_test(what_is_in_the_way_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
