// SPDX-License-Identifier: MIT
//
// Verbs over a bus of the test's own: what needs a subscription to show. A handler gives events up,
// and a person at the command line looks, mends, retries, discards.
#include "support/kit.h"

#include <cli/cli.h>
#include <cli/when.h>
#include <peal/peal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// One command, and what it said.
struct said {
    char *out, *err;
    int status;
};

static peal_bus *bus;
static unsigned handled; // with data {"good":true}

static enum peal_verdict judge(const peal_event *event, void *context)
{
    (void)context;
    const char *data = peal_event_data(event);
    if (memmem(data, peal_event_size(event), "true", 4)) {
        handled++;
        return PEAL_DONE;
    }
    peal_fail(event, "bad", "the data is not good");
    return PEAL_REJECT;
}

static void publish(const char *type, const char *data)
{
    const struct peal_message message = {
        .type = type, .data = data, .size = strlen(data), .subject = "s"
    };
    assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
    assert_int_equal(peal_bus_dispatch(bus, 0, NULL), PEAL_OK);
}

static int open_bus(void **state)
{
    static const struct peal_subscribe_options options = { .name = "judge", .label = "judge" };
    (void)state;
    handled = 0;
    assert_int_equal(peal_bus_open(&bus, "mem:?workers=0", NULL), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, bus, "order.*", &options, judge, NULL), PEAL_OK);
    publish("order.one", "{\"good\":false}");
    publish("order.two", "{\"good\":false}");
    return 0;
}

static int close_bus(void **state)
{
    (void)state;
    peal_bus_close(bus);
    return 0;
}

// Runs a command line, its words parted by spaces.
static struct said run(const char *line)
{
    char words[512], *argv[32] = { NULL };
    int argc = 0;
    struct said said = { 0 };
    size_t out_size = 0, err_size = 0;
    struct cli cli = { .bus = bus, .in = stdin };
    cli.out = open_memstream(&said.out, &out_size);
    cli.err = open_memstream(&said.err, &err_size);
    assert_true(cli.out && cli.err);
    (void)snprintf(words, sizeof words, "peal %s", line); // they are short
    char *rest = NULL;
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = word;
    }
    said.status = cli_main(&cli, argc, argv);
    assert_int_equal(fclose(cli.out), 0);
    assert_int_equal(fclose(cli.err), 0);
    assert_int_equal(peal_bus_dispatch(bus, 0, NULL), PEAL_OK);
    return said;
}

// The status of a command line, and a piece of what it has to say.
static void expect(int status, const char *piece, const char *line)
{
    struct said said = run(line);
    if (said.status != status || !(strstr(said.out, piece) || strstr(said.err, piece))) {
        fail_msg("peal %s\n  status %d, and not %d, or no %s\n  output: %s\n  errors: %s", line,
                 said.status, status, piece, said.out, said.err);
    }
    free(said.out);
    free(said.err);
}

static void dead_letters_are_listed_shown_and_counted(void **state)
{
    (void)state;
    expect(0, "{\"id\":1,\"type\":\"order.one\",\"subject\":\"s\",\"subscription\":\"judge\"",
           "dead list");
    expect(0, "\"reason\":\"bad\",\"text\":\"the data is not good\"", "dead --type order.two");
    expect(0, "REASON", "dead list --text --reason bad --limit 1");
    expect(0, "\"data\":{\"good\":false}", "dead show 2");
    expect(0, "data            {\"good\":false}", "dead show 2 --text");
    expect(1, "no dead letter 9", "dead show 9");
    expect(0, "{\"name\":\"bad\",\"count\":2}", "dead count");
    expect(0, "{\"name\":\"order.two\",\"count\":1}", "dead count --by type");
    expect(0, "{\"name\":\"judge\",\"count\":2}", "dead count --by subscription");
    expect(0, "\"durable_subscriptions\":1,\"dead_letters\":2,\"scheduled\":0", "stats");
}

static void dead_letters_are_mended_retried_and_discarded(void **state)
{
    (void)state;
    expect(0, "2 dead letters would be retried", "dead retry --all --dry-run --text");
    expect(0, "{\"affected\":2,\"dry_run\":false}", "dead retry --subscription judge");
    assert_int_equal(handled, 0); // as bad as before
    expect(0, "1 dead letter edited and retried", "dead edit 1 --data {\"good\":true} --text");
    assert_int_equal(handled, 1);
    expect(1, "there is no dead letter 1", "dead edit 1 --data 1");
    expect(1, "no dead letter is like that", "dead retry --type order.one");
    expect(0, "1 dead letter would be discarded", "dead discard 2 --dry-run --text");
    expect(0, "1 dead letter discarded", "dead discard 2 --text");
    expect(1, "\"affected\":0", "dead discard --all");
}

static void durable_subscriptions_are_listed_with_their_lag(void **state)
{
    (void)state;
    expect(0, "{\"name\":\"judge\",\"pattern\":\"order.*\",\"position\":3,\"lag\":0", "subs");
    expect(0, "\"dead_letters\":2,\"members\":1,\"paused\":false,\"label\":\"judge\"",
           "subs show judge");
    expect(0, "BEHIND", "subs list --text");
    expect(1, "did you mean judge?", "subs show jugde");
    expect(1, "peal subs lists them", "subs show xyzzy");
    expect(2, "which one?", "subs show");
    expect(2, "one too many", "subs list judge");
    struct said said = run("subs list --lag 1");
    assert_int_equal(said.status, 0);
    assert_string_equal(said.out, "");
    free(said.out);
    free(said.err);
}

static void what_is_imported_is_found_on_the_same_bus(void **state)
{
    char path[] = "/tmp/peal-verbs.XXXXXX";
    char line[128];
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    (void)fputs("{\"specversion\":\"1.0\",\"type\":\"order.three\",\"data\":{\"good\":true}}\n",
                file);
    assert_int_equal(fclose(file), 0);
    (void)snprintf(line, sizeof line, "import %s", path); // fits
    expect(0, "\"imported\":1", line);
    assert_int_equal(remove(path), 0);
    assert_int_equal(handled, 1);
    expect(0, "\"type\":\"order.three\"", "query order.three");
    expect(0, "{\"count\":3}", "query --count");
    expect(0, "\"version\":2", "stream version s");
    expect(0, "order.two", "stream show s --text");
    expect(1, "at version 2", "stream append s order.x --expect 7");
    expect(0, "\"version\":3", "stream append s order.x 1 --expect 2");
}

static void a_misspelt_word_gets_a_suggestion_and_a_strange_one_none(void **state)
{
    static const char *const words[] = { "list", "show", "retry", "discard" };
    (void)state;
    assert_string_equal(cli_nearest("lsit", words, 4), "list");
    assert_string_equal(cli_nearest("dis", words, 4), "discard");
    assert_string_equal(cli_nearest("shwo", words, 4), "show");
    assert_null(cli_nearest("xyz", words, 4));
    assert_null(cli_nearest("", words, 4));
    assert_int_equal(cli_choice("a|bc|d", "bc"), 2);
    assert_int_equal(cli_choice("a|bc|d", "b"), 0);
}

static void times_and_amounts_are_read_and_written_as_people_do(void **state)
{
    const int64_t second = 1000000000, now = 1795252500 * second; // 2026-11-21T09:15:00Z
    int64_t time = 0;
    uint64_t number = 0;
    char text[WHEN_SIZE];
    (void)state;
    assert_true(when_read(&time, "15m", now) && time == now - 900 * second);
    assert_true(when_read(&time, "today", now) && time == now - 33300 * second);
    assert_true(when_read(&time, "2026-11-21", now) && time == now - 33300 * second);
    assert_true(when_read(&time, "2026-11-21 09:15", now) && time == now);
    assert_true(when_read(&time, "2026-11-21T10:15+01:00", now) && time == now);
    assert_true(when_read(&time, "2026-11-21T09:15:00.5Z", now) && time == now + second / 2);
    static const char *const none[] = { "",
                                        "noon",
                                        "2026-13-01",
                                        "2026-11-21x09:15",
                                        "15",
                                        "-5m",
                                        "99999999999999999999d",
                                        "2026-11-21T" };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_false(when_read(&time, none[i], now));
    }
    assert_true(when_read_number(&number, "1,000_000") && number == 1000000);
    assert_true(when_read_number(&number, "18446744073709551615") && number == UINT64_MAX);
    assert_false(when_read_number(&number, "18446744073709551616"));
    assert_false(when_read_number(&number, ",1") || when_read_number(&number, "1,"));
    assert_true(when_read_duration(&number, "2h") && number == 7200000);
    assert_false(when_read_duration(&number, "h") || when_read_duration(&number, "2y"));
    when_write(text, now + 123456789);
    assert_string_equal(text, "2026-11-21T09:15:00.123Z");
    when_write(text, -1);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    when_write_number(text, 1234567);
    assert_string_equal(text, "1,234,567");
    when_write_short(text, 1234567);
    assert_string_equal(text, "1.23 M");
    when_write_bytes(text, 1536);
    assert_string_equal(text, "1.5 KiB");
    when_write_duration(text, 90 * second);
    assert_string_equal(text, "90.0 s");
    when_write_duration(text, 11520 * second);
    assert_string_equal(text, "3 h 12 min");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(dead_letters_are_listed_shown_and_counted, open_bus,
                                        close_bus),
        cmocka_unit_test_setup_teardown(dead_letters_are_mended_retried_and_discarded, open_bus,
                                        close_bus),
        cmocka_unit_test_setup_teardown(durable_subscriptions_are_listed_with_their_lag, open_bus,
                                        close_bus),
        cmocka_unit_test_setup_teardown(what_is_imported_is_found_on_the_same_bus, open_bus,
                                        close_bus),
        cmocka_unit_test(a_misspelt_word_gets_a_suggestion_and_a_strange_one_none),
        cmocka_unit_test(times_and_amounts_are_read_and_written_as_people_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
