// SPDX-License-Identifier: MIT
// ctest: threaded timeout=300
//
// A catalog in a crowd: one publishes, one forgets, one damages what is sealed, others look. The
// catalog's own thread indexes. Nobody is kept from an event that was there before they began to
// look and still is when they have.
#include "support/annals.h"

#include "support/crowd.h"
#include "support/folder.h"

#include <fcntl.h>
#include <sched.h>

#define BEGIN   (PL_CATALOG_SPAN - 20000ULL) // so that a range is full soon
#define LOOKERS 2
#define SUBJECT 7

struct crowd {
    struct annals annals;
    struct folder folder;
    uint64_t end;
    atomic_bool done;
    atomic_uint failures, looks;
};

static uint64_t noted(struct crowd *crowd)
{
    return atomic_load(&crowd->annals.catalog->written);
}

static void *publish_all(void *context)
{
    struct crowd *crowd = context;
    uint64_t chance = 5;
    for (uint64_t end = BEGIN; end < crowd->end;) {
        end += failing_random(&chance) % 300 + 1;
        pl_log_publish(&crowd->annals.log, end);
        pl_catalog_note(crowd->annals.catalog, end);
        sched_yield();
    }
    return NULL;
}

// The oldest go, as long as some are left.
static void *forget_old(void *context)
{
    struct crowd *crowd = context;
    uint64_t chance = 6;
    while (!atomic_load(&crowd->done)) {
        uint64_t first = crowd->annals.first + failing_random(&chance) % 100;
        if (first + 15000 < noted(crowd)) {
            crowd->annals.first = first;
            pl_catalog_forget(crowd->annals.catalog, first);
        }
        sched_yield();
    }
    return NULL;
}

// A byte of the sealed index, if there is one.
static void *damage(void *context)
{
    struct crowd *crowd = context;
    uint64_t chance = 7;
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%020llu-%020llu.idx", crowd->folder.path, BEGIN,
                   PL_CATALOG_SPAN - 1ULL);
    while (!atomic_load(&crowd->done)) {
        int file = open(path, O_WRONLY | O_CLOEXEC);
        if (file >= 0) {
            (void)!pwrite(file, "x", 1, (off_t)(failing_random(&chance) % 100000));
            (void)close(file);
        }
        sched_yield();
    }
    return NULL;
}

static bool is_wanted(uint64_t position)
{
    return annals_number(PL_KEY_SUBJECT, position) == SUBJECT;
}

// Is one that is wanted, and still there, among [from, to)?
static bool passed_over(struct crowd *crowd, uint64_t from, uint64_t to)
{
    for (; from < to; from++) {
        if (is_wanted(from) && from >= crowd->annals.first) {
            return true;
        }
    }
    return false;
}

// Looks through all there is. False: something is wrong.
static bool look_through(struct crowd *crowd, bool backwards)
{
    uint64_t low = crowd->annals.first, high = noted(crowd);
    const struct pl_lookup_wanted wanted = { .first = low,
                                             .end = high,
                                             .keys = { [PL_KEY_SUBJECT] = "s7" },
                                             .backwards = backwards,
                                             .earliest = INT64_MIN,
                                             .latest = INT64_MAX };
    struct pl_lookup *lookup = NULL;
    uint64_t position = 0;
    bool dense = false;
    bool fine = pl_lookup_create(&lookup, crowd->annals.catalog, &wanted) == PEAL_OK;
    while (fine && !pl_lookup_next(lookup, &position, &dense) && position) {
        fine = position >= low && position < high;
        fine = fine &&
               !passed_over(crowd, backwards ? position + 1 : low, backwards ? high : position);
        high = backwards ? position : high;
        low = backwards ? low : position + 1;
    }
    pl_lookup_destroy(lookup);
    return fine && position == 0 && !passed_over(crowd, low, high);
}

static void *look(void *context)
{
    struct crowd *crowd = context;
    for (bool backwards = false; !atomic_load(&crowd->done); backwards = !backwards) {
        atomic_fetch_add(&crowd->failures, !look_through(crowd, backwards));
        atomic_fetch_add(&crowd->looks, 1);
    }
    return NULL;
}

static void open_crowd(struct crowd *crowd, uint64_t events)
{
    *crowd = (struct crowd){ .end = BEGIN + events };
    folder_open(&crowd->folder, "");
    annals_begin(&crowd->annals, &pl_seams_real, &pl_files_real, crowd->folder.path, BEGIN - 1);
    crowd->annals.first = BEGIN;
    assert_int_equal(annals_try(&crowd->annals), PEAL_OK);
}

static void close_crowd(struct crowd *crowd)
{
    pl_catalog_close(crowd->annals.catalog);
    pl_log_finish(&crowd->annals.log);
    folder_close(&crowd->folder);
}

static void run_crowd(struct crowd *crowd, bool damaged)
{
    pthread_t threads[2 + LOOKERS];
    threads[0] = begin(forget_old, crowd);
    threads[1] = begin(damaged ? damage : look, crowd);
    for (int i = 0; i < LOOKERS; i++) {
        threads[2 + i] = begin(look, crowd);
    }
    (void)publish_all(crowd);
    while (atomic_load(&crowd->looks) < 20) {
        sched_yield();
    }
    atomic_store(&crowd->done, true);
    for (int i = 0; i < 2 + LOOKERS; i++) {
        end(threads[i]);
    }
    assert_int_equal(atomic_load(&crowd->failures), 0);
    assert_true(look_through(crowd, false));
}

static void whoever_looks_while_others_publish_and_forget_finds_everything(void **state)
{
    (void)state;
    static struct crowd crowd;
    open_crowd(&crowd, effort(60000) + 22000);
    run_crowd(&crowd, false);
    close_crowd(&crowd);
}

static void whoever_looks_while_an_index_is_damaged_finds_everything(void **state)
{
    (void)state;
    static struct crowd crowd;
    open_crowd(&crowd, effort(60000) + 22000);
    run_crowd(&crowd, true);
    close_crowd(&crowd);
}

// Nobody looks: it is the thread that has indexed when little is left.
static void the_thread_keeps_up_with_who_publishes(void **state)
{
    (void)state;
    static struct crowd crowd;
    open_crowd(&crowd, 40000);
    (void)publish_all(&crowd);
    while (atomic_load(&crowd.annals.catalog->tail_next) + PL_CATALOG_LAG < noted(&crowd)) {
        sched_yield();
    }
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%020llu-%020llu.idx", crowd.folder.path, BEGIN,
                   PL_CATALOG_SPAN - 1ULL);
    assert_int_equal(access(path, R_OK), 0); // sealed before it went on
    close_crowd(&crowd);
}

// It is closed while its thread is at work.
static void closing_does_not_wait_for_all_to_be_indexed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < effort(20); i++) {
        static struct crowd crowd;
        open_crowd(&crowd, 30000);
        (void)publish_all(&crowd);
        close_crowd(&crowd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_looks_while_others_publish_and_forget_finds_everything),
        cmocka_unit_test(whoever_looks_while_an_index_is_damaged_finds_everything),
        cmocka_unit_test(the_thread_keeps_up_with_who_publishes),
        cmocka_unit_test(closing_does_not_wait_for_all_to_be_indexed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
