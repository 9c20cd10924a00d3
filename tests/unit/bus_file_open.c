// SPDX-License-Identifier: MIT
//
// file: what cannot be opened is refused with a sentence that says what failed, on what, and what
// to do; and what was there is left as it was.
#include "support/kit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "log/segfile.h"
#include "support/wreck.h"

#define LOG "file:./events?segment_bytes=64k"

// A world without a bus, to begin with.
static void open_empty(struct scene *scene)
{
    scene_open_url(scene, 1, "mem:", NULL);
    peal_bus_close(scene->bus);
    scene->bus = NULL;
}

// Opening fails with that code, and a sentence with all of this in it.
static void refused_with(struct scene *scene, enum peal_err expected, const char *url,
                         const struct peal_bus_options *options, const char *words)
{
    enum peal_err err = scene_try_again(scene, url, options);
    assert_int_equal(err, expected);
    assert_null(scene->bus);
    char part[256];
    (void)snprintf(part, sizeof part, "%s", words);
    char *rest = NULL;
    for (char *word = strtok_r(part, "|", &rest); word; word = strtok_r(NULL, "|", &rest)) {
        if (!strstr(peal_error_sentence(), word)) {
            fail_msg("\"%s\" does not say \"%s\"", peal_error_sentence(), word);
        }
    }
}

static void refused(struct scene *scene, enum peal_err expected, const char *url, const char *words)
{
    refused_with(scene, expected, url, NULL, words);
}

static void a_url_without_a_directory_is_refused(void **state)
{
    (void)state;
    struct scene scene;
    open_empty(&scene);
    refused(&scene, PEAL_EURL, "file:", "needs the directory|file:./events");
    refused(&scene, PEAL_EURL, "file:?durability=disk", "needs the directory");
    refused(&scene, PEAL_EURL, "file://host/x", "has no host|\"host\"|file:/var/lib/events");
    refused(&scene, PEAL_EURL, "file:./x?durabilty=disk", "durabilty|durability");
    refused(&scene, PEAL_EURL, "file:./x?durability=safe", "memory, os or disk");
    refused(&scene, PEAL_EURL, "file:./x?segment_bytes=0", "segment_bytes=0|more than 0");
    refused(&scene, PEAL_EURL, "file:./x?segment_bytes=many", "segment_bytes");
    char path[8000] = "file:";
    memset(path + 5, 'x', 3000);
    for (size_t i = 5 + 200; i < 3000; i += 200) {
        path[i] = '/';
    }
    assert_int_not_equal(scene_try_again(&scene, path, NULL), PEAL_OK); // no such parent
    scene_close(&scene);
}

static void what_is_for_mem_only_is_refused(void **state)
{
    (void)state;
    static const char *const options[] = { "history_events=none", "history_bytes=none",
                                           "history_ms=0" };
    struct scene scene;
    open_empty(&scene);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        char url[100];
        (void)snprintf(url, sizeof url, "file:./events?%s", options[i]);
        refused(&scene, PEAL_EUNSUPPORTED, url, "file: keeps events|mem:");
    }
    refused(&scene, PEAL_EUNSUPPORTED, "file:./events?pressure=drop_oldest",
            "drops nothing|drop_oldest|mem:");
    refused_with(&scene, PEAL_EUNSUPPORTED, "file:./events",
                 &(struct peal_bus_options){ .history_ms = PEAL_NO_HISTORY }, "keeps events");
    // Nothing was made.
    assert_int_equal(pl_disk_calls(wreck_disk(scene.world), PL_DISK_ANY), 0);
    scene_close(&scene);
}

static void what_is_for_file_only_is_refused_by_mem(void **state)
{
    (void)state;
    static const char *const options[] = { "durability=os", "durability=disk", "segment_bytes=1M" };
    struct scene scene;
    open_empty(&scene);
    for (size_t i = 0; i < 3; i++) {
        char url[100];
        (void)snprintf(url, sizeof url, "mem:?%s", options[i]);
        refused(&scene, PEAL_EUNSUPPORTED, url, "has memory only|file:");
        (void)snprintf(url, sizeof url, "noop:?%s", options[i]);
        scene_again(&scene, url, NULL); // it takes everything, and does nothing
    }
    scene_again(&scene, "mem:?durability=memory", NULL);
    struct peal_message message = { .type = "a", .durability = PEAL_DURABILITY_OS };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_EUNSUPPORTED);
    scene_close(&scene);
}

static void limits_are_checked(void **state)
{
    (void)state;
    struct scene scene;
    open_empty(&scene);
    static const uint64_t bad[] = { 1, 65535, (1ULL << 30) + 1, UINT64_MAX };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refused_with(&scene, PEAL_EINVAL, "file:./events",
                     &(struct peal_bus_options){ .segment_bytes = bad[i] },
                     "segment_bytes|64 KiB to 1 GiB");
    }
    refused_with(&scene, PEAL_EINVAL, "file:./events",
                 &(struct peal_bus_options){ .durability = (enum peal_durability)4 },
                 "durability 4");
    refused(&scene, PEAL_EINVAL, "file:./events?memory_max=1023k", "memory_max|1 MiB");
    refused(&scene, PEAL_EINVAL, "file:./events?memory_max=1M", "data_max|half of memory_max");
    assert_int_equal(pl_disk_calls(wreck_disk(scene.world), PL_DISK_ANY), 0);
    for (uint64_t size = 64 << 10; size <= 1 << 30; size <<= 14) {
        struct peal_bus_options options = { .segment_bytes = size };
        scene_again(&scene, "file:./events", &options);
    }
    static char source[PEAL_ATTRIBUTE_MAX + 2];
    memset(source, 's', PEAL_ATTRIBUTE_MAX + 1);
    refused_with(&scene, PEAL_ELIMIT, LOG, &(struct peal_bus_options){ .source = source },
                 "source|1024");
    source[PEAL_ATTRIBUTE_MAX] = '\0';
    scene_again(&scene, LOG, &(struct peal_bus_options){ .source = source });
    scene_close(&scene);
}

static void a_log_has_one_writer(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    scene_publish(&scene, "a", NULL, "1");
    static const char *const same[] = { LOG, "file:events", "file:./events/",
                                        "file:./events?durability=disk" };
    peal_bus *second = kit_nowhere();
    struct peal_bus_options options = { .world = scene.world };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        assert_int_equal(peal_bus_open(&second, same[i], &options), PEAL_EBUSY);
        assert_ptr_equal(second, kit_nowhere());
        assert_non_null(strstr(peal_error_sentence(), "events"));
        assert_non_null(strstr(peal_error_sentence(), "process "));
        assert_non_null(strstr(peal_error_sentence(), "close it there"));
    }
    scene_publish(&scene, "a", NULL, "2"); // the first one does not notice
    assert_int_equal(peal_bus_open(&second, "file:./others", &options), PEAL_OK);
    peal_bus_close(second);
    // Stopped is not closed; closed is.
    assert_int_equal(peal_bus_stop(scene.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_bus_open(&second, LOG, &options), PEAL_EBUSY);
    scene_again(&scene, LOG, NULL);
    assert_int_equal(scene_stats(&scene).last_position, 2);
    scene_close(&scene);
}

static void who_died_keeps_nobody_out(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    scene_publish(&scene, "a", NULL, "1");
    pl_disk_kill(wreck_disk(scene.world));
    scene_again(&scene, LOG, NULL);
    assert_int_equal(scene_stats(&scene).last_position, 1);
    scene_close(&scene);
}

static void a_directory_of_other_files_is_left_alone(void **state)
{
    (void)state;
    struct scene scene;
    open_empty(&scene);
    const struct pl_files *files = pl_disk_files(wreck_disk(scene.world));
    assert_int_equal(files->make_directory(files->world, "photos"), 0);
    wreck_write(scene.world, "photos/cat.jpg", "cat", 3);
    refused(&scene, PEAL_EINVAL, "file:photos", "photos|other files|empty");
    assert_int_equal(wreck_files(scene.world, "photos", ""), 1); // no lock, no segment
    scene_close(&scene);
}

static void a_file_is_no_directory(void **state)
{
    (void)state;
    struct scene scene;
    open_empty(&scene);
    wreck_write(scene.world, "events", "text", 4);
    refused(&scene, PEAL_EIO, LOG, "events|Not a directory|name one that is empty");
    refused(&scene, PEAL_EIO, "file:./events?read_only=true", "events|Not a directory|name one");
    refused(&scene, PEAL_EIO, "file:./events/below", "events/below|Not a directory|name one");
    refused(&scene, PEAL_EIO, "file:./no/such/parent", "no/such/parent|is not there|make that");
    scene_close(&scene);
}

static void what_may_not_be_touched_is_said_with_the_path(void **state)
{
    (void)state;
    static const int errors[] = { EACCES, EROFS, EMFILE };
    static const char *const texts[] = { "Permission denied; who reads a log must be allowed",
                                         "Read-only file system; where nothing can be written",
                                         "Too many open files; close some" };
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    scene_publish(&scene, "a", NULL, "1");
    peal_bus_close(scene.bus);
    scene.bus = NULL;
    for (size_t i = 0; i < 3; i++) {
        struct pl_disk_fault fault = { .calls = PL_DISK_OPEN, .error = errors[i] };
        pl_disk_inject(wreck_disk(scene.world), &fault);
        refused(&scene, PEAL_EIO, LOG, "events");
        assert_non_null(strstr(peal_error_sentence(), texts[i]));
        pl_disk_heal(wreck_disk(scene.world));
    }
    scene_again(&scene, LOG, NULL);
    assert_int_equal(scene_stats(&scene).last_position, 1);
    scene_close(&scene);
}

// ---- files that are no log, or not this one -----------------------------------------------------

#define FIRST "events/00000000000000000001.seg"

static void a_file_that_is_no_segment_is_refused(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    peal_bus_close(scene.bus);
    scene.bus = NULL;
    static char text[8192] = "not a segment at all";
    wreck_write(scene.world, FIRST, text, sizeof text);
    refused(&scene, PEAL_ECORRUPT, LOG, "events|copy");
    assert_int_equal(wreck_count(scene.world, "events", "not a segment at all"), 1);
    scene_close(&scene);
}

// As a later Peal would write it: another version, in both halves of the header, with the checksum
// of each.
static void write_as_later(struct scene *scene)
{
    static char block[PL_SEGFILE_HEADER];
    const size_t half = sizeof block / 2;
    const struct pl_files *files = pl_disk_files(wreck_disk(scene->world));
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, FIRST, PL_FILE_WRITE), 0);
    assert_int_equal(files->pread(files->world, file, block, sizeof block, 0), sizeof block);
    for (char *at = block; at < block + sizeof block; at += half) {
        uint32_t version = PL_SEGFILE_VERSION + 1, crc = 0;
        memcpy(at + offsetof(struct pl_segfile_header, version), &version, sizeof version);
        memcpy(at + offsetof(struct pl_segfile_header, crc), &crc, sizeof crc);
        crc = pl_crc32c(0, at, half);
        memcpy(at + offsetof(struct pl_segfile_header, crc), &crc, sizeof crc);
    }
    assert_int_equal(pl_files_write(files, file, block, sizeof block, 0), 0);
    files->close(files->world, &file);
}

static void a_log_of_a_later_version_is_refused(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    scene_publish(&scene, "a", NULL, "1");
    peal_bus_close(scene.bus);
    scene.bus = NULL;
    write_as_later(&scene);
    refused(&scene, PEAL_EUNSUPPORTED, LOG, FIRST "|newer");
    assert_int_equal(wreck_files(scene.world, "events", ".seg"), 1);
    scene_close(&scene);
}

static void files_of_two_logs_are_refused(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    char data[1000] = "x";
    struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
    for (int i = 0; i < 200; i++) {
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    }
    scene_again(&scene, "file:./others?segment_bytes=64k", NULL);
    scene_publish(&scene, "a", NULL, "of the other log");
    peal_bus_close(scene.bus);
    scene.bus = NULL;
    const struct pl_files *files = pl_disk_files(wreck_disk(scene.world));
    assert_int_equal(files->unlink(files->world, FIRST), 0);
    static char bytes[4 << 20];
    struct pl_file file = { 0 };
    assert_int_equal(
        files->open(files->world, &file, "others/00000000000000000001.seg", PL_FILE_READ), 0);
    int64_t size = files->pread(files->world, file, bytes, sizeof bytes, 0);
    files->close(files->world, &file);
    assert_true(size > 0);
    wreck_write(scene.world, FIRST, bytes, (size_t)size);
    refused(&scene, PEAL_ECORRUPT, LOG, "belongs to another log|move it away");
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_without_a_directory_is_refused),
        cmocka_unit_test(what_is_for_mem_only_is_refused),
        cmocka_unit_test(what_is_for_file_only_is_refused_by_mem),
        cmocka_unit_test(limits_are_checked),
        cmocka_unit_test(a_log_has_one_writer),
        cmocka_unit_test(who_died_keeps_nobody_out),
        cmocka_unit_test(a_directory_of_other_files_is_left_alone),
        cmocka_unit_test(a_file_is_no_directory),
        cmocka_unit_test(what_may_not_be_touched_is_said_with_the_path),
        cmocka_unit_test(a_file_that_is_no_segment_is_refused),
        cmocka_unit_test(a_log_of_a_later_version_is_refused),
        cmocka_unit_test(files_of_two_logs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
