// SPDX-License-Identifier: MIT
//
// sqlite: what is its own, beside the contract of engines: what other programs find in the file,
// files that are none of ours, damage, one process that writes and others that read.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "support/base.h"

// ---- for who knows SQL --------------------------------------------------------------------------

static void other_programs_find_events_by_sql(void **state)
{
    (void)state;
    struct base base;
    base_open(&base, "");
    struct peal_message message = { .type = "order.paid",
                                    .data = "{\"n\":7}",
                                    .size = 7,
                                    .id = "one",
                                    .subject = "order 1",
                                    .correlation = "c",
                                    .time_ns = 1234567890123456789 };
    assert_int_equal(peal_publish(base.stage.bus, &message, NULL), PEAL_OK);
    say_numbers(&base.stage, "b", 1, 3);
    assert_int_equal(base_ask(&base, "SELECT position FROM events WHERE type = 'order.paid'"), 1);
    assert_int_equal(base_ask(&base, "SELECT version FROM events WHERE subject = 'order 1'"), 1);
    assert_int_equal(base_ask(&base, "SELECT count(*) FROM events WHERE correlation = 'c'"), 1);
    assert_int_equal(base_ask(&base, "SELECT position FROM events WHERE id = 'one'"), 1);
    assert_true(base_ask(&base, "SELECT time FROM events WHERE id = 'one'") == message.time_ns);
    assert_int_equal(base_ask(&base, "SELECT json_extract(CAST(data AS TEXT), '$.n') FROM events "
                                     "WHERE position = 1"),
                     7);
    assert_int_equal(base_ask(&base, "SELECT count(*) FROM events WHERE subject IS NULL"), 3);
    assert_int_equal(base_ask(&base, "SELECT next FROM log"), 5);
    base_close(&base);
}

// ---- levels -------------------------------------------------------------------------------------

static void what_nobody_waits_for_is_written_within_100_ms(void **state)
{
    (void)state;
    struct base base;
    base_open(&base, "?durability=memory");
    say_numbers(&base.stage, "a", 1, 50);
    assert_int_equal(base_ask(&base, "SELECT count(*) FROM events"), 0);
    peal_world_advance(base.stage.world, 100);
    assert_int_equal(base_ask(&base, "SELECT count(*) FROM events"), 50);
    say(&base.stage, "a", "51");
    peal_world_advance(base.stage.world, 100);
    assert_int_equal(base_ask(&base, "SELECT count(*) FROM events"), 51);
    base_close(&base);
}

static void closing_writes_what_is_left(void **state)
{
    (void)state;
    struct base base;
    struct diary diary;
    base_open(&base, "?durability=memory");
    say_numbers(&base.stage, "a", 1, 3);
    base_reopen(&base);
    assert_string_equal(base_read(&base, &diary), "1 2 3");
    base_close(&base);
}

static void more_than_memory_holds_is_read_back(void **state)
{
    (void)state;
    static char data[8000];
    struct base base;
    base_open(&base, "?memory_max=1M&data_max=64k");
    struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
    for (unsigned i = 0; i < 1000; i++) {
        memset(data, (int)('a' + i % 26), sizeof data);
        assert_int_equal(peal_publish(base.stage.bus, &message, NULL), PEAL_OK);
    }
    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, base.stage.bus, NULL), PEAL_OK);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
        assert_int_equal(peal_event_position(event), i + 1);
        memset(data, (int)('a' + i % 26), sizeof data);
        assert_memory_equal(peal_event_data(event), data, sizeof data);
    }
    assert_int_equal(peal_reader_next(&event, reader), PEAL_ENOTFOUND);
    peal_reader_close(reader);
    base_close(&base);
}

// ---- damage -------------------------------------------------------------------------------------

static void count_damage(const struct peal_damage *damage, void *context)
{
    assert_true(damage->end > damage->first);
    *(uint64_t *)context = damage->first;
}

// Changes a bit of a column of position 3. False: it has not so many.
static bool flip(struct base *base, const char *column, int bit)
{
    sqlite3_blob *blob;
    unsigned char byte;
    assert_int_equal(sqlite3_blob_open(base_other(base), "main", "events", column, 3, 1, &blob),
                     SQLITE_OK);
    bool there = bit / 8 < sqlite3_blob_bytes(blob);
    if (there) {
        assert_int_equal(sqlite3_blob_read(blob, &byte, 1, bit / 8), SQLITE_OK);
        byte ^= (unsigned char)(1U << (bit % 8));
        assert_int_equal(sqlite3_blob_write(blob, &byte, 1, bit / 8), SQLITE_OK);
    }
    assert_int_equal(sqlite3_blob_close(blob), SQLITE_OK); // now others see it
    return there;
}

static void every_flipped_bit_is_found_and_costs_its_event_only(void **state)
{
    (void)state;
    struct base base;
    struct diary diary;
    base_open(&base, "");
    say_numbers(&base.stage, "a", 41, 45);
    base_reopen(&base); // from here on it reads from the file
    base_run(&base, "PRAGMA synchronous = OFF");
    static const char *const columns[] = { "head", "data" };
    int bits = 0;
    for (int i = 0; i < 2; i++) {
        for (int bit = 0; flip(&base, columns[i], bit); bit++) {
            assert_string_equal(base_read(&base, &diary), "41 42 44 45");
            assert_true(flip(&base, columns[i], bit));
            bits++;
        }
    }
    assert_true(bits > 500);
    assert_string_equal(base_read(&base, &diary), "41 42 43 44 45");
    base_close(&base);
}

static void verifying_tells_of_damage_and_of_what_is_gone(void **state)
{
    (void)state;
    struct base base;
    uint64_t where = 0;
    struct peal_verify verify = { .damage = count_damage, .context = &where };
    struct peal_health health;
    base_open(&base, "");
    say_numbers(&base.stage, "a", 1, 1000);
    assert_int_equal(peal_log_verify(&health, base.stage.bus, &verify), PEAL_OK);
    assert_int_equal(health.damages, 0);
    base_run(&base, "UPDATE events SET data = 'x' WHERE position = 700");
    assert_int_equal(peal_log_verify(&health, base.stage.bus, &verify), PEAL_OK);
    assert_int_equal(health.damages, 1);
    assert_int_equal(health.lost, 1);
    assert_int_equal(where, 700);
    base_run(&base, "DELETE FROM events WHERE position BETWEEN 300 AND 309");
    base_run(&base, "DELETE FROM events WHERE position = 1000");
    assert_int_equal(peal_log_verify(&health, base.stage.bus, &verify), PEAL_OK);
    assert_int_equal(health.damages, 3);
    assert_int_equal(health.lost, 12);
    assert_int_equal(where, 1000);
    // And yet no position is given again.
    base_reopen(&base);
    struct peal_message message = { .type = "a" };
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(base.stage.bus, &message, &receipt), PEAL_OK);
    assert_int_equal(receipt.position, 1001);
    base_close(&base);
}

static void columns_mislead_nobody_about_versions(void **state)
{
    (void)state;
    struct base base;
    base_open(&base, "");
    struct peal_message message = { .type = "a", .subject = "s" };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(peal_publish(base.stage.bus, &message, NULL), PEAL_OK);
    }
    message.subject = "t";
    assert_int_equal(peal_publish(base.stage.bus, &message, NULL), PEAL_OK);
    base_run(&base, "UPDATE events SET version = 70 WHERE position = 3");
    base_run(&base, "UPDATE events SET subject = 's' WHERE position = 4");
    base_reopen(&base);
    uint64_t version;
    assert_int_equal(peal_stream_version(&version, base.stage.bus, "s"), PEAL_OK);
    assert_int_equal(version, 3);
    base_close(&base);
}

static void a_version_whose_event_is_damaged_is_not_given_again(void **state)
{
    (void)state;
    struct base base;
    base_open(&base, "");
    struct peal_message message = { .type = "a", .subject = "s", .data = "d", .size = 1 };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(peal_publish(base.stage.bus, &message, NULL), PEAL_OK);
    }
    base_run(&base, "UPDATE events SET data = 'x' WHERE position = 3");
    base_reopen(&base);
    message.expect = PEAL_EXPECT_VERSION;
    message.expected_version = 2;
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(base.stage.bus, &message, &receipt), PEAL_ECONFLICT);
    message.expected_version = 3;
    assert_int_equal(peal_publish(base.stage.bus, &message, &receipt), PEAL_OK);
    assert_int_equal(receipt.stream_version, 4);
    base_close(&base);
}

// ---- what is in the way -------------------------------------------------------------------------

static bool is_there(const struct base *base, const char *behind)
{
    char path[120];
    struct stat found;
    (void)snprintf(path, sizeof path, "%s%s", base->path, behind);
    return stat(path, &found) == 0;
}

static void what_is_no_log_is_refused_and_left_alone(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        enum peal_err err;
        const char *sentence;
    } cases[] = {
        { "CREATE TABLE birds (name TEXT)", PEAL_EINVAL, "something else" },
        { "PRAGMA application_id = 7", PEAL_EINVAL, "something else" },
        { "PRAGMA application_id = 1348821356; PRAGMA user_version = 2", PEAL_EUNSUPPORTED,
          "later version" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct base base;
        base_begin(&base, "");
        base_run(&base, cases[i].sql);
        assert_int_equal(base_try(&base), cases[i].err);
        assert_non_null(strstr(peal_error_sentence(), cases[i].sentence));
        assert_false(is_there(&base, "-peal"));
        base_close(&base);
    }
}

static void a_log_that_is_not_whole_is_corrupt(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "DROP TABLE events",
        "DROP TABLE log",
        "ALTER TABLE events RENAME COLUMN head TO neck",
        "DELETE FROM log",
        "UPDATE log SET seed = x'00'",
        "UPDATE log SET next = -1; DELETE FROM events; INSERT INTO events SELECT -5, 'a', 'a', "
        "'a', "
        "NULL, NULL, NULL, NULL, 1, 1, '', ''",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct base base;
        base_open(&base, "");
        say(&base.stage, "a", "1");
        peal_bus_close(base.stage.bus);
        base_run(&base, cases[i]);
        assert_int_equal(base_try(&base), PEAL_ECORRUPT);
        assert_non_null(strstr(peal_error_sentence(), base.path));
        base_close(&base);
    }
}

static void a_file_that_is_no_database_is_said(void **state)
{
    (void)state;
    struct base base;
    base_begin(&base, "");
    FILE *file = fopen(base.path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "%0*d", 5000, 0) == 5000);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(base_try(&base), PEAL_ECORRUPT);
    assert_non_null(strstr(peal_error_sentence(), "not a database"));
    assert_int_equal(unlink(base.path), 0);
    assert_int_equal(mkdir(base.path, 0700), 0);
    assert_int_equal(base_try(&base), PEAL_EIO);
    assert_int_equal(rmdir(base.path), 0);
    assert_false(is_there(&base, "-peal"));
    (void)snprintf(base.url, sizeof base.url, "sqlite:%s/nowhere/e.db", base.folder.path);
    assert_int_equal(base_try(&base), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "No such file"));
    base_close(&base);
}

static void urls_and_options_it_has_no_use_for_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        enum peal_err err;
    } cases[] = {
        { "sqlite:", PEAL_EURL },
        { "sqlite://host/e.db", PEAL_EURL },
        { "sqlite:/tmp/never.db?segment_bytes=1M", PEAL_EUNSUPPORTED },
        { "sqlite:/tmp/never.db?go_on=yes", PEAL_EUNSUPPORTED },
        { "sqlite:/tmp/never.db?history_events=9", PEAL_EUNSUPPORTED },
        { "sqlite:/tmp/never.db?pressure=drop_oldest", PEAL_EUNSUPPORTED },
        { "sqlite:/tmp/never.db?journal=off", PEAL_EURL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct base base;
        base_begin(&base, "");
        (void)snprintf(base.url, sizeof base.url, "%s", cases[i].url);
        assert_int_equal(base_try(&base), cases[i].err);
        base_close(&base);
    }
}

static void a_simulated_disk_has_no_database(void **state)
{
    (void)state;
    struct peal_world *world;
    assert_int_equal(peal_world_open(&world, 1), PEAL_OK);
    struct peal_bus_options options = { .world = world };
    peal_bus *bus = NULL;
    assert_int_equal(peal_bus_open(&bus, "sqlite:./events.db", &options), PEAL_EUNSUPPORTED);
    assert_non_null(strstr(peal_error_sentence(), "simulated"));
    assert_null(bus);
    peal_world_close(world);
}

// ---- processes ----------------------------------------------------------------------------------

// Runs a function in a process of its own; it returns that of the function.
static int elsewhere(int (*main)(const char *url), const char *url)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(main(url));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int try_to_open(const char *url)
{
    peal_bus *bus = NULL;
    enum peal_err err = peal_bus_open(&bus, url, NULL);
    char process[32];
    (void)snprintf(process, sizeof process, "process %ld ", (long)getppid());
    return err == PEAL_EBUSY && !strstr(peal_error_sentence(), process) ? 99 : (int)err;
}

static int publish_and_die(const char *url)
{
    peal_bus *bus;
    struct peal_message message = { .type = "a", .data = "there", .size = 5 };
    enum peal_err err = peal_bus_open(&bus, url, NULL);
    return err ? (int)err : (int)peal_publish(bus, &message, NULL); // without closing
}

static void one_process_at_a_time_writes(void **state)
{
    (void)state;
    struct base base;
    struct diary diary;
    base_open(&base, "?workers=0");
    assert_int_equal(elsewhere(try_to_open, base.url), PEAL_EBUSY);
    peal_bus *second = NULL;
    assert_int_equal(peal_bus_open(&second, base.url, NULL), PEAL_EBUSY); // nor twice in one
    assert_null(second);
    peal_bus_close(base.stage.bus);
    assert_int_equal(elsewhere(publish_and_die, base.url), PEAL_OK);
    assert_int_equal(base_try(&base), PEAL_OK); // the lock has gone with its process
    assert_string_equal(base_read(&base, &diary), "there");
    base_close(&base);
}

static void who_only_reads_sees_what_is_written_meanwhile(void **state)
{
    (void)state;
    struct base base;
    struct diary diary;
    base_open(&base, "");
    say(&base.stage, "a", "1");
    struct base reader = base;
    (void)snprintf(reader.url, sizeof reader.url, "sqlite:%s?read_only=yes", base.path);
    assert_int_equal(base_try(&reader), PEAL_OK);
    assert_string_equal(base_read(&reader, &diary), "1");
    say_numbers(&base.stage, "a", 2, 4);
    assert_string_equal(base_read(&reader, &diary), "1 2 3 4");
    struct peal_message message = { .type = "a" };
    assert_int_equal(peal_publish(reader.stage.bus, &message, NULL), PEAL_EUNSUPPORTED);
    peal_bus_close(reader.stage.bus);
    base_close(&base);
}

static void a_copy_of_the_file_alone_can_be_read(void **state)
{
    (void)state;
    struct base base, copy;
    struct diary diary;
    base_open(&base, "");
    base_begin(&copy, "?read_only=yes");
    assert_int_equal(base_try(&copy), PEAL_EIO); // there is none
    say_numbers(&base.stage, "a", 1, 3);
    char sql[160];
    (void)snprintf(sql, sizeof sql, "VACUUM INTO '%s'", copy.path);
    base_run(&base, sql);
    assert_int_equal(base_try(&copy), PEAL_OK);
    assert_string_equal(base_read(&copy, &diary), "1 2 3");
    base_close(&copy);
    base_close(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_programs_find_events_by_sql),
        cmocka_unit_test(what_nobody_waits_for_is_written_within_100_ms),
        cmocka_unit_test(closing_writes_what_is_left),
        cmocka_unit_test(more_than_memory_holds_is_read_back),
        cmocka_unit_test(every_flipped_bit_is_found_and_costs_its_event_only),
        cmocka_unit_test(verifying_tells_of_damage_and_of_what_is_gone),
        cmocka_unit_test(a_version_whose_event_is_damaged_is_not_given_again),
        cmocka_unit_test(columns_mislead_nobody_about_versions),
        cmocka_unit_test(what_is_no_log_is_refused_and_left_alone),
        cmocka_unit_test(a_log_that_is_not_whole_is_corrupt),
        cmocka_unit_test(a_file_that_is_no_database_is_said),
        cmocka_unit_test(urls_and_options_it_has_no_use_for_are_refused),
        cmocka_unit_test(a_simulated_disk_has_no_database),
        cmocka_unit_test(one_process_at_a_time_writes),
        cmocka_unit_test(who_only_reads_sees_what_is_written_meanwhile),
        cmocka_unit_test(a_copy_of_the_file_alone_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
