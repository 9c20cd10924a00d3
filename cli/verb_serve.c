// SPDX-License-Identifier: MIT
//
// peal serve: the service.
//
// It opens the bus with workers, binds its addresses, says where it is, and runs until it is told
// to stop: SIGTERM and SIGINT let what is under way be answered (at most --drain), a second one
// does not. The bus is closed last, so that what was acknowledged is on the disk when the program
// ends.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "service/service.h"

enum { POOL = 8, DRAIN_MS = 10000, LOOK_MS = 20 };

struct serve {
    struct cli_list listen;
    const char *port_file;
    uint64_t drain_ms;
};

static const struct cli_option options[] = {
    { "listen", 'l', CLI_LIST, "HOST:PORT",
      "where to listen; port 0: any that is free (default 127.0.0.1:7325)",
      offsetof(struct serve, listen) },
    { "drain", 0, CLI_DURATION, "DURATION", "how long what is under way may take at the end (10s)",
      offsetof(struct serve, drain_ms) },
    { "port-file", 0, CLI_FILE, "FILE", "write the port it listens on to a file, when it does",
      offsetof(struct serve, port_file) },
    CLI_END,
};

struct serving {
    struct cli *cli;
    struct net_loop *loop;
    struct service *service;
    struct net_task told; // a signal came
    struct net_timer look;
    pthread_t signals;
    sigset_t set;
    uint64_t drain_ms;
    int64_t until_ns;
    bool draining;
};

static void tell(enum peal_level level, const char *text, void *context)
{
    struct cli *cli = context;
    if (level >= PEAL_LEVEL_WARNING) {
        (void)cli_fail(cli, "%s", text);
    } else if (level == PEAL_LEVEL_INFO) {
        cli_remark(cli, "%s", text);
    }
}

// ---- stopping -----------------------------------------------------------------------------------

static void look(void *context)
{
    struct serving *serving = context;
    if (service_is_idle(serving->service) || net_loop_now(serving->loop) >= serving->until_ns) {
        net_loop_stop(serving->loop);
        return;
    }
    (void)net_timer_set(&serving->look, serving->loop, LOOK_MS); // it has its memory
}

static void stop(struct net_task *task)
{
    struct serving *serving =
        (struct serving *)(void *)((char *)task - offsetof(struct serving, told));
    if (serving->draining) {
        net_loop_stop(serving->loop); // told twice
        return;
    }
    serving->draining = true;
    cli_remark(serving->cli, "stopping; what is under way may take %llu ms",
               (unsigned long long)serving->drain_ms);
    serving->until_ns = net_loop_now(serving->loop) + (int64_t)serving->drain_ms * 1000000;
    service_drain(serving->service);
    look(serving);
}

// Signals are waited for by a thread, so that no handler has to be careful.
static void *wait_for_signals(void *context)
{
    struct serving *serving = context;
    for (;;) {
        int signal = 0;
        if (sigwait(&serving->set, &signal) == 0 && signal != SIGUSR1) {
            net_loop_post(serving->loop, &serving->told);
        }
        if (signal == SIGUSR1) {
            return NULL; // ours: it is over
        }
    }
}

// ---- starting -----------------------------------------------------------------------------------

// "host:port", "[::1]:port", "port".
static bool split(const char *text, char host[256], unsigned *port)
{
    const char *colon = strrchr(text, ':');
    const char *from = text, *to = colon ? colon : text;
    if (*from == '[' && to > from && to[-1] == ']') {
        from++;
        to--;
    }
    char *end;
    unsigned long number = strtoul(colon ? colon + 1 : text, &end, 10);
    if (*end || number > 65535 || (size_t)(to - from) >= 256 || !*(colon ? colon + 1 : text)) {
        return false;
    }
    (void)snprintf(host, 256, "%.*s", (int)(to - from), from);
    *port = (unsigned)number;
    return true;
}

static bool write_port(struct cli *cli, const char *path, unsigned port)
{
    FILE *file = fopen(path, "we");
    bool good = file && fprintf(file, "%u\n", port) > 0;
    good = file && fclose(file) == 0 && good;
    if (!good) {
        (void)cli_fail(cli, "%s: cannot be written", path);
    }
    return good;
}

static int listen_to(struct serving *serving, const struct serve *wanted)
{
    static const char *const usual[] = { "127.0.0.1:7325" };
    const char *const *items = wanted->listen.count ? wanted->listen.items : usual;
    size_t count = wanted->listen.count ? wanted->listen.count : 1;
    for (size_t i = 0; i < count; i++) {
        char host[256], error[160];
        unsigned port, real = 0;
        if (!split(items[i], host, &port)) {
            return cli_misuse(serving->cli, "--listen %s: HOST:PORT is wanted", items[i]);
        }
        if (!net_http_listen(serving->service->http, *host ? host : "127.0.0.1", port, NULL, &real,
                             error)) {
            return cli_fail(serving->cli, "cannot listen on %s: %s", items[i], error);
        }
        cli_remark(serving->cli, "listening on http://%s:%u", *host ? host : "127.0.0.1", real);
        if (wanted->port_file && !write_port(serving->cli, wanted->port_file, real)) {
            return CLI_NO;
        }
    }
    return CLI_YES;
}

// The folder of a log in files; NULL: there is none.
static const char *folder_of(char out[4096], const char *url)
{
    struct stat status;
    if (strncmp(url, "file:", 5) != 0) {
        return NULL;
    }
    (void)snprintf(out, 4096, "%.*s", (int)strcspn(url + 5, "?"), url + 5);
    return stat(out, &status) == 0 && S_ISDIR(status.st_mode) ? out : NULL;
}

static int serve(struct serving *serving, const struct serve *wanted)
{
    if (pthread_create(&serving->signals, NULL, wait_for_signals, serving)) {
        return cli_fail(serving->cli, "no memory for a thread");
    }
    int status = listen_to(serving, wanted);
    if (!status) {
        net_loop_run(serving->loop);
    }
    (void)pthread_kill(serving->signals, SIGUSR1);
    (void)pthread_join(serving->signals, NULL);
    net_timer_finish(&serving->look);
    return status;
}

static int run(struct cli *cli, peal_bus *none, const void *given)
{
    (void)none;
    const struct serve *wanted = given;
    struct serving serving = { .cli = cli,
                               .drain_ms = wanted->drain_ms ? wanted->drain_ms : DRAIN_MS };
    serving.told.run = stop;
    serving.look = (struct net_timer){ .run = look, .context = &serving };
    (void)sigemptyset(&serving.set);
    (void)sigaddset(&serving.set, SIGTERM);
    (void)sigaddset(&serving.set, SIGINT);
    (void)sigaddset(&serving.set, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &serving.set, NULL); // before there are threads
    (void)signal(SIGPIPE, SIG_IGN);

    const char *url = cli->url ? cli->url : "file:./events";
    const struct peal_bus_options bus_options = {
        .pressure = PEAL_PRESSURE_REJECT, // the service waits, not its loop
        .log = tell,
        .log_context = cli,
    };
    char folder[4096];
    peal_bus *bus = NULL;
    enum peal_err err = peal_bus_open(&bus, url, &bus_options);
    if (err) {
        return cli_failed(cli, err);
    }
    const struct service_options service_options = {
        .url = url, .folder = folder_of(folder, url), .log = tell, .log_context = cli
    };
    err = net_loop_open(&serving.loop, POOL);
    err = err ? err : service_open(&serving.service, bus, serving.loop, &service_options);
    int status = err ? cli_failed(cli, err) : serve(&serving, wanted);
    service_close(serving.service);
    net_loop_close(serving.loop);
    peal_bus_close(bus);
    return status;
}

const struct cli_verb cli_verb_serve = {
    .name = "serve",
    .arguments = "",
    .summary = "the service: the bus behind HTTP",
    .about =
        "Serves a log to programs that speak HTTP, Server-Sent Events or WebSocket, until it is\n"
        "told to stop (SIGTERM, Ctrl-C).\n\n"
        "  peal serve\n"
        "  peal serve --url file:./events --listen 127.0.0.1:7325\n",
    .options = options,
    .size = sizeof(struct serve),
    .need = CLI_ALONE,
    .run = run,
};
