// SPDX-License-Identifier: MIT
//
// A connection goes round in a circle:
//
//     HEAD ─► BODY ─► ANSWER ─► HEAD          the head is whole; its body is; it is answered
//               └───────┴─────► the end       who was answered before the body was there, or said
//                                             `close`, or has to be stopped
//
// A request has memory of its own only while it is under way, so that an idle connection is small.
// Its head is copied once, since the bytes it came in are another's soon.
#include "net/http_inside.h"
#include "net/text.h"

#include "base/socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// Bytes that the socket takes besides those that are on their way: who does not read would fill it
// with megabytes, which nobody counts.
enum { UNSENT_MAX = 131072 };

static const struct net_stream_ops stream_ops;

static uint64_t counted(const _Atomic uint64_t *number)
{
    return atomic_load_explicit(number, memory_order_relaxed); // as in net_count
}

// ---- requests come and go -----------------------------------------------------------------------

static void free_request(struct net_connection *connection)
{
    struct net_request *request = connection->request;
    if (request) {
        connection->request = NULL;
        net_text_finish(&request->body);
        net_text_finish(&request->headers);
        free(request->head_bytes);
        free(request);
    }
}

// The answer is on its way: the next request, or the end.
void net_connection_answered(struct net_connection *connection)
{
    struct net_request *request = connection->request;
    struct net_http *http = connection->http;
    bool last = connection->closing || !request->body_done || !request->head.keep_alive ||
                connection->peer_ended || http->draining;
    net_count(&http->counts.answers[request->status / 100 < 6 ? request->status / 100 : 0], 1);
    if (http->ops->answered) {
        http->ops->answered(request, request->status, http->context);
    }
    free_request(connection);
    connection->state = NET_STATE_HEAD;
    connection->counted = false;
    net_stream_idle(connection->stream, http->limits.idle_ms); // also for who never reads it
    if (last) {
        net_stream_end(connection->stream);
        return;
    }
    net_stream_resume(connection->stream);
}

static struct net_request *make_request(struct net_connection *connection, const char *bytes,
                                        size_t size)
{
    struct net_request *request = calloc(1, sizeof *request);
    char *copy = request ? malloc(size ? size : 1) : NULL;
    if (!copy) {
        free(request);
        return NULL;
    }
    memcpy(copy, bytes, size);
    request->connection = connection;
    request->head_bytes = copy;
    connection->request = request;
    return request;
}

// ---- upgrading ----------------------------------------------------------------------------------

static void forget(struct net_connection *connection)
{
    *connection->link = connection->next;
    if (connection->next) {
        connection->next->link = connection->link;
    }
    net_count(&connection->http->counts.open, UINT64_MAX);
    free_request(connection);
    free(connection);
}

struct net_stream *net_answer_upgrade(struct net_request *request, const char *protocol)
{
    struct net_connection *connection = request->connection;
    struct net_http *http = connection->http;
    struct net_stream *stream = connection->stream;
    struct net_text text = { 0 };
    net_text_format(&text,
                    "HTTP/1.1 101 Switching Protocols\r\nDate: %s\r\nUpgrade: %s\r\n"
                    "Connection: Upgrade\r\n",
                    net_http_date(http), protocol);
    net_text_add(&text, request->headers.bytes, request->headers.size);
    net_text_put(&text, "\r\n");
    text.failed = text.failed || request->headers.failed;
    net_connection_send(connection, &text);
    net_text_finish(&text);
    net_count(&http->counts.answers[1], 1);
    request->status = 101;
    if (http->ops->answered) {
        http->ops->answered(request, 101, http->context);
    }
    net_stream_deadline(stream, 0);
    net_stream_resume(stream);
    forget(connection);
    return stream;
}

// ---- what comes ---------------------------------------------------------------------------------

const struct net_head *net_request_head(const struct net_request *request)
{
    return &request->head;
}

struct net_loop *net_request_loop(const struct net_request *request)
{
    return request->connection->http->loop;
}

void net_request_on_gone(struct net_request *request, void (*gone)(void *context), void *context)
{
    request->gone = gone;
    request->gone_context = context;
}

static bool has_body(const struct net_request *request)
{
    return request->head.chunked || (request->head.has_length && request->head.length > 0);
}

static void expect_body(struct net_request *request)
{
    request->body_chosen = true;
    if (request->head.expects && has_body(request)) {
        (void)net_stream_write(request->connection->stream, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    }
}

// Whoever serves it is told that it is over: it is answered here.
static void take_back(struct net_request *request)
{
    if (request->gone) {
        request->gone(request->gone_context);
        request->gone = NULL;
    }
}

static void too_large(struct net_request *request)
{
    take_back(request);
    net_answer_problem(request, 413, "limit",
                       "the body is larger than the %zu bytes that are taken here", request->most);
}

// All of the body has come.
static void complete(struct net_request *request)
{
    request->body_done = true;
    request->connection->state = NET_STATE_ANSWER;
    net_stream_deadline(request->connection->stream, 0);
    if (request->whole) {
        const char *bytes = request->body.bytes ? request->body.bytes : "";
        request->whole(request, bytes, request->body.size, request->body_context);
    } else if (request->part) {
        request->part(request, "", 0, request->body_context);
    }
}

void net_request_collect(struct net_request *request, size_t most,
                         void (*whole)(struct net_request *request, const char *body, size_t size,
                                       void *context),
                         void *context)
{
    request->most = most;
    request->whole = whole;
    request->body_context = context;
    if (request->head.has_length && request->head.length > most) {
        too_large(request);
    } else if (!has_body(request)) {
        complete(request);
    } else {
        expect_body(request);
    }
}

void net_request_parts(struct net_request *request,
                       void (*part)(struct net_request *request, const char *bytes, size_t size,
                                    void *context),
                       void *context)
{
    request->part = part;
    request->body_context = context;
    if (has_body(request)) {
        expect_body(request);
    } else {
        complete(request);
    }
}

void net_request_hold(struct net_request *request)
{
    request->held = true;
    net_stream_pause(request->connection->stream);
    net_stream_deadline(request->connection->stream, 0);
}

void net_request_go_on(struct net_request *request)
{
    struct net_connection *connection = request->connection;
    request->held = false;
    if (!request->body_done) {
        net_stream_deadline(connection->stream, connection->http->limits.request_ms);
    }
    net_stream_resume(connection->stream);
}

// Some of the body. The request may be over when it returns.
static void take_part(struct net_request *request, struct net_part data)
{
    if (request->part) {
        struct net_connection *connection = request->connection;
        net_stream_deadline(connection->stream, connection->http->limits.request_ms);
        request->part(request, data.bytes, data.size, request->body_context);
        return;
    }
    if (request->body.size + data.size > request->most) {
        too_large(request);
        return;
    }
    // What was announced is taken at once, but no more than has come would pay for: a peer does not
    // choose how much we allocate.
    net_text_add(&request->body, data.bytes, data.size);
    if (request->body.failed) {
        take_back(request);
        net_answer_problem(request, 503, "nomem", "no memory for the body; try again later");
    }
}

static size_t take_sized(struct net_connection *connection, const char *bytes, size_t size)
{
    struct net_request *request = connection->request;
    size_t part = request->body_left < size ? (size_t)request->body_left : size;
    request->body_left -= part;
    take_part(request, (struct net_part){ bytes, part });
    if (connection->request == request && connection->state == NET_STATE_BODY &&
        request->body_left == 0) {
        complete(request);
    }
    return part;
}

static size_t take_chunked(struct net_connection *connection, const char *bytes, size_t size)
{
    struct net_request *request = connection->request;
    struct net_part data;
    size_t taken = 0;
    switch (net_chunks_read(&request->chunks, bytes, size, &taken, &data)) {
    case NET_CHUNKS_DATA:
        take_part(request, data);
        break;
    case NET_CHUNKS_END:
        complete(request);
        break;
    case NET_CHUNKS_BAD:
        connection->closing = true;
        take_back(request);
        net_answer_problem(request, 400, "inval",
                           "the chunks of the body are not as they should be");
        break;
    default:
        break;
    }
    return taken;
}

static void begin_request(struct net_connection *connection)
{
    struct net_http *http = connection->http;
    struct net_request *request = connection->request;
    net_count(&http->counts.requests, 1);
    request->body_left = request->head.length;
    request->body_done = !has_body(request);
    connection->state = request->body_done ? NET_STATE_ANSWER : NET_STATE_BODY;
    if (request->body_done) {
        net_stream_deadline(connection->stream, 0); // its answer may take its time
    }
    http->ops->head(request, http->context); // answers, or chooses how the body comes
}

static void refuse(struct net_connection *connection, const struct net_refusal *refusal)
{
    struct net_request *request = connection->request;
    net_count(&connection->http->counts.requests, 1);
    connection->closing = true;
    bool limit = refusal->status == 431 || refusal->status == 414;
    net_answer_problem(request, refusal->status, limit ? "limit" : "inval", "%s", refusal->reason);
}

// TLS where it is not spoken: no head would ever end. Nothing is waited for.
static size_t refuse_tls(struct net_connection *connection, size_t size)
{
    static const struct net_refusal refusal = {
        400, "this is TLS, which is not spoken here: ask http://, or give the service "
             "tls.certificate and tls.key"
    };
    if (make_request(connection, "", 0)) {
        refuse(connection, &refusal);
    } else {
        net_stream_close(connection->stream);
    }
    return size;
}

// What is larger than it may be, of a head that may still be coming. NULL: nothing.
static const struct net_refusal *find_excess(const struct net_http_limits *limits,
                                             const char *bytes, size_t size)
{
    static const struct net_refusal line_refusal = {
        414, "the first line of the request is longer than is taken here (limits.line_bytes)"
    };
    static const struct net_refusal headers_refusal = {
        431, "the headers of the request are larger than is taken here (limits.header_bytes)"
    };
    const char *end = memchr(bytes, '\n', size);
    size_t line = end ? (size_t)(end - bytes) : size;
    size_t headers = size - line; // with the end of the line
    line -= line > 0 && bytes[line - 1] == '\r';
    return line > limits->line_bytes      ? &line_refusal
           : headers > limits->head_bytes ? &headers_refusal
                                          : NULL;
}

static size_t take_head(struct net_connection *connection, const char *bytes, size_t size)
{
    enum { TLS_HANDSHAKE = 0x16 }; // the first byte of a connection (RFC 8446, section 5.1)
    const struct net_http *http = connection->http;
    if (bytes[0] == TLS_HANDSHAKE) {
        return refuse_tls(connection, size);
    }
    if (bytes[0] == '\r' || bytes[0] == '\n') {
        return 1; // an empty line before a request (RFC 9112, 2.2)
    }
    if (!connection->counted) {
        connection->counted = true;
        net_stream_deadline(connection->stream, http->limits.request_ms);
    }
    size_t whole = net_head_size(bytes, size, 0);
    const struct net_refusal *large = find_excess(&http->limits, bytes, whole ? whole : size);
    if (!whole && !large) {
        return 0;
    }
    struct net_refusal refusal = large ? *large : (struct net_refusal){ 0 };
    struct net_request *request = make_request(connection, bytes, large ? 0 : whole);
    if (!request) {
        net_stream_close(connection->stream);
    } else if (large || !net_head_parse(&request->head, request->head_bytes, whole, &refusal)) {
        refuse(connection, &refusal);
    } else {
        begin_request(connection);
    }
    return whole ? whole : size;
}

static size_t on_bytes(void *context, const char *bytes, size_t size)
{
    struct net_connection *connection = context;
    struct net_http *http = connection->http;
    struct net_request *request = connection->request;
    size_t taken = 0;
    // Who asks on has to read what it has asked for.
    bool reads = net_stream_queued(connection->stream) < http->limits.queue_bytes;
    if (connection->state == NET_STATE_HEAD && reads) {
        taken = take_head(connection, bytes, size);
    } else if (connection->state == NET_STATE_BODY && request->body_chosen && !request->held) {
        taken = request->head.chunked ? take_chunked(connection, bytes, size)
                                      : take_sized(connection, bytes, size);
    } else {
        net_stream_pause(connection->stream); // until it is answered, or wants the body
    }
    net_count(&http->counts.bytes_in, taken); // the connection may be another's by now
    return taken;
}

static void on_ended(void *context)
{
    struct net_connection *connection = context;
    struct net_request *request = connection->request;
    connection->peer_ended = true;
    // Who has said all it wants may wait for its answer; but one in parts has no other end.
    if (connection->state == NET_STATE_HEAD) {
        net_stream_end(connection->stream);
    } else if (connection->state == NET_STATE_BODY || (request->begun && !request->answered)) {
        net_stream_close(connection->stream);
    }
}

static void on_drained(void *context)
{
    struct net_connection *connection = context;
    struct net_request *request = connection->request;
    if (request && request->drained) {
        request->drained(request->drained_context);
    } else if (connection->state == NET_STATE_HEAD) {
        net_stream_resume(connection->stream);
    }
}

static void on_gone(void *context, enum net_end why)
{
    struct net_connection *connection = context;
    struct net_request *request = connection->request;
    (void)why;
    if (request && request->gone) {
        request->gone(request->gone_context);
    }
    forget(connection);
}

// Said by the socket itself: there is no request to be answered.
static const char no_tls[] =
    "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
    "Content-Type: application/problem+json\r\n\r\n"
    "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"code\":\"inval\","
    "\"detail\":\"this port speaks TLS: ask https:// of it\"}\n";

static const struct net_stream_ops stream_ops = {
    .no_tls = no_tls,
    .take = on_bytes,
    .ended = on_ended,
    .drained = on_drained,
    .gone = on_gone,
};

// ---- connections --------------------------------------------------------------------------------

// What is said before anything is read; it ends with the connection.
#define REFUSAL(status, title, detail)                                                             \
    "HTTP/1.1 " status " " title "\r\nRetry-After: 5\r\nConnection: close\r\n"                     \
    "Content-Type: application/problem+json\r\n\r\n"                                               \
    "{\"type\":\"about:blank\",\"title\":\"" title "\",\"status\":" status                         \
    ",\"code\":\"limit\",\"detail\":\"" detail "\"}\n"

const char net_http_full[] =
    REFUSAL("503", "Service Unavailable",
            "there are as many connections as there may be (limits.connections): try again later");
static const char too_many[] =
    REFUSAL("429", "Too Many Requests",
            "your address has as many connections as one may have "
            "(limits.connections_per_address): close some, or use them for several requests");

// Has its address as many connections as one may have, besides this one? They are only counted when
// there are so many in all.
static bool is_one_too_many(const struct net_http *http, const struct net_connection *fresh)
{
    unsigned most = http->limits.per_address, count = 0;
    if (most == 0 || http->counts.open <= most) {
        return false;
    }
    const char *peer = net_stream_peer(fresh->stream);
    for (const struct net_connection *other = http->connections; other; other = other->next) {
        count += strcmp(net_stream_peer(other->stream), peer) == 0;
    }
    return count > most;
}

void net_http_welcome(struct net_http *http, int socket, struct ssl_ctx_st *tls_context)
{
    int unsent = UNSENT_MAX;
    struct net_stream *stream = NULL;
    pl_socket_prepare(socket);
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    SSL *tls = tls_context ? SSL_new(tls_context) : NULL;
    if (tls) {
        SSL_set_accept_state(tls);
    }
    struct net_connection *connection = calloc(1, sizeof *connection);
    if (!connection || (tls_context && !tls) ||
        net_stream_open(&stream, http->streams, socket, tls)) {
        if (!connection || (tls_context && !tls)) {
            SSL_free(tls);
            (void)close(socket);
        }
        free(connection);
        return;
    }
    *connection = (struct net_connection){ .http = http, .stream = stream };
    connection->next = http->connections;
    connection->link = &http->connections;
    if (connection->next) {
        connection->next->link = &connection->next;
    }
    http->connections = connection;
    net_count(&http->counts.open, 1);
    net_stream_use(stream, &stream_ops, connection);
    net_stream_deadline(stream, http->limits.request_ms);
    if (is_one_too_many(http, connection)) {
        net_count(&http->counts.refused, 1);
        connection->closing = true;
        (void)net_stream_write(stream, too_many, strlen(too_many));
        net_stream_end(stream);
    }
}

// ---- the server ---------------------------------------------------------------------------------

void net_http_set_limits(struct net_http *http, const struct net_http_limits *limits)
{
    http->limits = limits ? *limits : (struct net_http_limits){ 0 };
    http->limits.head_bytes = http->limits.head_bytes ? http->limits.head_bytes : 16384;
    http->limits.line_bytes = http->limits.line_bytes ? http->limits.line_bytes : 8192;
    http->limits.connections = http->limits.connections ? http->limits.connections : 10000;
    http->limits.request_ms = http->limits.request_ms ? http->limits.request_ms : 30000;
    http->limits.idle_ms = http->limits.idle_ms ? http->limits.idle_ms : 120000;
    http->limits.queue_bytes = http->limits.queue_bytes ? http->limits.queue_bytes : 1 << 20;
    if (http->limits.queue_bytes < NET_STREAM_LOW) {
        http->limits.queue_bytes = NET_STREAM_LOW; // of less nobody says that it was sent
    }
}

enum peal_err net_http_open(struct net_http **out, struct net_loop *loop,
                            const struct net_http_limits *limits, const struct net_http_ops *ops,
                            void *context)
{
    struct net_http *http = calloc(1, sizeof *http);
    if (!http || net_streams_open(&http->streams, loop)) {
        free(http);
        return PEAL_ENOMEM;
    }
    http->loop = loop;
    http->ops = ops;
    http->context = context;
    http->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    net_http_set_limits(http, limits);
    *out = http;
    return PEAL_OK;
}

void net_http_drain(struct net_http *http)
{
    net_http_stop_listening(http);
    http->draining = true;
    for (struct net_connection *connection = http->connections; connection;
         connection = connection->next) {
        connection->closing = true;
        if (connection->state == NET_STATE_HEAD) {
            net_stream_end(connection->stream);
        }
    }
}

void net_http_close(struct net_http *http)
{
    if (http) {
        net_http_stop_listening(http);
        net_streams_close(http->streams);
        if (http->spare >= 0) {
            (void)close(http->spare);
        }
        free(http);
    }
}

void net_http_counts(const struct net_http *http, struct net_http_counts *out)
{
    const struct net_counts *counts = &http->counts;
    *out = (struct net_http_counts){
        .connections = counted(&counts->connections),
        .refused = counted(&counts->refused),
        .requests = counted(&counts->requests),
        .bytes_in = counted(&counts->bytes_in),
        .bytes_out = counted(&counts->bytes_out),
        .open = counted(&counts->open),
    };
    for (size_t i = 0; i < sizeof out->answers / sizeof out->answers[0]; i++) {
        out->answers[i] = counted(&counts->answers[i]);
    }
}
