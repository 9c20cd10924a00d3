// SPDX-License-Identifier: MIT
//
// libevent waits; an eventfd wakes it for what other threads post.
//
// What is posted goes on a stack without a lock (one exchange), and is turned round by the loop. It
// is woken only by who found the stack empty: it takes all of it at once.
//
// Timers are libevent's, which knows the machine's clock only, and waits for whole milliseconds;
// those of microseconds are a timerfd each. With another clock they stand in a list, of which those
// that are due run behind what was posted.
#include "net/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct timer;

struct net_loop {
    struct event_base *base;
    struct event *woken;
    int wake; // eventfd
    _Atomic(struct net_task *) posted;
    atomic_bool stopped;
    struct net_after *after;
    const struct net_clock *clock; // NULL: the machine's
    struct timer *waiting;         // by that clock

    // The pool: what waits for it, in order, under `lock`.
    pthread_mutex_t lock;
    pthread_cond_t work, rest;
    size_t working; // tasks that were given to it and are not posted back
    struct net_task *first, **last;
    bool closing;
    unsigned count;
    pthread_t *threads;
};

// ---- tasks --------------------------------------------------------------------------------------

static void wake_up(struct net_loop *loop)
{
    uint64_t one = 1;
    (void)!write(loop->wake, &one, sizeof one); // full: it is awake
}

void net_loop_post(struct net_loop *loop, struct net_task *task)
{
    // Release: the loop sees what was written to the task. Relaxed read: compared below. Once it is
    // posted the task is the loop's, and may be gone: nothing of it is looked at any more.
    struct net_task *first = atomic_load_explicit(&loop->posted, memory_order_relaxed);
    do {
        task->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&loop->posted, &first, task,
                                                    memory_order_release, memory_order_relaxed));
    if (!first) {
        wake_up(loop);
    }
}

// Runs what was posted until now. What they post is of the next round.
static void run_posted(struct net_loop *loop)
{
    // Acquire: what the posters wrote.
    struct net_task *task = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
    struct net_task *ordered = NULL;
    while (task) {
        struct net_task *next = task->next;
        task->next = ordered;
        ordered = task;
        task = next;
    }
    while (ordered) {
        struct net_task *next = ordered->next;
        ordered->run(ordered);
        ordered = next;
    }
}

void net_loop_leave(struct net_loop *loop)
{
    for (struct net_after *after = loop->after; after; after = after->next) {
        after->run(after->context);
    }
}

void net_loop_after(struct net_loop *loop, struct net_after *after)
{
    struct net_after **end = &loop->after;
    while (*end) {
        end = &(*end)->next;
    }
    after->next = NULL;
    *end = after;
}

void net_loop_after_remove(struct net_loop *loop, struct net_after *after)
{
    struct net_after **link = &loop->after;
    while (*link && *link != after) {
        link = &(*link)->next;
    }
    if (*link) {
        *link = after->next;
    }
}

// ---- timers -------------------------------------------------------------------------------------

struct timer {
    struct event *event;
    struct net_loop *loop;
    struct net_timer *timer;
    int fd;         // timerfd; -1: it is set by milliseconds
    int64_t due_ns; // by a clock of the loop's own
    struct timer *next, **link;
};

int64_t net_loop_now(const struct net_loop *loop)
{
    if (loop->clock) {
        return loop->clock->now(loop->clock->context);
    }
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int64_t net_loop_exact(const struct net_loop *loop)
{
    struct timespec now;
    if (loop->clock) {
        return loop->clock->now(loop->clock->context);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void unlink_timer(struct timer *inside)
{
    if (inside->link) {
        *inside->link = inside->next;
        if (inside->next) {
            inside->next->link = inside->link;
        }
        inside->link = NULL;
    }
}

static void link_timer(struct timer *inside, struct timer **list)
{
    unlink_timer(inside);
    inside->next = *list;
    inside->link = list;
    if (inside->next) {
        inside->next->link = &inside->next;
    }
    *list = inside;
}

static void on_time(evutil_socket_t none, short what, void *context)
{
    (void)none;
    (void)what;
    struct timer *inside = context;
    struct net_loop *loop = inside->loop;
    inside->timer->run(inside->timer->context); // may finish it
    net_loop_leave(loop);
}

// Those that are due now; what they set is looked at the next time.
static void run_due(struct net_loop *loop)
{
    struct timer *due = NULL;
    int64_t now = loop->waiting ? net_loop_now(loop) : 0;
    for (struct timer *inside = loop->waiting, *next; inside; inside = next) {
        next = inside->next;
        if (inside->due_ns <= now) {
            link_timer(inside, &due);
        }
    }
    while (due) {
        struct timer *inside = due;
        unlink_timer(inside);
        on_time(-1, 0, inside);
    }
}

// By the loop's own clock.
static void start_by_clock(struct timer *inside, int64_t ns)
{
    struct net_loop *loop = inside->loop;
    inside->due_ns = net_loop_now(loop) + ns;
    link_timer(inside, &loop->waiting);
    if (ns == 0) {
        wake_up(loop);
    }
}

static void free_timer(struct timer *inside)
{
    if (inside->event) {
        event_free(inside->event);
    }
    if (inside->fd >= 0) {
        (void)close(inside->fd);
    }
    free(inside);
}

// A timerfd is listened to all the time and tells of each time it is due once: so it is not read,
// and setting it is one call.
static enum peal_err make_timer(struct net_timer *timer, struct net_loop *loop, bool exact)
{
    struct timer *inside = calloc(1, sizeof *inside);
    if (!inside) {
        return PEAL_ENOMEM;
    }
    inside->loop = loop;
    inside->timer = timer;
    inside->fd = exact ? timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC) : -1;
    if (exact && inside->fd < 0) {
        free(inside);
        return PEAL_EIO;
    }
    short what = exact ? EV_READ | EV_PERSIST | EV_ET : 0;
    inside->event = event_new(loop->base, inside->fd, what, on_time, inside);
    if (!inside->event || (exact && event_add(inside->event, NULL))) {
        free_timer(inside);
        return PEAL_ENOMEM;
    }
    timer->event = inside;
    return PEAL_OK;
}

enum peal_err net_timer_set(struct net_timer *timer, struct net_loop *loop, uint64_t ms)
{
    enum peal_err err = timer->event ? PEAL_OK : make_timer(timer, loop, false);
    if (err) {
        return err;
    }
    struct timer *inside = timer->event;
    if (loop->clock) {
        start_by_clock(inside, (int64_t)ms * 1000000);
        return PEAL_OK;
    }
    struct timeval due = { .tv_sec = (time_t)(ms / 1000),
                           .tv_usec = (suseconds_t)(ms % 1000) * 1000 };
    return event_add(inside->event, &due) ? PEAL_ENOMEM : PEAL_OK;
}

static void set_fd(const struct timer *inside, uint64_t us)
{
    const struct itimerspec due = { .it_value = { .tv_sec = (time_t)(us / 1000000),
                                                  .tv_nsec = (long)(us % 1000000) * 1000 } };
    (void)timerfd_settime(inside->fd, 0, &due, NULL); // a good time for one that is there
}

enum peal_err net_timer_set_us(struct net_timer *timer, struct net_loop *loop, uint64_t us)
{
    enum peal_err err = timer->event ? PEAL_OK : make_timer(timer, loop, true);
    if (err) {
        return err;
    }
    if (loop->clock) {
        start_by_clock(timer->event, (int64_t)us * 1000);
    } else {
        set_fd(timer->event, us);
    }
    return PEAL_OK;
}

void net_timer_finish(struct net_timer *timer)
{
    if (timer->event) {
        unlink_timer(timer->event);
        free_timer(timer->event);
        timer->event = NULL;
    }
}

// ---- the pool -----------------------------------------------------------------------------------

static void run_done(struct net_task *task)
{
    task->done(task);
}

void net_loop_settle(struct net_loop *loop)
{
    bool busy = true;
    while (busy) {
        (void)pthread_mutex_lock(&loop->lock);
        while (loop->working > 0 && !atomic_load(&loop->posted)) {
            (void)pthread_cond_wait(&loop->rest, &loop->lock);
        }
        busy = loop->working > 0;
        (void)pthread_mutex_unlock(&loop->lock);
        busy = busy || atomic_load(&loop->posted);
        run_posted(loop);
        net_loop_leave(loop);
    }
}

static void *pool_main(void *context)
{
    struct net_loop *loop = context;
    (void)pthread_mutex_lock(&loop->lock);
    for (;;) {
        while (!loop->first && !loop->closing) {
            (void)pthread_cond_wait(&loop->work, &loop->lock);
        }
        struct net_task *task = loop->first;
        if (!task) {
            break;
        }
        loop->first = task->next;
        loop->last = loop->first ? loop->last : &loop->first;
        (void)pthread_mutex_unlock(&loop->lock);
        bool tells = task->done != NULL; // else the task may be gone after this
        task->run(task);
        if (tells) {
            task->run = run_done;
            net_loop_post(loop, task);
        }
        (void)pthread_mutex_lock(&loop->lock);
        loop->working--;
        (void)pthread_cond_signal(&loop->rest);
    }
    (void)pthread_mutex_unlock(&loop->lock);
    return NULL;
}

void net_loop_work(struct net_loop *loop, struct net_task *task)
{
    task->next = NULL;
    (void)pthread_mutex_lock(&loop->lock);
    *loop->last = task;
    loop->last = &task->next;
    loop->working++;
    (void)pthread_mutex_unlock(&loop->lock);
    (void)pthread_cond_signal(&loop->work);
}

static bool open_pool(struct net_loop *loop, unsigned threads)
{
    loop->last = &loop->first;
    loop->threads = calloc(threads, sizeof *loop->threads);
    if (!loop->threads || pthread_mutex_init(&loop->lock, NULL)) {
        return false;
    }
    if (pthread_cond_init(&loop->work, NULL) || pthread_cond_init(&loop->rest, NULL)) {
        return false;
    }
    while (loop->count < threads &&
           pthread_create(&loop->threads[loop->count], NULL, pool_main, loop) == 0) {
        loop->count++;
    }
    return loop->count > 0;
}

static void close_pool(struct net_loop *loop)
{
    (void)pthread_mutex_lock(&loop->lock);
    loop->closing = true;
    (void)pthread_mutex_unlock(&loop->lock);
    (void)pthread_cond_broadcast(&loop->work);
    for (unsigned i = 0; i < loop->count; i++) {
        (void)pthread_join(loop->threads[i], NULL);
    }
    free(loop->threads);
}

// ---- the loop -----------------------------------------------------------------------------------

static void on_wake(evutil_socket_t wake, short what, void *context)
{
    (void)what;
    uint64_t count;
    (void)!read(wake, &count, sizeof count);
    run_posted(context);
    run_due(context);
    net_loop_leave(context);
}

enum peal_err net_loop_open_by(struct net_loop **out, unsigned threads,
                               const struct net_clock *clock)
{
    struct net_loop *loop = calloc(1, sizeof *loop);
    struct event_config *config = event_config_new();
    if (loop && config) {
        loop->clock = clock;
        (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK); // other threads only post
        loop->base = event_base_new_with_config(config);
        loop->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    if (loop && loop->base && loop->wake >= 0) {
        loop->woken = event_new(loop->base, loop->wake, EV_READ | EV_PERSIST, on_wake, loop);
    }
    if (config) {
        event_config_free(config);
    }
    if (!loop || !loop->woken || event_add(loop->woken, NULL) || !open_pool(loop, threads)) {
        net_loop_close(loop);
        return PEAL_ENOMEM;
    }
    *out = loop;
    return PEAL_OK;
}

enum peal_err net_loop_open(struct net_loop **out, unsigned threads)
{
    return net_loop_open_by(out, threads, NULL);
}

void net_loop_close(struct net_loop *loop)
{
    if (!loop) {
        return;
    }
    if (loop->threads) {
        close_pool(loop);
    }
    while (atomic_load(&loop->posted)) {
        run_posted(loop);
    }
    if (loop->woken) {
        event_free(loop->woken);
    }
    if (loop->base) {
        event_base_free(loop->base);
        if (loop->wake >= 0) {
            (void)close(loop->wake);
        }
    }
    free(loop);
}

void net_loop_run(struct net_loop *loop)
{
    // Acquire: pairs with who stopped it.
    while (!atomic_load_explicit(&loop->stopped, memory_order_acquire)) {
        (void)event_base_loop(loop->base, EVLOOP_ONCE);
    }
    atomic_store(&loop->stopped, false); // it may be run again
}

void net_loop_stop(struct net_loop *loop)
{
    atomic_store_explicit(&loop->stopped, true, memory_order_release);
    wake_up(loop);
}

struct event_base *net_loop_base(struct net_loop *loop)
{
    return loop->base;
}
