// SPDX-License-Identifier: MIT
//
// The link: one thread that has the connection.
//
//     connect ─► upgrade ─► HELLO ─► serve: ┌ say what others left (remote_out.c) ┐
//        ▲                                  └ hear what has come (remote_in.c)    ┘
//        └────────── a pause ◄── broken ◄──────────┘
//
// The link has `wire` always but while it serves and waits for the socket: only then others send.
#include "engine/remote_link.h"

#include "base/error.h"
#include "base/socket.h"

#include <errno.h>
#include <peal/peal.h>
#include <stdarg.h>
#include <stdio.h>

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

// Silence: a ping, and then the end.
static int mind_silence(struct pl_remote *remote)
{
    int64_t silent_ms = (pl_link_now(remote) - remote->heard) / PL_NS_PER_MS;
    if (silent_ms >= 3LL * PL_REMOTE_PING_MS) {
        return -ETIMEDOUT;
    }
    if (silent_ms >= PL_REMOTE_PING_MS && !remote->pinged) {
        remote->pinged = true;
        return pl_link_put_frame(remote, PL_WS_PING, "", 0) ? 0 : -ENOMEM;
    }
    return 0;
}

static int serve(struct pl_remote *remote)
{
    int result = 0;
    while (!result && !pl_link_is_stopping(remote)) {
        result = pl_link_fill_out(remote) ? pl_link_send_out(remote) : -ENOMEM;
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
            result = pl_link_hear(remote);
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
    int result = pl_link_fill_out(remote) ? 0 : -ENOMEM;
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
