// SPDX-License-Identifier: MIT
//
// Config: the table, the memory, and the order of the sources.
//
// All memory of a config hangs on one list and goes with it. Reading never stops at a fault: the
// row keeps its older value, which nobody uses, since a config with faults is not served.
#include "service/config.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "net/words.h"
#include "service/config_inside.h"

#define LIVE    true
#define RESTART false
#define ROW(member, name, flag, kind, value, usual, least, most, live, help)                       \
    { name,  flag, SERVICE_##kind, value, usual,                                                   \
      least, most, live,           help,  offsetof(struct service_config, member) },

const struct service_option service_config_options[SERVICE_OPTION_COUNT] = { SERVICE_OPTIONS(ROW) };

struct service_kept {
    struct service_kept *next;
    _Alignas(max_align_t) char bytes[];
};

void *config_room(struct service_config *config, size_t size)
{
    struct service_kept *kept = calloc(1, sizeof *kept + size);
    if (!kept) {
        config->starved = true;
        return NULL;
    }
    kept->next = config->memory;
    config->memory = kept;
    return kept->bytes;
}

const char *config_keep(struct service_config *config, const char *text, size_t size)
{
    char *copy = config_room(config, size + 1);
    if (!copy) {
        return "";
    }
    memcpy(copy, text, size);
    return copy;
}

const char *config_keep_format(struct service_config *config, const char *format, ...)
{
    char text[SERVICE_SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments); // what is longer is cut
    va_end(arguments);
    return config_keep(config, text, strlen(text));
}

// Nothing in a fault can command a terminal.
static void soften(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            *text = '?';
        }
    }
}

void config_fault(struct service_config *config, const char *place, const char *format, ...)
{
    char text[SERVICE_SENTENCE_MAX];
    if (config->fault_count == SERVICE_FAULTS_MAX) {
        return;
    }
    if (!config->faults) {
        config->faults = config_room(config, SERVICE_FAULTS_MAX * sizeof *config->faults);
    }
    if (!config->faults) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments); // what is longer is cut
    va_end(arguments);
    soften(text);
    config->faults[config->fault_count++] =
        (struct service_fault){ place, config_keep(config, text, strlen(text)) };
}

// ---- rows ---------------------------------------------------------------------------------------

size_t config_row(const char *name, size_t length)
{
    size_t row = 0;
    while (row < SERVICE_OPTION_COUNT &&
           (strncmp(service_config_options[row].name, name, length) != 0 ||
            service_config_options[row].name[length])) {
        row++;
    }
    return row;
}

size_t config_row_of_flag(const char *flag)
{
    size_t row = 0;
    while (row < SERVICE_OPTION_COUNT &&
           (!*flag || strcmp(service_config_options[row].flag, flag) != 0)) {
        row++;
    }
    return row;
}

bool config_is_text(enum service_kind kind)
{
    return kind == SERVICE_TEXT || kind == SERVICE_FILE || kind == SERVICE_URL;
}

void *config_value(struct service_config *config, size_t row)
{
    return (char *)config + service_config_options[row].place;
}

const void *config_value_of(const struct service_config *config, size_t row)
{
    return (const char *)config + service_config_options[row].place;
}

// ---- setting ------------------------------------------------------------------------------------

void config_list_add(struct service_config *config, struct service_list *list, const char *place,
                     const char *text)
{
    if (list->count == SERVICE_LIST_MAX) {
        config_fault(config, place, "a list has at most %d items", SERVICE_LIST_MAX);
        return;
    }
    if ((list->count & (list->count - 1)) == 0) { // full, at 0, 1, 2, 4, ...
        const char **items =
            config_room(config, (list->count ? 2 * list->count : 1) * sizeof *items);
        if (!items) {
            return;
        }
        if (list->count) {
            memcpy(items, list->items, list->count * sizeof *items);
        }
        list->items = items;
    }
    list->items[list->count++] = config_keep(config, text, strlen(text));
}

// Items between commas, without the spaces around them.
static void add_items(struct service_config *config, struct service_list *list, const char *place,
                      const char *text)
{
    while (*text) {
        text += strspn(text, " ,");
        size_t length = strcspn(text, ",");
        size_t used = length;
        while (used > 0 && text[used - 1] == ' ') {
            used--;
        }
        if (used > 0) {
            config_list_add(config, list, place, config_keep(config, text, used));
        }
        text += length;
    }
}

static void set_list(struct service_config *config, size_t row, struct service_origin origin,
                     const char *text)
{
    struct service_list *list = config_value(config, row);
    if (origin.source != config->origins[row].source) {
        *list = (struct service_list){ 0 };
    }
    if (origin.source == SERVICE_IN_FILE) {
        config_list_add(config, list, origin.place, text);
    } else {
        add_items(config, list, origin.place, text);
    }
}

void config_set(struct service_config *config, size_t row, struct service_origin origin,
                const char *text)
{
    const struct service_option *option = &service_config_options[row];
    char wrong[SERVICE_SENTENCE_MAX];
    switch (option->kind) {
    case SERVICE_TOKENS:
        config_fault(config, origin.place, "%s stands in a file only: there, or in the file of %s",
                     option->name, "auth.tokens_file");
        return;
    case SERVICE_LIST:
        set_list(config, row, origin, text);
        break;
    case SERVICE_TEXT:
    case SERVICE_FILE:
    case SERVICE_URL:
        *(const char **)config_value(config, row) = config_keep(config, text, strlen(text));
        break;
    default:
        if (!config_value_read(config_value(config, row), option, text, wrong)) {
            config_fault(config, origin.place, "%s: %s", option->name, wrong);
        }
        break;
    }
    config->origins[row] = origin;
}

static void set_usual(struct service_config *config)
{
    const struct service_origin origin = { SERVICE_DEFAULT, "default" };
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        const struct service_option *option = &service_config_options[row];
        bool number = option->kind == SERVICE_COUNT || option->kind == SERVICE_BYTES ||
                      option->kind == SERVICE_TIME;
        config->origins[row] = origin;
        if (number && !*option->usual) {
            *(uint64_t *)config_value(config, row) = SERVICE_UNSET;
        } else if (config_is_text(option->kind)) {
            *(const char **)config_value(config, row) = option->usual;
        } else if (*option->usual) {
            config_set(config, row, origin, option->usual);
        }
    }
}

static void set_given(struct service_config *config, const struct service_setting *setting)
{
    const char *place = config_keep_format(config, "--%s", setting->flag);
    size_t row = config_row_of_flag(setting->flag);
    if (row == SERVICE_OPTION_COUNT) {
        const char *names[SERVICE_OPTION_COUNT];
        for (size_t i = 0; i < SERVICE_OPTION_COUNT; i++) {
            names[i] = service_config_options[i].flag;
        }
        const char *near = words_nearest(setting->flag, names, SERVICE_OPTION_COUNT);
        config_fault(config, place, "there is no such option%s%s%s",
                     near ? "; did you mean --" : "", near ? near : "", near ? "?" : "");
        return;
    }
    config_set(config, row, (struct service_origin){ SERVICE_GIVEN, place },
               setting->text ? setting->text : "true");
}

// ---- reading ------------------------------------------------------------------------------------

static void read_file(struct service_config *config, const struct service_sources *sources)
{
    const char *file = sources->file ? sources->file : SERVICE_CONFIG_FILE;
    const char *name = config_keep(config, file, strlen(file));
    const char *text = sources->text;
    size_t size = sources->text_size;
    if (!text) {
        text = config_file_read(config, name, !sources->file, &size);
    }
    if (text) {
        config->file = name;
        config_read_yaml(config, name, text, size);
    }
}

enum peal_err service_config_read(struct service_config **out,
                                  const struct service_sources *sources)
{
    struct service_config *config = calloc(1, sizeof *config);
    if (!config) {
        return PEAL_ENOMEM;
    }
    set_usual(config);
    read_file(config, sources);
    if (sources->environment) {
        config_read_environment(config, sources->environment);
    }
    for (size_t i = 0; i < sources->flag_count; i++) {
        set_given(config, &sources->flags[i]);
    }
    config_tokens_file(config);
    config_check(config);
    if (config->starved) {
        service_config_close(config);
        return PEAL_ENOMEM;
    }
    *out = config;
    return PEAL_OK;
}

void service_config_close(struct service_config *config)
{
    if (!config) {
        return;
    }
    for (struct service_kept *kept = config->memory; kept;) {
        struct service_kept *next = kept->next;
        free(kept);
        kept = next;
    }
    free(config);
}
