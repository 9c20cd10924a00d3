// SPDX-License-Identifier: MIT
//
// Posts: an easy handle of libcurl, closed on all sides. No proxy, no redirect, no other protocol,
// no inflating, no .netrc; the host is never resolved by libcurl (CURLOPT_CONNECT_TO has the
// numbers), and the socket is only made if it goes to the address that was checked.
//
// HTTP/1.1 only: a connection carries one event at a time, so that a slow receiver delays what was
// sent to it and nothing else.
#include "service/webhook_post.h"

#include "base/error.h"

#include <inttypes.h>
#include <peal/peal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ID_MAX (3 * PEAL_ID_MAX + 1)

struct service_post {
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    struct service_plan *plan;
    struct service_ip address;
    char *body;
    size_t answered; // bytes of the answer, its head included
    bool full;       // it was longer than we read
    size_t text_size;
    char text[SERVICE_WEBHOOK_TEXT_MAX]; // its first bytes
    char error[CURL_ERROR_SIZE];
};

// ---- texts --------------------------------------------------------------------------------------

void service_post_id(char *out, size_t size, const char *id)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_~:@+/=-";
    static const char digits[] = "0123456789ABCDEF";
    size_t used = 0;
    for (const char *byte = id; *byte && used + 4 <= size; byte++) {
        if (strchr(plain, *byte)) {
            out[used++] = *byte;
        } else {
            out[used++] = '%';
            out[used++] = digits[(unsigned char)*byte >> 4];
            out[used++] = digits[(unsigned char)*byte & 15];
        }
    }
    out[used] = 0;
}

// The length of the character of UTF-8 that begins there, if people may see it as it is; or 0.
static size_t visible(const char *text, size_t length)
{
    const unsigned char *byte = (const unsigned char *)text;
    if (byte[0] < 0x80) {
        return byte[0] >= ' ' && byte[0] < 0x7f && byte[0] != '\\';
    }
    size_t size = byte[0] >= 0xf0 ? 4 : byte[0] >= 0xe0 ? 3 : 2;
    if (byte[0] < 0xc2 || byte[0] > 0xf4 || size > length) {
        return 0;
    }
    uint32_t point = byte[0] & (0x7fU >> size);
    for (size_t i = 1; i < size; i++) {
        if ((byte[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (byte[i] & 0x3fU);
    }
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    bool whole = point >= least[size] && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
    bool control = point < 0xa0 || (point >= 0x200b && point <= 0x200f) ||
                   (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) ||
                   point == 0xfeff;
    return whole && !control ? size : 0;
}

void service_post_escape(char *out, size_t size, const char *text, size_t length)
{
    size_t used = 0;
    for (size_t i = 0; i < length && used + 5 <= size;) {
        size_t whole = visible(text + i, length - i);
        if (whole > 0) {
            memcpy(out + used, text + i, whole);
            used += whole;
            i += whole;
        } else {
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", (unsigned char)text[i]);
            i++;
        }
    }
    out[used] = 0;
}

// ---- what libcurl calls -------------------------------------------------------------------------

// A head that never ends is as much of an answer as a body.
// NOLINTNEXTLINE(readability-non-const-parameter): libcurl has its own idea of it
static size_t take_head(char *bytes, size_t size, size_t count, void *context)
{
    (void)bytes;
    struct service_post *post = context;
    post->answered += size * count;
    return post->answered <= SERVICE_WEBHOOK_ANSWER_MAX ? size * count : 0;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
    struct service_post *post = context;
    size_t length = size * count, room = sizeof post->text - post->text_size;
    memcpy(post->text + post->text_size, bytes, length < room ? length : room);
    post->text_size += length < room ? length : room;
    post->answered += length;
    post->full = post->answered > SERVICE_WEBHOOK_ANSWER_MAX;
    return post->full ? 0 : length;
}

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *to)
{
    (void)purpose;
    const struct service_post *post = context;
    struct service_ip address;
    if (!service_ip_from(&address, &to->addr) || !service_ip_equal(&address, &post->address)) {
        return CURL_SOCKET_BAD; // it was not checked, and nobody should have come here
    }
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

// ---- making one ---------------------------------------------------------------------------------

static bool add(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);
    if (longer) {
        *list = longer;
    }
    return longer != NULL;
}

static bool add_signature(struct service_post *post, const struct service_post_options *options,
                          size_t size)
{
    char id[ID_MAX], signatures[SERVICE_SIGNATURES_TEXT], line[ID_MAX + 32];
    char proof[SERVICE_SIGNATURES_TEXT + 32];
    service_post_id(id, sizeof id, peal_event_id(options->event));
    struct service_signed message = { id, options->now_ms / 1000, post->body, size };
    if (service_secret_sign(signatures, post->plan->secrets, post->plan->secret_count,
                            options->now_ms, &message)) {
        return false;
    }
    (void)snprintf(line, sizeof line, "webhook-id: %s", id);
    (void)snprintf(proof, sizeof proof, "webhook-signature: %s", signatures);
    bool added = add(&post->headers, line) && add(&post->headers, proof);
    (void)snprintf(line, sizeof line, "webhook-timestamp: %" PRId64, message.timestamp);
    return added && add(&post->headers, line);
}

// "Expect:" with nothing behind it is left out by libcurl, which would add one of its own.
static bool add_headers(struct service_post *post)
{
    bool added = add(&post->headers, "Content-Type: application/cloudevents+json") &&
                 add(&post->headers, "Expect:");
    for (size_t i = 0; added && i < post->plan->header_count; i++) {
        char line[SERVICE_WEBHOOK_HEADER_NAME + SERVICE_WEBHOOK_HEADER_MAX + 4];
        (void)snprintf(line, sizeof line, "%s: %s", post->plan->headers[i].name,
                       post->plan->headers[i].value);
        added = add(&post->headers, line);
    }
    return added;
}

// "::127.0.0.1:80" is how libcurl is told: for any host and port, connect to this.
static bool add_address(struct service_post *post)
{
    char address[SERVICE_IP_TEXT], line[SERVICE_IP_TEXT + 16];
    service_ip_print(address, &post->address);
    const char *form = post->address.family == AF_INET6 ? "::[%s]:%u" : "::%s:%u";
    // NOLINTNEXTLINE(clang-diagnostic-format-nonliteral): one of the two above
    (void)snprintf(line, sizeof line, form, address, (unsigned)post->plan->port);
    return add(&post->connect_to, line);
}

// libcurl checks the types of what it is given by macros of its own. What cannot fail but for lack
// of memory is asked once, at the end.
static bool set_up(struct service_post *post, const struct service_post_options *options,
                   size_t size)
{
    CURL *easy = post->easy;
    int failed = 0;
    failed |= curl_easy_setopt(easy, CURLOPT_URL, post->plan->url);
    failed |= curl_easy_setopt(easy, CURLOPT_CONNECT_TO, post->connect_to);
    failed |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, post->headers);
    failed |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    failed |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS, post->body);
    failed |= curl_easy_setopt(easy, CURLOPT_USERAGENT, "Peal/" PEAL_VERSION);
    failed |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    failed |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    failed |= curl_easy_setopt(easy, CURLOPT_PROXY, "");
    failed |= curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    failed |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    failed |= curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    failed |= curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    failed |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    failed |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    failed |= curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (options->ca_file) {
        failed |= curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
    }
    failed |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    failed |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_ms);
    failed |= curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms);
    failed |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, post->error);
    failed |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_head);
    failed |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, post);
    failed |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    failed |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, post);
    failed |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    failed |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, post);
    return failed == 0;
}

enum peal_err service_post_create(struct service_post **out,
                                  const struct service_post_options *options)
{
    struct service_post *post = calloc(1, sizeof *post);
    if (!post) {
        return pl_fail(PEAL_ENOMEM, "no memory to send an event to a webhook");
    }
    post->plan = service_plan_ref(options->plan);
    post->address = *options->address;
    size_t size = peal_event_to_json(options->event, NULL, 0);
    post->body = malloc(size + 1);
    post->easy = curl_easy_init();
    if (!post->body || !post->easy) {
        service_post_destroy(post);
        return pl_fail(PEAL_ENOMEM, "no memory to send an event to a webhook");
    }
    (void)peal_event_to_json(options->event, post->body, size + 1); // as many bytes as before
    if (!add_headers(post) || !add_signature(post, options, size) || !add_address(post) ||
        !set_up(post, options, size)) {
        service_post_destroy(post);
        return pl_fail(PEAL_ENOMEM, "no memory to send an event to a webhook");
    }
    *out = post;
    return PEAL_OK;
}

CURL *service_post_handle(const struct service_post *post)
{
    return post->easy;
}

void service_post_destroy(struct service_post *post)
{
    if (!post) {
        return;
    }
    curl_easy_cleanup(post->easy);
    curl_slist_free_all(post->headers);
    curl_slist_free_all(post->connect_to);
    service_plan_unref(post->plan);
    free(post->body);
    free(post);
}

// ---- what an answer means -----------------------------------------------------------------------

static void fail(struct service_outcome *out, enum service_webhook_reason reason, const char *code)
{
    out->verdict = PEAL_RETRY;
    out->reason = reason;
    (void)snprintf(out->code, sizeof out->code, "%s", code);
}

static void judge_status(struct service_outcome *out, struct service_post *post, long status)
{
    char code[32], said[sizeof out->text - 16];
    out->answered = true;
    if (status >= 200 && status <= 299) {
        out->verdict = PEAL_DONE;
        return;
    }
    (void)snprintf(code, sizeof code, "http_%ld", status);
    if (status >= 300 && status <= 399) {
        fail(out, SERVICE_FAILED_REDIRECT, "http_redirect");
    } else if (status == 408 || status == 425 || status == 429) {
        fail(out, SERVICE_FAILED_BUSY, code);
    } else if (status == 410) {
        fail(out, SERVICE_FAILED_GONE, code);
        out->verdict = PEAL_RELEASE;
        out->gone = true;
    } else if (status >= 400 && status <= 499) {
        fail(out, SERVICE_FAILED_REFUSED, code);
        out->verdict = PEAL_REJECT;
    } else if (status >= 500 && status <= 599) {
        fail(out, SERVICE_FAILED_SERVER, code);
    } else {
        fail(out, SERVICE_FAILED_CUT, code);
    }
    service_post_escape(said, sizeof said, post->text, post->text_size);
    (void)snprintf(out->text, sizeof out->text, "HTTP %ld%s%s", status, said[0] ? ": " : "", said);
    curl_off_t later = 0;
    bool asks = out->reason == SERVICE_FAILED_BUSY || out->reason == SERVICE_FAILED_SERVER;
    if (asks && curl_easy_getinfo(post->easy, CURLINFO_RETRY_AFTER, &later) == CURLE_OK &&
        later > 0) {
        bool soon = later < SERVICE_WEBHOOK_LATER_MAX / 1000;
        out->later_ms = soon ? (uint64_t)later * 1000 : SERVICE_WEBHOOK_LATER_MAX;
    }
}

struct row {
    CURLcode code;
    enum service_webhook_reason reason;
    const char *name;
};

static const struct row rows[] = {
    { CURLE_OPERATION_TIMEDOUT, SERVICE_FAILED_TIMEOUT, "timeout" },
    { CURLE_COULDNT_CONNECT, SERVICE_FAILED_CONNECT, "connect" },
    { CURLE_SSL_CONNECT_ERROR, SERVICE_FAILED_TLS, "tls" },
    { CURLE_PEER_FAILED_VERIFICATION, SERVICE_FAILED_TLS, "tls" },
    { CURLE_SSL_CACERT_BADFILE, SERVICE_FAILED_TLS, "tls" },
    { CURLE_SSL_CERTPROBLEM, SERVICE_FAILED_TLS, "tls" },
    { CURLE_SSL_CIPHER, SERVICE_FAILED_TLS, "tls" },
    { CURLE_SSL_ISSUER_ERROR, SERVICE_FAILED_TLS, "tls" },
    { CURLE_OUT_OF_MEMORY, SERVICE_FAILED_OURS, "memory" },
};

static void judge_failure(struct service_outcome *out, const struct service_post *post,
                          CURLcode code)
{
    fail(out, SERVICE_FAILED_CUT, "cut");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].code == code) {
            fail(out, rows[i].reason, rows[i].name);
        }
    }
    const char *why = post->error[0] ? post->error : curl_easy_strerror(code);
    service_post_escape(out->text, sizeof out->text, why, strlen(why));
}

void service_post_judge(struct service_outcome *out, struct service_post *post, CURLcode code)
{
    *out = (struct service_outcome){ 0 };
    long status = 0;
    curl_off_t took_us = 0, connected_us = 0;
    (void)curl_easy_getinfo(post->easy, CURLINFO_RESPONSE_CODE, &status); // cannot fail
    (void)curl_easy_getinfo(post->easy, CURLINFO_TOTAL_TIME_T, &took_us);
    (void)curl_easy_getinfo(post->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
    if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && post->full)) {
        judge_status(out, post, status);
    } else {
        judge_failure(out, post, code);
        out->unreached = connected_us == 0;
    }
    out->took_ns = took_us * 1000;
}
