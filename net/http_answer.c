// SPDX-License-Identifier: MIT
//
// Answers: whole, in parts, lent, or a problem (RFC 9457). The head is put together without printf,
// and goes out with the body if that is little.
#include "net/http_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { HEAD_ROOM = 256 }; // what the head of an answer takes, about

const char *net_http_reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {
        { 101, "Switching Protocols" },
        { 200, "OK" },
        { 201, "Created" },
        { 202, "Accepted" },
        { 204, "No Content" },
        { 304, "Not Modified" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 406, "Not Acceptable" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 412, "Precondition Failed" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 417, "Expectation Failed" },
        { 422, "Unprocessable Content" },
        { 426, "Upgrade Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 503, "Service Unavailable" },
        { 505, "HTTP Version Not Supported" },
        { 507, "Insufficient Storage" },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].status == status) {
            return known[i].text;
        }
    }
    return "Unknown";
}

const char *net_http_date(struct net_http *http)
{
    time_t now = time(NULL);
    if (now != http->dated) {
        struct tm parts;
        http->dated = now;
        (void)strftime(http->date, sizeof http->date, "%a, %d %b %Y %H:%M:%S GMT",
                       gmtime_r(&now, &parts));
    }
    return http->date;
}

void net_connection_send(struct net_connection *connection, struct net_text *text)
{
    if (text->failed) {
        net_stream_close(connection->stream);
    } else {
        net_count(&connection->http->counts.bytes_out, text->size);
        (void)net_stream_write(connection->stream, text->bytes, text->size);
    }
}

// Everything up to the length.
static void put_head(struct net_text *out, struct net_request *request, int status,
                     const char *type)
{
    struct net_connection *connection = request->connection;
    bool last = connection->closing || !request->body_done || !request->head.keep_alive ||
                connection->http->draining;
    request->status = status;
    request->begun = true;
    net_text_put(out, "HTTP/1.1 ");
    net_text_number(out, (uint64_t)status);
    net_text_put(out, " ");
    net_text_put(out, net_http_reason(status));
    net_text_put(out, "\r\nDate: ");
    net_text_put(out, net_http_date(connection->http));
    if (type) {
        net_text_put(out, "\r\nContent-Type: ");
        net_text_put(out, type);
        net_text_put(out, "\r\nX-Content-Type-Options: nosniff");
    }
    net_text_put(out, "\r\n");
    if (last) {
        net_text_put(out, "Connection: close\r\n");
    } else if (!request->head.minor) {
        net_text_put(out, "Connection: keep-alive\r\n");
    }
    net_text_add(out, request->headers.bytes, request->headers.size);
    out->failed = out->failed || request->headers.failed;
}

void net_answer_header(struct net_request *request, const char *name, const char *value)
{
    net_text_format(&request->headers, "%s: %s\r\n", name, value);
}

void net_answer(struct net_request *request, int status, const char *type, const void *body,
                size_t size)
{
    struct net_text text = { 0 };
    (void)net_text_room(&text, size + HEAD_ROOM + request->headers.size); // at once
    struct net_connection *connection = request->connection;
    bool none = status == 204 || status == 304;
    put_head(&text, request, status, none ? NULL : type);
    if (!none) {
        net_text_put(&text, "Content-Length: ");
        net_text_number(&text, type ? size : 0);
        net_text_put(&text, "\r\n");
    }
    net_text_put(&text, "\r\n");
    if (!none && type && !net_part_is(request->head.method, "HEAD")) {
        net_text_add(&text, body, size);
    }
    net_connection_send(connection, &text);
    net_text_finish(&text);
    request->answered = true;
    net_connection_answered(connection);
}

void net_answer_problem(struct net_request *request, int status, const char *code,
                        const char *format, ...)
{
    char detail[1024];
    struct net_text text = { 0 };
    va_list list;
    va_start(list, format);
    (void)vsnprintf(detail, sizeof detail, format, list);
    va_end(list);
    net_json_begin(&text, '{');
    net_json_say(&text, "type", "about:blank");
    net_json_say(&text, "title", net_http_reason(status));
    net_json_count(&text, "status", (uint64_t)status);
    net_json_say(&text, "code", code);
    net_json_say(&text, "detail", detail);
    net_json_end(&text, '}');
    net_text_put(&text, "\n");
    net_answer(request, status, "application/problem+json", text.bytes, text.size);
    net_text_finish(&text);
}

void net_answer_begin(struct net_request *request, int status, const char *type)
{
    struct net_text text = { 0 };
    struct net_connection *connection = request->connection;
    request->chunked = request->head.minor;
    connection->closing =
        connection->closing || !request->head.minor; // its end says how long it is
    request->bodyless = net_part_is(request->head.method, "HEAD");
    put_head(&text, request, status, type);
    net_text_put(&text, request->chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
    net_connection_send(connection, &text);
    net_text_finish(&text);
    net_stream_stall(connection->stream, connection->http->limits.idle_ms);
}

void net_answer_part(struct net_request *request, const void *bytes, size_t size)
{
    struct net_connection *connection = request->connection;
    char line[24];
    if (size == 0 || request->bodyless) {
        return;
    }
    int length = snprintf(line, sizeof line, "%zx\r\n", size);
    if (request->chunked) {
        (void)net_stream_write(connection->stream, line, (size_t)length);
    }
    (void)net_stream_write(connection->stream, bytes, size);
    if (request->chunked) {
        (void)net_stream_write(connection->stream, "\r\n", 2);
    }
    net_count(&connection->http->counts.bytes_out, size);
}

void net_answer_lend(struct net_request *request, const void *bytes, size_t size,
                     void (*release)(void *loan), void *loan)
{
    struct net_connection *connection = request->connection;
    char line[24];
    if (size == 0 || request->bodyless) {
        release(loan);
        return;
    }
    int length = snprintf(line, sizeof line, "%zx\r\n", size);
    if (request->chunked) {
        (void)net_stream_write(connection->stream, line, (size_t)length);
    }
    (void)net_stream_lend(connection->stream, bytes, size, release, loan);
    if (request->chunked) {
        (void)net_stream_write(connection->stream, "\r\n", 2);
    }
    net_count(&connection->http->counts.bytes_out, size);
}

size_t net_answer_queued(const struct net_request *request)
{
    return net_stream_queued(request->connection->stream);
}

void net_answer_on_drained(struct net_request *request, void (*drained)(void *context),
                           void *context)
{
    request->drained = drained;
    request->drained_context = context;
}

void net_answer_end(struct net_request *request)
{
    struct net_connection *connection = request->connection;
    if (request->chunked && !request->bodyless) {
        (void)net_stream_write(connection->stream, "0\r\n\r\n", 5);
    }
    request->answered = true;
    net_connection_answered(connection);
}
