// SPDX-License-Identifier: MIT
//
// Many clients: how late an event is at a hundred of them while 10,000 a second are published, and
// what one costs that is connected and silent.
//
// Events are published when they are due, by lines over four connections, and say when that was; so
// one that is late because the one before it was late counts as late.
#include "client.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum {
    CROWD = 100,
    PUBLISHERS = 4,
    RATE = 10000,
    SECONDS = 5,
    WARM = RATE,
    EVENTS = 128,
    DIGITS = 20
};
enum { IDLE = 1000, PAGE = 4096 };

#define S_NS 1000000000ULL

// Twenty digits of nanoseconds, and as much text as makes 128 bytes of data.
#define LINE_FORMAT                                                                                \
    "{\"specversion\":\"1.0\",\"type\":\"bench.event\",\"source\":\"/bench\",\"data\":{\"at\":"    \
    "\"%020llu\",\"note\":"                                                                        \
    "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"                 \
    "aaaaaaaaaaaaaa\"}}\n"

// ---- publishing at a pace -----------------------------------------------------------------------

struct pace {
    int port;
    uint64_t count;
};

static void wait_until(uint64_t due_ns)
{
    const struct timespec due = { .tv_sec = (time_t)(due_ns / S_NS),
                                  .tv_nsec = (long)(due_ns % S_NS) };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
    }
}

static void begin_lines(struct client *client, int port, uint64_t bytes)
{
    char head[256];
    client_open(client, port);
    int length = snprintf(head, sizeof head,
                          "POST /v1/events HTTP/1.1\r\nHost: localhost\r\n"
                          "Content-Type: application/x-ndjson\r\nContent-Length: %llu\r\n\r\n",
                          (unsigned long long)bytes);
    client_send(client, head, (size_t)length);
}

static void *publish(void *context)
{
    const struct pace *pace = context;
    struct client clients[PUBLISHERS];
    char line[512];
    int size = snprintf(line, sizeof line, LINE_FORMAT, 0ULL);
    for (size_t i = 0; i < PUBLISHERS; i++) {
        begin_lines(&clients[i], pace->port, pace->count / PUBLISHERS * (uint64_t)size);
    }
    uint64_t begun = bench_now_ns();
    for (uint64_t i = 0; i < pace->count; i++) {
        uint64_t due = begun + i * (S_NS / RATE);
        wait_until(due);
        (void)snprintf(line, sizeof line, LINE_FORMAT, (unsigned long long)due);
        client_send(&clients[i % PUBLISHERS], line, (size_t)size);
    }
    for (size_t i = 0; i < PUBLISHERS; i++) {
        if (client_answer(&clients[i]) != 200) {
            bench_die("lines were not taken");
        }
        client_close(&clients[i]);
    }
    return NULL;
}

// ---- receiving ----------------------------------------------------------------------------------

struct delays {
    uint32_t *us; // of each event at each client
    uint64_t count, warm;
    size_t at; // in the text of a frame
};

// A frame that is whole in what came; its text. NULL: there is none.
static const char *next_frame(struct client *client, size_t *out_size)
{
    const unsigned char *at = (const unsigned char *)client->bytes + client->from;
    size_t there = client->to - client->from;
    if (there < 4) {
        return NULL;
    }
    bool is_long = at[1] == 126;
    size_t head = is_long ? 4 : 2;
    size_t size = is_long ? (size_t)at[2] << 8 | at[3] : at[1];
    if (there < head + size) {
        return NULL;
    }
    client->from += head + size;
    *out_size = size;
    return (const char *)at + head;
}

// Where the time stands in a text; it stands there in most.
static const char *find_time(struct delays *delays, const char *text, size_t size)
{
    static const char name[] = "{\"at\":\"";
    size_t length = sizeof name - 1, whole = length + DIGITS;
    if (delays->at + whole <= size && memcmp(text + delays->at, name, length) == 0) {
        return text + delays->at + length;
    }
    const char *at = memmem(text, size, name, length);
    if (!at || (size_t)(at - text) + whole > size) {
        bench_die("a frame has no event: %.*s", (int)size, text);
    }
    delays->at = (size_t)(at - text);
    return at + length;
}

static void note(struct delays *delays, const char *text, size_t size, uint64_t now)
{
    const char *digits = find_time(delays, text, size);
    uint64_t due = 0;
    for (size_t i = 0; i < DIGITS; i++) {
        due = due * 10 + (uint64_t)(digits[i] - '0');
    }
    if (delays->warm > 0) {
        delays->warm--;
        return;
    }
    delays->us[delays->count++] = (uint32_t)((now - due) / 1000);
}

static uint64_t take_frames(struct client *client, struct delays *delays)
{
    uint64_t seen = 0, now = bench_now_ns();
    size_t size = 0;
    const char *text;
    while ((text = next_frame(client, &size))) {
        note(delays, text, size, now);
        seen++;
    }
    return seen;
}

static void receive_all(struct client *clients, uint64_t wanted, struct delays *delays)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < CROWD; i++) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &clients[i] };
        if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].socket, &event)) {
            bench_die("no memory");
        }
    }
    while (wanted > 0) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, 10000);
        if (ready <= 0) {
            bench_die("%llu events have not come", (unsigned long long)wanted);
        }
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            client_receive(client);
            wanted -= take_frames(client, delays);
        }
    }
}

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static void run_steady(double *out, int unused)
{
    (void)unused;
    struct service_process process;
    struct client *clients = calloc(CROWD, sizeof *clients);
    uint64_t count = service_count((uint64_t)RATE * SECONDS) / PUBLISHERS * PUBLISHERS;
    uint64_t warm = count > 2 * (uint64_t)WARM ? WARM : 0; // connections, caches, memory
    struct delays delays = { .us = calloc(count * CROWD, sizeof *delays.us), .warm = warm * CROWD };
    pthread_t thread;
    if (!clients || !delays.us) {
        bench_die("no memory");
    }
    memset(delays.us, 1, count * CROWD * sizeof *delays.us); // else its pages come meanwhile
    service_start(&process);
    for (size_t i = 0; i < CROWD; i++) {
        client_live(&clients[i], process.port, "type=bench.event", true);
    }
    struct pace pace = { process.port, count };
    if (pthread_create(&thread, NULL, publish, &pace)) {
        bench_die("no memory for a thread");
    }
    receive_all(clients, count * CROWD, &delays);
    (void)pthread_join(thread, NULL);
    qsort(delays.us, delays.count, sizeof *delays.us, compare);
    size_t middle = delays.count / 2, late = delays.count * 99 / 100;
    out[0] = delays.us[middle] / 1e3;
    out[1] = delays.us[late] / 1e3;
    for (size_t i = 0; i < CROWD; i++) {
        client_close(&clients[i]);
    }
    service_stop(&process);
    free(clients);
    free(delays.us);
}

// ---- silence ------------------------------------------------------------------------------------

static double resident_bytes(const struct service_process *process)
{
    char path[64];
    unsigned long pages = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)process->pid);
    FILE *file = fopen(path, "re");
    if (!file || fscanf(file, "%*u %lu", &pages) != 1) { // NOLINT(cert-err34-c): it is the kernel's
        bench_die("%s: cannot be read", path);
    }
    (void)fclose(file); // was only read
    return (double)pages * PAGE;
}

// Bytes of the service's memory for each that is connected, of a thousand.
static void run_idle(double *out, int frames)
{
    struct service_process process;
    size_t count = (size_t)service_count(IDLE);
    struct client *clients = calloc(count + 1, sizeof *clients);
    if (!clients) {
        bench_die("no memory");
    }
    service_start(&process);
    client_live(&clients[count], process.port, "type=bench.event", frames); // what all share
    client_publish(process.port, 1);
    double before = resident_bytes(&process);
    for (size_t i = 0; i < count; i++) {
        client_live(&clients[i], process.port, "type=bench.event", frames);
    }
    *out = (resident_bytes(&process) - before) / (double)count / 1024;
    for (size_t i = 0; i <= count; i++) {
        client_close(&clients[i]);
    }
    service_stop(&process);
    free(clients);
}

const struct bench_measurement bench_service_crowd[] = {
    { run_steady,
      0,
      { { "service.steady.p50", "ms", { { 0 } } },
        { "service.steady.p99", "ms", { { BENCH_AT_MOST, NULL, 0, 5 } } } } },
    { run_idle, true, { { "service.idle.websocket", "KiB", { { BENCH_AT_MOST, NULL, 0, 8 } } } } },
    { run_idle, false, { { "service.idle.sse", "KiB", { { BENCH_AT_MOST, NULL, 0, 8 } } } } },
    { 0 },
};
