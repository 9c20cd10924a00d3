// SPDX-License-Identifier: MIT
//
// Http: a server for HTTP/1.1 and 1.0 (RFC 9110, RFC 9112).
//
//     stream ─► head ─► ops->head ─┬─► net_request_collect ─► whole body ─┐
//                                  ├─► net_request_parts ──► each part ───┼─► net_answer
//                                  └──────────────────────────────────────┘   net_answer_begin, ...
//
// When the head of a request has come, `head` is called; it answers, now or later, or says first
// how it wants the body. One request of a connection is under way at a time: what comes behind it
// waits in the peer's socket, so that pipelining needs no memory of ours. Answers that take long
// are sent in parts, and the connection may be taken over (`Upgrade`).
//
// What a peer may cost before its head is whole is `line_bytes` and `head_bytes`, and `request_ms`
// of patience. Heads that are not as they should be are answered here, as application/problem+json
// (RFC 9457).
//
// Threads: the loop's only. A request is *borrowed* by whoever serves it: until its answer has
// ended, or it is gone (net_request_on_gone).
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "net/http_parse.h"
#include "net/stream.h"

struct addrinfo;
struct net_http;
struct net_request;
struct ssl_ctx_st;

struct net_http_limits {
    size_t head_bytes;    // of a request's headers together; default 16 KiB
    size_t line_bytes;    // of the line before them; default 8 KiB
    unsigned connections; // default 10,000; one more is answered 503
    unsigned per_address; // of them from one address; default: any number
    uint64_t request_ms;  // from the first byte of a request to the last of its body; default 30 s
    uint64_t idle_ms;     // between requests, and in which a peer takes nothing; default 120 s
    size_t queue_bytes;   // that wait to be sent, of one connection; default 1 MiB
};

// What is counted, since the server was opened.
struct net_http_counts {
    uint64_t connections, refused; // that came; and those over the limit
    uint64_t requests;
    uint64_t answers[6]; // by the first digit of their status
    uint64_t bytes_in, bytes_out;
    uint64_t open; // connections now
};

struct net_http_ops {
    void (*head)(struct net_request *request, void *context);
    // A request was answered. May be NULL.
    void (*answered)(struct net_request *request, int status, void *context);
};

// *Given*: net_http_close, before the streams'. The limits are *copied*; zeros are the defaults.
enum peal_err net_http_open(struct net_http **out, struct net_loop *loop,
                            const struct net_http_limits *limits, const struct net_http_ops *ops,
                            void *context);
void net_http_close(struct net_http *http); // ends what is under way; NULL is fine
void net_http_set_limits(struct net_http *http, const struct net_http_limits *limits);

// Listens on an address, with TLS if `tls` is given (*borrowed*). `out_port` may be NULL. False:
// `out_error` says why, a half sentence.
bool net_http_listen(struct net_http *http, const struct addrinfo *address, struct ssl_ctx_st *tls,
                     unsigned *out_port, char out_error[160]);
// Takes no connections any more, and closes each that is there when its answer is over.
void net_http_drain(struct net_http *http);
void net_http_counts(const struct net_http *http, struct net_http_counts *out); // any thread

const char *net_http_reason(int status); // "Not Found"

// ---- a request ----------------------------------------------------------------------------------

const struct net_head *net_request_head(const struct net_request *request); // borrowed as it is
struct net_loop *net_request_loop(const struct net_request *request);

// The body, whole; *borrowed* for the call. More than `most` bytes are answered 413.
void net_request_collect(struct net_request *request, size_t most,
                         void (*whole)(struct net_request *request, const char *body, size_t size,
                                       void *context),
                         void *context);
// The body as it comes, in parts; `size` 0: that was all. The bytes are *borrowed* for the call.
void net_request_parts(struct net_request *request,
                       void (*part)(struct net_request *request, const char *bytes, size_t size,
                                    void *context),
                       void *context);
// No more of the body for now; and on again. Its time stands still meanwhile.
void net_request_hold(struct net_request *request);
void net_request_go_on(struct net_request *request);

// Called when the request is no more before its answer has begun, or ended: the peer has gone, or
// its body was refused here. NULL: nobody wants to know.
void net_request_on_gone(struct net_request *request, void (*gone)(void *context), void *context);

// ---- its answer ---------------------------------------------------------------------------------

// Another header of the answer; *copied*. Neither name nor value is checked.
void net_answer_header(struct net_request *request, const char *name, const char *value);
// The whole of it. `type` NULL: there is no body. 204 and 304 have none either.
void net_answer(struct net_request *request, int status, const char *type, const void *body,
                size_t size);
// application/problem+json. `code` and a sentence.
void net_answer_problem(struct net_request *request, int status, const char *code,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));

// An answer in parts. `drained` (may be NULL) is called when fewer than NET_STREAM_LOW bytes wait,
// after there were more.
void net_answer_begin(struct net_request *request, int status, const char *type);
void net_answer_part(struct net_request *request, const void *bytes, size_t size);
// The same without a copy: *borrowed* until `release` is called, on the loop's thread.
void net_answer_lend(struct net_request *request, const void *bytes, size_t size,
                     void (*release)(void *loan), void *loan);
size_t net_answer_queued(const struct net_request *request);
void net_answer_on_drained(struct net_request *request, void (*drained)(void *context),
                           void *context);
void net_answer_end(struct net_request *request);

// Answers 101 with the headers that were given, and hands the connection over: *given*. The request
// is no more. What the peer has sent behind its head is taken by whoever uses the stream next.
struct net_stream *net_answer_upgrade(struct net_request *request, const char *protocol);

#endif
