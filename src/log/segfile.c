// SPDX-License-Identifier: MIT
//
// The bytes of segment files: headers and records. Nothing read is believed.
//
// The sectors of a header that change when a file is begun are the first of each half, so that a
// header torn by a power cut is the old one or the new one, and never none.
#include "log/segfile.h"

#include "base/error.h"

#include <string.h>

#define HALF (PL_SEGFILE_HEADER / 2)

#define KNOWN_FLAGS (PL_SEGFILE_AFTER_FAILURE | PL_SEGFILE_REMOVED)

static const char magic[8] = { 'P', 'e', 'a', 'l', 'S', 'e', 'g', '\n' };

_Static_assert(sizeof(struct pl_segfile_header) <= HALF, "it stands there twice");
_Static_assert(offsetof(struct pl_segfile_header, source) == 68,
               "the header is part of the format");

// ---- the header ---------------------------------------------------------------------------------

static uint32_t half_crc(const char *half)
{
    char copy[HALF];
    memcpy(copy, half, sizeof copy);
    memset(copy + offsetof(struct pl_segfile_header, crc), 0, sizeof(uint32_t));
    return pl_crc32c(0, copy, sizeof copy);
}

int pl_segfile_write_header(const struct pl_files *files, struct pl_file file,
                            const struct pl_segfile_header *header)
{
    char block[PL_SEGFILE_HEADER] = { 0 };
    struct pl_segfile_header copy = *header;
    memcpy(copy.magic, magic, sizeof magic);
    copy.version = PL_SEGFILE_VERSION;
    copy.crc = 0;
    const size_t size = offsetof(struct pl_segfile_header, source) + sizeof copy.source;
    memcpy(block, &copy, size);
    copy.crc = half_crc(block);
    memcpy(block, &copy, size);
    memcpy(block + HALF, &copy, size);
    return pl_files_write(files, file, block, sizeof block, 0);
}

static bool half_is_whole(const char *half)
{
    struct pl_segfile_header header;
    memcpy(&header, half, sizeof header);
    return memcmp(header.magic, magic, sizeof magic) == 0 && half_crc(half) == header.crc;
}

unsigned pl_segfile_whole_halves(const char block[PL_SEGFILE_HEADER])
{
    unsigned first = half_is_whole(block);
    unsigned second = half_is_whole(block + HALF);
    return first | second << 1;
}

static enum peal_err read_block(char block[PL_SEGFILE_HEADER], const struct pl_files *files,
                                struct pl_file file, const char *path)
{
    memset(block, 0, PL_SEGFILE_HEADER);
    int64_t size = files->pread(files->world, file, block, PL_SEGFILE_HEADER, 0);
    return size < 0 ? pl_fail(PEAL_EIO, "%s: cannot read its header: %s", path, pl_files_text(size))
                    : PEAL_OK;
}

enum peal_err pl_segfile_read_header(struct pl_segfile_header *out, const struct pl_files *files,
                                     struct pl_file file, const char *path)
{
    char block[PL_SEGFILE_HEADER];
    enum peal_err err = read_block(block, files, file, path);
    if (err) {
        return err;
    }
    const char *half = half_is_whole(block) ? block : block + HALF;
    if (!half_is_whole(half)) {
        return pl_fail(PEAL_ECORRUPT,
                       "%s: is no segment file of a Peal log, or its header is damaged", path);
    }
    struct pl_segfile_header header;
    memcpy(&header, half, sizeof header);
    if (header.version > PL_SEGFILE_VERSION || header.flags & ~KNOWN_FLAGS) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s: is of format %u with flags %u; this Peal reads formats up to %d: "
                       "use a newer one",
                       path, header.version, header.flags, PL_SEGFILE_VERSION);
    }
    header.source[sizeof header.source - 1] = '\0';
    *out = header;
    return PEAL_OK;
}

enum peal_err pl_segfile_verify_header(const struct pl_files *files, struct pl_file file,
                                       const char *path)
{
    char block[PL_SEGFILE_HEADER];
    enum peal_err err = read_block(block, files, file, path);
    if (!err && pl_segfile_whole_halves(block) != 3) {
        err = pl_fail(PEAL_ECORRUPT, "%s: its header is damaged", path);
    }
    return err;
}

// ---- records ------------------------------------------------------------------------------------

uint32_t pl_record_salt(const uint64_t seed[2], uint64_t base)
{
    return pl_crc32c(pl_crc32c(0, seed, 2 * sizeof seed[0]), &base, sizeof base);
}

static bool event_begins(const struct pl_frame *head, size_t room)
{
    size_t attributes = pl_frame_attributes_size(head);
    return attributes <= room && pl_frame_pad(head) <= room - attributes &&
           room - attributes - pl_frame_pad(head) <= (size_t)PEAL_DATA_MAX &&
           !(head->flags & ~(PL_FLAG_PRIORITY | PL_FLAG_HOPS | PL_FLAG_PAD | PL_FLAG_MORE));
}

bool pl_record_begins(const struct pl_frame *head)
{
    if (head->length < sizeof *head || head->length % 8 != 0 || head->length > PL_RECORD_MAX) {
        return false;
    }
    size_t room = head->length - sizeof *head;
    if (pl_record_is_event(head)) {
        return event_begins(head, room);
    }
    bool bare = head->attribute_words == 0 && !(head->flags & ~PL_FLAG_PAD);
    switch (head->type) {
    case PL_RECORD_TYPE:
        return bare && room >= 8 && room <= pl_round8(PEAL_TYPE_MAX) &&
               head->position < PL_FILE_TYPES_MAX;
    case PL_RECORD_SYNCED:
    case PL_RECORD_END:
        return bare && room == 0 && head->flags == 0;
    case PL_RECORD_SUMMARY:
        return bare;
    case PL_RECORD_ERASED:
        return head->attribute_words == 0 && !(head->flags & ~PL_FLAG_MORE);
    default:
        return false;
    }
}

// A checksum that fits makes it likely, and this makes it safe.
static bool attributes_fit(const struct pl_frame *record)
{
    const char *at = pl_frame_attributes(record);
    const char *end = at + pl_frame_attributes_size(record);
    while (end - at >= 3) {
        uint16_t head;
        memcpy(&head, at, sizeof head);
        size_t length = head & PL_ATTRIBUTE_LENGTH_MAX;
        if (head == 0) {
            break;
        }
        if (length + 3 > (size_t)(end - at) || at[2 + length] != '\0') {
            return false;
        }
        unsigned tag = head >> PL_ATTRIBUTE_LENGTH_BITS;
        if ((tag == PL_TAG_TIME || tag == PL_TAG_VERSION) && length != sizeof(uint64_t)) {
            return false;
        }
        at += length + 3;
    }
    return true;
}

bool pl_record_is_whole(const struct pl_frame *record, uint32_t salt)
{
    return pl_record_crc(record, salt, record->length - 8) == record->crc &&
           (!pl_record_is_event(record) || attributes_fit(record));
}

void pl_record_note(struct pl_frame *out, uint64_t position, uint32_t salt)
{
    *out =
        (struct pl_frame){ .length = sizeof *out, .position = position, .type = PL_RECORD_SYNCED };
    pl_record_seal(out, salt);
}

void pl_record_end(struct pl_frame *out, uint64_t position, uint64_t summary, uint32_t salt)
{
    *out = (struct pl_frame){ .length = sizeof *out,
                              .position = position,
                              .recorded = (int64_t)summary,
                              .type = PL_RECORD_END };
    pl_record_seal(out, salt);
}

void pl_record_erased(struct pl_frame *out, const struct pl_frame *record, uint32_t salt)
{
    static const char zeros[4096];
    *out = (struct pl_frame){ .length = record->length,
                              .position = record->position,
                              .type = PL_RECORD_ERASED,
                              .flags = record->flags & PL_FLAG_MORE };
    uint32_t crc = pl_record_crc(out, salt, sizeof *out - 8);
    size_t size = 0;
    for (size_t left = record->length - sizeof *out; left > 0; left -= size) {
        size = left < sizeof zeros ? left : sizeof zeros;
        crc = pl_crc32c(crc, zeros, size);
    }
    out->crc = crc;
}

size_t pl_record_name_size(size_t length)
{
    return sizeof(struct pl_frame) + pl_round8(length);
}

void pl_record_name(struct pl_frame *out, uint32_t number, const char *name, uint32_t salt)
{
    size_t length = strlen(name);
    size_t room = pl_round8(length);
    *out = (struct pl_frame){ .length = (uint32_t)pl_record_name_size(length),
                              .position = number,
                              .type = PL_RECORD_TYPE,
                              .flags = (uint16_t)((room - length) << PL_PAD_SHIFT) };
    char *at = (char *)(out + 1);
    memset(at + room - 8, 0, 8);
    memcpy(at, name, length); // NOLINT(bugprone-not-null-terminated-result): its length is there
    pl_record_seal(out, salt);
}
