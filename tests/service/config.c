// SPDX-License-Identifier: MIT
//
// The configuration: which source is stronger, and what is said of a file that is wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>

#include "service/config.h"
#include "service/support/read.h"
#include "support/folder.h"

// ---- sources ------------------------------------------------------------------------------------

static void an_empty_file_says_the_defaults(void **state)
{
    static const char *const empty[] = { "", "# nothing\n", "---\n",
                                         "limits:\n  # line_bytes: 1\n" };
    (void)state;
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        struct service_config *config = read_yaml(empty[i]);

        expect_sound(config);
        assert_string_equal(config->url, "file:./events");
        assert_int_equal(config->listen.count, 1);
        assert_string_equal(config->listen.items[0], "127.0.0.1:7325");
        assert_int_equal(config->limits_line_bytes, 8192);
        assert_int_equal(config->limits_idle_ms, 120000);
        assert_true(config->bus_memory_max == SERVICE_UNSET);
        assert_true(config->dashboard && !config->insecure);
        assert_int_equal(config->log_level - 1, PEAL_LEVEL_INFO);
        assert_string_equal(config->origins[0].place, "default");
        service_config_close(config);
    }
}

static size_t row_of(const char *name)
{
    size_t row = 0;
    while (row < SERVICE_OPTION_COUNT && strcmp(service_config_options[row].name, name) != 0) {
        row++;
    }
    assert_int_not_equal(row, SERVICE_OPTION_COUNT);
    return row;
}

static void a_stronger_source_wins(void **state)
{
    static const char yaml[] = "url: \"mem:\"\ndrain_ms: 1s\nlimits:\n  streams: 1\n";
    char *const environment[] = { "HOME=/", "PEAL_DRAIN_MS=2s", "PEAL_LIMITS_STREAMS=2",
                                  "PEAL_LOG_LEVEL=", NULL };
    static const struct service_setting flags[] = { { "limits-streams", "3" } };
    (void)state;

    struct service_config *config = read_all(yaml, environment, flags, 1);

    expect_sound(config);
    assert_string_equal(config->url, "mem:");
    assert_int_equal(config->drain_ms, 2000);
    assert_int_equal(config->limits_streams, 3);
    assert_string_equal(config->origins[row_of("limits.streams")].place, "--limits-streams");
    assert_string_equal(config->origins[0].place, "peal.yaml:1:1");
    service_config_close(config);
}

static void a_list_replaces_that_of_a_weaker_source_and_grows_within_its_own(void **state)
{
    static const struct service_setting flags[] = { { "listen", "127.0.0.1:1, 127.0.0.1:2" },
                                                    { "listen", "[::1]:3" },
                                                    { "insecure", NULL } };
    char *const environment[] = { "PEAL_LISTEN=127.0.0.1:9", NULL };
    (void)state;

    struct service_config *config =
        read_all("listen: [\"127.0.0.1:8\", \"127.0.0.1:7\"]\n", environment, flags, 3);

    expect_sound(config);
    assert_int_equal(config->listen.count, 3);
    assert_string_equal(config->listen.items[1], "127.0.0.1:2");
    assert_string_equal(config->listen.items[2], "[::1]:3");
    assert_true(config->insecure);
    service_config_close(config);
}

static void sizes_and_times_have_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t number;
    } bodies[] = { { "65536", 65536 },     { "64KiB", 65536 }, { "64 KiB", 65536 },
                   { "64K", 65536 },       { "64k", 65536 },   { "64kB", 64000 },
                   { "2MiB", 2097152 },    { "2MB", 2000000 }, { "1GiB", 1073741824 },
                   { "1048576B", 1048576 } },
      idles[] = { { "1500", 1500 },   { "1500ms", 1500 }, { "30s", 30000 },  { "5m", 300000 },
                  { "5min", 300000 }, { "2h", 7200000 },  { "1d", 86400000 } };
    (void)state;
    char text[64];

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        (void)snprintf(text, sizeof text, "limits: {body_bytes: %s}\n", bodies[i].text);
        struct service_config *config = read_yaml(text);
        expect_sound(config);
        assert_int_equal(config->limits_body_bytes, bodies[i].number);
        service_config_close(config);
    }
    for (size_t i = 0; i < sizeof idles / sizeof idles[0]; i++) {
        (void)snprintf(text, sizeof text, "limits: {idle_ms: %s}\n", idles[i].text);
        struct service_config *config = read_yaml(text);
        expect_sound(config);
        assert_int_equal(config->limits_idle_ms, idles[i].number);
        service_config_close(config);
    }
}

static void none_is_a_word_for_zero_where_zero_is_allowed(void **state)
{
    (void)state;
    struct service_config *config = read_yaml("bus: {dead_max: none, duplicate_ms: 0}\n");

    expect_sound(config);
    assert_int_equal(config->bus_dead_max, 0);
    assert_int_equal(config->bus_duplicate_ms, 0);
    service_config_close(config);
    expect_only("limits: {connections: none}\n", "peal.yaml:1:10: limits.connections: \"none\": ");
}

// ---- faults -------------------------------------------------------------------------------------

static void an_unknown_key_is_said_with_its_place_and_what_was_meant(void **state)
{
    (void)state;
    expect_only("url: \"mem:\"\nlisen: 3\n",
                "peal.yaml:2:1: there is no option \"lisen\"; did you mean listen?");
    expect_only(
        "limits:\n  streams: 1\n  line_byte: 5\n",
        "peal.yaml:3:3: limits: there is no option \"line_byte\"; did you mean line_bytes?");
    expect_only("line_bytes: 5\n", "peal.yaml:1:1: there is no option \"line_bytes\"; did you mean "
                                   "limits.line_bytes?");
    expect_only("limits: {drain_ms: 5}\n",
                "peal.yaml:1:10: limits: there is no option \"drain_ms\"; did you mean drain_ms, "
                "which stands outside of limits?");
    expect_only("limit: {streams: [{a: b}, c]}\n",
                "peal.yaml:1:1: there is no option \"limit\"; did you mean limits?");
    expect_only("limits.streams: 5\n", "peal.yaml:1:1: there is no option \"limits.streams\"");
    expect_only("zzzzzz: {a: {b: [c]}}\ndrain_ms: 1s\n",
                "peal.yaml:1:1: there is no option \"zzzzzz\"");
}

static void a_value_of_another_type_is_said(void **state)
{
    static const char *const wrong[][2] = {
        { "limits: {streams: many}\n", "\"many\": a whole number is wanted" },
        { "limits: {streams: -1}\n", "\"-1\": a whole number is wanted" },
        { "limits: {streams: 1.5}\n", "\"1.5\": a whole number is wanted" },
        { "limits: {streams: \"\"}\n", "\"\": a whole number is wanted" },
        { "limits: {streams: 1K}\n", "\"1K\": a whole number is wanted" },
        { "limits: {streams: 99999999999999999999}\n", "\"99999999999999999999\": a whole" },
        { "limits: {streams: 18446744073709551615}\n", "\"18446744073709551615\": a whole" },
        { "limits: {streams: [1]}\n", "one value is wanted, and this is a list" },
        { "limits: {streams: {a: 1}}\n", "one value is wanted, and this is a mapping" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct service_config *config = read_yaml(wrong[i][0]);
        assert_int_equal(config->fault_count, 1);
        assert_memory_equal(config->faults[0].place, "peal.yaml:1:1", 13);
        assert_non_null(strstr(config->faults[0].text, "limits.streams: "));
        assert_non_null(strstr(config->faults[0].text, wrong[i][1]));
        service_config_close(config);
    }
    expect_only("limits: {body_bytes: 5parsec}\n",
                "peal.yaml:1:10: limits.body_bytes: \"5parsec\": a size is wanted");
    expect_only("limits: {body_bytes: 5m}\n",
                "peal.yaml:1:10: limits.body_bytes: \"5m\": a size is wanted");
    expect_only("limits: {body_bytes: 99999999999TiB}\n",
                "peal.yaml:1:10: limits.body_bytes: \"99999999999TiB\": a size is wanted");
    expect_only("drain_ms: 5MiB\n", "peal.yaml:1:1: drain_ms: \"5MiB\": a time is wanted");
    expect_only("insecure: maybe\n", "peal.yaml:1:1: insecure: \"maybe\": true or false is wanted");
    expect_only("tracing: {sample: 1.5}\n", "peal.yaml:1:11: tracing.sample: \"1.5\": a share");
    expect_only("tracing: {sample: nan}\n", "peal.yaml:1:11: tracing.sample: \"nan\": a share");
    expect_only("log: {level: warn}\n", "peal.yaml:1:7: log.level: \"warn\" is none of "
                                        "debug|info|warning|error; did you mean warning?");
    expect_only("log: {level: loud}\n",
                "peal.yaml:1:7: log.level: \"loud\" is none of debug|info|warning|error\n");
}

static void a_value_beyond_its_limits_is_said_with_them(void **state)
{
    (void)state;
    expect_only("limits: {line_bytes: 5}\n", "peal.yaml:1:10: limits.line_bytes: \"5\" is beyond "
                                             "the limits: 256B to 64KiB");
    expect_only("limits: {json_depth: 128}\n",
                "peal.yaml:1:10: limits.json_depth: \"128\" is beyond the limits: 1 to 127");
    expect_only("drain_ms: 61m\n",
                "peal.yaml:1:1: drain_ms: \"61m\" is beyond the limits: 0 to 1h");
}

static void what_has_no_value_or_two_is_said(void **state)
{
    (void)state;
    expect_only("url:\n", "peal.yaml:1:5: url has no value: ");
    expect_only("url: ~\n", "peal.yaml:1:6: url has no value: ");
    expect_only("url: \"mem:\"\ndrain_ms: 1\nurl: \"b\"\n",
                "peal.yaml:3:1: url is given twice: at peal.yaml:1:1 as well");
    expect_only("log: {level: info}\nlog: {format: text}\n",
                "peal.yaml:2:1: the section log begins twice");
    expect_only("log: info\n", "peal.yaml:1:6: log is a section: ");
    expect_only("- a\n- b\n", "peal.yaml:1:1: options are wanted");
    expect_only("url: \"a\\0b\"\n", "peal.yaml:1:6: url: there is a zero byte in it");
    expect_only("[a, b]: c\n", "peal.yaml:1:1: the name of an option: one value is wanted");
    expect_only("listen: []\n", "peal.yaml:1:1: listen: there is no address");
}

static void what_is_no_yaml_is_said_with_its_place(void **state)
{
    (void)state;
    expect_only("url: \"mem:\"\n  x: [\n", "peal.yaml:2:3: not YAML: ");
    expect_only("url: \"mem:\"\nlog: {level: info\n", "peal.yaml:3:1: not YAML: ");
    expect_only("\tx: 1\n", "peal.yaml:1:1: not YAML: ");
    expect_only("url: \"mem:\"\n---\nurl: \"mem:\"\n",
                "peal.yaml:2:1: a second document begins here");
    expect_only("url: &a \"mem:\"\ndrain_ms: *a\n",
                "peal.yaml:2:11: drain_ms: one value is wanted, "
                "and this is an alias");
    expect_only("url: \xff\xfe\n", "peal.yaml:1:");
}

static void every_fault_is_said_not_only_the_first(void **state)
{
    char *const environment[] = { "PEAL_LIMITS_STREAM=1", "PEAL_DRAIN_MS=soon", "PEAL_EFFORT=100",
                                  "PEAL_AUTH_TOKENS=x", NULL };
    static const struct service_setting flags[] = { { "lisen", "x" }, { "log-level", "x" } };
    (void)state;

    struct service_config *config =
        read_all("a: 1\nb: 2\nlog: {level: x, form: y}\nurl: \"\"\n", environment, flags, 2);

    expect_fault(config, "peal.yaml:1:1: ");
    expect_fault(config, "peal.yaml:2:1: ");
    expect_fault(config, "peal.yaml:3:7: ");
    expect_fault(config, "peal.yaml:3:17: log: there is no option \"form\"; did you mean format?");
    expect_fault(config, "peal.yaml:4:1: url: ");
    expect_fault(config, "PEAL_LIMITS_STREAM: there is no such option; did you mean "
                         "PEAL_LIMITS_STREAMS?");
    expect_fault(config, "PEAL_DRAIN_MS: drain_ms: \"soon\"");
    expect_fault(config, "PEAL_AUTH_TOKENS: auth.tokens stands in a file only");
    expect_fault(config, "--lisen: there is no such option; did you mean --listen?");
    expect_fault(config, "--log-level: log.level: \"x\" is none of");
    assert_int_equal(config->fault_count, 10);
    service_config_close(config);
}

static void faults_and_lists_have_a_limit(void **state)
{
    (void)state;
    char *yaml = calloc(1, 40000);
    size_t used = 0;
    assert_non_null(yaml);
    for (int i = 0; i < 300; i++) {
        used += (size_t)snprintf(yaml + used, 40000 - used, "key%d: 1\n", i);
    }
    struct service_config *config = read_yaml(yaml);
    assert_int_equal(config->fault_count, SERVICE_FAULTS_MAX);
    expect_fault(config, "and perhaps more");
    service_config_close(config);

    used = (size_t)snprintf(yaml, 40000, "cors: {origins: [");
    for (int i = 0; i < 1025; i++) {
        used += (size_t)snprintf(yaml + used, 40000 - used, "http://a:%d,", i);
    }
    (void)snprintf(yaml + used, 40000 - used, "]}\n");
    config = read_yaml(yaml);
    assert_int_equal(config->fault_count, 1);
    assert_non_null(strstr(config->faults[0].text, "at most 1024 items"));
    assert_int_equal(config->cors_origins.count, 1024);
    service_config_close(config);
    free(yaml);
}

static void a_fault_cannot_command_a_terminal(void **state)
{
    (void)state;
    struct service_config *config = read_yaml("\"a\\e[2Jb\\nc\": 1\n");

    assert_int_equal(config->fault_count, 1);
    assert_string_equal(config->faults[0].text, "there is no option \"a?[2Jb?c\"");
    service_config_close(config);
}

// ---- files --------------------------------------------------------------------------------------

static struct folder folder;
static char path[160];

static int begin_file(void **state)
{
    (void)state;
    folder_open(&folder, "");
    (void)snprintf(path, sizeof path, "%s/peal.yaml", folder.path);
    return 0;
}

static int end_file(void **state)
{
    (void)state;
    folder_close(&folder);
    return 0;
}

static void put(const char *name, const char *text)
{
    char whole[200];
    (void)snprintf(whole, sizeof whole, "%s/%s", folder.path, name);
    FILE *out = fopen(whole, "we");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static struct service_config *read_path(void)
{
    struct service_config *config = NULL;
    const struct service_sources sources = { .file = path };
    assert_int_equal(service_config_read(&config, &sources), PEAL_OK);
    return config;
}

static void a_file_is_read_from_disk(void **state)
{
    (void)state;
    put("peal.yaml", "drain_ms: 3s\n");

    struct service_config *config = read_path();

    expect_sound(config);
    assert_string_equal(config->file, path);
    assert_int_equal(config->drain_ms, 3000);
    service_config_close(config);
}

static void a_file_that_was_named_must_be_there(void **state)
{
    (void)state;
    struct service_config *config = read_path();

    assert_int_equal(config->fault_count, 1);
    assert_string_equal(config->faults[0].place, path);
    assert_string_equal(config->faults[0].text, "cannot be opened: No such file or directory");
    service_config_close(config);

    (void)snprintf(path, sizeof path, "%s", folder.path);
    config = read_path();
    assert_int_equal(config->fault_count, 1);
    assert_non_null(strstr(config->faults[0].text, "cannot be read"));
    service_config_close(config);
}

static void a_file_that_everybody_may_write_to_is_refused(void **state)
{
    (void)state;
    put("peal.yaml", "drain_ms: 3s\n");
    assert_int_equal(chmod(path, 0666), 0);

    struct service_config *config = read_path();

    assert_int_equal(config->fault_count, 1);
    assert_non_null(strstr(config->faults[0].text, "chmod o-w"));
    service_config_close(config);
}

static void a_file_larger_than_any_configuration_is_refused(void **state)
{
    (void)state;
    put("peal.yaml", "");
    assert_int_equal(truncate(path, (4 << 20) + 1), 0);

    struct service_config *config = read_path();

    assert_int_equal(config->fault_count, 1);
    assert_non_null(strstr(config->faults[0].text, "larger than 4194304 bytes"));
    service_config_close(config);
}

static void tls_wants_both_files_and_they_must_be_there(void **state)
{
    (void)state;
    char yaml[600];
    put("a.pem", "");
    (void)snprintf(yaml, sizeof yaml, "tls: {certificate: %s/a.pem}\n", folder.path);
    expect_only(yaml, "peal.yaml:1:7: tls.certificate: tls.key is wanted with it");
    (void)snprintf(yaml, sizeof yaml, "tls: {key: %s/a.pem}\n", folder.path);
    expect_only(yaml, "peal.yaml:1:7: tls.key: tls.certificate is wanted with it");
    (void)snprintf(yaml, sizeof yaml, "tls: {client_ca: %s/a.pem}\n", folder.path);
    expect_only(yaml, "peal.yaml:1:7: tls.client_ca: clients show certificates over TLS only");
    (void)snprintf(yaml, sizeof yaml, "tls:\n  certificate: %s/a.pem\n  key: %s/none.pem\n",
                   folder.path, folder.path);
    expect_only(yaml, "peal.yaml:3:3: tls.key: ");
    (void)snprintf(yaml, sizeof yaml, "tls:\n  certificate: %s/a.pem\n  key: %s/a.pem\n",
                   folder.path, folder.path);
    expect_only(yaml, "peal.yaml:2:3: cannot speak TLS: ");
}

static void texts_of_a_form_are_checked(void **state)
{
    (void)state;
    expect_only("cors: {origins: [\"http://a/b\"]}\n",
                "peal.yaml:1:8: cors.origins: \"http://a/b\"");
    expect_only("cors: {origins: a}\n", "peal.yaml:1:8: cors.origins: \"a\" is no origin");
    expect_only("webhooks: {allow: \"http://a\"}\n",
                "peal.yaml:1:12: webhooks.allow: \"http://a\"");
    expect_only("webhooks: {allow: [a.example, 10.0.0.0/99]}\n",
                "peal.yaml:1:12: webhooks.allow: \"10.0.0.0/99\"");
    expect_only("tracing: {otlp_url: \"localhost:4318\"}\n", "peal.yaml:1:11: tracing.otlp_url: ");
    struct service_config *config =
        read_yaml("cors: {origins: [\"https://a.example:8443\", \"*\"]}\n"
                  "webhooks: {allow: [10.0.0.0/8, \"hooks.example\"]}\n"
                  "tracing: {otlp_url: \"http://127.0.0.1:4318/v1/traces\", sample: 0.25}\n");
    expect_sound(config);
    assert_true(config->tracing_sample == 0.25);
    service_config_close(config);
}

// As the library would refuse them when the service opens its log; but nothing is opened.
static void a_url_and_the_options_of_its_bus_are_checked_without_opening_it(void **state)
{
    (void)state;
    char yaml[600], log[200];
    expect_only("url: kafka://x\n", "peal.yaml:1:1: url: \"kafka:\" is not an engine");
    expect_only("url: \"http://127.0.0.1:1?token=x\"\n",
                "peal.yaml:1:1: url: http: is the log of another service");
    expect_only("url: events\n", "peal.yaml:1:1: url: the URL is wrong at character");
    expect_only("url: \"mem:?foo=1\"\n", "peal.yaml:1:1: url: mem: has no parameter 'foo'");
    expect_only("url: \"mem:?workers=many\"\n", "peal.yaml:1:1: url: ");
    expect_only("url: \"mem:?source=/shop&workers=many\"\n", "peal.yaml:1:1: url: ");
    expect_only("url: \"mem:?source=/shop\"\nbus: {segment_bytes: 1MiB}\n",
                "peal.yaml:1:1: bus, with this url: mem: has memory only");
    expect_only("url: \"mem:\"\nbus: {segment_bytes: 1MiB}\n",
                "peal.yaml:1:1: bus, with this url: mem: has memory only");
    expect_only("url: \"mem:\"\nbus: {memory_max: 1MiB, history_bytes: 8MiB}\n",
                "peal.yaml:1:1: bus, with this url: history_bytes 8388608");
    static const char *const sound[] = { "", "?source=/shop", "?workers=2&segment_bytes=1M" };
    (void)snprintf(log, sizeof log, "%s/log", folder.path);
    for (size_t i = 0; i < sizeof sound / sizeof sound[0]; i++) {
        (void)snprintf(yaml, sizeof yaml, "url: \"file:%s%s\"\nbus: {durability: disk}\n", log,
                       sound[i]);
        struct service_config *config = read_yaml(yaml);
        expect_sound(config);
        service_config_close(config);
        assert_int_equal(access(log, F_OK), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_says_the_defaults),
        cmocka_unit_test(a_stronger_source_wins),
        cmocka_unit_test(a_list_replaces_that_of_a_weaker_source_and_grows_within_its_own),
        cmocka_unit_test(sizes_and_times_have_units),
        cmocka_unit_test(none_is_a_word_for_zero_where_zero_is_allowed),
        cmocka_unit_test(an_unknown_key_is_said_with_its_place_and_what_was_meant),
        cmocka_unit_test(a_value_of_another_type_is_said),
        cmocka_unit_test(a_value_beyond_its_limits_is_said_with_them),
        cmocka_unit_test(what_has_no_value_or_two_is_said),
        cmocka_unit_test(what_is_no_yaml_is_said_with_its_place),
        cmocka_unit_test(every_fault_is_said_not_only_the_first),
        cmocka_unit_test(faults_and_lists_have_a_limit),
        cmocka_unit_test(a_fault_cannot_command_a_terminal),
        cmocka_unit_test_setup_teardown(a_file_is_read_from_disk, begin_file, end_file),
        cmocka_unit_test_setup_teardown(a_file_that_was_named_must_be_there, begin_file, end_file),
        cmocka_unit_test_setup_teardown(a_file_that_everybody_may_write_to_is_refused, begin_file,
                                        end_file),
        cmocka_unit_test_setup_teardown(a_file_larger_than_any_configuration_is_refused, begin_file,
                                        end_file),
        cmocka_unit_test_setup_teardown(tls_wants_both_files_and_they_must_be_there, begin_file,
                                        end_file),
        cmocka_unit_test(texts_of_a_form_are_checked),
        cmocka_unit_test(a_url_and_the_options_of_its_bus_are_checked_without_opening_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
