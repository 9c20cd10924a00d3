// SPDX-License-Identifier: MIT
//
// A service in the test's own process, and clients of its WebSockets that may send anything.
//
//     begin ─► service on a free port ─► peer_open ─► peer_text, peer_bytes ─► peer_next ─► end
//
// A peer is a socket that blocks, for QUIET_MS at most: nothing here waits for ever. What a peer is
// sent is read with the same reader the service uses, told that servers do not mask.
#ifndef TESTS_WEBSOCKET_KIT_H
#define TESTS_WEBSOCKET_KIT_H

#include "support/scene.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "net/websocket.h"
#include "service/service.h"

enum { QUIET_MS = 20000, PEER_ROOM = 65536 };

static peal_bus *bus;
static struct net_loop *loop;
static struct service *service;
static pthread_t runner;
static unsigned port;
static struct service_options options;

static inline void *run_loop(void *context)
{
    net_loop_run(context);
    return NULL;
}

static inline int begin(void **state)
{
    (void)state;
    char error[160];
    const struct peal_bus_options bus_options = { .pressure = PEAL_PRESSURE_REJECT };
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(peal_bus_open(&bus, "mem:", &bus_options), PEAL_OK);
    assert_int_equal(net_loop_open(&loop, 2), PEAL_OK);
    assert_int_equal(service_open(&service, bus, loop, &options), PEAL_OK);
    struct sockaddr_in loopback = { .sin_family = AF_INET };
    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const struct addrinfo address = { .ai_family = AF_INET,
                                      .ai_addr = (struct sockaddr *)(void *)&loopback,
                                      .ai_addrlen = sizeof loopback };
    assert_true(net_http_listen(service->http, &address, NULL, &port, error));
    assert_int_equal(pthread_create(&runner, NULL, run_loop, loop), 0);
    return 0;
}

static inline void stop_loop(void)
{
    net_loop_stop(loop);
    assert_int_equal(pthread_join(runner, NULL), 0);
}

static inline int end(void **state)
{
    (void)state;
    stop_loop();
    service_close(service);
    net_loop_close(loop);
    peal_bus_close(bus);
    options = (struct service_options){ 0 };
    return 0;
}

// ---- a peer -------------------------------------------------------------------------------------

struct peer {
    int socket;
    struct net_frames frames;
    char bytes[PEER_ROOM];
    size_t from, to;
};

static inline int connect_to(unsigned to_port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)to_port) };
    struct timeval quiet = { .tv_sec = QUIET_MS / 1000 };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int result = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(result >= 0);
    (void)setsockopt(result, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof quiet);
    (void)setsockopt(result, SOL_SOCKET, SO_SNDTIMEO, &quiet, sizeof quiet);
    assert_int_equal(
        connect(result, (const struct sockaddr *)(const void *)&address, sizeof address), 0);
    return result;
}

// All of it, or nobody listens any more.
static inline bool peer_bytes(struct peer *peer, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = send(peer->socket, at, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

// Reads a head; *out is its bytes and a zero. Its status, or 0: the connection has ended.
static inline int peer_head(struct peer *peer, char *out, size_t room)
{
    for (;;) {
        char *found = memmem(peer->bytes + peer->from, peer->to - peer->from, "\r\n\r\n", 4);
        if (found) {
            size_t size = (size_t)(found + 4 - (peer->bytes + peer->from));
            assert_true(size < room);
            memcpy(out, peer->bytes + peer->from, size);
            out[size] = 0;
            peer->from += size;
            return (int)strtol(out + 9, NULL, 10);
        }
        ssize_t got = recv(peer->socket, peer->bytes + peer->to, PEER_ROOM - peer->to, 0);
        if (got <= 0) {
            return 0;
        }
        peer->to += (size_t)got;
    }
}

#define HANDSHAKE                                                                                  \
    "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "      \
    "13\r\n"                                                                                       \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static inline void peer_begin(struct peer *peer)
{
    *peer = (struct peer){ .socket = connect_to(port),
                           .frames = { .most = 64 << 20, .unmasked = true } };
}

// A WebSocket with such a query.
static inline void peer_open(struct peer *peer, const char *query)
{
    char text[512], head[2048];
    peer_begin(peer);
    int size = snprintf(text, sizeof text, "GET /v1/ws%s HTTP/1.1\r\n" HANDSHAKE "\r\n", query);
    assert_true(peer_bytes(peer, text, (size_t)size));
    assert_int_equal(peer_head(peer, head, sizeof head), 101);
}

static inline void peer_close(struct peer *peer)
{
    (void)close(peer->socket);
    net_frames_finish(&peer->frames);
}

// ---- frames of a client -------------------------------------------------------------------------

// A frame with a mask, into `out`, which has room for 14 bytes more than the payload; its size.
static inline size_t make_frame(char *out, unsigned first_byte, const void *payload, size_t size)
{
    static const unsigned char mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
    size_t head = net_frame_head(out, NET_FRAME_TEXT, size);
    out[0] = (char)first_byte;
    out[1] = (char)((unsigned char)out[1] | 0x80);
    memcpy(out + head, mask, 4);
    for (size_t i = 0; i < size; i++) {
        out[head + 4 + i] = (char)(((const unsigned char *)payload)[i] ^ mask[i & 3]);
    }
    return head + 4 + size;
}

static inline bool peer_frame(struct peer *peer, unsigned first_byte, const void *payload,
                              size_t size)
{
    char *frame = malloc(size + 14);
    assert_non_null(frame);
    bool sent = peer_bytes(peer, frame, make_frame(frame, first_byte, payload, size));
    free(frame);
    return sent;
}

static inline void peer_text(struct peer *peer, const char *text)
{
    assert_true(peer_frame(peer, 0x81, text, strlen(text)));
}

static inline void peer_say_close(struct peer *peer, unsigned code)
{
    const unsigned char bytes[2] = { (unsigned char)(code >> 8), (unsigned char)code };
    assert_true(peer_frame(peer, 0x88, bytes, 2));
}

// The next message of the service, also pings; NET_FRAME_MORE: the connection has ended, or nothing
// came for QUIET_MS. What it points to is the peer's until the next call.
static inline enum net_frame_kind peer_next(struct peer *peer, struct net_message *out)
{
    for (;;) {
        size_t taken = 0;
        enum net_frame_kind kind = net_frames_read(&peer->frames, peer->bytes + peer->from,
                                                   peer->to - peer->from, &taken, out);
        peer->from += taken;
        if (kind != NET_FRAME_MORE) {
            return kind;
        }
        memmove(peer->bytes, peer->bytes + peer->from, peer->to - peer->from);
        peer->to -= peer->from;
        peer->from = 0;
        ssize_t got = recv(peer->socket, peer->bytes + peer->to, PEER_ROOM - peer->to, 0);
        if (got <= 0) {
            return NET_FRAME_MORE;
        }
        peer->to += (size_t)got;
    }
}

// The next message is text with this in it.
static inline void peer_hears(struct peer *peer, const char *wanted)
{
    struct net_message message = { 0 };
    assert_int_equal(peer_next(peer, &message), NET_FRAME_TEXT);
    if (!memmem(message.bytes, message.size, wanted, strlen(wanted))) {
        fail_msg("no %s in %.*s", wanted, (int)message.size, message.bytes);
    }
}

// The service closes, with this code, and then the connection ends.
static inline void peer_is_closed(struct peer *peer, unsigned code)
{
    struct net_message message = { 0 };
    enum net_frame_kind kind;
    while ((kind = peer_next(peer, &message)) > 0 && kind != NET_FRAME_CLOSE) {
    }
    assert_int_equal(kind, NET_FRAME_CLOSE);
    assert_int_equal(message.code, code);
    assert_int_equal(peer_next(peer, &message), NET_FRAME_MORE);
}

#define EVENT(type, id, data)                                                                      \
    "{\"specversion\":\"1.0\",\"type\":\"" type "\",\"source\":\"test\",\"id\":\"" id              \
    "\",\"data\":" data "}"

#endif
