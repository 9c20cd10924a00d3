// SPDX-License-Identifier: MIT
//
// Serve's configuration: the table of the service, turned into one of the verb; what was given,
// turned back into names and texts.
#include "cli/serve_config.h"

#include <unistd.h>

enum { OWN = 3, SETTINGS_MAX = CLI_OPTIONS_MAX + 4 * CLI_LIST_MAX };

#define ROW_TEXT(member, flag, value, help)                                                        \
    { flag, 0, CLI_TEXT, value, help, offsetof(struct serve_given, member) },
#define ROW_FILE(member, flag, value, help)                                                        \
    { flag, 0, CLI_FILE, value, help, offsetof(struct serve_given, member) },
#define ROW_FLAG(member, flag, value, help)                                                        \
    { flag, 0, CLI_FLAG, value, help, offsetof(struct serve_given, member) },
#define ROW_LIST(member, flag, value, help)                                                        \
    { flag, 0, CLI_LIST, value, help, offsetof(struct serve_given, member) },
#define ROW_COUNT  ROW_TEXT
#define ROW_BYTES  ROW_TEXT
#define ROW_TIME   ROW_TEXT
#define ROW_SHARE  ROW_TEXT
#define ROW_CHOICE ROW_TEXT
#define ROW_SWITCH ROW_TEXT
#define ROW_URL(member, flag, value, help)
#define ROW_TOKENS(member, flag, value, help)
#define ROW(member, name, flag, kind, value, usual, least, most, when, help)                       \
    ROW_##kind(member, flag, value, help)

const struct cli_option serve_options[] = {
    { "config", 'c', CLI_FILE, "FILE",
      "what it is to be; default: /etc/peal/peal.yaml, if it is there",
      offsetof(struct serve_given, config) },
    { "check-config", 0, CLI_FLAG, NULL, "say what is wrong with that, or what it means, and end",
      offsetof(struct serve_given, check) },
    { "port-file", 0, CLI_FILE, "FILE", "write the port it listens on to a file, when it does",
      offsetof(struct serve_given, port_file) },
    // cppcheck-suppress unknownMacro // it is in service/config_options.h
    SERVICE_OPTIONS(ROW) CLI_END,
};

struct settings {
    struct service_setting items[SETTINGS_MAX];
    size_t count;
};

static void add(struct settings *settings, const char *flag, const char *text)
{
    if (settings->count < SETTINGS_MAX) { // lists have their own limit, and there is room for four
        settings->items[settings->count++] = (struct service_setting){ flag, text };
    }
}

static void add_row(struct settings *settings, const struct cli_option *row, const void *place)
{
    if (row->kind == CLI_LIST) {
        const struct cli_list *list = place;
        for (size_t i = 0; i < list->count; i++) {
            add(settings, row->name, list->items[i]);
        }
    } else if (row->kind == CLI_FLAG && *(const bool *)place) {
        add(settings, row->name, NULL);
    } else if (row->kind != CLI_FLAG && *(const char *const *)place) {
        add(settings, row->name, *(const char *const *)place);
    }
}

int serve_config_read(struct service_config **out, struct cli *cli, const struct serve_given *given)
{
    struct settings settings = { .count = 0 };
    struct service_config *config = NULL;
    if (cli->named) {
        add(&settings, "url", cli->named);
    }
    for (const struct cli_option *row = serve_options + OWN; row->name; row++) {
        add_row(&settings, row, (const char *)given + row->place);
    }
    const struct service_sources sources = {
        .file = given->config,
        .environment = environ,
        .flags = settings.items,
        .flag_count = settings.count,
    };
    if (service_config_read(&config, &sources)) {
        return cli_fail(cli, "there is no memory for its configuration");
    }
    *out = config;
    return CLI_YES;
}
