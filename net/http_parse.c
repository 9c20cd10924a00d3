// SPDX-License-Identifier: MIT
//
// A head is read when it is whole: line by line, each byte looked up in a table.
#include "net/http_parse.h"

#include "net/text.h"

#include <string.h>
#include <strings.h>

#define BAD(out, text) ((out)->status = 400, (out)->reason = (text), false)

// Characters of a token (RFC 9110, 5.6.2).
static bool is_token(unsigned char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || (byte && strchr("!#$%&'*+-.^_`|~", byte));
}

static bool are_tokens(struct net_part part)
{
    for (size_t i = 0; i < part.size; i++) {
        if (!is_token((unsigned char)part.bytes[i])) {
            return false;
        }
    }
    return part.size > 0;
}

size_t net_head_size(const char *bytes, size_t size, size_t from)
{
    const char *at = bytes + (from > 3 ? from - 3 : 0);
    const char *end = bytes + size;
    while (at < end && (at = memchr(at, '\r', (size_t)(end - at)))) {
        if (end - at >= 4 && memcmp(at, "\r\n\r\n", 4) == 0) {
            return (size_t)(at - bytes) + 4;
        }
        at++;
    }
    return 0;
}

struct net_part net_head_find(const struct net_head *head, const char *name)
{
    for (size_t i = 0; i < head->count; i++) {
        if (net_part_is_word(head->headers[i].name, name)) {
            return head->headers[i].value;
        }
    }
    return (struct net_part){ 0 };
}

size_t net_head_count(const struct net_head *head, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < head->count; i++) {
        count += net_part_is_word(head->headers[i].name, name);
    }
    return count;
}

bool net_part_is(struct net_part part, const char *text)
{
    return strlen(text) == part.size && memcmp(part.bytes, text, part.size) == 0;
}

bool net_part_is_word(struct net_part part, const char *text)
{
    return strlen(text) == part.size && strncasecmp(part.bytes, text, part.size) == 0;
}

static struct net_part trim(struct net_part part)
{
    while (part.size > 0 && (*part.bytes == ' ' || *part.bytes == '\t')) {
        part.bytes++;
        part.size--;
    }
    while (part.size > 0 &&
           (part.bytes[part.size - 1] == ' ' || part.bytes[part.size - 1] == '\t')) {
        part.size--;
    }
    return part;
}

bool net_part_has_word(struct net_part list, const char *word)
{
    while (list.size > 0) {
        const char *comma = memchr(list.bytes, ',', list.size);
        size_t size = comma ? (size_t)(comma - list.bytes) : list.size;
        if (net_part_is_word(trim((struct net_part){ list.bytes, size }), word)) {
            return true;
        }
        size += comma != NULL;
        list.bytes += size;
        list.size -= size;
    }
    return false;
}

// ---- the head -----------------------------------------------------------------------------------

// The next line, without CR LF. False: a CR or LF stands alone.
static bool next_line(const char **at, const char *end, struct net_part *out)
{
    const char *stop = memchr(*at, '\r', (size_t)(end - *at));
    if (!stop || end - stop < 2 || stop[1] != '\n') {
        return false;
    }
    *out = (struct net_part){ *at, (size_t)(stop - *at) };
    *at = stop + 2;
    return !memchr(out->bytes, '\n', out->size);
}

static bool parse_target(struct net_head *out, struct net_part target, struct net_refusal *refusal)
{
    for (size_t i = 0; i < target.size; i++) {
        unsigned char byte = (unsigned char)target.bytes[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '#') {
            return BAD(refusal, "the target of the request has a character that is not encoded");
        }
    }
    if (target.size > 7 && strncasecmp(target.bytes, "http://", 7) == 0) {
        const char *slash = memchr(target.bytes + 7, '/', target.size - 7);
        if (!slash) {
            return BAD(refusal, "the target of the request has no path");
        }
        target.size -= (size_t)(slash - target.bytes);
        target.bytes = slash;
    }
    if (target.size == 0 || (target.bytes[0] != '/' && !net_part_is(target, "*"))) {
        return BAD(refusal, "the target of the request does not begin with a slash");
    }
    const char *mark = memchr(target.bytes, '?', target.size);
    size_t path = mark ? (size_t)(mark - target.bytes) : target.size;
    out->path = (struct net_part){ target.bytes, path };
    out->query = mark ? (struct net_part){ mark + 1, target.size - path - 1 }
                      : (struct net_part){ target.bytes + path, 0 };
    return true;
}

static bool parse_request_line(struct net_head *out, struct net_part line,
                               struct net_refusal *refusal)
{
    const char *first = memchr(line.bytes, ' ', line.size);
    const char *last = memrchr(line.bytes, ' ', line.size);
    if (!first || first == last) {
        return BAD(refusal, "the first line is not METHOD TARGET HTTP/1.1");
    }
    out->method = (struct net_part){ line.bytes, (size_t)(first - line.bytes) };
    struct net_part target = { first + 1, (size_t)(last - first) - 1 };
    struct net_part version = { last + 1, line.size - (size_t)(last - line.bytes) - 1 };
    if (!are_tokens(out->method)) {
        return BAD(refusal, "the method is none");
    }
    if (!net_part_is(version, "HTTP/1.1") && !net_part_is(version, "HTTP/1.0")) {
        bool http = version.size == 8 && memcmp(version.bytes, "HTTP/", 5) == 0;
        *refusal = http ? (struct net_refusal){ 505, "only HTTP/1.1 and HTTP/1.0 are spoken here" }
                        : (struct net_refusal){ 400, "the first line names no version of HTTP" };
        return false;
    }
    out->minor = version.bytes[7] == '1';
    return parse_target(out, target, refusal);
}

static bool parse_header(struct net_head *out, struct net_part line, struct net_refusal *refusal)
{
    const char *colon = memchr(line.bytes, ':', line.size);
    if (!colon) {
        return BAD(refusal, "a line of the head has no colon");
    }
    struct net_header header = { { line.bytes, (size_t)(colon - line.bytes) },
                                 trim((struct net_part){
                                     colon + 1, line.size - (size_t)(colon - line.bytes) - 1 }) };
    if (!are_tokens(header.name)) {
        return BAD(refusal,
                   "the name of a header is none; it may neither be folded nor end in a space");
    }
    for (size_t i = 0; i < header.value.size; i++) {
        unsigned char byte = (unsigned char)header.value.bytes[i];
        if ((byte < ' ' && byte != '\t') || byte == 0x7f) {
            return BAD(refusal, "a header has a control character in its value");
        }
    }
    if (out->count == NET_HTTP_HEADERS_MAX) {
        *refusal = (struct net_refusal){ 431, "there are more than 64 headers" };
        return false;
    }
    out->headers[out->count++] = header;
    return true;
}

static bool parse_length(uint64_t *out, struct net_part text)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned char)text.bytes[i] - '0';
        if (digit > 9 || i >= 18) {
            return false;
        }
        number = number * 10 + digit;
    }
    *out = number;
    return text.size > 0;
}

static bool conclude_body(struct net_head *head, struct net_refusal *refusal)
{
    size_t lengths = net_head_count(head, "content-length");
    size_t codings = net_head_count(head, "transfer-encoding");
    if (lengths > 1 || codings > 1 || (lengths && codings)) {
        return BAD(refusal, "the length of the body is said more than once");
    }
    if (codings) {
        if (!net_part_is_word(net_head_find(head, "transfer-encoding"), "chunked")) {
            *refusal =
                (struct net_refusal){ 501, "of transfer codings only chunked is known here" };
            return false;
        }
        if (!head->minor) {
            return BAD(refusal, "HTTP/1.0 knows no Transfer-Encoding");
        }
        head->chunked = true;
    }
    if (lengths && !parse_length(&head->length, net_head_find(head, "content-length"))) {
        return BAD(refusal, "Content-Length is no number");
    }
    head->has_length = lengths > 0;
    return true;
}

static bool conclude(struct net_head *head, struct net_refusal *refusal)
{
    if (net_head_count(head, "host") > 1 || (head->minor && net_head_count(head, "host") == 0)) {
        return BAD(refusal, "Host must be there, once");
    }
    struct net_part connection = net_head_find(head, "connection");
    head->keep_alive = head->minor ? !net_part_has_word(connection, "close")
                                   : net_part_has_word(connection, "keep-alive");
    head->upgrade = head->minor && net_part_has_word(connection, "upgrade");
    struct net_part expect = net_head_find(head, "expect");
    if (expect.bytes && !net_part_is_word(expect, "100-continue")) {
        *refusal = (struct net_refusal){ 417, "of expectations only 100-continue is known here" };
        return false;
    }
    head->expects = head->minor && expect.bytes;
    return conclude_body(head, refusal);
}

bool net_head_parse(struct net_head *out, const char *bytes, size_t size,
                    struct net_refusal *out_refusal)
{
    const char *at = bytes;
    const char *end = bytes + size;
    struct net_part line;
    *out = (struct net_head){ 0 };
    if (!next_line(&at, end, &line)) {
        return BAD(out_refusal, "a line of the head does not end with CR LF");
    }
    if (!parse_request_line(out, line, out_refusal)) {
        return false;
    }
    for (;;) {
        if (!next_line(&at, end, &line)) {
            return BAD(out_refusal, "a line of the head does not end with CR LF");
        }
        if (line.size == 0) {
            return conclude(out, out_refusal);
        }
        if (!parse_header(out, line, out_refusal)) {
            return false;
        }
    }
}

// ---- chunks -------------------------------------------------------------------------------------

enum { SIZE_FIRST, SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER, TRAILER_LF, DONE };
enum { LINE_MAX_BYTES = 256, TRAILER_MAX = 4096 };

static int digit_of(char byte)
{
    return byte >= '0' && byte <= '9'   ? byte - '0'
           : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
           : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                        : -1;
}

// One byte of what is not data. False: it does not belong there.
static bool step(struct net_chunks *chunks, char byte)
{
    int digit = digit_of(byte);
    switch (chunks->state) {
    case SIZE_FIRST:
    case SIZE:
        if (digit >= 0) {
            chunks->left = chunks->left << 4 | (unsigned)digit;
            chunks->state = SIZE;
            return ++chunks->line <= 15;
        }
        if (chunks->state == SIZE_FIRST) {
            return false;
        }
        chunks->state = byte == '\r' ? SIZE_LF : EXTENSION;
        return byte == '\r' || byte == ';' || byte == ' ' || byte == '\t';
    case EXTENSION:
        chunks->state = byte == '\r' ? SIZE_LF : EXTENSION;
        return ++chunks->line <= LINE_MAX_BYTES && byte != '\n' && byte != 0;
    case SIZE_LF:
        chunks->state = chunks->left > 0 ? DATA : TRAILER;
        chunks->line = 0;
        return byte == '\n';
    case DATA_CR:
        chunks->state = DATA_LF;
        return byte == '\r';
    case DATA_LF:
        chunks->state = SIZE_FIRST;
        return byte == '\n';
    // The trailer is passed over: line by line up to an empty one. `left` counts its bytes, `line`
    // those of this line.
    case TRAILER:
        chunks->line += byte != '\r';
        chunks->state = byte == '\r' ? TRAILER_LF : TRAILER;
        return ++chunks->left <= TRAILER_MAX && byte != '\n' && byte != 0;
    default:
        chunks->state = chunks->line == 0 ? DONE : TRAILER;
        chunks->line = 0;
        return byte == '\n';
    }
}

enum net_chunks_result net_chunks_read(struct net_chunks *chunks, const char *bytes, size_t size,
                                       size_t *taken, struct net_part *data)
{
    size_t at = 0;
    while (at < size && chunks->state != DATA && chunks->state != DONE) {
        if (!step(chunks, bytes[at++])) {
            *taken = at;
            return NET_CHUNKS_BAD;
        }
    }
    *taken = at;
    if (chunks->state == DONE) {
        return NET_CHUNKS_END;
    }
    if (chunks->state != DATA || at == size) {
        return NET_CHUNKS_MORE;
    }
    size_t part = chunks->left < size - at ? (size_t)chunks->left : size - at;
    *data = (struct net_part){ bytes + at, part };
    *taken = at + part;
    chunks->left -= part;
    chunks->state = chunks->left ? DATA : DATA_CR;
    return NET_CHUNKS_DATA;
}

// ---- URLs ---------------------------------------------------------------------------------------

bool net_url_decode(char *out, size_t size, struct net_part text, bool query)
{
    size_t used = 0;
    for (size_t i = 0; i < text.size; i++) {
        char byte = text.bytes[i];
        if (byte == '%') {
            bool whole = text.size - i > 2;
            int high = whole ? digit_of(text.bytes[i + 1]) : -1;
            int low = whole ? digit_of(text.bytes[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            byte = (char)(high << 4 | low);
            i += 2;
        } else if (byte == '+' && query) {
            byte = ' ';
        }
        if (byte == 0 || used + 1 >= size) {
            return false;
        }
        out[used++] = byte;
    }
    if (used >= size) {
        return false;
    }
    out[used] = 0;
    return net_text_is_utf8(out, used);
}

bool net_query_next(struct net_part *query, struct net_part *out_name, struct net_part *out_value)
{
    while (query->size > 0) {
        const char *mark = memchr(query->bytes, '&', query->size);
        struct net_part pair = { query->bytes, mark ? (size_t)(mark - query->bytes) : query->size };
        size_t done = pair.size + (mark != NULL);
        query->bytes += done;
        query->size -= done;
        if (pair.size == 0) {
            continue;
        }
        const char *equals = memchr(pair.bytes, '=', pair.size);
        size_t name = equals ? (size_t)(equals - pair.bytes) : pair.size;
        *out_name = (struct net_part){ pair.bytes, name };
        *out_value = equals ? (struct net_part){ equals + 1, pair.size - name - 1 }
                            : (struct net_part){ pair.bytes + name, 0 };
        return true;
    }
    return false;
}
