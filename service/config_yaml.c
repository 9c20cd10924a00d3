// SPDX-License-Identifier: MIT
//
// The file: a mapping of options, and of sections, which are mappings of options.
//
// A key is looked up in the table as `key` or `section.key`. One that nobody knows is a fault with
// its place and what was probably meant, and its value is passed over, so that reading goes on.
#include <string.h>

#include "net/words.h"
#include "service/config_inside.h"

enum { NAMES_MAX = 2 * SERVICE_OPTION_COUNT, SECTION_MAX = 32, KEY_MAX = 64 };

// A file as it is read.
struct reading {
    struct config_yaml yaml;
    const char *sections[SECTION_MAX]; // those read, to see one that comes twice
    size_t section_count;
};

// Names of a section (those without one: ""), without it.
struct names {
    const char *items[NAMES_MAX];
    size_t count;
};

static size_t section_length(const char *name)
{
    const char *dot = strchr(name, '.');
    return dot ? (size_t)(dot - name) : 0;
}

static bool in_section(const struct service_option *option, const char *section)
{
    size_t length = section_length(option->name);
    return length == strlen(section) && strncmp(option->name, section, length) == 0;
}

static bool is_section(const char *name)
{
    for (size_t row = 0; *name && row < SERVICE_OPTION_COUNT; row++) {
        if (in_section(&service_config_options[row], name)) {
            return true;
        }
    }
    return false;
}

static const char *behind_section(const struct service_option *option)
{
    size_t length = section_length(option->name);
    return option->name + length + (length > 0);
}

static void collect(struct names *names, const char *section)
{
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        if (in_section(&service_config_options[row], section)) {
            names->items[names->count++] = behind_section(&service_config_options[row]);
        }
    }
}

// What a key that stands in the wrong section would be called in the right one.
static const char *elsewhere(const char *key)
{
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        if (strcmp(behind_section(&service_config_options[row]), key) == 0) {
            return service_config_options[row].name;
        }
    }
    return NULL;
}

static void refuse_key(struct reading *reading, const char *section, const char *key)
{
    char sections[SERVICE_OPTION_COUNT][SECTION_MAX];
    struct names names = { 0 };
    collect(&names, section);
    for (size_t row = 0; !*section && row < SERVICE_OPTION_COUNT; row++) {
        (void)snprintf(sections[row], SECTION_MAX, "%.*s", // it fits
                       (int)section_length(service_config_options[row].name),
                       service_config_options[row].name);
        if (*sections[row]) {
            names.items[names.count++] = sections[row];
        }
    }
    const char *near = elsewhere(key);
    bool outside = *section && near && !strchr(near, '.');
    near = near ? near : words_nearest(key, names.items, names.count);
    config_fault(reading->yaml.config, config_yaml_place(&reading->yaml),
                 "%s%sthere is no option \"%.60s\"%s%s%s%s%s", section, *section ? ": " : "", key,
                 near ? "; did you mean " : "", near ? near : "",
                 outside ? ", which stands outside of " : "", outside ? section : "",
                 near ? "?" : "");
}

// ---- values -------------------------------------------------------------------------------------

static void read_value(struct reading *reading, size_t row, struct service_origin origin)
{
    struct config_yaml *yaml = &reading->yaml;
    struct service_config *config = yaml->config;
    const struct service_option *option = &service_config_options[row];
    if (option->kind == SERVICE_LIST && yaml->event.type == YAML_SEQUENCE_START_EVENT) {
        struct service_list list = { 0 };
        config_yaml_list(yaml, &list, option->name);
        *(struct service_list *)config_value(config, row) = list;
        config->origins[row] = origin;
        return;
    }
    if (option->kind == SERVICE_TOKENS) {
        config_tokens_yaml(yaml, false);
        config->origins[row] = origin;
        return;
    }
    const char *text = config_yaml_text(yaml, option->name);
    if (text) {
        config_set(config, row, origin, text);
    }
}

static void read_option(struct reading *reading, size_t row)
{
    struct config_yaml *yaml = &reading->yaml;
    const struct service_origin before = yaml->config->origins[row];
    struct service_origin origin = { SERVICE_IN_FILE, config_yaml_place(yaml) };
    (void)config_yaml_next(yaml);
    if (before.source == SERVICE_IN_FILE) {
        config_fault(yaml->config, origin.place, "%s is given twice: at %s as well",
                     service_config_options[row].name, before.place);
        config_yaml_skip(yaml);
        return;
    }
    read_value(reading, row, origin);
}

// Every key of a mapping, with what is done with it.
static void read_keys(struct reading *reading, const char *section,
                      void (*each)(struct reading *reading, const char *section, const char *key))
{
    struct config_yaml *yaml = &reading->yaml;
    while (config_yaml_next(yaml) != YAML_MAPPING_END_EVENT && !yaml->ended) {
        const char *key = config_yaml_text(yaml, "the name of an option");
        if (key) {
            each(reading, section, key);
        } else {
            (void)config_yaml_next(yaml);
            config_yaml_skip(yaml);
        }
    }
}

static void read_in_section(struct reading *reading, const char *section, const char *key)
{
    char name[SECTION_MAX + KEY_MAX];
    int length = snprintf(name, sizeof name, "%s.%s", section, key);
    size_t row =
        length < (int)sizeof name ? config_row(name, (size_t)length) : (size_t)SERVICE_OPTION_COUNT;
    if (row < SERVICE_OPTION_COUNT) {
        read_option(reading, row);
        return;
    }
    refuse_key(reading, section, key);
    (void)config_yaml_next(&reading->yaml);
    config_yaml_skip(&reading->yaml);
}

static void read_section(struct reading *reading, const char *section)
{
    struct config_yaml *yaml = &reading->yaml;
    for (size_t i = 0; i < reading->section_count; i++) {
        if (strcmp(reading->sections[i], section) == 0) {
            config_fault(yaml->config, config_yaml_place(yaml), "the section %s begins twice",
                         section);
        }
    }
    if (reading->section_count < SECTION_MAX) {
        reading->sections[reading->section_count++] = section;
    }
    (void)config_yaml_next(yaml);
    if (yaml->event.type == YAML_MAPPING_START_EVENT) {
        read_keys(reading, section, read_in_section);
    } else if (!config_yaml_nothing(yaml)) { // one whose options are all commented out is fine
        config_fault(yaml->config, config_yaml_place(yaml),
                     "%s is a section: its options stand below it, indented", section);
        config_yaml_skip(yaml);
    }
}

static void read_outside(struct reading *reading, const char *section, const char *key)
{
    size_t row = strchr(key, '.') ? (size_t)SERVICE_OPTION_COUNT : config_row(key, strlen(key));
    if (row < SERVICE_OPTION_COUNT) {
        read_option(reading, row);
    } else if (is_section(key)) {
        read_section(reading, key);
    } else {
        refuse_key(reading, section, key);
        (void)config_yaml_next(&reading->yaml);
        config_yaml_skip(&reading->yaml);
    }
}

void config_read_yaml(struct service_config *config, const char *file, const char *text,
                      size_t size)
{
    struct reading reading = { 0 };
    struct config_yaml *yaml = &reading.yaml;
    if (!config_yaml_begin(yaml, config, file)) {
        return;
    }
    yaml_parser_set_input_string(&yaml->parser, (const unsigned char *)text, size);
    if (config_yaml_open(yaml)) {
        if (yaml->event.type == YAML_MAPPING_START_EVENT) {
            read_keys(&reading, "", read_outside);
        } else {
            config_fault(config, config_yaml_place(yaml),
                         "options are wanted, each as name: value");
            config_yaml_skip(yaml);
        }
    }
    config_yaml_shut(yaml);
    config_yaml_end(yaml);
}
