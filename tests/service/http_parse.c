// SPDX-License-Identifier: MIT
//
// Heads, chunks and URLs, in tables: what is read, and with what status the rest is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/http_parse.h"

#define HOST "Host: a\r\n"

// ---- heads --------------------------------------------------------------------------------------

struct refused {
    int status;
    const char *head;
};

static const struct refused refusals[] = {
    // The first line.
    { 400, "GET\r\n\r\n" },
    { 400, "GET /\r\n\r\n" },
    { 400, " / HTTP/1.1\r\n" HOST "\r\n" },
    { 400, "GET  HTTP/1.1\r\n" HOST "\r\n" },
    { 400, "GET / x HTTP/1.1\r\n" HOST "\r\n" },
    { 400, "G(T / HTTP/1.1\r\n" HOST "\r\n" },
    { 400, "GET a HTTP/1.1\r\n" HOST "\r\n" },
    { 400, "GET http://a HTTP/1.1\r\n" HOST "\r\n" },
    { 400, "GET /a#b HTTP/1.1\r\n" HOST "\r\n" },
    { 400, "GET /\tb HTTP/1.1\r\n" HOST "\r\n" },
    { 400, "GET /\x80 HTTP/1.1\r\n" HOST "\r\n" },
    { 400, "GET / http/1.1\r\n" HOST "\r\n" },
    { 400, "GET / HTTP/1.1 \r\n" HOST "\r\n" },
    { 400, "GET / HTTPS/1.1\r\n" HOST "\r\n" },
    { 505, "GET / HTTP/2.0\r\n" HOST "\r\n" },
    { 505, "GET / HTTP/1.2\r\n" HOST "\r\n" },
    { 505, "GET / HTTP/0.9\r\n" HOST "\r\n" },
    // Lines.
    { 400, "GET / HTTP/1.1\n" HOST "\r\n" },
    { 400, "GET / HTTP/1.1\r\nHost: a\nb: c\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\nHost: a\rb: c\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\n" HOST "folded: a\r\n b\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\n" HOST "folded: a\r\n\tb: c\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\n" HOST "nothing\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\n" HOST ": nobody\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\n" HOST "a : b\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\n" HOST "a b: c\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\n" HOST "a: \x01\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\n" HOST "a: \x7f\r\n\r\n" },
    // Host.
    { 400, "GET / HTTP/1.1\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\n" HOST HOST "\r\n" },
    { 400, "GET / HTTP/1.0\r\n" HOST HOST "\r\n" },
    // The length of the body.
    { 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n" },
    { 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n" },
    { 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n" },
    { 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n" },
    { 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n" },
    { 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n" },
    { 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1 1\r\n\r\n" },
    { 400, "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n" },
    { 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\n" },
    { 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" },
    { 400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n" },
    { 400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n"
           "Transfer-Encoding: chunked\r\n\r\n" },
    { 400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n"
           "Transfer-Encoding: identity\r\n\r\n" },
    { 400, "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n" },
    { 501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n" },
    { 501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n" },
    { 501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n" },
    { 501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n" },
    { 417, "POST / HTTP/1.1\r\n" HOST "Expect: a miracle\r\n\r\n" },
};

// Read from a block of just its size, so that a checker sees one byte too many.
static bool parse(struct net_head *head, const char *text, char **memory,
                  struct net_refusal *refusal)
{
    size_t size = strlen(text);
    *memory = malloc(size);
    assert_non_null(*memory);
    memcpy(*memory, text, size);
    assert_int_equal(net_head_size(*memory, size, 0), size);
    return net_head_parse(head, *memory, size, refusal);
}

static void what_is_wrong_is_refused_with_its_status_and_a_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct net_head head;
        struct net_refusal refusal = { 0 };
        char *memory;

        bool good = parse(&head, refusals[i].head, &memory, &refusal);

        if (good || refusal.status != refusals[i].status || !refusal.reason[0]) {
            fail_msg("%s: %d instead of %d", refusals[i].head, good ? 200 : refusal.status,
                     refusals[i].status);
        }
        free(memory);
    }
}

static void a_zero_byte_in_a_head_is_refused(void **state)
{
    (void)state;
    static const char heads[][40] = { "GET / HTTP/1.1\r\nHost: a\r\nb: c?d\r\n\r\n",
                                      "GET / HTTP/1.1\r\nHost: a\r\nb?: cd\r\n\r\n",
                                      "GET /? HTTP/1.1\r\nHost: a\r\nb: c\r\n\r\n",
                                      "G?T / HTTP/1.1\r\nHost: a\r\nb: c\r\n\r\n" };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct net_head head;
        struct net_refusal refusal = { 0 };
        char bytes[40];
        size_t size = strlen(heads[i]);
        memcpy(bytes, heads[i], size);
        *(char *)memchr(bytes, '?', size) = 0;

        assert_false(net_head_parse(&head, bytes, size, &refusal));
        assert_int_equal(refusal.status, 400);
    }
}

static void a_sound_head_is_read_to_the_byte(void **state)
{
    (void)state;
    struct net_head head;
    struct net_refusal refusal;
    char *memory;

    assert_true(parse(&head,
                      "POST /v1/a%20b?c=d&e HTTP/1.1\r\nhOsT:\tx:1 \t\r\nEmpty:\r\n"
                      "Content-Length: 000123456789012345\r\nConnection: Foo , UPGRADE\r\n"
                      "Expect: 100-Continue\r\nX: \xc3\xa4\r\n\r\n",
                      &memory, &refusal));

    assert_true(net_part_is(head.method, "POST"));
    assert_true(net_part_is(head.path, "/v1/a%20b"));
    assert_true(net_part_is(head.query, "c=d&e"));
    assert_int_equal(head.count, 6);
    assert_true(net_part_is(net_head_find(&head, "host"), "x:1"));
    assert_non_null(net_head_find(&head, "empty").bytes);
    assert_int_equal(net_head_find(&head, "empty").size, 0);
    assert_null(net_head_find(&head, "missing").bytes);
    assert_true(head.has_length && !head.chunked && head.minor && head.keep_alive);
    assert_int_equal(head.length, UINT64_C(123456789012345));
    assert_true(head.upgrade && head.expects);
    free(memory);
}

static void a_connection_is_kept_as_version_and_header_say(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        bool kept;
    } rows[] = {
        { "GET / HTTP/1.1\r\n" HOST "\r\n", true },
        { "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", false },
        { "GET / HTTP/1.1\r\n" HOST "Connection: a, Close\r\n\r\n", false },
        { "GET / HTTP/1.1\r\n" HOST "Connection: closed\r\n\r\n", true },
        { "GET / HTTP/1.0\r\n\r\n", false },
        { "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true },
        { "GET / HTTP/1.0\r\nConnection: Upgrade\r\n\r\n", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct net_head head;
        struct net_refusal refusal;
        char *memory;
        assert_true(parse(&head, rows[i].head, &memory, &refusal));
        assert_int_equal(head.keep_alive, rows[i].kept);
        assert_false(head.upgrade && !head.minor);
        free(memory);
    }
}

static void every_form_of_a_target_has_its_path(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        { "/", "/", "" },
        { "/?", "/", "" },
        { "/a?b?c", "/a", "b?c" },
        { "http://h/a", "/a", "" },
        { "HTTP://h:1/?x", "/", "x" },
        { "*", "*", "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[100];
        struct net_head head;
        struct net_refusal refusal;
        char *memory;
        (void)snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "\r\n", rows[i][0]);
        assert_true(parse(&head, text, &memory, &refusal));
        assert_true(net_part_is(head.path, rows[i][1]));
        assert_true(net_part_is(head.query, rows[i][2]));
        free(memory);
    }
}

static void sixty_four_headers_are_read_and_one_more_is_431(void **state)
{
    (void)state;
    for (int count = 64; count <= 65; count++) {
        char text[2000] = "GET / HTTP/1.1\r\n" HOST;
        struct net_head head;
        struct net_refusal refusal = { 0 };
        char *memory;
        for (int i = 1; i < count; i++) {
            (void)strcat(text, "a: b\r\n");
        }
        (void)strcat(text, "\r\n");

        bool good = parse(&head, text, &memory, &refusal);

        assert_int_equal(good, count == 64);
        assert_int_equal(refusal.status, count == 64 ? 0 : 431);
        free(memory);
    }
}

static void a_head_is_whole_at_its_empty_line_wherever_it_was_looked_for_before(void **state)
{
    (void)state;
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n\r\n";
    size_t whole = strlen(text) - 2;
    for (size_t size = 0; size <= strlen(text); size++) {
        for (size_t from = 0; from <= size && from < whole; from++) {
            assert_int_equal(net_head_size(text, size, from), size >= whole ? whole : 0);
        }
    }
}

// ---- chunks -------------------------------------------------------------------------------------

struct chunked {
    enum net_chunks_result result;
    const char *body, *data;
};

static const struct chunked bodies[] = {
    { NET_CHUNKS_END, "0\r\n\r\n", "" },
    { NET_CHUNKS_END, "000\r\n\r\n", "" },
    { NET_CHUNKS_END, "5\r\nhello\r\n0\r\n\r\n", "hello" },
    { NET_CHUNKS_END, "1\r\na\r\n1\r\nb\r\n00\r\n\r\n", "ab" },
    { NET_CHUNKS_END, "A\r\n0123456789\r\n0\r\n\r\n", "0123456789" },
    { NET_CHUNKS_END, "a\r\n012\r\n\r\n789\r\n0\r\n\r\n", "012\r\n\r\n789" },
    { NET_CHUNKS_END, "1;a=b;c=\"d\"\r\nx\r\n0;end\r\n\r\n", "x" },
    { NET_CHUNKS_END, "1 \t;a\r\nx\r\n0\r\n\r\n", "x" },
    { NET_CHUNKS_END, "1\r\nx\r\n0\r\nTrailer: a\r\nB: c\r\n\r\n", "x" },
    { NET_CHUNKS_MORE, "", "" },
    { NET_CHUNKS_MORE, "5", "" },
    { NET_CHUNKS_MORE, "5\r\nhell", "hell" },
    { NET_CHUNKS_MORE, "5\r\nhello\r\n0\r\n", "hello" },
    { NET_CHUNKS_MORE, "0\r\nTrailer: a\r\n", "" },
    { NET_CHUNKS_BAD, "\r\n", "" },
    { NET_CHUNKS_BAD, " 1\r\nx", "" },
    { NET_CHUNKS_BAD, "g\r\n", "" },
    { NET_CHUNKS_BAD, "-1\r\n", "" },
    { NET_CHUNKS_BAD, "0x1\r\n", "" },
    { NET_CHUNKS_BAD, ";a\r\n", "" },
    { NET_CHUNKS_BAD, "1\nx", "" },
    { NET_CHUNKS_BAD, "1\r\rx", "" },
    { NET_CHUNKS_BAD, "1;a\nb\r\nx", "" },
    { NET_CHUNKS_BAD, "1\r\nxy", "x" },
    { NET_CHUNKS_BAD, "1\r\nx\n", "x" },
    { NET_CHUNKS_BAD, "1\r\nx\r1", "x" },
    { NET_CHUNKS_BAD, "0\r\nTrailer: a\n", "" },
    { NET_CHUNKS_BAD, "0\r\n\rx", "" },
    { NET_CHUNKS_BAD, "0\n\n", "" },
    { NET_CHUNKS_BAD, "10000000000000000\r\n", "" },
    { NET_CHUNKS_BAD, "0000000000000000000000001\r\nx", "" },
};

// Reads a body in parts of `step` bytes. The data goes to `out`, as a string.
static enum net_chunks_result read_body(char *out, const char *body, size_t size, size_t step,
                                        size_t *used)
{
    struct net_chunks chunks = { 0 };
    enum net_chunks_result result = NET_CHUNKS_MORE;
    size_t at = 0, filled = 0;
    while (at < size && (result == NET_CHUNKS_MORE || result == NET_CHUNKS_DATA)) {
        size_t part = size - at < step ? size - at : step, taken = 0;
        struct net_part data = { 0 };
        result = net_chunks_read(&chunks, body + at, part, &taken, &data);
        assert_in_range(taken, 1, part);
        if (result == NET_CHUNKS_DATA) {
            assert_true(data.size > 0);
            memcpy(out + filled, data.bytes, data.size);
            filled += data.size;
        }
        at += taken;
    }
    out[filled] = 0;
    *used = at;
    return result == NET_CHUNKS_DATA ? NET_CHUNKS_MORE : result;
}

static void chunks_are_the_same_however_they_are_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        for (size_t step = 1; step < 40; step++) {
            char data[100];
            size_t used;
            size_t size = strlen(bodies[i].body);
            enum net_chunks_result result = read_body(data, bodies[i].body, size, step, &used);
            if (result != bodies[i].result || strcmp(data, bodies[i].data) != 0) {
                fail_msg("%s in parts of %zu: %d, %s", bodies[i].body, step, (int)result, data);
            }
            assert_true(result == NET_CHUNKS_BAD || used == size);
        }
    }
}

static void what_stands_behind_the_body_is_left_there(void **state)
{
    (void)state;
    static const char body[] = "1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
    char data[100];
    size_t used;

    assert_int_equal(read_body(data, body, strlen(body), 100, &used), NET_CHUNKS_END);
    assert_string_equal(body + used, "GET / HTTP/1.1\r\n");
}

// The longest extension that is taken, or trailer, and one byte more.
static enum net_chunks_result read_long(const char *before, size_t filler, const char *after)
{
    size_t room = filler + 100, size = 0, used;
    char *body = calloc(1, room), *data = calloc(1, room);
    assert_non_null(body);
    assert_non_null(data);
    size = (size_t)snprintf(body, room, "%s", before);
    memset(body + size, 'e', filler);
    size += filler;
    size += (size_t)snprintf(body + size, room - size, "%s", after);
    enum net_chunks_result whole = read_body(data, body, size, size, &used);
    assert_int_equal(read_body(data, body, size, 7, &used), whole);
    free(body);
    free(data);
    return whole;
}

static void extensions_and_trailers_have_an_end(void **state)
{
    (void)state;
    assert_int_equal(read_long("1;", 200, "\r\nx\r\n0\r\n\r\n"), NET_CHUNKS_END);
    assert_int_equal(read_long("1;", 300, "\r\nx\r\n0\r\n\r\n"), NET_CHUNKS_BAD);
    assert_int_equal(read_long("0\r\na: ", 4000, "\r\n\r\n"), NET_CHUNKS_END);
    assert_int_equal(read_long("0\r\na: ", 4200, "\r\n\r\n"), NET_CHUNKS_BAD);
}

// ---- URLs ---------------------------------------------------------------------------------------

static void urls_are_decoded_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *path, *query; // NULL: refused
    } rows[] = {
        { "", "", "" },
        { "a+b", "a+b", "a b" },
        { "%41%2f%2F", "A//", "A//" },
        { "%2B", "+", "+" },
        { "%c3%a4", "\xc3\xa4", "\xc3\xa4" },
        { "%", NULL, NULL },
        { "%4", NULL, NULL },
        { "a%4", NULL, NULL },
        { "%g1", NULL, NULL },
        { "%1g", NULL, NULL },
        { "%00", NULL, NULL },
        { "%%41", NULL, NULL },
        { "%-1", NULL, NULL },
        { "%ff", NULL, NULL }, // not UTF-8
        { "a%c3", NULL, NULL },
        { "%ed%a0%80", NULL, NULL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int query = 0; query < 2; query++) {
            char out[20] = "untouched";
            const char *wanted = query ? rows[i].query : rows[i].path;
            struct net_part text = { rows[i].text, strlen(rows[i].text) };
            assert_int_equal(net_url_decode(out, sizeof out, text, query), wanted != NULL);
            if (wanted) {
                assert_string_equal(out, wanted);
            }
        }
    }
}

static void a_text_that_does_not_fit_is_not_decoded(void **state)
{
    (void)state;
    char out[4];
    assert_true(net_url_decode(out, 4, (struct net_part){ "abc", 3 }, false));
    assert_true(net_url_decode(out, 4, (struct net_part){ "%41%42%43", 9 }, false));
    assert_false(net_url_decode(out, 4, (struct net_part){ "abcd", 4 }, false));
    assert_false(net_url_decode(out, 0, (struct net_part){ "", 0 }, false));
}

static void a_query_is_taken_apart_pair_by_pair(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "", "" },
        { "&&&", "" },
        { "a", "a|;" },
        { "a=", "a|;" },
        { "a=b", "a|b;" },
        { "a=b=c&d", "a|b=c;d|;" },
        { "&a=1&&b=2&", "a|1;b|2;" },
        { "=x&=", "|x;|;" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char found[100] = "";
        struct net_part query = { rows[i][0], strlen(rows[i][0]) }, name, value;
        while (net_query_next(&query, &name, &value)) {
            size_t used = strlen(found);
            (void)snprintf(found + used, sizeof found - used, "%.*s|%.*s;", (int)name.size,
                           name.bytes, (int)value.size, value.bytes);
        }
        assert_string_equal(found, rows[i][1]);
        assert_int_equal(query.size, 0);
    }
}

static void words_are_found_in_lists_whatever_their_case(void **state)
{
    (void)state;
    struct net_part list = { "a, Bc ,\td,,", 11 };
    assert_true(net_part_has_word(list, "a"));
    assert_true(net_part_has_word(list, "bc"));
    assert_true(net_part_has_word(list, "D"));
    assert_false(net_part_has_word(list, "b"));
    assert_false(net_part_has_word((struct net_part){ NULL, 0 }, "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_refused_with_its_status_and_a_sentence),
        cmocka_unit_test(a_zero_byte_in_a_head_is_refused),
        cmocka_unit_test(a_sound_head_is_read_to_the_byte),
        cmocka_unit_test(a_connection_is_kept_as_version_and_header_say),
        cmocka_unit_test(every_form_of_a_target_has_its_path),
        cmocka_unit_test(sixty_four_headers_are_read_and_one_more_is_431),
        cmocka_unit_test(a_head_is_whole_at_its_empty_line_wherever_it_was_looked_for_before),
        cmocka_unit_test(chunks_are_the_same_however_they_are_split),
        cmocka_unit_test(what_stands_behind_the_body_is_left_there),
        cmocka_unit_test(extensions_and_trailers_have_an_end),
        cmocka_unit_test(urls_are_decoded_or_refused),
        cmocka_unit_test(a_text_that_does_not_fit_is_not_decoded),
        cmocka_unit_test(a_query_is_taken_apart_pair_by_pair),
        cmocka_unit_test(words_are_found_in_lists_whatever_their_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
