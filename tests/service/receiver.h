// SPDX-License-Identifier: MIT
//
// Receiver: a small HTTP server of the test's own, for what webhooks send. Include cmocka.h first.
//
//     struct receiver receiver;
//     receiver_open(&receiver, answer, context);     answer says what to do with each request
//     ... receiver.port ...
//     receiver_wait(&receiver, 3);                   until three requests have come
//     assert_string_equal(receiver_get(&receiver, 0)->body, "...");
//     receiver_close(&receiver);
//
// Each connection has a thread, and is kept until the sender or the answer ends it. `answer` runs
// with the receiver's lock: it may look at everything.
#ifndef PEAL_TESTS_RECEIVER_H
#define PEAL_TESTS_RECEIVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECEIVER_CONNECTIONS 128
#define RECEIVER_PATIENCE_S  20

enum reply_way {
    REPLY_ANSWER = 0,
    REPLY_CUT,       // the connection ends without a word
    REPLY_CUT_BODY,  // in the middle of the answer
    REPLY_HOLD,      // answers when it is released
    REPLY_NOISE,     // what comes is no HTTP
    REPLY_LONG_HEAD, // a head that does not end
};

struct reply {
    enum reply_way way;
    int status;       // 0: 200
    const char *head; // more lines, each with its end; NULL: none
    const char *body; // NULL: none
    size_t huge;      // bytes of a body that is `body` once and then dots
};

struct request {
    char *head, *body;
    size_t size;
    unsigned connection;
};

struct receiver;
typedef void receiver_answer(struct reply *out, struct receiver *receiver,
                             const struct request *request, void *context);

struct receiver {
    pthread_mutex_t lock; // guards all below
    pthread_cond_t changed;
    receiver_answer *answer;
    void *context;
    SSL_CTX *tls; // NULL: plain
    int listener;
    unsigned port;
    pthread_t thread;
    struct request **requests; // each stays where it is until closed
    size_t count, room;
    int sockets[RECEIVER_CONNECTIONS]; // -1: ended
    unsigned connections, running;
    unsigned held, most_held; // answers that wait to be released
    bool released, closing;
};

struct receiver_line {
    struct receiver *receiver;
    unsigned number;
    int socket;
    SSL *tls;
};

// Memory that a test which refuses memory (support/machine.h) does not refuse.
static inline void *receiver_new(size_t size)
{
    void *memory = aligned_alloc(16, (size + 15) / 16 * 16);
    return memset(memory, 0, size);
}

static inline ssize_t receiver_read(struct receiver_line *line, char *out, size_t size)
{
    return line->tls ? SSL_read(line->tls, out, (int)size) : recv(line->socket, out, size, 0);
}

static inline bool receiver_write(struct receiver_line *line, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t some = line->tls ? SSL_write(line->tls, bytes, (int)size)
                                 : send(line->socket, bytes, size, MSG_NOSIGNAL);
        if (some <= 0) {
            return false;
        }
        bytes += some;
        size -= (size_t)some;
    }
    return true;
}

// The value of a header, in the buffer; "" if it is not there.
static inline const char *request_header(const struct request *request, const char *name, char *out,
                                         size_t size)
{
    char wanted[100];
    (void)snprintf(wanted, sizeof wanted, "\r\n%s: ", name);
    const char *at = strcasestr(request->head, wanted);
    out[0] = 0;
    if (at) {
        at += strlen(wanted);
        (void)snprintf(out, size, "%.*s", (int)strcspn(at, "\r"), at);
    }
    return out;
}

// One request, of which the head ends where an empty line is. false: the connection has ended.
static inline bool receiver_take(struct receiver_line *line, struct request *out)
{
    size_t size = 0, room = 1 << 16;
    char *bytes = receiver_new(room);
    char *end = NULL;
    while (!end && size + 1 < room) {
        ssize_t some = receiver_read(line, bytes + size, room - size - 1);
        if (some <= 0) {
            free(bytes);
            return false;
        }
        size += (size_t)some;
        end = strstr(bytes, "\r\n\r\n");
    }
    if (!end) {
        free(bytes);
        return false;
    }
    size_t head = (size_t)(end - bytes) + 4;
    out->head = strndup(bytes, head);
    char text[32];
    out->size = strtoul(request_header(out, "content-length", text, sizeof text), NULL, 10);
    out->body = receiver_new(out->size + 1);
    size_t have = size - head;
    memcpy(out->body, bytes + head, have);
    free(bytes);
    while (have < out->size) {
        ssize_t some = receiver_read(line, out->body + have, out->size - have);
        if (some <= 0) {
            free(out->head);
            free(out->body);
            return false;
        }
        have += (size_t)some;
    }
    out->connection = line->number;
    return true;
}

// With the lock. Keeps the request, asks what to do, and waits if it is to be held.
static inline struct reply receiver_decide(struct receiver *receiver, const struct request *came)
{
    struct reply reply = { 0 };
    struct request *request = receiver_new(sizeof *request);
    *request = *came;
    if (receiver->count == receiver->room) {
        receiver->room = receiver->room ? 2 * receiver->room : 64;
        receiver->requests =
            reallocarray(receiver->requests, receiver->room, sizeof(struct request *));
    }
    receiver->requests[receiver->count++] = request;
    if (receiver->answer) {
        receiver->answer(&reply, receiver, request, receiver->context);
    }
    receiver->held += reply.way == REPLY_HOLD;
    receiver->most_held =
        receiver->held > receiver->most_held ? receiver->held : receiver->most_held;
    pthread_cond_broadcast(&receiver->changed);
    while (reply.way == REPLY_HOLD && !receiver->released && !receiver->closing) {
        pthread_cond_wait(&receiver->changed, &receiver->lock);
    }
    receiver->held -= reply.way == REPLY_HOLD;
    return reply;
}

static inline bool receiver_give_huge(struct receiver_line *line, size_t size)
{
    char dots[4096];
    memset(dots, '.', sizeof dots);
    while (size > 0) {
        size_t some = size < sizeof dots ? size : sizeof dots;
        if (!receiver_write(line, dots, some)) {
            return false;
        }
        size -= some;
    }
    return true;
}

static inline bool receiver_give_long_head(struct receiver_line *line)
{
    static const char begin[] = "HTTP/1.1 200 OK\r\n", more[] = "X-More: and more, and more\r\n";
    bool given = receiver_write(line, begin, strlen(begin));
    while (given) {
        given = receiver_write(line, more, strlen(more));
    }
    return false;
}

// false: the connection ends.
static inline bool receiver_give(struct receiver_line *line, const struct reply *reply)
{
    static const char noise[] = "220 mail.example ESMTP\r\n";
    char head[2048];
    const char *body = reply->body ? reply->body : "";
    if (reply->way == REPLY_CUT) {
        return false;
    }
    if (reply->way == REPLY_NOISE) {
        (void)receiver_write(line, noise, strlen(noise));
        return false;
    }
    if (reply->way == REPLY_LONG_HEAD) {
        return receiver_give_long_head(line);
    }
    size_t length = strlen(body) + reply->huge + (reply->way == REPLY_CUT_BODY ? 10 : 0);
    (void)snprintf(head, sizeof head, "HTTP/1.1 %d Some\r\nContent-Length: %zu\r\n%s\r\n",
                   reply->status ? reply->status : 200, length, reply->head ? reply->head : "");
    return receiver_write(line, head, strlen(head)) && receiver_write(line, body, strlen(body)) &&
           receiver_give_huge(line, reply->huge) && reply->way != REPLY_CUT_BODY;
}

static inline void *receiver_serve(void *context)
{
    struct receiver_line *line = context;
    struct receiver *receiver = line->receiver;
    struct request request;
    bool open = true;
    if (receiver->tls) {
        line->tls = SSL_new(receiver->tls);
        SSL_set_fd(line->tls, line->socket);
        open = SSL_accept(line->tls) == 1;
    }
    while (open && receiver_take(line, &request)) {
        pthread_mutex_lock(&receiver->lock);
        struct reply reply = receiver_decide(receiver, &request);
        pthread_mutex_unlock(&receiver->lock);
        open = receiver_give(line, &reply);
    }
    SSL_free(line->tls);
    pthread_mutex_lock(&receiver->lock);
    receiver->sockets[line->number] = -1;
    close(line->socket);
    receiver->running--;
    pthread_cond_broadcast(&receiver->changed);
    pthread_mutex_unlock(&receiver->lock);
    free(line);
    return NULL;
}

static inline void *receiver_listen(void *context)
{
    struct receiver *receiver = context;
    int connection;
    while ((connection = accept(receiver->listener, NULL, NULL)) >= 0) {
        struct receiver_line *line = receiver_new(sizeof *line);
        pthread_t thread;
        pthread_mutex_lock(&receiver->lock);
        line->receiver = receiver;
        line->number = receiver->connections;
        line->socket = connection;
        bool room = receiver->connections < RECEIVER_CONNECTIONS && !receiver->closing;
        if (room) {
            receiver->sockets[receiver->connections++] = connection;
            receiver->running++;
        }
        pthread_mutex_unlock(&receiver->lock);
        if (!room) {
            close(connection);
            free(line);
        } else if (pthread_create(&thread, NULL, receiver_serve, line) == 0) {
            pthread_detach(thread);
        } else {
            abort();
        }
    }
    return NULL;
}

static inline void receiver_open_at(struct receiver *receiver, const char *address,
                                    receiver_answer *answer, void *context)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    socklen_t length = sizeof in;
    *receiver = (struct receiver){ .answer = answer, .context = context };
    pthread_mutex_init(&receiver->lock, NULL);
    pthread_cond_init(&receiver->changed, NULL);
    receiver->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(inet_pton(AF_INET, address, &in.sin_addr), 1);
    assert_int_equal(bind(receiver->listener, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(receiver->listener, (struct sockaddr *)&in, &length), 0);
    receiver->port = ntohs(in.sin_port);
}

// After receiver_open_at, and what the test changes of it: nobody can connect before.
static inline void receiver_start(struct receiver *receiver)
{
    assert_int_equal(listen(receiver->listener, 64), 0);
    assert_int_equal(pthread_create(&receiver->thread, NULL, receiver_listen, receiver), 0);
}

static inline void receiver_open(struct receiver *receiver, receiver_answer *answer, void *context)
{
    receiver_open_at(receiver, "127.0.0.1", answer, context);
    receiver_start(receiver);
}

static inline void receiver_wait_on(struct receiver *receiver, const size_t *what, size_t least)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RECEIVER_PATIENCE_S;
    pthread_mutex_lock(&receiver->lock);
    int late = 0;
    while (*what < least && !late) {
        late = pthread_cond_timedwait(&receiver->changed, &receiver->lock, &until);
    }
    size_t have = *what;
    pthread_mutex_unlock(&receiver->lock);
    if (have < least) {
        fail_msg("waited for %zu requests, and %zu came", least, have);
    }
}

static inline void receiver_wait(struct receiver *receiver, size_t requests)
{
    receiver_wait_on(receiver, &receiver->count, requests);
}

static inline void receiver_wait_held(struct receiver *receiver, unsigned held)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RECEIVER_PATIENCE_S;
    pthread_mutex_lock(&receiver->lock);
    int late = 0;
    while (receiver->held != held && !late) {
        late = pthread_cond_timedwait(&receiver->changed, &receiver->lock, &until);
    }
    unsigned have = receiver->held;
    pthread_mutex_unlock(&receiver->lock);
    assert_int_equal(have, held);
}

static inline size_t receiver_count(struct receiver *receiver)
{
    pthread_mutex_lock(&receiver->lock);
    size_t count = receiver->count;
    pthread_mutex_unlock(&receiver->lock);
    return count;
}

// One that has come.
static inline const struct request *receiver_get(struct receiver *receiver, size_t index)
{
    pthread_mutex_lock(&receiver->lock);
    const struct request *request = index < receiver->count ? receiver->requests[index] : NULL;
    pthread_mutex_unlock(&receiver->lock);
    assert_non_null(request);
    return request;
}

// How many connections there have been, and how many answers waited at a time.
static inline unsigned receiver_connections(struct receiver *receiver)
{
    pthread_mutex_lock(&receiver->lock);
    unsigned connections = receiver->connections;
    pthread_mutex_unlock(&receiver->lock);
    return connections;
}

static inline unsigned receiver_most_held(struct receiver *receiver)
{
    pthread_mutex_lock(&receiver->lock);
    unsigned held = receiver->most_held;
    pthread_mutex_unlock(&receiver->lock);
    return held;
}

static inline void receiver_release(struct receiver *receiver)
{
    pthread_mutex_lock(&receiver->lock);
    receiver->released = true;
    pthread_cond_broadcast(&receiver->changed);
    pthread_mutex_unlock(&receiver->lock);
}

static inline void receiver_close(struct receiver *receiver)
{
    pthread_mutex_lock(&receiver->lock);
    receiver->closing = true;
    pthread_cond_broadcast(&receiver->changed);
    pthread_mutex_unlock(&receiver->lock);
    (void)shutdown(receiver->listener, SHUT_RDWR);
    pthread_join(receiver->thread, NULL);
    close(receiver->listener);
    pthread_mutex_lock(&receiver->lock);
    for (unsigned i = 0; i < receiver->connections; i++) {
        if (receiver->sockets[i] >= 0) {
            (void)shutdown(receiver->sockets[i], SHUT_RDWR);
        }
    }
    while (receiver->running > 0) {
        pthread_cond_wait(&receiver->changed, &receiver->lock);
    }
    pthread_mutex_unlock(&receiver->lock);
    for (size_t i = 0; i < receiver->count; i++) {
        free(receiver->requests[i]->head);
        free(receiver->requests[i]->body);
        free(receiver->requests[i]);
    }
    free(receiver->requests);
    SSL_CTX_free(receiver->tls);
    pthread_cond_destroy(&receiver->changed);
    pthread_mutex_destroy(&receiver->lock);
}

#endif
