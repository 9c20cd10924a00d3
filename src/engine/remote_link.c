// SPDX-License-Identifier: MIT
//
// The link: one thread that has the connection.
//
//     connect ─► upgrade ─► HELLO ─► serve: ┌ take what others left, mask it, send ┐
//        ▲                                  └ receive, tell it apart, hand it over ┘
//        └────────── a pause ◄── broken ◄──────────┘
//
// What is sent is copied once, into `out`, and masked on the way. So others never wait for the
// network, and what is left of a broken connection is forgotten with `out`: blocks and calls keep
// what they have until they are answered.
//
// The link has `wire` but while it waits or receives. Who publishes tries to take it, and sends one
// block himself; what the socket does not take is left in `out`, and the link is woken.
#include "engine/remote_link.h"

#include "base/error.h"
#include "base/socket.h"

#include <errno.h>
#include <inttypes.h>
#include <peal/peal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RECEIVE_LEAST 65536
#define RECEIVE_TURNS 16 // receives before something is sent again

void pl_remote_say(const struct pl_remote *remote, enum peal_level level, const char *format, ...)
{
    if (!remote->say) {
        return;
    }
    char text[PL_SENTENCE_MAX];
    va_list arguments;
    int used = snprintf(text, sizeof text, "%s: ", remote->name);
    va_start(arguments, format);
    // Cut if it is too long.
    (void)vsnprintf(text + used, sizeof text - (size_t)used, format, arguments);
    va_end(arguments);
    remote->say(level, text, remote->say_context);
}

void pl_remote_wake(struct pl_remote *remote)
{
    // Sequentially consistent: the link says that it sleeps, and then looks for what there is.
    if (atomic_exchange(&remote->asleep, false)) {
        pl_bell_ring(remote->bell);
    }
}

// ---- sending ------------------------------------------------------------------------------------

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

// A frame of a message. False: no memory.
static bool put_frame(struct pl_remote *remote, enum pl_ws_opcode opcode, const char *bytes,
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

// A small request of the link's own.
static bool put_numbers(struct pl_remote *remote, unsigned kind, uint64_t number,
                        const uint64_t *numbers, size_t count)
{
    char message[PL_PROTOCOL_HEAD + 4 * 8];
    pl_protocol_head_write(message, &(struct pl_protocol_head){ kind, 0, number });
    memcpy(message + PL_PROTOCOL_HEAD, numbers, count * 8);
    return put_frame(remote, PL_WS_BINARY, message, PL_PROTOCOL_HEAD + count * 8);
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

// A request of the link's own that was packed. False: no memory.
bool pl_link_put(struct pl_remote *remote, unsigned kind, uint64_t number, struct pl_pack *pack)
{
    bool fine = !pack->failed;
    if (fine) {
        pl_protocol_head_write(pack->bytes, &(struct pl_protocol_head){ kind, 0, number });
        fine = put_frame(remote, PL_WS_BINARY, pack->bytes, pack->size);
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
            fine = put_frame(remote, PL_WS_BINARY, name->pack.bytes, name->pack.size);
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
            fine = put_frame(remote, PL_WS_BINARY, call->pack->bytes, call->pack->size);
        } else if (block) {
            fine = put_frame(remote, PL_WS_BINARY, block->bytes, block->size);
        } else {
            break;
        }
    }
    return fine;
}

static bool fill_out(struct pl_remote *remote)
{
    atomic_store(&remote->asleep, true); // as in pl_remote_wake
    pl_mutex_lock(&remote->lock, remote->seams);
    bool fine = fill_out_locked(remote);
    pl_mutex_unlock(&remote->lock, remote->seams);
    return fine;
}

// 0, or minus an errno.
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
    (void)put_frame(remote, PL_WS_BINARY, block->bytes, block->size); // there is room
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

// ---- receiving ----------------------------------------------------------------------------------

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
        return put_numbers(remote, PL_PROTOCOL_CREDIT, 0, &more, 1) ? 0 : -ENOMEM;
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
        struct pl_unpack unpack = { message->bytes + PL_PROTOCOL_HEAD,
                                    message->size - PL_PROTOCOL_HEAD, false };
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
    struct pl_unpack unpack = { message->bytes + PL_PROTOCOL_HEAD, message->size - PL_PROTOCOL_HEAD,
                                false };
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
    struct pl_unpack unpack = { message->bytes + PL_PROTOCOL_HEAD, message->size - PL_PROTOCOL_HEAD,
                                false };
    uint64_t level = pl_unpack_number(&unpack);
    const char *text = pl_unpack_text(&unpack);
    if (text && level <= PEAL_LEVEL_ERROR) {
        pl_remote_say(remote, (enum peal_level)level, "%s", text);
    }
}

// What was followed has a hole.
static int take_gone(struct pl_remote *remote, const struct pl_ws_message *message)
{
    struct pl_unpack unpack = { message->bytes + PL_PROTOCOL_HEAD, message->size - PL_PROTOCOL_HEAD,
                                false };
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
    struct pl_unpack unpack = { message->bytes + PL_PROTOCOL_HEAD, message->size - PL_PROTOCOL_HEAD,
                                false };
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
        return put_frame(remote, PL_WS_PONG, message->bytes, message->size) ? 0 : -ENOMEM;
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

// Reads once what has come: *out_count bytes. *out_all: there was no more. 0, or minus an errno.
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

static int receive_some(struct pl_remote *remote)
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

// Silence: a ping, and then the end.
static int mind_silence(struct pl_remote *remote)
{
    int64_t silent_ms = (pl_link_now(remote) - remote->heard) / PL_NS_PER_MS;
    if (silent_ms >= 3LL * PL_REMOTE_PING_MS) {
        return -ETIMEDOUT;
    }
    if (silent_ms >= PL_REMOTE_PING_MS && !remote->pinged) {
        remote->pinged = true;
        return put_frame(remote, PL_WS_PING, "", 0) ? 0 : -ENOMEM;
    }
    return 0;
}

static int serve(struct pl_remote *remote)
{
    int result = 0;
    while (!result && !pl_link_is_stopping(remote)) {
        result = fill_out(remote) ? pl_link_send_out(remote) : -ENOMEM;
        if (result) {
            break;
        }
        bool more = remote->out_begin < remote->out_end;
        if (more) {
            // The socket tells when it has room, and nothing can be sent before.
            atomic_store(&remote->asleep, false);
        }
        int64_t until = pl_link_now(remote) + PL_REMOTE_PING_MS / 2 * PL_NS_PER_MS;
        pl_mutex_unlock(&remote->wire, remote->seams);
        int found = pl_socket_wait(remote->socket, remote->bell, more, until);
        pl_mutex_lock(&remote->wire, remote->seams);
        result = found < 0 ? found : 0;
        if (!result && found & PL_SOCKET_BELL) {
            pl_bell_quiet(remote->bell);
        }
        if (!result && found & PL_SOCKET_READABLE) {
            result = receive_some(remote);
        }
        result = result ? result : mind_silence(remote);
    }
    return result;
}

// ---- the thread ---------------------------------------------------------------------------------

static void set_connected(struct pl_remote *remote, bool connected)
{
    pl_mutex_lock(&remote->lock, remote->seams);
    remote->connected = connected;
    remote->epoch += connected;
    remote->following = false;
    if (!connected) {
        pl_remote_repeat(remote);
        pl_remote_break_calls(remote, false);
    }
    pl_mutex_unlock(&remote->lock, remote->seams);
}

// What was delivered over the connection that broke will be again.
static void void_deliveries(struct pl_remote *remote)
{
    for (uint64_t after = 0;;) {
        uint64_t id = UINT64_MAX;
        struct pl_remote_name *name;
        pl_mutex_lock(&remote->lock, remote->seams);
        PL_LIST_EACH (name, &remote->names, link) {
            id = name->id > after && name->id < id ? name->id : id;
        }
        pl_mutex_unlock(&remote->lock, remote->seams);
        if (id == UINT64_MAX) {
            break;
        }
        remote->void_deliveries(remote->arrive_context, id);
        after = id;
    }
    pl_remote_break_settlements(remote);
}

// The last words, when the bus stops: as long as they are taken.
static void linger(struct pl_remote *remote)
{
    int64_t until = pl_link_now(remote) + PL_NS_PER_S;
    int result = fill_out(remote) ? 0 : -ENOMEM;
    while (!result && remote->out_begin < remote->out_end && pl_link_now(remote) < until) {
        result = pl_link_send_out(remote);
        if (!result && remote->out_begin < remote->out_end) {
            int found = pl_socket_wait(remote->socket, remote->bell, true, until);
            result = found < 0 ? found : 0;
            pl_bell_quiet(remote->bell);
        }
    }
}

static void rest(struct pl_remote *remote, unsigned attempt)
{
    int64_t pause_ms = PL_REMOTE_PAUSE_MS;
    for (unsigned i = 0; i < attempt && pause_ms < PL_REMOTE_PAUSE_MAX_MS; i++) {
        pause_ms *= 2;
    }
    pause_ms = pause_ms < PL_REMOTE_PAUSE_MAX_MS ? pause_ms : PL_REMOTE_PAUSE_MAX_MS;
    uint64_t chance = remote->seams->random(remote->seams->world);
    pause_ms -= (int64_t)(chance % ((uint64_t)pause_ms / 2 + 1));
    int64_t until = pl_link_now(remote) + pause_ms * PL_NS_PER_MS;
    while (!pl_link_is_stopping(remote) && pl_link_now(remote) < until) {
        // What it rings for can wait, but for the end.
        if (pl_socket_wait(-1, remote->bell, false, until) == PL_SOCKET_BELL) {
            pl_bell_quiet(remote->bell);
        }
    }
}

// The opener is told of the first attempt. False: that was all.
static bool tell_opener(struct pl_remote *remote, enum peal_err err)
{
    if (atomic_load_explicit(&remote->opened, memory_order_relaxed)) {
        return true;
    }
    remote->open_err = err;
    (void)snprintf(remote->open_sentence, sizeof remote->open_sentence, "%s",
                   err ? peal_error_sentence() : "");
    // Release: what came of it is written before.
    atomic_store_explicit(&remote->opened, err ? 2 : 1, memory_order_release);
    remote->seams->wake(remote->seams->world, &remote->opened, 1);
    return !err;
}

static void run(void *context)
{
    struct pl_remote *remote = context;
    unsigned attempt = 0;
    pl_mutex_lock(&remote->wire, remote->seams);
    while (!pl_link_is_stopping(remote)) {
        bool first = !atomic_load_explicit(&remote->opened, memory_order_relaxed);
        // NOLINTNEXTLINE(bugprone-branch-clone): the two have the same value today
        int64_t patience = first ? PL_REMOTE_OPEN_MS : PL_REMOTE_CONNECT_MS;
        enum peal_err err = pl_link_connect(remote, pl_link_now(remote) + patience * PL_NS_PER_MS);
        if (!tell_opener(remote, err)) {
            break;
        }
        if (!err) {
            if (remote->told) {
                pl_remote_say(remote, PEAL_LEVEL_INFO, "connected again");
            }
            remote->told = PEAL_OK;
            attempt = 0;
            set_connected(remote, true);
            int result = serve(remote);
            if (!result) {
                linger(remote);
            }
            set_connected(remote, false);
            void_deliveries(remote);
            err = result ? pl_link_fail(remote, result) : PEAL_OK;
        }
        pl_socket_close(remote->socket);
        remote->socket = -1;
        // Once, and again for another reason: that of a token which was taken back.
        if (err && err != remote->told && !pl_link_is_stopping(remote)) {
            remote->told = err;
            pl_remote_say(remote, PEAL_LEVEL_WARNING,
                          "not connected (%s); what is published waits, and it tries again",
                          peal_error_sentence());
        }
        if (!pl_link_is_stopping(remote)) {
            rest(remote, attempt++);
        }
    }
    pl_socket_close(remote->socket);
    remote->socket = -1;
    pl_mutex_unlock(&remote->wire, remote->seams);
}

enum peal_err pl_remote_start(struct pl_remote *remote)
{
    const struct pl_seams *seams = remote->seams;
    enum peal_err err = seams->start(seams->world, &remote->thread, run, remote);
    if (err) {
        return err;
    }
    // Acquire: what came of it is seen.
    while (!atomic_load_explicit(&remote->opened, memory_order_acquire)) {
        seams->wait(seams->world, &remote->opened, 0, PL_FOREVER);
    }
    return remote->open_err ? pl_fail(remote->open_err, "%s", remote->open_sentence) : PEAL_OK;
}

void pl_remote_end(struct pl_remote *remote)
{
    if (!remote->thread) {
        return;
    }
    pl_remote_await_settled(remote);
    pl_mutex_lock(&remote->lock, remote->seams);
    atomic_store_explicit(&remote->stopping, true, memory_order_release);
    pl_mutex_unlock(&remote->lock, remote->seams);
    pl_bell_ring(remote->bell);
    remote->seams->join(remote->seams->world, remote->thread);
    remote->thread = NULL;
    pl_mutex_lock(&remote->lock, remote->seams);
    pl_remote_drop_blocks(remote);
    pl_remote_break_calls(remote, true);
    atomic_fetch_add_explicit(&remote->arrived, 1, memory_order_release);
    pl_mutex_unlock(&remote->lock, remote->seams);
    remote->seams->wake(remote->seams->world, &remote->arrived, UINT32_MAX);
}
