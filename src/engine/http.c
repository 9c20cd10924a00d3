// SPDX-License-Identifier: MIT
//
// http: the log of a service, wherever it runs. What is published goes there, and what is published
// there comes here, into a log in memory that is the newest part of the other one; its past is read
// over the same connection. remote.h has the picture.
#include "engine/remote.h"

#include "base/error.h"
#include "base/socket.h"

#include <stdio.h>
#include <string.h>

static void destroy(struct pl_remote *remote)
{
    const struct pl_seams *seams = remote->seams;
    pl_ws_reader_finish(&remote->reader);
    pl_socket_close(remote->bell);
    pl_remote_drop_names(remote);
    pl_remote_drop_spares(remote);
    pl_remote_drop_wants(remote);
    pl_release(seams, remote->out);
    pl_release(seams, remote->host);
    pl_release(seams, remote->path);
    pl_release(seams, remote->token);
    pl_release(seams, remote->name);
    pl_release(seams, remote);
}

static void http_close(struct pl_engine *engine)
{
    if (engine) {
        struct pl_local *local = pl_local_of(engine);
        if (local->remote) {
            pl_remote_end(local->remote);
            destroy(local->remote);
        }
        pl_local_destroy(local);
    }
}

static enum peal_err check_url(const struct pl_url *url)
{
    if (!*url->host) {
        return pl_fail(PEAL_EURL, "http: needs a host; write \"http://127.0.0.1:%d\"",
                       PL_REMOTE_PORT);
    }
    if (url->user || url->password) {
        return pl_fail(PEAL_EURL,
                       "http://%s: a service knows its users by a token: leave user and "
                       "password out, and set the option token",
                       url->host);
    }
    if (strpbrk(url->path, " \r\n") || strpbrk(url->host, " \r\n/")) {
        return pl_fail(PEAL_EURL, "http://%s: there is a blank in it", url->host);
    }
    return PEAL_OK;
}

static bool copy_texts(struct pl_remote *remote, const struct pl_url *url, const char *token)
{
    const struct pl_seams *seams = remote->seams;
    char name[PL_URL_HOST_MAX + 32];
    bool v6 = strchr(url->host, ':') != NULL;
    size_t path = strlen(url->path);
    while (path > 0 && url->path[path - 1] == '/') {
        path--;
    }
    remote->port = url->port ? url->port : PL_REMOTE_PORT;
    (void)snprintf(name, sizeof name, "http://%s%s%s:%u", v6 ? "[" : "", url->host, v6 ? "]" : "",
                   (unsigned)remote->port); // fits
    remote->host = pl_copy_bytes(seams, url->host, strlen(url->host));
    remote->path = pl_copy_bytes(seams, url->path, path);
    remote->name = pl_copy_bytes(seams, name, strlen(name));
    remote->token = token ? pl_copy_bytes(seams, token, strlen(token)) : NULL;
    return remote->host && remote->path && remote->name && (remote->token || !token);
}

static enum peal_err create(struct pl_remote **out, const struct pl_url *url,
                            const struct pl_engine_config *config)
{
    const struct pl_seams *seams = config->seams;
    if (config->token && strpbrk(config->token, " \r\n")) {
        return pl_fail(PEAL_EINVAL, "token: there is a blank in it, or the end of a line");
    }
    struct pl_remote *remote = pl_new(seams, sizeof *remote);
    if (!remote) {
        return pl_fail(PEAL_ENOMEM, "no memory to open http://%s", url->host);
    }
    remote->seams = seams;
    remote->socket = -1;
    remote->reader = (struct pl_ws_reader){ .seams = seams, .max = PL_PROTOCOL_BYTES_MAX };
    remote->spool_max = config->spool_bytes;
    remote->pressure = config->pressure;
    remote->block_ms = config->block_ms;
    remote->arrive = config->arrive;
    remote->deliver = config->deliver;
    remote->void_deliveries = config->void_deliveries;
    remote->forgotten = config->forgotten;
    remote->arrive_context = config->arrive_context;
    remote->types = config->types;
    remote->say = config->say;
    remote->say_context = config->say_context;
    pl_clock_init(&remote->clock, seams);
    remote->chance[0] = seams->random(seams->world);
    remote->chance[1] = seams->random(seams->world);
    pl_list_init(&remote->calls);
    pl_list_init(&remote->waiting);
    pl_list_init(&remote->sent);
    pl_list_init(&remote->names);
    pl_settled_init(&remote->unsent);
    pl_list_init(&remote->wants);
    bool fine = copy_texts(remote, url, config->token);
    remote->bell = fine ? pl_bell_open() : -1;
    if (remote->bell < 0) {
        destroy(remote);
        return fine ? pl_fail(PEAL_EIO, "no descriptor for a connection")
                    : pl_fail(PEAL_ENOMEM, "no memory to open http://%s", url->host);
    }
    *out = remote;
    return PEAL_OK;
}

// A stretch around it is what comes, so that the next ones are there as well.
static enum peal_err pick(void *context, struct pl_segment **out, uint64_t position,
                          struct pl_coming *coming)
{
    (void)coming; // the service waits for the disk
    return pl_remote_read(context, out, position);
}

static enum peal_err http_open(struct pl_engine **out, const struct pl_url *url,
                               const struct pl_engine_config *config)
{
    struct pl_local *local;
    enum peal_err err = check_url(url);
    err = err ? err : pl_local_create(&local, config);
    if (err) {
        return err;
    }
    local->engine.ops = &pl_engine_http;
    local->log.past =
        (struct pl_log_past){ .read = pl_remote_read, .pick = pick, .first = pl_remote_first };
    err = create(&local->remote, url, config);
    if (!err) {
        local->log.past.context = local->remote;
        local->remote->local = local;
        err = pl_remote_start(local->remote);
    }
    if (err) {
        http_close(&local->engine);
        return err;
    }
    // Relaxed: the link has said so.
    uint64_t end = atomic_load_explicit(&local->remote->end, memory_order_relaxed);
    pl_log_begin(&local->log, end, 0);
    memcpy(local->engine.identity, local->remote->identity, sizeof local->engine.identity);
    *out = &local->engine;
    return PEAL_OK;
}

static enum peal_err http_append(struct pl_engine *engine, struct pl_request *requests,
                                 size_t count)
{
    (void)engine;
    (void)requests;
    (void)count;
    return pl_fail(PEAL_EUNSUPPORTED, "http: nothing is appended here");
}

// ---- where it ends ------------------------------------------------------------------------------

static enum peal_err ask_ends(struct pl_remote *remote, uint64_t *out_end)
{
    struct pl_pack pack;
    char *answer = NULL;
    size_t size = 0;
    pl_pack_begin(&pack, remote->seams);
    enum peal_err err = pl_remote_call(remote, PL_PROTOCOL_ENDS, &pack, &answer, &size);
    pl_pack_finish(&pack);
    if (err) {
        return err;
    }
    struct pl_unpack unpack = { answer + PL_PROTOCOL_HEAD, size - PL_PROTOCOL_HEAD, false };
    uint64_t first = pl_unpack_number(&unpack), end = pl_unpack_number(&unpack);
    bool bad = unpack.bad || first == 0 || end < first;
    pl_release(remote->seams, answer);
    if (bad) {
        return pl_fail(PEAL_EIO, "%s answered with something that is no log's ends", remote->name);
    }
    // Relaxed: each is a number of its own.
    atomic_store_explicit(&remote->first, first, memory_order_relaxed);
    *out_end = end;
    return PEAL_OK;
}

static enum peal_err wait_for_arrivals(struct pl_remote *remote, uint64_t end)
{
    struct pl_log *log = &remote->local->log;
    const struct pl_seams *seams = remote->seams;
    int64_t deadline = seams->monotonic(seams->world) + PL_REMOTE_WAIT_MS * PL_NS_PER_MS;
    while (pl_log_end(log) < end) {
        int64_t now = seams->monotonic(seams->world);
        if (now >= deadline || atomic_load_explicit(&remote->stopping, memory_order_relaxed)) {
            return now >= deadline
                       ? pl_fail(PEAL_ETIMEDOUT, "the events of %s have not all come for %d s",
                                 remote->name, PL_REMOTE_WAIT_MS / 1000)
                       : pl_fail(PEAL_ECLOSED, "the bus has been stopped");
        }
        unsigned word = atomic_load(&remote->arrived);
        if (atomic_load_explicit(&remote->estranged, memory_order_relaxed)) {
            return pl_fail(PEAL_ESTATE, "%s has another log now than when this was asked",
                           remote->name);
        }
        if (pl_log_end(log) < end) {
            seams->wait(seams->world, &remote->arrived, word, deadline);
        }
    }
    return PEAL_OK;
}

// Until the log here ends where the other did, which is on its way.
static enum peal_err wait_for_end(struct pl_remote *remote, uint64_t end)
{
    // Sequentially consistent, as in the link.
    atomic_fetch_add(&remote->arrival_waiters, 1);
    enum peal_err err = wait_for_arrivals(remote, end);
    atomic_fetch_sub(&remote->arrival_waiters, 1);
    return err;
}

enum peal_err pl_remote_refresh(struct pl_engine *engine)
{
    struct pl_local *local = pl_local_of(engine);
    struct pl_remote *remote = local->remote;
    uint64_t end = 0;
    enum peal_err err = ask_ends(remote, &end);
    if (err) {
        return err;
    }
    pl_mutex_lock(&remote->lock, remote->seams);
    bool follows = remote->wants_follow;
    if (!follows && end > pl_log_end(&local->log)) {
        pl_turn_take(&local->log.turn, remote->seams);
        pl_log_publish(&local->log, end); // nothing of it is in memory
        pl_turn_give(&local->log.turn, remote->seams);
    }
    pl_mutex_unlock(&remote->lock, remote->seams);
    return follows ? wait_for_end(remote, end) : PEAL_OK;
}

// ---- streams ------------------------------------------------------------------------------------

static bool http_version(struct pl_engine *engine, struct pl_request *request)
{
    (void)engine;
    request->unknown = request->looked_end == 0;
    request->version = request->unknown ? 0 : request->looked_version;
    return !request->unknown;
}

static enum peal_err http_look(struct pl_engine *engine, struct pl_request *requests, size_t count)
{
    struct pl_remote *remote = pl_local_of(engine)->remote;
    enum peal_err err = PEAL_OK;
    for (size_t i = 0; i < count && !err; i++) {
        struct pl_pack pack;
        char *answer = NULL;
        size_t size = 0;
        pl_pack_begin(&pack, remote->seams);
        pl_pack_text(&pack, requests[i].append.message->subject);
        err = pl_remote_call(remote, PL_PROTOCOL_VERSION_OF, &pack, &answer, &size);
        pl_pack_finish(&pack);
        if (!err) {
            struct pl_unpack unpack = { answer + PL_PROTOCOL_HEAD, size - PL_PROTOCOL_HEAD, false };
            requests[i].looked_version = pl_unpack_number(&unpack);
            requests[i].looked_end = 1;
            requests[i].unknown = false;
            pl_release(remote->seams, answer);
        }
    }
    return err;
}

// ---- calls --------------------------------------------------------------------------------------

static enum peal_err http_call(struct pl_engine *engine, struct pl_engine_call *call)
{
    struct pl_remote *remote = pl_local_of(engine)->remote;
    struct pl_pack pack;
    pl_pack_begin(&pack, remote->seams);
    char *room = pl_pack_room(&pack, call->size);
    if (room && call->size > 0) {
        memcpy(room, call->bytes, call->size);
    }
    enum peal_err err = pl_remote_call(remote, PL_PROTOCOL_CALL + call->kind, &pack, &call->answer,
                                       &call->answer_size);
    pl_pack_finish(&pack);
    return err;
}

// The bus stops: what was published is sent.
static enum peal_err http_settle(struct pl_engine *engine, uint64_t end, enum peal_durability level)
{
    struct pl_remote *remote = pl_local_of(engine)->remote;
    (void)end;
    (void)level; // each message says its own
    const struct pl_seams *seams = remote->seams;
    return pl_remote_flush(remote,
                           seams->monotonic(seams->world) + PL_REMOTE_OPEN_MS * PL_NS_PER_MS);
}

static void http_stop(struct pl_engine *engine)
{
    pl_remote_end(pl_local_of(engine)->remote);
}

const struct pl_engine_ops pl_engine_http = {
    .scheme = "http",
    .capabilities =
        PL_CAN_DELIVER | PL_CAN_KEEP | PL_CAN_EXPECT | PL_CAN_DEDUPLICATE | PL_CAN_REMOTE,
    .durability = PEAL_DURABILITY_DISK,
    .open = http_open,
    .append = http_append,
    .version = http_version,
    .look = http_look,
    .settle = http_settle,
    .refresh = pl_remote_refresh,
    .publish = pl_remote_publish,
    .listen = pl_remote_listen,
    .unlisten = pl_remote_unlisten,
    .find = pl_remote_find,
    .call = http_call,
    .take_name = pl_remote_take_name,
    .give_name = pl_remote_give_name,
    .settle_afar = pl_remote_settle,
    .settled_afar = pl_remote_settled,
    .save_name = pl_remote_save_name,
    .stop = http_stop,
    .close = http_close,
};
