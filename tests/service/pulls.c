// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Pulled subscriptions from life to life of the service: their file, also what it cannot make sense
// of; and their numbers in /metrics.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/client.h"
#include "support/folder.h"
#include "support/serving.h"

static struct folder folder;
static struct serving serving;
static struct client client;
static char said[4096]; // by the service, the last errors

static void on_log(enum peal_level level, const char *text, void *context)
{
    (void)context;
    size_t used = strlen(said);
    if (level == PEAL_LEVEL_ERROR) {
        (void)snprintf(said + used, sizeof said - used, "%s\n", text);
    }
}

static void open_service(void)
{
    const struct service_options options = { .folder = folder.path, .log = on_log };
    char url[200];
    (void)snprintf(url, sizeof url, "file:%s/events", folder.path);
    said[0] = 0;
    serving_open(&serving, url, &options);
    client_open(&client, serving.port);
}

static void close_service(void)
{
    client_close(&client);
    serving_close(&serving);
}

static int begin(void **state)
{
    (void)state;
    folder_open(&folder, "");
    return 0;
}

static int end(void **state)
{
    (void)state;
    folder_close(&folder);
    return 0;
}

static const char *ask(int status, const char *method, const char *path, const char *body)
{
    if (client_ask(&client, method, path, NULL, body) != status) {
        fail_msg("%s %s %s: %d instead of %d: %s", method, path, body ? body : "", client.status,
                 status, client.body);
    }
    return client.body;
}

static void path_of(char out[128])
{
    (void)snprintf(out, 128, "%s/subscriptions.json", folder.path);
}

static void write_file(const char *text)
{
    char path[128];
    path_of(path);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

// The definitions of the file, sorted by nothing; *given*.
static json_t *read_file(void)
{
    char path[128];
    path_of(path);
    json_t *document = json_load_file(path, 0, NULL);
    assert_non_null(document);
    json_t *rows = json_incref(json_object_get(document, "subscriptions"));
    json_decref(document);
    assert_true(json_is_array(rows));
    return rows;
}

// How many rows of the file are this one.
static size_t times_in_file(const char *definition)
{
    json_t *wanted = json_loads(definition, JSON_DECODE_ANY, NULL), *rows = read_file(), *row;
    size_t i, count = 0;
    assert_non_null(wanted);
    json_array_foreach(rows, i, row)
    {
        count += (size_t)json_equal(row, wanted);
    }
    json_decref(wanted);
    json_decref(rows);
    return count;
}

#define LATER                                                                                      \
    "{\"name\":\"later\",\"pattern\":\"a\",\"kind\":\"pull\",\"colour\":[1.5,{\"x\":null}]}"
#define WRONG "{\"name\":\"wrong\",\"pattern\":\"a..b\",\"kind\":\"pull\"}"
#define GOOD  "{\"name\":\"good\",\"pattern\":\"a.*\"}"
#define FRESH "{\"name\":\"fresh\",\"pattern\":\"b\"}"

static void a_definition_that_cannot_be_opened_stays_in_the_file_as_it_is(void **state)
{
    (void)state;
    static const char *const rows[] = { LATER, WRONG, "17", GOOD, GOOD };
    write_file("{\"version\":1,\"subscriptions\":[" LATER "," WRONG ",17," GOOD "," GOOD "]}");

    for (int life = 0; life < 3; life++) { // and so it is the next time
        open_service();
        assert_non_null(strstr(said, "the subscription later cannot be opened again"));
        assert_non_null(strstr(said, "colour")); // and why
        assert_non_null(strstr(said, "the subscription wrong cannot be opened again"));
        assert_non_null(strstr(said, "the subscription without a name cannot"));
        assert_non_null(strstr(said, "it is there twice"));
        ask(200, "GET", "/v1/subscriptions/good", NULL);
        ask(404, "POST", "/v1/subscriptions/later/pull", "{}");
        if (life < 2) {
            ask(life == 0 ? 201 : 204, life == 0 ? "POST" : "DELETE",
                life == 0 ? "/v1/subscriptions" : "/v1/subscriptions/fresh",
                life == 0 ? FRESH : NULL); // writes the file
        }
        close_service();
        for (size_t i = 0; i < 5; i++) {
            assert_int_equal(times_in_file(rows[i]), i < 3 ? 1 : 2);
        }
        assert_int_equal(times_in_file(FRESH), life == 0);
    }
}

static void who_makes_or_deletes_one_of_that_name_is_rid_of_it(void **state)
{
    (void)state;
    static const char another[] = "{\"name\":\"wrong\",\"pattern\":\"a.b\"}";
    write_file("{\"version\":1,\"subscriptions\":[" LATER "," WRONG "]}");
    open_service();

    ask(201, "POST", "/v1/subscriptions", another);
    (void)client_ask(&client, "DELETE", "/v1/subscriptions/later", NULL, NULL);

    close_service();
    assert_int_equal(times_in_file(another), 1);
    assert_int_equal(times_in_file(WRONG), 0);
    assert_int_equal(times_in_file(LATER), 0);
    open_service();
    assert_string_equal(said, "");
    close_service();
}

static void a_file_that_is_no_list_of_definitions_is_left_alone(void **state)
{
    (void)state;
    static const char *const files[] = { "{\"version\":1,\"subscriptions\":{}}",
                                         "{\"version\":2,\"subscriptions\":[]}", "{\"version\":1}",
                                         "[", "" };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const struct service_options options = { .folder = folder.path, .log = on_log };
        struct net_loop *loop = NULL;
        struct service *service = NULL;
        peal_bus *bus = NULL;
        write_file(files[i]);
        assert_int_equal(peal_bus_open(&bus, "mem:?workers=1", NULL), PEAL_OK);
        assert_int_equal(net_loop_open(&loop, 1), PEAL_OK);
        assert_int_equal(service_open(&service, bus, loop, &options), PEAL_ECORRUPT);
        net_loop_close(loop);
        peal_bus_close(bus);
        char path[128], text[64] = "";
        path_of(path);
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        (void)fread(text, 1, sizeof text - 1, file);
        assert_int_equal(fclose(file), 0);
        assert_string_equal(text, files[i]);
    }
}

// The value of a sample, by all that stands before it.
static double sample(const char *page, const char *name)
{
    const char *at = strstr(page, name);
    if (!at) {
        fail_msg("no %s in %s", name, page);
    }
    return strtod(at + strlen(name), NULL);
}

static void what_is_pulled_is_counted_in_the_metrics(void **state)
{
    (void)state;
    open_service();
    ask(201, "POST", "/v1/subscriptions", GOOD);
    for (int i = 0; i < 5; i++) {
        ask(201, "POST", "/v1/events/a.b", "{}");
    }
    const char *page = ask(200, "GET", "/metrics", NULL);
    assert_true(sample(page, "peal_subscription_lag_events{subscription=\"good\"} ") == 5);
    assert_true(sample(page, "peal_subscription_in_flight_events{subscription=\"good\"} ") == 0);

    ask(200, "POST", "/v1/subscriptions/good/pull", "{\"max\":3}");
    char receipt[64], body[160];
    (void)json_text(receipt, sizeof receipt, client.body, "receipt");
    (void)snprintf(body, sizeof body,
                   "{\"settlements\":[{\"receipt\":\"%s\",\"verdict\":\"done\"}]}", receipt);
    ask(200, "POST", "/v1/subscriptions/good/settle", body);

    page = ask(200, "GET", "/metrics", NULL);
    assert_true(sample(page, "peal_subscription_in_flight_events{subscription=\"good\"} ") == 2);
    assert_true(sample(page, "peal_subscription_deliveries_total{subscription=\"good\",outcome="
                             "\"delivered\"} ") == 1);
    ask(204, "DELETE", "/v1/subscriptions/good", NULL);
    assert_null(strstr(ask(200, "GET", "/metrics", NULL), "subscription=\"good\""));
    close_service();
}

static void many_are_counted_and_summed_up(void **state)
{
    (void)state;
    enum { MANY = 230 };
    char body[80];
    open_service();
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(body, sizeof body, "{\"name\":\"n%03d\",\"pattern\":\"a.*\"}", i);
        ask(201, "POST", "/v1/subscriptions", body);
    }
    ask(201, "POST", "/v1/events/a.b", "{}");
    ask(200, "POST", "/v1/subscriptions/n229/pull", "{}");

    const char *page = ask(200, "GET", "/metrics", NULL);
    assert_int_equal(count_of(page, "peal_subscription_in_flight_events{"), 201);
    assert_true(sample(page, "peal_subscription_in_flight_events{subscription=\"n000\"} ") == 0);
    assert_true(sample(page, "peal_subscription_in_flight_events{subscription=\"other\"} ") == 1);
    close_service();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_definition_that_cannot_be_opened_stays_in_the_file_as_it_is),
        TEST(who_makes_or_deletes_one_of_that_name_is_rid_of_it),
        TEST(a_file_that_is_no_list_of_definitions_is_left_alone),
        TEST(what_is_pulled_is_counted_in_the_metrics),
        TEST(many_are_counted_and_summed_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
