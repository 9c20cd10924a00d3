// SPDX-License-Identifier: MIT
//
// What the link is told: bytes become messages, and each goes to whom it is for.
//
//     the socket ─► reader ─► EVENTS ──────► bus->arrive, and credit for more
//                             DELIVERY ────► bus->deliver
//                             ANSWER ──────► a block, a question of settlements, or a call
//                             SETTLED ─────► remote_settle.c
//                             GONE, SAY ───► bus->forgotten, the log callback
//
// A message is looked at where it was received, and handed over without our locks but `wire`. What
// breaks the protocol ends the connection, with minus an errno; a message of a kind that we do not
// know is of a later version, and passed over.
#include "engine/remote_link.h"

#include "base/error.h"
#include "base/socket.h"

#include <errno.h>
#include <string.h>

#define RECEIVE_LEAST 65536
#define RECEIVE_TURNS 16 // receives before something is sent again

// What follows the head of a message: *borrowed* while that is.
static struct pl_unpack body_of(const struct pl_ws_message *message)
{
    return (struct pl_unpack){ message->bytes + PL_PROTOCOL_HEAD, message->size - PL_PROTOCOL_HEAD,
                               false };
}

// So many bytes of events were taken: as many more may come. False: no memory.
static bool put_credit(struct pl_remote *remote, uint64_t more)
{
    char message[PL_PROTOCOL_HEAD + sizeof more];
    pl_protocol_head_write(message, &(struct pl_protocol_head){ PL_PROTOCOL_CREDIT, 0, 0 });
    memcpy(message + PL_PROTOCOL_HEAD, &more, sizeof more);
    return pl_link_put_frame(remote, PL_WS_BINARY, message, sizeof message);
}

void pl_link_note_ends(struct pl_remote *remote, uint64_t first, uint64_t end)
{
    // Relaxed: numbers, each of its own.
    if (first > 0) {
        atomic_store_explicit(&remote->first, first, memory_order_relaxed);
    }
    atomic_store_explicit(&remote->end, end, memory_order_relaxed);
}

// Events that were followed. 0, or minus an errno.
static int take_events(struct pl_remote *remote, const struct pl_ws_message *message)
{
    struct pl_events_head head;
    if (!pl_events_head_read(&head, message->bytes, message->size)) {
        return -EPROTO;
    }
    const struct pl_arrivals arrivals = { message->bytes + PL_EVENTS_HEAD,
                                          message->size - PL_EVENTS_HEAD, head.next };
    enum peal_err err = remote->arrive(remote->arrive_context, &arrivals);
    pl_link_note_ends(remote, 0, head.end);
    // The log's end has moved before. Sequentially consistent: who waits says so, and then looks.
    atomic_fetch_add(&remote->arrived, 1);
    if (atomic_load(&remote->arrival_waiters) > 0) {
        remote->seams->wake(remote->seams->world, &remote->arrived, UINT32_MAX);
    }
    if (err == PEAL_ECLOSED) {
        return 0; // the bus stops
    }
    if (err) {
        pl_remote_say(remote, PEAL_LEVEL_ERROR, "%s; it connects anew", peal_error_sentence());
        return -EPROTO;
    }
    remote->consumed += message->size;
    if (remote->consumed >= PL_REMOTE_CREDIT / 4) {
        const uint64_t more = remote->consumed;
        remote->consumed = 0;
        return put_credit(remote, more) ? 0 : -ENOMEM;
    }
    return 0;
}

static int take_answer(struct pl_remote *remote, const struct pl_protocol_head *head,
                       const struct pl_ws_message *message)
{
    bool follows = head->number == remote->follow_number || head->number == remote->want_number;
    if (follows && !head->code) {
        if (head->number == remote->want_number) { // else more has been wanted since
            pl_remote_wants_known(remote);
        }
        return 0;
    }
    if (follows) {
        struct pl_unpack unpack = body_of(message);
        const char *sentence = pl_unpack_text(&unpack);
        pl_remote_say(remote, PEAL_LEVEL_ERROR, "nothing can be followed: %s",
                      sentence ? sentence : peal_err_text((enum peal_err)head->code));
        return 0;
    }
    if (!pl_remote_block_answered(remote, head, message->bytes, message->size) &&
        !pl_remote_take_known(remote, head, message->bytes, message->size)) {
        pl_remote_call_answered(remote, head, message->bytes, message->size);
    }
    return 0;
}

static int take_delivery(struct pl_remote *remote, const struct pl_ws_message *message)
{
    struct pl_unpack unpack = body_of(message);
    struct pl_afar_delivery delivery = { .subscription = pl_unpack_number(&unpack) };
    delivery.number = pl_unpack_number(&unpack);
    delivery.attempt = (unsigned)pl_unpack_number(&unpack);
    if (unpack.bad) {
        return -EPROTO;
    }
    delivery.bytes = unpack.at;
    delivery.size = unpack.left;
    remote->deliver(remote->arrive_context, &delivery);
    return 0;
}

static void take_say(const struct pl_remote *remote, const struct pl_ws_message *message)
{
    struct pl_unpack unpack = body_of(message);
    uint64_t level = pl_unpack_number(&unpack);
    const char *text = pl_unpack_text(&unpack);
    if (text && level <= PEAL_LEVEL_ERROR) {
        pl_remote_say(remote, (enum peal_level)level, "%s", text);
    }
}

// What was followed has a hole.
static int take_gone(struct pl_remote *remote, const struct pl_ws_message *message)
{
    struct pl_unpack unpack = body_of(message);
    uint64_t next = pl_unpack_number(&unpack);
    if (unpack.bad || next == 0) {
        return -EPROTO;
    }
    pl_link_note_ends(remote, next, next);
    remote->forgotten(remote->arrive_context, next);
    return 0;
}

static int take_settled(struct pl_remote *remote, const struct pl_ws_message *message)
{
    struct pl_unpack unpack = body_of(message);
    uint64_t subscription = pl_unpack_number(&unpack), request = pl_unpack_number(&unpack);
    if (unpack.bad) {
        return -EPROTO;
    }
    pl_remote_take_settled(remote, subscription, request);
    return 0;
}

static int take_message(struct pl_remote *remote, const struct pl_ws_message *message)
{
    struct pl_protocol_head head;
    if (message->opcode == PL_WS_PING) {
        return pl_link_put_frame(remote, PL_WS_PONG, message->bytes, message->size) ? 0 : -ENOMEM;
    }
    if (message->opcode == PL_WS_PONG) {
        return 0;
    }
    if (message->opcode == PL_WS_CLOSE) {
        return -EPIPE;
    }
    if (message->opcode != PL_WS_BINARY ||
        !pl_protocol_head_read(&head, message->bytes, message->size)) {
        return -EPROTO;
    }
    switch (head.kind) {
    case PL_PROTOCOL_ANSWER:
        return take_answer(remote, &head, message);
    case PL_PROTOCOL_EVENTS:
        return take_events(remote, message);
    case PL_PROTOCOL_DELIVERY:
        return take_delivery(remote, message);
    case PL_PROTOCOL_GONE:
        return take_gone(remote, message);
    case PL_PROTOCOL_SETTLED:
        return take_settled(remote, message);
    case PL_PROTOCOL_SAY:
        take_say(remote, message);
        return 0;
    default:
        return 0; // of a later version, and not asked for
    }
}

int pl_link_receive(struct pl_remote *remote, size_t *out_count, bool *out_all)
{
    size_t room;
    char *at = pl_ws_reader_room(&remote->reader, RECEIVE_LEAST, &room);
    if (!at) {
        return -ENOMEM;
    }
    int64_t count = pl_socket_receive(remote->socket, at, room);
    *out_count = count > 0 ? (size_t)count : 0;
    *out_all = *out_count < room;
    if (count > 0) {
        pl_ws_reader_add(&remote->reader, (size_t)count);
        remote->heard = pl_link_now(remote);
        remote->pinged = false;
    }
    return count < 0 ? (int)count : 0;
}

static int tell_apart(struct pl_remote *remote)
{
    for (;;) {
        struct pl_ws_message message;
        enum pl_ws_next next = pl_ws_reader_next(&remote->reader, &message);
        if (next == PL_WS_MORE) {
            return 0;
        }
        if (next == PL_WS_MEMORY) {
            return -ENOMEM;
        }
        int result = next == PL_WS_BREACH ? -EPROTO : take_message(remote, &message);
        if (result) {
            return result;
        }
    }
}

int pl_link_hear(struct pl_remote *remote)
{
    size_t count;
    bool all = false;
    int result = 0;
    for (int i = 0; i < RECEIVE_TURNS && !all && !result; i++) {
        result = pl_link_receive(remote, &count, &all);
        int told = tell_apart(remote); // also of what came before the end
        result = result ? result : told;
    }
    return result;
}
