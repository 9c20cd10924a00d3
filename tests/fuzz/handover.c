// SPDX-License-Identifier: MIT
//
// What a killed process has handed over, from strangers. The bytes stand in the place of its
// buffer, once as they came and once, taken for a list of operations, as records that are whole;
// the first of them say where it is to go. Whatever they are: opening the log reads them or refuses
// them with a sentence, what it then holds can be read, it holds as much when it is opened again,
// and all memory comes back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "log/internal.h"
#include "testing/disk.h"
#include "unit/base_failing.h"

#define WHERE 8 // bytes of the input that say where it is to go

// An assert that a build without asserts keeps.
static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

struct log {
    struct failing memory; // first: the seams' world
    struct pl_seams seams;
    struct pl_disk *disk;
    struct pl_store_config config;
    struct pl_store *store;
};

static const char *type_of(void *context, uint32_t number)
{
    (void)context;
    return number ? "b" : "a";
}

static uint32_t number_of(void *context, const char *type)
{
    (void)context;
    return strcmp(type, "a") == 0 ? 0 : 1;
}

static uint64_t no_chance(void *world)
{
    (void)world;
    return 7; // the seed of every log: so the bytes of a corpus fit
}

// A log with nothing but its first file.
static void make_log(struct log *log)
{
    log->seams = failing_seams(&log->memory, 0);
    log->seams.random = no_chance;
    check(pl_disk_create(&log->disk, &pl_seams_real, 1) == PEAL_OK);
    log->config = (struct pl_store_config){ .seams = &log->seams,
                                            .files = pl_disk_files(log->disk),
                                            .path = "/log",
                                            .file_bytes = PL_STORE_FILE_MIN,
                                            .type_of = type_of,
                                            .number_of = number_of,
                                            .no_thread = true };
    check(pl_store_open(&log->store, &log->config) == PEAL_OK);
    check(pl_store_close(log->store, NULL) == PEAL_OK);
    log->store = NULL;
    pl_disk_let_share(log->disk, true);
}

static void put_file(struct log *log, const uint8_t where[WHERE], const char *bytes, size_t size)
{
    const struct pl_files *files = log->config.files;
    struct pl_handover_page page = { .magic = "PealHnd\n",
                                     .version = 1 + (where[0] == 1),
                                     .size = PL_STORE_BUFFER,
                                     .seed = { 7, 7 },
                                     .base = 1 + where[1] / 128,
                                     .offset = PL_SEGFILE_HEADER + 8 * (uint64_t)(where[2] / 4),
                                     .first = 1 + where[3] / 64 };
    check(files->boot(files->world, page.boot) == 0);
    page.crc = pl_crc32c(0, &page, offsetof(struct pl_handover_page, crc));
    atomic_init(&page.head, where[4] > 200 ? where[5] : size);
    struct pl_file file = { 0 };
    check(files->open(files->world, &file, "/log/" PL_HANDOVER_NAME, PL_FILE_CREATE) == 0);
    check(pl_files_write(files, file, (const char *)&page, sizeof page, 0) == 0);
    check(pl_files_write(files, file, bytes, size, PL_HANDOVER_PAGE) == 0);
    files->close(files->world, &file);
}

// How many events there are.
static uint64_t read_all(struct log *log)
{
    struct pl_budget *budget = pl_budget_create(&log->seams);
    uint64_t count = 0;
    struct pl_segment *segment = NULL;
    check(budget != NULL);
    for (uint64_t position = 1;; position = pl_segment_end(segment)) {
        pl_segment_unref(segment);
        segment = NULL;
        check(pl_store_read(&segment, log->store, budget, position) == PEAL_OK);
        if (!segment) {
            break;
        }
        check(segment->first >= position && pl_segment_end(segment) > segment->first);
        count += pl_segment_end(segment) - segment->first;
    }
    check(count < pl_store_end(log->store));
    pl_budget_unref(budget, &log->seams);
    return count;
}

static void check_file(const uint8_t where[WHERE], const char *bytes, size_t size)
{
    struct log log = { .store = NULL };
    make_log(&log);
    put_file(&log, where, bytes, size);
    enum peal_err err = pl_store_open(&log.store, &log.config);
    if (err) {
        check(err == PEAL_EUNSUPPORTED && *peal_error_sentence());
    } else {
        uint64_t count = read_all(&log);
        check(pl_store_close(log.store, NULL) == PEAL_OK);
        check(pl_store_open(&log.store, &log.config) == PEAL_OK);
        check(read_all(&log) == count);
        check(pl_store_close(log.store, NULL) == PEAL_OK);
    }
    pl_disk_destroy(log.disk);
    check(log.memory.living == 0);
}

// Makes the bytes records with checksums that fit: each takes what its first byte says.
static size_t make_records(const uint8_t *data, size_t size, char *out)
{
    const uint64_t seed[2] = { 7, 7 };
    uint32_t salt = pl_record_salt(seed, 1);
    uint64_t position = 1;
    size_t at = 0;
    while (size > 2) {
        size_t body = 8 * (size_t)(data[0] % 8);
        body = body > size - 2 ? (size - 2) / 8 * 8 : body;
        struct pl_frame *record = (struct pl_frame *)(void *)(out + at);
        *record = (struct pl_frame){ .length = (uint32_t)(sizeof *record + body),
                                     .position = position,
                                     .type = data[1] % 8 == 7 ? PL_RECORD_TYPE : 0,
                                     .flags = data[1] & 8 ? PL_FLAG_MORE | 4 : 4 };
        position += pl_record_is_event(record) + (data[1] >> 5 == 7);
        memcpy(record + 1, data + 2, body);
        pl_record_seal(record, salt);
        if (data[1] >> 4 == 5) {
            out[at + 8] ^= 1;
        }
        at += record->length;
        data += body + 2;
        size -= body + 2;
    }
    return at;
}

// The name is libFuzzer's.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); // NOLINT
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < WHERE || size > PL_STORE_BUFFER / 16 - 64) {
        return 0;
    }
    check_file(data, (const char *)data + WHERE, size - WHERE);
    char *records = malloc(size * 16 + 64); // the shortest is 2 bytes, and becomes 32
    check(records != NULL);
    check_file(data, records, make_records(data + WHERE, size - WHERE, records));
    free(records);
    return 0;
}
