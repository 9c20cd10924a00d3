// SPDX-License-Identifier: MIT
// ctest: timeout=120
//
// A service that is killed under load, again and again: what it has acknowledged is in its log,
// once, and who follows has seen what is in the log, and nothing else.
//
// The service is this program, run once more: "<program> serve <directory> <port>". It says on
// which port it listens, and then waits to be killed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/peal.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/folder.h"
#include "support/stand.h"

#define THREADS 3
#define KILLS   12
#define TYPE    "load.event"

static int serve(const char *url, unsigned short port)
{
    static struct stand stand;
    peal_bus *bus;
    if (peal_bus_open(&bus, url, NULL)) {
        (void)fprintf(stderr, "%s\n", peal_error_sentence());
        return 1;
    }
    stand_open(&stand, bus, port);
    printf("%u\n", (unsigned)stand.port);
    (void)fflush(stdout);
    for (;;) {
        (void)pause();
    }
}

struct service {
    pid_t pid;
    unsigned short port;
    char url[300];
};

static void start(struct service *service)
{
    int ends[2];
    char port[16], line[16] = "";
    (void)snprintf(port, sizeof port, "%u", (unsigned)service->port);
    assert_int_equal(pipe(ends), 0);
    service->pid = fork();
    assert_true(service->pid >= 0);
    if (service->pid == 0) {
        (void)dup2(ends[1], 1);
        (void)execl("/proc/self/exe", "remote", "serve", service->url, port, (char *)NULL);
        _exit(127);
    }
    (void)close(ends[1]);
    for (size_t used = 0; used < sizeof line - 1 && !strchr(line, '\n');) {
        ssize_t count = read(ends[0], line + used, sizeof line - 1 - used);
        assert_true(count > 0);
        used += (size_t)count;
    }
    (void)close(ends[0]);
    service->port = (unsigned short)strtoul(line, NULL, 10);
}

static void stop(struct service *service)
{
    int status;
    assert_int_equal(kill(service->pid, SIGKILL), 0);
    assert_int_equal(waitpid(service->pid, &status, 0), service->pid);
}

struct speaker {
    peal_bus *bus;
    pthread_t thread;
    unsigned number;
    atomic_bool *stopping;
    atomic_uint acknowledged;
    unsigned failed;
};

static void *speak(void *context)
{
    struct speaker *speaker = context;
    for (unsigned i = 0; !*speaker->stopping; i++) {
        char data[32];
        struct peal_message message = { .type = TYPE, .data = data };
        message.size = (size_t)snprintf(data, sizeof data, "%u %u", speaker->number, i);
        struct peal_receipt receipt;
        if (peal_publish(speaker->bus, &message, &receipt) || receipt.duplicate ||
            receipt.durability < PEAL_DURABILITY_OS) {
            speaker->failed++;
        }
        speaker->acknowledged++;
    }
    return NULL;
}

// What came, by who said it.
struct heard {
    pthread_mutex_t lock;
    unsigned next[THREADS];
    uint64_t last, wrong;
};

static enum peal_verdict hear(const peal_event *event, void *context)
{
    struct heard *heard = context;
    unsigned thread = THREADS, number = 0;
    char data[32] = "";
    memcpy(data, peal_event_data(event), peal_event_size(event));
    pthread_mutex_lock(&heard->lock);
    bool fine = sscanf(data, "%u %u", &thread, &number) == 2 && thread < THREADS &&
                heard->next[thread] == number && peal_event_position(event) > heard->last;
    heard->wrong += !fine;
    heard->last = peal_event_position(event);
    if (fine) {
        heard->next[thread]++;
    }
    pthread_mutex_unlock(&heard->lock);
    return PEAL_DONE;
}

static bool has_heard_all(struct heard *heard, struct speaker *speakers)
{
    bool all = true;
    pthread_mutex_lock(&heard->lock);
    for (unsigned i = 0; i < THREADS; i++) {
        all = all && heard->next[i] == speakers[i].acknowledged;
    }
    pthread_mutex_unlock(&heard->lock);
    return all;
}

static void a_killed_service_loses_nothing_and_invents_nothing(void **state)
{
    (void)state;
    struct folder folder;
    struct service service = { .port = 0 };
    struct speaker speakers[THREADS] = { { .number = 0 } };
    struct heard heard = { .lock = PTHREAD_MUTEX_INITIALIZER };
    atomic_bool stopping = false;
    folder_open(&folder, "");
    (void)snprintf(service.url, sizeof service.url, "file:%s/events", folder.path);
    start(&service);
    char url[64];
    peal_bus *bus;
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", (unsigned)service.port);
    assert_int_equal(peal_bus_open(&bus, url, NULL), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, bus, TYPE, NULL, hear, &heard), PEAL_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        speakers[i].bus = bus;
        speakers[i].number = i;
        speakers[i].stopping = &stopping;
        assert_int_equal(pthread_create(&speakers[i].thread, NULL, speak, &speakers[i]), 0);
    }
    for (unsigned i = 0; i < KILLS; i++) {
        unsigned before = speakers[0].acknowledged;
        while (speakers[0].acknowledged < before + 50 + i * 7) { // it is under load
            (void)poll(NULL, 0, 1);
        }
        stop(&service);
        start(&service);
    }
    stopping = true;
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(speakers[i].thread, NULL), 0);
        assert_int_equal(speakers[i].failed, 0);
    }
    for (unsigned i = 0; i < 5000 && !has_heard_all(&heard, speakers); i++) {
        (void)poll(NULL, 0, 2);
    }
    assert_true(has_heard_all(&heard, speakers));
    assert_int_equal(heard.wrong, 0);
    peal_bus_close(bus);
    stop(&service);

    // The log has what was acknowledged, in the same order.
    struct heard kept = { .lock = PTHREAD_MUTEX_INITIALIZER };
    peal_reader *reader;
    const peal_event *event;
    const struct peal_query query = { .pattern = TYPE };
    assert_int_equal(peal_bus_open(&bus, service.url, NULL), PEAL_OK);
    assert_int_equal(peal_reader_open(&reader, bus, &query), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        (void)hear(event, &kept);
    }
    peal_reader_close(reader);
    assert_int_equal(kept.wrong, 0);
    assert_true(has_heard_all(&kept, speakers));
    peal_bus_close(bus);
    folder_close(&folder);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_service_loses_nothing_and_invents_nothing),
    };
    if (count == 4 && strcmp(arguments[1], "serve") == 0) {
        return serve(arguments[2], (unsigned short)strtoul(arguments[3], NULL, 10));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
