// SPDX-License-Identifier: MIT
// ctest: threaded link=ssl timeout=120
//
// Receivers that do not answer as they should, or are not where they should be, or not who.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/hooked.h"
#include "service/receiver_tls.h"
#include "service/webhook_lookup.h"

static void play(struct reply *out, struct receiver *receiver, const struct request *request,
                 void *context)
{
    (void)receiver;
    (void)request;
    *out = *(const struct reply *)context;
}

// One attempt, and what the dead letter says of it.
static const struct service_webhook_options once = { .retry = { .max_attempts = 1 } };

static void begins_with(const char *text, const char *start)
{
    if (strncmp(text, start, strlen(start)) != 0) {
        fail_msg("\"%s\" does not begin with \"%s\"", text, start);
    }
}

// ---- answers ------------------------------------------------------------------------------------

struct row {
    struct reply reply;
    enum service_webhook_reason reason;
    const char *dead; // how it begins
};

static void a_receiver_that_does_not_answer_as_it_should_has_failed(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { { .way = REPLY_HOLD }, SERVICE_FAILED_TIMEOUT, "timeout: " },
        { { .way = REPLY_CUT }, SERVICE_FAILED_CUT, "cut: " },
        { { .way = REPLY_CUT_BODY, .body = "half" }, SERVICE_FAILED_CUT, "cut: " },
        { { .way = REPLY_NOISE }, SERVICE_FAILED_CUT, "cut: " },
        { { .way = REPLY_LONG_HEAD }, SERVICE_FAILED_CUT, "cut: " },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hooked hooked;
        char dead[400];
        hooked_prepare(&hooked, play, (void *)(uintptr_t)&rows[i].reply);
        hooked.options.timeout_ms = 200;
        hooked_start(&hooked);
        hooked_create(&hooked, "sale", "*", &once);
        hooked_say(&hooked, "a", NULL, "1");
        assert_int_equal(hooked_dead(&hooked, dead, sizeof dead), 1);
        begins_with(dead, rows[i].dead);
        assert_int_equal(hooked_look(&hooked, "sale").failed[rows[i].reason], 1);
        hooked_close(&hooked);
    }
}

static void a_huge_answer_is_not_read_to_its_end_and_counts_by_its_status(void **state)
{
    (void)state;
    struct hooked hooked;
    struct reply reply = { .body = "much: ", .huge = SIZE_MAX / 4 };
    char dead[400];
    hooked_open(&hooked, play, &reply);
    hooked_create(&hooked, "sale", "*", &once);
    hooked_say(&hooked, "a", NULL, "1");
    hooked_until(&hooked, hooked_has_delivered, 1);

    pthread_mutex_lock(&hooked.receiver.lock);
    reply.status = 404;
    pthread_mutex_unlock(&hooked.receiver.lock);
    hooked_say(&hooked, "a", NULL, "2");
    assert_int_equal(hooked_dead(&hooked, dead, sizeof dead), 1);
    begins_with(dead, "http_404: HTTP 404: much: ...");
    size_t length = strlen("http_404: HTTP 404: ") + SERVICE_WEBHOOK_TEXT_MAX;
    assert_int_equal(strlen(dead), length); // its first 200 bytes
    hooked_close(&hooked);
}

static void an_answer_of_64_kib_with_its_head_leaves_the_connection_open(void **state)
{
    (void)state;
    struct hooked hooked;
    struct reply reply = { .huge = 65000 };
    hooked_open(&hooked, play, &reply);
    hooked_create(&hooked, "sale", "*", &once);
    for (unsigned i = 1; i <= 5; i++) {
        hooked_say(&hooked, "a", "k", "1");
        hooked_until(&hooked, hooked_has_delivered, i);
    }
    assert_int_equal(receiver_connections(&hooked.receiver), 1);
    hooked_close(&hooked);
}

static void a_receiver_that_is_not_there_is_tried_again_until_it_is(void **state)
{
    (void)state;
    struct hooked hooked;
    struct receiver later;
    char url[100];
    receiver_open_at(&later, "127.0.0.1", NULL, NULL);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/", later.port);
    hooked_open(&hooked, NULL, NULL);
    const struct service_webhook_options more = { .url = url, .retry = { .unlimited = true } };
    hooked_create(&hooked, "sale", "*", &more);
    hooked_say(&hooked, "a", NULL, "1");
    while (hooked_look(&hooked, "sale").failed[SERVICE_FAILED_CONNECT] < 2) {
        (void)poll(NULL, 0, 1);
    }
    receiver_start(&later);
    hooked_until(&hooked, hooked_has_delivered, 1);
    assert_true(hooked_was_said(&hooked, "webhook sale: connect: "));
    assert_true(hooked_was_said(&hooked, "webhook sale: its receiver takes events again"));
    hooked_close(&hooked);
    receiver_close(&later);
}

// Nobody accepts, and the queue of those who would be is full: no answer to another one.
static void a_connection_that_nobody_takes_fails_in_time(void **state)
{
    (void)state;
    struct hooked hooked;
    struct receiver full;
    struct sockaddr_in to = { .sin_family = AF_INET };
    int waiting[8];
    char url[100], dead[400];
    receiver_open_at(&full, "127.0.0.1", NULL, NULL);
    assert_int_equal(listen(full.listener, 0), 0);
    to.sin_port = htons((uint16_t)full.port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < 8; i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(waiting[i], (struct sockaddr *)&to, sizeof to); // is under way
    }
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/", full.port);
    hooked_prepare(&hooked, NULL, NULL);
    hooked.options.connect_ms = 100;
    hooked_start(&hooked);
    struct service_webhook_options more = once;
    more.url = url;
    hooked_create(&hooked, "sale", "*", &more);
    hooked_say(&hooked, "a", NULL, "1");
    assert_int_equal(hooked_dead(&hooked, dead, sizeof dead), 1);
    begins_with(dead, "timeout: ");
    hooked_close(&hooked);
    for (size_t i = 0; i < 8; i++) {
        close(waiting[i]);
    }
    receiver_start(&full);
    receiver_close(&full);
}

static void a_slow_receiver_does_not_hold_up_another(void **state)
{
    (void)state;
    struct hooked hooked;
    struct reply hold = { .way = REPLY_HOLD };
    struct receiver quick;
    char url[100];
    receiver_open(&quick, NULL, NULL);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/", quick.port);
    hooked_prepare(&hooked, play, &hold);
    hooked.options.concurrency = 9; // one more than the slow one may have
    hooked_start(&hooked);
    hooked_create(&hooked, "slow", "*", NULL);
    const struct service_webhook_options more = { .url = url };
    hooked_create(&hooked, "quick", "*", &more);
    for (int i = 0; i < 100; i++) {
        hooked_say(&hooked, "a", NULL, "1");
    }
    receiver_wait(&quick, 100);
    receiver_wait_held(&hooked.receiver, 8);
    struct service_webhook_info info = hooked_look(&hooked, "slow");
    assert_int_equal(info.under_way, 8);
    assert_int_equal(info.done, 0);
    receiver_release(&hooked.receiver);
    hooked_until(&hooked, hooked_has_delivered, 200);
    assert_int_equal(receiver_most_held(&hooked.receiver), 8);
    hooked_close(&hooked);
    receiver_close(&quick);
}

// ---- certificates -------------------------------------------------------------------------------

static void a_certificate_is_checked_by_name_and_by_who_signed_it(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool trusted, good;
    } rows[] = { { "localhost", true, true },
                 { "localhost", false, false },
                 { "127.0.0.1", true, false } };
    struct sigaction ignored = { .sa_handler = SIG_IGN }, before; // OpenSSL's writes raise it
    assert_int_equal(sigaction(SIGPIPE, &ignored, &before), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hooked hooked;
        struct receiver secure;
        char url[100], path[200], dead[400];
        hooked_prepare(&hooked, NULL, NULL);
        receiver_open_at(&secure, "127.0.0.1", NULL, NULL);
        (void)snprintf(path, sizeof path, "%s/certificate.pem", hooked.folder.path);
        (void)snprintf(url, sizeof url, "https://%s:%u/hook", rows[i].host, secure.port);
        hooked.options.ca_file = rows[i].trusted ? path : NULL;
        hooked_start(&hooked);
        receiver_use_tls(&secure, path);
        receiver_start(&secure);
        struct service_webhook_options more = once;
        more.url = url;
        hooked_create(&hooked, "sale", "*", &more);
        hooked_say(&hooked, "a", NULL, "1");
        if (rows[i].good) {
            hooked_until(&hooked, hooked_has_delivered, 1);
        } else {
            assert_int_equal(hooked_dead(&hooked, dead, sizeof dead), 1);
            begins_with(dead, "tls: ");
            assert_int_equal(receiver_count(&secure), 0);
        }
        hooked_close(&hooked);
        receiver_close(&secure);
    }
    assert_int_equal(sigaction(SIGPIPE, &before, NULL), 0);
}

// ---- where it is --------------------------------------------------------------------------------

static void what_is_only_the_machines_own_is_not_reached_in_whatever_form(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "127.0.0.1",
        "localhost",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "[::]",
        "0.0.0.0",
        "LOCALHOST",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
    };
    struct hooked hooked;
    static const char *const everything[] = { "0.0.0.0/0", "::/0" };
    hooked_prepare(&hooked, NULL, NULL);
    hooked.options.allow = everything; // when they are made: else numbers are refused then
    hooked.options.allow_count = 2;
    hooked_start(&hooked);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        char url[100], name[20], type[20];
        struct service_webhook_options more = once;
        more.url = url;
        (void)snprintf(url, sizeof url, "http://%s:%u/", forms[i], hooked.receiver.port);
        (void)snprintf(name, sizeof name, "h%zu", i);
        (void)snprintf(type, sizeof type, "t%zu", i);
        assert_int_equal(service_webhooks_allow(hooked.webhooks, everything, 2), PEAL_OK);
        hooked_create(&hooked, name, type, &more);
        assert_int_equal(service_webhooks_allow(hooked.webhooks, NULL, 0), PEAL_OK);
        hooked_say(&hooked, type, NULL, "1");
        hooked_until(&hooked, hooked_has_dead, i + 1);
        struct service_webhook_info info = hooked_look(&hooked, name);
        if (info.failed[SERVICE_FAILED_ADDRESS] != 1 || info.sent != 0) {
            fail_msg("%s: %s", url, info.last_error);
        }
        begins_with(info.last_error, "address: the address ");
    }
    assert_int_equal(receiver_connections(&hooked.receiver), 0);
    hooked_close(&hooked);
}

static void an_address_that_is_not_allowed_is_refused_when_a_webhook_is_made_or_changed(
    void **state)
{
    (void)state;
    static const char *const refused[] = { "127.1",    "[::1]",           "10.0.0.1",
                                           "[fd00::]", "169.254.169.254", "[::ffff:192.168.0.1]" };
    static const char *const one[] = { "127.0.0.1" };
    struct hooked hooked;
    hooked_prepare(&hooked, NULL, NULL);
    hooked.options.allow = one;
    hooked.options.allow_count = 1;
    hooked_start(&hooked);
    struct service_webhook_options more = once;
    more.name = "sale";
    more.pattern = "*";
    char url[100], secret[SERVICE_SECRET_TEXT];
    more.url = url;
    for (size_t i = 1; i < sizeof refused / sizeof refused[0]; i++) {
        (void)snprintf(url, sizeof url, "http://%s/", refused[i]);
        assert_int_equal(service_webhook_create(secret, hooked.webhooks, &more), PEAL_EINVAL);
        assert_non_null(strstr(peal_error_sentence(), "webhooks.allow: [\""));
        assert_false(service_webhook_exists(hooked.webhooks, "sale"));
    }
    (void)snprintf(url, sizeof url, "http://%s/", refused[0]);
    assert_int_equal(service_webhook_create(secret, hooked.webhooks, &more), PEAL_OK);

    const struct service_webhook_change elsewhere = { .url = "http://10.0.0.1/" };
    assert_int_equal(service_webhook_change(hooked.webhooks, "sale", &elsewhere), PEAL_EINVAL);
    assert_int_equal(service_webhooks_allow(hooked.webhooks, NULL, 0), PEAL_OK);
    const struct service_webhook_change patient = { .timeout_ms = 1234 }; // the URL stays its own
    assert_int_equal(service_webhook_change(hooked.webhooks, "sale", &patient), PEAL_OK);
    hooked_close(&hooked);
}

static void what_is_allowed_can_be_changed_while_events_are_sent(void **state)
{
    (void)state;
    static const char *const name[] = { "localhost" };
    struct hooked hooked;
    char url[100];
    hooked_prepare(&hooked, NULL, NULL);
    hooked.options.allow_count = 0;
    hooked_start(&hooked);
    (void)snprintf(url, sizeof url, "http://localhost:%u/", hooked.receiver.port);
    struct service_webhook_options more = once;
    more.url = url;
    hooked_create(&hooked, "sale", "*", &more);
    hooked_say(&hooked, "a", NULL, "1");
    hooked_until(&hooked, hooked_has_dead, 1);

    assert_int_equal(service_webhooks_allow(hooked.webhooks, name, 1), PEAL_OK);
    hooked_say(&hooked, "a", NULL, "2");
    hooked_until(&hooked, hooked_has_delivered, 1);

    assert_int_equal(service_webhooks_allow(hooked.webhooks, NULL, 0), PEAL_OK);
    hooked_say(&hooked, "a", NULL, "3"); // although there is a connection to it
    hooked_until(&hooked, hooked_has_dead, 2);
    assert_int_equal(receiver_count(&hooked.receiver), 1);

    static const char *const bad[] = { "10.0.0.0/99" };
    assert_int_equal(service_webhooks_allow(hooked.webhooks, bad, 1), PEAL_EINVAL);
    hooked_close(&hooked);
}

// ---- names that change --------------------------------------------------------------------------

// A resolver of the test's: what the n-th lookup finds.
struct zone {
    const char *answers[4][3]; // addresses; the last row goes on
    size_t rows;
    atomic_uint asked;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hangs; // lookups of "hangs.test" wait until it does not
};

static bool look_up(struct service_lookup_result *out, const char *host, void *context)
{
    struct zone *zone = context;
    unsigned number = atomic_fetch_add(&zone->asked, 1);
    pthread_mutex_lock(&zone->lock);
    while (zone->hangs && strcmp(host, "hangs.test") == 0) {
        pthread_cond_wait(&zone->changed, &zone->lock);
    }
    pthread_mutex_unlock(&zone->lock);
    size_t row = number < zone->rows ? number : zone->rows - 1;
    for (size_t i = 0; i < 3 && zone->answers[row][i]; i++) {
        assert_true(service_ip_parse(&out->addresses[out->count++], zone->answers[row][i]));
    }
    return out->count > 0;
}

static void hooked_prepare_zone(struct hooked *hooked, struct zone *zone, const char *allow)
{
    static const char *list[1]; // of one test at a time
    pthread_mutex_init(&zone->lock, NULL);
    pthread_cond_init(&zone->changed, NULL);
    hooked_prepare(hooked, NULL, NULL);
    list[0] = allow;
    hooked->options.allow = list;
    hooked->options.lookup = look_up;
    hooked->options.lookup_context = zone;
    (void)snprintf(hooked->url, sizeof hooked->url, "http://games.test:%u/hook",
                   hooked->receiver.port);
}

static void a_name_that_changes_its_address_between_checks_does_not_get_through(void **state)
{
    (void)state;
    struct zone zone = { .answers = { { "127.0.0.1" }, { "127.0.0.2" } }, .rows = 2 };
    struct hooked hooked;
    struct receiver inside;
    hooked_prepare_zone(&hooked, &zone, "127.0.0.1");
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)hooked.receiver.port) };
    receiver_open_at(&inside, "127.0.0.3", NULL, NULL);
    close(inside.listener); // the same port, at the address that is not allowed
    inside.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(inet_pton(AF_INET, "127.0.0.2", &in.sin_addr), 1);
    assert_int_equal(bind(inside.listener, (struct sockaddr *)&in, sizeof in), 0);
    receiver_start(&inside);
    hooked.options.resolved_ms = 1;
    hooked_start(&hooked);
    hooked_create(&hooked, "sale", "*", &once);

    hooked_say(&hooked, "a", NULL, "1"); // checked, and what was checked is connected to
    hooked_until(&hooked, hooked_has_delivered, 1);
    char host[100], expected[100];
    (void)snprintf(expected, sizeof expected, "games.test:%u", hooked.receiver.port);
    assert_string_equal(
        request_header(receiver_get(&hooked.receiver, 0), "host", host, sizeof host), expected);
    while (hooked_look(&hooked, "sale").failed[SERVICE_FAILED_ADDRESS] == 0) {
        hooked_say(&hooked, "a", NULL, "2");
        (void)poll(NULL, 0, 2);
    }
    begins_with(hooked_look(&hooked, "sale").last_error,
                "address: the address 127.0.0.2 is loopback");
    assert_int_equal(receiver_count(&inside), 0);
    hooked_close(&hooked);
    receiver_close(&inside);
}

static void of_several_addresses_only_those_that_may_be_reached_are(void **state)
{
    (void)state;
    struct zone zone = { .answers = { { "10.0.0.1", "127.0.0.1", "::1" } }, .rows = 1 };
    struct hooked hooked;
    hooked_prepare_zone(&hooked, &zone, "127.0.0.1");
    hooked_start(&hooked);
    hooked_create(&hooked, "sale", "*", &once);
    for (unsigned i = 1; i <= 20; i++) {
        hooked_say(&hooked, "a", NULL, "1");
        hooked_until(&hooked, hooked_has_delivered, i);
    }
    assert_int_equal(atomic_load(&zone.asked), 1);
    assert_int_equal(receiver_connections(&hooked.receiver), 1);
    hooked_close(&hooked);
}

static void an_address_nobody_answers_at_is_passed_over_for_the_next(void **state)
{
    (void)state;
    struct zone zone = { .answers = { { "127.0.0.9", "127.0.0.1" } }, .rows = 1 };
    struct hooked hooked;
    hooked_prepare_zone(&hooked, &zone, "127.0.0.0/8");
    hooked_start(&hooked);
    hooked_create(&hooked, "sale", "*", NULL);
    hooked_say(&hooked, "a", NULL, "1");
    hooked_until(&hooked, hooked_has_delivered, 1);
    assert_int_equal(hooked_look(&hooked, "sale").failed[SERVICE_FAILED_CONNECT], 1);
    hooked_close(&hooked);
}

static void a_name_without_an_address_has_failed(void **state)
{
    (void)state;
    struct zone zone = { .rows = 1 };
    struct hooked hooked;
    char dead[400];
    hooked_prepare_zone(&hooked, &zone, "127.0.0.1");
    hooked_start(&hooked);
    hooked_create(&hooked, "sale", "*", &once);
    hooked_say(&hooked, "a", NULL, "1");
    assert_int_equal(hooked_dead(&hooked, dead, sizeof dead), 1);
    assert_string_equal(dead, "dns: the host was not found: it has no address");
    hooked_close(&hooked);
}

static void a_lookup_that_hangs_fails_in_time_and_holds_up_nobody(void **state)
{
    (void)state;
    struct zone zone = { .answers = { { "127.0.0.1" } }, .rows = 1, .hangs = true };
    struct hooked hooked;
    hooked_prepare_zone(&hooked, &zone, "127.0.0.1");
    hooked.options.connect_ms = 100;
    hooked_start(&hooked);
    struct service_webhook_options more = once;
    more.url = "http://hangs.test/";
    hooked_create(&hooked, "hangs", "a", &more);
    hooked_create(&hooked, "sale", "a", NULL);
    hooked_say(&hooked, "a", NULL, "1");
    hooked_until(&hooked, hooked_has_delivered, 1);
    hooked_until(&hooked, hooked_has_dead, 1);
    assert_string_equal(hooked_look(&hooked, "hangs").last_error,
                        "dns: the host was not resolved in time");
    hooked_end(&hooked); // also closing does not wait for it
    pthread_mutex_lock(&zone.lock);
    zone.hangs = false;
    pthread_cond_broadcast(&zone.changed);
    pthread_mutex_unlock(&zone.lock);
    hooked_finish(&hooked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_receiver_that_does_not_answer_as_it_should_has_failed),
        cmocka_unit_test(a_huge_answer_is_not_read_to_its_end_and_counts_by_its_status),
        cmocka_unit_test(an_answer_of_64_kib_with_its_head_leaves_the_connection_open),
        cmocka_unit_test(a_receiver_that_is_not_there_is_tried_again_until_it_is),
        cmocka_unit_test(a_connection_that_nobody_takes_fails_in_time),
        cmocka_unit_test(a_slow_receiver_does_not_hold_up_another),
        cmocka_unit_test(a_certificate_is_checked_by_name_and_by_who_signed_it),
        cmocka_unit_test(what_is_only_the_machines_own_is_not_reached_in_whatever_form),
        cmocka_unit_test(
            an_address_that_is_not_allowed_is_refused_when_a_webhook_is_made_or_changed),
        cmocka_unit_test(what_is_allowed_can_be_changed_while_events_are_sent),
        cmocka_unit_test(a_name_that_changes_its_address_between_checks_does_not_get_through),
        cmocka_unit_test(of_several_addresses_only_those_that_may_be_reached_are),
        cmocka_unit_test(an_address_nobody_answers_at_is_passed_over_for_the_next),
        cmocka_unit_test(a_name_without_an_address_has_failed),
        cmocka_unit_test(a_lookup_that_hangs_fails_in_time_and_holds_up_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
