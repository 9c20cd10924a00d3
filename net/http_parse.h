// SPDX-License-Identifier: MIT
//
// The head of an HTTP/1.1 request (RFC 9112, RFC 9110), and the chunks of its body.
//
// Strict where leniency has let requests be smuggled past proxies: lines end with CR LF, no line is
// folded, no space stands before a colon, Content-Length is one number and does not stand beside
// Transfer-Encoding, which is `chunked` and nothing else, Host is there once. What is refused is
// refused with a status and a sentence.
//
// Nothing is copied: what is found points into the bytes. Threads: any, all of it is pure.
#ifndef NET_HTTP_PARSE_H
#define NET_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_HTTP_HEADERS_MAX 64

struct net_part {
    const char *bytes;
    size_t size;
};

struct net_header {
    struct net_part name, value; // the value without the spaces around it
};

struct net_head {
    struct net_part method;
    struct net_part
        path; // as it came, "/v1/events/a%20b"; "*" and "http://host/path" are taken too
    struct net_part query; // behind the question mark, as it came
    struct net_header headers[NET_HTTP_HEADERS_MAX];
    size_t count;
    bool minor; // HTTP/1.1; else 1.0

    // What follows from the headers:
    bool chunked;
    bool has_length;
    uint64_t length;
    bool keep_alive;
    bool expects; // "100-continue"
    bool upgrade; // to what the header Upgrade says
};

// Why a request is refused.
struct net_refusal {
    int status;         // 400, 417, 431, 501, 505
    const char *reason; // a sentence
};

// The bytes of the head with the empty line that ends it; 0: it is not whole. `from`: so many have
// been looked at before.
size_t net_head_size(const char *bytes, size_t size, size_t from);

// Reads a whole head. False: `out_refusal` says why.
bool net_head_parse(struct net_head *out, const char *bytes, size_t size,
                    struct net_refusal *out_refusal);

// The value of the first header of a name (in lower case); size 0 and bytes NULL: there is none.
struct net_part net_head_find(const struct net_head *head, const char *name);
size_t net_head_count(const struct net_head *head, const char *name);
bool net_part_is(struct net_part part, const char *text);       // to the byte
bool net_part_is_word(struct net_part part, const char *text);  // whatever the case
bool net_part_has_word(struct net_part list, const char *word); // one of "a, b, c"

// ---- chunks -------------------------------------------------------------------------------------

// Where a chunked body is read. Zero is its beginning.
struct net_chunks {
    uint64_t left; // of this chunk
    int state;
    size_t line; // bytes of this line, or of the trailer
};

enum net_chunks_result {
    NET_CHUNKS_MORE, // give more bytes
    NET_CHUNKS_DATA, // there is data
    NET_CHUNKS_END,  // that was the last byte of the body
    NET_CHUNKS_BAD,
};

// Reads on; *taken bytes are done with. NET_CHUNKS_DATA: *data points to what came.
enum net_chunks_result net_chunks_read(struct net_chunks *chunks, const char *bytes, size_t size,
                                       size_t *taken, struct net_part *data);

// ---- URLs ---------------------------------------------------------------------------------------

// Decodes %41 and, in a query, '+'. Writes at most `size` bytes with the zero byte. False: too
// long, not encoded as it should be, not UTF-8, or a zero byte in it.
bool net_url_decode(char *out, size_t size, struct net_part text, bool query);

// The next name and value of a query; false: none is left.
bool net_query_next(struct net_part *query, struct net_part *out_name, struct net_part *out_value);

#endif
