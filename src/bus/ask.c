// SPDX-License-Identifier: MIT
//
// The one that asks: a request is packed, carried to the door of the log, and its answer taken.
//
// Before it is carried, nothing has happened: a door that is not there is PEAL_ENOTFOUND. From then
// on a connection that ends without an answer leaves the outcome unknown.
#include "bus/ask.h"

#include "base/door.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

// An answer, and the bytes it stands in.
struct answer {
    char *bytes;
    struct pl_unpack unpack;
};

static void finish(struct peal_bus *bus, struct answer *answer)
{
    pl_release(bus->seams, answer->bytes);
}

// ---- there and back -----------------------------------------------------------------------------

// `code`: of there being nobody to be asked.
static enum peal_err say_no_door(enum peal_err code, int result)
{
    if (result == -EPERM) {
        return pl_fail(code, "a process of another user answers in the place of the one that has "
                             "the log, and is not believed");
    }
    if (result == -ETIMEDOUT) {
        return pl_fail(PEAL_ETIMEDOUT,
                       "the process that has the log did not listen for %d s; nothing was done",
                       PL_ASK_WAIT_MS / 1000);
    }
    return pl_fail(code, "no process that has the log takes requests: either none has it, or it "
                         "has no workers, or it was opened there with no_requests");
}

static enum peal_err say_unknown(int result)
{
    return result == -ETIMEDOUT
               ? pl_fail(PEAL_ETIMEDOUT,
                         "the process that has the log did not answer for %d s; whether it does "
                         "what was asked is unknown",
                         PL_ASK_WAIT_MS / 1000)
               : pl_fail(PEAL_EIO,
                         "the process that has the log ended without an answer (%s); "
                         "whether it did what was asked is unknown",
                         pl_files_text(result));
}

static enum peal_err receive(struct answer *out, struct peal_bus *bus, int connection,
                             int64_t deadline)
{
    char bytes[PL_ASK_HEAD];
    struct pl_ask_head head = { 0 };
    int result = pl_door_read(connection, -1, bytes, sizeof bytes, deadline);
    if (result) {
        return say_unknown(result);
    }
    if (!pl_unpack_head(&head, bytes) || head.size > PL_ASK_BYTES_MAX) {
        return pl_fail(PEAL_EIO, "what answered for the log does not speak our language");
    }
    char *body = pl_alloc(bus->seams, head.size + 1);
    if (!body) {
        return pl_fail(PEAL_ENOMEM, "no memory for the answer; what was asked may have been done");
    }
    result = pl_door_read(connection, -1, body, head.size, deadline);
    *out = (struct answer){ body, { body, head.size, result != 0 } };
    if (result) {
        return say_unknown(result);
    }
    if (head.code != PEAL_OK) {
        const char *sentence = pl_unpack_text(&out->unpack);
        return pl_fail((enum peal_err)head.code, "%s", sentence ? sentence : "");
    }
    return PEAL_OK;
}

// Over the road of an engine whose log a service has.
static enum peal_err call(struct answer *out, struct peal_bus *bus, enum pl_ask_kind kind,
                          const struct pl_pack *pack)
{
    struct pl_engine_call called = { .kind = kind,
                                     .bytes = pack->bytes + PL_ASK_HEAD,
                                     .size = pack->size - PL_ASK_HEAD };
    enum peal_err err = bus->engine->ops->call(bus->engine, &called);
    if (called.answer) {
        *out = (struct answer){ called.answer,
                                { called.answer + PL_WIRE_HEAD, called.answer_size - PL_WIRE_HEAD,
                                  err != PEAL_OK } };
    }
    return err;
}

static unsigned wait_of(enum pl_ask_kind kind)
{
    return pl_ask_works(kind) ? PL_ASK_WORK_MS : PL_ASK_WAIT_MS;
}

// The pack is finished either way.
static enum peal_err ask(struct answer *out, struct peal_bus *bus, enum pl_ask_kind kind,
                         struct pl_pack *pack)
{
    int64_t pid, deadline = pl_deadline(bus, wait_of(kind));
    enum peal_err err = pl_bus_check_open(bus);
    *out = (struct answer){ NULL, { .bad = true } };
    pl_pack_head(pack, kind);
    if (!err && pack->failed) {
        err = pl_fail(PEAL_ENOMEM, "no memory to ask the process that has the log");
    }
    if (!err && pack->size > PL_ASK_BYTES_MAX) {
        err = pl_fail(PEAL_ELIMIT, "%zu bytes are too many to hand to the process that has the log",
                      pack->size);
    }
    if (!err && pl_is_remote(bus)) {
        err = call(out, bus, kind, pack);
        pl_pack_finish(pack);
        return err;
    }
    int connection = err ? -1 : pl_door_knock(&bus->door, pl_deadline(bus, PL_ASK_WAIT_MS), &pid);
    if (!err && connection < 0) {
        err = say_no_door(PEAL_EUNSUPPORTED, connection);
    }
    if (!err) {
        int result = pl_door_write(connection, -1, pack->bytes, pack->size, deadline);
        // One that refuses what it has not read whole has answered all the same.
        err = result && result != -EPIPE ? say_unknown(result)
                                         : receive(out, bus, connection, deadline);
    }
    pl_door_close(connection);
    pl_pack_finish(pack);
    return err;
}

// What can be read of an answer has been.
static enum peal_err end(struct peal_bus *bus, struct answer *answer, enum peal_err err)
{
    if (!err && answer->unpack.bad) {
        err = pl_fail(PEAL_EIO, "the answer of the process that has the log cannot be read; what "
                                "was asked was done");
    }
    finish(bus, answer);
    return err;
}

// ---- requests -----------------------------------------------------------------------------------

enum peal_err peal_bus_owner(int64_t *out_pid, peal_bus *bus)
{
    if (!out_pid || !bus) {
        return pl_fail(PEAL_EINVAL, "peal_bus_owner needs a bus and a place for a number");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (!err && !bus->options.ask_owner) {
        err = pl_fail(PEAL_ESTATE, "peal_bus_owner is for a bus that was opened with ask_owner");
    }
    if (err) {
        return err;
    }
    int64_t pid = 0;
    int connection = pl_door_knock(&bus->door, pl_deadline(bus, PL_ASK_WAIT_MS), &pid);
    if (connection < 0) {
        return say_no_door(PEAL_ENOTFOUND, connection);
    }
    pl_door_close(connection); // who is behind it takes that for nothing
    *out_pid = pid;
    return PEAL_OK;
}

enum peal_err pl_ask_publish(struct peal_bus *bus, const struct peal_message *messages,
                             size_t count, struct peal_receipt *receipts)
{
    struct pl_pack pack;
    struct answer answer;
    pl_pack_begin(&pack, bus->seams);
    pl_pack_messages(&pack, messages, count, bus->options.source);
    enum peal_err err = ask(&answer, bus, PL_ASK_PUBLISH, &pack);
    for (size_t i = 0; i < count && !err && receipts; i++) {
        struct peal_receipt receipt;
        pl_unpack_receipt(&answer.unpack, &receipt);
        if (!answer.unpack.bad) {
            receipts[i] = receipt;
        }
    }
    return end(bus, &answer, err);
}

// Those whose answer is a number.
static enum peal_err ask_affected(struct peal_bus *bus, enum pl_ask_kind kind, struct pl_pack *pack,
                                  uint64_t *affected)
{
    struct answer answer;
    enum peal_err err = ask(&answer, bus, kind, pack);
    uint64_t number = err ? 0 : pl_unpack_number(&answer.unpack);
    err = end(bus, &answer, err);
    if (!err && affected) {
        *affected = number;
    }
    return err;
}

enum peal_err pl_ask_dead(struct peal_bus *bus, enum pl_ask_kind kind,
                          const struct peal_dead_filter *filter, bool dry_run, uint64_t *affected)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, bus->seams);
    pl_pack_dead(&pack, filter, dry_run);
    return ask_affected(bus, kind, &pack, affected);
}

enum peal_err pl_ask_edit(struct peal_bus *bus, uint64_t id, const void *data, size_t size)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, bus->seams);
    pl_pack_number(&pack, id);
    pl_pack_bytes(&pack, data, size);
    return ask_affected(bus, PL_ASK_DEAD_EDIT, &pack, NULL);
}

enum peal_err pl_ask_cancel(struct peal_bus *bus, const struct peal_schedule_filter *filter,
                            bool dry_run, uint64_t *affected)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, bus->seams);
    pl_pack_schedule(&pack, filter, dry_run);
    return ask_affected(bus, PL_ASK_CANCEL, &pack, affected);
}

enum peal_err pl_ask_name(struct peal_bus *bus, enum pl_ask_kind kind, const char *name,
                          const struct pl_start *start)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, bus->seams);
    pl_pack_text(&pack, name);
    pl_pack_number(&pack, start ? start->from : 0);
    pl_pack_number(&pack, start ? start->position : 0);
    pl_pack_number(&pack, start ? (uint64_t)start->time_ns : 0);
    return ask_affected(bus, kind, &pack, NULL);
}

enum peal_err pl_ask_stats(struct peal_bus_stats *out, struct peal_bus *bus)
{
    struct pl_pack pack;
    struct answer answer;
    pl_pack_begin(&pack, bus->seams);
    enum peal_err err = ask(&answer, bus, PL_ASK_STATS, &pack);
    struct peal_bus_stats stats = pl_unpack_stats(&answer.unpack);
    err = end(bus, &answer, err);
    if (!err) {
        *out = stats;
    }
    return err;
}

enum peal_err pl_ask_look(struct peal_standing *out, struct peal_bus *bus, const char *name,
                          uint64_t position)
{
    struct pl_pack pack;
    struct answer answer;
    pl_pack_begin(&pack, bus->seams);
    pl_pack_text(&pack, name);
    pl_pack_number(&pack, position);
    enum peal_err err = ask(&answer, bus, PL_ASK_LOOK, &pack);
    struct peal_standing found = { .state = (enum peal_stands)pl_unpack_number(&answer.unpack) };
    found.attempts = (unsigned)pl_unpack_number(&answer.unpack);
    found.due_ns = (int64_t)pl_unpack_number(&answer.unpack);
    found.dead_letter = pl_unpack_number(&answer.unpack);
    found.filtered = pl_unpack_number(&answer.unpack) != 0;
    err = end(bus, &answer, err);
    if (!err) {
        *out = found;
    }
    return err;
}

enum peal_err pl_ask_any(char **out, struct pl_unpack *out_unpack, struct peal_bus *bus,
                         enum pl_ask_kind kind, struct pl_pack *pack)
{
    struct answer answer;
    enum peal_err err = ask(&answer, bus, kind, pack);
    if (err) {
        finish(bus, &answer);
        return err;
    }
    *out = answer.bytes;
    *out_unpack = answer.unpack;
    return PEAL_OK;
}

enum peal_err pl_ask_names(char **out, struct pl_unpack *out_names, struct peal_bus *bus)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, bus->seams);
    return pl_ask_any(out, out_names, bus, PL_ASK_NAMES, &pack);
}
