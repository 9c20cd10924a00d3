// SPDX-License-Identifier: MIT
//
// The list of indexes: a sorted array of ranges that do not meet.
//
// The names of the files say what they cover, so that opening a catalog reads a directory and
// nothing else. A file is opened when it is first asked for, and closed when too many are open. If
// it is damaged, or of another log, it goes: what it said can be had from the events.
//
// What must stay true: no index is about events that a crash has taken away and whose positions are
// given again. So those that reach behind the end of the log go, durably, before anything is
// written; and each says when its last event was recorded, which is compared when it is opened.
#include "log/catalog_inside.h"

#include "base/error.h"
#include "base/plant.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DIGITS ((size_t)20)

void pl_catalog_path(const struct pl_catalog *catalog, uint64_t first, uint64_t end,
                     char out[PL_CATALOG_PATH])
{
    (void)snprintf(out, PL_CATALOG_PATH, "%s/%020" PRIu64 "-%020" PRIu64 ".idx", catalog->path,
                   first, end - 1); // the path was measured when the catalog was opened
}

// ---- names --------------------------------------------------------------------------------------

static bool parse_number(const char *text, uint64_t *out)
{
    uint64_t number = 0;
    for (size_t i = 0; i < DIGITS; i++) {
        unsigned digit = (unsigned)text[i] - '0';
        if (digit > 9 || number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *out = number;
    return true;
}

bool pl_catalog_parse(const char *name, uint64_t *first, uint64_t *end)
{
    if (strlen(name) != 2 * DIGITS + 5 || name[DIGITS] != '-' ||
        strcmp(name + 2 * DIGITS + 1, ".idx") != 0 || !parse_number(name, first) ||
        !parse_number(name + DIGITS + 1, end) || *end == UINT64_MAX) {
        return false;
    }
    ++*end;
    return *first > 0 && *first < *end && *end - *first <= PL_CATALOG_SPAN;
}

// ---- the list -----------------------------------------------------------------------------------

// The first range that ends behind a position. With the lock.
static size_t range_at(const struct pl_catalog *catalog, uint64_t position)
{
    size_t low = 0, high = catalog->count; // the answer lies in low..high
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (catalog->ranges[middle].end > position) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static bool make_room(struct pl_catalog *catalog)
{
    if (catalog->count < catalog->capacity) {
        return true;
    }
    size_t capacity = catalog->capacity ? catalog->capacity * 2 : 16;
    struct pl_range *grown =
        pl_resize(catalog->config.seams, catalog->ranges, capacity * sizeof *grown);
    if (!grown) {
        return false;
    }
    catalog->ranges = grown;
    catalog->capacity = capacity;
    return true;
}

enum peal_err pl_catalog_add(struct pl_catalog *catalog, uint64_t first, uint64_t end,
                             struct pl_index *index, bool is_tail)
{
    pl_mutex_lock(&catalog->lock, catalog->config.seams);
    size_t at = range_at(catalog, first);
    bool meets = at < catalog->count && catalog->ranges[at].first < end;
    bool room = make_room(catalog);
    if (room && !meets) {
        memmove(&catalog->ranges[at + 1], &catalog->ranges[at],
                (catalog->count - at) * sizeof catalog->ranges[0]);
        catalog->ranges[at] =
            (struct pl_range){ .first = first, .end = end, .index = index, .is_tail = is_tail };
        catalog->count++;
        if (index) {
            pl_index_ref(index);
        }
    }
    pl_mutex_unlock(&catalog->lock, catalog->config.seams);
    return room ? PEAL_OK : pl_fail(PEAL_ENOMEM, "no memory for the list of indexes");
}

struct pl_index *pl_catalog_take_out(struct pl_catalog *catalog, size_t at)
{
    struct pl_range *range = &catalog->ranges[at];
    struct pl_index *index = range->index;
    catalog->open_count -= index && !range->is_tail;
    memmove(range, range + 1, (catalog->count - at - 1) * sizeof *range);
    catalog->count--;
    return index;
}

void pl_catalog_replace(struct pl_catalog *catalog, uint64_t first, uint64_t end,
                        struct pl_index *index)
{
    struct pl_index *old = NULL;
    pl_mutex_lock(&catalog->lock, catalog->config.seams);
    size_t at = range_at(catalog, first);
    if (at < catalog->count && catalog->ranges[at].is_tail && catalog->ranges[at].first == first) {
        struct pl_range *range = &catalog->ranges[at];
        old = range->index;
        if (index) {
            *range = (struct pl_range){ .first = first, .end = end, .index = index };
            range->asked = ++catalog->asks;
            catalog->open_count++;
            pl_index_ref(index);
        } else {
            (void)pl_catalog_take_out(catalog, at); // `old`
        }
    }
    pl_mutex_unlock(&catalog->lock, catalog->config.seams);
    pl_index_unref(old);
}

void pl_catalog_drop(struct pl_catalog *catalog, uint64_t first, uint64_t end)
{
    struct pl_index *index = NULL;
    pl_mutex_lock(&catalog->lock, catalog->config.seams);
    size_t at = range_at(catalog, first);
    if (at < catalog->count && catalog->ranges[at].first == first &&
        catalog->ranges[at].end == end && !catalog->ranges[at].is_tail) {
        index = pl_catalog_take_out(catalog, at);
    }
    pl_mutex_unlock(&catalog->lock, catalog->config.seams);
    pl_index_unref(index);
}

void pl_catalog_put_away(struct pl_catalog *catalog, const struct pl_index *index)
{
    struct pl_range range = { 0 };
    struct pl_index *old = NULL;
    pl_mutex_lock(&catalog->lock, catalog->config.seams);
    for (size_t i = 0; i < catalog->count; i++) {
        if (catalog->ranges[i].index == index && !catalog->ranges[i].is_tail) {
            range = catalog->ranges[i];
            old = pl_catalog_take_out(catalog, i);
            break;
        }
    }
    pl_mutex_unlock(&catalog->lock, catalog->config.seams);
    if (!old) {
        return; // somebody else has, or it is the tail
    }
    pl_index_unref(old);
    if (!catalog->config.read_only) {
        const struct pl_files *files = catalog->config.files;
        char path[PL_CATALOG_PATH];
        pl_catalog_path(catalog, range.first, range.end, path);
        (void)files->unlink(files->world, path); // one that stays is found damaged again
    }
}

// ---- opening indexes ----------------------------------------------------------------------------

// Closes the one that was not asked for longest, if too many are open. With the lock; the reference
// is the caller's to drop.
static struct pl_index *close_one(struct pl_catalog *catalog)
{
    if (catalog->open_count <= PL_CATALOG_OPEN_MAX) {
        return NULL;
    }
    struct pl_range *oldest = NULL;
    for (size_t i = 0; i < catalog->count; i++) {
        struct pl_range *range = &catalog->ranges[i];
        if (range->index && !range->is_tail && (!oldest || range->asked < oldest->asked)) {
            oldest = range;
        }
    }
    struct pl_index *index = oldest ? oldest->index : NULL;
    if (oldest) {
        oldest->index = NULL;
        catalog->open_count--;
    }
    return index;
}

// Was its last event recorded when the index says so, and is there none behind it in the range?
// PEAL_ECORRUPT: no, or it is gone.
static enum peal_err check_last(struct pl_catalog *catalog, const struct pl_range *range,
                                const struct pl_index *index)
{
    if (PL_PLANTED(TRUSTED_RANGE)) {
        return PEAL_OK;
    }
    struct pl_index_facts facts;
    pl_index_facts(index, &facts);
    struct pl_cursor place = { 0 };
    const struct pl_frame *frame = pl_cursor_pick(&place, catalog->config.log, facts.end - 1);
    bool same = frame ? (uint64_t)frame->recorded == facts.bytes
                      : facts.bytes == PL_CATALOG_LAST_DAMAGED && !place.err && !place.was_erased;
    same = same && facts.end <= range->end;
    if (same && facts.end < range->end) { // what was behind it was damaged
        frame = pl_cursor_seek(&place, catalog->config.log, facts.end);
        same = !place.err && (!frame || frame->position >= range->end);
    }
    enum peal_err err = same ? PEAL_OK : place.err ? place.err : PEAL_ECORRUPT;
    pl_cursor_rest(&place);
    return err;
}

// Opens the index of a range, for the list and for the caller.
static enum peal_err open_range(struct pl_catalog *catalog, const struct pl_range *wanted,
                                struct pl_index **out)
{
    char path[PL_CATALOG_PATH];
    pl_catalog_path(catalog, wanted->first, wanted->end, path);
    struct pl_index_source source = { .base = wanted->first }; // the last events may be damaged
    memcpy(source.seed, catalog->config.seed, sizeof source.seed);
    struct pl_index *index = NULL;
    enum peal_err err =
        pl_index_open(&index, catalog->config.seams, catalog->config.files, path, &source);
    if (!err) {
        err = check_last(catalog, wanted, index);
        if (err) {
            pl_index_unref(index);
            index = NULL;
        }
    }
    if (err && err != PEAL_ECORRUPT && err != PEAL_EUNSUPPORTED) {
        return err;
    }
    struct pl_index *closed = NULL;
    pl_mutex_lock(&catalog->lock, catalog->config.seams);
    size_t at = range_at(catalog, wanted->first);
    bool there = at < catalog->count && catalog->ranges[at].first == wanted->first &&
                 catalog->ranges[at].end == wanted->end && !catalog->ranges[at].is_tail;
    if (there && err) {
        closed = pl_catalog_take_out(catalog, at); // of no use: what it covered is looked through
    } else if (there && !catalog->ranges[at].index) {
        catalog->ranges[at].index = index;
        catalog->ranges[at].asked = ++catalog->asks;
        catalog->open_count++;
        pl_index_ref(index);
        closed = close_one(catalog);
    }
    pl_mutex_unlock(&catalog->lock, catalog->config.seams);
    pl_index_unref(closed);
    if (err == PEAL_ECORRUPT && there && !catalog->config.read_only) {
        (void)catalog->config.files->unlink(catalog->config.files->world, path); // as above
    }
    *out = index;
    return PEAL_OK;
}

// Where what is known of a range ends: a tail's knowledge ends where it has got to.
static uint64_t known_end(const struct pl_catalog *catalog, const struct pl_range *range)
{
    if (!range->is_tail) {
        return range->end;
    }
    // Acquire: what is below is in the tail.
    return atomic_load_explicit(&catalog->tail_next, memory_order_acquire);
}

// Cuts [*first, *end) to the part around the position that `at` covers, or that nothing does. With
// the lock. True: it is covered.
static bool cut(const struct pl_catalog *catalog, size_t at, uint64_t position, uint64_t *first,
                uint64_t *end)
{
    uint64_t low = at > 0 ? catalog->ranges[at - 1].end : 0;
    uint64_t high = at < catalog->count ? catalog->ranges[at].first : UINT64_MAX;
    bool covered = false;
    if (high <= position) { // it is in the range
        uint64_t known = known_end(catalog, &catalog->ranges[at]);
        covered = position < known;
        low = covered ? high : known;
        high = covered ? known : catalog->ranges[at].end;
    }
    *first = low > *first ? low : *first;
    *end = high < *end ? high : *end;
    return covered;
}

enum peal_err pl_catalog_find(struct pl_catalog *catalog, uint64_t position,
                              struct pl_index **out_index, uint64_t *first, uint64_t *end)
{
    struct pl_index *index = NULL;
    struct pl_range range = { 0 };
    pl_mutex_lock(&catalog->lock, catalog->config.seams);
    size_t at = range_at(catalog, position);
    bool covered = cut(catalog, at, position, first, end);
    if (covered) {
        catalog->ranges[at].asked = ++catalog->asks;
        range = catalog->ranges[at];
        index = range.index;
        if (index) {
            pl_index_ref(index);
        }
    }
    pl_mutex_unlock(&catalog->lock, catalog->config.seams);
    if (covered && !index) {
        enum peal_err err = open_range(catalog, &range, &index);
        if (err) {
            return err;
        }
    }
    *out_index = index;
    return PEAL_OK;
}

// So many ranges ahead, what will be looked at is asked for.
#define AHEAD 8

// With the lock.
static void hint(const struct pl_catalog *catalog, size_t at, const struct pl_sought *wanted)
{
    if (at < catalog->count && catalog->ranges[at].index) {
        pl_index_hint(catalog->ranges[at].index, wanted->key, wanted->hash);
    }
}

// With the lock.
static bool lacks(struct pl_catalog *catalog, size_t at, const struct pl_sought *wanted)
{
    struct pl_range *range = &catalog->ranges[at];
    bool none =
        range->index && !range->is_tail && pl_index_lacks(range->index, wanted->key, wanted->hash);
    if (none) {
        range->asked = ++catalog->asks;
    }
    return none;
}

void pl_catalog_pass(struct pl_catalog *catalog, const struct pl_sought *wanted, uint64_t *first,
                     uint64_t *end)
{
    const bool backwards = wanted->backwards;
    const size_t step = backwards ? SIZE_MAX : 1; // wraps below the first range, and is no range
    pl_mutex_lock(&catalog->lock, catalog->config.seams);
    size_t at = range_at(catalog, backwards ? *end - 1 : *first);
    for (size_t i = 0; i < AHEAD; i++) {
        hint(catalog, at + i * step, wanted);
    }
    for (; *first < *end && at < catalog->count; at += step) {
        const struct pl_range *range = &catalog->ranges[at];
        bool next = backwards ? range->first < *end && range->end >= *end
                              : range->first <= *first && range->end > *first;
        hint(catalog, at + AHEAD * step, wanted);
        if (!next || !lacks(catalog, at, wanted)) {
            break;
        }
        *first = backwards ? *first : range->end;
        *end = backwards ? range->first : *end;
    }
    pl_mutex_unlock(&catalog->lock, catalog->config.seams);
}

uint64_t pl_catalog_gap(struct pl_catalog *catalog, uint64_t from, uint64_t *out_end)
{
    uint64_t first = catalog->config.log->past.first(catalog->config.log->past.context);
    uint64_t position = from > first ? from : first;
    *out_end = UINT64_MAX;
    pl_mutex_lock(&catalog->lock, catalog->config.seams);
    for (size_t i = range_at(catalog, position); i < catalog->count; i++) {
        if (catalog->ranges[i].first > position) {
            *out_end = catalog->ranges[i].first;
            break;
        }
        position = catalog->ranges[i].end;
    }
    pl_mutex_unlock(&catalog->lock, catalog->config.seams);
    return position;
}

// ---- opening and closing ------------------------------------------------------------------------

static int meet_name(void *context, const char *name)
{
    struct pl_catalog *catalog = context;
    uint64_t first, end;
    if (!pl_catalog_parse(name, &first, &end)) {
        return 0;
    }
    return pl_catalog_add(catalog, first, end, NULL, false) ? -ENOMEM : 0;
}

// Removes those that are about events that are no longer there: forgotten, or taken by a crash.
static enum peal_err clear_away(struct pl_catalog *catalog)
{
    const struct pl_files *files = catalog->config.files;
    uint64_t first = catalog->config.log->past.first(catalog->config.log->past.context);
    int result = 0;
    bool cleared = false;
    for (size_t i = catalog->count; i-- > 0 && result == 0;) {
        struct pl_range range = catalog->ranges[i];
        if (range.end <= catalog->config.end && range.end > first) {
            continue;
        }
        (void)pl_catalog_take_out(catalog, i); // it is not open
        if (!catalog->config.read_only) {
            char path[PL_CATALOG_PATH];
            pl_catalog_path(catalog, range.first, range.end, path);
            result = files->unlink(files->world, path);
            cleared = true;
        }
    }
    if (cleared && result == 0) {
        result = files->sync_directory(files->world, catalog->path);
    }
    return result ? pl_fail(PEAL_EIO, "%s: cannot remove an index that is out of date: %s",
                            catalog->path, pl_files_text(result))
                  : PEAL_OK;
}

void pl_catalog_forget(struct pl_catalog *catalog, uint64_t first)
{
    const struct pl_files *files = catalog->config.files;
    for (;;) {
        struct pl_range range = { 0 };
        struct pl_index *index = NULL;
        pl_mutex_lock(&catalog->lock, catalog->config.seams);
        if (catalog->count > 0 && !catalog->ranges[0].is_tail && catalog->ranges[0].end <= first) {
            range = catalog->ranges[0];
            index = pl_catalog_take_out(catalog, 0);
        }
        pl_mutex_unlock(&catalog->lock, catalog->config.seams);
        if (!range.end) {
            return;
        }
        pl_index_unref(index);
        char path[PL_CATALOG_PATH];
        pl_catalog_path(catalog, range.first, range.end, path);
        (void)files->unlink(files->world, path); // as said
    }
}

static enum peal_err list(struct pl_catalog *catalog)
{
    const struct pl_files *files = catalog->config.files;
    int result = files->list(files->world, catalog->path, meet_name, catalog);
    if (result == -ENOMEM) {
        return pl_fail(PEAL_ENOMEM, "no memory for the list of indexes");
    }
    return result ? pl_fail(PEAL_EIO, "%s: cannot list the directory: %s", catalog->path,
                            pl_files_text(result))
                  : PEAL_OK;
}

enum peal_err pl_catalog_open(struct pl_catalog **out, const struct pl_catalog_config *config)
{
    const struct pl_seams *seams = config->seams;
    size_t length = strlen(config->path);
    if (length + 2 * DIGITS + 16 > PL_CATALOG_PATH) {
        return pl_fail(PEAL_ELIMIT, "%.64s...: the path is too long", config->path);
    }
    struct pl_catalog *catalog = pl_new(seams, sizeof *catalog);
    char *path = pl_copy_bytes(seams, config->path, length);
    if (!catalog || !path) {
        pl_release(seams, catalog);
        pl_release(seams, path);
        return pl_fail(PEAL_ENOMEM, "no memory for a list of indexes");
    }
    catalog->config = *config;
    catalog->path = path;
    catalog->config.path = path;
    catalog->without_thread = config->read_only;
    atomic_init(&catalog->written, config->end);
    enum peal_err err = list(catalog);
    err = err ? err : clear_away(catalog);
    if (err) {
        pl_catalog_close(catalog);
        return err;
    }
    uint64_t end;
    atomic_init(&catalog->tail_next, pl_catalog_gap(catalog, 0, &end));
    *out = catalog;
    return PEAL_OK;
}

// What the tail does not know yet, if that is little: the index that is made of it reaches to the
// end of the log then, and whoever opens the log next finds nothing to read before he can look
// something up. Of what has no tail there will be no index.
static void catch_up(struct pl_catalog *catalog)
{
    bool more;
    pl_mutex_lock(&catalog->indexing, catalog->config.seams);
    if (catalog->tail && !catalog->config.read_only) {
        pl_indexer_work(catalog, PL_CATALOG_LAG, &more);
    }
    pl_mutex_unlock(&catalog->indexing, catalog->config.seams);
}

void pl_catalog_close(struct pl_catalog *catalog)
{
    if (!catalog) {
        return;
    }
    const struct pl_seams *seams = catalog->config.seams;
    catch_up(catalog);
    pl_indexer_stop(catalog);
    for (size_t i = 0; i < catalog->count; i++) {
        pl_index_unref(catalog->ranges[i].index);
    }
    pl_release(seams, catalog->ranges);
    pl_release(seams, catalog->path);
    pl_release(seams, catalog);
}
