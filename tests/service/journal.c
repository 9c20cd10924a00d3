// SPDX-License-Identifier: MIT
// ctest: threaded
//
// The journal, as who reads it sees it: one line each, whatever is in it, nothing secret, and not
// the same for ever.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/ingest.h"
#include "service/journal.h"

#define SECOND_NS INT64_C(1000000000)
#define HEAD_TEXT "2026-11-21T09:15:02.123Z "
#define HEAD_JSON "{\"time\":\"2026-11-21T09:15:02.123Z\",\"level\":"
#define WHEN_NS   INT64_C(1795252502123456789)

static int ends[2]; // what is written is read from the first
static int64_t now_ns;
static char heard[1 << 18];
static struct journal *journal;

static void tell_time(int64_t *wall_ns, int64_t *steady_ns, void *context)
{
    (void)context;
    *wall_ns = WHEN_NS;
    *steady_ns = now_ns;
}

static struct journal *open_one(struct journal_options options)
{
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    options.fd = ends[1];
    options.clock = tell_time;
    now_ns = 0;
    assert_int_equal(journal_open(&journal, &options), PEAL_OK);
    return journal;
}

static int begin_text(void **state)
{
    (void)state;
    (void)open_one((struct journal_options){ 0 });
    return 0;
}

static int begin_json(void **state)
{
    (void)state;
    (void)open_one((struct journal_options){ .json = true });
    return 0;
}

static int end(void **state)
{
    (void)state;
    journal_close(journal);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return 0;
}

// All that was written since.
static const char *hear(void)
{
    size_t used = 0;
    ssize_t size = 0;
    while ((size = read(ends[0], heard + used, sizeof heard - 1 - used)) > 0) {
        used += (size_t)size;
    }
    heard[used] = '\0';
    return heard;
}

static void expect_form(const char *value, const char *text_form)
{
    journal_say(journal, PEAL_LEVEL_ERROR, value, NULL); // another message each time
    (void)hear();
    journal_say(journal, PEAL_LEVEL_INFO, value, JOURNAL_FIELDS(journal_text("k", value)));
    const char *line = strstr(hear(), " k=");
    assert_non_null(line);
    char wanted[2000];
    (void)snprintf(wanted, sizeof wanted, " k=%s\n", text_form);
    assert_string_equal(line, wanted);
}

// ---- lines --------------------------------------------------------------------------------------

static void a_line_for_people_has_time_level_message_and_fields(void **state)
{
    (void)state;
    journal_say(journal, PEAL_LEVEL_INFO, "listens on",
                JOURNAL_FIELDS(journal_text("address", "127.0.0.1:7325"),
                               journal_number("connections", -3), journal_real("share", 0.25),
                               journal_bool("tls", true), journal_text("none", NULL)));
    assert_string_equal(hear(),
                        HEAD_TEXT "info    listens on address=127.0.0.1:7325 connections=-3 "
                                  "share=0.25 tls=true none=\"\"\n");
    journal_say(journal, PEAL_LEVEL_WARNING, "alone", NULL);
    assert_string_equal(hear(), HEAD_TEXT "warning alone\n");
}

static void a_line_for_programs_is_one_json_object(void **state)
{
    (void)state;
    journal_say(journal, PEAL_LEVEL_ERROR, "a \"quoted\" thing",
                JOURNAL_FIELDS(journal_text("text", "line\nbreak\t\\"), journal_number("n", 7),
                               journal_real("x", 1.5), journal_real("inf", INFINITY),
                               journal_bool("yes", false)));
    assert_string_equal(hear(), HEAD_JSON
                        "\"error\",\"message\":\"a \\\"quoted\\\" thing\",\"text\":"
                        "\"line\\nbreak\\t\\\\\",\"n\":7,\"x\":1.5,\"inf\":null,\"yes\":false}\n");
}

static void the_level_says_what_is_heard_and_can_change(void **state)
{
    (void)state;
    journal_set_level(journal, PEAL_LEVEL_WARNING);
    assert_false(journal_says(journal, PEAL_LEVEL_INFO));
    journal_say(journal, PEAL_LEVEL_INFO, "quiet", NULL);
    assert_string_equal(hear(), "");
    journal_say(journal, PEAL_LEVEL_WARNING, "loud", NULL);
    assert_string_equal(hear(), HEAD_TEXT "warning loud\n");
    journal_set_level(journal, PEAL_LEVEL_DEBUG);
    journal_from_bus(PEAL_LEVEL_DEBUG, "a sentence of the log", journal);
    assert_string_equal(hear(), HEAD_TEXT "debug   a sentence of the log\n");
}

static void levels_have_colours_where_they_are_wanted(void **state)
{
    (void)state;
    (void)open_one((struct journal_options){ .colour = true });
    journal_say(journal, PEAL_LEVEL_ERROR, "bad", NULL);
    assert_string_equal(hear(), HEAD_TEXT "\x1b[31merror  \x1b[0m bad\n");
    journal_say(journal, PEAL_LEVEL_INFO, "good", NULL);
    assert_string_equal(hear(), HEAD_TEXT "info    good\n");
}

// ---- values -------------------------------------------------------------------------------------

static void a_value_is_one_value_whatever_is_in_it(void **state)
{
    (void)state;
    expect_form("plain", "plain");
    expect_form("two words", "\"two words\"");
    expect_form("a=b", "\"a=b\"");
    expect_form("\"", "\"\\\"\"");
    expect_form("a\nfake line", "\"a\\nfake line\"");
    expect_form("\x1b[2J\r\x7f", "\"\\u001b[2J\\u000d\\u007f\"");
    expect_form("gr\xc3\xbc\xc3\x9f \xf0\x9f\x94\x94", "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x94\x94\"");
    expect_form("\xc2\x9b", "\"\\u009b\"");                          // a control of one character
    expect_form("\xe2\x80\xae|\xe2\x81\xa6", "\"\\u202e|\\u2066\""); // turn the direction
    expect_form("\xe2\x80\xa8", "\"\\u2028\"");                      // a line's end to some
    expect_form("\xff|\xc0\x80|\xed\xa0\x80|\xc3", "\"\\ufffd|\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd|"
                                                   "\\ufffd\"");
}

static void bytes_may_have_zeros(void **state)
{
    (void)state;
    journal_say(journal, PEAL_LEVEL_INFO, "m", JOURNAL_FIELDS(journal_bytes("k", "a\0b", 3)));
    assert_string_equal(hear(), HEAD_TEXT "info    m k=\"a\\u0000b\"\n");
}

// Every byte, alone and in each place of a character: what comes out is JSON in one line.
static void any_bytes_are_json_in_one_line(void **state)
{
    (void)state;
    struct ingest *ingest = NULL;
    assert_int_equal(ingest_open(&ingest), PEAL_OK);
    (void)end(NULL);
    (void)open_one((struct journal_options){ .json = true, .burst = UINT64_MAX });
    uint64_t chance = 1;
    for (int round = 0; round < 3000; round++) {
        char bytes[64];
        struct ingest_fault fault;
        for (size_t i = 0; i < sizeof bytes; i++) {
            chance = chance * 6364136223846793005U + 1442695040888963407U;
            bytes[i] = (char)(chance >> 56);
        }
        journal_say(journal, PEAL_LEVEL_INFO, "any",
                    JOURNAL_FIELDS(journal_bytes("k", bytes, sizeof bytes)));
        size_t size = strlen(hear());
        assert_true(size > 60 && heard[size - 1] == '\n');
        assert_null(memchr(heard, '\n', size - 1));
        assert_true(ingest_check(ingest, (struct ingest_text){ heard, size - 1 }, &fault));
        ingest_forget(ingest);
    }
    ingest_close(ingest);
}

static void what_does_not_fit_is_cut_and_said(void **state)
{
    (void)state;
    static char big[8000];
    struct ingest *ingest = NULL;
    struct ingest_fault fault;
    assert_int_equal(ingest_open(&ingest), PEAL_OK);
    for (size_t i = 0; i < sizeof big - 1; i++) {
        big[i] = i % 3 ? '\n' : 'a';
    }
    journal_say(journal, PEAL_LEVEL_INFO, "m",
                JOURNAL_FIELDS(journal_text("a", big), journal_text("b", big),
                               journal_text("c", big), journal_number("d", 1)));
    size_t size = strlen(hear());
    assert_true(size <= JOURNAL_LINE_MAX);
    assert_true(size > JOURNAL_LINE_MAX - 64);
    assert_string_equal(heard + size - 13, ",\"cut\":true}\n");
    assert_true(ingest_check(ingest, (struct ingest_text){ heard, size - 1 }, &fault));

    journal_say(journal, PEAL_LEVEL_INFO, big, NULL); // a message, too
    size = strlen(hear());
    assert_true(size <= JOURNAL_LINE_MAX && heard[size - 1] == '\n');
    assert_true(ingest_check(ingest, (struct ingest_text){ heard, size - 1 }, &fault));
    ingest_close(ingest);
}

// ---- secrets ------------------------------------------------------------------------------------

static void no_token_gets_in(void **state)
{
    (void)state;
    expect_form("pt_0123456789abcdefABCDEF_-x", "pt_***");
}

static void secrets_are_masked_wherever_they_stand(void **state)
{
    static const char *const secrets[] = {
        "pt_0123456789abcdefABCDEF_-",
        "got pt_0123456789abcdefABCDEF_- here",
        "Bearer 0123456789abcdefABCDEF_-",
        "bearer 0123456789abcdefABCDEF_-",
        "Authorization: Basic 0123456789abcdefABCDEF_-",
        "whsec_0123456789abcdefABCDEF_-",
        "redis://user:0123456789abcdefABCDEF_-@host/0",
        "\npt_0123456789abcdefABCDEF_-\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        journal_say(journal, PEAL_LEVEL_INFO, secrets[i],
                    JOURNAL_FIELDS(journal_text("k", secrets[i])));
        assert_null(strstr(hear(), "0123456789abcdef"));
        assert_non_null(strstr(heard, "***"));
    }
    journal_say(journal, PEAL_LEVEL_INFO, "url", JOURNAL_FIELDS(journal_text("k", secrets[6])));
    assert_string_equal(hear(), HEAD_TEXT "info    url k=redis://user:***@host/0\n");
}

static void a_key_that_says_secret_shows_nothing(void **state)
{
    static const char *const keys[] = { "authorization", "Token",  "access_token", "client_secret",
                                        "password",      "cookie", "set_cookie",   "api_key" };
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        journal_say(journal, PEAL_LEVEL_INFO, keys[i],
                    JOURNAL_FIELDS(journal_text(keys[i], "open")));
        assert_null(strstr(hear(), "open"));
        assert_non_null(strstr(heard, "=***\n"));
    }
    journal_say(journal, PEAL_LEVEL_INFO, "other", JOURNAL_FIELDS(journal_text("tokens", "open")));
    assert_non_null(strstr(hear(), "tokens=open\n"));
}

// Wherever a value is cut, what is left of a token is not shown.
static void a_cut_leaves_nothing_of_a_token(void **state)
{
    (void)state;
    static char value[JOURNAL_VALUE_MAX + 100];
    (void)end(NULL);
    (void)open_one((struct journal_options){ .burst = UINT64_MAX });
    for (size_t before = JOURNAL_VALUE_MAX - 60; before < JOURNAL_VALUE_MAX; before++) {
        memset(value, '.', before);
        (void)snprintf(value + before, sizeof value - before, "pt_%s",
                       "0123456789abcdefABCDEFghijklmnopqrstuvwxyz");
        journal_say(journal, PEAL_LEVEL_INFO, "m", JOURNAL_FIELDS(journal_text("k", value)));
        assert_null(strstr(hear(), "pt_0"));
        assert_null(strstr(heard, "0123"));
    }
}

static void what_is_no_secret_is_shown(void **state)
{
    (void)state;
    expect_form("opt_in", "opt_in");
    expect_form("script_name", "script_name");
    expect_form("http://host:80/a@b", "http://host:80/a@b");
    expect_form("file:./events", "file:./events");
}

// ---- repeats ------------------------------------------------------------------------------------

static size_t lines(void)
{
    size_t count = 0;
    for (const char *place = hear(); *place; place++) {
        count += *place == '\n';
    }
    return count;
}

static void say_again(unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        journal_say(journal, PEAL_LEVEL_WARNING, "again",
                    JOURNAL_FIELDS(journal_number("i", (int64_t)i)));
    }
}

static void what_is_repeated_is_counted(void **state)
{
    (void)state;
    say_again(322);
    assert_int_equal(lines(), JOURNAL_BURST);
    journal_say(journal, PEAL_LEVEL_WARNING, "something else", NULL);
    assert_int_equal(lines(), 1);

    now_ns += 9 * SECOND_NS;
    journal_tick(journal);
    assert_int_equal(lines(), 0);
    now_ns += SECOND_NS;
    journal_tick(journal);
    assert_string_equal(hear(), HEAD_TEXT "warning again said_more_times=312\n");
    journal_tick(journal);
    assert_int_equal(lines(), 0);
    say_again(3);
    assert_int_equal(lines(), 3);
}

static void a_new_period_begins_with_what_was_held_back(void **state)
{
    (void)state;
    say_again(15);
    (void)hear();
    now_ns += 11 * SECOND_NS;
    say_again(1);
    assert_string_equal(hear(), HEAD_TEXT "warning again said_more_times=5\n" HEAD_TEXT
                                          "warning again i=0\n");
}

static void what_is_held_back_at_the_end_is_said(void **state)
{
    (void)state;
    say_again(12);
    (void)hear();
    journal_close(journal);
    journal = NULL;
    assert_string_equal(hear(), HEAD_TEXT "warning again said_more_times=2\n");
}

static void levels_are_counted_apart(void **state)
{
    (void)state;
    say_again(20);
    (void)hear();
    journal_say(journal, PEAL_LEVEL_ERROR, "again", NULL);
    assert_string_equal(hear(), HEAD_TEXT "error   again\n");
}

// More messages than places: all that was said and held back adds up.
static void no_count_is_lost_when_places_are_taken(void **state)
{
    (void)state;
    unsigned long long total = 0;
    for (unsigned round = 0; round < 30; round++) {
        for (unsigned i = 0; i < 200; i++) {
            char message[32];
            (void)snprintf(message, sizeof message, "message %u", i);
            journal_say(journal, PEAL_LEVEL_INFO, message, NULL);
            for (const char *line = hear(); *line; line += strcspn(line, "\n") + 1) {
                unsigned long long more = 1;
                const char *held = strstr(line, "said_more_times=");
                if (held && held < line + strcspn(line, "\n")) {
                    assert_int_equal(sscanf(held, "said_more_times=%llu", &more), 1);
                }
                total += more;
            }
        }
    }
    now_ns += 60 * SECOND_NS;
    journal_tick(journal);
    for (const char *line = hear(); *line; line += strcspn(line, "\n") + 1) {
        unsigned long long more = 0;
        assert_int_equal(sscanf(strstr(line, "said_more_times="), "said_more_times=%llu", &more),
                         1);
        total += more;
    }
    assert_int_equal(total, 6000);
}

// ---- threads ------------------------------------------------------------------------------------

enum { THREADS = 4, EACH = 100 };

static void *speak(void *context)
{
    for (int i = 0; i < EACH; i++) {
        journal_say(journal, PEAL_LEVEL_INFO, context,
                    JOURNAL_FIELDS(journal_text("k", "a value that is a bit longer than others"),
                                   journal_number("i", i)));
        journal_tick(journal);
        journal_set_level(journal, PEAL_LEVEL_DEBUG);
    }
    return NULL;
}

static void lines_of_threads_stay_whole(void **state)
{
    static char names[THREADS][16];
    (void)state;
    pthread_t threads[THREADS];
    struct ingest *ingest = NULL;
    struct ingest_fault fault;
    assert_int_equal(ingest_open(&ingest), PEAL_OK);
    (void)end(NULL);
    (void)open_one((struct journal_options){ .json = true, .burst = UINT64_MAX });
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 1 << 18) > 0);
    for (size_t i = 0; i < THREADS; i++) {
        (void)snprintf(names[i], sizeof names[i], "thread %zu", i);
        assert_int_equal(pthread_create(&threads[i], NULL, speak, names[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    size_t count = 0;
    for (char *line = (char *)hear(); *line; count++) {
        size_t size = strcspn(line, "\n");
        assert_true(ingest_check(ingest, (struct ingest_text){ line, size }, &fault));
        line += size + 1;
    }
    assert_int_equal(count, THREADS * EACH);
    ingest_close(ingest);
}

static void a_reader_that_has_gone_is_no_trouble(void **state)
{
    (void)state;
    int full[2];
    assert_int_equal(pipe2(full, O_CLOEXEC | O_NONBLOCK), 0);
    struct journal *other = NULL;
    assert_int_equal(
        journal_open(&other, &(struct journal_options){ .fd = full[1], .burst = UINT64_MAX }),
        PEAL_OK);
    for (int i = 0; i < 3000; i++) { // more than a pipe takes
        journal_say(other, PEAL_LEVEL_INFO, "nobody reads this", NULL);
    }
    journal_close(other);
    (void)close(full[0]);
    (void)close(full[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_for_people_has_time_level_message_and_fields,
                                        begin_text, end),
        cmocka_unit_test_setup_teardown(a_line_for_programs_is_one_json_object, begin_json, end),
        cmocka_unit_test_setup_teardown(the_level_says_what_is_heard_and_can_change, begin_text,
                                        end),
        cmocka_unit_test_teardown(levels_have_colours_where_they_are_wanted, end),
        cmocka_unit_test_setup_teardown(a_value_is_one_value_whatever_is_in_it, begin_text, end),
        cmocka_unit_test_setup_teardown(bytes_may_have_zeros, begin_text, end),
        cmocka_unit_test_setup_teardown(any_bytes_are_json_in_one_line, begin_json, end),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_cut_and_said, begin_json, end),
        cmocka_unit_test_setup_teardown(no_token_gets_in, begin_text, end),
        cmocka_unit_test_setup_teardown(secrets_are_masked_wherever_they_stand, begin_text, end),
        cmocka_unit_test_setup_teardown(a_key_that_says_secret_shows_nothing, begin_text, end),
        cmocka_unit_test_setup_teardown(a_cut_leaves_nothing_of_a_token, begin_text, end),
        cmocka_unit_test_setup_teardown(what_is_no_secret_is_shown, begin_text, end),
        cmocka_unit_test_setup_teardown(what_is_repeated_is_counted, begin_text, end),
        cmocka_unit_test_setup_teardown(a_new_period_begins_with_what_was_held_back, begin_text,
                                        end),
        cmocka_unit_test_setup_teardown(what_is_held_back_at_the_end_is_said, begin_text, end),
        cmocka_unit_test_setup_teardown(levels_are_counted_apart, begin_text, end),
        cmocka_unit_test_setup_teardown(no_count_is_lost_when_places_are_taken, begin_text, end),
        cmocka_unit_test_setup_teardown(lines_of_threads_stay_whole, begin_json, end),
        cmocka_unit_test(a_reader_that_has_gone_is_no_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
