// SPDX-License-Identifier: MIT
//
// A session's life: requests wait in a queue, and one job at a time takes them out and does them,
// in the order in which they came. So what a client publishes keeps its order, and what it asks
// after having published sees it.
//
// Who publishes a few events, and waits for nobody, need not wait for a job either: if none is at
// the queue, receive does it. Many are left to a job, so that they are published on one CPU while
// the next are received on another.
//
// Two locks: `lock` for what is known, `sending` around what is told to the connection, so that
// nothing is told to one that has gone. Neither is held while the bus is called.
#include "service/session_inside.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

struct service_bytes *service_bytes_create(size_t size)
{
    struct service_bytes *bytes = malloc(sizeof *bytes + size);
    if (bytes) {
        atomic_init(&bytes->refs, 1);
        bytes->size = size;
        bytes->types = NULL;
    }
    return bytes;
}

void service_bytes_ref(struct service_bytes *bytes)
{
    // Relaxed: who has a reference may make another.
    atomic_fetch_add_explicit(&bytes->refs, 1, memory_order_relaxed);
}

void service_bytes_unref(struct service_bytes *bytes)
{
    // Release and acquire: the last one frees what all others have read.
    if (bytes && atomic_fetch_sub_explicit(&bytes->refs, 1, memory_order_acq_rel) == 1) {
        session_types_free(bytes->types);
        free(bytes);
    }
}

void session_ref(struct service_session *session)
{
    atomic_fetch_add_explicit(&session->refs, 1, memory_order_relaxed);
}

static void free_queue(struct service_session *session)
{
    struct pl_list *link;
    while ((link = pl_list_pop_head(&session->queue))) {
        free(pl_container_of(link, struct session_request, link));
    }
}

void session_unref(struct service_session *session)
{
    if (atomic_fetch_sub_explicit(&session->refs, 1, memory_order_acq_rel) == 1) {
        free_queue(session);
        session_wants_unref(session->wants);
        (void)pthread_mutex_destroy(&session->lock);
        (void)pthread_mutex_destroy(&session->sending);
        free(session);
    }
}

bool session_may_read(const struct service_session *session, const char *type)
{
    const struct service_rights *rights = &session->config.rights;
    return !rights->may_read || rights->may_read(rights->context, type);
}

bool session_may_publish(const struct service_session *session, const char *type)
{
    const struct service_rights *rights = &session->config.rights;
    return !rights->may_publish || rights->may_publish(rights->context, type);
}

bool session_is_over(const struct service_session *session)
{
    const struct service_rights *rights = &session->config.rights;
    return rights->are_over && rights->are_over(rights->context);
}

// ---- sending ------------------------------------------------------------------------------------

void session_send(struct service_session *session, struct service_bytes *message)
{
    size_t waiting = 0;
    pthread_mutex_lock(&session->lock);
    unsigned emptied = session->emptied;
    pthread_mutex_unlock(&session->lock);
    pthread_mutex_lock(&session->sending);
    // Asked behind the rights that what it says depends on: those that were over while it was
    // written are over now.
    if (session->gone || session_is_over(session)) {
        service_bytes_unref(message);
    } else {
        waiting = session->config.send(session->config.context, message);
    }
    pthread_mutex_unlock(&session->sending);
    pthread_mutex_lock(&session->lock);
    if (emptied == session->emptied) { // else it is old: nobody would tell us again
        session->waiting = waiting;
    }
    pthread_mutex_unlock(&session->lock);
}

void session_answer(struct service_session *session, uint64_t number, enum peal_err err,
                    struct pl_pack *pack)
{
    if (!err && pack->failed) {
        err = PEAL_ENOMEM;
    }
    if (err) {
        const char *sentence = pack->failed ? "no memory for the answer" : peal_error_sentence();
        pl_pack_finish(pack);
        pl_pack_begin(pack, &pl_seams_real);
        pl_pack_text(pack, sentence);
    }
    struct service_bytes *message = pack->failed ? NULL : service_bytes_create(pack->size);
    if (message) {
        memcpy(message->bytes, pack->bytes, pack->size);
        pl_protocol_head_write(message->bytes,
                               &(struct pl_protocol_head){ PL_PROTOCOL_ANSWER, err, number });
    }
    session_send(session, message);
    pl_pack_finish(pack);
}

// ---- requests -----------------------------------------------------------------------------------

void session_refuse(struct service_session *session, uint64_t number, enum peal_err err,
                    const char *sentence)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, &pl_seams_real);
    pl_pack_text(&pack, sentence);
    struct service_bytes *message = pack.failed ? NULL : service_bytes_create(pack.size);
    if (message) {
        memcpy(message->bytes, pack.bytes, pack.size);
        pl_protocol_head_write(message->bytes,
                               &(struct pl_protocol_head){ PL_PROTOCOL_ANSWER, err, number });
    }
    session_send(session, message);
    pl_pack_finish(&pack);
}

static void greet(struct service_session *session, const struct pl_protocol_head *head,
                  struct pl_unpack *unpack)
{
    char identity[PEAL_LOG_IDENTITY_SIZE] = "";
    (void)pl_unpack_text(unpack); // who it is, for those who look at what is sent
    uint64_t first = 1, end = 1;
    struct pl_pack pack;
    pl_pack_begin(&pack, &pl_seams_real);
    enum peal_err err = session_ends(session->config.bus, &first, &end);
    pl_pack_text(&pack, "peal/" PEAL_VERSION);
    pl_pack_number(&pack, first);
    pl_pack_number(&pack, end);
    err = err ? err : peal_log_identity(identity, session->config.bus);
    pl_pack_text(&pack, identity);
    session->greeted = !err;
    session_answer(session, head->number, err, &pack);
}

static void follow(struct service_session *session, const struct pl_protocol_head *head,
                   struct pl_unpack *unpack)
{
    struct pl_pack pack;
    uint64_t from = pl_unpack_number(unpack), credit = pl_unpack_number(unpack);
    struct session_wants *wants = NULL;
    if (unpack->bad || from == 0 || credit > INT64_MAX / 2) {
        session_refuse(session, head->number, PEAL_EINVAL,
                       "a request to follow that makes no sense");
        return;
    }
    enum peal_err err = session_wants_read(&wants, unpack);
    err = err ? err : session_follow(session, from, (int64_t)credit, wants);
    pl_pack_begin(&pack, &pl_seams_real);
    session_answer(session, head->number, err, &pack);
}

// Other patterns, from what is sent next on.
static void want(struct service_session *session, const struct pl_protocol_head *head,
                 struct pl_unpack *unpack)
{
    struct pl_pack pack;
    struct session_wants *wants = NULL;
    enum peal_err err = session_wants_read(&wants, unpack);
    if (!err) {
        session_want(session, wants);
    }
    pl_pack_begin(&pack, &pl_seams_real);
    session_answer(session, head->number, err, &pack);
}

static void tell_ends(struct service_session *session, const struct pl_protocol_head *head)
{
    uint64_t first = 1, end = 1;
    struct pl_pack pack;
    pl_pack_begin(&pack, &pl_seams_real);
    enum peal_err err = session_ends(session->config.bus, &first, &end);
    pl_pack_number(&pack, first);
    pl_pack_number(&pack, end);
    session_answer(session, head->number, err, &pack);
    pthread_mutex_lock(&session->lock);
    if (!err && session->pump != PUMP_NONE) {
        session->owed = end;
        session_nudge(session);
    }
    pthread_mutex_unlock(&session->lock);
}

static void do_request(struct service_session *session, const struct session_request *request)
{
    struct pl_protocol_head head;
    if (!pl_protocol_head_read(&head, request->bytes, request->size)) {
        return; // receive has looked
    }
    struct pl_unpack unpack = { request->bytes + PL_PROTOCOL_HEAD, request->size - PL_PROTOCOL_HEAD,
                                false };
    if (!session->greeted && head.kind != PL_PROTOCOL_HELLO) {
        session_refuse(session, head.number, PEAL_ESTATE, "a connection begins with HELLO");
        return;
    }
    switch (head.kind) {
    case PL_PROTOCOL_HELLO:
        greet(session, &head, &unpack);
        break;
    case PL_PROTOCOL_PUBLISH:
        session_publish(session, &head, request->bytes, request->size);
        break;
    case PL_PROTOCOL_FOLLOW:
        follow(session, &head, &unpack);
        break;
    case PL_PROTOCOL_WANT:
        want(session, &head, &unpack);
        break;
    case PL_PROTOCOL_CREDIT:
        session_credit(session, (int64_t)(pl_unpack_number(&unpack) & INT32_MAX));
        break;
    case PL_PROTOCOL_SUBSCRIBE:
        session_subscribe(session, &head, &unpack);
        break;
    case PL_PROTOCOL_UNSUBSCRIBE:
        session_unsubscribe(session, &head, &unpack);
        break;
    case PL_PROTOCOL_SETTLE:
        session_settle(session, &head, &unpack);
        break;
    case PL_PROTOCOL_ENDS:
        tell_ends(session, &head);
        break;
    default:
        if (!session_call(session, &head, &unpack)) {
            session_refuse(session, head.number, PEAL_EUNSUPPORTED,
                           "the service does not know this request: is it of another version?");
        }
    }
}

// The next request; NULL: there is none, and the job is over.
static struct session_request *next_request(struct service_session *session)
{
    bool drained = false;
    struct session_request *request = NULL;
    pthread_mutex_lock(&session->lock);
    struct pl_list *link = session->closed ? NULL : pl_list_pop_head(&session->queue);
    if (link) {
        request = pl_container_of(link, struct session_request, link);
        session->queued -= request->size;
    }
    session->serving = request != NULL;
    if (session->full && session->queued <= SERVICE_QUEUE_MAX / 2) {
        session->full = false;
        drained = true;
    }
    pthread_mutex_unlock(&session->lock);
    if (drained) {
        pthread_mutex_lock(&session->sending);
        if (!session->gone) {
            session->config.drained(session->config.context);
        }
        pthread_mutex_unlock(&session->sending);
    }
    return request;
}

static void serve(void *job)
{
    struct service_session *session = job;
    struct session_request *request;
    while ((request = next_request(session))) {
        do_request(session, request);
        free(request);
    }
    session_unref(session);
}

// ---- what the connection calls ------------------------------------------------------------------

enum peal_err service_session_open(struct service_session **out,
                                   const struct service_session_config *config)
{
    struct service_session *session = calloc(1, sizeof *session);
    if (!session) {
        return pl_fail(PEAL_ENOMEM, "no memory for a client");
    }
    session->config = *config;
    if (session->config.waiting_max == 0) {
        session->config.waiting_max = SERVICE_WAITING_MAX;
    }
    atomic_init(&session->refs, 1);
    pl_list_init(&session->queue);
    pl_list_init(&session->names);
    (void)pthread_mutex_init(&session->lock, NULL);
    (void)pthread_mutex_init(&session->sending, NULL);
    *out = session;
    return PEAL_OK;
}

// True: it was done. Nobody else takes requests meanwhile, since none are added.
static bool do_at_once(struct service_session *session, const struct pl_protocol_head *head,
                       const void *bytes, size_t size)
{
    pthread_mutex_lock(&session->lock);
    bool alone = !session->serving && !session->closed && session->greeted;
    pthread_mutex_unlock(&session->lock);
    return alone && session_publish_at_once(session, head, bytes, size);
}

enum service_reception service_session_receive(struct service_session *session, const void *bytes,
                                               size_t size)
{
    struct pl_protocol_head head;
    if (!pl_protocol_head_read(&head, bytes, size) || head.kind >= PL_PROTOCOL_ANSWER) {
        return SERVICE_BREACH;
    }
    if (session->config.at_once && head.kind == PL_PROTOCOL_PUBLISH &&
        do_at_once(session, &head, bytes, size)) {
        return SERVICE_GO_ON;
    }
    struct session_request *request = malloc(sizeof *request + size);
    if (!request) {
        return SERVICE_BREACH;
    }
    request->link = (struct pl_list){ NULL, NULL };
    request->size = size;
    memcpy(request->bytes, bytes, size);
    pthread_mutex_lock(&session->lock);
    pl_list_add_tail(&session->queue, &request->link);
    session->queued += size;
    session->full = session->full || session->queued > SERVICE_QUEUE_MAX;
    bool full = session->full, begin = !session->serving;
    session->serving = true;
    pthread_mutex_unlock(&session->lock);
    if (begin) {
        session_ref(session);
        session->config.work(session->config.context, serve, session);
    }
    return full ? SERVICE_ENOUGH : SERVICE_GO_ON;
}

void service_session_writable(struct service_session *session)
{
    pthread_mutex_lock(&session->lock);
    session->waiting = 0;
    session->emptied++;
    session_nudge(session);
    pthread_mutex_unlock(&session->lock);
}

void service_session_close(struct service_session *session)
{
    if (!session) {
        return;
    }
    pthread_mutex_lock(&session->sending);
    session->gone = true;
    pthread_mutex_unlock(&session->sending);
    pthread_mutex_lock(&session->lock);
    session->closed = true;
    pthread_mutex_unlock(&session->lock);
    session_unfollow(session);
    session_leave_names(session);
    session_unref(session);
}
