// SPDX-License-Identifier: MIT
//
// State files from strangers. The bytes are put where a file's records are, once as they came and
// once, taken for a list of operations, as records that are whole with some bytes changed after.
// Whatever they are: opening reads it or refuses it with a sentence, what it then holds is within
// the limits and can be read, it holds the same when it is opened again, and all memory comes back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "log/kv.h"
#include "log/kv_bytes.h"
#include "testing/disk.h"
#include "unit/base_failing.h"

#define NAME "/log/state-00000000000000000001.kv"

// An assert that a build without asserts keeps.
static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

struct table {
    struct failing memory; // first: the seams' world
    struct pl_seams seams;
    struct pl_disk *disk;
    const struct pl_files *files;
    struct pl_kv *kv;
};

static const uint64_t seed[2] = { 1, 2 };

static void put_file(const struct table *table, const char *bytes, size_t size)
{
    struct pl_kv_header header = { .seed = { seed[0], seed[1] }, .generation = 1 };
    char block[PL_KV_HEADER];
    pl_kv_header_write(block, &header);
    const struct pl_files *files = table->files;
    struct pl_file file = { 0 };
    check(files->make_directory(files->world, "/log") == 0);
    check(files->open(files->world, &file, NAME, PL_FILE_CREATE) == 0);
    check(pl_files_write(files, file, block, sizeof block, 0) == 0);
    check(pl_files_write(files, file, bytes, size, PL_KV_HEADER) == 0);
    files->close(files->world, &file);
}

static enum peal_err open_table(struct table *table)
{
    struct pl_kv_config config = {
        .seams = &table->seams, .files = table->files, .path = "/log", .seed = seed, .log_end = 1000
    };
    return pl_kv_open(&table->kv, &config);
}

// A sum over all there is.
static uint64_t read_all(struct table *table)
{
    uint64_t sum = 0;
    size_t count = 0;
    const struct pl_kv_entry *entry;
    PL_KV_EACH(entry, table->kv, "")
    {
        size_t length = strlen(entry->key);
        check(length > 0 && length <= PL_KV_KEY_MAX && entry->size <= PL_KV_VALUE_MAX);
        check(entry->position < 1000);
        sum = pl_hash(entry->key, length, sum + entry->position);
        sum = pl_hash(entry->value, entry->size, sum);
        count++;
    }
    check(count == pl_kv_stats(table->kv).entries);
    return sum;
}

static void check_file(const char *bytes, size_t size)
{
    struct table table = { .kv = NULL };
    table.seams = failing_seams(&table.memory, 0);
    check(pl_disk_create(&table.disk, &pl_seams_real, 1) == PEAL_OK);
    table.files = pl_disk_files(table.disk);
    put_file(&table, bytes, size);
    enum peal_err err = open_table(&table);
    if (err) {
        check(!table.kv && *peal_error_sentence());
    } else {
        uint64_t sum = read_all(&table);
        check(pl_kv_close(table.kv) == PEAL_OK);
        check(open_table(&table) == PEAL_OK && read_all(&table) == sum);
        check(pl_kv_recovery(table.kv)->damaged == 0 && pl_kv_recovery(table.kv)->cut_bytes == 0);
        check(pl_kv_close(table.kv) == PEAL_OK);
    }
    pl_disk_destroy(table.disk);
    check(table.memory.living == 0);
}

// Makes the bytes records with checksums that fit: each takes what its first byte says.
static size_t make_records(const uint8_t *data, size_t size, char *out)
{
    size_t at = 0;
    uint64_t number = 0;
    while (size > 2) {
        size_t body = 8 * (size_t)(data[0] % 16);
        body = body > size - 2 ? (size - 2) / 8 * 8 : body;
        struct pl_kv_record record = { .length = (uint32_t)(sizeof record + body) };
        record.changes = data[1] % 4;
        number += 1 + (data[1] >> 6 == 3); // sometimes one is missing
        uint64_t synced = data[1] & 4 ? number - 1 : 0;
        memcpy(out + at, &record, sizeof record);
        memcpy(out + at + sizeof record, data + 2, body);
        pl_kv_record_seal(out + at, number, synced, pl_kv_salt(seed, 1));
        if (data[1] & 8) {
            out[at + data[0] % record.length] ^= 1;
        }
        at += record.length;
        data += body + 2;
        size -= body + 2;
    }
    return at;
}

// The name is libFuzzer's.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); // NOLINT
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_file((const char *)data, size);
    char *records = malloc(size * 16 + 64); // the shortest is 2 bytes, and becomes 32
    check(records != NULL);
    check_file(records, make_records(data, size, records));
    free(records);
    return 0;
}
