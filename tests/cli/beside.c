// SPDX-License-Identifier: MIT
//
// The command line beside a program that has the log, with workers and subscriptions of its own:
// what it is asked to do, it does. And beside one that takes no requests, or none.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cli/cli.h>
#include <peal/peal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <signal.h>
#include <sys/wait.h>

#include "support/crowd.h"
#include "support/folder.h"

static struct folder folder;
static peal_bus *owner;
static struct tally good, bad;

static enum peal_verdict judge(const peal_event *event, void *context)
{
    (void)context;
    bool is_good = memmem(peal_event_data(event), peal_event_size(event), "true", 4) != NULL;
    tally_add(is_good ? &good : &bad, 1);
    return is_good ? PEAL_DONE : PEAL_REJECT;
}

static void open_owner(const struct peal_bus_options *options)
{
    static const struct peal_subscribe_options named = { .name = "judge" };
    assert_int_equal(peal_bus_open(&owner, folder.url, options), PEAL_OK);
    (void)subscribe(owner, "order.*", &named, judge, NULL);
}

static int begin_beside(void **state)
{
    const struct peal_bus_options options = { .workers = 1 };
    (void)state;
    good = (struct tally)TALLY;
    bad = (struct tally)TALLY;
    folder_open(&folder, "");
    open_owner(&options);
    return 0;
}

static int end_beside(void **state)
{
    (void)state;
    peal_bus_close(owner);
    owner = NULL;
    folder_close(&folder);
    return 0;
}

// Runs a command line, its words parted by spaces; the status of it, and a piece of what it says.
static void expect(int status, const char *piece, const char *line)
{
    char words[512], *argv[32] = { NULL }, *out = NULL, *err = NULL;
    int argc = 0;
    size_t out_size = 0, err_size = 0;
    struct cli cli = { .in = stdin };
    cli.out = open_memstream(&out, &out_size);
    cli.err = open_memstream(&err, &err_size);
    assert_true(cli.out && cli.err);
    (void)snprintf(words, sizeof words, "peal %s --url %s", line, folder.url); // they are short
    char *rest = NULL;
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = word;
    }
    int found = cli_main(&cli, argc, argv);
    assert_int_equal(fclose(cli.out), 0);
    assert_int_equal(fclose(cli.err), 0);
    if (found != status || !(strstr(out, piece) || strstr(err, piece))) {
        fail_msg("peal %s\n  status %d, and not %d, or no %s\n  output: %s\n  errors: %s", line,
                 found, status, piece, out, err);
    }
    free(out);
    free(err);
}

static void events_are_published_beside_it_and_handled_by_it(void **state)
{
    (void)state;
    expect(0, "\"position\":1", "publish order.one {\"good\":true}");
    assert_true(tally_reaches(&good, 1));
    expect(0, "\"version\":1",
           "stream append o-17 order.two {\"good\":true} --expect none --durability disk");
    assert_true(tally_reaches(&good, 2));
    expect(1, "version", "stream append o-17 order.two {\"good\":true} --expect none");
    expect(0, "{\"count\":2}", "query --count");
}

// A letter is there a moment after its handler has said so.
static void wait_for_letters(size_t count)
{
    struct peal_dead_list found = { .count = 0 };
    for (int i = 0; i < 1000000 && found.count != count; i++) {
        peal_dead_list_finish(&found);
        assert_int_equal(peal_dead_list(&found, owner, NULL), PEAL_OK);
    }
    assert_int_equal(found.count, count);
    peal_dead_list_finish(&found);
}

static void dead_letters_are_retried_where_their_handler_is(void **state)
{
    (void)state;
    expect(0, "", "publish order.one {\"good\":false}");
    expect(0, "", "publish order.two {\"good\":false}");
    assert_true(tally_reaches(&bad, 2));
    wait_for_letters(2);
    expect(0, "\"id\":2,\"type\":\"order.two\"", "dead list");
    expect(0, "2 dead letters would be retried", "dead retry --all --dry-run --text");
    expect(0, "1 dead letter edited and retried", "dead edit 1 --data {\"good\":true} --text");
    assert_true(tally_reaches(&good, 1));
    wait_for_letters(1);
    expect(0, "{\"affected\":1,\"dry_run\":false}", "dead retry 2");
    assert_true(tally_reaches(&bad, 3));
    wait_for_letters(1);
    enum peal_err err = PEAL_ESTATE;
    for (int i = 0; i < 1000000 && err == PEAL_ESTATE; i++) { // until the retry has ended
        const struct peal_dead_filter second = { .id = 2 };
        err = peal_dead_discard(owner, &second, true, NULL);
    }
    expect(0, "1 dead letter discarded", "dead discard 2 --text");
    expect(1, "\"affected\":0", "dead discard --all");
}

static void subscriptions_are_paused_moved_and_resumed(void **state)
{
    (void)state;
    expect(0, "\"paused\":true", "subs pause judge");
    expect(0, "", "publish order.one {\"good\":true}");
    expect(0, "\"lag\":1", "subs show judge");
    expect(0, "\"members\":1,\"paused\":true", "subs");
    expect(0, "judge: goes on", "subs resume judge --text");
    assert_true(tally_reaches(&good, 1));
    expect(0, "judge: moved", "subs seek judge --from beginning --text");
    assert_true(tally_reaches(&good, 2));
    expect(0, "\"name\":\"judge\"", "subs seek judge --from-position 1");
    assert_true(tally_reaches(&good, 3));
    expect(2, "has yet to get there", "subs seek judge --from-position 99");
    expect(2, "where to?", "subs seek judge");
    expect(2, "where to?", "subs seek judge --from now --since 1h");
    expect(2, "which one?", "subs pause");
    expect(1, "did you mean judge?", "subs pause jugde");
    expect(1, "in use", "subs forget judge");
}

static void what_keeps_an_event_from_arriving_is_explained(void **state)
{
    char line[64];
    (void)state;
    expect(0,
           "{\"name\":\"judge\",\"pattern\":\"order.*\",\"state\":\"yes\",\"why\":\"by order.*\"}",
           "explain order.one");
    expect(1, "\"state\":\"no\",\"why\":\"nothing for segment 1", "explain bill.one");
    expect(0, "", "publish order.one {\"good\":false}");
    expect(0, "", "publish order.one {\"good\":true} --id the-good-one -d disk");
    assert_true(tally_reaches(&bad, 1) && tally_reaches(&good, 1));
    wait_for_letters(1);
    expect(1, "given up at attempt 1: peal dead show 1 says why", "explain --event 1");
    struct peal_standing standing = { .state = PEAL_STANDS_IN_HAND };
    for (int i = 0; i < 1000000 && standing.state != PEAL_STANDS_DONE; i++) {
        assert_int_equal(peal_name_look(&standing, owner, "judge", 2), PEAL_OK);
    }
    expect(0, "\"state\":\"done\",\"why\":\"handled\"", "explain --event the-good-one");
    expect(0, "", "subs pause judge");
    expect(0, "", "publish order.one {\"good\":true} -d disk");
    (void)snprintf(line, sizeof line, "not looked at yet: 1 events behind; it is paused");
    expect(1, line, "explain --event 3 --subscription judge");
    expect(1, "no event 99", "explain --event 99");
    expect(1, "no durable subscription jugde", "explain --event 3 --subscription jugde");
}

static void schedules_and_counters_are_those_of_the_program(void **state)
{
    char line[64];
    (void)state;
    expect(0, "", "publish later.on --deliver-in 1h --subject x");
    expect(0, "later.on", "schedule");
    expect(0, "{\"affected\":1", "schedule cancel --subject x");
    expect(0, "\"published\":0,\"delivered\":0", "stats");
    (void)snprintf(line, sizeof line, "\"process\":%d,", (int)getpid());
    expect(0, line, "stats");
}

static void a_program_that_takes_no_requests_is_named_and_waited_for(void **state)
{
    char who[64];
    (void)state;
    peal_bus_close(owner);
    open_owner(&(struct peal_bus_options){ .workers = 1, .no_requests = true });
    (void)snprintf(who, sizeof who, "process %d (", (int)getpid());
    expect(1, who, "publish order.one --wait 0");
    expect(1, "wait for it with --wait", "subs pause judge --wait 0");
    expect(0, "\"scheduled\":0}", "stats"); // and nothing that only it would know
}

static void without_a_program_the_state_beside_the_log_is_changed(void **state)
{
    (void)state;
    peal_bus_close(owner);
    owner = NULL;
    expect(0, "\"paused\":true", "subs pause judge");
    expect(0, "\"position\":1", "publish order.one {\"good\":true}");
    expect(0, "\"lag\":1,", "subs show judge");
    expect(0, "\"lag\":0,", "subs seek judge --from now");
    expect(0, "\"paused\":false", "subs resume judge");
    open_owner(&(struct peal_bus_options){ .workers = 1 });
    expect(0, "\"position\":2", "publish order.two {\"good\":true}");
    assert_true(tally_reaches(&good, 1));
    assert_int_equal(tally_read(&good), 1); // the first was passed over
    peal_bus_close(owner);
    owner = NULL;
    expect(0, "\"forgotten\":true", "subs forget judge");
    expect(1, "no durable subscription judge", "subs show judge");
}

// In a process of its own, which is told that it may go on by what it can read.
static void run_owner(int ready)
{
    peal_bus *bus = NULL;
    const struct peal_bus_options options = { .workers = 1 };
    const struct peal_subscribe_options named = { .name = "judge" };
    if (peal_bus_open(&bus, folder.url, &options) ||
        peal_subscribe(NULL, bus, "order.*", &named, judge, NULL) || write(ready, "!", 1) != 1) {
        _exit(1);
    }
    for (;;) {
        (void)pause();
    }
}

static void a_program_that_was_killed_leaves_nothing_in_the_way(void **state)
{
    int ready[2];
    char byte, who[64];
    (void)state;
    folder_open(&folder, "");
    for (int life = 0; life < 5; life++) {
        assert_int_equal(pipe(ready), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            run_owner(ready[1]);
        }
        assert_int_equal(read(ready[0], &byte, 1), 1);
        (void)snprintf(who, sizeof who, "\"process\":%d,", (int)child);
        expect(0, "\"position\":", "publish order.one {\"good\":true}"); // and is there after
        expect(0, who, "stats");
        expect(0, "\"paused\":false", "subs resume judge");
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        expect(0, "\"position\":", "publish order.two {\"good\":true} --wait 0");
        expect(0, "\"paused\":true", "subs pause judge --wait 0");
        (void)close(ready[0]);
        (void)close(ready[1]);
    }
    expect(0, "{\"count\":10}", "query --count");
    expect(0, "\"whole\":true", "doctor");
    folder_close(&folder);
}

static void a_subject_is_erased_and_files_are_archived_by_the_program(void **state)
{
    (void)state;
    static const char data[2000];
    for (int i = 0; i < 100; i++) {
        const struct peal_message message = {
            .type = "t.n", .subject = i % 2 ? "user-1" : "user-2", .data = data, .size = sizeof data
        };
        assert_int_equal(peal_publish(owner, &message, NULL), PEAL_OK);
    }
    assert_int_equal(peal_bus_settle(owner, PEAL_DURABILITY_DISK), PEAL_OK); // else files lag
    expect(0, "\"events\":50", "erase --subject user-1 --count");
    expect(0, "\"events\":50", "erase --subject user-1 --yes");
    expect(0, "{\"count\":50}", "query t.* --count");
    expect(0, "\"events\":0", "erase --subject user-1 --count");
    expect(0, "", "archive"); // its one file still grows, unless it was erased in
    expect(0, "\"whole\":true", "doctor");
}

static void what_takes_no_requests_is_not_erased_in(void **state)
{
    (void)state;
    peal_bus_close(owner);
    open_owner(&(struct peal_bus_options){ .workers = 1, .no_requests = true });
    const struct peal_message message = { .type = "t.n", .subject = "user-1" };
    assert_int_equal(peal_publish(owner, &message, NULL), PEAL_OK);
    expect(1, "--wait", "erase --subject user-1 --yes --wait 1ms");
    expect(1, "--wait", "archive --wait 1ms");
    expect(0, "{\"count\":1}", "query t.* --count");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_beside, end_beside)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_that_was_killed_leaves_nothing_in_the_way), // no thread yet
        TEST(events_are_published_beside_it_and_handled_by_it),
        TEST(dead_letters_are_retried_where_their_handler_is),
        TEST(subscriptions_are_paused_moved_and_resumed),
        TEST(what_keeps_an_event_from_arriving_is_explained),
        TEST(a_subject_is_erased_and_files_are_archived_by_the_program),
        TEST(what_takes_no_requests_is_not_erased_in),
        TEST(schedules_and_counters_are_those_of_the_program),
        TEST(a_program_that_takes_no_requests_is_named_and_waited_for),
        TEST(without_a_program_the_state_beside_the_log_is_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
