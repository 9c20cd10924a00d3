// SPDX-License-Identifier: MIT
//
// peal serve: the service. Every option of its configuration is an option here, of the same list
// (service/config_options.h); what they say is checked there, all at once.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "service/run.h"

extern char **environ;

#define MEMBER_TEXT   const char *
#define MEMBER_FILE   const char *
#define MEMBER_FLAG   bool
#define MEMBER_SWITCH const char *
#define MEMBER_COUNT  const char *
#define MEMBER_BYTES  const char *
#define MEMBER_TIME   const char *
#define MEMBER_SHARE  const char *
#define MEMBER_CHOICE const char *
#define MEMBER_LIST   struct cli_list
#define MEMBER_TOKENS bool // never given: they are only in files

struct serve {
    const char *config, *port_file;
    bool check_config;
#define MEMBER(member, name, flag, kind, ...) MEMBER_##kind member;
    SERVICE_OPTIONS_BUT_URL(MEMBER)
#undef MEMBER
};

#define ROW_OF(kind, member, flag, value, help)                                                    \
    { flag, 0, kind, value, help, offsetof(struct serve, member) },
#define ROW_TEXT(...)   ROW_OF(CLI_TEXT, __VA_ARGS__)
#define ROW_FILE(...)   ROW_OF(CLI_FILE, __VA_ARGS__)
#define ROW_FLAG(...)   ROW_OF(CLI_FLAG, __VA_ARGS__)
#define ROW_SWITCH(...) ROW_OF(CLI_TEXT, __VA_ARGS__)
#define ROW_COUNT(...)  ROW_OF(CLI_TEXT, __VA_ARGS__)
#define ROW_BYTES(...)  ROW_OF(CLI_TEXT, __VA_ARGS__)
#define ROW_TIME(...)   ROW_OF(CLI_TEXT, __VA_ARGS__)
#define ROW_SHARE(...)  ROW_OF(CLI_TEXT, __VA_ARGS__)
#define ROW_CHOICE(...) ROW_OF(CLI_TEXT, __VA_ARGS__)
#define ROW_LIST(...)   ROW_OF(CLI_LIST, __VA_ARGS__)
#define ROW_TOKENS(...)

static const struct cli_option options[] = {
    { "config", 0, CLI_FILE, "FILE",
      "the configuration; default /etc/peal/peal.yaml, if it is there",
      offsetof(struct serve, config) },
    { "check-config", 0, CLI_FLAG, NULL, "print what is wrong, or all options, and end",
      offsetof(struct serve, check_config) },
    { "port-file", 0, CLI_FILE, "FILE", "write the ports it listens on to a file, when it does",
      offsetof(struct serve, port_file) },
#define ROW(member, name, flag, kind, value, usual, least, most, when, help)                       \
    ROW_##kind(member, flag, value, help)
    SERVICE_OPTIONS_BUT_URL(ROW)
#undef ROW
        CLI_END,
};

enum { SETTINGS_MAX = 256 };

struct settings {
    struct service_setting items[SETTINGS_MAX];
    size_t count;
};

static void add(struct settings *settings, const char *flag, const char *text)
{
    if (text && settings->count < SETTINGS_MAX) {
        settings->items[settings->count++] = (struct service_setting){ flag, text };
    }
}

// What was given, in the order of the table.
static void gather(struct settings *out, const struct serve *given)
{
    for (const struct cli_option *option = options; option->name; option++) {
        const char *place = (const char *)given + option->place;
        if (strcmp(option->name, "config") == 0 || strcmp(option->name, "check-config") == 0 ||
            strcmp(option->name, "port-file") == 0) {
            continue; // about the configuration, not in it
        }
        if (option->kind == CLI_LIST) {
            const struct cli_list *list = (const struct cli_list *)(const void *)place;
            for (size_t i = 0; i < list->count; i++) {
                add(out, option->name, list->items[i]);
            }
        } else if (option->kind == CLI_FLAG) {
            add(out, option->name, *(const bool *)place ? "true" : NULL);
        } else {
            add(out, option->name, *(const char *const *)(const void *)place);
        }
    }
}

static int run(struct cli *cli, peal_bus *none, const void *given)
{
    (void)none;
    const struct serve *wanted = given;
    struct settings settings = { .count = 0 };
    struct service_config *config = NULL;
    gather(&settings, wanted);
    add(&settings, "url", cli->url);
    const struct service_sources sources = { .file = wanted->config,
                                             .environment = environ,
                                             .flags = settings.items,
                                             .flag_count = settings.count };
    if (service_config_read(&config, &sources)) {
        return cli_fail(cli, "no memory for the configuration");
    }
    if (config->fault_count > 0 || wanted->check_config) {
        int status = config->fault_count > 0 ? CLI_MISUSE : CLI_YES;
        if (config->fault_count > 0) {
            service_config_print_faults(config, cli->err);
        } else {
            service_config_print(config, cli->out);
        }
        service_config_close(config);
        return status;
    }
    const struct service_run_options run_options = { .sources = &sources,
                                                     .port_file = wanted->port_file,
                                                     .log_fd = fileno(cli->err),
                                                     .terminal = isatty(fileno(cli->err)) };
    return service_run(config, &run_options);
}

const struct cli_verb cli_verb_serve = {
    .name = "serve",
    .arguments = "",
    .summary = "the service: the bus behind HTTP, and a dashboard",
    .about =
        "Serves a log to programs that speak HTTP, Server-Sent Events or WebSocket, and to people\n"
        "by a dashboard, until it is told to stop (SIGTERM, Ctrl-C). SIGHUP reads the\n"
        "configuration again.\n\n"
        "  peal serve\n"
        "  peal serve --url file:./events --listen 127.0.0.1:7325\n"
        "  peal serve --config peal.yaml --check-config\n",
    .options = options,
    .size = sizeof(struct serve),
    .need = CLI_ALONE,
    .run = run,
};
