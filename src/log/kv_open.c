// SPDX-License-Identifier: MIT
//
// Opening: the newest state file that can be read, and what of it counts.
//
//     newest ──► closed cleanly: it ends with a note, and nothing is damaged ──► goes on in it
//        │   └─► anything else ──► what counts of it becomes the next generation, synced as a whole
//        └─ neither its header nor a record is whole ──► the one before it, if it is still there
//
// So a file is never repaired: until the next one has its name it is as the crash left it, and a
// crash while recovering changes nothing. The note that a clean file ends with is written once
// more: its sync may have failed in an earlier life, and that would not be told again.
//
// A file in which something is damaged is kept under another name, for who wants to look at it.
//
// What must stay true: a generation is never used twice; an older file goes only when the newer
// one's name is synced.
#include "log/kv_internal.h"

#include "base/error.h"
#include "base/plant.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_DIGITS 20

// A reader finds the newest file replaced under its eyes, at most so often.
#define LOOKS_MAX 16

// ---- which files there are ----------------------------------------------------------------------

bool pl_kv_parse_name(const char *name, uint64_t *out)
{
    static const char before[] = "state-";
    uint64_t generation = 0;
    if (strncmp(name, before, sizeof before - 1) != 0) {
        return false;
    }
    name += sizeof before - 1;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(name[i] - '0');
        if (generation > (UINT64_MAX - digit) / 10) {
            return false;
        }
        generation = generation * 10 + digit;
    }
    *out = generation;
    return strcmp(name + NAME_DIGITS, ".kv") == 0 && generation > 0 && generation < UINT64_MAX;
}

// The newest below a bound; 0: there is none.
struct newest {
    uint64_t below, generation;
};

static int meet_name(void *context, const char *name)
{
    struct newest *newest = context;
    uint64_t generation;
    if (pl_kv_parse_name(name, &generation) && generation < newest->below &&
        generation > newest->generation) {
        newest->generation = generation;
    }
    return 0;
}

static enum peal_err find_newest(const struct pl_kv *kv, uint64_t below, uint64_t *out)
{
    struct newest newest = { .below = below };
    int result = kv->files->list(kv->files->world, kv->path, meet_name, &newest);
    *out = newest.generation;
    return result ? pl_fail(PEAL_EIO, "%s: cannot list the directory: %s", kv->path,
                            pl_files_text(result))
                  : PEAL_OK;
}

// ---- one file -----------------------------------------------------------------------------------

// A file as it was read.
struct image {
    char path[PL_KV_PATH];
    uint64_t generation;
    char *bytes;
    size_t size;
    bool gone;      // it was replaced before we had it open
    bool no_header; // neither of its halves is whole
    uint64_t first; // records it had when it got its name, but for a note
    struct pl_kv_scan scan;
};

static enum peal_err say(const struct image *image, const char *what, int64_t result)
{
    return pl_fail(PEAL_EIO, "%s: cannot %s: %s", image->path, what, pl_files_text(result));
}

static enum peal_err read_bytes(const struct pl_kv *kv, struct image *image, struct pl_file file)
{
    const struct pl_files *files = kv->files;
    int64_t size = files->size(files->world, file);
    if (size < 0) {
        return say(image, "ask its size", size);
    }
    image->bytes = pl_alloc(kv->seams, (size_t)size + 1);
    if (!image->bytes) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to read its %lld bytes", image->path,
                       (long long)size);
    }
    for (int64_t count = 1; count > 0 && image->size < (size_t)size;) {
        count = files->pread(files->world, file, image->bytes + image->size,
                             (size_t)size - image->size, image->size);
        if (count < 0) {
            return say(image, "read it", count);
        }
        image->size += (size_t)count;
    }
    return PEAL_OK;
}

static enum peal_err read_file(const struct pl_kv *kv, struct image *image)
{
    struct pl_file file = { 0 };
    pl_kv_file_path(kv, image->generation, image->path);
    int result = kv->files->open(kv->files->world, &file, image->path, PL_FILE_READ);
    image->gone = result == -ENOENT;
    if (result) {
        return say(image, "open it", result);
    }
    enum peal_err err = read_bytes(kv, image, file);
    kv->files->close(kv->files->world, &file);
    return err;
}

static enum peal_err read_header(const struct pl_kv *kv, struct image *image)
{
    struct pl_kv_header header;
    enum peal_err err = pl_kv_header_read(&header, image->bytes, image->size, image->path);
    image->no_header = err == PEAL_ECORRUPT;
    if (image->no_header) {
        return PEAL_OK; // whose it is, its records say, too
    }
    if (!err && (memcmp(header.seed, kv->seed, sizeof header.seed) != 0 ||
                 header.generation != image->generation)) {
        return pl_fail(PEAL_ECORRUPT,
                       "%s: belongs to another log, or was renamed; move it away, or give it its "
                       "name back",
                       image->path);
    }
    if (!err) {
        image->first = header.synced;
        image->scan.synced = header.synced;
    }
    return err;
}

static enum peal_err take_change(void *context, const struct pl_kv_change *change)
{
    struct pl_kv *kv = context;
    struct pl_kv_node *node = pl_kv_node_create(&kv->table, change);
    if (!node) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory for the state of subscriptions", kv->path);
    }
    if (change->kind == PL_KV_PUT) {
        pl_kv_node_unref(kv->seams, pl_kv_table_put(&kv->table, node));
        return PEAL_OK;
    }
    pl_kv_node_unref(kv->seams, pl_kv_table_take(&kv->table, node->entry.key));
    pl_kv_node_unref(kv->seams, node);
    return PEAL_OK;
}

// What is in the file goes into the table.
static enum peal_err take_file(struct pl_kv *kv, struct image *image)
{
    enum peal_err err = read_file(kv, image);
    err = err ? err : read_header(kv, image);
    if (err) {
        return err;
    }
    struct pl_kv_scan *scan = &image->scan;
    scan->salt = pl_kv_salt(kv->seed, image->generation);
    if (image->size > PL_KV_HEADER) {
        scan->bytes = image->bytes + PL_KV_HEADER;
        scan->size = image->size - PL_KV_HEADER;
        err = pl_kv_scan_run(scan, take_change, kv);
    }
    return err;
}

// ---- the newest that can be read ----------------------------------------------------------------

static void drop_image(const struct pl_kv *kv, struct image *image)
{
    pl_release(kv->seams, image->bytes);
    *image = (struct image){ .generation = 0 };
}

// Nothing of it is of this log, or of none.
static bool is_hopeless(const struct image *image)
{
    return image->no_header && image->scan.offset == 0;
}

// *out: without a generation, there is no file.
static enum peal_err load_newest(struct pl_kv *kv, struct image *out)
{
    uint64_t below = UINT64_MAX;
    uint64_t hopeless = 0;
    for (unsigned looks = 0;;) {
        enum peal_err err = find_newest(kv, below, &out->generation);
        if (err || out->generation == 0) {
            return err || hopeless == 0 ? err
                                        : pl_fail(PEAL_ECORRUPT,
                                                  "%s: nothing in its state file can be read; "
                                                  "bring it back from a copy, or move it away: "
                                                  "then durable subscriptions begin anew",
                                                  kv->path);
        }
        err = take_file(kv, out);
        if (out->gone && kv->read_only && ++looks < LOOKS_MAX) {
            drop_image(kv, out);
            continue;
        }
        kv->recovery.headers += !err && out->no_header;
        if (err || !is_hopeless(out)) {
            return err;
        }
        hopeless++;
        below = out->generation;
        drop_image(kv, out);
    }
}

// ---- not ahead of the log -----------------------------------------------------------------------

// An entry ahead of the log goes, unless the caller puts it once more.
static enum peal_err judge(struct pl_kv_transaction *transaction, const struct pl_kv_config *config,
                           const struct pl_kv_entry *entry)
{
    enum peal_err err = pl_kv_remove(transaction, entry->key);
    if (!err && config->ahead) {
        err = config->ahead(config->context, transaction, entry, config->log_end);
    }
    return err;
}

static enum peal_err fall_back(struct pl_kv *kv, const struct pl_kv_config *config)
{
    if (PL_PLANTED(CURSOR_AHEAD)) {
        return PEAL_OK;
    }
    struct pl_kv_transaction transaction = { .kv = kv };
    pl_kv_table_init(&transaction.table, kv->seams);
    enum peal_err err = PEAL_OK;
    for (struct pl_kv_node *node = kv->table.head[0]; node && !err; node = node->next[0]) {
        if (node->entry.position >= config->log_end) {
            kv->recovery.ahead++;
            err = judge(&transaction, config, &node->entry);
        }
    }
    if (!err) {
        pl_kv_apply(kv, &transaction);
    }
    pl_kv_table_finish(&transaction.table);
    return err;
}

// ---- going on -----------------------------------------------------------------------------------

// A file in which nothing was written after it got its name may owe it to a rename that was never
// synced; one in which something was does not.
static bool is_clean(const struct pl_kv *kv, const struct image *image)
{
    const struct pl_kv_scan *scan = &image->scan;
    return !image->no_header && kv->recovery.headers == 0 && kv->recovery.ahead == 0 &&
           scan->damaged == 0 && scan->tail == 0 && scan->note < scan->size &&
           scan->number > image->first + 1;
}

// Goes on in the file; its last note is written once more.
static enum peal_err go_on(struct pl_kv *kv, const struct image *image)
{
    const struct pl_files *files = kv->files;
    int result = files->open(files->world, &kv->file, image->path, PL_FILE_WRITE);
    if (result) {
        return say(image, "open it to write", result);
    }
    kv->offset = PL_KV_HEADER + image->scan.note;
    kv->number = image->scan.number - 1;
    kv->salt = image->scan.salt;
    result = pl_kv_write_note(kv);
    if (result) {
        return say(image, "write to it", result);
    }
    atomic_init(&kv->generation, image->generation);
    atomic_init(&kv->shown, kv->offset);
    atomic_init(&kv->numbered, kv->number);
    atomic_init(&kv->synced, kv->number - 1);
    return PEAL_OK;
}

static enum peal_err begin_next(struct pl_kv *kv)
{
    uint64_t newest = 0; // perhaps one that cannot be read
    enum peal_err err = find_newest(kv, UINT64_MAX, &newest);
    if (err) {
        return err;
    }
    atomic_init(&kv->generation, newest);
    return pl_kv_renew(kv);
}

// Or keeps it under another name. If it cannot, the next opening tries again.
static void put_away(const struct pl_kv *kv, uint64_t generation, bool keep)
{
    const struct pl_files *files = kv->files;
    char path[PL_KV_PATH];
    pl_kv_file_path(kv, generation, path);
    if (keep) {
        char kept[PL_KV_PATH];
        (void)snprintf(kept, sizeof kept, "%s/state-%020" PRIu64 ".damaged", kv->path,
                       generation); // the path was checked to leave room
        (void)files->rename(files->world, path, kept);
    } else {
        (void)files->unlink(files->world, path);
    }
}

static enum peal_err put_older_away(const struct pl_kv *kv)
{
    bool keep = kv->recovery.damaged > 0 || kv->recovery.headers > 0;
    uint64_t below = atomic_load_explicit(&kv->generation, memory_order_relaxed);
    for (;;) {
        enum peal_err err = find_newest(kv, below, &below);
        if (err || below == 0) {
            return err;
        }
        put_away(kv, below, keep);
    }
}

static void report(struct pl_kv *kv, const struct image *image)
{
    struct pl_kv_recovery *recovery = &kv->recovery;
    recovery->damaged = image->scan.damaged;
    recovery->cut_bytes = image->scan.tail;
    const char *name = strrchr(image->path, '/');
    (void)snprintf(recovery->file, sizeof recovery->file, "%s", name + 1); // it is 29 bytes
}

static enum peal_err recover(struct pl_kv *kv, const struct pl_kv_config *config,
                             struct image *image)
{
    enum peal_err err = load_newest(kv, image);
    if (err || image->generation == 0) {
        return err;
    }
    report(kv, image);
    err = fall_back(kv, config);
    if (!err && !kv->read_only) {
        err = is_clean(kv, image) ? go_on(kv, image) : begin_next(kv);
        err = err ? err : put_older_away(kv);
    }
    kv->recovery.entries = kv->table.count;
    return err;
}

// ---- open and close -----------------------------------------------------------------------------

static void destroy(struct pl_kv *kv)
{
    kv->files->close(kv->files->world, &kv->file);
    pl_kv_table_finish(&kv->table);
    pl_release(kv->seams, kv->pending.bytes);
    pl_release(kv->seams, kv->taken.bytes);
    pl_release(kv->seams, kv->path);
    pl_release(kv->seams, kv);
}

static struct pl_kv *create(const struct pl_kv_config *config)
{
    struct pl_kv *kv = pl_new(config->seams, sizeof *kv);
    if (!kv) {
        return NULL;
    }
    kv->seams = config->seams;
    kv->files = config->files;
    memcpy(kv->seed, config->seed, sizeof kv->seed);
    kv->bytes_max = config->bytes_max ? config->bytes_max : PL_KV_BYTES_MAX;
    kv->read_only = config->read_only;
    pl_kv_table_init(&kv->table, config->seams);
    kv->path = pl_copy_bytes(config->seams, config->path, strlen(config->path));
    if (!kv->path) {
        destroy(kv);
        return NULL;
    }
    return kv;
}

enum peal_err pl_kv_open(struct pl_kv **out, const struct pl_kv_config *config)
{
    if (!config->path || !*config->path || strlen(config->path) > PL_KV_PATH - 64) {
        return pl_fail(PEAL_EINVAL, "the path of a log is missing or has more than %d bytes",
                       PL_KV_PATH - 64);
    }
    struct pl_kv *kv = create(config);
    if (!kv) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory for the state of subscriptions", config->path);
    }
    struct image image = { .generation = 0 };
    enum peal_err err = recover(kv, config, &image);
    drop_image(kv, &image);
    if (err) {
        destroy(kv);
        return err;
    }
    *out = kv;
    return PEAL_OK;
}

// The note, and the room behind it given back. If that fails, the next opening does without.
static void tidy_up(struct pl_kv *kv)
{
    if (!kv->file.number) {
        return;
    }
    uint64_t synced = atomic_load_explicit(&kv->synced, memory_order_relaxed);
    if (synced == kv->number && pl_kv_write_note(kv)) {
        return;
    }
    (void)kv->files->truncate(kv->files->world, kv->file, kv->offset); // as said
    (void)kv->files->sync(kv->files->world, kv->file);
}

enum peal_err pl_kv_close(struct pl_kv *kv)
{
    if (!kv) {
        return PEAL_OK;
    }
    enum peal_err err = kv->read_only          ? PEAL_OK
                        : pl_kv_has_failed(kv) ? pl_kv_say_failed(kv)
                                               : pl_kv_settle(kv, PEAL_DURABILITY_DISK);
    if (!err && !kv->read_only) {
        tidy_up(kv);
    }
    destroy(kv);
    return err;
}

const struct pl_kv_recovery *pl_kv_recovery(const struct pl_kv *kv)
{
    return &kv->recovery;
}
