// SPDX-License-Identifier: MIT
//
// The two tables of an archive, in bytes.
//
// The head, a skippable frame of the zstd format:
//
//     magic u32 │ size u32 │ "PealArc\n" │ version u32 │ flags u32 │ content u64 │ frames u32 │ crc
//     each frame: size u32, content size u32, CRC32C of its bytes u32
//
// The seek table, a skippable frame of the zstd seekable format. Its first entry is the head's, as
// that is a frame without content:
//
//     magic u32 │ size u32 │ each frame: size u32, content size u32 │ frames u32 │ flags u8 │ magic
//
// Bit 7 of its flags: each entry has four bytes more, a checksum that we do not write.
#include "log/archive_table.h"

#include "base/crc32c.h"
#include "log/pack.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define HEAD_MAGIC 0x184d2a57U
#define SEEK_MAGIC 0x184d2a5eU
#define SEEK_END   0x8f92eab1U
#define SEEK_SUMS  0x80U // of the flags
#define SEEK_KNOWN 0x83U // flags that mean something, or that nobody minds

static const char magic[8] = { 'P', 'e', 'a', 'l', 'A', 'r', 'c', '\n' };

struct skippable {
    uint32_t magic, size; // of what follows
};

struct head {
    struct skippable frame;
    char magic[8];
    uint32_t version, flags;
    uint64_t content;
    uint32_t frames;
    uint32_t crc; // CRC32C of all behind `frame`, with this as 0
};

struct head_entry {
    uint32_t size, content_size, crc;
};

struct seek_entry {
    uint32_t size, content_size;
};

// Nine bytes; spelled by hand, as no struct has so many.
#define SEEK_FOOTER 9

_Static_assert(sizeof(struct head) == 40, "it is part of the format");
_Static_assert(sizeof(struct head_entry) == 12, "it is part of the format");

size_t pl_archive_head_size(size_t count)
{
    return sizeof(struct head) + count * sizeof(struct head_entry);
}

size_t pl_archive_seek_size(size_t count)
{
    return sizeof(struct skippable) + (count + 1) * sizeof(struct seek_entry) + SEEK_FOOTER;
}

// ---- writing ------------------------------------------------------------------------------------

static uint32_t head_crc(const char *head, size_t size)
{
    static const uint32_t nothing = 0;
    const size_t at = offsetof(struct head, crc);
    uint32_t crc = pl_crc32c(0, head + sizeof(struct skippable), at - sizeof(struct skippable));
    crc = pl_crc32c(crc, &nothing, sizeof nothing);
    return pl_crc32c(crc, head + sizeof(struct head), size - sizeof(struct head));
}

void pl_archive_head_write(const struct pl_archive_table *table, char *out)
{
    const size_t size = pl_archive_head_size(table->count);
    struct head head = { .frame = { HEAD_MAGIC, (uint32_t)(size - sizeof(struct skippable)) },
                         .version = PL_ARCHIVE_VERSION,
                         .content = table->content,
                         .frames = (uint32_t)table->count };
    memcpy(head.magic, magic, sizeof magic);
    char *next = out + sizeof head;
    for (size_t i = 0; i < table->count; i++) {
        const struct pl_archive_frame *frame = &table->frames[i];
        struct head_entry entry = { frame->size, frame->content_size, frame->crc };
        memcpy(next, &entry, sizeof entry);
        next += sizeof entry;
    }
    memcpy(out, &head, sizeof head);
    head.crc = head_crc(out, size);
    memcpy(out, &head, sizeof head);
}

void pl_archive_seek_write(const struct pl_archive_table *table, char *out)
{
    const size_t size = pl_archive_seek_size(table->count);
    struct skippable frame = { SEEK_MAGIC, (uint32_t)(size - sizeof frame) };
    memcpy(out, &frame, sizeof frame);
    char *next = out + sizeof frame;
    struct seek_entry entry = { (uint32_t)pl_archive_head_size(table->count), 0 };
    memcpy(next, &entry, sizeof entry);
    for (size_t i = 0; i < table->count; i++) {
        next += sizeof entry;
        entry = (struct seek_entry){ table->frames[i].size, table->frames[i].content_size };
        memcpy(next, &entry, sizeof entry);
    }
    next += sizeof entry;
    const uint32_t count = (uint32_t)table->count + 1, end = SEEK_END;
    memcpy(next, &count, sizeof count);
    next[4] = 0;
    memcpy(next + 5, &end, sizeof end);
}

// ---- what makes sense ---------------------------------------------------------------------------

static int read_bytes(const struct pl_files *files, struct pl_file file, void *out, size_t size,
                      uint64_t offset)
{
    int64_t count = files->pread(files->world, file, out, size, offset);
    return count < 0 ? (int)count : count == (int64_t)size ? 0 : -EBADMSG;
}

// Adds a frame behind the others. False: nothing that could be one.
static bool add_frame(struct pl_archive_table *table, uint64_t *at,
                      const struct pl_archive_frame *frame)
{
    if (frame->size == 0 || frame->size > PL_PACK_FRAME_MAX || frame->content_size == 0 ||
        frame->content_size > PL_PACK_BLOCK_MAX) {
        return false;
    }
    struct pl_archive_frame *added = &table->frames[table->count++];
    *added = *frame;
    added->at = *at;
    added->content = table->content;
    *at += frame->size;
    table->content += frame->content_size;
    return true;
}

static int make_room(struct pl_archive_table *table, const struct pl_seams *seams, size_t count)
{
    *table = (struct pl_archive_table){ 0 };
    table->frames = pl_alloc(seams, (count ? count : 1) * sizeof *table->frames);
    return table->frames ? 0 : -ENOMEM;
}

void pl_archive_table_finish(struct pl_archive_table *table, const struct pl_seams *seams)
{
    pl_release(seams, table->frames);
    *table = (struct pl_archive_table){ 0 };
}

// ---- the head -----------------------------------------------------------------------------------

static int check_head(const struct head *head)
{
    if (head->frame.magic != HEAD_MAGIC || memcmp(head->magic, magic, sizeof magic) != 0 ||
        head->frames > PL_ARCHIVE_FRAMES_MAX ||
        head->frame.size + sizeof(struct skippable) != pl_archive_head_size(head->frames)) {
        return -EBADMSG;
    }
    return 0;
}

static int take_head(struct pl_archive_table *table, const char *bytes, const struct head *head)
{
    const size_t size = pl_archive_head_size(head->frames);
    if (head_crc(bytes, size) != head->crc) {
        return -EBADMSG;
    }
    if (head->version > PL_ARCHIVE_VERSION || head->flags) {
        return -EOPNOTSUPP;
    }
    uint64_t at = size;
    for (uint32_t i = 0; i < head->frames; i++) {
        struct head_entry entry;
        memcpy(&entry, bytes + sizeof *head + i * sizeof entry, sizeof entry);
        struct pl_archive_frame frame = { .size = entry.size, .content_size = entry.content_size };
        frame.crc = entry.crc;
        if (!add_frame(table, &at, &frame)) {
            return -EBADMSG;
        }
    }
    table->has_crcs = true;
    return table->content == head->content ? 0 : -EBADMSG;
}

static int read_head(struct pl_archive_table *out, const struct pl_seams *seams,
                     const struct pl_files *files, struct pl_file file)
{
    struct head head;
    int result = read_bytes(files, file, &head, sizeof head, 0);
    result = result ? result : check_head(&head);
    if (result) {
        return result;
    }
    struct pl_archive_table table;
    const size_t size = pl_archive_head_size(head.frames);
    char *bytes = pl_alloc(seams, size);
    result = bytes ? make_room(&table, seams, head.frames) : -ENOMEM;
    if (!result) {
        result = read_bytes(files, file, bytes, size, 0);
        result = result ? result : take_head(&table, bytes, &head);
        if (result) {
            pl_archive_table_finish(&table, seams);
        } else {
            *out = table;
        }
    }
    pl_release(seams, bytes);
    return result;
}

// ---- the seek table -----------------------------------------------------------------------------

struct footer {
    uint32_t frames; // the head among them
    size_t entry;    // bytes of each
    uint64_t at;     // where the seek table begins
};

// The end of the file, in so far as it can be that of a seek table.
static int read_footer(struct footer *out, const struct pl_files *files, struct pl_file file)
{
    int64_t size = files->size(files->world, file);
    char bytes[SEEK_FOOTER];
    if (size < (int64_t)(sizeof(struct skippable) + SEEK_FOOTER)) {
        return size < 0 ? (int)size : -EBADMSG;
    }
    int result = read_bytes(files, file, bytes, sizeof bytes, (uint64_t)size - SEEK_FOOTER);
    if (result) {
        return result;
    }
    uint32_t end;
    memcpy(&out->frames, bytes, sizeof out->frames);
    memcpy(&end, bytes + 5, sizeof end);
    const unsigned flags = (unsigned char)bytes[4];
    if (end != SEEK_END || flags & ~SEEK_KNOWN || out->frames > PL_ARCHIVE_FRAMES_MAX + 1) {
        return -EBADMSG;
    }
    out->entry = sizeof(struct seek_entry) + (flags & SEEK_SUMS ? sizeof(uint32_t) : 0);
    const uint64_t all = sizeof(struct skippable) + out->frames * out->entry + SEEK_FOOTER;
    if (all > (uint64_t)size) {
        return -EBADMSG;
    }
    out->at = (uint64_t)size - all;
    return 0;
}

static int take_seek(struct pl_archive_table *table, const char *bytes, const struct footer *footer)
{
    struct skippable frame;
    memcpy(&frame, bytes, sizeof frame);
    if (frame.magic != SEEK_MAGIC || frame.size != footer->frames * footer->entry + SEEK_FOOTER) {
        return -EBADMSG;
    }
    uint64_t at = 0;
    for (uint32_t i = 0; i < footer->frames; i++) {
        struct seek_entry entry;
        memcpy(&entry, bytes + sizeof frame + i * footer->entry, sizeof entry);
        if (entry.content_size == 0) { // a head, or what others have put there
            at += entry.size;
            continue;
        }
        struct pl_archive_frame found = { .size = entry.size, .content_size = entry.content_size };
        if (!add_frame(table, &at, &found)) {
            return -EBADMSG;
        }
    }
    return at == footer->at ? 0 : -EBADMSG; // the frames fill the file
}

static int read_seek(struct pl_archive_table *out, const struct pl_seams *seams,
                     const struct pl_files *files, struct pl_file file)
{
    struct footer footer = { 0 };
    int result = read_footer(&footer, files, file);
    if (result) {
        return result;
    }
    struct pl_archive_table table;
    const size_t size = sizeof(struct skippable) + footer.frames * footer.entry;
    char *bytes = pl_alloc(seams, size);
    result = bytes ? make_room(&table, seams, footer.frames) : -ENOMEM;
    if (!result) {
        result = read_bytes(files, file, bytes, size, footer.at);
        result = result ? result : take_seek(&table, bytes, &footer);
        if (result) {
            pl_archive_table_finish(&table, seams);
        } else {
            *out = table;
        }
    }
    pl_release(seams, bytes);
    return result;
}

// ---- both ---------------------------------------------------------------------------------------

int pl_archive_table_read(struct pl_archive_table *out, const struct pl_seams *seams,
                          const struct pl_files *files, struct pl_file file)
{
    int result = read_head(out, seams, files, file);
    if (result != -EBADMSG && result != -EIO) {
        return result;
    }
    int other = read_seek(out, seams, files, file);
    return other == -EBADMSG ? result : other;
}

// The seek table that belongs to the head, compared with the one that is there.
static int compare_seek(const struct pl_archive_table *head, const struct pl_seams *seams,
                        const struct pl_files *files, struct pl_file file)
{
    const size_t size = pl_archive_seek_size(head->count);
    const struct pl_archive_frame *last = head->count ? &head->frames[head->count - 1] : NULL;
    const uint64_t at = last ? last->at + last->size : pl_archive_head_size(0);
    int64_t all = files->size(files->world, file);
    if (all < 0 || (uint64_t)all != at + size) {
        return all < 0 ? (int)all : -EBADMSG;
    }
    char *bytes = pl_alloc(seams, 2 * size);
    int result = bytes ? read_bytes(files, file, bytes, size, at) : -ENOMEM;
    if (!result) {
        pl_archive_seek_write(head, bytes + size);
        result = memcmp(bytes, bytes + size, size) == 0 ? 0 : -EBADMSG;
    }
    pl_release(seams, bytes);
    return result;
}

int pl_archive_table_check(const struct pl_seams *seams, const struct pl_files *files,
                           struct pl_file file)
{
    struct pl_archive_table head;
    int result = read_head(&head, seams, files, file);
    if (!result) {
        result = compare_seek(&head, seams, files, file);
        pl_archive_table_finish(&head, seams);
    }
    return result;
}

const struct pl_archive_frame *pl_archive_table_find(const struct pl_archive_table *table,
                                                     uint64_t offset)
{
    assert(offset < table->content);
    size_t low = 0, high = table->count - 1; // the last that begins at it or before is in low..high
    while (low < high) {
        size_t middle = (low + high + 1) / 2;
        if (table->frames[middle].content <= offset) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return &table->frames[low];
}
