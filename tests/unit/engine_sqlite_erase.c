// SPDX-License-Identifier: MIT
//
// Erasing a subject on sqlite: its rows keep their position and nothing else, and no page of the
// file, nor of its write-ahead log, has anything of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <peal/deadletter.h>
#include <peal/log.h>
#include <peal/sourcing.h>
#include <stdio.h>
#include <string.h>

#include "support/base.h"
#include "support/leftover.h"

#define SUBJECT "person-4711"
#define SECRET  "lives-in-a-yellow-house"

static uint64_t publish_all(const struct stage *stage, unsigned count)
{
    uint64_t theirs = 0;
    for (unsigned i = 0; i < count; i++) {
        char data[600], subject[16], id[40];
        bool its = i % 3 == 0;
        (void)snprintf(data, sizeof data, "%s %0*u", its ? SECRET : "thing", (int)(i % 400) + 1, i);
        (void)snprintf(subject, sizeof subject, "thing-%u", i % 11);
        (void)snprintf(id, sizeof id, "%s-%u", its ? SECRET : "id", i * 7919 % 10007);
        struct peal_message message = { .type = its ? "person.wrote" : "thing.changed",
                                        .id = id,
                                        .subject = its ? SUBJECT : subject,
                                        .data = data,
                                        .size = strlen(data) };
        assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
        theirs += its;
    }
    return theirs;
}

static struct peal_erased erase(const struct base *base)
{
    struct peal_erased erased;
    enum peal_err err = peal_log_erase(&erased, base->stage.bus, SUBJECT, NULL);
    assert_string_equal(err ? peal_error_sentence() : "", "");
    return erased;
}

static void nothing_is_left(struct base *base)
{
    const struct pl_files *files = pl_world_files(base->stage.world);
    char folder[100];
    (void)snprintf(folder, sizeof folder, "%s/e.db-peal", base->folder.path);
    const char *const bytes[] = { SUBJECT, SECRET };
    for (int i = 0; i < 2; i++) {
        assert_false(leftover_in(files, base->folder.path, bytes[i]));
        assert_false(leftover_in(files, folder, bytes[i]));
    }
}

static void no_page_has_anything_of_it_and_positions_stay(void **state)
{
    (void)state;
    struct base base;
    base_open(&base, "");
    uint64_t theirs = publish_all(&base.stage, 900);
    struct keepsake before = keepsake_take(&base.stage, SUBJECT);
    struct peal_erased erased = erase(&base);
    assert_int_equal(erased.events, theirs);
    assert_int_equal(erased.files, 1);
    nothing_is_left(&base);
    for (int life = 0; life < 2; life++) {
        struct peal_health health;
        keepsake_check(&before, &base.stage);
        assert_int_equal(keepsake_count(&base.stage, &(struct peal_query){ .subject = SUBJECT }),
                         0);
        assert_int_equal(keepsake_count(&base.stage, &(struct peal_query){ .backwards = true }),
                         before.count);
        assert_int_equal(peal_log_verify(&health, base.stage.bus, NULL), PEAL_OK);
        assert_int_equal(health.damages, 0);
        assert_int_equal(health.erased, theirs);
        base_reopen(&base);
    }
    assert_int_equal(base_ask(&base, "SELECT count(*) FROM events"), 900);
    assert_int_equal(base_ask(&base, "SELECT count(*) FROM events WHERE length(head) = 0"), theirs);
    uint64_t version = 9;
    assert_int_equal(peal_stream_version(&version, base.stage.bus, SUBJECT), PEAL_OK);
    assert_int_equal(version, 0);
    struct peal_receipt receipt;
    struct peal_message message = { .type = "person.wrote", .subject = SUBJECT };
    assert_int_equal(peal_publish(base.stage.bus, &message, &receipt), PEAL_OK);
    assert_int_equal(receipt.position, 901);
    assert_int_equal(receipt.stream_version, 1);
    base_close(&base);
}

static void a_dry_run_counts(void **state)
{
    (void)state;
    struct base base;
    base_open(&base, "");
    uint64_t theirs = publish_all(&base.stage, 90);
    struct keepsake before = keepsake_take(&base.stage, "nobody");
    struct peal_erased erased;
    const struct peal_erase dry = { .dry_run = true };
    assert_int_equal(peal_log_erase(&erased, base.stage.bus, SUBJECT, &dry), PEAL_OK);
    assert_int_equal(erased.events, theirs);
    keepsake_check(&before, &base.stage);
    peal_bus_close(base.stage.bus);
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .world = base.stage.world,
                                        .read_only = true };
    assert_int_equal(peal_bus_open(&base.stage.bus, base.url, &options), PEAL_OK);
    assert_int_equal(peal_log_erase(&erased, base.stage.bus, SUBJECT, &dry), PEAL_OK);
    assert_int_equal(erased.events, theirs);
    assert_int_equal(peal_log_erase(&erased, base.stage.bus, SUBJECT, NULL), PEAL_EUNSUPPORTED);
    base_close(&base);
}

static void what_is_only_in_the_head_is_found_too(void **state)
{
    (void)state;
    struct base base;
    base_open(&base, "");
    uint64_t theirs = publish_all(&base.stage, 30);
    base_run(&base, "UPDATE events SET subject = 'somebody'"); // what SQL says is not what counts
    assert_int_equal(erase(&base).events, theirs);
    nothing_is_left(&base);
    base_close(&base);
}

static void who_reads_with_sql_holds_up_the_end_of_it(void **state)
{
    (void)state;
    struct base base;
    base_open(&base, "");
    uint64_t theirs = publish_all(&base.stage, 60);
    struct keepsake before = keepsake_take(&base.stage, SUBJECT);
    base_run(&base, "BEGIN; SELECT count(*) FROM events");
    struct peal_erased erased = { .events = 77 };
    assert_int_equal(peal_log_erase(&erased, base.stage.bus, SUBJECT, NULL), PEAL_EBUSY);
    assert_int_equal(erased.events, 77);
    keepsake_check(&before, &base.stage);
    base_run(&base, "COMMIT");
    assert_int_equal(erase(&base).events, 0); // they are gone; now their traces are
    nothing_is_left(&base);
    struct peal_health health;
    assert_int_equal(peal_log_verify(&health, base.stage.bus, NULL), PEAL_OK);
    assert_int_equal(health.erased, theirs);
    base_close(&base);
}

static bool never(uint64_t done, uint64_t total, void *context)
{
    (void)done;
    (void)total;
    (void)context;
    return false;
}

static void stopped_nothing_is_erased(void **state)
{
    (void)state;
    struct base base;
    base_open(&base, "");
    (void)publish_all(&base.stage, 5000);
    struct keepsake before = keepsake_take(&base.stage, "nobody");
    const struct peal_erase stopping = { .progress = never };
    struct peal_erased erased;
    assert_int_equal(peal_log_erase(&erased, base.stage.bus, SUBJECT, &stopping), PEAL_ESTATE);
    keepsake_check(&before, &base.stage);
    base_close(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_page_has_anything_of_it_and_positions_stay),
        cmocka_unit_test(a_dry_run_counts),
        cmocka_unit_test(what_is_only_in_the_head_is_found_too),
        cmocka_unit_test(who_reads_with_sql_holds_up_the_end_of_it),
        cmocka_unit_test(stopped_nothing_is_erased),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
