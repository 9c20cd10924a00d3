// SPDX-License-Identifier: MIT
//
// What a session sends comes from any thread: it goes on a list under a lock, and the loop, told
// once while the list is not empty, lends it to the connection. So a message that many follow is
// one piece of memory up to the socket.
//
// What the loop itself has to do for them while it takes messages, it need not be woken for: it is
// gathered, and done when all that came has been taken. So what many messages in a row have caused
// is sent at once.
//
// Three keep one of these: the connection, until it is gone; what is posted or gathered; and the
// jobs of its session. The last one frees it.
#include "service/binary.h"

#include "base/protocol.h"
#include "net/websocket.h"
#include "service/auth.h"
#include "service/selection.h"
#include "service/session.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { ROUNDS = 8 };

struct job;

// All members but the tail are the loop's.
struct service_binaries {
    struct service *service;
    struct service_tail *tail;
    struct binary *first;
    struct net_after after, last;   // before and after the streams'
    bool gathers;                   // messages are being taken: `after` will be run
    struct binary *due, **last_due; // they have something to send
    struct net_task *jobs, **last_job;
};

struct outgoing {
    struct outgoing *next;
    struct service_bytes *bytes;
};

struct binary {
    struct net_task told; // something is to be sent, or read again
    struct service *service;
    struct binary *next, **link; // of all; the loop's
    struct net_websocket *web;   // NULL: the peer has gone
    struct service_session *session;
    struct auth_identity *identity; // shared; or NULL
    pthread_t loop_thread;
    struct binary *next_due; // the loop's, as is the next one
    bool is_due;
    atomic_uint refs;

    pthread_mutex_t lock; // what stands below
    struct outgoing *first, **last;
    size_t waiting; // bytes on the list
    size_t queued;  // in the connection, when the loop looked
    bool posted, resume;
    bool broken; // a message could not be kept
};

static void unref(struct binary *binary)
{
    // Acquire and release: who frees it sees what all others did with it.
    if (atomic_fetch_sub_explicit(&binary->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    while (binary->first) {
        struct outgoing *next = binary->first->next;
        service_bytes_unref(binary->first->bytes);
        free(binary->first);
        binary->first = next;
    }
    auth_identity_unref(binary->identity);
    (void)pthread_mutex_destroy(&binary->lock);
    free(binary);
}

static void ref(struct binary *binary)
{
    // Relaxed: who refs has a reference already.
    atomic_fetch_add_explicit(&binary->refs, 1, memory_order_relaxed);
}

// ---- any thread ---------------------------------------------------------------------------------

// With the lock.
static void tell_loop(struct binary *binary)
{
    if (!binary->posted) {
        binary->posted = true;
        ref(binary);
        net_loop_post(binary->service->loop, &binary->told);
    }
}

// Are we the loop, taking messages?
static bool gathers(const struct binary *binary)
{
    return pthread_equal(pthread_self(), binary->loop_thread) && binary->service->binaries->gathers;
}

static void gather(struct binary *binary)
{
    if (!binary->is_due) {
        binary->is_due = true;
        ref(binary);
        binary->next_due = NULL;
        *binary->service->binaries->last_due = binary;
        binary->service->binaries->last_due = &binary->next_due;
    }
}

static size_t on_send(void *context, struct service_bytes *message)
{
    struct binary *binary = context;
    bool here = gathers(binary);
    struct outgoing *outgoing = message ? malloc(sizeof *outgoing) : NULL;
    (void)pthread_mutex_lock(&binary->lock);
    if (outgoing) {
        *outgoing = (struct outgoing){ NULL, message };
        *binary->last = outgoing;
        binary->last = &outgoing->next;
        binary->waiting += message->size;
    } else {
        binary->broken = true; // a message is missing: the peer is to begin anew
        service_bytes_unref(message);
    }
    size_t waiting = binary->waiting + binary->queued;
    if (!here) {
        tell_loop(binary);
    }
    (void)pthread_mutex_unlock(&binary->lock);
    if (here) {
        gather(binary);
    }
    return waiting;
}

static void on_room(void *context)
{
    struct binary *binary = context;
    (void)pthread_mutex_lock(&binary->lock);
    binary->resume = true;
    tell_loop(binary);
    (void)pthread_mutex_unlock(&binary->lock);
}

struct job {
    struct net_task task;
    struct binary *binary;
    void (*run)(void *job);
    void *job;
};

static void run_job(struct net_task *task)
{
    struct job *job = (struct job *)(void *)task; // its first member
    job->run(job->job);
    unref(job->binary);
    free(job);
}

static void on_work(void *context, void (*run)(void *job), void *what)
{
    struct binary *binary = context;
    struct job *job;
    // A session counts on each of its jobs. Memory for forty bytes comes back.
    while (!(job = malloc(sizeof *job))) {
        sched_yield();
    }
    *job = (struct job){ { .run = run_job }, binary, run, what };
    ref(binary);
    net_loop_work(binary->service->loop, &job->task);
}

// By the loop.
static void on_soon(void *context, void (*run)(void *job), void *what)
{
    struct binary *binary = context;
    struct job *job = malloc(sizeof *job);
    if (!job) {
        on_work(context, run, what); // it tries until there is memory, and need not be quick
        return;
    }
    *job = (struct job){ { .run = run_job }, binary, run, what };
    ref(binary);
    if (gathers(binary)) {
        struct service_binaries *all = binary->service->binaries;
        *all->last_job = &job->task;
        all->last_job = &job->task.next;
    } else {
        net_loop_post(binary->service->loop, &job->task);
    }
}

static bool may_publish(void *context, const char *type)
{
    return auth_may_publish(context, type);
}

static bool may_read(void *context, const char *type)
{
    return auth_may_read(context, type);
}

static bool may_read_all(void *context)
{
    return auth_may_read_all(context);
}

static bool are_over(void *context)
{
    return auth_is_revoked(context);
}

// ---- on the loop --------------------------------------------------------------------------------

static void release(void *bytes)
{
    service_bytes_unref(bytes);
}

static void send_one(struct binary *binary, struct service_bytes *bytes)
{
    char head[NET_FRAME_HEAD_MAX];
    size_t size = net_frame_head(head, NET_FRAME_BINARY, bytes->size);
    net_websocket_send_frames(binary->web, head, size);
    net_websocket_lend_frames(binary->web, bytes->bytes, bytes->size, release, bytes);
}

static void send_all(struct binary *binary, struct outgoing *first)
{
    while (first) {
        struct outgoing *next = first->next;
        if (binary->web) {
            send_one(binary, first->bytes);
        } else {
            service_bytes_unref(first->bytes);
        }
        free(first);
        first = next;
    }
}

static void send_waiting(struct binary *binary)
{
    // Of a connection that is never full nobody tells us that it is empty.
    size_t queued = binary->web ? net_websocket_queued(binary->web) : 0;
    (void)pthread_mutex_lock(&binary->lock);
    struct outgoing *first = binary->first;
    bool resume = binary->resume, broken = binary->broken;
    binary->queued = queued + binary->waiting;
    binary->waiting = 0;
    binary->first = NULL;
    binary->last = &binary->first;
    binary->resume = false;
    (void)pthread_mutex_unlock(&binary->lock);
    send_all(binary, first);
    if (binary->web && broken) {
        net_websocket_close(binary->web, NET_CLOSE_TROUBLE, "no memory; try again later");
    } else if (binary->web && resume) {
        net_websocket_resume(binary->web);
    }
}

static void on_told(struct net_task *task)
{
    struct binary *binary = (struct binary *)(void *)task; // its first member
    (void)pthread_mutex_lock(&binary->lock);
    binary->posted = false;
    (void)pthread_mutex_unlock(&binary->lock);
    send_waiting(binary);
    unref(binary);
}

static void run_gathered(struct service_binaries *all)
{
    struct net_task *job = all->jobs;
    all->jobs = NULL;
    all->last_job = &all->jobs;
    while (job) {
        struct net_task *next = job->next;
        job->run(job);
        job = next;
    }
    struct binary *binary = all->due;
    all->due = NULL;
    all->last_due = &all->due;
    while (binary) {
        struct binary *next = binary->next_due;
        binary->is_due = false;
        send_waiting(binary);
        unref(binary);
        binary = next;
    }
}

// What is left waits for the loop to come by again: after some rounds, and of messages that were
// taken when the streams were looked through, behind us.
static void post_gathered(void *context)
{
    struct service_binaries *all = context;
    all->gathers = false;
    while (all->due) {
        struct binary *binary = all->due;
        all->due = binary->next_due;
        binary->is_due = false;
        (void)pthread_mutex_lock(&binary->lock);
        tell_loop(binary);
        (void)pthread_mutex_unlock(&binary->lock);
        unref(binary);
    }
    all->last_due = &all->due;
    struct net_task *job = all->jobs;
    all->jobs = NULL;
    all->last_job = &all->jobs;
    while (job) {
        struct net_task *next = job->next;
        net_loop_post(all->service->loop, job);
        job = next;
    }
}

static void after_messages(void *context)
{
    struct service_binaries *all = context;
    for (int i = 0; i < ROUNDS && (all->jobs || all->due); i++) {
        run_gathered(all);
    }
    post_gathered(all);
}

static void on_message(void *context, const struct net_message *message)
{
    struct binary *binary = context;
    binary->service->binaries->gathers = true;
    if (message->kind != NET_FRAME_BINARY) {
        net_websocket_close(binary->web, NET_CLOSE_KIND, "peal.v1 is binary");
        return;
    }
    switch (service_session_receive(binary->session, message->bytes, message->size)) {
    case SERVICE_GO_ON:
        break;
    case SERVICE_ENOUGH:
        net_websocket_pause(binary->web);
        break;
    default:
        net_websocket_close(binary->web, NET_CLOSE_POLICY, "that is not peal.v1");
    }
}

static void look_at_queue(struct binary *binary)
{
    (void)pthread_mutex_lock(&binary->lock);
    binary->queued = net_websocket_queued(binary->web);
    (void)pthread_mutex_unlock(&binary->lock);
    service_session_writable(binary->session);
}

static void on_drained(void *context)
{
    look_at_queue(context);
}

static void on_gone(void *context, unsigned code)
{
    struct binary *binary = context;
    (void)code;
    binary->web = NULL;
    service_session_close(binary->session);
    binary->session = NULL;
    *binary->link = binary->next;
    if (binary->next) {
        binary->next->link = binary->link;
    }
    unref(binary);
}

// ---- the call -----------------------------------------------------------------------------------

static const struct net_websocket_ops web_ops = {
    .message = on_message,
    .drained = on_drained,
    .gone = on_gone,
};

static struct binary *make(struct service_call *call)
{
    struct service *service = call->service;
    struct binary *binary = calloc(1, sizeof *binary);
    if (!binary) {
        return NULL;
    }
    binary->service = service;
    binary->told.run = on_told;
    binary->loop_thread = pthread_self();
    binary->last = &binary->first;
    binary->identity = call->identity ? auth_identity_ref(call->identity) : NULL;
    atomic_init(&binary->refs, 1);
    (void)pthread_mutex_init(&binary->lock, NULL); // of the usual kind: cannot fail
    const struct service_session_config config = {
        .bus = service->bus,
        .feed = service->binaries->tail,
        .rights = { .may_publish = binary->identity ? may_publish : NULL,
                    .may_read = binary->identity ? may_read : NULL,
                    .may_read_all = may_read_all,
                    .are_over = binary->identity ? are_over : NULL,
                    .context = binary->identity,
                    .only_events = binary->identity && !auth_is_admin(binary->identity) },
        .send = on_send,
        .drained = on_room,
        .work = on_work,
        .soon = on_soon,
        .context = binary,
        .at_once = service->options.durability != PEAL_DURABILITY_DISK,
        .publish_ms = service->options.publish_ms,
    };
    if (service_session_open(&binary->session, &config)) {
        unref(binary);
        return NULL;
    }
    return binary;
}

static void enlist(struct binary *binary)
{
    struct service_binaries *all = binary->service->binaries;
    binary->next = all->first;
    binary->link = &all->first;
    if (binary->next) {
        binary->next->link = &binary->next;
    }
    all->first = binary;
}

void service_begin_binary(struct service_call *call)
{
    if (!service_has_room(call)) {
        return;
    }
    struct binary *binary = make(call);
    if (!binary) {
        service_refuse(call, 503, "nomem", "no memory; try again later");
        return;
    }
    struct net_request *request = service_call_take(call);
    if (net_websocket_open(&binary->web, request, "peal.v1", PL_PROTOCOL_BYTES_MAX, &web_ops,
                           binary)) {
        service_session_close(binary->session);
        unref(binary);
        net_answer_problem(request, 503, "nomem", "no memory; try again later");
        return;
    }
    enlist(binary);
    struct service_binaries *all = call->service->binaries;
    if (!all->last.run) {
        all->last = (struct net_after){ .run = post_gathered, .context = all };
        net_loop_after(call->service->loop, &all->last);
    }
}

// ---- all of them --------------------------------------------------------------------------------

enum peal_err service_binaries_open(struct service_binaries **out, struct service *service)
{
    struct service_binaries *binaries = calloc(1, sizeof *binaries);
    if (!binaries) {
        return PEAL_ENOMEM;
    }
    binaries->service = service;
    binaries->last_job = &binaries->jobs;
    binaries->last_due = &binaries->due;
    binaries->after = (struct net_after){ .run = after_messages, .context = binaries };
    enum peal_err err = service_tail_open(&binaries->tail, service->bus);
    if (err) {
        free(binaries);
        return err;
    }
    net_loop_after(service->loop, &binaries->after); // before the streams', which send
    *out = binaries;
    return PEAL_OK;
}

void service_binaries_close(struct service_binaries *binaries)
{
    if (binaries) {
        net_loop_after_remove(binaries->service->loop, &binaries->after);
        net_loop_after_remove(binaries->service->loop, &binaries->last);
        service_tail_close(binaries->tail);
        free(binaries);
    }
}

static bool rests(struct binary *binary)
{
    pthread_mutex_lock(&binary->lock);
    bool nothing = !binary->first;
    pthread_mutex_unlock(&binary->lock);
    return !binary->web || (nothing && service_session_rests(binary->session));
}

bool service_binaries_rest(const struct service_binaries *binaries)
{
    bool all = service_tail_rests(binaries->tail);
    for (struct binary *binary = binaries->first; binary && all; binary = binary->next) {
        all = rests(binary);
    }
    return all;
}

void service_binaries_drain(struct service_binaries *binaries)
{
    for (struct binary *binary = binaries->first; binary; binary = binary->next) {
        net_websocket_close(binary->web, NET_CLOSE_AWAY, "the service stops");
    }
}

void service_binaries_tick(struct service_binaries *binaries)
{
    for (struct binary *binary = binaries->first; binary; binary = binary->next) {
        if (binary->identity && auth_is_revoked(binary->identity)) {
            net_websocket_close(binary->web, NET_CLOSE_POLICY, "the token was taken back");
        } else {
            service_session_tick(binary->session);
        }
    }
}

uint64_t service_binaries_delivered(const struct service_binaries *binaries)
{
    return service_tail_delivered(binaries->tail);
}

size_t service_binaries_count(const struct service_binaries *binaries)
{
    size_t count = 0;
    for (const struct binary *binary = binaries->first; binary; binary = binary->next) {
        count++;
    }
    return count;
}
