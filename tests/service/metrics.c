// SPDX-License-Identifier: MIT
//
// ctest: link=jansson
//
// Metrics: what Prometheus reads. The whole page, with everything on it, is given to promtool; that
// it is what was counted is looked up line by line. And every metric that the Grafana dashboard
// asks for is one that is written.
#include "support/scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/metrics.h"

#define DASHBOARD PEAL_TEST_DATA "/../../packaging/grafana/peal.json"

static struct net_text page;

static int begin(void **state)
{
    (void)state;
    page = (struct net_text){ 0 };
    return 0;
}

static int end(void **state)
{
    (void)state;
    net_text_finish(&page);
    return 0;
}

// Is this a whole line of the page?
static bool has_line(const char *line)
{
    const char *text = net_text_string(&page);
    size_t length = strlen(line);
    for (const char *at = strstr(text, line); at; at = strstr(at + 1, line)) {
        if ((at == text || at[-1] == '\n') && at[length] == '\n') {
            return true;
        }
    }
    return false;
}

static void assert_line(const char *line)
{
    if (!has_line(line)) {
        fail_msg("no line %s in:\n%s", line, net_text_string(&page));
    }
}

static size_t lines_with(const char *start)
{
    size_t count = 0, length = strlen(start);
    for (const char *at = net_text_string(&page); *at; at = strchr(at, '\n') + 1) {
        count += strncmp(at, start, length) == 0;
    }
    return count;
}

// ---- a page with everything on it ---------------------------------------------------------------

static struct peal_histogram some_times(void)
{
    struct peal_histogram times = { .count = 7, .sum_ns = 1500000001 };
    times.buckets[0] = 1;
    times.buckets[11] = 2; // below 2.048 us
    times.buckets[30] = 3; // about a second
    times.buckets[39] = 1;
    return times;
}

static struct service_metrics_held some_held(const char *name)
{
    struct service_metrics_held held = { .name = name };
    held.stats = (struct peal_subscription_stats){ .delivered = 11,
                                                   .failed = 3,
                                                   .retried = 2,
                                                   .dropped_spent = 1,
                                                   .waiting = 5,
                                                   .in_flight = 4,
                                                   .lag = 9,
                                                   .lag_ns = 2500000000,
                                                   .handler_time = some_times(),
                                                   .delivery_time = some_times() };
    return held;
}

static const struct service_metrics_http some_http = {
    .connections = 100,
    .refused = 2,
    .open = 7,
    .requests = 1000,
    .answers = { 0, 1, 900, 0, 98, 1 },
    .bytes_in = 5000,
    .bytes_out = 9000,
    .event_streams = 3,
    .websockets = 4,
};

static void write_everything(void)
{
    struct peal_subscription_info infos[] = {
        { .name = "billing", .lag = 12, .lag_ns = 1000000, .unsettled = 2, .members = 1 },
        { .name = "mail \"\\\n", .lag = 1, .dead_letters = 4, .paused = true },
    };
    struct peal_dead_count reasons[] = { { "attempts", 3 }, { "http_404", 1 } };
    struct service_metrics_bus bus = { .reasons = reasons, .reason_count = 2 };
    bus.stats = (struct peal_bus_stats){ .published = 42,
                                         .dropped_overflow = 6,
                                         .dead_letters = 5,
                                         .log_bytes = 65536,
                                         .publish_time = some_times(),
                                         .sync_time = some_times() };
    bus.subscriptions.subscriptions = infos;
    bus.subscriptions.count = 2;
    const struct service_metrics_held held[] = { some_held("billing"), some_held("a.*") };
    const struct service_metrics_count failures[] = { { "http_500", 8 }, { "timeout", 1 } };
    const struct service_metrics_webhook webhooks[] = {
        { .name = "crm",
          .delivered = 20,
          .failures = failures,
          .failure_count = 2,
          .time = some_times(),
          .disabled = true },
    };
    const struct service_metrics_tracing tracing = { 30, 1, 2, 3 };
    struct service_process process;
    assert_true(service_process_read(&process));
    const struct service_metrics_input input = {
        .bus = &bus,
        .held = held,
        .held_count = 2,
        .http = &some_http,
        .webhooks = webhooks,
        .webhook_count = 1,
        .tracing = &tracing,
        .process = &process,
    };
    service_metrics_write(&page, &input);
    assert_false(page.failed);
}

static void a_page_says_what_was_counted(void **state)
{
    (void)state;

    write_everything();

    assert_line("peal_build_info{version=\"0.1.0\"} 1");
    assert_line("# TYPE peal_events_published_total counter");
    assert_line("peal_events_published_total 42");
    assert_line("peal_events_dropped_total{reason=\"overflow\"} 6");
    assert_line("peal_log_size_bytes 65536");
    assert_line("peal_dead_letters{reason=\"attempts\"} 3");
    assert_line("peal_dead_letters{reason=\"other\"} 1");
    assert_line("peal_subscription_lag_events{subscription=\"billing\"} 12");
    assert_line("peal_subscription_lag_seconds{subscription=\"billing\"} 0.001000000");
    assert_line("peal_subscription_lag_seconds{subscription=\"a.*\"} 2.500000000");
    assert_line("peal_subscription_dead_letters{subscription=\"mail \\\"\\\\\\n\"} 4");
    assert_line("peal_subscription_paused{subscription=\"mail \\\"\\\\\\n\"} 1");
    assert_line(
        "peal_subscription_deliveries_total{subscription=\"billing\",outcome=\"delivered\"} 11");
    assert_line("peal_subscription_dropped_total{subscription=\"a.*\",reason=\"spent\"} 1");
    assert_line("peal_subscription_mailbox_events{subscription=\"a.*\"} 5");
    assert_line("peal_http_responses_total{code=\"4xx\"} 98");
    assert_line("peal_http_streams{kind=\"websocket\"} 4");
    assert_line("peal_webhook_requests_total{webhook=\"crm\",outcome=\"http_500\"} 8");
    assert_line("peal_webhook_disabled{webhook=\"crm\"} 1");
    assert_line("peal_trace_spans_dropped_total 1");
    assert_int_equal(lines_with("peal_subscription_members{"), 2); // of durable ones only
}

static void a_histogram_is_cumulative_and_its_count_is_its_last_bucket(void **state)
{
    (void)state;

    write_everything();

    assert_line("peal_publish_duration_seconds_bucket{le=\"1.024e-06\"} 1");
    assert_line("peal_publish_duration_seconds_bucket{le=\"4.096e-06\"} 3");
    assert_line("peal_publish_duration_seconds_bucket{le=\"0.268435456\"} 3");
    assert_line("peal_publish_duration_seconds_bucket{le=\"1.073741824\"} 6");
    assert_line("peal_publish_duration_seconds_bucket{le=\"68.719476736\"} 6");
    assert_line("peal_publish_duration_seconds_bucket{le=\"+Inf\"} 7");
    assert_line("peal_publish_duration_seconds_count 7");
    assert_line("peal_publish_duration_seconds_sum 1.500000001");
    assert_line("peal_subscription_handler_duration_seconds_bucket{subscription=\"billing\","
                "le=\"+Inf\"} 7");
}

static void promtool_has_nothing_to_say(void **state)
{
    (void)state;
    write_everything();
    char path[] = "/tmp/peal-metrics-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, page.bytes, page.size), page.size);
    char command[160];
    (void)snprintf(command, sizeof command, "promtool check metrics < %s 2>&1", path);

    FILE *promtool = popen(command, "r"); // NOLINT(cert-env33-c): a command of our own
    assert_non_null(promtool);
    char said[4096];
    size_t size = fread(said, 1, sizeof said - 1, promtool);
    said[size] = '\0';
    int status = pclose(promtool);

    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    assert_string_equal(said, "");
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void every_family_is_said_once_and_with_help(void **state)
{
    (void)state;
    write_everything();
    size_t types = lines_with("# TYPE "), helps = lines_with("# HELP ");

    assert_int_equal(types, helps);
    for (const char *at = net_text_string(&page); *at; at = strchr(at, '\n') + 1) {
        if (strncmp(at, "# TYPE ", 7) == 0) {
            char line[128];
            size_t length = strcspn(at + 7, " ");
            (void)snprintf(line, sizeof line, "# TYPE %.*s ", (int)length, at + 7);
            assert_int_equal(lines_with(line), 1);
        }
    }
}

// ---- limits -------------------------------------------------------------------------------------

static void subscriptions_beyond_the_limit_are_one_that_is_called_other(void **state)
{
    (void)state;
    enum { MANY = SERVICE_METRICS_LABELS_MAX + 50 };
    static struct peal_subscription_info infos[MANY];
    static struct service_metrics_held held[MANY];
    static char names[MANY][16];
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof names[i], "s%04zu", i);
        infos[i] = (struct peal_subscription_info){ .name = names[i], .lag = 1, .lag_ns = i };
        held[MANY - 1 - i] = some_held(names[i]);
    }
    struct service_metrics_bus bus = { .reasons = NULL };
    bus.subscriptions.subscriptions = infos;
    bus.subscriptions.count = MANY;

    service_metrics_write(
        &page, &(struct service_metrics_input){ .bus = &bus, .held = held, .held_count = MANY });

    assert_int_equal(lines_with("peal_subscription_lag_events{"), SERVICE_METRICS_LABELS_MAX + 1);
    assert_line("peal_subscription_lag_events{subscription=\"s0199\"} 1");
    assert_line("peal_subscription_lag_events{subscription=\"other\"} 50");
    assert_line("peal_subscription_lag_seconds{subscription=\"other\"} 0.000000249");
    assert_line("peal_subscription_deliveries_total{subscription=\"other\",outcome=\"delivered\"} "
                "550");
    assert_line(
        "peal_subscription_delivery_delay_seconds_bucket{subscription=\"other\",le=\"+Inf\"} 350");
}

static void a_subscription_that_is_called_other_is_among_the_others(void **state)
{
    (void)state;
    const struct service_metrics_held held[] = { some_held("other"), some_held("a") };

    service_metrics_write(&page, &(struct service_metrics_input){ .held = held, .held_count = 2 });

    assert_int_equal(lines_with("peal_subscription_mailbox_events{subscription=\"other\"}"), 1);
}

static void webhooks_beyond_the_limit_are_one_that_is_called_other(void **state)
{
    (void)state;
    enum { MANY = SERVICE_METRICS_LABELS_MAX + 3 };
    static struct service_metrics_webhook webhooks[MANY];
    static const struct service_metrics_count failures[] = { { "timeout", 2 } };
    static char names[MANY][16];
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof names[i], "w%zu", i);
        webhooks[i] = (struct service_metrics_webhook){ .name = names[i],
                                                        .delivered = 1,
                                                        .failures = failures,
                                                        .failure_count = 1,
                                                        .disabled = true };
    }

    service_metrics_write(
        &page, &(struct service_metrics_input){ .webhooks = webhooks, .webhook_count = MANY });

    assert_line("peal_webhook_requests_total{webhook=\"other\",outcome=\"delivered\"} 3");
    assert_line("peal_webhook_requests_total{webhook=\"other\",outcome=\"failed\"} 6");
    assert_line("peal_webhook_disabled{webhook=\"other\"} 3");
    assert_int_equal(lines_with("peal_webhook_disabled{"), SERVICE_METRICS_LABELS_MAX + 1);
}

static void what_is_no_utf_8_cannot_break_the_page(void **state)
{
    (void)state;
    const struct service_metrics_held held[] = { some_held("a\xff\xc0\xafz\xe2\x82") };

    service_metrics_write(&page, &(struct service_metrics_input){ .held = held, .held_count = 1 });

    assert_line("peal_subscription_mailbox_events{subscription=\"a\xef\xbf\xbd\xef\xbf\xbd"
                "\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd\"} 5");
}

static void with_nothing_given_there_is_the_version(void **state)
{
    (void)state;

    service_metrics_write(&page, &(struct service_metrics_input){ .held_count = 0 });

    assert_int_equal(lines_with(""), 3);
    assert_line("peal_build_info{version=\"0.1.0\"} 1");
}

// ---- a bus --------------------------------------------------------------------------------------

static void a_bus_is_gathered_with_its_subscriptions_and_dead_letters(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_REJECT, .failures = 1, .code = "odd_id_4711" };
    struct peal_subscribe_options options = { .name = "billing" };
    peal_subscription *box = scene_subscribe(&scene, "order.*", &options, &actor);
    scene_publish(&scene, "order.placed", "customer-12", "x");
    scene_publish(&scene, "order.placed", "customer-13", "y");
    peal_world_settle(scene.world);
    struct service_metrics_bus bus;
    struct service_metrics_held held = { .name = "billing", .stats = scene_box(box) };

    assert_int_equal(service_metrics_gather(&bus, scene.bus), PEAL_OK);
    service_metrics_write(
        &page, &(struct service_metrics_input){ .bus = &bus, .held = &held, .held_count = 1 });
    service_metrics_bus_finish(&bus);

    assert_line("peal_events_published_total 2");
    assert_line("peal_events_delivered_total 1");
    assert_line("peal_dead_letters{reason=\"odd_id_4711\"} 1");
    assert_line("peal_subscription_dead_letters{subscription=\"billing\"} 1");
    assert_line("peal_subscription_deliveries_total{subscription=\"billing\",outcome=\"rejected\"} "
                "1");
    // Neither types nor keys are labels.
    assert_null(strstr(net_text_string(&page), "order"));
    assert_null(strstr(net_text_string(&page), "customer"));
    scene_close(&scene);
}

static void a_bus_without_memory_is_not_gathered(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct service_metrics_bus bus = { .reason_count = 77 };
    peal_world_fail_allocation(scene.world, 1, true);

    assert_int_equal(service_metrics_gather(&bus, scene.bus), PEAL_ENOMEM);

    peal_world_fail_allocation(scene.world, 0, false);
    assert_int_equal(bus.reason_count, 77); // untouched
    scene_close(&scene);
    assert_int_equal(service_metrics_gather(&bus, NULL), PEAL_EINVAL);
}

// ---- the process --------------------------------------------------------------------------------

static void a_process_is_read_behind_whatever_its_name_is(void **state)
{
    (void)state;
    static const char stat[] = "7 (a) S 1 (b) R 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 12 0 300 "
                               "4096000 10 99 99\n";
    struct service_process process = { 0 };

    assert_true(service_process_parse(&process, stat, "cpu 1 2\nbtime 1700000000\nother 1\n"));

    double tick = (double)sysconf(_SC_CLK_TCK);
    assert_true(process.cpu_seconds * tick > 299.5 && process.cpu_seconds * tick < 300.5);
    double up = process.start_seconds - 1700000000;
    assert_true(up * tick > 299.5 && up * tick < 300.5);
    assert_int_equal(process.address_bytes, 4096000);
    assert_int_equal(process.memory_bytes, 10 * sysconf(_SC_PAGESIZE));
    assert_int_equal(process.threads, 12);
}

static void a_process_that_cannot_be_read_is_none(void **state)
{
    (void)state;
    static const char boot[] = "cpu\nbtime 1\n";
    static const char *const bad[] = {
        "", "7", "7 (a", "7 (a)", "7 (a) S", "7 (a) S 1 2 3", "7 (a) S 1 2 3 4 5 6 7 8 9 10 x"
    };
    struct service_process process = { .threads = 5 };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(service_process_parse(&process, bad[i], boot));
    }
    assert_false(service_process_parse(
        &process, "7 (a) R 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 12 0 300 4096000 10", "cpu\n"));
    assert_int_equal(process.threads, 5);
}

static void this_process_has_a_few_descriptors_and_some_memory(void **state)
{
    (void)state;
    struct service_process before, after;
    assert_true(service_process_read(&before));
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_true(service_process_read(&after));
    (void)close(fds[0]);
    (void)close(fds[1]);

    assert_int_equal(after.descriptors, before.descriptors + 2);
    assert_true(before.memory_bytes > 100000);
    assert_true(before.descriptors_max >= before.descriptors);
    assert_true(before.start_seconds > 1e9);
}

// ---- the dashboard ------------------------------------------------------------------------------

// Is it a metric of the page, perhaps with what a histogram adds to its name?
static bool is_written(const char *name, size_t length)
{
    static const char *const more[] = { "", "_bucket", "_sum", "_count" };
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        size_t extra = strlen(more[i]);
        if (length > extra && strncmp(name + length - extra, more[i], extra) == 0) {
            char line[160];
            (void)snprintf(line, sizeof line, "# TYPE %.*s %s", (int)(length - extra), name,
                           extra ? "histogram" : "");
            if (lines_with(line) > 0) {
                return true;
            }
        }
    }
    return false;
}

// Checks the names of an expression; returns how many there are.
static size_t check_names(const char *expression)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
    size_t count = 0;
    for (const char *at = expression; *at;) {
        size_t length = strspn(at, letters);
        if (strncmp(at, "peal_", 5) == 0 || strncmp(at, "process_", 8) == 0) {
            if (!is_written(at, length)) {
                fail_msg("the dashboard asks for %.*s, which is not written", (int)length, at);
            }
            count++;
        }
        at += length ? length : 1;
    }
    return count;
}

static size_t check_panel(const json_t *panel)
{
    size_t names = 0, i;
    const json_t *target;
    assert_true(json_is_string(json_object_get(panel, "title")));
    json_array_foreach(json_object_get(panel, "targets"), i, target)
    {
        names += check_names(json_string_value(json_object_get(target, "expr")));
    }
    bool row = strcmp(json_string_value(json_object_get(panel, "type")), "row") == 0;
    assert_true(row || names > 0);
    return names;
}

static void the_dashboard_asks_for_nothing_that_is_not_written(void **state)
{
    (void)state;
    write_everything();
    json_error_t error;
    json_t *dashboard = json_load_file(DASHBOARD, JSON_REJECT_DUPLICATES, &error);
    if (!dashboard) {
        fail_msg("%s:%d: %s", DASHBOARD, error.line, error.text);
    }
    size_t names = 0, i;
    const json_t *panel, *variable;
    json_array_foreach(json_object_get(dashboard, "panels"), i, panel)
    {
        names += check_panel(panel);
    }
    json_array_foreach(json_object_get(json_object_get(dashboard, "templating"), "list"), i,
                       variable)
    {
        const json_t *query = json_object_get(variable, "definition");
        names += query ? check_names(json_string_value(query)) : 0;
    }

    assert_true(names > 30);
    json_decref(dashboard);
}

// What schemaVersion 38 wants: numbered panels that lie side by side, on a grid 24 wide, with a
// data source that is asked for by a variable.
static void the_dashboard_is_of_the_version_it_claims(void **state)
{
    (void)state;
    json_t *dashboard = json_load_file(DASHBOARD, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_integer_value(json_object_get(dashboard, "schemaVersion")), 38);
    assert_string_equal(json_string_value(json_object_get(dashboard, "uid")), "peal");
    bool taken[200][24] = { { false } }, known[1000] = { false };
    size_t i;
    const json_t *panel;
    json_array_foreach(json_object_get(dashboard, "panels"), i, panel)
    {
        json_int_t id = json_integer_value(json_object_get(panel, "id"));
        assert_in_range(id, 1, 999);
        assert_false(known[id]);
        known[id] = true;
        int x, y, w, h;
        assert_int_equal(json_unpack((json_t *)panel, "{s:{s:i,s:i,s:i,s:i}}", "gridPos", "x", &x,
                                     "y", &y, "w", &w, "h", &h),
                         0);
        assert_true(x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 24 && y + h <= 200);
        for (int at = 0; at < w * h; at++) {
            assert_false(taken[y + at / w][x + at % w]);
            taken[y + at / w][x + at % w] = true;
        }
        if (strcmp(json_string_value(json_object_get(panel, "type")), "row") != 0) {
            const char *source;
            assert_int_equal(
                json_unpack((json_t *)panel, "{s:{s:s}}", "datasource", "uid", &source), 0);
            assert_string_equal(source, "${datasource}");
        }
    }
    json_decref(dashboard);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_page_says_what_was_counted),
        TEST(a_histogram_is_cumulative_and_its_count_is_its_last_bucket),
        TEST(promtool_has_nothing_to_say),
        TEST(every_family_is_said_once_and_with_help),
        TEST(subscriptions_beyond_the_limit_are_one_that_is_called_other),
        TEST(a_subscription_that_is_called_other_is_among_the_others),
        TEST(webhooks_beyond_the_limit_are_one_that_is_called_other),
        TEST(what_is_no_utf_8_cannot_break_the_page),
        TEST(with_nothing_given_there_is_the_version),
        TEST(a_bus_is_gathered_with_its_subscriptions_and_dead_letters),
        TEST(a_bus_without_memory_is_not_gathered),
        TEST(a_process_is_read_behind_whatever_its_name_is),
        TEST(a_process_that_cannot_be_read_is_none),
        TEST(this_process_has_a_few_descriptors_and_some_memory),
        TEST(the_dashboard_asks_for_nothing_that_is_not_written),
        TEST(the_dashboard_is_of_the_version_it_claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
