// SPDX-License-Identifier: MIT
//
// What the link says: requests of its own, and what others have left to be sent.
//
//     FOLLOW, WANT, names, settlements, questions ─┐
//     calls (remote_call.c) ───────────────────────┼─► masked into `out` ─► the socket
//     blocks (remote_spool.c) ─────────────────────┘
//
// What is sent is copied once, into `out`, and masked on the way. So others never wait for the
// network, and what is left of a broken connection is forgotten with `out`: blocks and calls keep
// what they have until they are answered.
//
// Who publishes tries to take `wire`, and sends one block himself; what the socket does not take is
// left in `out`, and the link is woken.
#include "engine/remote_link.h"

#include "base/socket.h"

#include <string.h>

bool pl_link_reserve(struct pl_remote *remote, size_t more)
{
    if (remote->out_begin == remote->out_end) {
        remote->out_begin = 0;
        remote->out_end = 0;
    }
    if (more > remote->out_room - remote->out_end && remote->out_begin > 0) {
        memmove(remote->out, remote->out + remote->out_begin, remote->out_end - remote->out_begin);
        remote->out_end -= remote->out_begin;
        remote->out_begin = 0;
    }
    if (more > remote->out_room - remote->out_end) {
        size_t room =
            remote->out_end + more > PL_REMOTE_OUT ? remote->out_end + more : PL_REMOTE_OUT;
        char *out = pl_resize(remote->seams, remote->out, room);
        if (!out) {
            return false;
        }
        remote->out = out;
        remote->out_room = room;
    }
    return true;
}

bool pl_link_put_frame(struct pl_remote *remote, enum pl_ws_opcode opcode, const char *bytes,
                       size_t size)
{
    char mask[4];
    uint64_t chance = remote->seams->random(remote->seams->world);
    memcpy(mask, &chance, sizeof mask);
    if (!pl_link_reserve(remote, PL_WS_HEAD_MAX + size)) {
        return false;
    }
    char *at = remote->out + remote->out_end;
    size_t head = pl_ws_frame_head(at, opcode, size, mask);
    pl_ws_mask(at + head, bytes, size, mask, 0);
    remote->out_end += head + size;
    return true;
}

static struct pl_remote_call *next_call(struct pl_remote *remote)
{
    struct pl_remote_call *call;
    PL_LIST_EACH (call, &remote->calls, link) {
        if (!call->sent) {
            return call;
        }
    }
    return NULL;
}

bool pl_link_put(struct pl_remote *remote, unsigned kind, uint64_t number, struct pl_pack *pack)
{
    bool fine = !pack->failed;
    if (fine) {
        pl_protocol_head_write(pack->bytes, &(struct pl_protocol_head){ kind, 0, number });
        fine = pl_link_put_frame(remote, PL_WS_BINARY, pack->bytes, pack->size);
    }
    pl_pack_finish(pack);
    return fine;
}

static bool put_follow(struct pl_remote *remote)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, remote->seams);
    pl_pack_number(&pack, pl_log_end(&remote->local->log));
    pl_pack_number(&pack, PL_REMOTE_CREDIT);
    pl_remote_pack_wants(remote, &pack);
    remote->following = true;
    remote->consumed = 0;
    remote->follow_number = ++remote->next_number;
    remote->want_number = remote->follow_number;
    return pl_link_put(remote, PL_PROTOCOL_FOLLOW, remote->follow_number, &pack);
}

static bool put_wants(struct pl_remote *remote)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, remote->seams);
    pl_remote_pack_wants(remote, &pack);
    remote->want_number = ++remote->next_number;
    return pl_link_put(remote, PL_PROTOCOL_WANT, remote->want_number, &pack);
}

// Names that were taken on a connection that is gone are taken again.
static bool put_names(struct pl_remote *remote)
{
    struct pl_remote_name *name;
    bool fine = true;
    PL_LIST_EACH (name, &remote->names, link) {
        if (name->ready && name->epoch != remote->epoch && fine) {
            const struct pl_protocol_head head = { PL_PROTOCOL_SUBSCRIBE, 0,
                                                   ++remote->next_number };
            name->epoch = remote->epoch;
            pl_protocol_head_write(name->pack.bytes, &head);
            fine = pl_link_put_frame(remote, PL_WS_BINARY, name->pack.bytes, name->pack.size);
        }
    }
    return fine;
}

static bool put_settlement(struct pl_remote *remote, const struct pl_settlement *settlement)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, remote->seams);
    pl_pack_number(&pack, settlement->subscription);
    pl_pack_number(&pack, settlement->number);
    pl_pack_number(&pack, settlement->verdict);
    pl_pack_text(&pack, settlement->code);
    pl_pack_text(&pack, settlement->text);
    return pl_link_put(remote, PL_PROTOCOL_SETTLE, settlement->request, &pack);
}

// What became of deliveries.
static bool put_settlements(struct pl_remote *remote)
{
    const struct pl_settlement *settlement;
    bool fine = true;
    while (fine && (settlement = pl_remote_next_settlement(remote))) {
        fine = put_settlement(remote, settlement);
    }
    return fine;
}

// Of what was settled over a connection that broke: does the service know?
static bool put_questions(struct pl_remote *remote)
{
    struct pl_remote_name *name;
    struct pl_pack pack;
    bool fine = true;
    while (fine && (name = pl_remote_next_question(remote, &pack))) {
        fine = pl_link_put(remote, PL_PROTOCOL_CALL + PL_CALL_SAVE, name->asked, &pack);
    }
    return fine;
}

// Takes what others have left, as much as is to wait here. With the lock. False: no memory.
static bool fill_out_locked(struct pl_remote *remote)
{
    bool fine = true;
    bool estranged = atomic_load_explicit(&remote->estranged, memory_order_relaxed); // our lock
    if (remote->wants_follow && !remote->following && !estranged) {
        fine = put_follow(remote);
    } else if (remote->following && remote->wanted_sent != remote->wanted) {
        fine = put_wants(remote);
    }
    // What was settled goes before the calls of who has settled it: he may ask for it to be saved.
    fine = fine && put_names(remote) && put_settlements(remote) && put_questions(remote);
    while (fine && remote->out_end - remote->out_begin < PL_REMOTE_OUT) {
        struct pl_remote_call *call = next_call(remote);
        struct pl_remote_block *block = call ? NULL : pl_remote_next_block(remote);
        if (call) {
            call->sent = true;
            fine = pl_link_put_frame(remote, PL_WS_BINARY, call->pack->bytes, call->pack->size);
        } else if (block) {
            fine = pl_link_put_frame(remote, PL_WS_BINARY, block->bytes, block->size);
        } else {
            break;
        }
    }
    return fine;
}

bool pl_link_fill_out(struct pl_remote *remote)
{
    atomic_store(&remote->asleep, true); // as in pl_remote_wake
    pl_mutex_lock(&remote->lock, remote->seams);
    bool fine = fill_out_locked(remote);
    pl_mutex_unlock(&remote->lock, remote->seams);
    return fine;
}

int pl_link_send_out(struct pl_remote *remote)
{
    while (remote->out_begin < remote->out_end) {
        int64_t count = pl_socket_send(remote->socket, remote->out + remote->out_begin,
                                       remote->out_end - remote->out_begin);
        if (count <= 0) {
            return (int)count;
        }
        remote->out_begin += (size_t)count;
    }
    return 0;
}

// Puts the block that is next into `out`, if that is empty. With both locks. True: there is more
// for the link to do.
static bool put_one_block(struct pl_remote *remote)
{
    if (!remote->connected || remote->out_begin < remote->out_end ||
        pl_list_empty(&remote->waiting)) {
        return true;
    }
    struct pl_list *link = remote->waiting.next;
    size_t size = pl_container_of(link, struct pl_remote_block, link)->size;
    if (!pl_link_reserve(remote, PL_WS_HEAD_MAX + size)) {
        return true;
    }
    struct pl_remote_block *block = pl_remote_next_block(remote);
    (void)pl_link_put_frame(remote, PL_WS_BINARY, block->bytes, block->size); // there is room
    return !pl_list_empty(&remote->waiting);
}

void pl_remote_send(struct pl_remote *remote)
{
    bool left = true;
    if (pl_mutex_try(&remote->wire, remote->seams)) {
        pl_mutex_lock(&remote->lock, remote->seams);
        left = put_one_block(remote);
        bool connected = remote->connected;
        pl_mutex_unlock(&remote->lock, remote->seams);
        // A connection that is broken is seen by the link, which waits for it.
        left =
            (connected && pl_link_send_out(remote)) || remote->out_begin < remote->out_end || left;
        pl_mutex_unlock(&remote->wire, remote->seams);
    }
    if (left) {
        pl_mutex_lock(&remote->lock, remote->seams);
        pl_remote_wake(remote);
        pl_mutex_unlock(&remote->lock, remote->seams);
    }
}
