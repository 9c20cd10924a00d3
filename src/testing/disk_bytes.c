// SPDX-License-Identifier: MIT
//
// A table of pages that grows with the highest page touched. What stays true: a sector that is
// neither dirty nor dropped is the same in `now` and `kept`; behind the size, `now` is zeros; and
// `charged` counts the slots that are charged.
//
// A cut leaves the pages behind the new end, as zeros in `now`, until the next sync: if the power
// fails before it, the old size may come back, and with it the old bytes.
#include "testing/disk_bytes.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define SECTORS (PL_DISK_PAGE / PL_DISK_SECTOR)

// One in so many writes to a dirty sector finds that the system has written it back already.
#define WRITEBACK_ONE_IN 4

uint64_t pl_disk_draw(uint64_t *chance, uint64_t below)
{
    uint64_t z = *chance += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 32) * 0xd6e8feb86659fd93U;
    z = (z ^ z >> 32) * 0xd6e8feb86659fd93U;
    z ^= z >> 32;
    return below ? z % below : 0;
}

static bool coin(struct pl_disk_bytes *bytes)
{
    return pl_disk_draw(bytes->chance, 2) == 1;
}

static uint64_t least(uint64_t left, uint64_t right)
{
    return left < right ? left : right;
}

static size_t pages_of(uint64_t size)
{
    return (size_t)((size + PL_DISK_PAGE - 1) / PL_DISK_PAGE);
}

// Bits of the sectors that touch [from, to) of a page.
static uint8_t sectors_of(size_t from, size_t to)
{
    unsigned first = (unsigned)(from / PL_DISK_SECTOR);
    unsigned end = (unsigned)((to + PL_DISK_SECTOR - 1) / PL_DISK_SECTOR);
    return (uint8_t)((1U << end) - (1U << first));
}

static int need_slots(struct pl_disk_bytes *bytes, size_t count)
{
    if (count <= bytes->count) {
        return 0;
    }
    if (count < 2 * bytes->count) {
        count = 2 * bytes->count; // so that a file that grows by pages is not copied for each
    }
    struct pl_disk_slot *slots =
        pl_resize(bytes->seams, bytes->slots, count * sizeof(struct pl_disk_slot));
    if (!slots) {
        return -ENOMEM;
    }
    memset(slots + bytes->count, 0, (count - bytes->count) * sizeof(struct pl_disk_slot));
    bytes->slots = slots;
    bytes->count = count;
    return 0;
}

static int need_page(struct pl_disk_bytes *bytes, size_t at)
{
    int result = need_slots(bytes, at + 1);
    if (result == 0 && !bytes->slots[at].page) {
        bytes->slots[at].page = pl_new(bytes->seams, sizeof(struct pl_disk_page));
        result = bytes->slots[at].page ? 0 : -ENOMEM;
    }
    return result;
}

static void charge(struct pl_disk_bytes *bytes, size_t at, bool charged)
{
    bytes->charged += charged;
    bytes->charged -= bytes->slots[at].charged;
    bytes->slots[at].charged = charged;
}

static void keep_sector(struct pl_disk_page *page, unsigned sector)
{
    size_t at = (size_t)sector * PL_DISK_SECTOR;
    memcpy(page->kept + at, page->now + at, PL_DISK_SECTOR);
}

static void forget_sector(struct pl_disk_page *page, unsigned sector)
{
    size_t at = (size_t)sector * PL_DISK_SECTOR;
    memcpy(page->now + at, page->kept + at, PL_DISK_SECTOR);
}

// To be called before bytes [from, to) of a page change.
static void touch(struct pl_disk_bytes *bytes, size_t at, size_t from, size_t to)
{
    struct pl_disk_page *page = bytes->slots[at].page;
    uint8_t touched = sectors_of(from, to);
    for (unsigned sector = 0; sector < SECTORS; sector++) {
        if (page->dirty & touched & 1U << sector &&
            pl_disk_draw(bytes->chance, WRITEBACK_ONE_IN) == 0) {
            keep_sector(page, sector);
        }
    }
    page->dirty |= touched;
    page->dropped &= (uint8_t)~touched;
    page->bad &= (uint8_t)~touched;
    if (bytes->dirty_first == bytes->dirty_end) {
        bytes->dirty_first = at;
        bytes->dirty_end = at + 1;
    }
    bytes->dirty_first = at < bytes->dirty_first ? at : bytes->dirty_first;
    bytes->dirty_end = at >= bytes->dirty_end ? at + 1 : bytes->dirty_end;
}

// Gives up the pages behind the end, once the end is kept.
static void trim(struct pl_disk_bytes *bytes)
{
    for (size_t at = pages_of(bytes->size); at < bytes->count; at++) {
        charge(bytes, at, false);
        pl_release(bytes->seams, bytes->slots[at].page);
        bytes->slots[at].page = NULL;
    }
}

void pl_disk_bytes_finish(struct pl_disk_bytes *bytes)
{
    for (size_t at = 0; at < bytes->count; at++) {
        pl_release(bytes->seams, bytes->slots[at].page);
    }
    pl_release(bytes->seams, bytes->slots);
    bytes->slots = NULL;
    bytes->count = 0;
}

int64_t pl_disk_bytes_read(const struct pl_disk_bytes *bytes, void *out, size_t size,
                           uint64_t offset)
{
    size_t total = offset < bytes->size ? (size_t)least(size, bytes->size - offset) : 0;
    unsigned char *next = out;
    for (size_t left = total; left > 0;) {
        size_t at = (size_t)(offset / PL_DISK_PAGE);
        size_t from = offset % PL_DISK_PAGE;
        size_t piece = (size_t)least(left, PL_DISK_PAGE - from);
        const struct pl_disk_page *page = at < bytes->count ? bytes->slots[at].page : NULL;
        if (!page) {
            memset(next, 0, piece);
        } else if (page->bad & sectors_of(from, from + piece)) {
            return -EIO;
        } else {
            memcpy(next, page->now + from, piece);
        }
        next += piece;
        offset += piece;
        left -= piece;
    }
    return (int64_t)total;
}

// Makes page `at` writable, with room for it; `*room` counts down.
static int prepare(struct pl_disk_bytes *bytes, size_t at, uint64_t *room)
{
    bool charged = at < bytes->count && bytes->slots[at].charged;
    if (!charged && *room == 0) {
        return -ENOSPC;
    }
    int result = need_page(bytes, at);
    if (result) {
        return result;
    }
    *room -= !charged;
    charge(bytes, at, true);
    return 0;
}

int64_t pl_disk_bytes_write(struct pl_disk_bytes *bytes, const void *from, size_t size,
                            uint64_t offset, uint64_t room)
{
    if (size > PL_DISK_FILE_MAX || offset > PL_DISK_FILE_MAX - size) {
        return -EFBIG;
    }
    const unsigned char *next = from;
    int result = 0;
    size_t done = 0;
    while (done < size) {
        size_t at = (size_t)((offset + done) / PL_DISK_PAGE);
        size_t start = (offset + done) % PL_DISK_PAGE;
        size_t piece = (size_t)least(size - done, PL_DISK_PAGE - start);
        result = prepare(bytes, at, &room);
        if (result) {
            break;
        }
        touch(bytes, at, start, start + piece);
        memcpy(bytes->slots[at].page->now + start, next + done, piece);
        done += piece;
    }
    if (done > 0 && offset + done > bytes->size) {
        bytes->size = offset + done;
    }
    return done > 0 ? (int64_t)done : result;
}

int pl_disk_bytes_truncate(struct pl_disk_bytes *bytes, uint64_t size)
{
    if (size > PL_DISK_FILE_MAX) {
        return -EFBIG;
    }
    for (size_t at = (size_t)(size / PL_DISK_PAGE); at < bytes->count; at++) {
        size_t from = at == size / PL_DISK_PAGE ? size % PL_DISK_PAGE : 0;
        struct pl_disk_page *page = bytes->slots[at].page;
        if (page) {
            touch(bytes, at, from, PL_DISK_PAGE);
            memset(page->now + from, 0, PL_DISK_PAGE - from);
        }
        if (from == 0) {
            charge(bytes, at, false);
        }
    }
    bytes->size = size;
    return 0;
}

int pl_disk_bytes_allocate(struct pl_disk_bytes *bytes, uint64_t size, uint64_t room)
{
    if (size > PL_DISK_FILE_MAX) {
        return -EFBIG;
    }
    size_t pages = pages_of(size);
    int result = need_slots(bytes, pages);
    for (size_t at = 0; at < pages && result == 0; at++) {
        if (!bytes->slots[at].charged) {
            result = room == 0 ? -ENOSPC : 0;
            room -= room > 0;
            charge(bytes, at, result == 0);
        }
    }
    if (result == 0 && size > bytes->size) {
        bytes->size = size;
    }
    return result;
}

void pl_disk_bytes_sync(struct pl_disk_bytes *bytes)
{
    for (size_t at = bytes->dirty_first; at < bytes->dirty_end; at++) {
        struct pl_disk_page *page = bytes->slots[at].page;
        for (unsigned sector = 0; page && sector < SECTORS; sector++) {
            if (page->dirty & 1U << sector) {
                keep_sector(page, sector);
            }
        }
        if (page) {
            page->dirty = 0;
        }
    }
    bytes->dirty_first = 0;
    bytes->dirty_end = 0;
    bytes->kept_size = bytes->size;
    trim(bytes);
}

static void drop_page(struct pl_disk_bytes *bytes, struct pl_disk_page *page)
{
    bool forgets = coin(bytes);
    for (unsigned sector = 0; sector < SECTORS; sector++) {
        if (!(page->dirty & 1U << sector)) {
            continue;
        }
        if (coin(bytes)) {
            keep_sector(page, sector);
        } else if (forgets) {
            forget_sector(page, sector);
        } else {
            page->dropped |= (uint8_t)(1U << sector);
        }
    }
    page->dirty = 0;
}

void pl_disk_bytes_drop(struct pl_disk_bytes *bytes)
{
    for (size_t at = bytes->dirty_first; at < bytes->dirty_end; at++) {
        if (bytes->slots[at].page) {
            drop_page(bytes, bytes->slots[at].page);
        }
    }
    bytes->dirty_first = 0;
    bytes->dirty_end = 0;
}

// Which of the dirty sectors survive: none, all, or each by chance.
enum survival { NOTHING, EVERYTHING, ANY };

static enum survival draw_survival(struct pl_disk_bytes *bytes)
{
    uint64_t draw = pl_disk_draw(bytes->chance, 4);
    return draw < ANY ? (enum survival)draw : ANY;
}

static void crash_page(struct pl_disk_bytes *bytes, struct pl_disk_page *page, enum survival some)
{
    for (unsigned sector = 0; sector < SECTORS; sector++) {
        unsigned bit = 1U << sector;
        bool survives = some == EVERYTHING || (some == ANY && coin(bytes));
        if (page->dirty & bit && survives) {
            keep_sector(page, sector);
        } else if ((page->dirty | page->dropped) & bit) {
            forget_sector(page, sector);
        }
    }
    page->dirty = 0;
    page->dropped = 0;
}

// One of the two sizes, or one between them.
static uint64_t crash_size(struct pl_disk_bytes *bytes)
{
    uint64_t low = least(bytes->size, bytes->kept_size);
    uint64_t high = bytes->size + bytes->kept_size - low;
    switch (pl_disk_draw(bytes->chance, 3)) {
    case 0:
        return bytes->kept_size;
    case 1:
        return bytes->size;
    default:
        return low + pl_disk_draw(bytes->chance, high - low + 1);
    }
}

void pl_disk_bytes_crash(struct pl_disk_bytes *bytes)
{
    enum survival all = draw_survival(bytes);
    for (size_t at = 0; at < bytes->count; at++) {
        struct pl_disk_page *page = bytes->slots[at].page;
        if (page && (page->dirty | page->dropped)) {
            crash_page(bytes, page, all == ANY ? draw_survival(bytes) : all);
        }
    }
    bytes->size = crash_size(bytes);
    bytes->kept_size = bytes->size;
    bytes->dirty_first = 0;
    bytes->dirty_end = 0;

    // Nothing is behind the end, on the disk either.
    size_t last = (size_t)(bytes->size / PL_DISK_PAGE);
    size_t from = bytes->size % PL_DISK_PAGE;
    if (last < bytes->count && bytes->slots[last].page) {
        memset(bytes->slots[last].page->now + from, 0, PL_DISK_PAGE - from);
        memset(bytes->slots[last].page->kept + from, 0, PL_DISK_PAGE - from);
    }
    trim(bytes);
    for (size_t at = 0; at < bytes->count; at++) {
        charge(bytes, at, bytes->slots[at].charged || bytes->slots[at].page);
    }
}

void pl_disk_bytes_flip(struct pl_disk_bytes *bytes, uint64_t bit)
{
    uint64_t offset = bit / 8;
    size_t at = (size_t)(offset / PL_DISK_PAGE);
    if (offset < bytes->size && need_page(bytes, at) == 0) {
        struct pl_disk_page *page = bytes->slots[at].page;
        page->now[offset % PL_DISK_PAGE] ^= (unsigned char)(1U << bit % 8);
        page->kept[offset % PL_DISK_PAGE] ^= (unsigned char)(1U << bit % 8);
    }
}

int pl_disk_bytes_spoil(struct pl_disk_bytes *bytes, uint64_t offset, uint64_t size)
{
    uint64_t end = offset < bytes->size ? offset + least(size, bytes->size - offset) : offset;
    while (offset < end) {
        size_t at = (size_t)(offset / PL_DISK_PAGE);
        size_t from = offset % PL_DISK_PAGE;
        size_t piece = (size_t)least(end - offset, PL_DISK_PAGE - from);
        int result = need_page(bytes, at);
        if (result) {
            return result;
        }
        bytes->slots[at].page->bad |= sectors_of(from, from + piece);
        offset += piece;
    }
    return 0;
}
