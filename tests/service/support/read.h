// SPDX-License-Identifier: MIT
//
// Read: a configuration from texts of the test's, and what was said of it.
//
//     struct service_config *config = read_yaml("limits: {line_bytes: 1}\n");
//     expect_fault(config, "peal.yaml:1:10: limits.line_bytes: ");
//     service_config_close(config);
//
// Include cmocka.h first.
#ifndef TESTS_SERVICE_READ_H
#define TESTS_SERVICE_READ_H

#include <stdlib.h>
#include <string.h>

#include "service/config.h"

#define READ_HASH_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define READ_HASH_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

// With a file of this content, called peal.yaml, and these environment and flags.
static inline struct service_config *read_all(const char *yaml, char *const *environment,
                                              const struct service_setting *flags,
                                              size_t flag_count)
{
    struct service_config *config = NULL;
    const struct service_sources sources = {
        .file = "peal.yaml",
        .text = yaml,
        .text_size = strlen(yaml),
        .environment = environment,
        .flags = flags,
        .flag_count = flag_count,
    };
    assert_int_equal(service_config_read(&config, &sources), PEAL_OK);
    return config;
}

static inline struct service_config *read_yaml(const char *yaml)
{
    return read_all(yaml, NULL, NULL, 0);
}

// What is said of a config, in memory of the caller's.
static inline char *said(const struct service_config *config,
                         void (*say)(const struct service_config *, FILE *))
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    say(config, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static inline void expect_sound(const struct service_config *config)
{
    char *text = said(config, service_config_print_faults);
    assert_string_equal(text, "");
    free(text);
}

// A line begins so; if it is the only fault, say `count` 1.
static inline void expect_fault(const struct service_config *config, const char *begins)
{
    char *text = said(config, service_config_print_faults);
    const char *place = text;
    bool found = false;
    while (*place && !found) {
        found = strncmp(place, begins, strlen(begins)) == 0;
        place += strcspn(place, "\n");
        place += *place == '\n';
    }
    if (!found) {
        print_error("wanted: %s\nsaid:\n%s", begins, text);
    }
    free(text);
    assert_true(found);
}

// What is wrong with a file, and nothing else is.
static inline void expect_only(const char *yaml, const char *begins)
{
    struct service_config *config = read_yaml(yaml);
    expect_fault(config, begins);
    if (config->fault_count != 1) {
        service_config_print_faults(config, stderr);
    }
    assert_int_equal(config->fault_count, 1);
    service_config_close(config);
}

#endif
