// SPDX-License-Identifier: MIT
//
// The order of things, which is all there is to it. A process may be killed between any two
// instructions; the stores of a thread up to there are done and those behind are not, as long as
// the compiler keeps them in order. The processor does: a kill is an interrupt, and those are
// precise. Of several threads only the one with the turn to write stores anything here, and taking
// the turn orders it behind the one before.
//
//     give    events are in the buffer ─► base, offset, first ─► head = bytes
//     write   pwrite has taken them ─► head = 0 ─► other events are put into the buffer
//     roll    the buffer is empty (head 0) ─► the next file is begun ─► its first event is given
//
// While head is 0 the rest means nothing, so it may change bit by bit. Killed behind the pwrite and
// before head is 0, the same bytes are written to the same place once more; nothing else has been
// written there, because the file grows behind them only. A write that fails leaves head as it is:
// the next opening tries again. A store that goes on behind a failure gives up what was handed over
// with all else that was not durable, once the new file is begun; killed before that, it is as if
// the failure had been met at the next opening. What was not given is not believed to be safe by
// anybody.
//
// Redoing needs room in the file only where there was room when the events were put (write.c takes
// it before). It believes little: the bytes must be whole records of that file, and their events
// follow each other from `first` on. So whatever somebody has done to the directory meanwhile, no
// other event is overwritten but by itself.
#include "log/internal.h"

#include "base/crc32c.h"
#include "base/error.h"
#include "base/plant.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define SIZE (PL_HANDOVER_PAGE + PL_STORE_BUFFER)

static const char magic[8] = "PealHnd\n";

static void path_of(const struct pl_store *store, char out[PL_STORE_PATH])
{
    (void)snprintf(out, PL_STORE_PATH, "%s/" PL_HANDOVER_NAME, store->path); // it was checked
}

static uint32_t crc_of(const struct pl_handover_page *page)
{
    return pl_crc32c(0, page, offsetof(struct pl_handover_page, crc));
}

// ---- giving and taking --------------------------------------------------------------------------

// The fences are for the compiler alone, see above.
void pl_handover_give(struct pl_store *store)
{
    struct pl_handover_page *page = store->handover;
    // Relaxed: only who has the turn stores it.
    if (atomic_load_explicit(&page->head, memory_order_relaxed) == 0) {
        page->base = store->base;
        page->offset = store->offset;
        page->first = store->buffer_first;
    }
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&page->head, store->buffered, memory_order_release);
}

void pl_handover_take(struct pl_store *store)
{
    if (store->handover) {
        atomic_store_explicit(&store->handover->head, 0, memory_order_release);
        atomic_signal_fence(memory_order_seq_cst);
    }
}

// ---- beginning and ending -----------------------------------------------------------------------

// A file of zeros but for its header, all of it written: so every page has its place on the disk.
static int fill(struct pl_store *store, struct pl_file file, const uint64_t boot[2])
{
    struct pl_handover_page page = { .version = PL_HANDOVER_VERSION,
                                     .size = PL_STORE_BUFFER,
                                     .seed = { store->seed[0], store->seed[1] },
                                     .boot = { boot[0], boot[1] } };
    memcpy(page.magic, magic, sizeof magic);
    page.crc = crc_of(&page);
    const struct pl_files *files = store->files;
    memset(store->buffer, 0, PL_STORE_BUFFER);
    int result = files->allocate(files->world, file, SIZE);
    result = result ? result
                    : pl_files_write(files, file, store->buffer, PL_STORE_BUFFER, PL_HANDOVER_PAGE);
    memcpy(store->buffer, &page, sizeof page);
    return result ? result : pl_files_write(files, file, store->buffer, PL_HANDOVER_PAGE, 0);
}

static struct pl_handover_page *make(struct pl_store *store, const char *path,
                                     const uint64_t boot[2])
{
    const struct pl_files *files = store->files;
    struct pl_file file = { 0 };
    void *memory = NULL;
    if (files->open(files->world, &file, path, PL_FILE_CREATE)) {
        return NULL;
    }
    if (fill(store, file, boot) || files->share(files->world, file, SIZE, &memory)) {
        (void)files->unlink(files->world, path); // there is nothing in it
    }
    files->close(files->world, &file);
    return memory;
}

void pl_handover_begin(struct pl_store *store)
{
    uint64_t boot[2];
    // Somebody has to write what nobody waits for.
    if (store->config.no_thread || store->files->boot(store->files->world, boot)) {
        return;
    }
    char path[PL_STORE_PATH];
    path_of(store, path);
    store->handover = make(store, path, boot);
    if (store->handover) {
        pl_release(store->seams, store->buffer);
        store->buffer = (char *)store->handover + PL_HANDOVER_PAGE;
    }
}

void pl_handover_end(struct pl_store *store)
{
    if (!store->handover) {
        return;
    }
    const struct pl_files *files = store->files;
    bool empty = atomic_load_explicit(&store->handover->head, memory_order_relaxed) == 0;
    files->unshare(files->world, store->handover, SIZE);
    store->handover = NULL;
    store->buffer = NULL;
    if (empty) {
        char path[PL_STORE_PATH];
        path_of(store, path);
        (void)files->unlink(files->world, path); // left there, it says that nothing is in it
    }
}

// ---- redoing ------------------------------------------------------------------------------------

struct redo {
    struct pl_store *store;
    struct pl_file file; // of the handover
    char path[PL_STORE_PATH];
    struct pl_handover_page page;
    uint64_t head;
};

static enum peal_err say(const struct redo *redo, const char *what, int64_t result)
{
    return pl_fail(PEAL_EIO, "%s: cannot %s: %s", redo->path, what, pl_files_text(result));
}

// Was it made for this log, and did its owner hand something over? One that was not made to its end
// says no, and so does one of another log.
static bool has_something(const struct redo *redo, int64_t count)
{
    const struct pl_handover_page *page = &redo->page;
    return count == (int64_t)sizeof *page && memcmp(page->magic, magic, sizeof magic) == 0 &&
           memcmp(page->seed, redo->store->seed, sizeof page->seed) == 0 &&
           page->crc == crc_of(page) && redo->head != 0;
}

// *out: it is of this run of the machine. Of an earlier one anything may have survived, and nothing
// was promised.
static enum peal_err look_at_boot(const struct redo *redo, bool *out)
{
    const struct pl_files *files = redo->store->files;
    uint64_t boot[2];
    int result = files->boot(files->world, boot);
    if (result) {
        return pl_fail(PEAL_EIO,
                       "%s: a process that was killed has left events here, and they count only if "
                       "the machine has not been restarted since, which it does not tell (%s): "
                       "open the log where /proc is, or remove this file and lose them",
                       redo->path, pl_files_text(result));
    }
    *out = memcmp(boot, redo->page.boot, sizeof boot) == 0;
    if (*out && redo->page.version > PL_HANDOVER_VERSION) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s: a later version of Peal was killed and has left events here; open the "
                       "log with that version once",
                       redo->path);
    }
    return PEAL_OK;
}

// How many of the bytes are records of the file, whole, with events that follow each other.
static size_t count_whole(const struct redo *redo, const char *bytes, size_t size)
{
    uint32_t salt = pl_record_salt(redo->store->seed, redo->page.base);
    uint64_t next = redo->page.first;
    size_t at = 0;
    while (size - at >= sizeof(struct pl_frame)) {
        const struct pl_frame *record = (const struct pl_frame *)(const void *)(bytes + at);
        bool whole = pl_record_begins(record) && record->length <= size - at &&
                     pl_record_is_whole(record, salt);
        if (!whole || (pl_record_is_event(record) && record->position != next)) {
            break;
        }
        next += pl_record_is_event(record);
        at += record->length;
    }
    return at;
}

static enum peal_err write_bytes(const struct redo *redo, const char *bytes, size_t size)
{
    const struct pl_files *files = redo->store->files;
    struct pl_file file = { 0 };
    enum peal_err err = pl_volume_open(redo->store, redo->page.base, PL_FILE_WRITE, &file);
    if (err) {
        return err;
    }
    int result = pl_files_write(files, file, bytes, size, redo->page.offset);
    files->close(files->world, &file);
    return result ? say(redo, "write what it has to its segment file", result) : PEAL_OK;
}

// The segment file it goes to is the last: a process begins the next one with nothing handed over.
// Where that does not hold, the directory is not as it was left.
static struct pl_volume *find_volume(const struct redo *redo)
{
    struct pl_store *store = redo->store;
    struct pl_volume *last = store->volume_count ? &store->volumes[store->volume_count - 1] : NULL;
    const struct pl_handover_page *page = &redo->page;
    bool fits = last && last->base == page->base && page->offset >= PL_SEGFILE_HEADER &&
                page->offset % 8 == 0 && page->offset <= last->bytes;
    return fits ? last : NULL;
}

static enum peal_err redo_bytes(const struct redo *redo)
{
    struct pl_store *store = redo->store;
    const struct pl_files *files = store->files;
    size_t size = redo->head < PL_STORE_BUFFER ? (size_t)redo->head : (size_t)PL_STORE_BUFFER;
    int64_t count = files->pread(files->world, redo->file, store->buffer, size, PL_HANDOVER_PAGE);
    if (count < 0) {
        return say(redo, "read it", count);
    }
    struct pl_volume *volume = find_volume(redo);
    size_t whole = volume ? count_whole(redo, store->buffer, (size_t)count) : 0;
    enum peal_err err = whole ? write_bytes(redo, store->buffer, whole) : PEAL_OK;
    if (err) {
        return err;
    }
    if (whole) {
        uint64_t end = redo->page.offset + whole;
        volume->bytes = volume->bytes > end ? volume->bytes : end;
    }
    if (whole < redo->head) {
        store->recovery.cut_bytes += redo->head - whole;
        (void)snprintf(store->recovery.cut_file, sizeof store->recovery.cut_file, PL_HANDOVER_NAME);
    }
    return PEAL_OK;
}

static enum peal_err redo_file(struct redo *redo)
{
    const struct pl_files *files = redo->store->files;
    int64_t count = files->pread(files->world, redo->file, &redo->page, sizeof redo->page, 0);
    if (count < 0) {
        return say(redo, "read it", count);
    }
    redo->head = atomic_load_explicit(&redo->page.head, memory_order_relaxed); // a copy of ours
    if (!has_something(redo, count) || PL_PLANTED(SKIPPED_REDO)) {
        return PEAL_OK;
    }
    bool counts = false;
    enum peal_err err = look_at_boot(redo, &counts);
    return err || !counts ? err : redo_bytes(redo);
}

// The file goes before anything else is written: what it says is true of the file as it is now.
enum peal_err pl_handover_redo(struct pl_store *store)
{
    const struct pl_files *files = store->files;
    struct redo redo = { .store = store };
    path_of(store, redo.path);
    int result = files->open(files->world, &redo.file, redo.path, PL_FILE_READ);
    if (result) {
        return result == -ENOENT ? PEAL_OK : say(&redo, "open it", result);
    }
    enum peal_err err = redo_file(&redo);
    files->close(files->world, &redo.file);
    if (err) {
        return err;
    }
    result = files->unlink(files->world, redo.path);
    return result ? say(&redo, "remove it", result) : PEAL_OK;
}
