// SPDX-License-Identifier: MIT
//
// What is settled at `os` without a call: it is there when the process is killed, between whichever
// two stores, and where it cannot be done everything is as without.
#include "support/shelf.h"

#include <errno.h>
#include <stdio.h>

#include "log/internal.h"
#include "support/scene.h"
#include "support/wreck.h"

#define HANDOVER_PATH SHELF_PATH "/" PL_HANDOVER_NAME
#define ALL           (PL_HANDOVER_PAGE + PL_STORE_BUFFER)

static void open_handing(struct shelf *shelf, uint64_t seed)
{
    shelf_init(shelf, seed);
    shelf_let_hand(shelf);
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    assert_non_null(shelf->store->handover);
}

static size_t size_at(uint64_t position)
{
    return 40 + position % 90;
}

static void hand(struct shelf *shelf, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        (void)shelf_append(shelf, size_at(pl_log_end(&shelf->ledger.log)));
        assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_OS), PEAL_OK);
    }
}

static void write_out(struct shelf *shelf)
{
    assert_int_equal(pl_store_write(shelf->store, &shelf->ledger.log), PEAL_OK);
}

static void leave(struct shelf *shelf)
{
    shelf_leave(shelf);
    shelf->life = 0; // all lives publish the same
}

static void kill_process(struct shelf *shelf)
{
    pl_disk_kill(shelf->disk);
    leave(shelf);
}

static void meet(void *context, const struct pl_frame *frame)
{
    uint64_t *next = context;
    assert_int_equal(frame->position, *next);
    shelf_check(frame, size_at(frame->position), 1, NULL);
    ++*next;
}

// There are so many events, whole and in order, and more can follow.
static void check(struct shelf *shelf, uint64_t count)
{
    assert_int_equal(pl_store_end(shelf->store), count + 1);
    uint64_t next = 1;
    assert_int_equal(shelf_walk(shelf, 1, meet, &next), count);
    assert_int_equal(pl_store_recovery(shelf->store)->damaged, 0);
    hand(shelf, 1);
    write_out(shelf);
    next = 1;
    assert_int_equal(shelf_walk(shelf, 1, meet, &next), count + 1);
}

static void check_again(struct shelf *shelf, uint64_t count)
{
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    check(shelf, count);
    shelf_finish(shelf);
}

static bool is_there(struct shelf *shelf)
{
    const struct pl_files *files = shelf->config.files;
    struct pl_file file = { 0 };
    int result = files->open(files->world, &file, HANDOVER_PATH, PL_FILE_READ);
    files->close(files->world, &file);
    return result == 0;
}

// The file as it was, to be put back behind the back of the store.
struct image {
    char bytes[ALL];
};

static void take_image(struct shelf *shelf, struct image *out)
{
    memcpy(out->bytes, shelf->store->handover, ALL);
}

static void put_image(struct shelf *shelf, const struct image *image)
{
    const struct pl_files *files = shelf->config.files;
    struct pl_file file = { 0 };
    (void)files->unlink(files->world, HANDOVER_PATH);
    assert_int_equal(files->open(files->world, &file, HANDOVER_PATH, PL_FILE_CREATE), 0);
    assert_int_equal(pl_files_write(files, file, image->bytes, ALL, 0), 0);
    files->close(files->world, &file);
}

static struct pl_handover_page *page_of(struct image *image)
{
    return (struct pl_handover_page *)(void *)image->bytes;
}

// ---- handing over -------------------------------------------------------------------------------

static void what_is_settled_as_os_costs_no_call(void **state)
{
    (void)state;
    struct shelf shelf;
    open_handing(&shelf, 1);
    hand(&shelf, 1); // makes the file's first room
    uint64_t calls = pl_disk_calls(shelf.disk, 0);
    uint64_t written = pl_store_written(shelf.store);
    hand(&shelf, 100);
    assert_int_equal(pl_disk_calls(shelf.disk, 0), calls);
    assert_int_equal(pl_store_written(shelf.store), written);
    assert_int_equal(pl_store_handed(shelf.store), 102);
    write_out(&shelf);
    assert_int_equal(pl_disk_calls(shelf.disk, 0), calls + 1);
    assert_int_equal(pl_store_written(shelf.store), 102);
    shelf_finish(&shelf);
}

static void what_is_settled_as_os_outlives_the_process(void **state)
{
    (void)state;
    for (uint64_t before = 0; before < 3; before++) {
        struct shelf shelf;
        open_handing(&shelf, 1);
        uint64_t count = 0;
        for (uint64_t life = 1; life < 30; life++) {
            for (uint64_t i = 0; i < before; i++) {
                hand(&shelf, life);
                write_out(&shelf);
            }
            hand(&shelf, 2 * life);
            count += (before + 2) * life;
            kill_process(&shelf);
            assert_int_equal(shelf_open(&shelf), PEAL_OK);
            assert_int_equal(pl_store_recovery(shelf.store)->cut_bytes, 0);
            assert_int_equal(pl_store_end(shelf.store), count + 1);
        }
        check(&shelf, count);
        shelf_finish(&shelf);
    }
}

static void what_was_not_settled_need_not_outlive_it_and_does_no_harm(void **state)
{
    (void)state;
    struct shelf shelf;
    open_handing(&shelf, 1);
    hand(&shelf, 5);
    (void)shelf_append(&shelf, 100);
    kill_process(&shelf);
    check_again(&shelf, 5);
}

static void who_publishes_now_and_then_is_written_at_once(void **state)
{
    (void)state;
    struct shelf shelf;
    open_handing(&shelf, 1);
    for (uint64_t i = 1; i < 5; i++) {
        shelf.ledger.now += PL_NS_PER_MS;
        hand(&shelf, 1);
        assert_int_equal(pl_store_written(shelf.store), 2 * i);
        hand(&shelf, 1);
        assert_int_equal(pl_store_written(shelf.store), 2 * i);
    }
    kill_process(&shelf);
    check_again(&shelf, 8);
}

static void a_full_buffer_is_written(void **state)
{
    (void)state;
    struct shelf shelf;
    open_handing(&shelf, 1);
    shelf_finish(&shelf);
    shelf_init(&shelf, 1);
    shelf_let_hand(&shelf);
    shelf.config.file_bytes = 4 << 20;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    hand(&shelf, 9000); // a megabyte
    assert_in_range(pl_store_written(shelf.store), 5000, 9000);
    kill_process(&shelf);
    check_again(&shelf, 9000);
}

static void files_follow_each_other_as_ever(void **state)
{
    (void)state;
    for (uint64_t count = 100; count < 300; count += 7) {
        struct shelf shelf;
        shelf_init(&shelf, count);
        shelf_let_hand(&shelf);
        shelf.config.file_bytes = PL_STORE_FILE_MIN; // some 120 events
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        hand(&shelf, count);
        kill_process(&shelf);
        check_again(&shelf, count);
    }
}

static void large_data_and_batches_outlive_it_too(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 6; order++) {
        struct shelf shelf;
        open_handing(&shelf, 1);
        for (unsigned i = 0; i < 3; i++) {
            unsigned what = (order + i * (1 + order / 3)) % 3;
            if (what == 0) {
                (void)shelf_append(&shelf, 20000);
            } else {
                shelf_batch(&shelf, 3, what == 1 ? 100 : 100000);
            }
            assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
        }
        uint64_t end = pl_log_end(&shelf.ledger.log);
        kill_process(&shelf);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        assert_int_equal(pl_store_end(shelf.store), end);
        assert_int_equal(pl_store_recovery(shelf.store)->cut_bytes, 0);
        shelf_finish(&shelf);
    }
}

static void what_is_settled_as_disk_is_written_and_synced(void **state)
{
    (void)state;
    struct shelf shelf;
    open_handing(&shelf, 1);
    hand(&shelf, 10);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    assert_int_equal(pl_store_durable(shelf.store), 11);
    pl_disk_crash(shelf.disk);
    leave(&shelf);
    check_again(&shelf, 10);
}

static unsigned count_in_file(struct shelf *shelf, char c)
{
    const struct pl_files *files = shelf->config.files;
    static char bytes[ALL];
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, HANDOVER_PATH, PL_FILE_READ), 0);
    assert_int_equal(files->pread(files->world, file, bytes, ALL, 0), ALL);
    files->close(files->world, &file);
    unsigned count = 0;
    for (size_t i = PL_HANDOVER_PAGE; i < ALL; i++) {
        count += bytes[i] == c;
    }
    return count;
}

static void what_is_wiped_is_not_in_the_file_any_more(void **state)
{
    (void)state;
    struct shelf shelf;
    open_handing(&shelf, 1);
    hand(&shelf, 20);
    write_out(&shelf);
    const char c = (char)(31 + 15); // what the event at position 15 is filled with
    assert_true(count_in_file(&shelf, c) > 20);
    (void)shelf_append(&shelf, 0);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    pl_store_wipe(shelf.store);
    assert_true(count_in_file(&shelf, c) < 10);
    assert_true(atomic_load(&shelf.store->handover->head) > 0); // and what waits does still
    kill_process(&shelf);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_end(shelf.store), 22);
    shelf_finish(&shelf);
}

// ---- between two stores -------------------------------------------------------------------------

static void killed_behind_the_write_it_is_written_once_more(void **state)
{
    (void)state;
    static struct image image;
    struct shelf shelf;
    open_handing(&shelf, 1);
    hand(&shelf, 20);
    write_out(&shelf);
    hand(&shelf, 20);
    take_image(&shelf, &image);
    (void)shelf_append(&shelf, size_at(41)); // is written with the others, and was not settled
    write_out(&shelf);
    kill_process(&shelf);
    put_image(&shelf, &image);
    check_again(&shelf, 41);
}

static void while_the_head_is_zero_the_rest_means_nothing(void **state)
{
    (void)state;
    static struct image image;
    struct shelf shelf;
    open_handing(&shelf, 1);
    hand(&shelf, 20);
    take_image(&shelf, &image);
    write_out(&shelf);
    kill_process(&shelf);
    atomic_store(&page_of(&image)->head, 0);
    page_of(&image)->offset += 8000;
    page_of(&image)->first = 3;
    memset(image.bytes + PL_HANDOVER_PAGE, 0x5a, 1000);
    put_image(&shelf, &image);
    check_again(&shelf, 20);
}

static void killed_while_it_is_opened_it_is_all_there_the_next_time(void **state)
{
    (void)state;
    bool opened = false;
    for (uint64_t nth = 1; !opened; nth++) {
        struct shelf shelf;
        open_handing(&shelf, 1);
        hand(&shelf, 50);
        kill_process(&shelf);
        // A sync that fails is no kill.
        struct pl_disk_fault fault = { .calls =
                                           PL_DISK_ANY & ~(PL_DISK_SYNC | PL_DISK_SYNC_DIRECTORY),
                                       .nth = nth,
                                       .for_ever = true };
        pl_disk_inject(shelf.disk, &fault);
        opened = shelf_open(&shelf) == PEAL_OK && shelf.store->handover;
        pl_disk_kill(shelf.disk);
        pl_disk_heal(shelf.disk);
        leave(&shelf);
        check_again(&shelf, 50);
    }
}

// ---- what it finds ------------------------------------------------------------------------------

static void after_a_power_cut_nothing_of_it_counts(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct shelf shelf;
        open_handing(&shelf, seed);
        hand(&shelf, 10);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
        hand(&shelf, 10);
        pl_disk_crash(shelf.disk);
        leave(&shelf);
        check_again(&shelf, 10);
    }
}

static void damage_in_it_costs_what_is_behind_and_is_told(void **state)
{
    (void)state;
    static struct image image;
    struct shelf shelf;
    open_handing(&shelf, 1);
    hand(&shelf, 20);
    take_image(&shelf, &image);
    size_t bytes = shelf.store->buffered;
    kill_process(&shelf);
    image.bytes[PL_HANDOVER_PAGE + bytes - 30] ^= 1; // of the last event
    put_image(&shelf, &image);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    const struct pl_recovery *recovery = pl_store_recovery(shelf.store);
    assert_in_range(recovery->cut_bytes, 32, 200);
    assert_string_equal(recovery->cut_file, PL_HANDOVER_NAME);
    check(&shelf, 19);
    shelf_finish(&shelf);
}

// Changes an image in one of several ways that a process cannot have left it in.
static void spoil(struct image *image, unsigned way)
{
    struct pl_handover_page *page = page_of(image);
    switch (way) {
    case 0:
        page->base = 77;
        break;
    case 1:
        page->offset += 8; // a gap
        break;
    case 2:
        page->offset = 1ULL << 40;
        break;
    case 3:
        page->offset = 8;
        break;
    case 4:
        page->first++;
        break;
    default:
        memset(image->bytes + PL_HANDOVER_PAGE, 0, PL_STORE_BUFFER);
        break;
    }
}

static void what_does_not_fit_is_not_written(void **state)
{
    (void)state;
    static struct image image;
    for (unsigned way = 0; way < 6; way++) {
        struct shelf shelf;
        open_handing(&shelf, 1);
        hand(&shelf, 10);
        write_out(&shelf);
        hand(&shelf, 10);
        take_image(&shelf, &image);
        kill_process(&shelf);
        spoil(&image, way);
        put_image(&shelf, &image);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        assert_true(pl_store_recovery(shelf.store)->cut_bytes > 0);
        check(&shelf, 10);
        shelf_finish(&shelf);
    }
}

// It is of another log, was not made to its end, or is something else: nobody's events.
static void a_file_that_is_none_is_replaced(void **state)
{
    (void)state;
    static struct image image;
    for (unsigned way = 0; way < 4; way++) {
        struct shelf shelf;
        open_handing(&shelf, 1);
        hand(&shelf, 10);
        write_out(&shelf);
        hand(&shelf, 10);
        take_image(&shelf, &image);
        kill_process(&shelf);
        struct pl_handover_page *page = page_of(&image);
        page->magic[1] ^= way == 0;
        page->seed[1] ^= way == 1;
        page->crc ^= way == 2;
        put_image(&shelf, &image);
        if (way == 3) {
            const struct pl_files *files = shelf.config.files;
            struct pl_file file = { 0 };
            assert_int_equal(files->open(files->world, &file, HANDOVER_PATH, PL_FILE_WRITE), 0);
            assert_int_equal(files->truncate(files->world, file, 70), 0);
            files->close(files->world, &file);
        }
        check_again(&shelf, 10);
    }
}

static void one_of_a_later_version_is_refused(void **state)
{
    (void)state;
    static struct image image;
    struct shelf shelf;
    open_handing(&shelf, 1);
    hand(&shelf, 10);
    take_image(&shelf, &image);
    kill_process(&shelf);
    struct pl_handover_page *page = page_of(&image);
    page->version++;
    page->crc = pl_crc32c(0, page, offsetof(struct pl_handover_page, crc));
    put_image(&shelf, &image);
    assert_int_equal(shelf_open(&shelf), PEAL_EUNSUPPORTED);
    assert_non_null(strstr(peal_error_sentence(), "later version"));
    assert_true(is_there(&shelf));
    atomic_store(&page->head, 0);
    put_image(&shelf, &image); // with nothing in it, it is nobody's loss
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    shelf_finish(&shelf);
}

// ---- calls that fail ----------------------------------------------------------------------------

static void fail_from(struct shelf *shelf, enum pl_disk_call calls, uint64_t nth, int error)
{
    struct pl_disk_fault fault = { .calls = calls, .nth = nth, .for_ever = true, .error = error };
    pl_disk_inject(shelf->disk, &fault);
}

static void what_cannot_be_redone_is_kept_for_the_next_time(void **state)
{
    (void)state;
    static const struct {
        enum pl_disk_call calls;
        const char *sentence;
    } failures[] = { { PL_DISK_WRITE, "cannot write what it has" },
                     { PL_DISK_SHARE, "only if the machine has not been restarted" } };
    for (size_t i = 0; i < 2; i++) {
        struct shelf shelf;
        open_handing(&shelf, 1);
        hand(&shelf, 10);
        kill_process(&shelf);
        // The first write is the process's number in the lock.
        fail_from(&shelf, failures[i].calls, failures[i].calls == PL_DISK_WRITE ? 2 : 1, EIO);
        assert_int_equal(shelf_open(&shelf), PEAL_EIO);
        assert_non_null(strstr(peal_error_sentence(), failures[i].sentence));
        pl_disk_heal(shelf.disk);
        check_again(&shelf, 10);
    }
}

static void a_write_that_fails_loses_nothing_that_was_handed_over(void **state)
{
    (void)state;
    struct shelf shelf;
    open_handing(&shelf, 1);
    hand(&shelf, 10);
    fail_from(&shelf, PL_DISK_WRITE, 1, EIO);
    assert_int_equal(pl_store_write(shelf.store, &shelf.ledger.log), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "cannot write"));
    (void)shelf_append(&shelf, size_at(11));
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_EIO);
    assert_int_equal(shelf_close(&shelf), PEAL_EIO);
    pl_disk_heal(shelf.disk);
    assert_true(is_there(&shelf));
    shelf.life = 0;
    check_again(&shelf, 10);
}

static void going_on_behind_a_failure_gives_it_up(void **state)
{
    (void)state;
    struct shelf shelf;
    open_handing(&shelf, 1);
    shelf.store->config.go_on = true;
    hand(&shelf, 10);
    struct pl_disk_fault fault = { .calls = PL_DISK_WRITE, .nth = 1 };
    pl_disk_inject(shelf.disk, &fault);
    assert_int_equal(pl_store_write(shelf.store, &shelf.ledger.log), PEAL_EIO);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_EIO); // it is unknown
    assert_int_equal(atomic_load(&shelf.store->handover->head), 0);
    hand(&shelf, 1); // behind them
    kill_process(&shelf);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_end(shelf.store), 12);
    shelf_finish(&shelf);
}

// ---- without ------------------------------------------------------------------------------------

static void check_without(struct shelf *shelf)
{
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    uint64_t count = pl_store_end(shelf->store) - 1;
    hand(shelf, 10);
    assert_int_equal(pl_store_written(shelf->store), count + 11);
    kill_process(shelf);
    pl_disk_heal(shelf->disk);
    pl_disk_limit(shelf->disk, 0, false);
    check_again(shelf, count + 10);
}

static void where_it_cannot_be_all_is_written_at_once(void **state)
{
    (void)state;
    static const enum pl_disk_call calls[] = { PL_DISK_SHARE, PL_DISK_SHARE };
    for (uint64_t nth = 1; nth <= 2; nth++) { // boot, share
        struct shelf shelf;
        shelf_init(&shelf, 1);
        shelf_let_hand(&shelf);
        fail_from(&shelf, calls[nth - 1], nth, ENOMEM);
        check_without(&shelf);
    }
    struct shelf shelf;
    shelf_init(&shelf, 1);
    shelf_let_hand(&shelf);
    shelf.ledger.seams.start = shelf_start; // no thread to be had
    check_without(&shelf);
    shelf_init(&shelf, 1);
    shelf_let_hand(&shelf);
    shelf.config.no_thread = true;
    check_without(&shelf);
}

static void a_disk_without_room_for_it_has_room_for_events(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 1);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    shelf.life = 0;
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    shelf_let_hand(&shelf);
    pl_disk_limit(shelf.disk, pl_disk_used(shelf.disk) + (100 << 10), false);
    check_without(&shelf);
}

// ---- other processes, and the end ---------------------------------------------------------------

static void a_process_that_reads_sees_what_is_written(void **state)
{
    (void)state;
    struct shelf shelf;
    open_handing(&shelf, 1);
    hand(&shelf, 10);
    write_out(&shelf);
    hand(&shelf, 10);
    struct pl_store_config config = shelf.config;
    config.read_only = true;
    struct pl_store *reader = NULL;
    assert_int_equal(pl_store_open(&reader, &config), PEAL_OK);
    assert_int_equal(pl_store_written(reader), 11);
    assert_true(is_there(&shelf)); // it takes nothing away
    write_out(&shelf);
    assert_int_equal(pl_store_refresh(reader), PEAL_OK);
    assert_int_equal(pl_store_written(reader), 21);
    assert_int_equal(pl_store_close(reader, NULL), PEAL_OK);
    shelf_finish(&shelf);
}

static void a_log_that_is_closed_has_no_such_file(void **state)
{
    (void)state;
    struct shelf shelf;
    open_handing(&shelf, 1);
    hand(&shelf, 10);
    assert_true(is_there(&shelf));
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    assert_false(is_there(&shelf));
    shelf.life = 0;
    check_again(&shelf, 10);
}

// ---- the thread that writes ---------------------------------------------------------------------

static void begin_world(struct scene *scene, const char *url)
{
    scene_open_url(scene, 1, url, NULL);
    pl_disk_let_share(wreck_disk(scene->world), true);
    scene_again(scene, url, NULL);
}

static uint64_t writes(const struct scene *scene)
{
    return pl_disk_calls(wreck_disk(scene->world), PL_DISK_WRITE);
}

static void what_is_handed_over_is_in_the_file_within_10_ms(void **state)
{
    (void)state;
    struct scene scene;
    begin_world(&scene, "file:./events");
    scene_publish(&scene, "a", NULL, "at once");
    for (int i = 0; i < 5; i++) {
        uint64_t before = writes(&scene);
        scene_publish(&scene, "a", NULL, "soon"); // at once, if time has passed
        scene_publish(&scene, "a", NULL, "soon");
        uint64_t after = writes(&scene);
        assert_in_range(after, before, before + 1);
        peal_world_advance(scene.world, 10);
        assert_int_equal(writes(&scene), after + 1);
    }
    scene_close(&scene);
}

// A handler may not wait for others; to write is no wait.
static enum peal_verdict publish_much(const peal_event *event, void *context)
{
    (void)event;
    struct scene *scene = context;
    static char data[4096];
    struct peal_message message = { .type = "b", .data = data, .size = sizeof data };
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(peal_publish(scene->bus, &message, NULL), PEAL_OK);
    }
    return PEAL_DONE;
}

static void memory_full_of_what_was_handed_over_is_written(void **state)
{
    (void)state;
    struct scene scene;
    begin_world(&scene, "file:./events?memory_max=1M&data_max=64k");
    assert_int_equal(peal_subscribe(NULL, scene.bus, "a", NULL, publish_much, &scene), PEAL_OK);
    scene_publish(&scene, "a", NULL, "1");
    peal_world_settle(scene.world);
    assert_int_equal(scene_stats(&scene).last_position, 2001);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_settled_as_os_costs_no_call),
        cmocka_unit_test(what_is_settled_as_os_outlives_the_process),
        cmocka_unit_test(what_was_not_settled_need_not_outlive_it_and_does_no_harm),
        cmocka_unit_test(who_publishes_now_and_then_is_written_at_once),
        cmocka_unit_test(a_full_buffer_is_written),
        cmocka_unit_test(files_follow_each_other_as_ever),
        cmocka_unit_test(large_data_and_batches_outlive_it_too),
        cmocka_unit_test(what_is_settled_as_disk_is_written_and_synced),
        cmocka_unit_test(what_is_wiped_is_not_in_the_file_any_more),
        cmocka_unit_test(killed_behind_the_write_it_is_written_once_more),
        cmocka_unit_test(while_the_head_is_zero_the_rest_means_nothing),
        cmocka_unit_test(killed_while_it_is_opened_it_is_all_there_the_next_time),
        cmocka_unit_test(after_a_power_cut_nothing_of_it_counts),
        cmocka_unit_test(damage_in_it_costs_what_is_behind_and_is_told),
        cmocka_unit_test(what_does_not_fit_is_not_written),
        cmocka_unit_test(a_file_that_is_none_is_replaced),
        cmocka_unit_test(one_of_a_later_version_is_refused),
        cmocka_unit_test(what_cannot_be_redone_is_kept_for_the_next_time),
        cmocka_unit_test(a_write_that_fails_loses_nothing_that_was_handed_over),
        cmocka_unit_test(going_on_behind_a_failure_gives_it_up),
        cmocka_unit_test(where_it_cannot_be_all_is_written_at_once),
        cmocka_unit_test(a_disk_without_room_for_it_has_room_for_events),
        cmocka_unit_test(a_process_that_reads_sees_what_is_written),
        cmocka_unit_test(a_log_that_is_closed_has_no_such_file),
        cmocka_unit_test(what_is_handed_over_is_in_the_file_within_10_ms),
        cmocka_unit_test(memory_full_of_what_was_handed_over_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
