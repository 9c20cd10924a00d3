// SPDX-License-Identifier: MIT
//
// What a webhook may be told: URLs, headers, numbers. And what strangers' text becomes: ids in
// headers, answers in reports.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "service/webhook_plan.h"
#include "service/webhook_post.h"

static enum peal_err try(struct service_plan **out, struct service_webhook_options options)
{
    options.name = options.name ? options.name : "sale";
    options.pattern = options.pattern ? options.pattern : "*";
    options.url = options.url ? options.url : "https://hooks.example/a";
    *out = NULL;
    enum peal_err err = service_plan_create(out, &options);
    assert_true((err == PEAL_OK) == (*out != NULL));
    return err;
}

static enum peal_err check(struct service_webhook_options options)
{
    struct service_plan *plan;
    enum peal_err err = try(&plan, options);
    service_plan_unref(plan);
    return err;
}

// ---- urls ---------------------------------------------------------------------------------------

static void a_url_is_read_as_it_will_be_connected_to(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host;
        uint16_t port;
        bool numeric;
    } rows[] = {
        { "http://hooks.example", "hooks.example", 80, false },
        { "https://hooks.example/a?b=c#d", "hooks.example", 443, false },
        { "HTTPS://Hooks.Example:8443/", "Hooks.Example", 8443, false },
        { "http://10.0.0.1:1/", "10.0.0.1", 1, true },
        { "http://0x0a.1/", "10.0.0.1", 80, true },
        { "http://012.0.0.1/", "10.0.0.1", 80, true },
        { "http://167772161/", "10.0.0.1", 80, true },
        { "http://[fd00::1]:65535/", "fd00::1", 65535, true },
        { "http://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1", 80, true },
        { "http://a/%20", "a", 80, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct service_plan *plan;
        assert_int_equal(try(&plan, (struct service_webhook_options){ .url = rows[i].url }),
                         PEAL_OK);
        assert_string_equal(plan->host, rows[i].host);
        assert_int_equal(plan->port, rows[i].port);
        assert_int_equal(plan->numeric, rows[i].numeric);
        service_plan_unref(plan);
    }
}

static void a_url_that_is_not_meant_for_a_webhook_is_refused_without_being_shown(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "hooks.example/secret",
        "//hooks.example/secret",
        "/secret",
        "ftp://hooks.example/secret",
        "file:///secret",
        "gopher://hooks.example/secret",
        "javascript:secret",
        "http://user@hooks.example/secret",
        "http://user:pass@hooks.example/secret",
        "http://:@hooks.example/secret",
        "http://hooks.example:0x50/secret",
        "http://hooks.example:65536/secret",
        "http://hooks.example:99999999999/secret",
        "http://[::1/secret",
        "http://[fe80::1%25eth0]/secret",
        "http://[::g]/secret",
        "http://hooks.example/secret b",
        "http://hooks.example/secret\r\nX: y",
        "http://hooks.example/secret\t",
        " http://hooks.example/secret",
        "http://h\xc3\xb6oks.example/secret",
        "http://hooks.example\\secret",
        "http://hooks example/secret",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (check((struct service_webhook_options){ .url = bad[i] }) != PEAL_EINVAL) {
            fail_msg("%s is taken", bad[i]);
        }
        assert_null(strstr(peal_error_sentence(), "secret"));
    }
    struct service_webhook_options without = { .name = "a", .pattern = "*" };
    struct service_plan *plan = NULL;
    assert_int_equal(service_plan_create(&plan, &without), PEAL_EINVAL);
    without.url = "";
    assert_int_equal(service_plan_create(&plan, &without), PEAL_EINVAL);
    assert_null(plan);
}

static void a_url_has_at_most_2048_bytes(void **state)
{
    (void)state;
    char url[SERVICE_WEBHOOK_URL_MAX + 2];
    memset(url, 'a', sizeof url);
    memcpy(url, "http://a/", 9);
    url[SERVICE_WEBHOOK_URL_MAX] = 0;
    assert_int_equal(check((struct service_webhook_options){ .url = url }), PEAL_OK);
    url[SERVICE_WEBHOOK_URL_MAX] = 'a';
    url[SERVICE_WEBHOOK_URL_MAX + 1] = 0;
    assert_int_equal(check((struct service_webhook_options){ .url = url }), PEAL_ELIMIT);
}

// ---- headers ------------------------------------------------------------------------------------

static enum peal_err check_header(const char *name, const char *value)
{
    const struct service_header header = { name, value };
    return check((struct service_webhook_options){ .headers = &header, .header_count = 1 });
}

static void headers_that_are_not_a_users_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {
        "Connection",
        "keep-alive",
        "Proxy-Authorization",
        "proxy-connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "upgrade",
        "HOST",
        "Content-Length",
        "content-type",
        "Expect",
        "webhook-id",
        "Webhook-Anything",
        "WEBHOOK-SIGNATURE",
        "webhook-",
        "Content-Encoding",
        "Accept-Encoding",
        "http2-settings",
        "proxy-authenticate",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(check_header(names[i], "x"), PEAL_EINVAL);
    }
    static const char *const bad[] = { NULL, "", "a b", "a:", "a\r\nb", "\xc3\xa4", "a\n", "(a)" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(check_header(bad[i], "x"), PEAL_EINVAL);
    }
    static const char *const values[] = { NULL,        "",     " a",    "a ",       "\ta",
                                          "a\r\nX: y", "a\nb", "a\x7f", "\xc3\xa4", "a\x01" };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_int_equal(check_header("X-A", values[i]), PEAL_EINVAL);
    }
    assert_int_equal(check_header("X-A", "a \t~!b"), PEAL_OK);
    assert_int_equal(check_header("Authorization", "Bearer x"), PEAL_OK);
    assert_null(strstr(peal_error_sentence(), "Bearer"));
}

static void headers_are_limited_in_number_and_size_and_each_is_there_once(void **state)
{
    (void)state;
    char names[SERVICE_WEBHOOK_HEADERS_MAX + 1][8];
    struct service_header headers[SERVICE_WEBHOOK_HEADERS_MAX + 1];
    for (size_t i = 0; i <= SERVICE_WEBHOOK_HEADERS_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "X-%zu", i);
        headers[i] = (struct service_header){ names[i], "v" };
    }
    struct service_webhook_options options = { .headers = headers };
    options.header_count = SERVICE_WEBHOOK_HEADERS_MAX;
    assert_int_equal(check(options), PEAL_OK);
    options.header_count++;
    assert_int_equal(check(options), PEAL_ELIMIT);
    options.header_count = 2;
    headers[1].name = "x-0";
    assert_int_equal(check(options), PEAL_EINVAL);

    char text[SERVICE_WEBHOOK_HEADER_MAX + 2] = "";
    memset(text, 'a', SERVICE_WEBHOOK_HEADER_MAX);
    assert_int_equal(check_header("X", text), PEAL_OK);
    text[SERVICE_WEBHOOK_HEADER_MAX] = 'a';
    assert_int_equal(check_header("X", text), PEAL_EINVAL);
    text[SERVICE_WEBHOOK_HEADER_NAME] = 0;
    assert_int_equal(check_header(text, "v"), PEAL_OK);
    text[SERVICE_WEBHOOK_HEADER_NAME] = 'a';
    text[SERVICE_WEBHOOK_HEADER_NAME + 1] = 0;
    assert_int_equal(check_header(text, "v"), PEAL_EINVAL);
}

// ---- names and numbers --------------------------------------------------------------------------

static void names_and_numbers_have_limits(void **state)
{
    (void)state;
    char name[SERVICE_WEBHOOK_NAME_MAX + 2] = "";
    memset(name, 'n', SERVICE_WEBHOOK_NAME_MAX);
    assert_int_equal(check((struct service_webhook_options){ .name = name }), PEAL_OK);
    name[SERVICE_WEBHOOK_NAME_MAX] = 'n';
    assert_int_equal(check((struct service_webhook_options){ .name = name }), PEAL_ELIMIT);
    assert_int_equal(check((struct service_webhook_options){ .name = "" }), PEAL_EINVAL);

    struct service_webhook_options options = { .timeout_ms = SERVICE_WEBHOOK_TIMEOUT_MAX,
                                               .concurrency = SERVICE_WEBHOOK_AT_A_TIME };
    assert_int_equal(check(options), PEAL_OK);
    options.timeout_ms++;
    assert_int_equal(check(options), PEAL_ELIMIT);
    options.timeout_ms = 0;
    options.concurrency++;
    assert_int_equal(check(options), PEAL_ELIMIT);
    options.concurrency = 0;
    options.secret = "whsec_short";
    assert_int_equal(check(options), PEAL_EINVAL);
}

static void a_copy_has_all_that_the_plan_has(void **state)
{
    (void)state;
    struct service_plan *plan, *copy;
    const struct service_header header = { "X-A", "b" };
    const struct service_webhook_options options = {
        .label = "l",
        .secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        .headers = &header,
        .header_count = 1,
        .timeout_ms = 5,
        .retry = { .max_attempts = 9, .non_retryable = "timeout" },
        .from = PEAL_FROM_POSITION,
        .from_position = 12,
    };
    assert_int_equal(try(&plan, options), PEAL_OK);
    plan->disabled = true;
    assert_int_equal(service_plan_copy(&copy, plan), PEAL_OK);
    service_plan_unref(plan);
    assert_string_equal(copy->url, "https://hooks.example/a");
    assert_string_equal(copy->label, "l");
    assert_string_equal(copy->headers[0].value, "b");
    assert_string_equal(copy->retry.non_retryable, "timeout");
    assert_int_equal(copy->retry.max_attempts, 9);
    assert_int_equal(copy->from_position, 12);
    assert_int_equal(copy->secret_count, 1);
    assert_int_equal(copy->secrets[0].size, 24);
    assert_int_equal(copy->concurrency, 8);
    assert_true(copy->disabled);
    service_plan_unref(copy);
    service_plan_unref(NULL);
}

// ---- strangers' text ----------------------------------------------------------------------------

static void an_id_in_a_header_has_no_byte_that_means_something_there(void **state)
{
    (void)state;
    char out[100], all[256], long_out[3 * 255 + 1];
    service_post_id(out, sizeof out, "019ab-F_~:@+/=");
    assert_string_equal(out, "019ab-F_~:@+/=");
    service_post_id(out, sizeof out, "a.b\r\nX: y\xc3\xa4%");
    assert_string_equal(out, "a%2Eb%0D%0AX:%20y%C3%A4%25");
    for (int i = 1; i < 256; i++) {
        all[i - 1] = (char)i;
    }
    all[255] = 0;
    service_post_id(long_out, sizeof long_out, all);
    for (const char *byte = long_out; *byte; byte++) {
        assert_true(*byte > ' ' && *byte <= '~' && *byte != '.');
    }
}

static void text_of_strangers_is_visible_or_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *text, *escaped;
    } rows[] = {
        { "plain \"text\"", "plain \"text\"" },
        { "\x1b]0;title\x07", "\\x1b]0;title\\x07" },
        { "a\r\nb\\", "a\\x0d\\x0ab\\x5c" },
        { "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x94",
          "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x94" },
        { "\xc3", "\\xc3" },
        { "\xc0\xaf", "\\xc0\\xaf" },
        { "\xe0\x80\x80", "\\xe0\\x80\\x80" },
        { "\xed\xa0\x80", "\\xed\\xa0\\x80" },
        { "\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80" },
        { "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
        { "\xc2\x9b", "\\xc2\\x9b" },          // CSI
        { "\xe2\x80\xae", "\\xe2\\x80\\xae" }, // turns writing round
        { "\xe2\x81\xa6\xef\xbb\xbf", "\\xe2\\x81\\xa6\\xef\\xbb\\xbf" },
    };
    char out[100];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        service_post_escape(out, sizeof out, rows[i].text, strlen(rows[i].text));
        assert_string_equal(out, rows[i].escaped);
    }
    service_post_escape(out, 10, "\x01\x02\x03\x04", 4);
    assert_string_equal(out, "\\x01\\x02");
    service_post_escape(out, sizeof out, "", 0);
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_is_read_as_it_will_be_connected_to),
        cmocka_unit_test(a_url_that_is_not_meant_for_a_webhook_is_refused_without_being_shown),
        cmocka_unit_test(a_url_has_at_most_2048_bytes),
        cmocka_unit_test(headers_that_are_not_a_users_are_refused),
        cmocka_unit_test(headers_are_limited_in_number_and_size_and_each_is_there_once),
        cmocka_unit_test(names_and_numbers_have_limits),
        cmocka_unit_test(a_copy_has_all_that_the_plan_has),
        cmocka_unit_test(an_id_in_a_header_has_no_byte_that_means_something_there),
        cmocka_unit_test(text_of_strangers_is_visible_or_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
