// SPDX-License-Identifier: MIT
//
// WebSocket: the server's side of RFC 6455, on a connection that a request has asked for.
//
//     request ─► net_websocket_refusal ─► net_websocket_open ─► ops->message, one after the other
//                                              │                ops->rest: that was all, for now
//     net_websocket_send ─► queue ─► socket ◄──┘
//
// Versions other than 13 are refused with 426. Who may come (Origin, tokens) is for whoever serves
// the request to decide, before it is opened. There is no compression.
//
// Pings are answered here. A peer is pinged every 20 s; one that has neither sent nor taken a byte
// 20 s later is gone. Breaches of the protocol are answered with their code (1002, 1007, 1009), and
// the connection is closed.
//
// What is queued is bounded by who sends: net_websocket_queued, and ops->drained.
//
// Threads: the loop's only. Memory: a socket frees itself after ops->gone, its last call.
#ifndef NET_WEBSOCKET_H
#define NET_WEBSOCKET_H

#include "net/frames.h"
#include "net/http.h"

#define NET_WEBSOCKET_PING_MS  20000
#define NET_WEBSOCKET_CLOSE_MS 5000 // of patience for the peer's side of closing

// Codes of closing (RFC 6455, section 7.4.1).
enum {
    NET_CLOSE_NORMAL = 1000,
    NET_CLOSE_AWAY = 1001,     // the server stops
    NET_CLOSE_PROTOCOL = 1002, // ours only
    NET_CLOSE_KIND = 1003,     // binary where text is wanted, or the other way round
    NET_CLOSE_LOST = 1006,     // never sent: the connection has broken
    NET_CLOSE_POLICY = 1008,
    NET_CLOSE_LARGE = 1009,
    NET_CLOSE_TROUBLE = 1011,
    NET_CLOSE_LATER = 1013, // try again later
};

struct net_websocket;

struct net_websocket_ops {
    // TEXT or BINARY, whole; its bytes are *borrowed* for the call. None comes once it is being
    // closed.
    void (*message)(void *context, const struct net_message *message);
    // All messages that came at once were given; also when a CLOSE came behind them. May be NULL.
    void (*rest)(void *context);
    void (*drained)(void *context); // as a stream's. May be NULL
    // The socket is no more after this call. The code that ended it: the peer's, or NET_CLOSE_LOST.
    void (*gone)(void *context, unsigned code);
};

// What keeps a request from becoming a socket: a sentence, its status (400 or 426) and nothing
// changed; NULL: nothing does. With 426 the answer says `Upgrade: websocket` and
// `Sec-WebSocket-Version: 13`.
const char *net_websocket_refusal(const struct net_head *head, int *out_status);
// Is a subprotocol among those the peer offers? NULL: does it offer any at all?
bool net_websocket_offers(const struct net_head *head, const char *protocol);

// Answers 101, with a subprotocol if it is not NULL, and takes the connection over. Messages have
// at most `most` bytes. PEAL_ENOMEM: the request is as it was.
enum peal_err net_websocket_open(struct net_websocket **out, struct net_request *request,
                                 const char *protocol, size_t most,
                                 const struct net_websocket_ops *ops, void *context);

// Sends a message; *copied*. Or frames that were put together before (net_frame_end), as many as
// there are: one write. What is sent once it is being closed goes nowhere.
void net_websocket_send(struct net_websocket *web, enum net_frame_kind kind, const void *bytes,
                        size_t size);
void net_websocket_send_frames(struct net_websocket *web, const void *frames, size_t size);
// The same without a copy: *borrowed* until `release` is called, on the loop's thread.
void net_websocket_lend_frames(struct net_websocket *web, const void *frames, size_t size,
                               void (*release)(void *context), void *context);
size_t net_websocket_queued(const struct net_websocket *web);

void net_websocket_pause(struct net_websocket *web); // no more messages
void net_websocket_resume(struct net_websocket *web);

// Says goodbye behind what is queued, and waits for the peer's; a reason of at most 123 bytes.
// Doing it twice is fine.
void net_websocket_close(struct net_websocket *web, unsigned code, const char *reason);

// What a client must find in Sec-WebSocket-Accept.
void net_websocket_accept(char out[32], struct net_part key);

#endif
