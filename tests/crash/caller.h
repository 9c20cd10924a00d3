// SPDX-License-Identifier: MIT
//
// Caller: one HTTP connection whose other side may die at any moment.
//
//     struct caller caller = { .port = port };
//     caller_begin(&caller)                                    connects
//     caller_ask(&caller, "POST", path, headers, body, size)   caller.status, caller.body
//     caller_end(&caller)
//
// Every function returns false when the connection is broken; what was asked may have been done
// then, or not. Nothing here fails a test: it runs in threads.
#ifndef PEAL_TESTS_CRASH_CALLER_H
#define PEAL_TESTS_CRASH_CALLER_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { CALLER_ROOM = 1 << 20, CALLER_PATIENCE_S = 20 };

struct caller {
    unsigned short port;
    int socket; // valid if `open`
    bool open;
    char *bytes; // what has come and was not looked at, and a zero
    size_t from, to;
    int status;
    char *body; // of the last answer, and a zero
    size_t body_size;
};

static inline void caller_end(struct caller *caller)
{
    if (caller->open) {
        (void)close(caller->socket);
    }
    free(caller->bytes);
    free(caller->body);
    *caller = (struct caller){ .port = caller->port };
}

static inline bool caller_begin(struct caller *caller)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(caller->port) };
    const struct timeval patience = { .tv_sec = CALLER_PATIENCE_S };
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    caller_end(caller);
    caller->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    caller->open = caller->socket >= 0;
    caller->bytes = malloc(CALLER_ROOM + 1);
    caller->body = malloc(CALLER_ROOM + 1);
    if (!caller->open || !caller->bytes || !caller->body) {
        return false;
    }
    (void)setsockopt(caller->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(caller->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return connect(caller->socket, (struct sockaddr *)(void *)&address, sizeof address) == 0;
}

static inline bool caller_send(struct caller *caller, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = send(caller->socket, at, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

// So many bytes stand at bytes + from.
static inline bool caller_need(struct caller *caller, size_t size)
{
    while (caller->to - caller->from < size) {
        memmove(caller->bytes, caller->bytes + caller->from, caller->to - caller->from);
        caller->to -= caller->from;
        caller->from = 0;
        ssize_t got = recv(caller->socket, caller->bytes + caller->to, CALLER_ROOM - caller->to, 0);
        if (got <= 0) {
            return false;
        }
        caller->to += (size_t)got;
        caller->bytes[caller->to] = 0;
    }
    return true;
}

// Bytes up to the end of a text, which is waited for; 0: the connection is broken.
static inline size_t caller_find(struct caller *caller, const char *text)
{
    for (size_t size = strlen(text);;) {
        const char *at = caller->bytes + caller->from;
        const char *found = memmem(at, caller->to - caller->from, text, size);
        if (found) {
            return (size_t)(found - at) + size;
        }
        if (!caller_need(caller, caller->to - caller->from + 1)) {
            return 0;
        }
    }
}

// Reads a head; its length, if it says one, goes to *out_length.
static inline bool caller_head(struct caller *caller, size_t *out_length)
{
    size_t size = caller_find(caller, "\r\n\r\n");
    if (size < 13) {
        return false;
    }
    char *head = caller->bytes + caller->from;
    head[size - 1] = 0;
    const char *length = strcasestr(head, "\ncontent-length:");
    caller->status = (int)strtol(head + 9, NULL, 10);
    *out_length = length ? strtoull(length + 16, NULL, 10) : 0;
    caller->from += size;
    return true;
}

// The next piece of an answer in chunks, as the body.
static inline bool caller_chunk(struct caller *caller)
{
    size_t line = caller_find(caller, "\r\n");
    size_t size = line ? strtoull(caller->bytes + caller->from, NULL, 16) : 0;
    if (!line || size == 0 || size > CALLER_ROOM / 2) {
        return false;
    }
    caller->from += line;
    if (!caller_need(caller, size + 2)) {
        return false;
    }
    memcpy(caller->body, caller->bytes + caller->from, size);
    caller->body[size] = 0;
    caller->body_size = size;
    caller->from += size + 2;
    return true;
}

static inline bool caller_answer(struct caller *caller)
{
    size_t length;
    if (!caller_head(caller, &length) || length > CALLER_ROOM || !caller_need(caller, length)) {
        return false;
    }
    memcpy(caller->body, caller->bytes + caller->from, length);
    caller->body[length] = 0;
    caller->body_size = length;
    caller->from += length;
    return true;
}

// `headers` ends each with CR LF.
static inline bool caller_ask(struct caller *caller, const char *path, const char *headers,
                              const char *body)
{
    char head[512];
    int size = snprintf(head, sizeof head,
                        "POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n",
                        path, headers, strlen(body));
    return caller_send(caller, head, (size_t)size) && caller_send(caller, body, strlen(body)) &&
           caller_answer(caller);
}

// The next message of a WebSocket, as the body; pings and the like are passed over.
static inline bool caller_message(struct caller *caller)
{
    for (;;) {
        const unsigned char *head;
        if (!caller_need(caller, 2)) {
            return false;
        }
        head = (const unsigned char *)caller->bytes + caller->from;
        size_t size = head[1] & 127, more = size == 127 ? 8 : size == 126 ? 2 : 0;
        if (!caller_need(caller, 2 + more)) {
            return false;
        }
        head = (const unsigned char *)caller->bytes + caller->from;
        unsigned kind = head[0];
        for (size_t i = 0; i < more; i++) {
            size = (i == 0 ? 0 : size << 8) | head[2 + i];
        }
        caller->from += 2 + more;
        if (size > CALLER_ROOM / 2 || !caller_need(caller, size)) {
            return false;
        }
        memcpy(caller->body, caller->bytes + caller->from, size);
        caller->body[size] = 0;
        caller->body_size = size;
        caller->from += size;
        if (kind == 0x81) { // text, whole
            return true;
        }
    }
}

#endif
