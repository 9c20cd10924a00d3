// SPDX-License-Identifier: MIT
//
// peal serve: the service.
//
// Its configuration comes from a file, the environment and options (serve_config.h), and is said to
// be wrong before anything is started; what then runs is service/run.h.
#include <unistd.h>

#include "cli/output.h"
#include "cli/serve_config.h"
#include "service/run.h"

struct reader {
    struct cli *cli;
    const struct serve_given *given;
};

static bool read_again(struct service_config **out, void *context)
{
    const struct reader *reader = context;
    return serve_config_read(out, reader->cli, reader->given) == CLI_YES;
}

static int run(struct cli *cli, peal_bus *none, const void *given)
{
    (void)none;
    struct reader reader = { cli, given };
    struct service_config *config = NULL;
    int status = serve_config_read(&config, cli, reader.given);
    if (status) {
        return status;
    }
    if (config->fault_count > 0) {
        service_config_print_faults(config, cli->err);
        status = CLI_MISUSE;
    } else if (reader.given->check) {
        service_config_print(config, cli->out);
    } else {
        const struct service_run_options options = { .read = read_again,
                                                     .context = &reader,
                                                     .port_file = reader.given->port_file,
                                                     .log_fd = fileno(cli->err),
                                                     .terminal = isatty(fileno(cli->err)) };
        return service_run(config, &options);
    }
    service_config_close(config);
    return status;
}

const struct cli_verb cli_verb_serve = {
    .name = "serve",
    .arguments = "",
    .summary = "the service: a log behind HTTP, and a dashboard",
    .about =
        "Serves a log to programs that speak HTTP, Server-Sent Events or WebSocket, and to people\n"
        "by a dashboard, until it is told to stop (SIGTERM, Ctrl-C). SIGHUP reads the\n"
        "configuration again.\n\n"
        "  peal serve\n"
        "  peal serve --url file:./events --listen 127.0.0.1:7325\n"
        "  peal serve --config peal.yaml --check-config\n",
    .options = serve_options,
    .size = sizeof(struct serve_given),
    .need = CLI_ALONE,
    .run = run,
};
