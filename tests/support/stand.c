// SPDX-License-Identifier: MIT
//
// A thread that accepts, one for each connection, two that do jobs.
#include "support/stand.h"

#include "base/protocol.h"
#include "base/socket.h"
#include "base/websocket.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    struct pl_list link;
    struct stand *stand;
    pthread_t thread;
    int socket, bell;
    struct service_session *session;
    struct pl_ws_reader reader;
    _Atomic size_t may_come, may_go; // bytes of messages; SIZE_MAX: any
    pthread_mutex_t lock;            // guards what follows
    struct service_bytes **queue;
    size_t count, room, waiting;
    bool was_full;
};

struct job {
    struct pl_list link;
    void (*run)(void *job);
    void *argument;
};

// ---- jobs ---------------------------------------------------------------------------------------

static void *work_all(void *context)
{
    struct stand *stand = context;
    pthread_mutex_lock(&stand->lock);
    for (;;) {
        struct pl_list *link = pl_list_pop_head(&stand->jobs);
        if (!link && stand->closing) {
            break;
        }
        if (!link) {
            pthread_cond_wait(&stand->job_there, &stand->lock);
            continue;
        }
        pthread_mutex_unlock(&stand->lock);
        struct job *job = pl_container_of(link, struct job, link);
        job->run(job->argument);
        free(job);
        pthread_mutex_lock(&stand->lock);
    }
    pthread_mutex_unlock(&stand->lock);
    return NULL;
}

static void work(void *context, void (*run)(void *job), void *argument)
{
    struct stand *stand = ((struct connection *)context)->stand;
    struct job *job = malloc(sizeof *job);
    assert(job);
    *job = (struct job){ .run = run, .argument = argument };
    pthread_mutex_lock(&stand->lock);
    pl_list_add_tail(&stand->jobs, &job->link);
    pthread_cond_signal(&stand->job_there);
    pthread_mutex_unlock(&stand->lock);
}

// ---- a connection -------------------------------------------------------------------------------

static size_t queue_message(void *context, struct service_bytes *message)
{
    struct connection *connection = context;
    if (!message) {
        (void)shutdown(connection->socket, SHUT_RDWR);
        return 0;
    }
    pthread_mutex_lock(&connection->lock);
    if (connection->count == connection->room) {
        connection->room = connection->room ? connection->room * 2 : 64;
        connection->queue =
            realloc(connection->queue, connection->room * sizeof *connection->queue);
        assert(connection->queue);
    }
    connection->queue[connection->count++] = message;
    connection->waiting += message->size;
    connection->was_full = connection->was_full || connection->waiting > SERVICE_WAITING_MAX;
    size_t waiting = connection->waiting;
    pthread_mutex_unlock(&connection->lock);
    pl_bell_ring(connection->bell);
    return waiting;
}

static void drained(void *context)
{
    pl_bell_ring(((struct connection *)context)->bell);
}

static bool send_all(int socket, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t count = send(socket, at, size, MSG_NOSIGNAL);
        if (count <= 0) {
            return false;
        }
        at += count;
        size -= (size_t)count;
    }
    return true;
}

// A message, or as much of it as the cut leaves.
static bool send_message(struct connection *connection, const struct service_bytes *message)
{
    char head[PL_WS_HEAD_MAX];
    size_t used = pl_ws_frame_head(head, PL_WS_BINARY, message->size, NULL);
    size_t size = message->size;
    size_t may = connection->may_go;
    bool cut = size > may;
    size = cut ? may : size;
    connection->may_go = may == SIZE_MAX ? may : may - size;
    return send_all(connection->socket, head, used) &&
           send_all(connection->socket, message->bytes, size) && !cut;
}

static bool flush(struct connection *connection)
{
    for (;;) {
        struct service_bytes *message = NULL;
        pthread_mutex_lock(&connection->lock);
        if (connection->count > 0) {
            message = connection->queue[0];
            connection->count--;
            memmove(connection->queue, connection->queue + 1,
                    connection->count * sizeof *connection->queue);
            connection->waiting -= message->size;
        }
        bool tell = !message && connection->was_full;
        connection->was_full = connection->was_full && message;
        pthread_mutex_unlock(&connection->lock);
        if (tell) {
            service_session_writable(connection->session);
        }
        if (!message) {
            return true;
        }
        bool fine = send_message(connection, message);
        service_bytes_unref(message);
        if (!fine) {
            return false;
        }
    }
}

static bool take_one(struct connection *connection, const struct pl_ws_message *message)
{
    if (message->opcode == PL_WS_PING) {
        char head[PL_WS_HEAD_MAX];
        size_t used = pl_ws_frame_head(head, PL_WS_PONG, message->size, NULL);
        return send_all(connection->socket, head, used) &&
               send_all(connection->socket, message->bytes, message->size);
    }
    if (message->opcode != PL_WS_BINARY) {
        return message->opcode == PL_WS_PONG;
    }
    size_t may = connection->may_come;
    if (message->size > may) {
        return false;
    }
    connection->may_come = may == SIZE_MAX ? may : may - message->size;
    return service_session_receive(connection->session, message->bytes, message->size) !=
           SERVICE_BREACH;
}

static bool take_all(struct connection *connection)
{
    size_t room;
    char *at = pl_ws_reader_room(&connection->reader, 65536, &room);
    ssize_t count = at ? recv(connection->socket, at, room, 0) : 0;
    if (count <= 0) {
        return false;
    }
    pl_ws_reader_add(&connection->reader, (size_t)count);
    struct pl_ws_message message;
    enum pl_ws_next next;
    while ((next = pl_ws_reader_next(&connection->reader, &message)) == PL_WS_MESSAGE) {
        if (!take_one(connection, &message)) {
            return false;
        }
    }
    return next == PL_WS_MORE;
}

static bool shake_hands(struct connection *connection)
{
    char text[4096], key[64] = "", accept[PL_WS_ACCEPT], answer[256], token[128] = "";
    size_t used = 0;
    while (used < sizeof text - 1) {
        ssize_t count = recv(connection->socket, text + used, sizeof text - 1 - used, 0);
        if (count <= 0) {
            return false;
        }
        used += (size_t)count;
        text[used] = '\0';
        if (strstr(text, "\r\n\r\n")) {
            break;
        }
    }
    const char *header = strcasestr(text, "Sec-WebSocket-Key: ");
    const char *bearer = strcasestr(text, "Authorization: Bearer ");
    if (!header || sscanf(header + 19, "%63[^\r]", key) != 1) {
        return false;
    }
    if (bearer && sscanf(bearer + 22, "%127[^\r]", token) != 1) {
        return false;
    }
    if (connection->stand->token && strcmp(connection->stand->token, token) != 0) {
        static const char refused[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
        (void)send_all(connection->socket, refused, sizeof refused - 1);
        return false;
    }
    pl_ws_accept(accept, key);
    (void)snprintf(answer, sizeof answer,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Protocol: peal.v1\r\n"
                   "Sec-WebSocket-Accept: %s\r\n\r\n",
                   accept);
    return send_all(connection->socket, answer, strlen(answer));
}

static void serve(struct connection *connection)
{
    for (;;) {
        struct pollfd polled[2] = { { .fd = connection->bell, .events = POLLIN },
                                    { .fd = connection->socket, .events = POLLIN } };
        (void)poll(polled, 2, -1);
        pl_bell_quiet(connection->bell);
        if (!flush(connection) || (polled[1].revents && !take_all(connection))) {
            return;
        }
    }
}

static void *run_connection(void *context)
{
    struct connection *connection = context;
    struct stand *stand = connection->stand;
    const struct service_session_config config = { .bus = stand->bus,
                                                   .feed = stand->feed,
                                                   .rights = stand->rights,
                                                   .send = queue_message,
                                                   .drained = drained,
                                                   .work = work,
                                                   .context = connection,
                                                   .at_once = true,
                                                   .publish_ms = 5000 };
    if (shake_hands(connection) && service_session_open(&connection->session, &config) == PEAL_OK) {
        serve(connection);
    }
    service_session_close(connection->session);
    (void)shutdown(connection->socket, SHUT_RDWR);
    return NULL;
}

// ---- the stand ----------------------------------------------------------------------------------

static void accept_one(struct stand *stand, int socket)
{
    struct connection *connection = calloc(1, sizeof *connection);
    assert(connection);
    const int on = 1;
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection->stand = stand;
    connection->socket = socket;
    connection->may_come = SIZE_MAX;
    connection->may_go = SIZE_MAX;
    connection->bell = pl_bell_open();
    connection->reader = (struct pl_ws_reader){ .seams = &pl_seams_real,
                                                .max = PL_PROTOCOL_BYTES_MAX,
                                                .masked = true };
    (void)pthread_mutex_init(&connection->lock, NULL);
    pthread_mutex_lock(&stand->lock);
    stand->accepted++;
    pl_list_add_tail(&stand->connections, &connection->link);
    pthread_mutex_unlock(&stand->lock);
    int failed = pthread_create(&connection->thread, NULL, run_connection, connection);
    assert(!failed);
    (void)failed;
}

static void *accept_all(void *context)
{
    struct stand *stand = context;
    int socket;
    while ((socket = accept(stand->socket, NULL, NULL)) >= 0) {
        accept_one(stand, socket);
    }
    return NULL;
}

void stand_open(struct stand *stand, peal_bus *bus, unsigned short port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    socklen_t size = sizeof at;
    const int on = 1;
    const char *token = stand->token;
    struct service_rights rights = stand->rights;
    *stand = (struct stand){ .bus = bus, .token = token, .rights = rights };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    stand->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(stand->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int failed = bind(stand->socket, (const struct sockaddr *)&at, size) ||
                 listen(stand->socket, 64) ||
                 getsockname(stand->socket, (struct sockaddr *)&at, &size);
    assert(!failed);
    stand->port = ntohs(at.sin_port);
    (void)snprintf(stand->url, sizeof stand->url, "http://127.0.0.1:%u", (unsigned)stand->port);
    pl_list_init(&stand->connections);
    pl_list_init(&stand->jobs);
    (void)pthread_mutex_init(&stand->lock, NULL);
    (void)pthread_cond_init(&stand->job_there, NULL);
    failed = service_tail_open(&stand->feed, bus) ||
             pthread_create(&stand->accepting, NULL, accept_all, stand) ||
             pthread_create(&stand->workers[0], NULL, work_all, stand) ||
             pthread_create(&stand->workers[1], NULL, work_all, stand);
    assert(!failed);
    (void)failed;
}

void stand_cut(struct stand *stand)
{
    pthread_mutex_lock(&stand->lock);
    struct connection *connection;
    PL_LIST_EACH (connection, &stand->connections, link) {
        (void)shutdown(connection->socket, SHUT_RDWR);
    }
    pthread_mutex_unlock(&stand->lock);
}

void stand_cut_after(struct stand *stand, size_t in, size_t out)
{
    pthread_mutex_lock(&stand->lock);
    struct connection *connection;
    PL_LIST_EACH (connection, &stand->connections, link) {
        connection->may_come = in;
        connection->may_go = out;
    }
    pthread_mutex_unlock(&stand->lock);
}

unsigned stand_accepted(struct stand *stand)
{
    pthread_mutex_lock(&stand->lock);
    unsigned accepted = stand->accepted;
    pthread_mutex_unlock(&stand->lock);
    return accepted;
}

static void free_connection(struct connection *connection)
{
    (void)pthread_join(connection->thread, NULL);
    for (size_t i = 0; i < connection->count; i++) {
        service_bytes_unref(connection->queue[i]);
    }
    free(connection->queue);
    pl_ws_reader_finish(&connection->reader);
    (void)close(connection->socket);
    (void)close(connection->bell);
    (void)pthread_mutex_destroy(&connection->lock);
}

void stand_close(struct stand *stand)
{
    (void)shutdown(stand->socket, SHUT_RDWR);
    (void)pthread_join(stand->accepting, NULL);
    (void)close(stand->socket);
    stand_cut(stand);
    struct connection *connection, *after;
    PL_LIST_EACH (connection, &stand->connections, link) {
        free_connection(connection);
    }
    pthread_mutex_lock(&stand->lock);
    stand->closing = true;
    pthread_cond_broadcast(&stand->job_there);
    pthread_mutex_unlock(&stand->lock);
    (void)pthread_join(stand->workers[0], NULL);
    (void)pthread_join(stand->workers[1], NULL);
    PL_LIST_EACH_SAFE (connection, after, &stand->connections, link) {
        free(connection);
    }
    service_tail_close(stand->feed);
    (void)pthread_mutex_destroy(&stand->lock);
    (void)pthread_cond_destroy(&stand->job_there);
}
