// SPDX-License-Identifier: MIT
//
// What is opened stands in one struct, and is closed in the other order, however far it came.
//
// Signals are waited for by a thread of their own, which posts them to the loop; so nothing here
// runs in a signal handler.
#include "service/run.h"

#include "net/tls.h"
#include "service/auth.h"
#include "service/journal.h"
#include "service/notify.h"
#include "service/otlp.h"
#include "service/service.h"
#include "service/webhook.h"

#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { POOL = 8, LOOK_MS = 20, CLOSE_MS = 5000, FOLDER_SIZE = 4096 };

struct run {
    struct service_config *config;
    const struct service_run_options *options;
    struct journal *journal;
    struct notify notify;
    struct service_otlp *otlp;
    struct ssl_ctx_st *tls;
    peal_bus *bus;
    struct net_loop *loop;
    struct auth_table *auth;
    struct service_webhooks *webhooks;
    struct service *service;
    struct service_options setup;
    char folder[FOLDER_SIZE];
    char *url; // the configuration may be another one later
    FILE *ports;

    pthread_t signals;
    bool listens; // for signals
    sigset_t set;
    struct net_task stop, reload;
    struct net_timer look, watchdog;
    int64_t part_ns, until_ns;
    bool draining, parted;
};

static int fail(struct run *run, const char *message, const char *why)
{
    journal_say(run->journal, PEAL_LEVEL_ERROR, message, JOURNAL_FIELDS(journal_text("why", why)));
    return 1;
}

// ---- stopping -----------------------------------------------------------------------------------

static void look(void *context)
{
    struct run *run = context;
    // Whoever follows gets what was acknowledged; one who cannot take it has half of the time, so
    // that saying goodbye has the rest.
    if (!run->parted &&
        (service_has_delivered(run->service) || net_loop_now(run->loop) >= run->part_ns)) {
        run->parted = true;
        service_say_goodbye(run->service);
    }
    if (service_is_idle(run->service) || net_loop_now(run->loop) >= run->until_ns) {
        net_loop_stop(run->loop);
        return;
    }
    (void)net_timer_set(&run->look, run->loop, LOOK_MS); // it has its memory
}

static void stop(struct net_task *task)
{
    struct run *run = (struct run *)(void *)((char *)task - offsetof(struct run, stop));
    if (run->draining) {
        net_loop_stop(run->loop); // told twice
        return;
    }
    run->draining = true;
    journal_say(run->journal, PEAL_LEVEL_INFO, "stops",
                JOURNAL_FIELDS(journal_number("drain_ms", (int64_t)run->config->drain_ms)));
    (void)notify_stopping(&run->notify, "answers what is under way");
    run->until_ns = net_loop_now(run->loop) + (int64_t)run->config->drain_ms * 1000000;
    run->part_ns = net_loop_now(run->loop) + (int64_t)run->config->drain_ms * 500000;
    service_drain(run->service);
    if (net_timer_set(&run->look, run->loop, 0)) { // behind what the loop has at hand
        net_loop_stop(run->loop);                  // there is no memory to wait with
    }
}

// ---- reloading ----------------------------------------------------------------------------------

static void set_limits(struct run *run)
{
    const struct service_config *config = run->config;
    run->setup.limits = (struct net_http_limits){
        .head_bytes = config->limits_header_bytes,
        .line_bytes = config->limits_line_bytes,
        .connections = (unsigned)config->limits_connections,
        .per_address = (unsigned)config->limits_connections_per_address,
        .request_ms = config->limits_request_ms,
        .idle_ms = config->limits_idle_ms,
        .queue_bytes = config->limits_send_queue_bytes,
    };
    run->setup.body_max = config->limits_body_bytes;
    run->setup.live_max = (unsigned)config->limits_streams;
    run->setup.ready_lag_ms = config->ready_lag_ms;
    run->setup.json_depth = (unsigned)config->limits_json_depth;
}

static void say_changes(struct run *run, const struct service_config *fresh)
{
    struct service_change changes[SERVICE_OPTION_COUNT];
    size_t count = service_config_diff(changes, run->config, fresh);
    for (size_t i = 0; i < count; i++) {
        journal_say(run->journal, changes[i].live ? PEAL_LEVEL_INFO : PEAL_LEVEL_WARNING,
                    changes[i].live ? "an option has changed"
                                    : "an option has changed that waits for a restart",
                    JOURNAL_FIELDS(journal_text("option", changes[i].option->name)));
    }
}

static void say_faults(struct run *run, const struct service_config *config)
{
    for (size_t i = 0; i < config->fault_count; i++) {
        journal_say(run->journal, PEAL_LEVEL_ERROR, config->faults[i].text,
                    JOURNAL_FIELDS(journal_text("place", config->faults[i].place)));
    }
}

// What a sound configuration changes, where it can be changed.
static enum peal_err apply(struct run *run, struct service_config *fresh)
{
    enum peal_err err = service_config_carry(fresh, run->config);
    err = err ? err : auth_table_reload(run->auth, fresh);
    if (!err && run->webhooks) {
        err = service_webhooks_allow(run->webhooks, fresh->webhooks_allow.items,
                                     fresh->webhooks_allow.count);
    }
    if (err) {
        return err;
    }
    struct service_config *old = run->config;
    run->config = fresh;
    run->service->config = fresh;
    service_config_close(old);
    journal_set_level(run->journal, (enum peal_level)(fresh->log_level - 1));
    set_limits(run);
    service_set_limits(run->service, &run->setup);
    return PEAL_OK;
}

static bool take_config(struct run *run)
{
    struct service_config *fresh = NULL;
    if (!run->options->read(&fresh, run->options->context)) {
        return false;
    }
    say_faults(run, fresh);
    if (fresh->fault_count == 0) {
        say_changes(run, fresh);
    }
    if (fresh->fault_count > 0 || apply(run, fresh)) {
        service_config_close(fresh);
        return false;
    }
    return true;
}

static void reload(struct net_task *task)
{
    struct run *run = (struct run *)(void *)((char *)task - offsetof(struct run, reload));
    (void)notify_reloading(&run->notify);
    if (!take_config(run)) {
        journal_say(run->journal, PEAL_LEVEL_ERROR,
                    "the configuration is wrong, and stays as it was", NULL);
    }
    (void)notify_ready(&run->notify, NULL);
}

// ---- signals ------------------------------------------------------------------------------------

static void *wait_for_signals(void *context)
{
    struct run *run = context;
    for (;;) {
        int signal = 0;
        if (sigwait(&run->set, &signal)) {
            continue;
        }
        if (signal == SIGUSR1) {
            return NULL; // ours: it is over
        }
        net_loop_post(run->loop, signal == SIGHUP ? &run->reload : &run->stop);
    }
}

static void block_signals(struct run *run)
{
    (void)sigemptyset(&run->set);
    (void)sigaddset(&run->set, SIGTERM);
    (void)sigaddset(&run->set, SIGINT);
    (void)sigaddset(&run->set, SIGHUP);
    (void)sigaddset(&run->set, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &run->set, NULL); // before there are threads
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); // a file that may not grow is an error like any other
}

static void on_watchdog(void *context)
{
    struct run *run = context;
    (void)notify_watchdog(&run->notify);
    journal_tick(run->journal);
    (void)net_timer_set(&run->watchdog, run->loop,
                        run->notify.watchdog_ms ? run->notify.watchdog_ms : 1000);
}

// ---- starting -----------------------------------------------------------------------------------

static int open_journal(struct run *run)
{
    const struct service_config *config = run->config;
    bool json = config->log_format == SERVICE_LOG_JSON ||
                (config->log_format == SERVICE_LOG_AUTO && !run->options->terminal);
    const struct journal_options options = { .fd = run->options->log_fd,
                                             .json = json,
                                             .colour = run->options->terminal,
                                             .level = (enum peal_level)(config->log_level - 1) };
    return journal_open(&run->journal, &options) ? 1 : 0;
}

static int open_tls(struct run *run)
{
    char error[256];
    const struct service_config *config = run->config;
    if (!*config->tls_certificate) {
        return 0;
    }
    return net_tls_open(&run->tls, config->tls_certificate, config->tls_key, config->tls_client_ca,
                        error)
               ? 0
               : fail(run, "cannot speak TLS", error);
}

static int open_bus(struct run *run)
{
    struct peal_bus_options options = { 0 };
    service_config_bus(&options, run->config);
    options.pressure = PEAL_PRESSURE_REJECT; // a publisher is made to wait, the loop is not
    options.log = journal_from_bus;
    options.log_context = run->journal;
    run->setup.durability = options.durability;
    return peal_bus_open(&run->bus, run->config->url, &options)
               ? fail(run, "cannot open the log", peal_error_sentence())
               : 0;
}

static int open_tracing(struct run *run)
{
    char error[160];
    const struct service_config *config = run->config;
    if (!*config->tracing_otlp_url) {
        return 0;
    }
    const struct service_otlp_options options = { .url = config->tracing_otlp_url,
                                                  .log = journal_from_bus,
                                                  .log_context = run->journal };
    if (service_otlp_open(&run->otlp, &options, error)) {
        return fail(run, "cannot export traces", error);
    }
    const struct peal_trace_options trace = {
        .share = config->tracing_sample > 0 ? config->tracing_sample : PEAL_TRACE_NONE,
        .finished = service_otlp_span,
        .context = run->otlp,
    };
    return peal_bus_trace(run->bus, &trace) ? fail(run, "cannot trace", peal_error_sentence()) : 0;
}

// The folder of a log in files, for what else is to survive; NULL: there is none.
static const char *find_folder(struct run *run)
{
    struct stat status;
    const char *url = run->config->url;
    if (strncmp(url, "file:", 5) != 0) {
        return NULL;
    }
    int size =
        snprintf(run->folder, sizeof run->folder, "%.*s", (int)strcspn(url + 5, "?"), url + 5);
    bool whole = size > 0 && (size_t)size < sizeof run->folder;
    return whole && stat(run->folder, &status) == 0 && S_ISDIR(status.st_mode) ? run->folder : NULL;
}

static int open_webhooks(struct run *run)
{
    const struct service_config *config = run->config;
    const struct service_webhooks_options options = {
        .directory = run->setup.folder,
        .allow = config->webhooks_allow.items,
        .allow_count = config->webhooks_allow.count,
        .concurrency = (unsigned)config->webhooks_concurrency,
        .timeout_ms = config->webhooks_timeout_ms,
        .log = journal_from_bus,
        .log_context = run->journal,
    };
    return service_webhooks_open(&run->webhooks, run->bus, &options)
               ? fail(run, "cannot open the webhooks", peal_error_sentence())
               : 0;
}

static int open_service(struct run *run)
{
    run->url = strdup(run->config->url);
    run->setup.url = run->url;
    run->setup.folder = find_folder(run);
    run->setup.log = journal_from_bus;
    run->setup.log_context = run->journal;
    set_limits(run);
    if (auth_table_open(&run->auth, run->config) || net_loop_open(&run->loop, POOL)) {
        return fail(run, "cannot start", "no memory");
    }
    if (open_webhooks(run)) {
        return 1;
    }
    if (service_open(&run->service, run->bus, run->loop, &run->setup)) {
        return fail(run, "cannot start", peal_error_sentence());
    }
    run->service->auth = run->auth;
    run->service->config = run->config;
    run->service->webhooks = run->webhooks;
    run->service->otlp = run->otlp;
    return 0;
}

// ---- listening ----------------------------------------------------------------------------------

static int listen_at(struct run *run, const struct service_address *wanted,
                     const struct addrinfo *address)
{
    char why[SERVICE_SENTENCE_MAX], error[160];
    unsigned port = 0;
    enum service_binding binding = service_binding(why, run->config, address->ai_addr);
    if (binding == SERVICE_BIND_REFUSED) {
        return fail(run, "does not listen", why);
    }
    if (!net_http_listen(run->service->http, address, run->tls, &port, error)) {
        journal_say(run->journal, PEAL_LEVEL_ERROR, "cannot listen",
                    JOURNAL_FIELDS(journal_text("host", wanted->host),
                                   journal_text("port", wanted->port), journal_text("why", error)));
        return 1;
    }
    if (binding == SERVICE_BIND_WARNED) {
        journal_say(run->journal, PEAL_LEVEL_WARNING, "is open to others",
                    JOURNAL_FIELDS(journal_text("why", why)));
    }
    char host[NI_MAXHOST] = "";
    (void)getnameinfo(address->ai_addr, address->ai_addrlen, host, sizeof host, NULL, 0,
                      NI_NUMERICHOST); // an address always has its numbers
    journal_say(run->journal, PEAL_LEVEL_INFO, "listens",
                JOURNAL_FIELDS(journal_text("host", host), journal_number("port", port),
                               journal_bool("tls", run->tls != NULL)));
    if (run->ports) {
        (void)fprintf(run->ports, "%u\n", port); // looked at when it is closed
    }
    return 0;
}

static int listen_to(struct run *run, const char *text)
{
    struct service_address wanted;
    struct addrinfo *addresses = NULL;
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    if (!service_address_read(&wanted, text)) {
        return fail(run, "cannot listen", text); // the configuration was checked
    }
    int result = getaddrinfo(*wanted.host ? wanted.host : NULL, wanted.port, &hints, &addresses);
    if (result) {
        char why[SERVICE_SENTENCE_MAX];
        (void)snprintf(why, sizeof why,
                       "%s: there has to be such a host, with an address of this "
                       "machine",
                       gai_strerror(result));
        journal_say(run->journal, PEAL_LEVEL_ERROR, "cannot listen",
                    JOURNAL_FIELDS(journal_text("address", text), journal_text("why", why)));
        return 1;
    }
    int status = 0;
    for (struct addrinfo *address = addresses; address && !status; address = address->ai_next) {
        status = listen_at(run, &wanted, address);
        if (strcmp(wanted.port, "0") == 0) {
            break; // each would get another one
        }
    }
    freeaddrinfo(addresses);
    return status;
}

static int listen_to_all(struct run *run)
{
    const char *path = run->options->port_file;
    run->ports = path ? fopen(path, "we") : NULL;
    if (path && !run->ports) {
        return fail(run, "cannot write the file of ports", strerrordesc_np(errno));
    }
    int status = 0;
    for (size_t i = 0; i < run->config->listen.count && !status; i++) {
        status = listen_to(run, run->config->listen.items[i]);
    }
    bool written = !run->ports || fclose(run->ports) == 0;
    run->ports = NULL;
    return status || written ? status
                             : fail(run, "cannot write the file of ports", strerrordesc_np(errno));
}

// ---- all of it ----------------------------------------------------------------------------------

static int start(struct run *run)
{
    int status = open_tls(run);
    status = status ? status : open_bus(run);
    status = status ? status : open_tracing(run);
    status = status ? status : open_service(run);
    status = status ? status : listen_to_all(run);
    if (!status && pthread_create(&run->signals, NULL, wait_for_signals, run)) {
        status = fail(run, "cannot start", "no memory for a thread");
    }
    run->listens = !status;
    return status;
}

static void finish(struct run *run)
{
    if (run->listens) {
        (void)pthread_kill(run->signals, SIGUSR1);
        (void)pthread_join(run->signals, NULL);
    }
    net_timer_finish(&run->look);
    net_timer_finish(&run->watchdog);
    if (run->webhooks) {
        (void)service_webhooks_stop(run->webhooks, CLOSE_MS); // what is cut off is sent again
    }
    service_close(run->service);
    service_webhooks_close(run->webhooks);
    net_loop_close(run->loop);
    peal_bus_close(run->bus);
    (void)service_otlp_close(run->otlp, CLOSE_MS); // what it drops is counted nowhere any more
    auth_table_close(run->auth);
    net_tls_close(run->tls);
    journal_close(run->journal);
    service_config_close(run->config);
    free(run->url);
}

// Blocks of some hundred KiB come and go with every batch. By default the allocator gives such to
// the system at once, and what is new from it costs a page fault every 4 KiB, which was a tenth of
// all that an event takes.
static void keep_memory(void)
{
#ifdef __GLIBC__
    // NOLINTBEGIN(concurrency-mt-unsafe): no other thread has begun
    (void)mallopt(M_MMAP_THRESHOLD, 4 << 20); // an option it does not know it passes over
    (void)mallopt(M_TRIM_THRESHOLD, 32 << 20);
    (void)mallopt(M_ARENA_MAX, 2);
    // NOLINTEND(concurrency-mt-unsafe)
#endif
}

int service_run(struct service_config *config, const struct service_run_options *options)
{
    struct run run = { .config = config, .options = options, .notify = notify_begin() };
    run.stop.run = stop;
    run.reload.run = reload;
    run.look = (struct net_timer){ .run = look, .context = &run };
    run.watchdog = (struct net_timer){ .run = on_watchdog, .context = &run };
    keep_memory();
    block_signals(&run);
    int status = open_journal(&run);
    status = status ? status : start(&run);
    if (!status) {
        (void)notify_ready(&run.notify, "serves");
        on_watchdog(&run);
        net_loop_run(run.loop);
        journal_say(run.journal, PEAL_LEVEL_INFO, "has stopped", NULL);
    }
    finish(&run);
    return status;
}
