// SPDX-License-Identifier: MIT
//
// One buffer for what came; an answer is taken from its front.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

void client_open_small(struct client *out, unsigned port, int buffer)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr = { htonl(INADDR_LOOPBACK) },
                                   .sin_port = htons((uint16_t)port) };
    int one = 1;
    *out = (struct client){ .socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    assert_true(out->socket >= 0);
    if (buffer) {
        (void)setsockopt(out->socket, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    }
    (void)setsockopt(out->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    assert_int_equal(connect(out->socket, (struct sockaddr *)(void *)&address, sizeof address), 0);
}

void client_open(struct client *out, unsigned port)
{
    client_open_small(out, port, 0);
}

void client_close(struct client *client)
{
    (void)close(client->socket);
    free(client->bytes);
    free(client->head);
    free(client->body);
    *client = (struct client){ .socket = -1 };
}

// ---- saying -------------------------------------------------------------------------------------

bool client_send(struct client *client, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        struct pollfd wait = { .fd = client->socket, .events = POLLOUT };
        assert_true(poll(&wait, 1, PATIENCE_MS) > 0);
        ssize_t sent = send(client->socket, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        }
        at += sent > 0 ? sent : 0;
        size -= sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

void client_say(struct client *client, const char *format, ...)
{
    va_list list;
    char *text = NULL;
    va_start(list, format);
    int size = vasprintf(&text, format, list);
    va_end(list);
    assert_true(size >= 0);
    (void)client_send(client, text, (size_t)size); // the answer tells
    free(text);
}

void client_half_close(struct client *client)
{
    (void)shutdown(client->socket, SHUT_WR);
}

// ---- reading ------------------------------------------------------------------------------------

static bool take_some(struct client *client, int flags)
{
    if (client->room - client->size < 65537) {
        client->room = client->room * 2 + 131072;
        client->bytes = realloc(client->bytes, client->room);
        assert_non_null(client->bytes);
    }
    ssize_t got = recv(client->socket, client->bytes + client->size, 65536, flags);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    client->ended = got <= 0;
    client->size += got > 0 ? (size_t)got : 0;
    client->bytes[client->size] = 0;
    return got > 0;
}

// Waits for more. False: there is none any more.
static bool wait_more(struct client *client)
{
    struct pollfd wait = { .fd = client->socket, .events = POLLIN };
    if (client->ended) {
        return false;
    }
    if (poll(&wait, 1, PATIENCE_MS) <= 0) {
        fail_msg("nothing came for %d ms; so far: %.300s", PATIENCE_MS,
                 client->bytes ? client->bytes : "");
    }
    return take_some(client, 0);
}

static void drop(struct client *client, size_t size)
{
    assert_true(size <= client->size);
    memmove(client->bytes, client->bytes + size, client->size - size + 1);
    client->size -= size;
}

static void need(struct client *client, size_t size)
{
    while (client->size < size) {
        if (!wait_more(client)) {
            fail_msg("the connection ended after %zu bytes of %zu", client->size, size);
        }
    }
}

// Bytes up to the end of a text in what comes.
static size_t find(struct client *client, size_t from, const char *text)
{
    size_t length = strlen(text);
    for (;;) {
        const char *at = client->size >= from + length
                             ? memmem(client->bytes + from, client->size - from, text, length)
                             : NULL;
        if (at) {
            return (size_t)(at - client->bytes) + length;
        }
        from = client->size >= from + length ? client->size - length + 1 : from;
        if (!wait_more(client)) {
            fail_msg("the connection ended before \"%s\": %.300s", text,
                     client->bytes ? client->bytes : "");
        }
    }
}

void client_head(struct client *client)
{
    size_t size = find(client, 0, "\r\n\r\n");
    free(client->head);
    free(client->body);
    client->body = NULL;
    client->body_size = 0;
    client->head = strndup(client->bytes, size);
    assert_memory_equal(client->head, "HTTP/1.1 ", 9);
    client->status = atoi(client->head + 9); // NOLINT(cert-err34-c): three digits
    drop(client, size);
}

static void add_body(struct client *client, size_t size)
{
    need(client, size);
    client->body = realloc(client->body, client->body_size + size + 1);
    assert_non_null(client->body);
    memcpy(client->body + client->body_size, client->bytes, size);
    client->body_size += size;
    client->body[client->body_size] = 0;
    drop(client, size);
}

static void take_chunks(struct client *client)
{
    for (;;) {
        size_t line = find(client, 0, "\r\n");
        size_t size = strtoull(client->bytes, NULL, 16);
        drop(client, line);
        add_body(client, size);
        need(client, 2);
        assert_memory_equal(client->bytes, "\r\n", 2);
        drop(client, 2);
        if (size == 0) {
            return;
        }
    }
}

void client_answer_to(struct client *client, const char *method)
{
    do {
        client_head(client);
    } while (client->status == 100);
    const char *length = client_header(client, "content-length");
    const char *coding = client_header(client, "transfer-encoding");
    if (strcmp(method, "HEAD") == 0 || client->status == 204 || client->status == 304) {
        need(client, 0);
    } else if (coding) {
        take_chunks(client);
    } else if (length) {
        add_body(client, strtoull(client_header(client, "content-length"), NULL, 10));
    } else {
        while (wait_more(client)) {
        }
        add_body(client, client->size);
    }
    if (!client->body) {
        client->body = strdup("");
        assert_non_null(client->body);
    }
}

void client_answer(struct client *client)
{
    client_answer_to(client, "GET");
}

const char *client_until(struct client *client, const char *text)
{
    size_t size = find(client, 0, text);
    free(client->body);
    client->body = strndup(client->bytes, size);
    assert_non_null(client->body);
    client->body_size = size;
    drop(client, size);
    return client->body;
}

bool client_is_ended(struct client *client)
{
    return client->size == 0 && !wait_more(client);
}

size_t client_poll(struct client *client)
{
    while (!client->ended && take_some(client, MSG_DONTWAIT)) {
    }
    return client->size;
}

// ---- asking -------------------------------------------------------------------------------------

int client_ask(struct client *client, const char *method, const char *path, const char *headers,
               const char *body)
{
    char length[48] = "";
    if (body) {
        (void)snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(body));
    }
    client_say(client, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n%s", method, path, length,
               headers ? headers : "", body ? body : "");
    client_answer_to(client, method);
    return client->status;
}

const char *client_header(struct client *client, const char *name)
{
    static _Thread_local char value[512];
    size_t length = strlen(name);
    for (const char *line = strstr(client->head, "\r\n"); line && line[2];
         line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':') {
            const char *from = line + 2 + length + 1;
            from += strspn(from, " ");
            (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(from, "\r"), from);
            return value;
        }
    }
    return NULL;
}

static const char *value_of(const char *text, const char *name)
{
    char quoted[64];
    (void)snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *at = strstr(text, quoted);
    if (!at) {
        fail_msg("there is no %s in %.500s", quoted, text);
    }
    return at + strlen(quoted);
}

uint64_t json_number(const char *text, const char *name)
{
    const char *at = value_of(text, name);
    char *end;
    uint64_t number = strtoull(at, &end, 10);
    assert_ptr_not_equal(end, at);
    return number;
}

const char *json_text(char *out, size_t size, const char *text, const char *name)
{
    const char *at = value_of(text, name);
    assert_int_equal(*at, '"');
    (void)snprintf(out, size, "%.*s", (int)strcspn(at + 1, "\""), at + 1);
    return out;
}

size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) {
        count++;
    }
    return count;
}
