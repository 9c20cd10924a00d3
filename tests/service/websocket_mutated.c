// SPDX-License-Identifier: MIT
// ctest: threaded timeout=600
//
// Frames that somebody has tampered with, 10,000 of them unless PEAL_MUTATIONS says how many,
// against a service that a healthy client uses beside it. Seeded: PEAL_SEED repeats a run.
//
// A stranger's connection is used until the service ends it. Whatever it has sent, the service
// answers in frames that are as they should be, and its last word is a code that was announced; and
// after each ROUND the healthy client's event comes back.
#include "websocket_kit.h"

#include <poll.h>

enum { MUTATIONS = 10000, ROUND = 100, BYTES_MAX = 70000 };

static uint64_t seed;

static uint64_t chance(uint64_t most)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % most;
}

static uint64_t number(const char *name, uint64_t usual)
{
    const char *value = getenv(name); // NOLINT(concurrency-mt-unsafe): nobody changes it
    return value ? strtoull(value, NULL, 10) : usual;
}

// ---- frames -------------------------------------------------------------------------------------

// A good frame of some kind, or several fragments.
static size_t make_good(char *out)
{
    static const char *const texts[] = {
        EVENT("a.b", "1", "{\"k\":[1,2,3]}"),
        EVENT("a.b", "", "\"\\u00e4\xc3\xa4\""),
        "{\"specversion\":\"1.0\",\"type\":\"a.b\",\"source\":\"s\",\"data_base64\":\"AAEC\"}",
        "[]",
        "{}",
        "",
    };
    static const unsigned char bye[] = { 3, 232, 'o', 'k' };
    const char *text = texts[chance(sizeof texts / sizeof texts[0])];
    size_t size = strlen(text), half = size / 2;
    switch (chance(8)) {
    case 0:
        return make_frame(out, 0x89, text, size < 125 ? size : 125);
    case 1:
        return make_frame(out, 0x8a, "", 0);
    case 2:
        return make_frame(out, 0x88, bye, chance(2) ? 2 : 4);
    case 3: {
        size_t first = make_frame(out, 0x01, text, half);
        return first + make_frame(out + first, 0x80, text + half, size - half);
    }
    case 4: {
        char *large = calloc(1, 66000);
        assert_non_null(large);
        memset(large, ' ', 66000);
        memcpy(large, text, size);
        size_t made = make_frame(out, 0x81, large, 65530 + chance(20));
        free(large);
        return made;
    }
    default:
        return make_frame(out, 0x81, text, size);
    }
}

static size_t mutate(char *bytes, size_t size)
{
    for (uint64_t changes = 1 + chance(3); changes > 0 && size > 0; changes--) {
        size_t near = chance(3) ? (size < 16 ? size : 16) : size; // mostly the head
        size_t at = (size_t)chance(near);
        switch (chance(5)) {
        case 0:
            bytes[at] = (char)((unsigned char)bytes[at] ^ (1U << chance(8)));
            break;
        case 1:
            bytes[at] = (char)chance(256);
            break;
        case 2: // a byte less
            memmove(bytes + at, bytes + at + 1, size - at - 1);
            size--;
            break;
        case 3: // a byte more
            memmove(bytes + at + 1, bytes + at, size - at);
            size++;
            break;
        default: // cut off
            size = at + 1;
            break;
        }
    }
    return size;
}

// ---- who sends them -----------------------------------------------------------------------------

// Reads what the service has to say. False: it has ended the connection.
static bool listen_to(struct peer *stranger, int wait_ms)
{
    for (;;) {
        struct net_message message;
        size_t taken = 0;
        enum net_frame_kind kind =
            net_frames_read(&stranger->frames, stranger->bytes + stranger->from,
                            stranger->to - stranger->from, &taken, &message);
        stranger->from += taken;
        assert_int_not_equal(kind, NET_FRAME_BAD);
        if (kind == NET_FRAME_CLOSE) {
            unsigned code = message.code;
            assert_true(code == 1005 || net_frame_code_is_good(code));
        }
        if (kind != NET_FRAME_MORE) {
            continue;
        }
        memmove(stranger->bytes, stranger->bytes + stranger->from, stranger->to - stranger->from);
        stranger->to -= stranger->from;
        stranger->from = 0;
        struct pollfd waiting = { .fd = stranger->socket, .events = POLLIN };
        if (poll(&waiting, 1, wait_ms) <= 0) {
            return true;
        }
        ssize_t got =
            recv(stranger->socket, stranger->bytes + stranger->to, PEER_ROOM - stranger->to, 0);
        if (got <= 0) {
            return false;
        }
        stranger->to += (size_t)got;
    }
}

static void healthy_is_well(struct peer *healthy)
{
    struct net_message message = { 0 };
    peer_text(healthy, "{\"specversion\":\"1.0\",\"type\":\"healthy\",\"source\":\"test\"}");
    assert_int_equal(peer_next(healthy, &message), NET_FRAME_TEXT);
    assert_non_null(memmem(message.bytes, message.size, "\"type\":\"healthy\"", 16));
}

static void nothing_that_is_sent_disturbs_another(void **state)
{
    (void)state;
    static struct peer healthy, stranger;
    static char bytes[BYTES_MAX];
    uint64_t count = number("PEAL_MUTATIONS", MUTATIONS);
    seed = number("PEAL_SEED", 42) | 1;
    print_message("seed %llu\n", (unsigned long long)seed);
    peer_open(&healthy, "?type=healthy");
    peer_open(&stranger, "?type=a.**");

    for (uint64_t i = 0; i < count; i++) {
        size_t size = mutate(bytes, make_good(bytes));
        bool alive = peer_bytes(&stranger, bytes, size) && listen_to(&stranger, 0);
        if (!alive || chance(4) == 0) { // also some that just go
            peer_close(&stranger);
            peer_open(&stranger, chance(2) ? "?type=a.**" : "?receive=false");
        }
        if (i % ROUND == 0) {
            healthy_is_well(&healthy);
        }
    }

    healthy_is_well(&healthy);
    peer_close(&stranger);
    peer_close(&healthy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_that_is_sent_disturbs_another, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
