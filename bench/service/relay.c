// SPDX-License-Identifier: MIT
//
// What the processes know of each other is a piece of shared memory: who is ready, and how far each
// ear has come, a pair of cache lines each.
#include "relay.h"

#include "client.h"
#include "server.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 20, DRAW = 64, HOPS = 5000, WARM_HOPS = 500, HOLD_NS = 20000 };

struct relay_ear {
    atomic_uint_fast64_t count; // the publisher's process looks at it
    uint64_t sum;
    uint64_t expected;
    uint64_t done_ns;
    sem_t *ready, done;
} __attribute__((aligned(128)));

struct relay_mouth {
    const struct relay_ear *ears;
    unsigned ear_count;
    uint64_t count, next, allowed, ahead_max;
    uint64_t begun_ns;
    sem_t ready, go;
    unsigned char data[BENCH_DATA_SIZE];
};

struct meeting {
    sem_t ready; // posted by each ear that is open
    struct relay_mouth mouth;
    struct relay_ear ears[RELAY_SUBSCRIBERS_MAX];
};

// ---- ears ---------------------------------------------------------------------------------------

void relay_ear_opens(struct relay_ear *ear)
{
    (void)sem_post(ear->ready);
}

void relay_ear_hears(struct relay_ear *ear, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    if (size != BENCH_DATA_SIZE) {
        bench_die("an event came with %zu bytes in the place of %d", size, BENCH_DATA_SIZE);
    }
    // Relaxed: only one thread writes, and who looks wants a number, no more.
    uint64_t count = atomic_load_explicit(&ear->count, memory_order_relaxed) + 1;
    ear->sum += bytes[0];
    if (count == ear->expected) {
        ear->done_ns = bench_now_ns();
    }
    atomic_store_explicit(&ear->count, count, memory_order_relaxed);
    if (count == ear->expected) {
        (void)sem_post(&ear->done);
    }
}

bool relay_ear_is_done(const struct relay_ear *ear)
{
    return atomic_load_explicit(&ear->count, memory_order_relaxed) >= ear->expected;
}

void relay_ear_wait(struct relay_ear *ear)
{
    while (sem_wait(&ear->done) && errno == EINTR) {
    }
}

// ---- the mouth ----------------------------------------------------------------------------------

void relay_mouth_opens(struct relay_mouth *mouth)
{
    (void)sem_post(&mouth->ready);
    while (sem_wait(&mouth->go) && errno == EINTR) {
    }
    mouth->begun_ns = bench_now_ns();
}

static uint64_t slowest(const struct relay_mouth *mouth)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < mouth->ear_count; i++) {
        uint64_t count = atomic_load_explicit(&mouth->ears[i].count, memory_order_relaxed);
        least = count < least ? count : least;
    }
    return least;
}

const unsigned char *relay_mouth_next(struct relay_mouth *mouth, bool *out_flush)
{
    if (mouth->next == mouth->count) {
        return NULL;
    }
    // Looking takes cache lines away from the ears: seldom.
    while (mouth->next == mouth->allowed) {
        uint64_t most = mouth->ahead_max ? slowest(mouth) + mouth->ahead_max : mouth->count;
        mouth->allowed = most < mouth->count ? most : mouth->count;
        if (mouth->next == mouth->allowed) {
            bench_sleep_ns(HOLD_NS);
        }
    }
    mouth->data[0] = (unsigned char)mouth->next;
    mouth->next++;
    *out_flush = mouth->next == mouth->allowed;
    return mouth->data;
}

// ---- processes ----------------------------------------------------------------------------------

static void wait_for(sem_t *word, const char *who)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    while (sem_timedwait(word, &until)) {
        if (errno != EINTR) {
            bench_die("%s: nobody is ready", who);
        }
    }
}

static pid_t start_ear(const struct relay_ops *ops, int port, struct relay_ear *ear)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        ops->subscribe(port, ear);
        _exit(0);
    }
    return pid;
}

static pid_t start_mouth(const struct relay_ops *ops, int port, struct relay_mouth *mouth)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        ops->publish(port, mouth);
        _exit(0);
    }
    return pid;
}

static void end(pid_t pid, const char *who)
{
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        bench_die("%s: a process of the measurement has failed", who);
    }
}

static struct meeting *meet(unsigned subscribers, uint64_t count, uint64_t ahead_max)
{
    struct meeting *meeting =
        mmap(NULL, sizeof *meeting, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (meeting == MAP_FAILED || sem_init(&meeting->ready, 1, 0) ||
        sem_init(&meeting->mouth.ready, 1, 0) || sem_init(&meeting->mouth.go, 1, 0)) {
        bench_die("no memory");
    }
    for (unsigned i = 0; i < subscribers; i++) {
        meeting->ears[i].expected = count;
        meeting->ears[i].ready = &meeting->ready;
        (void)sem_init(&meeting->ears[i].done, 1, 0); // as above
    }
    meeting->mouth.ears = meeting->ears;
    meeting->mouth.ear_count = subscribers;
    meeting->mouth.count = count;
    meeting->mouth.ahead_max = ahead_max;
    memcpy(meeting->mouth.data, CLIENT_DATA, BENCH_DATA_SIZE);
    return meeting;
}

// Every event has come to every ear, once. When the last one did.
static uint64_t check(const struct meeting *meeting, const char *who)
{
    uint64_t sum = 0, last = 0;
    for (uint64_t i = 0; i < meeting->mouth.count; i++) {
        sum += (unsigned char)i;
    }
    for (unsigned i = 0; i < meeting->mouth.ear_count; i++) {
        const struct relay_ear *ear = &meeting->ears[i];
        if (atomic_load(&ear->count) != ear->expected || ear->sum != sum) {
            bench_die("%s: a subscriber has heard %llu events in the place of %llu", who,
                      (unsigned long long)atomic_load(&ear->count),
                      (unsigned long long)ear->expected);
        }
        last = ear->done_ns > last ? ear->done_ns : last;
    }
    return last;
}

double relay_rate(const struct relay_ops *ops, unsigned subscribers, uint64_t count)
{
    pid_t ears[RELAY_SUBSCRIBERS_MAX];
    int port = 0;
    struct meeting *meeting = meet(subscribers, count, ops->ahead_max);
    void *server = ops->start(&port);
    for (unsigned i = 0; i < subscribers; i++) {
        ears[i] = start_ear(ops, port, &meeting->ears[i]);
    }
    for (unsigned i = 0; i < subscribers; i++) {
        wait_for(&meeting->ready, ops->name);
    }
    pid_t mouth = start_mouth(ops, port, &meeting->mouth);
    wait_for(&meeting->mouth.ready, ops->name);
    (void)sem_post(&meeting->mouth.go);
    end(mouth, ops->name);
    for (unsigned i = 0; i < subscribers; i++) {
        end(ears[i], ops->name);
    }
    uint64_t took = check(meeting, ops->name) - meeting->mouth.begun_ns;
    ops->stop(server);
    (void)munmap(meeting, sizeof *meeting);
    return (double)count * subscribers * 1e6 / (double)took;
}

// ---- one at a time ------------------------------------------------------------------------------

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

void relay_hop_measure(double out[2], const struct relay_hop *hop)
{
    size_t count = (size_t)service_count(HOPS);
    double *times = calloc(count, sizeof *times);
    if (!times) {
        bench_die("no memory");
    }
    for (size_t i = 0; i < count + WARM_HOPS; i++) {
        uint64_t begun = bench_now_ns();
        hop->send(hop->context, (const unsigned char *)CLIENT_DATA);
        hop->receive(hop->context);
        if (i >= WARM_HOPS) {
            times[i - WARM_HOPS] = (double)(bench_now_ns() - begun) / 1e3;
        }
    }
    qsort(times, count, sizeof *times, compare);
    out[0] = times[count / 2];
    out[1] = times[count * 99 / 100];
    free(times);
}

// ---- what starts a peer -------------------------------------------------------------------------

struct server {
    pid_t pid;
};

void *relay_server_start(const char *const *arguments, int port)
{
    struct server *server = bench_new(sizeof *server);
    server->pid = bench_server_start(arguments);
    // Asked with a socket of our own, not with the peer's client library: that may begin threads,
    // and this process will fork.
    for (unsigned attempt = 0; !client_can_open(port); attempt++) {
        bench_server_wait(server->pid, attempt);
    }
    return server;
}

void relay_server_stop(void *given)
{
    struct server *server = given;
    bench_server_stop(server->pid);
    free(server);
}
