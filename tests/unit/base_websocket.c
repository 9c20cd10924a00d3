// SPDX-License-Identifier: MIT
//
// Frames and handshakes of WebSocket, by the examples of RFC 6455 and what is against it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha1.h"
#include "base/websocket.h"

static void feed(struct pl_ws_reader *reader, const void *bytes, size_t size)
{
    size_t room;
    char *at = pl_ws_reader_room(reader, size ? size : 1, &room);
    assert_non_null(at);
    assert_true(room >= size);
    if (size > 0) {
        memcpy(at, bytes, size);
    }
    pl_ws_reader_add(reader, size);
}

static struct pl_ws_reader reader_for(bool masked)
{
    return (struct pl_ws_reader){ .seams = &pl_seams_real, .max = 100000, .masked = masked };
}

static void sha1_has_the_published_digests(void **state)
{
    (void)state;
    unsigned char out[PL_SHA1_SIZE];
    static const unsigned char abc[] = "\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e"
                                       "\x25\x71\x78\x50\xc2\x6c\x9c\xd0\xd8\x9d";
    pl_sha1(out, "abc", 3);
    assert_memory_equal(out, abc, sizeof out);
    static const unsigned char longer[] = "\x84\x98\x3e\x44\x1c\x3b\xd2\x6e\xba\xae"
                                          "\x4a\xa1\xf9\x51\x29\xe5\xe5\x46\x70\xf1";
    pl_sha1(out, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56);
    assert_memory_equal(out, longer, sizeof out);
    static const unsigned char nothing[] = "\xda\x39\xa3\xee\x5e\x6b\x4b\x0d\x32\x55"
                                           "\xbf\xef\x95\x60\x18\x90\xaf\xd8\x07\x09";
    pl_sha1(out, "", 0);
    assert_memory_equal(out, nothing, sizeof out);
}

static void a_key_is_answered_as_the_rfc_says(void **state)
{
    (void)state;
    char accept[PL_WS_ACCEPT], key[PL_WS_KEY_SIZE];
    pl_ws_key(key, (const unsigned char *)"the sample nonce");
    assert_string_equal(key, "dGhlIHNhbXBsZSBub25jZQ==");
    pl_ws_accept(accept, key);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void the_frames_of_the_rfc_are_read(void **state)
{
    (void)state;
    struct pl_ws_reader client = reader_for(false), server = reader_for(true);
    struct pl_ws_message message;
    feed(&client, "\x81\x05Hello", 7);
    assert_int_equal(pl_ws_reader_next(&client, &message), PL_WS_MESSAGE);
    assert_int_equal(message.opcode, PL_WS_TEXT);
    assert_int_equal(message.size, 5);
    assert_memory_equal(message.bytes, "Hello", 5);
    feed(&server, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
    assert_int_equal(pl_ws_reader_next(&server, &message), PL_WS_MESSAGE);
    assert_memory_equal(message.bytes, "Hello", 5);
    // In two fragments, with a ping between them.
    feed(&client, "\x01\x03Hel\x89\x05Hello\x80\x02lo", 16);
    assert_int_equal(pl_ws_reader_next(&client, &message), PL_WS_MESSAGE);
    assert_int_equal(message.opcode, PL_WS_PING);
    assert_int_equal(pl_ws_reader_next(&client, &message), PL_WS_MESSAGE);
    assert_int_equal(message.opcode, PL_WS_TEXT);
    assert_int_equal(message.size, 5);
    assert_memory_equal(message.bytes, "Hello", 5);
    assert_int_equal(pl_ws_reader_next(&client, &message), PL_WS_MORE);
    pl_ws_reader_finish(&client);
    pl_ws_reader_finish(&server);
}

static void a_message_of_any_size_comes_back_whatever_pieces_it_comes_in(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 7, 125, 126, 127, 65535, 65536, 90001 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *bytes = malloc(sizes[i] + 1), head[PL_WS_HEAD_MAX];
        char *frame = malloc(sizes[i] + PL_WS_HEAD_MAX);
        assert_non_null(bytes);
        assert_non_null(frame);
        for (size_t j = 0; j < sizes[i]; j++) {
            bytes[j] = (char)(j * 31);
        }
        static const char mask[4] = { 1, 2, 3, 99 };
        size_t used = pl_ws_frame_head(head, PL_WS_BINARY, sizes[i], mask);
        memcpy(frame, head, used);
        pl_ws_mask(frame + used, bytes, sizes[i], mask, 0);
        for (size_t piece = 1; piece <= used + sizes[i]; piece = piece * 3 + 1) {
            struct pl_ws_reader reader = reader_for(true);
            struct pl_ws_message message;
            for (size_t at = 0; at < used + sizes[i]; at += piece) {
                size_t left = used + sizes[i] - at;
                assert_int_equal(pl_ws_reader_next(&reader, &message), PL_WS_MORE);
                feed(&reader, frame + at, left < piece ? left : piece);
            }
            assert_int_equal(pl_ws_reader_next(&reader, &message), PL_WS_MESSAGE);
            assert_int_equal(message.size, sizes[i]);
            assert_memory_equal(message.bytes, bytes, sizes[i]);
            pl_ws_reader_finish(&reader);
            if (piece == 1 && sizes[i] > 1000) {
                piece = 4999; // a byte at a time is enough of the small ones
            }
        }
        free(bytes);
        free(frame);
    }
}

static void a_mask_may_begin_anywhere(void **state)
{
    (void)state;
    static const char mask[4] = { 11, 22, 33, 44 };
    char bytes[40], whole[40], parts[40];
    memset(bytes, 'x', sizeof bytes);
    pl_ws_mask(whole, bytes, sizeof bytes, mask, 0);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        pl_ws_mask(parts, bytes, cut, mask, 0);
        pl_ws_mask(parts + cut, bytes + cut, sizeof bytes - cut, mask, cut);
        assert_memory_equal(parts, whole, sizeof whole);
    }
}

static void what_is_against_the_rfc_is_a_breach(void **state)
{
    (void)state;
    static const struct {
        bool masked;
        size_t size;
        const char *bytes;
    } breaches[] = {
        { false, 2, "\xc1\x00" },         // a reserved bit
        { false, 2, "\x83\x00" },         // an opcode that is none
        { false, 2, "\x8b\x00" },         //
        { false, 6, "\x82\x80xxxx" },     // masked, of a service
        { true, 2, "\x82\x00" },          // not masked, of a client
        { false, 2, "\x09\x00" },         // a ping in fragments
        { false, 4, "\x89\x7e\x00\x7e" }, // a ping that is too long
        { false, 2, "\x80\x00" },         // a fragment of nothing
        { false, 4, "\x02\x00\x82\x00" }, // a message within another
        { false, 4, "\x82\x7e\x00\x7d" }, // a length in more bytes than it needs
        { false, 10, "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff" },
        { false, 10, "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00" },
        { false, 10, "\x82\x7f\x00\x00\x00\x00\x00\x01\x86\xa1" }, // longer than is taken
    };
    for (size_t i = 0; i < sizeof breaches / sizeof breaches[0]; i++) {
        struct pl_ws_reader reader = reader_for(breaches[i].masked);
        struct pl_ws_message message;
        feed(&reader, breaches[i].bytes, breaches[i].size);
        assert_int_equal(pl_ws_reader_next(&reader, &message), PL_WS_BREACH);
        assert_non_null(reader.why);
        pl_ws_reader_finish(&reader);
    }
}

static void an_answer_is_taken_only_if_it_is_ours(void **state)
{
    (void)state;
    static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
    static const char good[] = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n"
                               "Connection: Upgrade\r\nSEC-WebSocket-Accept:  "
                               "s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\n"
                               "Sec-WebSocket-Protocol: peal.v1\r\n\r\nrest";
    struct pl_ws_answer answer;
    for (size_t size = 0; size < sizeof good - 5; size++) {
        assert_false(pl_ws_answer_read(&answer, good, size, key, "peal.v1"));
    }
    assert_true(pl_ws_answer_read(&answer, good, sizeof good - 1, key, "peal.v1"));
    assert_true(answer.accepted);
    assert_int_equal(answer.size, sizeof good - 5);
    assert_true(pl_ws_answer_read(&answer, good, sizeof good - 1, key, "peal.v2"));
    assert_false(answer.accepted);
    assert_true(pl_ws_answer_read(&answer, good, sizeof good - 1, "AAAA", "peal.v1"));
    assert_false(answer.accepted);
    static const char refused[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    assert_true(pl_ws_answer_read(&answer, refused, sizeof refused - 1, key, "peal.v1"));
    assert_int_equal(answer.status, 401);
    assert_false(answer.accepted);
    static const char other[] = "SSH-2.0-OpenSSH_9.2\r\n\r\n";
    assert_true(pl_ws_answer_read(&answer, other, sizeof other - 1, key, "peal.v1"));
    assert_false(answer.accepted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha1_has_the_published_digests),
        cmocka_unit_test(a_key_is_answered_as_the_rfc_says),
        cmocka_unit_test(the_frames_of_the_rfc_are_read),
        cmocka_unit_test(a_message_of_any_size_comes_back_whatever_pieces_it_comes_in),
        cmocka_unit_test(a_mask_may_begin_anywhere),
        cmocka_unit_test(what_is_against_the_rfc_is_a_breach),
        cmocka_unit_test(an_answer_is_taken_only_if_it_is_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
