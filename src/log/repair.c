// SPDX-License-Identifier: MIT
//
// Repair of segment files: their headers, and records from a copy.
//
// Bytes of a copy are believed if they are what the log would have written there: whole records
// with this file's salt, which nobody else's have, of exactly the positions that are missing. That
// the copy is of this life of the file and not of one before a torn tail was cut, in which other
// events had the same positions, the record behind tells: its head has a checksum and a time, and
// stands in both.
#include "log/repair.h"

#include "base/error.h"
#include "base/rfc3339.h"
#include "log/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BEFORE    64   // bytes in front of the damage that a copy must have as well
#define KEEPS_MAX 1000 // directories for what is replaced, of one moment

// ---- keeping what is replaced -------------------------------------------------------------------

void pl_repair_tell(struct pl_repair *repair, const struct peal_mending *mending)
{
    repair->out->found++;
    repair->out->mended += mending->possible;
    repair->out->events += mending->possible ? mending->end - mending->first : 0;
    if (repair->wanted->step) {
        repair->wanted->step(mending, repair->wanted->context);
    }
}

static enum peal_err say(const char *path, const char *what, int64_t result)
{
    return pl_fail(PEAL_EIO, "%s: cannot %s: %s", path, what, pl_files_text(result));
}

// "damaged-20261121T091500.000000000Z".
static void name_keep(struct pl_repair *repair, unsigned number)
{
    char time[PL_RFC3339_SIZE], digits[PL_RFC3339_SIZE], suffix[16] = "";
    size_t used = 0;
    pl_rfc3339_format(time, repair->seams->realtime(repair->seams->world));
    for (const char *at = time; *at; at++) {
        if (*at != '-' && *at != ':') {
            digits[used++] = *at;
        }
    }
    digits[used] = '\0';
    if (number > 0) {
        (void)snprintf(suffix, sizeof suffix, "-%u", number); // fits
    }
    (void)snprintf(repair->keep, sizeof repair->keep, "%s/damaged-%s%s", repair->path, digits,
                   suffix);
}

// The directory, made when it is first needed; it may be that of a repair at the same moment.
static enum peal_err need_keep(struct pl_repair *repair)
{
    const struct pl_files *files = repair->files;
    int result = -EEXIST;
    if (*repair->keep) {
        return PEAL_OK;
    }
    for (unsigned number = 0; result == -EEXIST && number < KEEPS_MAX; number++) {
        name_keep(repair, number);
        result = files->make_directory(files->world, repair->keep);
    }
    result = result ? result : files->sync_directory(files->world, repair->path);
    if (result) {
        enum peal_err err = say(repair->keep, "make the directory", result);
        *repair->keep = '\0';
        return err;
    }
    return PEAL_OK;
}

static enum peal_err keep_in(const struct pl_repair *repair, const char *path, const void *bytes,
                             size_t size)
{
    const struct pl_files *files = repair->files;
    struct pl_file file = { 0 };
    int result = files->open(files->world, &file, path, PL_FILE_CREATE);
    result = result ? result : pl_files_write(files, file, bytes, size, 0);
    result = result ? result : files->sync(files->world, file);
    files->close(files->world, &file);
    result = result ? result : files->sync_directory(files->world, repair->keep);
    return result ? say(path, "keep there what is damaged", result) : PEAL_OK;
}

enum peal_err pl_repair_keep(struct pl_repair *repair, const char *name, const void *bytes,
                             size_t size)
{
    char path[PL_STORE_PATH + 256];
    enum peal_err err = need_keep(repair);
    if (!err) {
        (void)snprintf(path, sizeof path, "%s/%s", repair->keep, name); // fits
        err = keep_in(repair, path, bytes, size);
    }
    return err;
}

// What a directory cannot do in one step, rename from one into another, is done in two: a crash
// between them leaves both.
enum peal_err pl_repair_put_aside(struct pl_repair *repair, const char *name)
{
    const struct pl_files *files = repair->files;
    char path[PL_STORE_PATH + 256];
    struct pl_file file = { 0 };
    (void)snprintf(path, sizeof path, "%s/%s", repair->path, name); // fits
    int result = files->open(files->world, &file, path, PL_FILE_READ);
    int64_t size = result ? result : files->size(files->world, file);
    char *bytes = size >= 0 ? pl_alloc(repair->seams, (size_t)size + 1) : NULL;
    int64_t count = bytes ? files->pread(files->world, file, bytes, (size_t)size, 0) : size;
    files->close(files->world, &file);
    enum peal_err err = PEAL_OK;
    if (size >= 0 && !bytes) {
        err = pl_fail(PEAL_ENOMEM, "%s: no memory to put it aside", path);
    } else if (count >= 0) { // one that cannot be read is of no use to anybody
        err = pl_repair_keep(repair, name, bytes, (size_t)count);
    }
    pl_release(repair->seams, bytes);
    result = err ? 0 : files->unlink(files->world, path);
    return result && result != -ENOENT ? say(path, "remove it", result) : err;
}

static const char in_archive[] =
    "it is an archive, which is never written to: put the copy's file in "
    "its place while nobody has the log";

static bool is_packed(struct pl_store *store, uint64_t base)
{
    bool packed = false;
    pl_mutex_lock(&store->lock, store->seams);
    for (size_t i = 0; i < store->volume_count; i++) {
        packed = packed || (store->volumes[i].base == base && store->volumes[i].packed > 0);
    }
    pl_mutex_unlock(&store->lock, store->seams);
    return packed;
}

// ---- headers ------------------------------------------------------------------------------------

// A copy of the file, if there is one; false: there is none, or it is of another log.
static bool open_copy(struct pl_file *out, struct pl_segfile_header *header,
                      const struct pl_repair *repair, const struct pl_store *store, uint64_t base)
{
    const struct pl_files *files = repair->files;
    char path[PL_STORE_PATH + 64];
    struct pl_file file = { 0 };
    if (!repair->wanted->copy) {
        return false;
    }
    int length = snprintf(path, sizeof path, "%s/%020" PRIu64 ".seg", repair->wanted->copy, base);
    if (length < 0 || (size_t)length >= sizeof path ||
        files->open(files->world, &file, path, PL_FILE_READ)) {
        return false;
    }
    if (pl_segfile_read_header(header, files, file, path) ||
        memcmp(header->seed, store->seed, sizeof header->seed) != 0 || header->base != base) {
        files->close(files->world, &file);
        return false;
    }
    *out = file;
    return true;
}

// What the file's name and those around it say. False: they do not agree whose events these are.
static bool guess_header(struct pl_segfile_header *out, const struct pl_store *store, size_t at)
{
    const struct pl_volume *volumes = store->volumes;
    const struct pl_volume *before = at > 0 ? &volumes[at - 1] : NULL;
    const struct pl_volume *behind = at + 1 < store->volume_count ? &volumes[at + 1] : NULL;
    if (!before || !behind || before->damaged || behind->damaged || behind->after_failure) {
        return false; // of a failure before it nobody else knows
    }
    const char *one = before->source ? before->source : store->source;
    const char *other = behind->source ? behind->source : store->source;
    *out = (struct pl_segfile_header){ .base = volumes[at].base,
                                       .before = volumes[at].base,
                                       .durable = volumes[at].base };
    memcpy(out->seed, store->seed, sizeof out->seed);
    (void)snprintf(out->source, sizeof out->source, "%s", one); // fits
    return strcmp(one, other) == 0;
}

// Finds what the header was. `how`: where it comes from, or why it cannot be had.
static bool find_header(struct pl_segfile_header *out, struct pl_repair *repair,
                        struct pl_store *store, uint64_t base, const char **how)
{
    struct pl_file copy = { 0 };
    if (open_copy(&copy, out, repair, store, base)) {
        repair->files->close(repair->files->world, &copy);
        *how = "both halves of its header are damaged; the copy has it";
        return true;
    }
    pl_mutex_lock(&store->lock, store->seams);
    size_t at = 0;
    while (at < store->volume_count && store->volumes[at].base != base) {
        at++;
    }
    bool found = at < store->volume_count && guess_header(out, store, at);
    pl_mutex_unlock(&store->lock, store->seams);
    *how = found ? "both halves of its header are damaged; the files before and behind it agree "
                   "on what it said"
                 : "both halves of its header are damaged, and only a copy knows what they said "
                   "(the source of its events); the events can be read";
    return found;
}

// A header of which a half, or both, are damaged.
struct torn_header {
    uint64_t base; // of its file
    char block[PL_SEGFILE_HEADER];
    unsigned whole;                  // the half that is not, as a bit; 0: neither
    struct pl_segfile_header header; // what it said, as others know it
};

static enum peal_err write_header(const struct pl_repair *repair, struct pl_file file,
                                  const struct torn_header *torn)
{
    const struct pl_files *files = repair->files;
    const size_t half = PL_SEGFILE_HEADER / 2;
    int result;
    if (torn->whole) { // only the other half is touched
        const char *good = torn->block + (torn->whole & 1 ? 0 : half);
        result = pl_files_write(files, file, good, half, torn->whole & 1 ? half : 0);
    } else {
        result = pl_segfile_write_header(files, file, &torn->header);
    }
    result = result ? result : files->sync(files->world, file);
    return result ? say("a header", "write it", result) : PEAL_OK;
}

static enum peal_err keep_and_write(struct pl_repair *repair, const struct pl_store *store,
                                    const struct torn_header *torn)
{
    char name[64];
    struct pl_file file = { 0 };
    (void)snprintf(name, sizeof name, "%020" PRIu64 ".seg.0", torn->base); // fits
    enum peal_err err = pl_repair_keep(repair, name, torn->block, PL_SEGFILE_HEADER);
    err = err ? err : pl_volume_open(store, torn->base, PL_FILE_WRITE, &file);
    err = err ? err : write_header(repair, file, torn);
    repair->files->close(repair->files->world, &file);
    return err;
}

static enum peal_err mend_header(struct pl_repair *repair, struct pl_store *store, uint64_t base)
{
    char path[PL_STORE_PATH];
    struct pl_file file = { 0 };
    struct torn_header torn = { .base = base };
    pl_volume_path(store, base, path);
    enum peal_err err = pl_volume_open(store, base, PL_FILE_READ, &file);
    int64_t count =
        err ? 0
            : repair->files->pread(repair->files->world, file, torn.block, sizeof torn.block, 0);
    repair->files->close(repair->files->world, &file);
    if (err || count < 0) {
        return err ? err : say(path, "read its header", count);
    }
    const unsigned whole = pl_segfile_whole_halves(torn.block);
    torn.whole = whole;
    if (whole == 3 || is_packed(store, base)) { // of an archive it is told with what it holds
        return PEAL_OK;
    }
    const char *how = "one half of its header is damaged; the other says the same";
    bool possible = whole || find_header(&torn.header, repair, store, base, &how);
    if (possible && !repair->wanted->dry_run) {
        err = keep_and_write(repair, store, &torn);
    }
    const struct peal_mending mending = { .file = path,
                                          .bytes = PL_SEGFILE_HEADER / (whole ? 2 : 1),
                                          .offset = whole == 1 ? PL_SEGFILE_HEADER / 2 : 0,
                                          .how = how,
                                          .possible = possible };
    if (!err) {
        pl_repair_tell(repair, &mending);
    }
    return err;
}

// ---- records ------------------------------------------------------------------------------------

struct hole {
    uint64_t base;
    struct pl_damage damage;
};

struct holes {
    struct pl_repair *repair;
    struct hole *list;
    size_t count, room;
    bool failed; // no memory
};

static void meet_damage(void *context, const char *path, const struct pl_damage *damage)
{
    struct holes *holes = context;
    uint64_t base = 0;
    (void)pl_volume_parse(strrchr(path, '/') + 1, &base); // it is a segment file's, in a directory
    if (damage->offset < PL_SEGFILE_HEADER && strcmp(path + strlen(path) - 4, ".seg") == 0) {
        return; // a plain file's header, which was seen to
    }
    if (holes->count == holes->room) {
        size_t room = holes->room ? holes->room * 2 : 16;
        struct hole *list = pl_resize(holes->repair->seams, holes->list, room * sizeof *list);
        holes->failed = holes->failed || !list;
        if (!list) {
            return;
        }
        holes->list = list;
        holes->room = room;
    }
    holes->list[holes->count++] = (struct hole){ base, *damage };
}

static bool meet_progress(void *context, uint64_t done, uint64_t total)
{
    const struct holes *holes = context;
    const struct peal_repair *wanted = holes->repair->wanted;
    return !wanted->progress || wanted->progress(done, total, wanted->context);
}

// Are these whole records of the file, with exactly the positions that are missing?
static bool are_records(const char *bytes, size_t size, const struct pl_damage *damage,
                        uint32_t salt)
{
    uint64_t next = damage->first;
    size_t at = 0;
    while (size - at >= sizeof(struct pl_frame)) {
        struct pl_frame head;
        memcpy(&head, bytes + at, sizeof head);
        if (head.length == 0) {
            break; // zeros, up to the end of the file
        }
        const struct pl_frame *record = (const struct pl_frame *)(const void *)(bytes + at);
        bool counts = pl_record_has_position(&head); // an event, or one that was erased
        if (!pl_record_begins(&head) || head.length > size - at ||
            !pl_record_is_whole(record, salt) || (counts && head.position != next)) {
            return false;
        }
        next += counts;
        at += head.length;
    }
    while (at < size && bytes[at] == 0) {
        at++;
    }
    return at == size && next == damage->end;
}

// The same bytes in both files, as far as the one that has them reaches.
static bool agree(const struct pl_files *files, struct pl_file ours, struct pl_file copy,
                  uint64_t offset, size_t size)
{
    char one[BEFORE] = { 0 }, other[BEFORE] = { 0 };
    int64_t count = files->pread(files->world, ours, one, size, offset);
    int64_t same = files->pread(files->world, copy, other, size, offset);
    return count >= 0 && count == same && memcmp(one, other, size) == 0;
}

static bool neighbours_agree(const struct pl_files *files, struct pl_file ours, struct pl_file copy,
                             const struct pl_damage *damage)
{
    uint64_t before = damage->offset - PL_SEGFILE_HEADER;
    before = before < BEFORE ? before : BEFORE;
    return agree(files, ours, copy, damage->offset - before, before) &&
           agree(files, ours, copy, damage->offset + damage->bytes, sizeof(struct pl_frame));
}

// Reads the copy's bytes; NULL: they are not whole records of what is missing. PEAL_ENOMEM.
static enum peal_err read_copy(char **out, const struct pl_repair *repair,
                               const struct pl_store *store, const struct hole *hole,
                               struct pl_file copy)
{
    const struct pl_files *files = repair->files;
    const struct pl_damage *damage = &hole->damage;
    *out = NULL;
    if (damage->bytes == 0) {
        return PEAL_OK; // the disk does not say how many there are
    }
    char *bytes = pl_alloc(repair->seams, damage->bytes);
    if (!bytes) {
        return pl_fail(PEAL_ENOMEM, "no memory for %" PRIu64 " bytes of a copy", damage->bytes);
    }
    int64_t count = files->pread(files->world, copy, bytes, damage->bytes, damage->offset);
    if (count == (int64_t)damage->bytes &&
        are_records(bytes, damage->bytes, damage, pl_record_salt(store->seed, hole->base))) {
        *out = bytes;
    } else {
        pl_release(repair->seams, bytes);
    }
    return PEAL_OK;
}

// What brings back what is in a hole.
struct remedy {
    char *bytes;     // *given*; NULL: nothing does
    const char *how; // or why not
};

// The copy's bytes, believed. PEAL_ENOMEM.
static enum peal_err take_from_copy(struct remedy *out, const struct pl_repair *repair,
                                    const struct pl_store *store, const struct hole *hole,
                                    struct pl_file ours)
{
    struct pl_segfile_header header;
    struct pl_file copy = { 0 };
    char *bytes = NULL;
    out->bytes = NULL;
    if (!open_copy(&copy, &header, repair, store, hole->base)) {
        out->how = repair->wanted->copy ? "the copy has no such file of this log"
                                        : "only a copy of the file can bring it back";
        return PEAL_OK;
    }
    enum peal_err err = read_copy(&bytes, repair, store, hole, copy);
    out->how = "the copy does not have it whole";
    if (bytes && neighbours_agree(repair->files, ours, copy, &hole->damage)) {
        out->how = "the copy has it";
        out->bytes = bytes;
    } else if (bytes) {
        out->how =
            "the copy goes on otherwise: since it was made a tail was cut, or a neighbour erased";
        pl_release(repair->seams, bytes);
    }
    repair->files->close(repair->files->world, &copy);
    return err;
}

static enum peal_err put_back(struct pl_repair *repair, const struct hole *hole,
                              struct pl_file file, const char *bytes)
{
    const struct pl_files *files = repair->files;
    const struct pl_damage *damage = &hole->damage;
    char name[96];
    char *old = pl_new(repair->seams, damage->bytes);
    if (!old) {
        return pl_fail(PEAL_ENOMEM, "no memory to keep %" PRIu64 " damaged bytes", damage->bytes);
    }
    (void)snprintf(name, sizeof name, "%020" PRIu64 ".seg.%" PRIu64, hole->base, damage->offset);
    (void)files->pread(files->world, file, old, damage->bytes, damage->offset); // as far as it goes
    enum peal_err err = pl_repair_keep(repair, name, old, damage->bytes);
    pl_release(repair->seams, old);
    int result = err ? 0 : pl_files_write(files, file, bytes, damage->bytes, damage->offset);
    result = err || result ? result : files->sync(files->world, file);
    return result ? say("a segment file", "write to it", result) : err;
}

static enum peal_err mend_hole(struct pl_repair *repair, struct pl_store *store,
                               const struct hole *hole)
{
    const struct pl_damage *damage = &hole->damage;
    bool packed = is_packed(store, hole->base);
    bool dry = repair->wanted->dry_run || packed;
    struct remedy remedy = { .how = in_archive };
    struct pl_file file = { 0 };
    char path[PL_STORE_PATH];
    pl_volume_path(store, hole->base, path);
    enum peal_err err =
        pl_volume_open(store, hole->base, dry ? PL_FILE_READ : PL_FILE_WRITE, &file);
    if (err) {
        return err;
    }
    err = packed ? PEAL_OK : take_from_copy(&remedy, repair, store, hole, file);
    if (remedy.bytes && !dry) {
        err = put_back(repair, hole, file, remedy.bytes);
    }
    repair->files->close(repair->files->world, &file);
    const struct peal_mending mending = { .file = path,
                                          .offset = damage->offset,
                                          .bytes = damage->bytes,
                                          .first = damage->first,
                                          .end = damage->end,
                                          .how = remedy.how,
                                          .possible = remedy.bytes != NULL };
    pl_release(repair->seams, remedy.bytes);
    if (!err) {
        pl_repair_tell(repair, &mending);
    }
    return err;
}

// ---- all of it ----------------------------------------------------------------------------------

// Forgotten meanwhile, perhaps by the process that writes: then it needs no mending.
static bool is_gone(struct pl_store *store, uint64_t base)
{
    return base < pl_store_first(store);
}

static enum peal_err mend_headers(struct pl_repair *repair, struct pl_store *store)
{
    struct pl_listing listing;
    enum peal_err err = pl_store_list(store, &listing);
    for (size_t i = 0; !err && i < listing.count; i++) {
        err = mend_header(repair, store, listing.bases[i]);
        err = is_gone(store, listing.bases[i]) ? PEAL_OK : err;
    }
    pl_release(store->seams, listing.bases);
    return err;
}

enum peal_err pl_store_repair(struct pl_store *store, struct pl_repair *repair)
{
    static const struct pl_verify_ops ops = { .damage = meet_damage, .progress = meet_progress };
    struct holes holes = { .repair = repair };
    repair->seams = store->seams;
    repair->files = store->files;
    repair->path = store->path;
    enum peal_err err = mend_headers(repair, store);
    err = err ? err : pl_store_verify(store, &ops, &holes);
    if (!err && holes.failed) {
        err = pl_fail(PEAL_ENOMEM, "%s: no memory for the list of what is damaged", repair->path);
    }
    for (size_t i = 0; i < holes.count && !err; i++) {
        err = mend_hole(repair, store, &holes.list[i]);
        err = is_gone(store, holes.list[i].base) ? PEAL_OK : err;
    }
    pl_release(repair->seams, holes.list);
    return err;
}
