// SPDX-License-Identifier: MIT
// ctest: threaded link=ssl
//
// How long a server waits, by a clock that stands still unless the test moves it: the first byte,
// the rest of a head, the next request, who takes an answer slowly or not at all, and WebSockets
// that say nothing.
//
//     pass(20) ─► the clock is a second later, the loop has looked at its timers ─► ... 20 times
//
// What the peer's machine has acknowledged counts as taken; clients here say so at once.
#include "websocket_kit.h"

#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

#include "support/client.h"

enum { REQUEST_S = 30, IDLE_S = 120, PING_S = 20, LARGE = 24 << 20 };

// ---- a clock ------------------------------------------------------------------------------------

struct hands {
    _Atomic int64_t ns;
};

static int64_t read_hands(void *context)
{
    struct hands *hands = context;
    return hands->ns;
}

static struct hands hands;

struct errand {
    struct net_task task;
    sem_t done;
};

static void run_errand(struct net_task *task)
{
    struct errand *errand = (struct errand *)(void *)task; // its first member
    (void)sem_post(&errand->done);
}

// The loop has been round once more.
static void go_round(void)
{
    struct errand errand = { .task = { .run = run_errand } };
    assert_int_equal(sem_init(&errand.done, 0, 0), 0);
    net_loop_post(loop, &errand.task);
    while (sem_wait(&errand.done)) {
    }
    (void)sem_destroy(&errand.done);
}

static void pass(int seconds)
{
    for (int i = 0; i < seconds; i++) {
        hands.ns += 1000000000;
        go_round();
        go_round(); // timers run behind what was posted
    }
}

// ---- a server -----------------------------------------------------------------------------------

static struct net_http *http;
static struct net_request *_Atomic late; // that is not answered yet
static char *large;

static void on_message(void *context, const struct net_message *message)
{
    net_websocket_send(*(struct net_websocket **)context, message->kind, message->bytes,
                       message->size);
}

static void on_web_gone(void *context, unsigned code)
{
    (void)code;
    free(context);
}

// Says again what it is told; with "flood" it is sent LARGE bytes first, with "deaf" too, and is
// not read from.
static void open_web(struct net_request *request, struct net_part query)
{
    static const struct net_websocket_ops ops = { .message = on_message, .gone = on_web_gone };
    struct net_websocket **web = malloc(sizeof(struct net_websocket *));
    bool floods = query.size > 0, deaf = net_part_is(query, "deaf"); // it is the request's
    assert_non_null(web);
    assert_int_equal(net_websocket_open(web, request, NULL, 1000, &ops, web), PEAL_OK);
    if (floods) {
        net_websocket_send(*web, NET_FRAME_BINARY, large, LARGE);
    }
    if (deaf) {
        net_websocket_pause(*web);
    }
}

static void on_head(struct net_request *request, void *context)
{
    (void)context;
    const struct net_head *head = net_request_head(request);
    if (net_part_is(head->path, "/v1/ws")) {
        open_web(request, head->query);
    } else if (net_part_is(head->path, "/late")) {
        late = request;
    } else if (net_part_is(head->path, "/large")) {
        net_answer(request, 200, "text/plain", large, LARGE);
    } else if (net_part_is(head->path, "/parts")) { // for ever
        net_answer_begin(request, 200, "text/plain");
        net_answer_part(request, "first", 5);
    } else if (net_part_is(head->path, "/many")) {
        net_answer_begin(request, 200, "text/plain");
        net_answer_part(request, large, LARGE);
    } else {
        net_answer(request, 200, "text/plain", "ok", 2);
    }
}

static void start(SSL_CTX *tls)
{
    static const struct net_http_ops ops = { .head = on_head };
    static const struct net_clock clock = { read_hands, &hands };
    struct sockaddr_in loopback = { .sin_family = AF_INET };
    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const struct addrinfo address = { .ai_family = AF_INET,
                                      .ai_addr = (struct sockaddr *)(void *)&loopback,
                                      .ai_addrlen = sizeof loopback };
    char error[160];
    (void)signal(SIGPIPE, SIG_IGN);
    large = calloc(1, LARGE);
    assert_non_null(large);
    assert_int_equal(net_loop_open_by(&loop, 1, &clock), PEAL_OK);
    assert_int_equal(net_http_open(&http, loop, NULL, &ops, NULL), PEAL_OK);
    assert_true(net_http_listen(http, &address, tls, &port, error));
    assert_int_equal(pthread_create(&runner, NULL, run_loop, loop), 0);
}

static int begin_server(void **state)
{
    (void)state;
    start(NULL);
    return 0;
}

static int end_server(void **state)
{
    (void)state;
    stop_loop();
    net_http_close(http);
    net_loop_close(loop);
    free(large);
    return 0;
}

// ---- clients ------------------------------------------------------------------------------------

// What has come is acknowledged now, and not with the next bytes or a little later.
static void acknowledge(int socket)
{
    int one = 1;
    assert_int_equal(setsockopt(socket, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one), 0);
}

static uint64_t open_now(void)
{
    struct net_http_counts counts;
    net_http_counts(http, &counts);
    return counts.open;
}

// The server has ended the connection, or reset it: nothing comes any more.
static bool is_cut(int socket)
{
    char byte;
    acknowledge(socket);
    ssize_t got = recv(socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return got == 0 || (got < 0 && errno != EAGAIN);
}

static void ask_for(struct client *client, const char *path)
{
    client_say(client, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
}

// Asks and has the answer; the server is at rest.
static void ask_once(struct client *client)
{
    assert_int_equal(client_ask(client, "GET", "/", NULL, NULL), 200);
    acknowledge(client->socket);
    go_round();
}

// ---- requests -----------------------------------------------------------------------------------

static void who_connects_and_says_nothing_has_the_time_of_a_request(void **state)
{
    (void)state;
    struct client silent;
    client_open(&silent, port);
    while (open_now() == 0) {
        go_round();
    }
    pass(REQUEST_S - 2);
    assert_int_equal(open_now(), 1);
    pass(4);
    assert_int_equal(open_now(), 0);
    client_close(&silent);
}

static void a_head_that_trickles_is_cut_however_often_a_byte_comes(void **state)
{
    (void)state;
    static const char head[] = "GET / HTTP/1.1\r\nHost: localhost\r\nA: bcdefghijklmnopqrst";
    struct client slow;
    client_open(&slow, port);
    ask_once(&slow);
    int seconds = 0;
    for (; open_now() == 1 && seconds < 50; seconds++) {
        (void)client_send(&slow, head + seconds, 1);
        go_round();
        pass(1);
    }
    assert_in_range(seconds, REQUEST_S - 2, REQUEST_S + 3);
    client_close(&slow);
}

static void an_idle_connection_is_closed_after_its_time_and_not_before(void **state)
{
    (void)state;
    struct client idle, busy;
    client_open(&idle, port);
    client_open(&busy, port);
    ask_once(&idle);
    for (int i = 0; i < 4; i++) {
        ask_once(&busy);
        pass(29);
    }
    assert_int_equal(open_now(), 2);
    pass(7);
    assert_int_equal(open_now(), 1); // the other one has asked since
    assert_true(client_is_ended(&idle));
    ask_once(&busy);
    client_close(&idle);
    client_close(&busy);
}

static void empty_lines_keep_no_connection(void **state)
{
    (void)state;
    struct client client;
    client_open(&client, port);
    ask_once(&client);
    for (int i = 0; i < IDLE_S / 10 + 1 && open_now() == 1; i++) {
        (void)client_send(&client, "\r\n", 2);
        go_round();
        pass(10);
    }
    assert_int_equal(open_now(), 0);
    client_close(&client);
}

static void answer_late(struct net_task *task)
{
    net_answer(late, 200, "text/plain", "late", 4);
    run_errand(task);
}

static void an_answer_may_take_its_time(void **state)
{
    (void)state;
    struct client patient;
    client_open(&patient, port);
    ask_for(&patient, "/late");
    do {
        go_round();
    } while (!late);
    pass(600);
    assert_int_equal(open_now(), 1);

    struct errand errand = { .task = { .run = answer_late } };
    assert_int_equal(sem_init(&errand.done, 0, 0), 0);
    net_loop_post(loop, &errand.task);
    while (sem_wait(&errand.done)) {
    }
    (void)sem_destroy(&errand.done);
    client_answer(&patient);
    assert_int_equal(patient.status, 200);
    assert_string_equal(patient.body, "late");
    late = NULL;
    client_close(&patient);
}

// ---- answers ------------------------------------------------------------------------------------

// Takes what is there, a few KB, and has the next few at once.
static void take_some(int socket)
{
    char some[65536];
    int size = 0;
    struct pollfd next = { .fd = socket, .events = POLLIN };
    assert_int_equal(poll(&next, 1, QUIET_MS), 1);
    assert_int_equal(ioctl(socket, FIONREAD, &size), 0);
    assert_in_range(size, 1, sizeof some);
    assert_int_equal(recv(socket, some, (size_t)size, 0), size);
    assert_int_equal(poll(&next, 1, QUIET_MS), 1);
    acknowledge(socket);
}

// Takes a little every now and then, less than the socket wants to have gone before it says that it
// can be written to; altogether far longer than a connection may be idle.
static void take_slowly(int socket)
{
    for (int i = 0; i < 20; i++) {
        take_some(socket);
        pass(IDLE_S - 20);
        assert_int_equal(open_now(), 1);
    }
}

static void who_takes_an_answer_slowly_is_not_cut_and_who_takes_nothing_is(void **state)
{
    (void)state;
    static const char *const paths[] = { "/large", "/many" };
    for (size_t i = 0; i < 2; i++) {
        struct client slow;
        client_open_small(&slow, port, 4096);
        ask_for(&slow, paths[i]);
        take_slowly(slow.socket);
        pass(20 - 3); // IDLE_S in all
        assert_int_equal(open_now(), 1);
        pass(6);
        assert_int_equal(open_now(), 0);
        client_close(&slow);
    }
}

static void an_answer_without_end_may_be_quiet(void **state)
{
    (void)state;
    struct client listener;
    client_open(&listener, port);
    ask_for(&listener, "/parts");
    client_head(&listener);
    (void)client_until(&listener, "first\r\n");
    acknowledge(listener.socket);
    pass(10 * IDLE_S);
    assert_int_equal(open_now(), 1);
    client_close(&listener);
}

static void a_connection_whose_answer_was_taken_slowly_is_idle_from_then_on(void **state)
{
    (void)state;
    struct client slow;
    client_open(&slow, port);
    ask_for(&slow, "/large");
    pass(IDLE_S - 20); // before it takes the rest
    client_answer(&slow);
    assert_int_equal(slow.body_size, LARGE);
    acknowledge(slow.socket);
    pass(IDLE_S - 5);
    ask_once(&slow); // it is still there
    client_close(&slow);
}

// Of a slow client with TLS too, what its machine has taken is known.
static void a_slow_client_with_tls_is_not_cut_and_one_that_takes_nothing_is(void **state)
{
    (void)state;
    SSL_CTX *server = SSL_CTX_new(TLS_server_method()), *client = SSL_CTX_new(TLS_client_method());
    assert_true(server && client); // without a certificate: nobody is to be known
    assert_int_equal(SSL_CTX_set_cipher_list(server, "AECDH-AES128-SHA:@SECLEVEL=0"), 1);
    assert_int_equal(SSL_CTX_set_cipher_list(client, "AECDH-AES128-SHA:@SECLEVEL=0"), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION), 1);
    start(server);
    struct client slow;
    client_open_small(&slow, port, 4096);
    SSL *tls = SSL_new(client);
    assert_non_null(tls);
    assert_int_equal(SSL_set_fd(tls, slow.socket), 1);
    assert_int_equal(SSL_connect(tls), 1);
    static const char request[] = "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_int_equal(SSL_write(tls, request, sizeof request - 1), sizeof request - 1);

    take_slowly(slow.socket); // of what has been encrypted
    pass(IDLE_S + 3);
    assert_int_equal(open_now(), 0);

    SSL_free(tls);
    client_close(&slow);
    (void)end_server(NULL);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

// ---- WebSockets ---------------------------------------------------------------------------------

// A socket that has said something and been answered, at rest.
static void open_peer(struct peer *peer, const char *query)
{
    peer_open(peer, query);
    acknowledge(peer->socket);
    while (open_now() > 0) { // it counts no more once it is a WebSocket
        go_round();
    }
    go_round();
}

static void expect_ping(struct peer *peer)
{
    struct net_message message = { 0 };
    assert_int_equal(peer_next(peer, &message), NET_FRAME_PING);
    acknowledge(peer->socket);
}

static bool has_word(struct peer *peer)
{
    char byte;
    return recv(peer->socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1;
}

static void a_silent_peer_is_pinged_after_20_s_and_gone_after_20_more(void **state)
{
    (void)state;
    static struct peer silent;
    open_peer(&silent, "");
    pass(PING_S - 1);
    assert_false(has_word(&silent));
    pass(1);
    expect_ping(&silent);
    pass(PING_S - 1);
    assert_false(is_cut(silent.socket));
    pass(2);
    assert_true(is_cut(silent.socket));
    peer_close(&silent);
}

static void who_answers_pings_stays(void **state)
{
    (void)state;
    static struct peer quiet;
    open_peer(&quiet, "");
    for (int i = 0; i < 10; i++) {
        pass(PING_S);
        expect_ping(&quiet);
        assert_true(peer_frame(&quiet, 0x8a, "", 0));
        go_round();
    }
    peer_text(&quiet, "still here");
    peer_hears(&quiet, "still here");
    acknowledge(quiet.socket);
    pass(2 * PING_S - 1); // and no longer than it does
    expect_ping(&quiet);
    assert_false(is_cut(quiet.socket));
    pass(2);
    assert_true(is_cut(quiet.socket));
    peer_close(&quiet);
}

static void who_takes_a_long_message_slowly_stays_and_who_stops_is_gone(void **state)
{
    (void)state;
    struct client slow;
    char some[2048];
    client_open_small(&slow, port, 4096);
    client_say(&slow, "GET /v1/ws?flood HTTP/1.1\r\n" HANDSHAKE "\r\n");
    for (int i = 0; i < 20; i++) {
        take_some(slow.socket);
        pass(PING_S - 3);
        assert_false(is_cut(slow.socket));
    }
    pass(2 * PING_S + 1);
    size_t rest = 0;
    for (ssize_t got; (got = recv(slow.socket, some, sizeof some, 0)) > 0;) {
        rest += (size_t)got;
    }
    assert_true(rest < LARGE / 2); // it was left with what was on its way
    client_close(&slow);
}

static void who_is_not_read_from_stays_as_long_as_it_takes_what_waits(void **state)
{
    (void)state;
    struct client deaf;
    client_open_small(&deaf, port, 4096);
    client_say(&deaf, "GET /v1/ws?deaf HTTP/1.1\r\n" HANDSHAKE "\r\n");
    for (int i = 0; i < 5; i++) {
        take_some(deaf.socket);
        pass(PING_S);
    }
    assert_true(client_send(&deaf, "x", 1));
    pass(2 * PING_S + 1);
    char some[65536];
    size_t rest = 0;
    for (ssize_t got; (got = recv(deaf.socket, some, sizeof some, 0)) > 0;) {
        rest += (size_t)got;
    }
    assert_true(rest < LARGE / 2);
    client_close(&deaf);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_server, end_server)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_connects_and_says_nothing_has_the_time_of_a_request),
        TEST(a_head_that_trickles_is_cut_however_often_a_byte_comes),
        TEST(an_idle_connection_is_closed_after_its_time_and_not_before),
        TEST(empty_lines_keep_no_connection),
        TEST(an_answer_may_take_its_time),
        TEST(who_takes_an_answer_slowly_is_not_cut_and_who_takes_nothing_is),
        TEST(an_answer_without_end_may_be_quiet),
        TEST(a_connection_whose_answer_was_taken_slowly_is_idle_from_then_on),
        cmocka_unit_test(a_slow_client_with_tls_is_not_cut_and_one_that_takes_nothing_is),
        TEST(a_silent_peer_is_pinged_after_20_s_and_gone_after_20_more),
        TEST(who_answers_pings_stays),
        TEST(who_takes_a_long_message_slowly_stays_and_who_stops_is_gone),
        TEST(who_is_not_read_from_stays_as_long_as_it_takes_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
