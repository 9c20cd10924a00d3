// SPDX-License-Identifier: MIT
//
// Frames as bytes: what is read of them however they are cut, and what is refused with which code.
#include "support/scene.h"

#include <stdlib.h>
#include <string.h>

#include "net/frames.h"

static struct net_frames frames;
static struct net_message message;

static int begin(void **state)
{
    (void)state;
    frames = (struct net_frames){ .most = 1000 };
    return 0;
}

static int end(void **state)
{
    (void)state;
    net_frames_finish(&frames);
    return 0;
}

static enum net_frame_kind read_bytes(const char *bytes, size_t size, size_t *taken)
{
    return net_frames_read(&frames, bytes, size, taken, &message);
}

// A frame whose mask is zeros, so that its payload can be read here.
#define MASKED(first, size) first, (char)(0x80 | (size)), 0, 0, 0, 0

static void hears(enum net_frame_kind kind, const char *text)
{
    assert_int_equal(message.kind, kind);
    assert_int_equal(message.size, strlen(text));
    assert_memory_equal(message.bytes, text, strlen(text));
}

static void a_text_is_unmasked(void **state)
{
    (void)state;
    // RFC 6455, section 5.7.
    static const unsigned char hello[] = { 0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d,
                                           0x7f, 0x9f, 0x4d, 0x51, 0x58 };
    size_t taken = 0;

    assert_int_equal(read_bytes((const char *)hello, sizeof hello, &taken), NET_FRAME_TEXT);

    assert_int_equal(taken, sizeof hello);
    hears(NET_FRAME_TEXT, "Hello");
}

static void what_a_server_sends_is_read_by_who_is_told_so(void **state)
{
    (void)state;
    static const char hello[] = "\x81\x05Hello";
    size_t taken = 0;
    frames.unmasked = true;

    assert_int_equal(read_bytes(hello, 7, &taken), NET_FRAME_TEXT);

    hears(NET_FRAME_TEXT, "Hello");
}

static void a_message_is_the_same_however_it_is_cut(void **state)
{
    (void)state;
    char bytes[400], text[300];
    size_t size = 0;
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)('a' + i % 26);
    }
    static const unsigned char head[] = { 0x81, 0xfe, 0x01, 0x2c, 1, 2, 3, 4 };
    memcpy(bytes, head, sizeof head);
    for (size_t i = 0; i < sizeof text; i++) {
        bytes[sizeof head + i] = (char)(text[i] ^ head[4 + i % 4]);
    }
    size = sizeof head + sizeof text;

    for (size_t cut = 1; cut < size; cut++) {
        size_t first = 0, second = 0;
        assert_int_equal(read_bytes(bytes, cut, &first), NET_FRAME_MORE);
        assert_true(first <= cut);
        assert_int_equal(read_bytes(bytes + first, size - first, &second), NET_FRAME_TEXT);
        assert_int_equal(first + second, size);
        assert_int_equal(message.size, sizeof text);
        assert_memory_equal(message.bytes, text, sizeof text);
    }
}

static void fragments_become_one_message_with_a_ping_in_between(void **state)
{
    (void)state;
    static const char bytes[] = {
        MASKED(0x01, 2),       'a', 'b', MASKED((char)0x89, 1), '?', MASKED(0x00, 1), 'c',
        MASKED((char)0x80, 1), 'd'
    };
    size_t first = 0, second = 0;

    assert_int_equal(read_bytes(bytes, sizeof bytes, &first), NET_FRAME_PING);
    hears(NET_FRAME_PING, "?");
    assert_int_equal(read_bytes(bytes + first, sizeof bytes - first, &second), NET_FRAME_TEXT);

    hears(NET_FRAME_TEXT, "abcd");
    assert_int_equal(first + second, sizeof bytes);
}

static void a_character_may_be_cut_by_fragments(void **state)
{
    (void)state;
    static const char bytes[] = { MASKED(0x01, 1), (char)0xc3, MASKED((char)0x80, 1), (char)0xa4 };
    size_t taken = 0;

    assert_int_equal(read_bytes(bytes, sizeof bytes, &taken), NET_FRAME_TEXT);

    hears(NET_FRAME_TEXT, "\xc3\xa4");
}

static void an_empty_message_is_one(void **state)
{
    (void)state;
    static const char bytes[] = { MASKED((char)0x82, 0) };
    size_t taken = 0;

    assert_int_equal(read_bytes(bytes, sizeof bytes, &taken), NET_FRAME_BINARY);

    hears(NET_FRAME_BINARY, "");
}

static void a_closing_code_and_its_reason_are_told(void **state)
{
    (void)state;
    static const char bytes[] = { MASKED((char)0x88, 5), 0x03, (char)0xe8, 'b', 'y', 'e' };
    static const char none[] = { MASKED((char)0x88, 0) };
    size_t taken = 0;

    assert_int_equal(read_bytes(bytes, sizeof bytes, &taken), NET_FRAME_CLOSE);
    hears(NET_FRAME_CLOSE, "bye");
    assert_int_equal(message.code, 1000);

    assert_int_equal(read_bytes(none, sizeof none, &taken), NET_FRAME_CLOSE);
    assert_int_equal(message.code, 1005);
}

static void breaches_are_refused_with_their_code(void **state)
{
    (void)state;
#define B(code, ...)                                                                               \
    {                                                                                              \
        code, sizeof(char[]){ __VA_ARGS__ }, (const char[])                                        \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define C(byte) ((char)(byte))
    const struct {
        unsigned code;
        size_t size;
        const char *bytes;
    } breaches[] = {
        B(1002, C(0xc1), C(0x80), 0, 0, 0, 0),                            // a reserved bit
        B(1002, C(0xa1), C(0x80), 0, 0, 0, 0),                            // another
        B(1002, C(0x83), C(0x80), 0, 0, 0, 0),                            // no such kind
        B(1002, C(0x8b), C(0x80), 0, 0, 0, 0),                            // no such control
        B(1002, C(0x81), 0x01, 'a'),                                      // not masked
        B(1002, C(0x80), C(0x80), 0, 0, 0, 0),                            // nothing to go on
        B(1002, 0x01, C(0x80), 0, 0, 0, 0, C(0x81), C(0x80), 0, 0, 0, 0), // one inside another
        B(1002, 0x09, C(0x80), 0, 0, 0, 0),                               // a ping in fragments
        B(1002, C(0x89), C(0xfe), 0, 126, 0, 0, 0, 0),                    // a long ping
        B(1002, C(0x81), C(0xfe), 0, 125, 0, 0, 0, 0), // two bytes where one would do
        B(1002, C(0x81), C(0xff), 0, 0, 0, 0, 0, 0, C(0xff), C(0xff), 0, 0, 0, 0), // eight
        B(1002, C(0x81), C(0xff), C(0x80), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),       // negative
        B(1002, C(0x88), C(0x81), 0, 0, 0, 0, 3),                                  // half a code
        B(1002, C(0x88), C(0x82), 0, 0, 0, 0, 3, C(0xed)),          // 1005 is never sent
        B(1002, C(0x88), C(0x82), 0, 0, 0, 0, 3, C(0xee)),          // nor 1006
        B(1002, C(0x88), C(0x82), 0, 0, 0, 0, 3, C(0xf7)),          // nor 1015
        B(1002, C(0x88), C(0x82), 0, 0, 0, 0, 0x0b, C(0xb7)),       // 2999 is nobody's
        B(1002, C(0x88), C(0x82), 0, 0, 0, 0, 0x13, C(0x88)),       // 5000 neither
        B(1007, C(0x88), C(0x83), 0, 0, 0, 0, 3, C(0xe8), C(0xff)), // a reason that is no text
        B(1007, C(0x81), C(0x81), 0, 0, 0, 0, C(0xff)),             // a text that is none
        B(1007, C(0x81), C(0x83), 0, 0, 0, 0, C(0xed), C(0xa0), C(0x80)), // a surrogate
        B(1007, C(0x81), C(0x82), 0, 0, 0, 0, C(0xc0), C(0xaf)),          // longer than need be
        B(1009, C(0x82), C(0xfe), 3, C(0xe9), 0, 0, 0, 0),                // 1,001 bytes
    };
    for (size_t i = 0; i < sizeof breaches / sizeof breaches[0]; i++) {
        struct net_frames fresh = { .most = 1000 };
        size_t taken = 0;

        enum net_frame_kind kind =
            net_frames_read(&fresh, breaches[i].bytes, breaches[i].size, &taken, &message);

        if (kind != NET_FRAME_BAD || message.code != breaches[i].code) {
            fail_msg("breach %zu: kind %d, code %u", i, kind, message.code);
        }
        assert_true(message.size > 0 && message.size <= NET_FRAME_CONTROL_MAX - 2);
        net_frames_finish(&fresh);
    }
}

static void every_code_that_may_be_sent_is_taken_and_no_other(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 65536; code++) {
        bool good = (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) ||
                    (code >= 3000 && code <= 4999);
        assert_int_equal(net_frame_code_is_good(code), good);
    }
}

static void fragments_together_are_no_larger_than_a_message(void **state)
{
    (void)state;
    char bytes[8 + 600] = { 0x02, C(0xfe), 2, 88 };
    char last[8 + 600] = { C(0x80), C(0xfe), 2, 88 };
    size_t taken = 0;

    assert_int_equal(read_bytes(bytes, sizeof bytes, &taken), NET_FRAME_MORE);
    assert_int_equal(read_bytes(last, sizeof last, &taken), NET_FRAME_BAD);

    assert_int_equal(message.code, 1009);
}

static void a_length_that_is_announced_takes_no_memory(void **state)
{
    (void)state;
    static const char head[] = { C(0x82), C(0xff), 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 'a' };
    size_t taken = 0;
    frames.most = (size_t)2 << 30;

    assert_int_equal(read_bytes(head, sizeof head, &taken), NET_FRAME_MORE);

    assert_true(frames.message.room < 4096);
}

static void no_memory_is_kept_between_messages(void **state)
{
    (void)state;
    static const char bytes[] = { MASKED((char)0x82, 3), 'a', 'b', 'c' };
    size_t taken = 0;
    assert_int_equal(read_bytes(bytes, sizeof bytes, &taken), NET_FRAME_BINARY);

    net_frames_rest(&frames);

    assert_null(frames.message.bytes);
}

static void what_is_written_is_what_is_read(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 125, 126, 127, 65535, 65536, 100000 };
    struct net_text text = { 0 };
    char *payload = calloc(1, 100000);
    assert_non_null(payload);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(payload, 'a' + (int)i, sizes[i]);
        size_t begun = net_frame_begin(&text);
        net_text_add(&text, payload, sizes[i]);
        net_frame_end(&text, begun, NET_FRAME_TEXT);
    }
    assert_false(text.failed);
    frames = (struct net_frames){ .most = 100000, .unmasked = true };

    size_t at = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t taken = 0;
        memset(payload, 'a' + (int)i, sizes[i]);
        assert_int_equal(read_bytes(text.bytes + at, text.size - at, &taken), NET_FRAME_TEXT);
        assert_int_equal(message.size, sizes[i]);
        assert_memory_equal(message.bytes, payload, sizes[i]);
        at += taken;
    }
    assert_int_equal(at, text.size);
    net_text_finish(&text);
    free(payload);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_text_is_unmasked),
        TEST(what_a_server_sends_is_read_by_who_is_told_so),
        TEST(a_message_is_the_same_however_it_is_cut),
        TEST(fragments_become_one_message_with_a_ping_in_between),
        TEST(a_character_may_be_cut_by_fragments),
        TEST(an_empty_message_is_one),
        TEST(a_closing_code_and_its_reason_are_told),
        TEST(breaches_are_refused_with_their_code),
        TEST(every_code_that_may_be_sent_is_taken_and_no_other),
        TEST(fragments_together_are_no_larger_than_a_message),
        TEST(a_length_that_is_announced_takes_no_memory),
        TEST(no_memory_is_kept_between_messages),
        TEST(what_is_written_is_what_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
