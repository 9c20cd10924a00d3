// SPDX-License-Identifier: MIT
// ctest: threaded wrap=rename
//
// Asking the process that has a log: each thing that can be asked, nobody there to be asked, and
// askers that are silent, gone, of another version or talk nonsense. Both buses live in one
// process here; the door between them is the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <peal/peal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/door.h"
#include "base/seams.h"
#include "bus/ask.h"
#include "log/internal.h"
#include "support/crowd.h"
#include "support/folder.h"

// ---- a disk that takes its time -----------------------------------------------------------------

// While it is held, the copy of a file without what is erased does not take its place.
static struct {
    atomic_bool held;
    struct tally come, released;
} renaming = { .come = TALLY, .released = TALLY };

// The linker chooses these names.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);

int __wrap_rename(const char *from, const char *to)
{
    if (strstr(from, PL_NAME_ERASING) && atomic_exchange(&renaming.held, false)) {
        tally_add(&renaming.come, 1);
        (void)tally_reaches(&renaming.released, tally_read(&renaming.come));
    }
    return __real_rename(from, to);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

// ---- two buses ----------------------------------------------------------------------------------

struct pair {
    struct folder folder;
    peal_bus *owner, *asker;
};

static void pair_open(struct pair *pair)
{
    const struct peal_bus_options owner = { .workers = 1 };
    const struct peal_bus_options asker = {
        .workers = PEAL_NO_WORKERS, .read_only = true, .ask_owner = true, .source = "/asker"
    };
    folder_open(&pair->folder, "");
    assert_int_equal(peal_bus_open(&pair->owner, pair->folder.url, &owner), PEAL_OK);
    assert_int_equal(peal_bus_open(&pair->asker, pair->folder.url, &asker), PEAL_OK);
}

static void pair_close(struct pair *pair)
{
    peal_bus_close(pair->asker);
    peal_bus_close(pair->owner);
    folder_close(&pair->folder);
}

static enum peal_verdict reject(const peal_event *event, void *context)
{
    tally_add(context, 1);
    return peal_event_attempt(event) == 1 && strcmp(peal_event_data(event), "good") != 0
               ? PEAL_REJECT
               : PEAL_DONE;
}

// ---- what can be asked --------------------------------------------------------------------------

static void a_subject_is_erased_by_asking_and_what_there_was_is_said(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    for (int i = 0; i < 30; i++) {
        const struct peal_message message = { .type = "a", .subject = i % 3 ? "other" : "user-1" };
        assert_int_equal(peal_publish(pair.owner, &message, NULL), PEAL_OK);
    }
    struct peal_erased erased = { 0 };
    const struct peal_erase dry = { .dry_run = true };
    assert_int_equal(peal_log_erase(&erased, pair.asker, "user-1", &dry), PEAL_OK);
    assert_int_equal(erased.events, 10);
    assert_int_equal(peal_log_erase(&erased, pair.asker, "user-1", NULL), PEAL_OK);
    assert_int_equal(erased.events, 10);
    assert_true(erased.files >= 1);
    assert_int_equal(peal_log_erase(&erased, pair.owner, "user-1", &dry), PEAL_OK);
    assert_int_equal(erased.events, 0);
    uint64_t version = 7;
    assert_int_equal(peal_stream_version(&version, pair.owner, "user-1"), PEAL_OK);
    assert_int_equal(version, 0);
    char long_subject[PEAL_ATTRIBUTE_MAX + 2];
    memset(long_subject, 's', sizeof long_subject);
    long_subject[sizeof long_subject - 1] = 0;
    assert_int_equal(peal_log_erase(&erased, pair.asker, long_subject, NULL), PEAL_ELIMIT);
    pair_close(&pair);
}

static void add_file(const struct peal_archived *file, void *context)
{
    struct peal_savings *sum = context;
    assert_non_null(strstr(file->file, ".seg.zst"));
    assert_true(file->end > file->first && file->packed < file->bytes);
    sum->files++;
    sum->bytes += file->bytes;
    sum->packed += file->packed;
}

static void files_are_archived_by_asking_and_each_is_told_of(void **state)
{
    (void)state;
    struct pair pair;
    struct peal_savings told = { 0 }, sum = { 0 };
    const struct peal_archive archive = { .file = add_file, .context = &told };
    folder_open(&pair.folder, "?segment_bytes=64k");
    const struct peal_bus_options owner = { .workers = 1 };
    const struct peal_bus_options asker = { .workers = PEAL_NO_WORKERS,
                                            .read_only = true,
                                            .ask_owner = true };
    assert_int_equal(peal_bus_open(&pair.owner, pair.folder.url, &owner), PEAL_OK);
    assert_int_equal(peal_bus_open(&pair.asker, pair.folder.url, &asker), PEAL_OK);
    static const char data[1000];
    for (int i = 0; i < 400; i++) {
        const struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
        assert_int_equal(peal_publish(pair.owner, &message, NULL), PEAL_OK);
    }
    assert_int_equal(peal_bus_settle(pair.owner, PEAL_DURABILITY_DISK), PEAL_OK);
    enum peal_err err = peal_log_archive(&sum, pair.asker, &archive);
    if (err != PEAL_EUNSUPPORTED) { // as a library without zstd says
        assert_int_equal(err, PEAL_OK);
        assert_true(sum.files >= 3);
        assert_memory_equal(&sum, &told, sizeof sum);
        assert_int_equal(peal_log_archive(&sum, pair.asker, NULL), PEAL_OK);
        assert_int_equal(sum.files, 0);
    }
    pair_close(&pair);
}

static void who_has_no_owner_to_ask_erases_and_archives_nothing(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    peal_bus_close(pair.owner);
    pair.owner = NULL;
    struct peal_erased erased = { .events = 77 };
    struct peal_savings savings = { .files = 77 };
    assert_int_equal(peal_log_erase(&erased, pair.asker, "s", NULL), PEAL_EUNSUPPORTED);
    assert_int_equal(peal_log_archive(&savings, pair.asker, NULL), PEAL_EUNSUPPORTED);
    assert_int_equal(erased.events + savings.files, 154);
    pair_close(&pair);
}

static void what_is_published_by_asking_is_as_it_was_said(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    const struct peal_pair metadata[] = { { "one", "1" }, { "two", "" } };
    const struct peal_message message = { .type = "a.b",
                                          .data = "{\"n\":\t1}",
                                          .size = 8,
                                          .content_type = "application/x",
                                          .subject = "s",
                                          .key = "k",
                                          .correlation = "c",
                                          .causation = "d",
                                          .id = "i",
                                          .schema = "urn:x",
                                          .traceparent = "00-1-2-01",
                                          .tracestate = "x=y",
                                          .metadata = metadata,
                                          .metadata_count = 2,
                                          .time_ns = 123456789,
                                          .priority = PEAL_PRIORITY(0),
                                          .durability = PEAL_DURABILITY_DISK };
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(pair.asker, &message, &receipt), PEAL_OK);
    assert_string_equal(receipt.id, "i");
    assert_int_equal(receipt.position, 1);
    assert_int_equal(receipt.stream_version, 1);
    assert_int_equal(receipt.durability, PEAL_DURABILITY_DISK);
    assert_false(receipt.duplicate);
    assert_int_equal(peal_publish(pair.asker, &message, &receipt), PEAL_OK);
    assert_true(receipt.duplicate);

    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, pair.asker, NULL), PEAL_OK);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    assert_string_equal(peal_event_type(event), "a.b");
    assert_memory_equal(peal_event_data(event), "{\"n\":\t1}", 8);
    assert_int_equal(peal_event_size(event), 8);
    assert_string_equal(peal_event_content_type(event), "application/x");
    assert_string_equal(peal_event_subject(event), "s");
    assert_string_equal(peal_event_key(event), "k");
    assert_string_equal(peal_event_correlation(event), "c");
    assert_string_equal(peal_event_causation(event), "d");
    assert_string_equal(peal_event_source(event), "/asker");
    assert_string_equal(peal_event_schema(event), "urn:x");
    assert_string_equal(peal_event_traceparent(event), "00-1-2-01");
    assert_string_equal(peal_event_tracestate(event), "x=y");
    assert_int_equal(peal_event_metadata_count(event), 2);
    assert_string_equal(peal_event_metadata(event, "one"), "1");
    assert_int_equal(peal_event_time(event), 123456789);
    assert_int_equal(peal_event_priority(event), 0);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_ENOTFOUND);
    peal_reader_close(reader);
    pair_close(&pair);
}

static void conditions_and_refusals_come_back_with_their_sentence(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct peal_message message = { .type = "a", .subject = "s", .expect = PEAL_EXPECT_NONE };
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(pair.asker, &message, &receipt), PEAL_OK);
    memset(&receipt, 0x5a, sizeof receipt);
    struct peal_receipt before = receipt;
    assert_int_equal(peal_publish(pair.asker, &message, &receipt), PEAL_ECONFLICT);
    assert_non_null(strstr(peal_error_sentence(), "version"));
    assert_memory_equal(&receipt, &before, sizeof receipt);
    message.type = "$peal.mine";
    assert_int_equal(peal_publish(pair.asker, &message, NULL), PEAL_ETYPE);
    pair_close(&pair);
}

static void a_batch_that_is_asked_for_is_all_or_none(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct peal_message messages[100];
    struct peal_receipt receipts[100];
    for (size_t i = 0; i < 100; i++) {
        messages[i] = (struct peal_message){ .type = "a", .subject = "s" };
    }
    assert_int_equal(peal_publish_batch(pair.asker, messages, 100, receipts), PEAL_OK);
    assert_int_equal(receipts[99].position, 100);
    assert_int_equal(receipts[99].stream_version, 100);
    messages[99].expect = PEAL_EXPECT_NONE;
    assert_int_equal(peal_publish_batch(pair.asker, messages, 100, receipts), PEAL_ECONFLICT);
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, pair.owner), PEAL_OK);
    assert_int_equal(stats.last_position, 100);
    pair_close(&pair);
}

static void dead_letters_are_retried_edited_and_discarded_by_asking(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct tally seen = TALLY;
    const struct peal_subscribe_options options = { .name = "picky" };
    (void)subscribe(pair.owner, "a", &options, reject, &seen);
    for (int i = 0; i < 3; i++) {
        publish(pair.asker, "a", "bad");
    }
    assert_true(tally_reaches(&seen, 3));
    uint64_t affected = 0;
    const struct peal_dead_filter first = { .id = 1 };
    for (int i = 0; i < 60000 && affected < 3; i++) { // the handler has returned, or is about to
        assert_int_equal(peal_dead_retry(pair.asker, NULL, true, &affected), PEAL_OK);
    }
    assert_int_equal(affected, 3);
    assert_int_equal(peal_dead_edit(pair.asker, 1, "good", 5), PEAL_OK);
    assert_true(tally_reaches(&seen, 4));
    assert_int_equal(peal_dead_edit(pair.asker, 77, "good", 5), PEAL_ENOTFOUND);
    assert_non_null(strstr(peal_error_sentence(), "77"));
    enum peal_err err = PEAL_OK;
    for (int i = 0; i < 60000 && err != PEAL_ENOTFOUND; i++) { // gone once its handler has returned
        err = peal_dead_retry(pair.asker, &first, true, &affected);
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_dead_discard(pair.asker, NULL, false, &affected), PEAL_OK);
    assert_int_equal(affected, 2);
    struct peal_dead_list left;
    assert_int_equal(peal_dead_list(&left, pair.owner, NULL), PEAL_OK);
    assert_int_equal(left.count, 0);
    peal_dead_list_finish(&left);
    pair_close(&pair);
}

static void durable_names_are_paused_moved_and_listed_by_asking(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct tally seen = TALLY;
    const struct peal_subscribe_options options = { .name = "billing", .label = "the bill" };
    peal_subscription *subscription = subscribe(pair.owner, "a", &options, count_it, &seen);
    assert_int_equal(peal_name_pause(pair.asker, "billing"), PEAL_OK);
    publish(pair.owner, "a", "1");
    struct peal_subscription_list list;
    assert_int_equal(peal_subscription_list(&list, pair.asker), PEAL_OK);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.subscriptions[0].name, "billing");
    assert_string_equal(list.subscriptions[0].label, "the bill");
    assert_string_equal(list.subscriptions[0].pattern, "a");
    assert_int_equal(list.subscriptions[0].members, 1); // which only the owner knows
    assert_int_equal(list.subscriptions[0].lag, 1);
    assert_true(list.subscriptions[0].paused);
    peal_subscription_list_finish(&list);
    struct peal_standing standing;
    assert_int_equal(peal_name_look(&standing, pair.asker, "billing", 1), PEAL_OK);
    assert_int_equal(standing.state, PEAL_STANDS_AHEAD);
    assert_int_equal(peal_name_look(&standing, pair.asker, "nobody", 1), PEAL_ENOTFOUND);
    assert_int_equal(peal_name_resume(pair.asker, "billing"), PEAL_OK);
    assert_true(tally_reaches(&seen, 1));
    assert_int_equal(peal_name_seek(pair.asker, "billing", PEAL_FROM_BEGINNING, 0, 0), PEAL_OK);
    assert_true(tally_reaches(&seen, 2));
    assert_int_equal(peal_name_seek(pair.asker, "billing", PEAL_FROM_POSITION, 9, 0), PEAL_EINVAL);
    assert_int_equal(peal_name_forget(pair.asker, "billing"), PEAL_ESTATE);
    peal_unsubscribe(subscription);
    assert_int_equal(peal_name_forget(pair.asker, "billing"), PEAL_OK);
    assert_int_equal(peal_name_pause(pair.asker, "billing"), PEAL_ENOTFOUND);
    pair_close(&pair);
}

static void what_waits_for_its_time_is_scheduled_and_cancelled_by_asking(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    int64_t later = pl_seams_real.realtime(NULL) + 3600 * PL_NS_PER_S;
    struct peal_message message = { .type = "a", .id = "i", .deliver_at_ns = later };
    struct peal_receipt receipt;
    uint64_t affected = 0;
    assert_int_equal(peal_publish(pair.asker, &message, &receipt), PEAL_OK);
    assert_int_equal(receipt.position, 0);
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, pair.asker), PEAL_OK);
    assert_int_equal(stats.scheduled, 1);
    const struct peal_schedule_filter filter = { .id = "i", .pattern = "a" };
    assert_int_equal(peal_schedule_cancel(pair.asker, &filter, true, &affected), PEAL_OK);
    assert_int_equal(peal_schedule_cancel(pair.asker, &filter, false, &affected), PEAL_OK);
    assert_int_equal(affected, 1);
    assert_int_equal(peal_schedule_cancel(pair.asker, &filter, false, &affected), PEAL_ENOTFOUND);
    pair_close(&pair);
}

static void an_asker_knows_who_has_the_log_and_what_only_that_counts(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    publish(pair.owner, "a", "1");
    int64_t pid = 0;
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_owner(&pid, pair.asker), PEAL_OK);
    assert_int_equal(pid, getpid());
    assert_int_equal(peal_bus_owner(&pid, pair.owner), PEAL_ESTATE);
    assert_int_equal(peal_bus_stats(&stats, pair.asker), PEAL_OK);
    assert_int_equal(stats.published, 1);
    assert_int_equal(stats.last_position, 1);
    assert_int_equal(stats.log_files, 1);
    assert_true(stats.log_bytes > 0);
    pair_close(&pair);
}

// ---- nobody to be asked -------------------------------------------------------------------------

static void is_refused(const struct pair *pair)
{
    int64_t pid = -7;
    uint64_t affected = 77;
    struct peal_message message = { .type = "a" };
    assert_int_equal(peal_publish(pair->asker, &message, NULL), PEAL_EUNSUPPORTED);
    assert_non_null(strstr(peal_error_sentence(), "takes requests"));
    assert_int_equal(peal_publish_batch(pair->asker, &message, 1, NULL), PEAL_EUNSUPPORTED);
    assert_int_equal(peal_name_pause(pair->asker, "x"), PEAL_EUNSUPPORTED);
    assert_int_equal(peal_dead_retry(pair->asker, NULL, false, &affected), PEAL_EUNSUPPORTED);
    assert_int_equal(peal_schedule_cancel(pair->asker, NULL, false, &affected), PEAL_EUNSUPPORTED);
    assert_int_equal(affected, 77);
    assert_int_equal(peal_bus_owner(&pid, pair->asker), PEAL_ENOTFOUND);
    assert_int_equal(pid, -7);
    struct peal_bus_stats stats;
    struct peal_subscription_list list;
    assert_int_equal(peal_bus_stats(&stats, pair->asker), PEAL_OK); // what can be read
    assert_int_equal(peal_subscription_list(&list, pair->asker), PEAL_OK);
    peal_subscription_list_finish(&list);
}

static void where_nobody_answers_a_sentence_says_so(void **state)
{
    (void)state;
    static const struct peal_bus_options silent[] = { { .workers = PEAL_NO_WORKERS },
                                                      { .workers = 1, .no_requests = true } };
    for (size_t i = 0; i < 2; i++) {
        struct pair pair;
        pair_open(&pair);
        peal_bus_close(pair.owner);
        is_refused(&pair); // nobody has the log
        assert_int_equal(peal_bus_open(&pair.owner, pair.folder.url, &silent[i]), PEAL_OK);
        is_refused(&pair);
        pair_close(&pair);
    }
}

static void asking_needs_a_log_that_is_only_read(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder, "");
    const struct peal_bus_options writes = { .ask_owner = true };
    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, folder.url, &writes), PEAL_EINVAL);
    assert_int_equal(peal_bus_open(&bus, "mem:?ask_owner=yes", NULL), PEAL_EUNSUPPORTED);
    assert_int_equal(peal_bus_open(&bus, "mem:?no_requests=yes", NULL), PEAL_EUNSUPPORTED);
    folder_close(&folder);
}

static void who_finds_the_door_taken_says_so_and_works(void **state)
{
    (void)state;
    struct folder folder;
    struct pl_door_name name;
    struct complaints complaints = { 0 };
    folder_open(&folder, "");
    assert_int_equal(pl_door_name(&name, folder.path), 0);
    int squatter = pl_door_open(&name);
    assert_true(squatter >= 0);
    const struct peal_bus_options options = { .workers = 1,
                                              .log = complain_to,
                                              .log_context = &complaints };
    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, folder.url, &options), PEAL_OK);
    assert_int_equal(complaints.count, 1);
    assert_int_equal(complaints.level, PEAL_LEVEL_WARNING);
    assert_non_null(strstr(complaints.text, "requests"));
    publish(bus, "a", "1");
    peal_bus_close(bus);
    pl_door_close(squatter);
    folder_close(&folder);
}

// ---- bad askers ---------------------------------------------------------------------------------

static int64_t in_s(int64_t seconds)
{
    return pl_seams_real.monotonic(NULL) + seconds * PL_NS_PER_S;
}

static int knock(const struct pair *pair)
{
    struct pl_door_name name;
    int64_t pid;
    assert_int_equal(pl_door_name(&name, pair->folder.path), 0);
    int connection = pl_door_knock(&name, in_s(PATIENCE_S), &pid);
    assert_true(connection >= 0);
    return connection;
}

// Sends bytes, and returns the code of the answer; -1: there was none.
static int tell(const struct pair *pair, const void *bytes, size_t size)
{
    char head[PL_ASK_HEAD];
    struct pl_ask_head answer = { 0 };
    int connection = knock(pair);
    (void)pl_door_write(connection, -1, bytes, size, in_s(PATIENCE_S)); // it may hang up before
    int result = pl_door_read(connection, -1, head, sizeof head, in_s(PATIENCE_S));
    pl_door_close(connection);
    return result == 0 && pl_unpack_head(&answer, head) ? (int)answer.code : -1;
}

static bool still_answers(const struct pair *pair)
{
    struct peal_message message = { .type = "ok" };
    return peal_publish(pair->asker, &message, NULL) == PEAL_OK;
}

static void nonsense_harms_nobody(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct {
        char magic[4];
        uint16_t version, kind;
        uint64_t size;
    } head = { "peal", PL_ASK_VERSION, PL_ASK_PUBLISH, UINT64_MAX };
    assert_int_equal(tell(&pair, "GET / HTTP/1.1\r\n\r\n", 18), -1);
    assert_int_equal(tell(&pair, &head, sizeof head), PEAL_ELIMIT);
    head.size = 0;
    assert_int_equal(tell(&pair, &head, sizeof head), PEAL_EINVAL);
    head.version = PL_ASK_VERSION + 1;
    assert_int_equal(tell(&pair, &head, sizeof head), PEAL_EUNSUPPORTED);
    head.version = PL_ASK_VERSION;
    head.kind = PL_ASK_KINDS;
    assert_int_equal(tell(&pair, &head, sizeof head), PEAL_EUNSUPPORTED);
    head.kind = 0;
    assert_int_equal(tell(&pair, &head, sizeof head), PEAL_EUNSUPPORTED);
    assert_true(still_answers(&pair));
    pair_close(&pair);
}

// Every request, cut at every length and with every byte changed, is refused or done, and the next
// one is answered.
static void a_request_that_is_cut_or_changed_is_refused_or_done(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    const struct peal_pair metadata = { "name", "value" };
    const struct peal_message message = { .type = "a", .metadata = &metadata, .metadata_count = 1 };
    struct pl_pack pack;
    pl_pack_begin(&pack, &pl_seams_real);
    pl_pack_messages(&pack, &message, 1, "/s");
    pl_pack_head(&pack, PL_ASK_PUBLISH);
    assert_false(pack.failed);
    for (size_t i = PL_ASK_HEAD; i < pack.size; i++) {
        uint64_t size = i - PL_ASK_HEAD; // it says that it is so short
        memcpy(pack.bytes + 8, &size, sizeof size);
        assert_int_equal(tell(&pair, pack.bytes, i), PEAL_EINVAL);
    }
    pl_pack_head(&pack, PL_ASK_PUBLISH);
    for (size_t i = PL_ASK_HEAD; i < pack.size; i++) {
        pack.bytes[i] = (char)(pack.bytes[i] ^ 0xff);
        int code = tell(&pair, pack.bytes, pack.size);
        assert_true(code >= 0);
        pack.bytes[i] = (char)(pack.bytes[i] ^ 0xff);
    }
    for (unsigned kind = PL_ASK_DEAD_RETRY; kind <= PL_ASK_FORGET; kind++) {
        pl_pack_head(&pack, kind); // what says something else is not understood
        assert_true(tell(&pair, pack.bytes, pack.size) > 0);
    }
    assert_true(still_answers(&pair));
    pl_pack_finish(&pack);
    pair_close(&pair);
}

static void who_says_nothing_or_goes_holds_up_neither_others_for_long_nor_the_end(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    pl_door_close(knock(&pair));
    assert_true(still_answers(&pair));
    int half = knock(&pair);
    assert_int_equal(pl_door_write(half, -1, "peal", 4, in_s(PATIENCE_S)), 0);
    pl_door_close(half);
    assert_true(still_answers(&pair));
    int silent = knock(&pair);
    peal_bus_close(pair.owner); // does not wait for it
    pair.owner = NULL;
    char byte;
    assert_int_equal(pl_door_read(silent, -1, &byte, 1, in_s(PATIENCE_S)), -EPIPE);
    pl_door_close(silent);
    pair_close(&pair);
}

static void *ask_often(void *context)
{
    struct peal_message message = { .type = "a" };
    for (int i = 0; i < 50; i++) {
        assert_int_equal(peal_publish(context, &message, NULL), PEAL_OK);
    }
    return NULL;
}

static void several_ask_at_once(void **state)
{
    (void)state;
    struct pair pair;
    pthread_t threads[4];
    pair_open(&pair);
    for (size_t i = 0; i < 4; i++) {
        threads[i] = begin(ask_often, pair.asker);
    }
    for (size_t i = 0; i < 4; i++) {
        end(threads[i]);
    }
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, pair.owner), PEAL_OK);
    assert_int_equal(stats.published, 200);
    pair_close(&pair);
}

// ---- while it works -----------------------------------------------------------------------------

#define SUBJECT "user-1"

static void *erase_it(void *asker)
{
    struct peal_erased erased = { 0 };
    assert_int_equal(peal_log_erase(&erased, asker, SUBJECT, NULL), PEAL_OK);
    return NULL;
}

// The owner is in the middle of an erasure, and stays there.
static pthread_t begin_erasing(struct pair *pair)
{
    const struct peal_message message = { .type = "a", .subject = SUBJECT };
    pair_open(pair);
    assert_int_equal(peal_publish(pair->owner, &message, NULL), PEAL_OK);
    uint64_t before = tally_read(&renaming.come);
    atomic_store(&renaming.held, true);
    pthread_t thread = begin(erase_it, pair->asker);
    assert_true(tally_reaches(&renaming.come, before + 1));
    return thread;
}

static void others_are_answered_while_the_owner_erases(void **state)
{
    (void)state;
    struct pair pair;
    pthread_t first = begin_erasing(&pair);
    const struct peal_message message = { .type = "b" };
    struct peal_receipt receipt = { .position = 0 };
    struct peal_bus_stats stats;

    assert_int_equal(peal_publish(pair.asker, &message, &receipt), PEAL_OK);
    assert_int_equal(receipt.position, 2);
    assert_int_equal(peal_bus_stats(&stats, pair.asker), PEAL_OK);
    assert_int_equal(stats.published, 2);
    pthread_t second = begin(erase_it, pair.asker); // waits for the first, and no other for it
    assert_int_equal(peal_publish(pair.asker, &message, &receipt), PEAL_OK);

    tally_add(&renaming.released, 1);
    end(first);
    end(second);
    struct peal_erased left = { .events = 77 };
    const struct peal_erase dry = { .dry_run = true };
    assert_int_equal(peal_log_erase(&left, pair.asker, SUBJECT, &dry), PEAL_OK);
    assert_int_equal(left.events, 0);
    pair_close(&pair);
}

// Asks to erase what there is none of, and does not wait for the answer.
static int ask_to_erase(const struct pair *pair)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, &pl_seams_real);
    pl_pack_text(&pack, "nobody");
    pl_pack_number(&pack, 1);
    pl_pack_head(&pack, PL_ASK_ERASE);
    int connection = knock(pair);
    assert_int_equal(pl_door_write(connection, -1, pack.bytes, pack.size, in_s(PATIENCE_S)), 0);
    pl_pack_finish(&pack);
    return connection;
}

static unsigned code_of_answer(int connection)
{
    char bytes[PL_ASK_HEAD];
    struct pl_ask_head head = { 0 };
    assert_int_equal(pl_door_read(connection, -1, bytes, sizeof bytes, in_s(PATIENCE_S)), 0);
    assert_true(pl_unpack_head(&head, bytes));
    pl_door_close(connection);
    return head.code;
}

static void so_many_may_wait_to_erase_and_one_more_is_told_to_come_again(void **state)
{
    (void)state;
    struct pair pair;
    int waiting[PL_ASK_LINE_MAX];
    pthread_t first = begin_erasing(&pair);
    for (size_t i = 0; i < PL_ASK_LINE_MAX; i++) {
        waiting[i] = ask_to_erase(&pair);
    }

    assert_int_equal(code_of_answer(ask_to_erase(&pair)), PEAL_ELIMIT);

    tally_add(&renaming.released, 1);
    end(first);
    for (size_t i = 0; i < PL_ASK_LINE_MAX; i++) {
        assert_int_equal(code_of_answer(waiting[i]), PEAL_OK);
    }
    assert_int_equal(code_of_answer(ask_to_erase(&pair)), PEAL_OK);
    pair_close(&pair);
}

static void *close_owner(void *context)
{
    struct pair *pair = context;
    peal_bus_close(pair->owner);
    return NULL;
}

static void *erase_in_vain(void *asker)
{
    struct peal_erased erased = { 0 };
    enum peal_err err = peal_log_erase(&erased, asker, SUBJECT, NULL);
    assert_true(err == PEAL_OK || err == PEAL_ECLOSED || err == PEAL_EIO || err == PEAL_ESTATE);
    return NULL;
}

static void an_owner_that_is_closed_leaves_nobody_on_the_line(void **state)
{
    (void)state;
    struct pair pair;
    const struct peal_message message = { .type = "a", .subject = SUBJECT };
    pair_open(&pair);
    assert_int_equal(peal_publish(pair.owner, &message, NULL), PEAL_OK);
    uint64_t before = tally_read(&renaming.come);
    atomic_store(&renaming.held, true);
    pthread_t first = begin(erase_in_vain, pair.asker);
    assert_true(tally_reaches(&renaming.come, before + 1));
    int waiting = ask_to_erase(&pair);
    assert_true(still_answers(&pair)); // so it was read, and is on the line

    pthread_t closing = begin(close_owner, &pair);
    tally_add(&renaming.released, 1);
    end(first);
    end(closing);
    char byte;
    while (pl_door_read(waiting, -1, &byte, 1, in_s(PATIENCE_S)) == 0) {
    }
    pl_door_close(waiting);
    pair.owner = NULL;
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subject_is_erased_by_asking_and_what_there_was_is_said),
        cmocka_unit_test(files_are_archived_by_asking_and_each_is_told_of),
        cmocka_unit_test(who_has_no_owner_to_ask_erases_and_archives_nothing),
        cmocka_unit_test(what_is_published_by_asking_is_as_it_was_said),
        cmocka_unit_test(conditions_and_refusals_come_back_with_their_sentence),
        cmocka_unit_test(a_batch_that_is_asked_for_is_all_or_none),
        cmocka_unit_test(dead_letters_are_retried_edited_and_discarded_by_asking),
        cmocka_unit_test(durable_names_are_paused_moved_and_listed_by_asking),
        cmocka_unit_test(what_waits_for_its_time_is_scheduled_and_cancelled_by_asking),
        cmocka_unit_test(an_asker_knows_who_has_the_log_and_what_only_that_counts),
        cmocka_unit_test(where_nobody_answers_a_sentence_says_so),
        cmocka_unit_test(asking_needs_a_log_that_is_only_read),
        cmocka_unit_test(who_finds_the_door_taken_says_so_and_works),
        cmocka_unit_test(nonsense_harms_nobody),
        cmocka_unit_test(a_request_that_is_cut_or_changed_is_refused_or_done),
        cmocka_unit_test(who_says_nothing_or_goes_holds_up_neither_others_for_long_nor_the_end),
        cmocka_unit_test(several_ask_at_once),
        cmocka_unit_test(others_are_answered_while_the_owner_erases),
        cmocka_unit_test(so_many_may_wait_to_erase_and_one_more_is_told_to_come_again),
        cmocka_unit_test(an_owner_that_is_closed_leaves_nobody_on_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
