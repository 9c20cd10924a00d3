// SPDX-License-Identifier: MIT
//
// Reading a state file that anything may have happened to.
//
// At each offset there is a whole record that may come next, or not; if not, every eighth byte
// behind it is tried. A record may come next if its number is above the last one's by no more than
// could have stood in the bytes between. So the first reading learns how far the file was synced,
// which any record may say, and the second one counts: what is missing up to there is damage, and
// behind the first gap above it all is a torn tail.
#include "log/kv_bytes.h"

#include "base/crc32c.h"
#include "base/error.h"
#include "log/kv.h"

#include <string.h>

#define HALF (PL_KV_HEADER / 2)

static const char magic[8] = { 'P', 'e', 'a', 'l', 'K', 'v', '\n', '\0' };

// How a change begins.
struct head {
    uint32_t value_size;
    uint16_t key_size;
    uint16_t kind;
    uint64_t position;
};

_Static_assert(sizeof(struct pl_kv_header) == 64, "the header is part of the format");
_Static_assert(sizeof(struct pl_kv_record) == 32, "and so is a record's");
_Static_assert(sizeof(struct head) == PL_KV_HEAD, "and a change's");

static size_t round8(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

// ---- the header ---------------------------------------------------------------------------------

static uint32_t half_crc(const char *half)
{
    char copy[HALF];
    memcpy(copy, half, sizeof copy);
    memset(copy + offsetof(struct pl_kv_header, crc), 0, sizeof(uint32_t));
    return pl_crc32c(0, copy, sizeof copy);
}

void pl_kv_header_write(char block[PL_KV_HEADER], const struct pl_kv_header *header)
{
    struct pl_kv_header copy = *header;
    memset(block, 0, PL_KV_HEADER);
    memcpy(copy.magic, magic, sizeof magic);
    copy.version = PL_KV_VERSION;
    copy.flags = 0;
    copy.crc = 0;
    copy.zero = 0;
    memcpy(block, &copy, sizeof copy);
    copy.crc = half_crc(block);
    memcpy(block, &copy, sizeof copy);
    memcpy(block + HALF, &copy, sizeof copy);
}

enum peal_err pl_kv_header_read(struct pl_kv_header *out, const char *bytes, size_t size,
                                const char *path)
{
    for (size_t at = 0; at + HALF <= size && at < PL_KV_HEADER; at += HALF) {
        struct pl_kv_header header;
        memcpy(&header, bytes + at, sizeof header);
        if (memcmp(header.magic, magic, sizeof magic) != 0 || half_crc(bytes + at) != header.crc) {
            continue;
        }
        if (header.version > PL_KV_VERSION || header.flags != 0) {
            return pl_fail(PEAL_EUNSUPPORTED,
                           "%s: is of format %u with flags %u; this Peal reads formats up to %d: "
                           "use a newer one",
                           path, header.version, header.flags, PL_KV_VERSION);
        }
        *out = header;
        return PEAL_OK;
    }
    return pl_fail(PEAL_ECORRUPT, "%s: is no state file of a Peal log, or its header is damaged",
                   path);
}

// ---- records ------------------------------------------------------------------------------------

uint32_t pl_kv_salt(const uint64_t seed[2], uint64_t generation)
{
    return pl_crc32c(pl_crc32c(0, seed, 2 * sizeof seed[0]), &generation, sizeof generation);
}

size_t pl_kv_change_size(const struct pl_kv_change *change)
{
    return sizeof(struct head) + round8((size_t)change->key_size + change->value_size);
}

void pl_kv_head_write(char out[PL_KV_HEAD], const struct pl_kv_change *change)
{
    struct head head = { change->value_size, change->key_size, change->kind, change->position };
    memcpy(out, &head, sizeof head);
}

void pl_kv_change_write(char *out, const struct pl_kv_change *change)
{
    memset(out + pl_kv_change_size(change) - 8, 0, 8); // the zeros; what is no zero comes now
    pl_kv_head_write(out, change);
    memcpy(out + PL_KV_HEAD, change->key, change->key_size);
    if (change->value_size > 0) {
        memcpy(out + PL_KV_HEAD + change->key_size, change->value, change->value_size);
    }
}

uint32_t pl_kv_record_crc(const struct pl_kv_record *record, uint32_t salt)
{
    const size_t from = offsetof(struct pl_kv_record, number);
    uint32_t crc = pl_crc32c(salt, &record->length, sizeof record->length);
    return pl_crc32c(crc, (const char *)record + from, sizeof *record - from);
}

void pl_kv_record_seal(char *bytes, uint64_t number, uint64_t synced, uint32_t salt)
{
    struct pl_kv_record record;
    memcpy(&record, bytes, sizeof record);
    record.number = number;
    record.synced = synced;
    record.crc = pl_crc32c(pl_kv_record_crc(&record, salt), bytes + sizeof record,
                           record.length - sizeof record);
    memcpy(bytes, &record, sizeof record);
}

// The change at an offset in a record of `size` bytes. False: there is none that makes sense.
static bool read_change(const char *bytes, size_t at, size_t size, struct pl_kv_change *out)
{
    struct head head;
    if (size - at < sizeof head) {
        return false;
    }
    memcpy(&head, bytes + at, sizeof head);
    *out = (struct pl_kv_change){ .position = head.position,
                                  .value_size = head.value_size,
                                  .key_size = head.key_size,
                                  .kind = head.kind };
    bool known = head.kind == PL_KV_PUT || (head.kind == PL_KV_REMOVE && head.value_size == 0);
    if (!known || head.key_size == 0 || head.key_size > PL_KV_KEY_MAX ||
        head.value_size > PL_KV_VALUE_MAX || pl_kv_change_size(out) > size - at) {
        return false;
    }
    out->key = bytes + at + sizeof head;
    out->value = out->key + head.key_size;
    return !memchr(out->key, '\0', head.key_size);
}

// A checksum that fits makes it likely that the changes can be walked, and this makes it safe.
static bool changes_fit(const char *bytes, const struct pl_kv_record *record)
{
    size_t at = sizeof *record;
    struct pl_kv_change change;
    for (uint32_t i = 0; i < record->changes; i++) {
        if (!read_change(bytes, at, record->length, &change)) {
            return false;
        }
        at += pl_kv_change_size(&change);
    }
    return at == record->length;
}

// ---- scanning -----------------------------------------------------------------------------------

// Is there a whole record at an offset that may come after that of `number`, which ended at `end`?
static bool record_at(const struct pl_kv_scan *scan, size_t offset, uint64_t number, size_t end,
                      struct pl_kv_record *out)
{
    if (scan->size - offset < sizeof *out) {
        return false;
    }
    const char *bytes = scan->bytes + offset;
    memcpy(out, bytes, sizeof *out);
    uint64_t most = (offset - end) / sizeof *out; // records in the bytes between
    if (out->number <= number || out->number - number - 1 > most || out->synced >= out->number ||
        out->length < sizeof *out || out->length % 8 || out->length > scan->size - offset) {
        return false;
    }
    return pl_crc32c(pl_kv_record_crc(out, scan->salt), bytes + sizeof *out,
                     out->length - sizeof *out) == out->crc &&
           changes_fit(bytes, out);
}

// Finds the next record at or behind *offset. False: there is none. Most of what is looked at are
// the zeros of a file's room, so the number is looked at before the rest.
static bool find(const struct pl_kv_scan *scan, size_t *offset, uint64_t number,
                 struct pl_kv_record *out)
{
    const char *numbers = scan->bytes + offsetof(struct pl_kv_record, number);
    for (size_t end = *offset; scan->size - *offset >= sizeof *out; *offset += 8) {
        uint64_t found;
        memcpy(&found, numbers + *offset, sizeof found);
        if (found > number && record_at(scan, *offset, number, end, out)) {
            return true;
        }
    }
    return false;
}

static uint64_t find_synced(const struct pl_kv_scan *scan)
{
    struct pl_kv_record record = { .number = 0 };
    uint64_t synced = scan->synced;
    size_t offset = 0;
    while (find(scan, &offset, record.number, &record)) {
        synced = record.synced > synced ? record.synced : synced;
        offset += record.length;
    }
    return synced;
}

static enum peal_err tell(const char *bytes, const struct pl_kv_record *record,
                          enum peal_err (*each)(void *context, const struct pl_kv_change *change),
                          void *context)
{
    size_t at = sizeof *record;
    struct pl_kv_change change;
    for (uint32_t i = 0; i < record->changes; i++) {
        if (!read_change(bytes, at, record->length, &change)) {
            break; // it was looked at before
        }
        enum peal_err err = each(context, &change);
        if (err) {
            return err;
        }
        at += pl_kv_change_size(&change);
    }
    return PEAL_OK;
}

// What is missing before a record. False: not all of it was synced, so the tail is torn.
static bool allow_gap(struct pl_kv_scan *scan, uint64_t next)
{
    uint64_t missing = next - scan->number - 1;
    if (missing > 0 && next - 1 > scan->synced) {
        return false;
    }
    scan->damaged += missing;
    return true;
}

enum peal_err pl_kv_scan_run(struct pl_kv_scan *scan,
                             enum peal_err (*each)(void *context,
                                                   const struct pl_kv_change *change),
                             void *context)
{
    scan->synced = find_synced(scan);
    scan->number = 0;
    scan->damaged = 0;
    scan->offset = 0;
    scan->note = scan->size;
    struct pl_kv_record record = { .number = 0 };
    size_t offset = 0;
    while (find(scan, &offset, scan->number, &record) && allow_gap(scan, record.number)) {
        enum peal_err err = tell(scan->bytes + offset, &record, each, context);
        if (err) {
            return err;
        }
        bool note = record.changes == 0 && record.synced + 1 == record.number;
        scan->note = note ? offset : scan->size;
        scan->number = record.number;
        offset += record.length;
        scan->offset = offset;
    }
    if (scan->synced > scan->number) { // the last of what was synced is damaged
        scan->damaged += scan->synced - scan->number;
        scan->number = scan->synced;
    }
    scan->tail = scan->size - scan->offset;
    while (scan->tail > 0 && scan->bytes[scan->offset + scan->tail - 1] == 0) {
        scan->tail--;
    }
    return PEAL_OK;
}
