// SPDX-License-Identifier: MIT
//
// Any bytes as a configuration file: it is sound, or every fault has a place and a sentence of one
// line. What is sound is printed, read again and the same.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/config.h"

// An assert that a build without asserts keeps.
static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static struct service_config *read_bytes(const char *bytes, size_t size)
{
    struct service_config *config = NULL;
    const struct service_sources sources = { .file = "f", .text = bytes, .text_size = size };
    check(service_config_read(&config, &sources) == PEAL_OK);
    return config;
}

static void check_faults(const struct service_config *config)
{
    for (size_t i = 0; i < config->fault_count; i++) {
        check(config->faults[i].place[0] && config->faults[i].text[0]);
        for (const char *text = config->faults[i].text; *text; text++) {
            check((unsigned char)*text >= ' ' && *text != 0x7f);
        }
    }
}

// Passwords are not printed, tokens of another file neither.
static bool is_secretive(const struct service_config *config, const char *printed)
{
    return strstr(printed, "***") || *config->auth_tokens_file;
}

static void check_print(const struct service_config *config)
{
    struct service_change changes[SERVICE_OPTION_COUNT];
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    check(out);
    service_config_print(config, out);
    check(fclose(out) == 0);
    struct service_config *again = read_bytes(text, size);
    if (!is_secretive(config, text)) {
        check(again->fault_count == 0);
        check(service_config_diff(changes, config, again) == 0);
        check(service_config_carry(again, config) == PEAL_OK);
        check(service_config_diff(changes, config, again) == 0);
    }
    service_config_close(again);
    free(text);
}

// The name is libFuzzer's.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); // NOLINT
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct service_config *config = read_bytes((const char *)data, size);
    check_faults(config);
    if (config->fault_count == 0) {
        check_print(config);
    }
    service_config_close(config);
    return 0;
}
