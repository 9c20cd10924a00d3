// SPDX-License-Identifier: MIT
//
// Calls: a request lies on the stack of who waits for its answer, in a list by its number, from
// where the link takes what to send. Whoever takes it out of the list has it; so an answer that
// comes when nobody waits any more finds nothing.
#include "engine/remote.h"

#include "base/error.h"

#include <string.h>

static bool only_looks(unsigned kind)
{
    switch (kind) {
    case PL_PROTOCOL_STRETCH:
    case PL_PROTOCOL_QUERY:
    case PL_PROTOCOL_VERSION_OF:
    case PL_PROTOCOL_ENDS:
    case PL_PROTOCOL_CALL + PL_CALL_WHO:
    case PL_PROTOCOL_CALL + PL_CALL_NAMES:
    case PL_PROTOCOL_CALL + PL_CALL_STATS:
    case PL_PROTOCOL_CALL + PL_CALL_LOOK:
    case PL_PROTOCOL_CALL + PL_CALL_DEAD_LIST:
    case PL_PROTOCOL_CALL + PL_CALL_DEAD_COUNT:
    case PL_PROTOCOL_CALL + PL_CALL_SCHEDULE_LIST:
    case PL_PROTOCOL_CALL + PL_CALL_SAVE: // twice is once
        return true;
    default:
        return false;
    }
}

static bool reads_log(unsigned kind)
{
    return kind == PL_PROTOCOL_STRETCH || kind == PL_PROTOCOL_QUERY || kind == PL_PROTOCOL_ENDS;
}

// Takes the call out of the list if it is still there. False: somebody else has.
static bool take_out(struct pl_remote *remote, struct pl_remote_call *call)
{
    pl_mutex_lock(&remote->lock, remote->seams);
    bool mine = call->link.next != NULL;
    pl_list_remove(&call->link);
    pl_mutex_unlock(&remote->lock, remote->seams);
    return mine;
}

// With the lock: who waits looks at `done` and takes the lock once more before the call is gone.
static void finish(struct pl_remote *remote, struct pl_remote_call *call)
{
    pl_list_remove(&call->link);
    // Release: what came of it is written before.
    atomic_store_explicit(&call->done, 1, memory_order_release);
    remote->seams->wake(remote->seams->world, &call->done, 1);
}

static enum peal_err say_what_came(const struct pl_remote *remote,
                                   const struct pl_remote_call *call, bool waited)
{
    if (waited) {
        return pl_fail(PEAL_ETIMEDOUT, "%s did not answer for %d s; %s", remote->name,
                       PL_REMOTE_WAIT_MS / 1000,
                       call->sent && !call->only_looks ? "whether it did what was asked is unknown"
                                                       : "nothing was done");
    }
    if (call->answer) {
        struct pl_unpack unpack = { call->answer + PL_PROTOCOL_HEAD,
                                    call->answer_size - PL_PROTOCOL_HEAD, false };
        const char *sentence = pl_unpack_text(&unpack);
        return pl_fail(call->err, "%s", sentence ? sentence : peal_err_text(call->err));
    }
    if (call->err == PEAL_EIO) {
        return pl_fail(PEAL_EIO,
                       "the connection to %s broke before its answer; whether it did what was "
                       "asked is unknown",
                       remote->name);
    }
    if (call->err == PEAL_ESTATE) {
        return pl_fail(PEAL_ESTATE,
                       "%s has another log now than when this bus was opened: its positions mean "
                       "other events; open the bus anew",
                       remote->name);
    }
    return pl_fail(call->err, "%s: %s", remote->name,
                   call->err == PEAL_ECLOSED ? "the bus has been stopped"
                                             : "no memory for the answer");
}

enum peal_err pl_remote_call(struct pl_remote *remote, unsigned kind, struct pl_pack *pack,
                             char **out_answer, size_t *out_size)
{
    struct pl_remote_call call = { .pack = pack,
                                   .only_looks = only_looks(kind),
                                   .reads_log = reads_log(kind) };
    const struct pl_seams *seams = remote->seams;
    if (pack->failed) {
        return pl_fail(PEAL_ENOMEM, "no memory to ask %s", remote->name);
    }
    int64_t deadline = seams->monotonic(seams->world) + PL_REMOTE_WAIT_MS * PL_NS_PER_MS;
    pl_mutex_lock(&remote->lock, seams);
    call.number = ++remote->next_number;
    pl_protocol_head_write(pack->bytes, &(struct pl_protocol_head){ kind, 0, call.number });
    pl_list_add_tail(&remote->calls, &call.link);
    if (atomic_load_explicit(&remote->stopping, memory_order_relaxed)) {
        call.err = PEAL_ECLOSED;
        finish(remote, &call);
    } else if (call.reads_log && atomic_load_explicit(&remote->estranged, memory_order_relaxed)) {
        call.err = PEAL_ESTATE;
        finish(remote, &call);
    }
    pl_remote_wake(remote);
    pl_mutex_unlock(&remote->lock, seams);
    bool waited = false;
    // Acquire: what came of it is seen.
    while (!waited && !atomic_load_explicit(&call.done, memory_order_acquire)) {
        seams->wait(seams->world, &call.done, 0, deadline);
        waited = seams->monotonic(seams->world) >= deadline &&
                 !atomic_load_explicit(&call.done, memory_order_acquire);
    }
    waited = take_out(remote, &call) && waited;
    if (call.err || waited) {
        enum peal_err err = say_what_came(remote, &call, waited);
        pl_release(seams, call.answer);
        return err;
    }
    *out_answer = call.answer;
    *out_size = call.answer_size;
    return PEAL_OK;
}

void pl_remote_call_answered(struct pl_remote *remote, const struct pl_protocol_head *head,
                             const char *bytes, size_t size)
{
    char *copy = pl_copy_bytes(remote->seams, bytes, size);
    pl_mutex_lock(&remote->lock, remote->seams);
    struct pl_remote_call *call, *found = NULL;
    PL_LIST_EACH (call, &remote->calls, link) {
        if (call->number == head->number && call->sent) {
            found = call;
            break;
        }
    }
    if (found) {
        found->err = copy ? (enum peal_err)head->code : PEAL_ENOMEM;
        found->answer = copy;
        found->answer_size = size;
        copy = NULL;
        finish(remote, found);
    }
    pl_mutex_unlock(&remote->lock, remote->seams);
    pl_release(remote->seams, copy);
}

void pl_remote_refuse_reads(struct pl_remote *remote)
{
    struct pl_remote_call *call, *after;
    PL_LIST_EACH_SAFE (call, after, &remote->calls, link) {
        if (call->reads_log) {
            call->err = PEAL_ESTATE;
            finish(remote, call);
        }
    }
}

void pl_remote_break_calls(struct pl_remote *remote, bool closing)
{
    struct pl_remote_call *call, *after;
    PL_LIST_EACH_SAFE (call, after, &remote->calls, link) {
        if (closing || (call->sent && !call->only_looks)) {
            call->err = closing ? PEAL_ECLOSED : PEAL_EIO;
            finish(remote, call);
        } else {
            call->sent = false;
        }
    }
}
