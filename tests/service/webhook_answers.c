// SPDX-License-Identifier: MIT
// ctest: threaded link=ssl timeout=120
//
// What a webhook sends, and what becomes of the event by each kind of answer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/hooked.h"
#include "service/webhook_secret.h"

// ---- what is sent -------------------------------------------------------------------------------

// Signs what came as the receiver would, with the secret it was given.
static void assert_signed(const struct request *request, const char *secret)
{
    char id[200], timestamp[40], signature[300], expected[SERVICE_SIGNATURES_TEXT];
    struct service_secret known;
    assert_int_equal(service_secret_parse(&known, secret), PEAL_OK);
    (void)request_header(request, "webhook-id", id, sizeof id);
    (void)request_header(request, "webhook-timestamp", timestamp, sizeof timestamp);
    (void)request_header(request, "webhook-signature", signature, sizeof signature);
    struct service_signed message = { id, atoll(timestamp), request->body, request->size };
    assert_int_equal(service_secret_sign(expected, &known, 1, 0, &message), PEAL_OK);
    assert_string_equal(signature, expected);
}

static void an_event_is_posted_as_cloudevents_json_and_signed(void **state)
{
    (void)state;
    struct hooked hooked;
    char text[300];
    hooked_open(&hooked, NULL, NULL);
    hooked_create(&hooked, "sale", "order.*", NULL);
    const struct peal_message message = {
        .type = "order.created", .subject = "o-17", .id = "a.b c%", .data = "{\"n\":1}", .size = 7
    };

    assert_int_equal(peal_publish(hooked.bus, &message, NULL), PEAL_OK);
    hooked_say(&hooked, "else", NULL, "2");
    receiver_wait(&hooked.receiver, 1);

    const struct request *request = receiver_get(&hooked.receiver, 0);
    assert_memory_equal(request->head, "POST /hook HTTP/1.1\r\n", 21);
    assert_string_equal(request_header(request, "content-type", text, sizeof text),
                        "application/cloudevents+json");
    assert_string_equal(request_header(request, "webhook-id", text, sizeof text), "a%2Eb%20c%25");
    assert_string_equal(request_header(request, "expect", text, sizeof text), "");
    int64_t sent = atoll(request_header(request, "webhook-timestamp", text, sizeof text));
    assert_true(time(NULL) - sent >= 0 && time(NULL) - sent <= 60);
    assert_non_null(strstr(request->body, "\"specversion\":\"1.0\""));
    assert_non_null(strstr(request->body, "\"type\":\"order.created\""));
    assert_non_null(strstr(request->body, "\"data\":{\"n\":1}"));
    assert_int_equal(strlen(request->body), request->size);
    assert_signed(request, hooked.secret);
    hooked_until(&hooked, hooked_has_delivered, 1);
    assert_int_equal(receiver_count(&hooked.receiver), 1);
    hooked_close(&hooked);
}

static void the_headers_of_a_user_are_sent_and_the_proxy_of_the_environment_is_not_asked(
    void **state)
{
    (void)state;
    struct hooked hooked;
    char text[100];
    const struct service_header headers[] = { { "Authorization", "Bearer t-1" },
                                              { "X-From", "Peal, here" } };
    const struct service_webhook_options more = { .headers = headers, .header_count = 2 };
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(setenv("all_proxy", "http://127.0.0.1:1", 1), 0);
    hooked_open(&hooked, NULL, NULL);
    hooked_create(&hooked, "sale", "*", &more);

    hooked_say(&hooked, "a", NULL, "1");
    receiver_wait(&hooked.receiver, 1);

    const struct request *request = receiver_get(&hooked.receiver, 0);
    assert_string_equal(request_header(request, "authorization", text, sizeof text), "Bearer t-1");
    assert_string_equal(request_header(request, "x-from", text, sizeof text), "Peal, here");
    hooked_close(&hooked);
    assert_int_equal(unsetenv("http_proxy"), 0);
    assert_int_equal(unsetenv("all_proxy"), 0);
}

// ---- what answers mean --------------------------------------------------------------------------

// Answers all requests alike, or the first `bad` of them badly.
struct script {
    struct reply reply;
    size_t bad;
};

static void play(struct reply *out, struct receiver *receiver, const struct request *request,
                 void *context)
{
    const struct script *script = context;
    (void)request;
    if (receiver->count <= script->bad) {
        *out = script->reply;
    }
}

static void every_status_of_2xx_is_done(void **state)
{
    (void)state;
    static const int statuses[] = { 200, 201, 202, 204, 226, 299 };
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct hooked hooked;
        struct script script = { { .status = statuses[i] }, 1 };
        hooked_open(&hooked, play, &script);
        hooked_create(&hooked, "sale", "*", NULL);
        hooked_say(&hooked, "a", NULL, "1");
        hooked_until(&hooked, hooked_has_delivered, 1);
        assert_int_equal(receiver_count(&hooked.receiver), 1);
        struct service_webhook_info info = hooked_look(&hooked, "sale");
        assert_int_equal(info.done, 1);
        assert_int_equal(info.time.count, 1);
        assert_true(info.last_success_ns > 0);
        hooked_close(&hooked);
    }
}

static void a_status_that_may_pass_is_tried_again(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum service_webhook_reason reason;
    } rows[] = {
        { 408, SERVICE_FAILED_BUSY },     { 425, SERVICE_FAILED_BUSY },
        { 429, SERVICE_FAILED_BUSY },     { 500, SERVICE_FAILED_SERVER },
        { 502, SERVICE_FAILED_SERVER },   { 503, SERVICE_FAILED_SERVER },
        { 599, SERVICE_FAILED_SERVER },   { 301, SERVICE_FAILED_REDIRECT },
        { 304, SERVICE_FAILED_REDIRECT }, { 308, SERVICE_FAILED_REDIRECT },
        { 666, SERVICE_FAILED_CUT },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hooked hooked;
        struct script script = { { .status = rows[i].status }, 2 };
        hooked_open(&hooked, play, &script);
        hooked_create(&hooked, "sale", "*", NULL);
        hooked_say(&hooked, "a", NULL, "1");
        hooked_until(&hooked, hooked_has_delivered, 1);
        assert_int_equal(receiver_count(&hooked.receiver), 3);
        struct service_webhook_info info = hooked_look(&hooked, "sale");
        assert_int_equal(info.failed[rows[i].reason], 2);
        assert_int_equal(info.sent, 3);
        assert_int_equal(info.done, 1);
        hooked_close(&hooked);
    }
}

static void a_status_that_will_not_pass_is_a_dead_letter_at_once_with_what_was_said(void **state)
{
    (void)state;
    static const int statuses[] = { 400, 401, 403, 404, 409, 413, 422, 451, 499 };
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct hooked hooked;
        struct script script = {
            { .status = statuses[i], .body = "no \x1b[31m\r\n\"such\" caf\xc3\xa9 \xff\\" }, 9
        };
        char dead[400], expected[400];
        hooked_open(&hooked, play, &script);
        hooked_create(&hooked, "sale", "*", NULL);
        hooked_say(&hooked, "a", NULL, "1");
        assert_int_equal(hooked_dead(&hooked, dead, sizeof dead), 1);
        (void)snprintf(expected, sizeof expected,
                       "http_%d: HTTP %d: no \\x1b[31m\\x0d\\x0a\"such\" caf\xc3\xa9 \\xff\\x5c",
                       statuses[i], statuses[i]);
        assert_string_equal(dead, expected);
        assert_int_equal(hooked_look(&hooked, "sale").failed[SERVICE_FAILED_REFUSED], 1);
        assert_int_equal(receiver_count(&hooked.receiver), 1);
        hooked_close(&hooked);
    }
}

static void attempts_that_are_spent_end_in_a_dead_letter_with_the_last_reason(void **state)
{
    (void)state;
    struct hooked hooked;
    struct script script = { { .status = 503, .body = "closed" }, 99 };
    const struct service_webhook_options more = { .retry = { .max_attempts = 3 } };
    char dead[400];
    hooked_open(&hooked, play, &script);
    hooked_create(&hooked, "sale", "*", &more);
    hooked_say(&hooked, "a", NULL, "1");
    assert_int_equal(hooked_dead(&hooked, dead, sizeof dead), 3);
    assert_string_equal(dead, "http_503: HTTP 503: closed");
    assert_string_equal(hooked_look(&hooked, "sale").last_error, "http_503: HTTP 503: closed");
    assert_true(hooked_was_said(&hooked, "webhook sale: http_503: HTTP 503: closed"));
    hooked_close(&hooked);
}

static void a_redirect_is_not_followed(void **state)
{
    (void)state;
    struct hooked hooked;
    struct receiver other;
    char head[100], dead[400];
    receiver_open(&other, NULL, NULL);
    (void)snprintf(head, sizeof head, "Location: http://127.0.0.1:%u/there\r\n", other.port);
    struct script script = { { .status = 302, .head = head }, 99 };
    const struct service_webhook_options more = { .retry = { .max_attempts = 2 } };
    hooked_open(&hooked, play, &script);
    hooked_create(&hooked, "sale", "*", &more);
    hooked_say(&hooked, "a", NULL, "1");
    assert_int_equal(hooked_dead(&hooked, dead, sizeof dead), 2);
    assert_string_equal(dead, "http_redirect: HTTP 302");
    assert_int_equal(receiver_count(&other), 0);
    hooked_close(&hooked);
    receiver_close(&other);
}

static void a_receiver_that_is_gone_disables_its_webhook_until_it_is_resumed(void **state)
{
    (void)state;
    struct hooked hooked;
    struct script script = { { .status = 410 }, 1 };
    hooked_open(&hooked, play, &script);
    hooked_create(&hooked, "sale", "*", NULL);
    hooked_say(&hooked, "a", "k", "1");
    hooked_say(&hooked, "a", "k", "2");
    receiver_wait(&hooked.receiver, 1);
    while (!hooked_was_said(&hooked, "webhook sale: its receiver is gone for good (410)")) {
        (void)poll(NULL, 0, 1);
    }
    struct service_webhook_info info = hooked_look(&hooked, "sale");
    assert_true(info.disabled && info.paused);
    assert_int_equal(info.failed[SERVICE_FAILED_GONE], 1);

    hooked_end(&hooked); // also from process to process
    hooked_start(&hooked);
    assert_true(hooked_look(&hooked, "sale").disabled);
    assert_int_equal(receiver_count(&hooked.receiver), 1);

    assert_int_equal(service_webhook_resume(hooked.webhooks, "sale"), PEAL_OK);
    hooked_until(&hooked, hooked_has_delivered, 2);
    info = hooked_look(&hooked, "sale");
    assert_false(info.disabled || info.paused);
    assert_int_equal(receiver_count(&hooked.receiver), 3); // the event went back, and was not lost
    assert_true(hooked_has_dead(&hooked, 0));
    hooked_close(&hooked);
}

static void one_that_somebody_resumed_by_name_is_no_longer_disabled(void **state)
{
    (void)state;
    struct hooked hooked;
    struct script script = { { .status = 410 }, 1 };
    hooked_open(&hooked, play, &script);
    hooked_create(&hooked, "sale", "*", NULL);
    hooked_say(&hooked, "a", "k", "1");
    while (!hooked_was_said(&hooked, "(410)")) {
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(peal_name_resume(hooked.bus, "sale"), PEAL_OK);
    hooked_until(&hooked, hooked_has_delivered, 1);
    assert_false(hooked_look(&hooked, "sale").disabled);
    hooked_close(&hooked);
}

static void retry_after_holds_back_the_whole_webhook(void **state)
{
    (void)state;
    struct hooked hooked;
    struct script script = { { .status = 429, .head = "Retry-After: 1\r\n" }, 1 };
    hooked_open(&hooked, play, &script);
    hooked_create(&hooked, "sale", "*", NULL);
    struct timespec begin, now;
    hooked_say(&hooked, "a", "k", "1");
    receiver_wait(&hooked.receiver, 1);
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    while (hooked_look(&hooked, "sale").failed[SERVICE_FAILED_BUSY] == 0) {
        (void)poll(NULL, 0, 1);
    }
    hooked_say(&hooked, "a", "other", "2");
    receiver_wait(&hooked.receiver, 3);
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t waited_ms =
        (now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000;
    assert_true(waited_ms >= 950); // of both: the other one did not go first
    assert_true(waited_ms < 10000);
    hooked_until(&hooked, hooked_has_delivered, 2);
    hooked_close(&hooked);
}

static void retry_after_counts_one_attempt_for_each_request(void **state)
{
    (void)state;
    struct hooked hooked;
    struct script script = { { .status = 503, .head = "Retry-After: 1\r\n" }, 99 };
    const struct service_webhook_options more = { .retry = { .max_attempts = 2 } };
    char dead[400];
    hooked_open(&hooked, play, &script);
    hooked_create(&hooked, "sale", "*", &more);
    hooked_say(&hooked, "a", "k", "1");
    assert_int_equal(hooked_dead(&hooked, dead, sizeof dead), 2);
    assert_int_equal(receiver_count(&hooked.receiver), 2);
    hooked_close(&hooked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_posted_as_cloudevents_json_and_signed),
        cmocka_unit_test(
            the_headers_of_a_user_are_sent_and_the_proxy_of_the_environment_is_not_asked),
        cmocka_unit_test(every_status_of_2xx_is_done),
        cmocka_unit_test(a_status_that_may_pass_is_tried_again),
        cmocka_unit_test(a_status_that_will_not_pass_is_a_dead_letter_at_once_with_what_was_said),
        cmocka_unit_test(attempts_that_are_spent_end_in_a_dead_letter_with_the_last_reason),
        cmocka_unit_test(a_redirect_is_not_followed),
        cmocka_unit_test(a_receiver_that_is_gone_disables_its_webhook_until_it_is_resumed),
        cmocka_unit_test(one_that_somebody_resumed_by_name_is_no_longer_disabled),
        cmocka_unit_test(retry_after_holds_back_the_whole_webhook),
        cmocka_unit_test(retry_after_counts_one_attempt_for_each_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
