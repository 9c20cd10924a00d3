// SPDX-License-Identifier: MIT
//
// Connecting: from an address to a service that has said which log it has.
//
//     socket ─► GET, Upgrade: websocket ─► 101 ─► HELLO ─► identity and ends of its log
//
// All of it has one deadline. Whatever goes wrong is told with what to do about it. A service with
// another log than before, or with one that has lost its end, is connected to and not followed.
#include "engine/remote_link.h"

#include "base/error.h"
#include "base/socket.h"

#include <errno.h>
#include <inttypes.h>
#include <peal/peal.h>
#include <stdio.h>
#include <string.h>

// Sends all of `out` and receives until something is there, or the deadline.
static int exchange(struct pl_remote *remote, int64_t deadline)
{
    for (;;) {
        size_t count = 0;
        bool all;
        int result = pl_link_send_out(remote);
        result = result ? result : pl_link_receive(remote, &count, &all);
        if (result || count > 0) {
            return result;
        }
        bool more = remote->out_begin < remote->out_end;
        int found = pl_socket_wait(remote->socket, remote->bell, more, deadline);
        if (found <= 0 || pl_link_is_stopping(remote)) {
            return found < 0 ? found : pl_link_is_stopping(remote) ? -ECANCELED : -ETIMEDOUT;
        }
        if (found & PL_SOCKET_BELL) {
            pl_bell_quiet(remote->bell);
        }
    }
}

static bool put_upgrade(struct pl_remote *remote, const char *key)
{
    const char *token = remote->token;
    size_t room = 512 + strlen(remote->path) + strlen(remote->host) + (token ? strlen(token) : 0);
    if (!pl_link_reserve(remote, room)) {
        return false;
    }
    bool v6 = strchr(remote->host, ':') != NULL;
    int used = snprintf(remote->out + remote->out_end, room,
                        "GET %s" PL_PROTOCOL_PATH " HTTP/1.1\r\n"
                        "Host: %s%s%s:%u\r\n"
                        "Connection: Upgrade\r\n"
                        "Upgrade: websocket\r\n"
                        "Sec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: %s\r\n"
                        "Sec-WebSocket-Protocol: " PL_PROTOCOL_NAME "\r\n"
                        "User-Agent: peal/" PEAL_VERSION "\r\n"
                        "%s%s%s\r\n",
                        remote->path, v6 ? "[" : "", remote->host, v6 ? "]" : "",
                        (unsigned)remote->port, key, token ? "Authorization: Bearer " : "",
                        token ? token : "", token ? "\r\n" : "");
    remote->out_end += (size_t)used;
    return true;
}

enum peal_err pl_link_fail(const struct pl_remote *remote, int result)
{
    return pl_fail(
        result == -ENOMEM ? PEAL_ENOMEM : PEAL_EIO, "%s: %s", remote->name,
        result == -ENOENT ? "there is no such host"
        : result == -ECONNREFUSED
            ? "nobody listens there (Connection refused): is the service running, and is "
              "that its port?"
        : result == -ETIMEDOUT ? "it does not answer"
        : result == -EPIPE     ? "it has closed the connection"
        : result == -EPROTO    ? "what answers does not speak " PL_PROTOCOL_NAME
        : result == -ECANCELED ? "the bus stops"
                               : pl_files_text(result));
}

static const char *hint_for(const struct pl_remote *remote, unsigned status)
{
    if (status == 403) {
        return ": it does not go by that name: use its address, or list the name in its "
               "cors.origins";
    }
    if (status == 404) {
        return ": there is no Peal service at that path; its URL is http://host:port";
    }
    if (status == 400) {
        return ": if that port speaks TLS, take one that does not: https: is not there yet";
    }
    if (status != 401) {
        return "";
    }
    return remote->token ? ": it does not know our token (option token; of peal, PEAL_TOKEN), or "
                           "not any more"
                         : ": it wants a token (option token; of peal, PEAL_TOKEN)";
}

static enum peal_err say_status(const struct pl_remote *remote, const struct pl_ws_answer *answer)
{
    enum peal_err err = answer->status == 401 || answer->status == 403 ? PEAL_EREFUSED : PEAL_EIO;
    return pl_fail(err, "%s: %s (HTTP %u)%s", remote->name, answer->why, answer->status,
                   hint_for(remote, answer->status));
}

static enum peal_err upgrade(struct pl_remote *remote, int64_t deadline)
{
    unsigned char chance[16];
    char key[PL_WS_KEY_SIZE];
    for (size_t i = 0; i < sizeof chance; i += 8) {
        uint64_t bits = remote->seams->random(remote->seams->world);
        memcpy(chance + i, &bits, sizeof bits);
    }
    pl_ws_key(key, chance);
    int result = put_upgrade(remote, key) ? 0 : -ENOMEM;
    struct pl_ws_reader *reader = &remote->reader;
    struct pl_ws_answer answer = { 0 };
    while (!result) {
        result = exchange(remote, deadline);
        if (result) {
            break;
        }
        if (pl_ws_answer_read(&answer, reader->bytes + reader->begin, reader->end - reader->begin,
                              key, PL_PROTOCOL_NAME)) {
            reader->begin += answer.size;
            return answer.accepted ? PEAL_OK : say_status(remote, &answer);
        }
        result = reader->end - reader->begin > PL_WS_ANSWER_MAX ? -EPROTO : 0;
    }
    return result == -EPIPE
               ? pl_fail(PEAL_EIO,
                         "%s: it has closed the connection without an answer; if that port speaks "
                         "TLS, take one that does not: https: is not there yet",
                         remote->name)
               : pl_link_fail(remote, result);
}

// Is it the log that this bus was opened on, with all that we have seen of it?
static void recognise(struct pl_remote *remote, const char *identity, uint64_t end)
{
    if (!atomic_load_explicit(&remote->opened, memory_order_relaxed)) {
        memcpy(remote->identity, identity, sizeof remote->identity);
        return;
    }
    uint64_t ours = pl_log_end(&remote->local->log);
    bool other = strcmp(remote->identity, identity) != 0, shorter = end < ours;
    pl_mutex_lock(&remote->lock, remote->seams);
    // Relaxed: with the lock.
    bool before = atomic_exchange_explicit(&remote->estranged, other || shorter, //
                                           memory_order_relaxed);
    if (other || shorter) {
        pl_remote_refuse_reads(remote);
    }
    pl_mutex_unlock(&remote->lock, remote->seams);
    // Who waits for something to come: it will not. Release: we have said so.
    atomic_fetch_add_explicit(&remote->arrived, 1, memory_order_release);
    remote->seams->wake(remote->seams->world, &remote->arrived, UINT32_MAX);
    static const char result[] = "nothing is delivered but to durable names, and nothing can be "
                                 "read; what is published goes there; open the bus anew";
    if (other && !before) {
        pl_remote_say(remote, PEAL_LEVEL_ERROR, "it has another log now (%s, not %s): %s", identity,
                      remote->identity, result);
    } else if (shorter && !before) {
        pl_remote_say(remote, PEAL_LEVEL_ERROR,
                      "its log ends at position %" PRIu64 " now, and has ended at %" PRIu64
                      " before, so it has lost events: %s",
                      end - 1, ours - 1, result);
    }
}

// The answer to HELLO. PEAL_EAGAIN: it has not come.
static enum peal_err read_hello(struct pl_remote *remote, uint64_t number)
{
    struct pl_ws_message message;
    struct pl_protocol_head head;
    enum pl_ws_next next = pl_ws_reader_next(&remote->reader, &message);
    if (next == PL_WS_MORE) {
        return PEAL_EAGAIN;
    }
    if (next != PL_WS_MESSAGE || message.opcode != PL_WS_BINARY ||
        !pl_protocol_head_read(&head, message.bytes, message.size) ||
        head.kind != PL_PROTOCOL_ANSWER || head.number != number) {
        return pl_link_fail(remote, -EPROTO);
    }
    struct pl_unpack unpack = { message.bytes + PL_PROTOCOL_HEAD, message.size - PL_PROTOCOL_HEAD,
                                false };
    const char *text = pl_unpack_text(&unpack);
    if (head.code) {
        return pl_fail((enum peal_err)head.code, "%s: %s", remote->name, text ? text : "");
    }
    uint64_t first = pl_unpack_number(&unpack), end = pl_unpack_number(&unpack);
    const char *identity = pl_unpack_text(&unpack);
    if (unpack.bad || first == 0 || end < first || !identity ||
        strlen(identity) != sizeof remote->identity - 1) {
        return pl_link_fail(remote, -EPROTO);
    }
    recognise(remote, identity, end);
    pl_link_note_ends(remote, first, end);
    return PEAL_OK;
}

static enum peal_err greet(struct pl_remote *remote, int64_t deadline)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, remote->seams);
    pl_pack_text(&pack, "peal/" PEAL_VERSION);
    pl_mutex_lock(&remote->lock, remote->seams);
    uint64_t number = ++remote->next_number;
    pl_mutex_unlock(&remote->lock, remote->seams);
    bool fine = pl_link_put(remote, PL_PROTOCOL_HELLO, number, &pack);
    enum peal_err err = fine ? PEAL_EAGAIN : pl_link_fail(remote, -ENOMEM);
    for (int result = 0; err == PEAL_EAGAIN && !result;) {
        result = pl_link_send_out(remote);
        err = result ? pl_link_fail(remote, result) : read_hello(remote, number);
        if (err == PEAL_EAGAIN) {
            result = exchange(remote, deadline);
            err = result ? pl_link_fail(remote, result) : err;
        }
    }
    return err;
}

enum peal_err pl_link_connect(struct pl_remote *remote, int64_t deadline)
{
    remote->socket = pl_socket_connect(remote->host, remote->port, remote->bell, deadline);
    if (remote->socket < 0) {
        return pl_link_fail(remote, remote->socket);
    }
    pl_ws_reader_reset(&remote->reader);
    remote->out_begin = 0;
    remote->out_end = 0;
    enum peal_err err = upgrade(remote, deadline);
    err = err ? err : greet(remote, deadline);
    remote->heard = pl_link_now(remote);
    remote->pinged = false;
    return err;
}
