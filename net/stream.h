// SPDX-License-Identifier: MIT
//
// Stream: the bytes of one connection, both ways; plain or TLS.
//
//     socket ─► scratch (one for all) ─► ops->take ─┬─► taken
//                                                   └─► kept, and given again with what comes next
//     net_stream_write ─► queue ─► socket, after the callback that wrote (many writes, one call)
//
// A connection that is idle holds no buffers. Who cannot take more says so by taking less and
// pausing: then nothing more is read, and the peer's own queue fills up. Who writes looks at
// net_stream_queued and waits for ops->drained.
//
// Threads: the loop's only. Memory: a stream frees itself after ops->gone, its last call.
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "net/loop.h"

struct net_streams; // what the streams of one loop share
struct net_stream;
struct ssl_st;
struct sockaddr;

enum net_end {
    NET_END_CLOSED, // by us, and all was sent
    NET_END_PEER,   // by the peer, or the network
    NET_END_TIME,   // its deadline has passed
    NET_END_TLS,    // the peer does not speak TLS as we want it
};

struct net_stream_ops {
    // Bytes have come: all that is kept, and what is new. Returns how many are taken. *Borrowed*
    // for the call.
    size_t (*take)(void *context, const char *bytes, size_t size);
    // The peer sends no more. It may still read: net_stream_end when all is said.
    void (*ended)(void *context);
    // Fewer than NET_STREAM_LOW bytes wait to be sent, after there were more.
    void (*drained)(void *context);
    // The stream is no more after this call.
    void (*gone)(void *context, enum net_end why);
    // What a peer is told, as it stands here, that speaks HTTP without TLS where TLS is spoken.
    // NULL: nothing.
    const char *no_tls;
};

#define NET_STREAM_LOW     16384
#define NET_STREAM_SCRATCH 65536

enum peal_err net_streams_open(struct net_streams **out, struct net_loop *loop);
// Closes all that are left. NULL is fine.
void net_streams_close(struct net_streams *streams);

// *Takes* the socket, connected and non-blocking, and `tls` (or NULL), also on failure.
// PEAL_ENOMEM.
enum peal_err net_stream_open(struct net_stream **out, struct net_streams *streams, int socket,
                              struct ssl_st *tls);
// Who it belongs to from now on.
void net_stream_use(struct net_stream *stream, const struct net_stream_ops *ops, void *context);

// Copied. False: no memory, and the stream is broken: it will be gone.
bool net_stream_write(struct net_stream *stream, const void *bytes, size_t size);
// The same without a copy: *borrowed* until `release` is called, on the loop's thread.
bool net_stream_lend(struct net_stream *stream, const void *bytes, size_t size,
                     void (*release)(void *context), void *context);
size_t net_stream_queued(const struct net_stream *stream); // bytes that are not sent yet

void net_stream_pause(struct net_stream *stream);  // reads no more
void net_stream_resume(struct net_stream *stream); // and again; what is kept is given soon
// Closes it when what is queued is sent. What comes meanwhile is thrown away.
void net_stream_end(struct net_stream *stream);
void net_stream_close(struct net_stream *stream); // at once; `gone` is called soon, not now

// Bytes that the peer's machine has acknowledged, of all that were written. What it has not, may
// wait in our queue or in the socket's, which holds megabytes.
uint64_t net_stream_taken(struct net_stream *stream);
bool net_stream_waits(struct net_stream *stream); // something is not acknowledged

// How long the stream may go on, from now; the last call counts. To about a second; 0: for ever.
void net_stream_deadline(struct net_stream *stream, uint64_t ms); // whatever happens
// So long after the peer has taken the last it was sent, or some of it: a slow one is not cut off.
void net_stream_idle(struct net_stream *stream, uint64_t ms);
// The same, and only if something waits for the peer meanwhile.
void net_stream_stall(struct net_stream *stream, uint64_t ms);

// The peer's address as text: "127.0.0.1", "::1"; "" for none. *Borrowed* from the stream.
const char *net_stream_peer(const struct net_stream *stream);

#endif
