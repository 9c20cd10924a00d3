// SPDX-License-Identifier: MIT
//
// The list of segment files, oldest first.
//
// What must stay true: the list and its numbers change under store->lock only; a source stays as
// long as the store, so that readers may borrow it.
#include "log/internal.h"

#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_DIGITS 20

// ---- names --------------------------------------------------------------------------------------

const char *pl_volume_rest(const char *name, uint64_t *out_base)
{
    uint64_t base = 0;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return NULL;
        }
        uint64_t digit = (uint64_t)(name[i] - '0');
        if (base > (UINT64_MAX - digit) / 10) {
            return NULL;
        }
        base = base * 10 + digit;
    }
    if (base == 0) {
        return NULL;
    }
    *out_base = base;
    return name + NAME_DIGITS;
}

bool pl_volume_parse(const char *name, uint64_t *out_base)
{
    uint64_t base = 0;
    const char *rest = pl_volume_rest(name, &base);
    if (!rest || (strcmp(rest, ".seg") != 0 && strcmp(rest, ".seg.zst") != 0)) {
        return false;
    }
    *out_base = base;
    return true;
}

void pl_volume_path(const struct pl_store *store, uint64_t base, char out[PL_STORE_PATH])
{
    // The store's path was checked to leave room.
    (void)snprintf(out, PL_STORE_PATH, "%s/%020" PRIu64 ".seg", store->path, base);
}

static enum peal_err say_not_open(const char *path, int result)
{
    switch (result) {
    case -ENOMEM:
        return pl_fail(PEAL_ENOMEM, "%s: no memory to open its archive", path);
    case -EOPNOTSUPP:
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s.zst: is archived, and this Peal was built without zstd or is too old to "
                       "read it: use another, or unpack it with zstd -d --rm",
                       path);
    case -ETXTBSY:
        return pl_fail(PEAL_EIO,
                       "%s.zst: is archived, and the files that followed it are gone: bring them "
                       "back, or unpack it with zstd -d --rm to go on behind it",
                       path);
    default:
        return pl_store_say(path, "open it", result);
    }
}

enum peal_err pl_volume_open(const struct pl_store *store, uint64_t base, enum pl_file_mode mode,
                             struct pl_file *out)
{
    char path[PL_STORE_PATH];
    pl_volume_path(store, base, path);
    int result = store->files->open(store->files->world, out, path, mode);
    return result ? say_not_open(path, result) : PEAL_OK;
}

// ---- the list -----------------------------------------------------------------------------------

enum peal_err pl_volume_reserve(struct pl_store *store)
{
    pl_mutex_lock(&store->lock, store->seams);
    bool full = store->volume_count == store->volume_capacity;
    pl_mutex_unlock(&store->lock, store->seams);
    if (!full) {
        return PEAL_OK;
    }
    size_t capacity = store->volume_capacity ? store->volume_capacity * 2 : 16;
    struct pl_volume *grown = pl_alloc(store->seams, capacity * sizeof *grown);
    if (!grown) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory for the list of segment files", store->path);
    }
    pl_mutex_lock(&store->lock, store->seams);
    struct pl_volume *old = store->volumes;
    for (size_t i = 0; i < store->volume_count; i++) {
        grown[i] = old[i];
    }
    store->volumes = grown;
    store->volume_capacity = capacity;
    pl_mutex_unlock(&store->lock, store->seams);
    pl_release(store->seams, old);
    return PEAL_OK;
}

// The one copy of a source; NULL without memory. One thread at a time.
static const char *keep_source(struct pl_store *store, const char *text)
{
    struct pl_source *source = store->sources;
    while (source && strcmp(source->text, text) != 0) {
        source = source->next;
    }
    if (source) {
        return source->text;
    }
    source = pl_alloc(store->seams, sizeof *source + strlen(text) + 1);
    if (!source) {
        return NULL;
    }
    memcpy(source->text, text, strlen(text) + 1);
    source->next = store->sources;
    store->sources = source;
    return source->text;
}

enum peal_err pl_volume_add(struct pl_store *store, uint64_t base, const char *source)
{
    enum peal_err err = pl_volume_reserve(store);
    const char *kept = NULL;
    if (!err && source && strcmp(source, store->source) != 0) {
        kept = keep_source(store, source);
        err =
            kept ? PEAL_OK : pl_fail(PEAL_ENOMEM, "%s: no memory for a segment file", store->path);
    }
    if (err) {
        return err;
    }
    pl_mutex_lock(&store->lock, store->seams);
    store->volumes[store->volume_count++] =
        (struct pl_volume){ .base = base, .end = base, .source = kept };
    pl_mutex_unlock(&store->lock, store->seams);
    return PEAL_OK;
}

void pl_volume_drop_last(struct pl_store *store)
{
    pl_mutex_lock(&store->lock, store->seams);
    assert(store->volume_count > 0);
    pl_guide_unref(store->volumes[--store->volume_count].guide);
    pl_mutex_unlock(&store->lock, store->seams);
}

uint64_t pl_volume_given_up(const struct pl_store *store, size_t index)
{
    for (size_t i = index + 1; i < store->volume_count && i <= index + 2; i++) {
        if (store->volumes[i].after_failure) {
            return store->volumes[i].durable;
        }
    }
    return UINT64_MAX;
}

void pl_store_given_up(struct pl_store *store, uint64_t from, uint64_t *out_first,
                       uint64_t *out_end)
{
    *out_first = *out_end = UINT64_MAX;
    pl_mutex_lock(&store->lock, store->seams);
    // From the end: who asks has come near to it.
    for (size_t i = store->volume_count; i-- > 1 && store->volumes[i].base > from;) {
        if (store->volumes[i - 1].end < store->volumes[i].base) {
            *out_first = store->volumes[i - 1].end;
            *out_end = store->volumes[i].base;
        }
    }
    pl_mutex_unlock(&store->lock, store->seams);
}

bool pl_volume_is_last(struct pl_store *store, uint64_t base)
{
    pl_mutex_lock(&store->lock, store->seams);
    size_t count = store->volume_count;
    bool last = count > 0 && store->volumes[count - 1].base == base;
    pl_mutex_unlock(&store->lock, store->seams);
    return last;
}

void pl_volume_end_last(struct pl_store *store, uint64_t end)
{
    pl_mutex_lock(&store->lock, store->seams);
    if (store->volume_count > 0) {
        store->volumes[store->volume_count - 1].end = end;
    }
    pl_mutex_unlock(&store->lock, store->seams);
}

void pl_volumes_finish(struct pl_store *store)
{
    for (size_t i = 0; i < store->volume_count; i++) {
        pl_guide_unref(store->volumes[i].guide);
    }
    while (store->sources) {
        struct pl_source *source = store->sources;
        store->sources = source->next;
        pl_release(store->seams, source);
    }
    pl_release(store->seams, store->volumes);
    store->volumes = NULL;
    store->volume_count = 0;
}
