// SPDX-License-Identifier: MIT
//
// ctest: threaded link=jansson timeout=60
//
// Otlp: spans arrive at a collector as the protocol has them, whatever it answers meanwhile; and
// those of two buses' worth of publishing and handling form one trace.
#include "support/scene.h"

#include <peal/peal.h>

#include "otlp_collector.h"
#include "service/otlp.h"

static struct collector collector;
static struct service_otlp *otlp;
static char said[4][200];
static size_t said_count;

static void note(enum peal_level level, const char *text, void *context)
{
    (void)level;
    (void)context;
    if (said_count < 4) {
        (void)snprintf(said[said_count++], sizeof said[0], "%s", text);
    }
}

static int begin(void **state)
{
    (void)state;
    said_count = 0;
    collector_open(&collector);
    return 0;
}

static int end(void **state)
{
    (void)state;
    collector_close(&collector);
    return 0;
}

// With times that a test can wait for.
static struct service_otlp_options quick(void)
{
    return (struct service_otlp_options){ .url = collector.url,
                                          .delay_ms = 10,
                                          .retry_ms = 1,
                                          .retry_max_ms = 4,
                                          .timeout_ms = 10000,
                                          .log = note };
}

static void open_otlp(const struct service_otlp_options *options)
{
    char error[160];
    assert_int_equal(service_otlp_open(&otlp, options, error), PEAL_OK);
}

static struct peal_span some_span(uint8_t number)
{
    struct peal_span span = {
        .kind = PEAL_SPAN_PUBLISH,
        .start_ns = 1700000000000000001,
        .end_ns = 1700000000000000002,
        .tracestate = "",
        .type = "a.b",
        .id = "id-1",
        .subject = "",
        .key = "",
        .subscription = "",
        .code = "",
        .text = "",
        .count = 1,
    };
    span.own.trace[15] = 7;
    span.own.span[0] = number;
    return span;
}

static void give(uint8_t number)
{
    struct peal_span span = some_span(number);
    service_otlp_span(&span, otlp);
}

static struct service_otlp_counts counts(void)
{
    struct service_otlp_counts out;
    service_otlp_counts(otlp, &out);
    return out;
}

// ---- what is said of a span ---------------------------------------------------------------------

static void a_span_says_what_the_conventions_ask_for(void **state)
{
    (void)state;
    struct service_otlp_options options = quick();
    options.service_name = "shop";
    options.service_instance = "shop-1";
    open_otlp(&options);
    struct peal_span span = some_span(0xab);
    struct peal_span_context links[2] = { { .trace = { 1 }, .span = { 2 } },
                                          { .trace = { 3 }, .span = { 4 } } };
    span.kind = PEAL_SPAN_PROCESS;
    span.parent[7] = 9;
    span.tracestate = "vendor=1";
    span.subject = "order-1";
    span.key = "customer \"7\"\n";
    span.subscription = "billing";
    span.position = 18446744073709551615U;
    span.size = 12;
    span.count = 3;
    span.attempt = 2;
    span.verdict = PEAL_RETRY;
    span.code = "timeout";
    span.text = "too slow";
    span.links = links;
    span.link_count = 2;
    service_otlp_span(&span, otlp);
    assert_true(service_otlp_close(otlp, 10000));
    collector_stop(&collector);

    const json_t *it = collector_find(&collector, "process a.b", 0);
    assert_non_null(it);
    assert_string_equal(collector_field(it, "traceId"), "00000000000000000000000000000007");
    assert_string_equal(collector_field(it, "spanId"), "ab00000000000000");
    assert_string_equal(collector_field(it, "parentSpanId"), "0000000000000009");
    assert_string_equal(collector_field(it, "traceState"), "vendor=1");
    assert_string_equal(collector_field(it, "startTimeUnixNano"), "1700000000000000001");
    assert_int_equal(json_integer_value(json_object_get(it, "kind")), 5);
    assert_string_equal(collector_says(it, "messaging.system"), "peal");
    assert_string_equal(collector_says(it, "messaging.operation.name"), "process");
    assert_string_equal(collector_says(it, "messaging.operation.type"), "process");
    assert_string_equal(collector_says(it, "messaging.destination.name"), "a.b");
    assert_string_equal(collector_says(it, "messaging.destination.subscription.name"), "billing");
    assert_string_equal(collector_says(it, "messaging.message.id"), "id-1");
    assert_string_equal(collector_says(it, "messaging.message.body.size"), "12");
    assert_string_equal(collector_says(it, "messaging.batch.message_count"), "3");
    assert_string_equal(collector_says(it, "messaging.peal.position"), "18446744073709551615");
    assert_string_equal(collector_says(it, "messaging.peal.key"), "customer \"7\"\n");
    assert_string_equal(collector_says(it, "messaging.peal.attempt"), "2");
    assert_string_equal(collector_says(it, "messaging.peal.verdict"), "retry");
    assert_string_equal(collector_says(it, "error.type"), "timeout");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(it, "status"), "code")), 2);
    assert_string_equal(collector_field(json_object_get(it, "status"), "message"), "too slow");
    assert_int_equal(json_array_size(json_object_get(it, "links")), 2);
    assert_string_equal(collector_says(collector.resource, "service.name"), "shop");
    assert_string_equal(collector_says(collector.resource, "service.instance.id"), "shop-1");
    assert_string_equal(collector_says(collector.resource, "service.version"), PEAL_VERSION);
}

static void each_kind_of_span_has_its_name_type_and_kind(void **state)
{
    (void)state;
    static const struct {
        enum peal_span_kind kind;
        const char *name, *type;
        int number;
    } cases[] = {
        { PEAL_SPAN_PUBLISH, "publish a.b", "send", 4 },
        { PEAL_SPAN_DELIVER, "deliver a.b", "receive", 5 },
        { PEAL_SPAN_PROCESS, "process a.b", "process", 5 },
        { PEAL_SPAN_SETTLE, "settle a.b", "settle", 3 },
    };
    struct service_otlp_options options = quick();
    open_otlp(&options);
    for (size_t i = 0; i < 4; i++) {
        struct peal_span span = some_span((uint8_t)(i + 1));
        span.kind = cases[i].kind;
        service_otlp_span(&span, otlp);
    }
    assert_true(service_otlp_close(otlp, 10000));
    collector_stop(&collector);

    for (size_t i = 0; i < 4; i++) {
        const json_t *it = collector_find(&collector, cases[i].name, 0);
        assert_non_null(it);
        assert_string_equal(collector_says(it, "messaging.operation.type"), cases[i].type);
        assert_int_equal(json_integer_value(json_object_get(it, "kind")), cases[i].number);
        assert_null(json_object_get(it, "parentSpanId"));                     // it is a root
        assert_int_equal(json_object_size(json_object_get(it, "status")), 0); // nothing failed
        assert_string_equal(collector_says(it, "error.type"), "");
    }
}

static void a_publish_that_failed_is_an_error(void **state)
{
    (void)state;
    struct service_otlp_options options = quick();
    open_otlp(&options);
    struct peal_span span = some_span(1);
    span.err = PEAL_ECONFLICT;
    span.code = peal_err_name(PEAL_ECONFLICT);
    span.text = "no";
    service_otlp_span(&span, otlp);
    assert_true(service_otlp_close(otlp, 10000));
    collector_stop(&collector);

    const json_t *it = collector_find(&collector, "publish a.b", 0);
    assert_string_equal(collector_says(it, "error.type"), peal_err_name(PEAL_ECONFLICT));
    assert_string_equal(collector_says(it, "messaging.peal.verdict"), "");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(it, "status"), "code")), 2);
}

// ---- batches and answers ------------------------------------------------------------------------

static void spans_come_in_batches_over_one_connection(void **state)
{
    (void)state;
    static const char *const headers[] = { "Authorization: Bearer secret", "X-Tenant: 7", NULL };
    struct service_otlp_options options = quick();
    options.batch_max = 10;
    options.delay_ms = 60000; // only full batches go, but for the last
    options.headers = headers;
    open_otlp(&options);
    for (int i = 0; i < 25; i++) {
        give((uint8_t)(i + 1));
    }
    collector_wait(&collector, 20);
    assert_true(service_otlp_close(otlp, 10000));
    collector_stop(&collector);

    assert_int_equal(json_array_size(collector.spans), 25);
    assert_int_equal(collector.requests, 3);
    assert_non_null(strstr(collector.head, "\r\nAuthorization: Bearer secret\r\n"));
    assert_non_null(strstr(collector.head, "\r\nX-Tenant: 7\r\n"));
    assert_null(strcasestr(collector.head, "expect:"));
}

static void a_batch_that_is_not_full_goes_after_its_delay(void **state)
{
    (void)state;
    struct service_otlp_options options = quick();
    open_otlp(&options);
    give(1);
    collector_wait(&collector, 1); // without closing
    give(2);
    collector_wait(&collector, 2);
    assert_true(service_otlp_close(otlp, 10000));
    assert_int_equal(said_count, 0);
}

static void what_may_pass_is_tried_again_until_it_is_taken(void **state)
{
    (void)state;
    static const int statuses[] = { 429, 502, 503, 504, 0 };
    struct service_otlp_options options = quick();
    for (size_t i = 0; i < 5; i++) {
        collector_answers(&collector, statuses[i], "");
    }
    open_otlp(&options);
    give(1);
    collector_wait(&collector, 1);
    collector_wait_requests(&collector, 6);
    assert_true(service_otlp_close(otlp, 10000));
    assert_int_equal(json_array_size(collector.spans), 1);
    assert_int_equal(said_count, 1); // once a minute
    assert_non_null(strstr(said[0], "429"));
}

static void what_will_not_pass_is_dropped_and_counted(void **state)
{
    (void)state;
    static const int statuses[] = { 400, 401, 404, 413, 500, 301 };
    for (size_t i = 0; i < 6; i++) {
        struct service_otlp_options options = quick();
        collector_answers(&collector, statuses[i], "Location: /elsewhere\r\n");
        open_otlp(&options);
        give(1);
        collector_wait_requests(&collector, 2 * i + 1);
        give(2); // and the next one goes
        collector_wait(&collector, i + 1);
        collector_wait_requests(&collector, 2 * i + 2);
        struct service_otlp_counts all = counts();
        assert_int_equal(all.dropped, 1);
        assert_int_equal(all.failures, 1);
        assert_true(service_otlp_close(otlp, 10000));
    }
    assert_non_null(strstr(said[0], "400 {\"message\":\"no\"}"));
}

static void a_collector_that_asks_for_time_gets_it(void **state)
{
    (void)state;
    struct service_otlp_options options = quick();
    collector_answers(&collector, 503, "Retry-After: 1\r\n");
    open_otlp(&options);
    struct timespec before, after;
    give(1);
    collector_wait_requests(&collector, 1);
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    collector_wait(&collector, 1);
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    int64_t ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
    assert_true(ms >= 900); // its own backoff is 1 to 4 ms
    assert_true(service_otlp_close(otlp, 10000));
}

static void who_is_refused_too_often_gives_up(void **state)
{
    (void)state;
    struct service_otlp_options options = quick();
    options.attempts_max = 3;
    for (size_t i = 0; i < 3; i++) {
        collector_answers(&collector, 503, "");
    }
    open_otlp(&options);
    give(1);
    collector_wait_requests(&collector, 3);
    give(2);
    collector_wait(&collector, 1);
    struct service_otlp_counts all = counts();
    assert_int_equal(all.dropped, 1);
    assert_int_equal(all.failures, 3);
    assert_true(service_otlp_close(otlp, 10000));
}

static void what_a_collector_takes_in_part_is_counted_in_part(void **state)
{
    (void)state;
    struct service_otlp_options options = quick();
    options.delay_ms = 60000;
    options.batch_max = 5;
    collector_answers_with(
        &collector, 200, "",
        "{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"odd\"}}");
    collector_answers_with(
        &collector, 200, "",
        "{\"partialSuccess\":{\"rejectedSpans\":\"0\",\"errorMessage\":\"hint\"}}");
    open_otlp(&options);
    for (uint8_t i = 1; i <= 15; i++) {
        give(i);
    }
    collector_wait(&collector, 15);
    collector_wait_requests(&collector, 3);
    assert_true(service_otlp_close(otlp, 10000));
    assert_int_equal(collector.requests, 3); // nothing is sent again
    assert_int_equal(said_count, 1);
    assert_non_null(strstr(said[0], "odd"));
}

// ---- limits -------------------------------------------------------------------------------------

static void a_full_queue_drops_what_comes_and_counts_it(void **state)
{
    (void)state;
    struct service_otlp_options options = quick();
    options.queue_max = 8;
    options.batch_max = 4;
    collector_answers(&collector, -1, ""); // it says nothing
    open_otlp(&options);
    for (uint8_t i = 1; i <= 20; i++) {
        give(i);
    }
    struct service_otlp_counts all = counts();
    assert_int_equal(all.dropped, 12);
    assert_int_equal(all.queued, 8);
    collector_stop(&collector); // nobody is there any more
    assert_false(service_otlp_close(otlp, 0));
}

static void closing_waits_no_longer_than_it_is_told(void **state)
{
    (void)state;
    struct service_otlp_options options = quick();
    collector_answers(&collector, -1, "");
    open_otlp(&options);
    give(1);
    collector_wait_requests(&collector, 1);
    give(2);
    struct timespec before, after;
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    assert_false(service_otlp_close(otlp, 50));
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(after.tv_sec - before.tv_sec < 5);
}

static void closing_waits_for_no_backoff(void **state)
{
    (void)state;
    struct service_otlp_options options = quick();
    options.retry_ms = options.retry_max_ms = 3600000;
    collector_answers(&collector, 503, "");
    open_otlp(&options);
    give(1);
    collector_wait_requests(&collector, 1);
    assert_true(service_otlp_close(otlp, 10000)); // and it is sent all the same
    assert_int_equal(json_array_size(collector.spans), 1);
}

static void without_a_collector_spans_are_dropped_and_nobody_waits(void **state)
{
    (void)state;
    struct service_otlp_options options = quick();
    options.attempts_max = 2;
    collector_stop(&collector);
    open_otlp(&options);
    give(1);
    assert_false(service_otlp_close(otlp, 10000));
    assert_true(said_count >= 1);
    assert_non_null(strstr(said[0], "cannot be reached"));
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const urls[] = { NULL,
                                        "",
                                        "127.0.0.1:4318/v1/traces",
                                        "ftp://a/b",
                                        "file:///etc/passwd",
                                        "http://me:secret@a/v1/traces" };
    static const char *const headers[] = { "no header", "a: b\r\nc: d", ": x" };
    char error[160];
    struct service_otlp *none = NULL;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct service_otlp_options options = { .url = urls[i] };
        error[0] = '\0';
        assert_int_equal(service_otlp_open(&none, &options, error), PEAL_EINVAL);
        assert_true(strlen(error) > 10);
    }
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        const char *list[] = { headers[i], NULL };
        struct service_otlp_options options = { .url = collector.url, .headers = list };
        assert_int_equal(service_otlp_open(&none, &options, error), PEAL_EINVAL);
        assert_null(strstr(error, "c: d")); // it may be a secret
    }
    assert_null(none);
    assert_true(service_otlp_close(NULL, 0));
}

// ---- end to end ---------------------------------------------------------------------------------

static enum peal_verdict publish_invoice(const peal_event *event, void *context)
{
    (void)event;
    peal_emit(context, "invoice.sent", "{}", 2);
    return PEAL_DONE;
}

static enum peal_verdict accept_it(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    return PEAL_DONE;
}

static void assert_child(const json_t *child, const json_t *parent)
{
    assert_non_null(child);
    assert_non_null(parent);
    assert_string_equal(collector_field(child, "traceId"), collector_field(parent, "traceId"));
    assert_string_equal(collector_field(child, "parentSpanId"), collector_field(parent, "spanId"));
}

static void publishing_and_handling_form_one_trace(void **state)
{
    (void)state;
    peal_bus *bus;
    struct service_otlp_options options = quick();
    struct peal_subscribe_options billing = { .name = "billing" }, mail = { .label = "mail" };
    open_otlp(&options);
    struct peal_trace_options trace = { .finished = service_otlp_span, .context = otlp };
    assert_int_equal(peal_bus_open(&bus, "mem:?workers=2", NULL), PEAL_OK);
    assert_int_equal(peal_bus_trace(bus, &trace), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, bus, "order.*", &billing, publish_invoice, bus), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, bus, "invoice.*", &mail, accept_it, NULL), PEAL_OK);
    struct peal_receipt receipt;
    assert_int_equal(
        peal_publish(bus, &(struct peal_message){ .type = "order.placed", .subject = "order-1" },
                     &receipt),
        PEAL_OK);
    collector_wait(&collector, 6);
    peal_bus_close(bus);
    assert_true(service_otlp_close(otlp, 10000));
    collector_stop(&collector);

    const json_t *order = collector_find(&collector, "publish order.placed", 0);
    const json_t *to_billing = collector_find(&collector, "deliver order.placed", 0);
    const json_t *bill = collector_find(&collector, "process order.placed", 0);
    const json_t *invoice = collector_find(&collector, "publish invoice.sent", 0);
    const json_t *to_mail = collector_find(&collector, "deliver invoice.sent", 0);
    const json_t *send_mail = collector_find(&collector, "process invoice.sent", 0);
    assert_int_equal(json_array_size(collector.spans), 6);
    assert_non_null(order);
    assert_null(json_object_get(order, "parentSpanId"));
    assert_child(to_billing, order);
    assert_child(bill, to_billing);
    assert_child(invoice, bill);
    assert_child(to_mail, invoice);
    assert_child(send_mail, to_mail);
    assert_string_equal(collector_says(order, "messaging.message.id"), receipt.id);
    assert_string_equal(collector_says(bill, "messaging.message.id"), receipt.id);
    assert_string_equal(collector_says(bill, "messaging.destination.subscription.name"), "billing");
    assert_string_equal(collector_says(bill, "messaging.peal.subject"), "order-1");
    assert_string_equal(collector_says(send_mail, "messaging.destination.subscription.name"),
                        "mail");
}

enum { PUBLISHERS = 4, EACH = 500 };

static void *publish_many(void *context)
{
    for (int i = 0; i < EACH; i++) {
        peal_emit(context, "a.b", "{}", 2);
    }
    return NULL;
}

static void spans_of_many_threads_all_arrive(void **state)
{
    (void)state;
    peal_bus *bus;
    struct service_otlp_options options = quick();
    options.batch_max = 100;
    open_otlp(&options);
    struct peal_trace_options trace = { .finished = service_otlp_span, .context = otlp };
    assert_int_equal(peal_bus_open(&bus, "mem:?workers=1", NULL), PEAL_OK);
    assert_int_equal(peal_bus_trace(bus, &trace), PEAL_OK);
    pthread_t threads[PUBLISHERS];
    for (size_t i = 0; i < PUBLISHERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, publish_many, bus), 0);
    }
    for (size_t i = 0; i < PUBLISHERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    peal_bus_close(bus);
    struct service_otlp_counts all = counts();
    assert_int_equal(all.exported + all.queued + all.dropped, PUBLISHERS * EACH);
    assert_true(service_otlp_close(otlp, 30000));
    collector_stop(&collector);
    assert_int_equal(json_array_size(collector.spans), PUBLISHERS * EACH - all.dropped);
    assert_int_equal(all.dropped, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_span_says_what_the_conventions_ask_for),
        TEST(each_kind_of_span_has_its_name_type_and_kind),
        TEST(a_publish_that_failed_is_an_error),
        TEST(spans_come_in_batches_over_one_connection),
        TEST(a_batch_that_is_not_full_goes_after_its_delay),
        TEST(what_may_pass_is_tried_again_until_it_is_taken),
        TEST(what_will_not_pass_is_dropped_and_counted),
        TEST(a_collector_that_asks_for_time_gets_it),
        TEST(who_is_refused_too_often_gives_up),
        TEST(what_a_collector_takes_in_part_is_counted_in_part),
        TEST(a_full_queue_drops_what_comes_and_counts_it),
        TEST(closing_waits_no_longer_than_it_is_told),
        TEST(closing_waits_for_no_backoff),
        TEST(without_a_collector_spans_are_dropped_and_nobody_waits),
        TEST(what_makes_no_sense_is_refused),
        TEST(publishing_and_handling_form_one_trace),
        TEST(spans_of_many_threads_all_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
