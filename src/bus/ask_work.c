// SPDX-License-Identifier: MIT
//
// Erasing and archiving, asked of the process that has the log: the one that asks, and the one that
// is asked.
//
// To erase is one request, since what was found is only known at its end. Archiving is as many as
// it takes: the owner stops behind a file when some seconds have passed, and is asked for the rest.
// An owner that closes its bus stops in the middle, as it would for its own calls: files that are
// archived are, and an erasure says that it has to be done again.
#include "bus/ask.h"

#include "base/error.h"

#include <string.h>

// ---- the one that asks --------------------------------------------------------------------------

// What an answer says last, and whether it can be read.
static enum peal_err end(struct peal_bus *bus, char *bytes, const struct pl_unpack *unpack)
{
    pl_release(bus->seams, bytes);
    return unpack->bad ? pl_fail(PEAL_EIO, "the answer of the process that has the log cannot be "
                                           "read; what was asked was done")
                       : PEAL_OK;
}

enum peal_err pl_ask_erase(struct peal_erased *out, struct peal_bus *bus, const char *subject,
                           bool dry_run)
{
    struct pl_pack pack;
    struct pl_unpack answer;
    char *bytes;
    pl_pack_begin(&pack, bus->seams);
    pl_pack_text(&pack, subject);
    pl_pack_number(&pack, dry_run);
    enum peal_err err = pl_ask_any(&bytes, &answer, bus, PL_ASK_ERASE, &pack);
    if (err) {
        return err;
    }
    struct peal_erased erased = { .events = pl_unpack_number(&answer) };
    erased.snapshots = pl_unpack_number(&answer);
    erased.unread = pl_unpack_number(&answer);
    erased.dead_letters = pl_unpack_number(&answer);
    erased.scheduled = pl_unpack_number(&answer);
    erased.damaged = pl_unpack_number(&answer);
    erased.files = pl_unpack_number(&answer);
    err = end(bus, bytes, &answer);
    if (!err) {
        *out = erased;
    }
    return err;
}

// Tells of the files of one answer, and adds them up.
static bool take_files(struct peal_savings *sum, const struct peal_archive *archive,
                       struct pl_unpack *answer)
{
    bool more = pl_unpack_number(answer) != 0;
    sum->left = pl_unpack_number(answer);
    for (const char *file = pl_unpack_text(answer); file; file = pl_unpack_text(answer)) {
        struct peal_archived told = { .file = file, .first = pl_unpack_number(answer) };
        told.end = pl_unpack_number(answer);
        told.bytes = pl_unpack_number(answer);
        told.packed = pl_unpack_number(answer);
        if (answer->bad) {
            return false;
        }
        sum->files++;
        sum->bytes += told.bytes;
        sum->packed += told.packed;
        if (archive->file) {
            archive->file(&told, archive->context);
        }
    }
    return more && !answer->bad;
}

enum peal_err pl_ask_archive(struct peal_savings *out, struct peal_bus *bus,
                             const struct peal_archive *archive)
{
    struct peal_savings sum = { 0 };
    for (bool more = true; more;) {
        struct pl_pack pack;
        struct pl_unpack answer;
        char *bytes;
        pl_pack_begin(&pack, bus->seams);
        pl_pack_number(&pack, (uint64_t)archive->before_ns);
        enum peal_err err = pl_ask_any(&bytes, &answer, bus, PL_ASK_ARCHIVE, &pack);
        if (err) {
            return err;
        }
        more = take_files(&sum, archive, &answer);
        err = end(bus, bytes, &answer);
        // How much there is in all, only the owner knows.
        if (!err && more && archive->progress &&
            !archive->progress(sum.bytes, sum.bytes, archive->context)) {
            err = pl_fail(PEAL_ESTATE, "archiving was stopped; what is archived stays so");
        }
        if (err) {
            return err;
        }
    }
    if (out) {
        *out = sum;
    }
    return PEAL_OK;
}

// ---- the one that is asked ----------------------------------------------------------------------

static bool erases_on(uint64_t done, uint64_t total, void *context)
{
    (void)done;
    (void)total;
    return pl_bus_check_open(context) == PEAL_OK; // else whoever closes it waits for us
}

enum peal_err pl_answer_erase(struct peal_bus *bus, struct pl_unpack *request,
                              struct pl_pack *reply)
{
    const char *subject = pl_unpack_text(request);
    struct peal_erase erase = { .dry_run = pl_unpack_number(request) != 0 };
    struct peal_erased erased = { 0 };
    erase.progress = erases_on;
    erase.context = bus;
    enum peal_err err =
        request->bad ? pl_answer_bad() : peal_log_erase(&erased, bus, subject, &erase);
    pl_pack_number(reply, erased.events);
    pl_pack_number(reply, erased.snapshots);
    pl_pack_number(reply, erased.unread);
    pl_pack_number(reply, erased.dead_letters);
    pl_pack_number(reply, erased.scheduled);
    pl_pack_number(reply, erased.damaged);
    pl_pack_number(reply, erased.files);
    return err;
}

struct archiving {
    struct peal_bus *bus;
    struct pl_pack files;
    int64_t deadline;
    bool behind_file; // nothing was done since a file was archived
    bool stopped;     // there, since it is time
};

static void note_file(const struct peal_archived *file, void *context)
{
    struct archiving *archiving = context;
    pl_pack_text(&archiving->files, file->file);
    pl_pack_number(&archiving->files, file->first);
    pl_pack_number(&archiving->files, file->end);
    pl_pack_number(&archiving->files, file->bytes);
    pl_pack_number(&archiving->files, file->packed);
    archiving->behind_file = true;
}

static bool archives_on(uint64_t done, uint64_t total, void *context)
{
    struct archiving *archiving = context;
    const struct pl_seams *seams = archiving->bus->seams;
    (void)done;
    (void)total;
    archiving->stopped =
        archiving->behind_file && seams->monotonic(seams->world) >= archiving->deadline;
    archiving->behind_file = false;
    return !archiving->stopped && pl_bus_check_open(archiving->bus) == PEAL_OK;
}

static void append(struct pl_pack *pack, const struct pl_pack *more)
{
    size_t size = more->failed ? 0 : more->size - PL_WIRE_HEAD;
    char *room = pl_pack_room(pack, size);
    if (room && size) {
        memcpy(room, more->bytes + PL_WIRE_HEAD, size);
    }
    pack->failed = pack->failed || more->failed;
}

enum peal_err pl_answer_archive(struct peal_bus *bus, struct pl_unpack *request,
                                struct pl_pack *reply)
{
    struct archiving archiving = { .bus = bus, .deadline = pl_deadline(bus, PL_ASK_PIECE_MS) };
    struct peal_archive archive = { .before_ns = (int64_t)pl_unpack_number(request),
                                    .file = note_file,
                                    .progress = archives_on,
                                    .context = &archiving };
    struct peal_savings savings = { 0 };
    pl_pack_begin(&archiving.files, bus->seams);
    enum peal_err err = request->bad ? pl_answer_bad() : peal_log_archive(&savings, bus, &archive);
    err = err == PEAL_ESTATE && archiving.stopped ? PEAL_OK : err;
    pl_pack_number(reply, archiving.stopped);
    pl_pack_number(reply, savings.left);
    append(reply, &archiving.files);
    pl_pack_text(reply, NULL);
    pl_pack_finish(&archiving.files);
    return err;
}
