// SPDX-License-Identifier: MIT
//
// Starting on a large log: from the start of the process until it says that it is ready, and what
// it does on its own after that.
//
// The log is made once a run, by the library, in batches; each repeat opens it and leaves it as it
// was. The kernel has its pages, so that the disk is not measured.
#include "client.h"

#include "peal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { BATCH = 1000, TYPES = 16, SUBJECTS = 1000, ATTEMPTS = 10000, STEP_NS = 200000 };

#define QUIET_NS 2000000000 // after it was ready

static const char *const types[TYPES] = {
    "order.placed",      "order.paid",        "order.picked",    "order.packed",
    "order.shipped",     "order.delivered",   "cart.item_added", "cart.item_removed",
    "payment.requested", "payment.confirmed", "stock.reserved",  "stock.released",
    "order.returned",    "payment.refused",   "stock.recounted", "order.cancelled",
};

static void fill(peal_bus *bus, uint64_t count)
{
    static struct peal_message messages[BATCH];
    static char subjects[SUBJECTS][16];
    for (unsigned i = 0; i < SUBJECTS; i++) {
        (void)snprintf(subjects[i], sizeof subjects[i], "s%u", i);
    }
    for (uint64_t done = 0; done < count; done += BATCH) {
        for (size_t i = 0; i < BATCH; i++) {
            messages[i] = (struct peal_message){ .type = types[(done + i) % TYPES],
                                                 .subject = subjects[(done / 8 + i) % SUBJECTS],
                                                 .data = CLIENT_DATA,
                                                 .size = sizeof CLIENT_DATA - 1 };
        }
        bench_must(peal_publish_batch(bus, messages, BATCH, NULL), "publish a batch");
    }
}

// Made by the first who asks; who was interrupted has left no name.
static void make_log(char path[300])
{
    char unfinished[320], url[340];
    struct stat status;
    (void)snprintf(path, 300, "%s/large", service_place());
    if (stat(path, &status) == 0) {
        return;
    }
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    (void)snprintf(unfinished, sizeof unfinished, "%s.unfinished", path);
    (void)snprintf(url, sizeof url, "file:%s", unfinished);
    peal_bus *bus = bench_open(url, &options);
    fill(bus, service_large());
    peal_bus_close(bus);
    if (rename(unfinished, path)) {
        bench_die("%s: cannot be named", path);
    }
}

static uint64_t cpu_ns(const struct service_process *process)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(process->pid, &clock) || clock_gettime(clock, &used)) {
        bench_die("the service's time cannot be asked for");
    }
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

static void wait_until_ready(int port)
{
    static const char request[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct client client;
    int status = 0;
    client_open(&client, port);
    for (int i = 0; i < ATTEMPTS && status != 200; i++) {
        client_send(&client, request, sizeof request - 1);
        status = client_answer(&client);
        if (status != 200) {
            bench_sleep_ns(STEP_NS);
        }
    }
    if (status != 200) {
        bench_die("the service is not ready, but %d", status);
    }
    client_close(&client);
}

static void check_types(int port)
{
    static const char request[] = "GET /v1/types HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct client client;
    char count[64];
    (void)snprintf(count, sizeof count, "\"count\":%llu,",
                   (unsigned long long)(service_large() / TYPES));
    client_open(&client, port);
    client_send(&client, request, sizeof request - 1);
    client_receive(&client);
    client.bytes[client.to] = 0;
    if (!strstr(client.bytes, count) || !strstr(client.bytes, "\"complete\":true")) {
        bench_die("the types of the log are not counted: %s", client.bytes);
    }
    client_close(&client);
}

static void run_start(double *out, int unused)
{
    (void)unused;
    char path[300];
    struct service_process process;
    make_log(path);
    service_start_on(&process, path);
    wait_until_ready(process.port);
    out[0] = (double)(bench_now_ns() - process.begun) / 1e6;
    uint64_t before = cpu_ns(&process);
    bench_sleep_ns(QUIET_NS);
    out[1] = (double)(cpu_ns(&process) - before) / 1e6;
    check_types(process.port);
    service_stop(&process);
}

const struct bench_measurement bench_service_start[] = {
    { run_start,
      0,
      { { "service.start.ready", "ms", { { BENCH_AT_MOST, NULL, 0, 100 } } },
        { "service.start.after", "ms", { { BENCH_AT_MOST, NULL, 0, 200 } } } } },
    { 0 },
};
