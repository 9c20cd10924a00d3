// SPDX-License-Identifier: MIT
// ctest: threaded
//
// What a bus on http: meets where a service restarts: somebody who hangs up before the handshake,
// in its middle, or says nothing. What was published waits, and is there once when the service is;
// and who says nothing is given up long before an established connection would be.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <peal/peal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/websocket.h"
#include "engine/remote.h"
#include "support/crowd.h"
#include "support/folder.h"
#include "support/stand.h"

// ---- somebody at the service's port -------------------------------------------------------------

enum manner { HANGS_UP, HANGS_UP_BEFORE_HELLO, SAYS_NOTHING, SAYS_NOTHING_TO_HELLO };

struct impostor {
    int socket;
    enum manner manner;
    struct tally met; // those who came, and were done with
    atomic_llong longest_ms;
    pthread_t thread;
};

static int64_t now_ms(void)
{
    return pl_seams_real.monotonic(NULL) / PL_NS_PER_MS;
}

static bool upgrade(int peer)
{
    char text[4096] = "", key[64] = "", accept[PL_WS_ACCEPT], answer[256];
    for (size_t used = 0; used < sizeof text - 1 && !strstr(text, "\r\n\r\n");) {
        ssize_t count = recv(peer, text + used, sizeof text - 1 - used, 0);
        if (count <= 0) {
            return false;
        }
        used += (size_t)count;
    }
    const char *header = strstr(text, "Sec-WebSocket-Key: ");
    if (!header || sscanf(header + 19, "%63[^\r]", key) != 1) {
        return false;
    }
    pl_ws_accept(accept, key);
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Protocol: peal.v1\r\n"
                        "Sec-WebSocket-Accept: %s\r\n\r\n",
                        accept);
    return send(peer, answer, (size_t)size, MSG_NOSIGNAL) == size;
}

// Until the other side has gone.
static void listen_in_silence(int peer)
{
    char bytes[512];
    while (recv(peer, bytes, sizeof bytes, 0) > 0) {
    }
}

static void *meet_all(void *context)
{
    struct impostor *impostor = context;
    int peer;
    while ((peer = accept(impostor->socket, NULL, NULL)) >= 0) {
        int64_t began = now_ms();
        enum manner manner = impostor->manner;
        bool upgraded = manner == HANGS_UP_BEFORE_HELLO || manner == SAYS_NOTHING_TO_HELLO
                            ? upgrade(peer)
                            : true;
        if (upgraded && (manner == SAYS_NOTHING || manner == SAYS_NOTHING_TO_HELLO)) {
            listen_in_silence(peer);
        }
        (void)close(peer);
        int64_t took = now_ms() - began;
        if (took > atomic_load(&impostor->longest_ms)) {
            atomic_store(&impostor->longest_ms, took);
        }
        tally_add(&impostor->met, 1);
    }
    return NULL;
}

static void impostor_open(struct impostor *impostor, enum manner manner, unsigned short port)
{
    const struct tally none = TALLY;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    const int on = 1;
    *impostor = (struct impostor){ .manner = manner, .met = none };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    impostor->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(impostor->socket >= 0);
    (void)setsockopt(impostor->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(impostor->socket, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(impostor->socket, 8), 0);
    impostor->thread = begin(meet_all, impostor);
}

// Whoever is in the backlog is cut off, as by a process that ends.
static void impostor_close(struct impostor *impostor)
{
    (void)shutdown(impostor->socket, SHUT_RDWR);
    end(impostor->thread);
    (void)close(impostor->socket);
}

// ---- what is tested -----------------------------------------------------------------------------

struct publisher {
    peal_bus *bus;
    enum peal_err err;
};

static void *publish_one(void *context)
{
    struct publisher *publisher = context;
    const struct peal_message message = { .type = "a" };
    publisher->err = peal_publish(publisher->bus, &message, NULL);
    return NULL;
}

static void meet_between_two_lives(enum manner manner, uint64_t times)
{
    static struct stand stand;
    struct folder folder;
    struct impostor impostor;
    struct publisher publisher = { NULL, PEAL_OK };
    peal_bus *bus;
    folder_open(&folder, "");
    assert_int_equal(peal_bus_open(&bus, folder.url, NULL), PEAL_OK);
    stand_open(&stand, bus, 0);
    unsigned short port = stand.port;
    assert_int_equal(peal_bus_open(&publisher.bus, stand.url, NULL), PEAL_OK);
    stand_close(&stand);
    impostor_open(&impostor, manner, port);

    pthread_t thread = begin(publish_one, &publisher);
    assert_true(tally_reaches(&impostor.met, times));
    impostor_close(&impostor);
    stand_open(&stand, bus, port);
    end(thread);

    assert_int_equal(publisher.err, PEAL_OK);
    // Given up as a handshake is, and not as silence is.
    assert_in_range(atomic_load(&impostor.longest_ms), 0, 3 * PL_REMOTE_PING_MS - 1);
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
    assert_int_equal(stats.last_position, 1);
    peal_bus_close(publisher.bus);
    stand_close(&stand);
    peal_bus_close(bus);
    folder_close(&folder);
}

static void who_hangs_up_before_the_handshake_or_hello_is_tried_again(void **state)
{
    (void)state;
    meet_between_two_lives(HANGS_UP, 3);
    meet_between_two_lives(HANGS_UP_BEFORE_HELLO, 3);
}

static void who_does_not_answer_the_handshake_is_given_up_before_silence_would_be(void **state)
{
    (void)state;
    meet_between_two_lives(SAYS_NOTHING, 1);
}

static void who_does_not_answer_hello_is_given_up_before_silence_would_be(void **state)
{
    (void)state;
    meet_between_two_lives(SAYS_NOTHING_TO_HELLO, 1);
}

static void who_opens_a_bus_where_nobody_answers_is_told_so(void **state)
{
    (void)state;
    static const enum manner manners[] = { HANGS_UP_BEFORE_HELLO, SAYS_NOTHING };
    static const char *const words[] = { "closed the connection", "does not answer" };
    for (size_t i = 0; i < 2; i++) {
        struct impostor impostor;
        struct sockaddr_in at = { .sin_family = AF_INET };
        socklen_t size = sizeof at;
        char url[64];
        peal_bus *bus = NULL;
        impostor_open(&impostor, manners[i], 0);
        assert_int_equal(getsockname(impostor.socket, (struct sockaddr *)&at, &size), 0);
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", (unsigned)ntohs(at.sin_port));

        assert_int_equal(peal_bus_open(&bus, url, NULL), PEAL_EIO);

        assert_null(bus);
        assert_non_null(strstr(peal_error_sentence(), words[i]));
        impostor_close(&impostor);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_hangs_up_before_the_handshake_or_hello_is_tried_again),
        cmocka_unit_test(who_does_not_answer_the_handshake_is_given_up_before_silence_would_be),
        cmocka_unit_test(who_does_not_answer_hello_is_given_up_before_silence_would_be),
        cmocka_unit_test(who_opens_a_bus_where_nobody_answers_is_told_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
