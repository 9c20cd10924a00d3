// SPDX-License-Identifier: MIT
// ctest: threaded timeout=600
//
// Frames that somebody has tampered with, 10,000 of them unless PEAL_MUTATIONS says how many,
// against a service that a healthy client uses beside it; and as many again of peal.v1, mostly in
// good frames. Seeded: PEAL_SEED repeats a run.
//
// A stranger's connection is used until the service ends it. Whatever it has sent, the service
// answers in frames that are as they should be, and its last word is a code that was announced; and
// after each ROUND the healthy client's event comes back.
#include "websocket_kit.h"

#include <poll.h>

#include "base/protocol.h"
#include "support/descriptors.h"

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

// Goes: at once, with what the service has to say unread, or when it has heard all of it.
static void leave(struct peer *stranger, bool alive)
{
    if (alive && chance(2)) {
        (void)shutdown(stranger->socket, SHUT_WR);
        assert_false(listen_to(stranger, QUIET_MS)); // it comes to an end
    }
    peer_close(stranger);
}

static void healthy_is_well(struct peer *healthy)
{
    struct net_message message = { 0 };
    peer_text(healthy, "{\"specversion\":\"1.0\",\"type\":\"healthy\",\"source\":\"test\"}");
    int kind = peer_next(healthy, &message);
    while (kind == NET_FRAME_PING) { // of a run that takes long; who sends as well need not answer
        kind = peer_next(healthy, &message);
    }
    assert_int_equal(kind, NET_FRAME_TEXT);
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
    size_t descriptors = descriptors_now(), threads = threads_now();
    peer_open(&healthy, "?type=healthy");
    peer_open(&stranger, "?type=a.**");

    for (uint64_t i = 0; i < count; i++) {
        size_t size = mutate(bytes, make_good(bytes));
        bool alive = peer_bytes(&stranger, bytes, size) && listen_to(&stranger, 0);
        if (!alive || chance(4) == 0) { // also some that just go
            leave(&stranger, alive);
            peer_open(&stranger, chance(2) ? "?type=a.**" : "?receive=false");
        }
        if (i % ROUND == 0) {
            healthy_is_well(&healthy);
        }
    }

    healthy_is_well(&healthy);
    peer_close(&stranger);
    peer_close(&healthy);
    assert_true(falls_to(descriptors_now, descriptors));
    assert_true(falls_to(threads_now, threads));
}

// ---- peal.v1 ------------------------------------------------------------------------------------

// Asks something harmless, and hears all answers before that one; or nothing more for a moment, as
// what was sent may be the beginning of a frame.
static void hear_out(struct peer *stranger)
{
    enum { LAST = 4711, MOMENT_MS = 20 };
    char message[PL_PROTOCOL_HEAD];
    struct net_message answer = { 0 };
    struct pl_protocol_head head = { PL_PROTOCOL_ENDS, 0, LAST };
    const struct timeval moment = { .tv_usec = MOMENT_MS * 1000 };
    pl_protocol_head_write(message, &head);
    (void)setsockopt(stranger->socket, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment);
    bool more = peer_frame(stranger, 0x82, message, sizeof message);
    while (more) {
        enum net_frame_kind kind = peer_next(stranger, &answer);
        assert_int_not_equal(kind, NET_FRAME_BAD);
        more = kind != NET_FRAME_MORE && kind != NET_FRAME_CLOSE;
        if (kind == NET_FRAME_BINARY) {
            assert_true(pl_protocol_head_read(&head, answer.bytes, answer.size));
            assert_true(head.kind >= PL_PROTOCOL_ANSWER);
            more = head.number != LAST;
        }
    }
}

// A connection that has said HELLO, or nothing yet.
static void open_binary(struct peer *peer, bool hello)
{
    static const char request[] =
        "GET /v1/ws HTTP/1.1\r\n" HANDSHAKE "Sec-WebSocket-Protocol: " PL_PROTOCOL_NAME "\r\n\r\n";
    char head[2048];
    peer_begin(peer);
    assert_true(peer_bytes(peer, request, sizeof request - 1));
    assert_int_equal(peer_head(peer, head, sizeof head), 101);
    if (hello) {
        struct pl_pack pack;
        pl_pack_begin(&pack, &pl_seams_real);
        pl_pack_text(&pack, "stranger");
        assert_false(pack.failed);
        pl_protocol_head_write(pack.bytes, &(struct pl_protocol_head){ PL_PROTOCOL_HELLO, 0, 1 });
        assert_true(peer_frame(peer, 0x82, pack.bytes, pack.size));
        pl_pack_finish(&pack);
    }
}

static void pack_records(struct pl_pack *pack)
{
    const struct peal_message message = { .type = "a.b", .id = "1", .data = "{}", .size = 2 };
    const struct pl_record_names names = { "a.b", "1", "/test" };
    unsigned count = 1 + (unsigned)chance(3);
    size_t size = pl_record_size(&message, &names);
    char *room = pl_pack_room(pack, PL_PUBLISH_HEAD - PL_PROTOCOL_HEAD + count * size);
    assert_non_null(room);
    pl_publish_head_write(pack->bytes + PL_PROTOCOL_HEAD,
                          &(struct pl_publish_head){ (unsigned)chance(4), count, chance(9) });
    for (unsigned i = 0; i < count; i++) {
        pl_record_write(pack->bytes + PL_PUBLISH_HEAD + i * size, size, &message, &names);
    }
}

// A request as it should be, of some kind; its arguments are right for FOLLOW and the like, and
// whatever chance says for others.
static void pack_request(struct pl_pack *pack)
{
    static const char *const texts[] = { "a.**", "", "name", "a..b", NULL };
    unsigned kind = 1 + (unsigned)chance(chance(2) ? 11 : 50);
    pl_pack_begin(pack, &pl_seams_real);
    switch (kind) {
    case PL_PROTOCOL_PUBLISH:
        pack_records(pack);
        break;
    case PL_PROTOCOL_FOLLOW:
        pl_pack_number(pack, chance(5));
        pl_pack_number(pack, chance(2) ? 1 << 20 : chance(1000));
        pl_pack_text(pack, texts[chance(5)]);
        break;
    case PL_PROTOCOL_SUBSCRIBE:
        pl_pack_number(pack, chance(3));
        for (int i = 0; i < 4; i++) {
            pl_pack_text(pack, texts[i < 2 ? 2 - 2 * i : 4]);
        }
        for (int i = 0; i < 15; i++) {
            pl_pack_number(pack, i == 3 ? 1 + chance(9) : 0);
        }
        break;
    default:
        for (uint64_t i = chance(9); i > 0; i--) {
            if (chance(3)) {
                pl_pack_number(pack, chance(7));
            } else {
                pl_pack_text(pack, texts[chance(5)]);
            }
        }
        break;
    }
    assert_false(pack->failed);
    pl_protocol_head_write(pack->bytes, &(struct pl_protocol_head){ kind, 0, chance(100) });
}

// A request that somebody has tampered with, in a frame; now and then the frame too.
static size_t make_bad_request(char *out)
{
    char message[4096];
    struct pl_pack pack;
    pack_request(&pack);
    size_t size = pack.size < sizeof message - 16 ? pack.size : sizeof message - 16;
    memcpy(message, pack.bytes, size);
    pl_pack_finish(&pack);
    if (chance(3)) { // mostly what comes behind the head, which has little to it
        size_t kept = chance(4) && size > PL_PROTOCOL_HEAD ? PL_PROTOCOL_HEAD : 0;
        size = kept + mutate(message + kept, size - kept);
    }
    size = make_frame(out, 0x82, message, size);
    return chance(20) ? size : mutate(out, size);
}

static void nothing_that_is_sent_in_peal_v1_disturbs_another(void **state)
{
    (void)state;
    static struct peer healthy, stranger;
    static char bytes[8192];
    uint64_t count = number("PEAL_MUTATIONS", MUTATIONS);
    seed = number("PEAL_SEED", 42) | 1;
    size_t descriptors = descriptors_now(), threads = threads_now();
    peer_open(&healthy, "?type=healthy");
    open_binary(&stranger, true);

    for (uint64_t i = 0; i < count; i++) {
        size_t size = make_bad_request(bytes);
        bool alive = peer_bytes(&stranger, bytes, size) && listen_to(&stranger, 0);
        if (!alive || chance(8) == 0) {
            if (alive && chance(2)) {
                hear_out(&stranger);
            }
            leave(&stranger, false);
            open_binary(&stranger, chance(8) > 0);
        }
        if (i % ROUND == 0) {
            healthy_is_well(&healthy);
        }
    }

    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
    assert_true(stats.duplicates > 0); // the same one each time; so some of it was good
    healthy_is_well(&healthy);
    peer_close(&stranger);
    peer_close(&healthy);
    assert_true(falls_to(descriptors_now, descriptors));
    assert_true(falls_to(threads_now, threads)); // of durable names
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_that_is_sent_disturbs_another, begin, end),
        cmocka_unit_test_setup_teardown(nothing_that_is_sent_in_peal_v1_disturbs_another, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
