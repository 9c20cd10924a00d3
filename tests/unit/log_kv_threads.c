// SPDX-License-Identifier: MIT
// ctest: threaded
//
// State tables on the real disk, changed and read by several threads at once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/kv.h"
#include "support/crowd.h"

#define THREADS 4

struct place {
    char path[64];
    uint64_t seed[2];
    struct pl_kv *kv;
};

static void open_kv(struct place *place)
{
    struct pl_kv_config config = { .seams = &pl_seams_real,
                                   .files = &pl_files_real,
                                   .path = place->path,
                                   .seed = place->seed,
                                   .log_end = UINT64_MAX };
    assert_int_equal(pl_kv_open(&place->kv, &config), PEAL_OK);
}

static int remove_name(void *context, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", (const char *)context, name);
    return unlink(path);
}

static void make_place(struct place *place)
{
    *place = (struct place){ .path = "/tmp/peal-kv-XXXXXX", .seed = { 3, 4 } };
    assert_non_null(mkdtemp(place->path));
    open_kv(place);
}

static void clear_place(struct place *place)
{
    assert_int_equal(pl_kv_close(place->kv), PEAL_OK);
    assert_int_equal(pl_files_real.list(NULL, place->path, remove_name, place->path), 0);
    assert_int_equal(rmdir(place->path), 0);
}

// Each thread has two keys that always say the same, and a level of its own.
struct writer {
    struct place *place;
    unsigned number, count;
};

static void *write_pairs(void *context)
{
    static const enum peal_durability levels[THREADS] = { PEAL_DURABILITY_DISK, PEAL_DURABILITY_OS,
                                                          PEAL_DURABILITY_OS,
                                                          PEAL_DURABILITY_MEMORY };
    const struct writer *writer = context;
    char one[32];
    char two[32];
    char value[2000];
    (void)snprintf(one, sizeof one, "one/%u", writer->number);
    (void)snprintf(two, sizeof two, "two/%u", writer->number);
    for (unsigned i = 1; i <= writer->count; i++) {
        struct pl_kv_transaction *transaction = NULL;
        (void)snprintf(value, sizeof value, "%01500u", i);
        assert_int_equal(pl_kv_begin(&transaction, writer->place->kv), PEAL_OK);
        assert_int_equal(pl_kv_put(transaction, one, i, value, 1500), PEAL_OK);
        assert_int_equal(pl_kv_put(transaction, two, i, value, 1500), PEAL_OK);
        assert_int_equal(pl_kv_commit(transaction, levels[writer->number]), PEAL_OK);
    }
    return NULL;
}

static void *read_all(void *context)
{
    const struct writer *writer = context;
    struct pl_kv *kv = writer->place->kv;
    for (unsigned i = 0; i < writer->count; i++) {
        const struct pl_kv_entry *entry;
        PL_KV_EACH(entry, kv, "one/")
        {
            const struct pl_kv_entry *other = NULL;
            char key[32];
            (void)snprintf(key, sizeof key, "two/%s", entry->key + 4);
            other = pl_kv_get(kv, key);
            assert_non_null(other); // it came with the first, and may be newer by now
            assert_true(other->position >= entry->position);
            pl_kv_unref(kv, other);
        }
    }
    return NULL;
}

static void threads_that_commit_at_once_lose_nothing(void **state)
{
    (void)state;
    struct place place;
    struct writer writers[THREADS];
    pthread_t threads[THREADS];
    make_place(&place);
    for (unsigned i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){ &place, i, effort(600) };
        threads[i] = begin(write_pairs, &writers[i]);
    }
    pthread_t reader = begin(read_all, &writers[0]);
    for (unsigned i = 0; i < THREADS; i++) {
        end(threads[i]);
    }
    end(reader);
    assert_true(pl_kv_stats(place.kv).file_bytes < 1 << 20);
    assert_int_equal(pl_kv_close(place.kv), PEAL_OK);
    open_kv(&place);
    for (unsigned i = 0; i < THREADS; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "two/%u", i);
        const struct pl_kv_entry *entry = pl_kv_get(place.kv, key);
        assert_non_null(entry);
        assert_int_equal(entry->position, writers[i].count);
        pl_kv_unref(place.kv, entry);
    }
    clear_place(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_commit_at_once_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
