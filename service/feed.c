// SPDX-License-Identifier: MIT
//
// What is encoded and not sent stands in two texts: the bus fills one while the loop sends the
// other, and they change places under the lock. So the lock is held for a moment, and nothing is
// copied twice.
//
// Bounds: the batch the bus is in, service_feed_room bytes in `pending`, and as much in the
// connection's queue. Where there are many feeds each has less room, and smaller batches, for which
// the bus has memory too: so that all of them that stand still take FEED_ALL, a few times.
#include "service/feed_inside.h"

#include "service/encoded.h"

#include <stdlib.h>
#include <string.h>

enum { FEED_LOW = 2 * NET_STREAM_LOW, FEED_ALL = 64 << 20 };
enum { BATCH_LOW = 16, BATCH_ALL = 64 * SERVICE_FEED_BATCH }; // events

// ---- on a thread of the bus ---------------------------------------------------------------------

size_t service_feed_room(const struct service *service)
{
    // Relaxed: about how many there are.
    size_t count = atomic_load_explicit(&service->feed_count, memory_order_relaxed);
    size_t room = FEED_ALL / (count + 1);
    return room > SERVICE_FEED_HIGH ? SERVICE_FEED_HIGH : room < FEED_LOW ? FEED_LOW : room;
}

unsigned service_feed_batch(const struct service *service)
{
    size_t batch = BATCH_ALL / (service->feeds_open + 1);
    return batch > SERVICE_FEED_BATCH ? SERVICE_FEED_BATCH
           : batch < BATCH_LOW        ? BATCH_LOW
                                      : (unsigned)batch;
}

bool service_feed_is_gap(const peal_event *event)
{
    return strcmp(peal_event_type(event), "$peal.gap") == 0;
}

static bool is_wanted(const peal_event *event, void *context)
{
    const struct service_feed *feed = context;
    return !feed->filter || service_feed_is_gap(event) || feed->filter(event, feed->context);
}

// With the lock.
static bool samples_out(struct service_feed *feed)
{
    feed->seen++;
    if (feed->max_rate && feed->allowed == 0) {
        return true;
    }
    feed->allowed -= feed->max_rate > 0;
    feed->sent++;
    return false;
}

// NOLINTNEXTLINE(readability-non-const-parameter): it is as the library has it
static void on_events(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                      void *context)
{
    struct service_feed *feed = context;
    (void)verdicts; // all are done
    (void)pthread_mutex_lock(&feed->lock);
    bool wanted = !feed->closing && !feed->over;
    for (size_t i = 0; i < count && wanted; i++) {
        uint64_t position = peal_event_position(events[i]);
        feed->reached = position > feed->reached ? position : feed->reached; // a gap has none
        if (service_feed_is_gap(events[i]) || !samples_out(feed)) {
            feed->ops->encode(&feed->pending, events[i], feed->service);
        }
    }
    bool post = wanted && !feed->posted && feed->pending.size > 0;
    bool pause = wanted && !feed->paused && feed->pending.size > service_feed_room(feed->service);
    feed->posted = feed->posted || post;
    feed->paused = feed->paused || pause;
    if (pause) {
        (void)peal_subscription_pause(feed->subscription); // under the lock: see resume
    }
    (void)pthread_mutex_unlock(&feed->lock);
    if (post) {
        net_loop_post(feed->service->loop, &feed->task);
    }
}

// ---- on the loop --------------------------------------------------------------------------------

static void resume(struct service_feed *feed)
{
    (void)pthread_mutex_lock(&feed->lock);
    bool was = feed->paused && feed->pending.size == 0 && !feed->closing;
    feed->paused = feed->paused && !was;
    // Under the lock, and so is pausing: else one could overtake the other, and the feed stand
    // still, or run, for ever. The bus holds no lock of its own while it is in on_events.
    if (was) {
        (void)peal_subscription_resume(feed->subscription);
    }
    (void)pthread_mutex_unlock(&feed->lock);
}

static void send_pending(struct service_feed *feed)
{
    (void)pthread_mutex_lock(&feed->lock);
    struct net_text text = feed->pending;
    feed->sending.size = 0;
    feed->sending.comma = false;
    feed->pending = feed->sending;
    feed->sending = text;
    (void)pthread_mutex_unlock(&feed->lock);
    if (text.size > 0) {
        feed->queued = feed->ops->send(text.bytes, text.size, feed->context);
    }
    if (feed->queued >= service_feed_room(feed->service)) {
        net_text_finish(&feed->sending); // it stands still, maybe for long
    }
}

static void free_feed(struct service_feed *feed)
{
    net_text_finish(&feed->pending);
    net_text_finish(&feed->sending);
    (void)pthread_mutex_destroy(&feed->lock);
    free(feed);
}

static struct service_feed *feed_of(struct net_task *task)
{
    return (struct service_feed *)(void *)((char *)task - offsetof(struct service_feed, leave));
}

static void end_feed(struct net_task *task)
{
    struct service_feed *feed = feed_of(task);
    feed->gone(feed->context);
    free_feed(feed);
}

// In the pool: it may have to wait for the end of a batch.
static void leave_bus(struct net_task *task)
{
    peal_unsubscribe(feed_of(task)->subscription);
}

// Its own subscription is over. Whoever is behind again meanwhile goes on alone once more.
static void left_alone(struct net_task *task)
{
    struct service_feed *feed = feed_of(task);
    feed->leaving = false;
    service_encoded_leave(feed->service->encoded);
    if (feed->ended) {
        end_feed(task);
    } else if (feed->behind) {
        service_share_part(feed);
    }
}

// With the lock.
static bool has_reached(const struct service_feed *feed, uint64_t position)
{
    return feed->pending.size == 0 && !feed->paused && feed->reached > 0 &&
           feed->reached >= position;
}

// Of one that has gone on alone, and has come to where the others are. They are asked only if there
// is a chance: it makes one encode again that has no members.
static void return_to_others(struct service_feed *feed)
{
    (void)pthread_mutex_lock(&feed->lock);
    bool may_be = has_reached(feed, 0);
    (void)pthread_mutex_unlock(&feed->lock);
    if (!may_be) {
        return;
    }
    uint64_t taken = service_share_taken(feed);
    (void)pthread_mutex_lock(&feed->lock);
    uint64_t reached = feed->reached;
    bool caught_up = has_reached(feed, taken);
    feed->over = caught_up;
    (void)pthread_mutex_unlock(&feed->lock);
    if (caught_up) {
        service_share_return(feed, reached);
        feed->leaving = true;
        feed->leave.run = leave_bus;
        feed->leave.done = left_alone;
        net_loop_work(feed->service->loop, &feed->leave);
    }
}

static void go_on(struct service_feed *feed)
{
    size_t room = service_feed_room(feed->service);
    if (feed->queued < room) {
        send_pending(feed);
    }
    if (feed->queued < room) {
        resume(feed);
    }
    if (feed->share && !feed->member_link && feed->queued < NET_STREAM_LOW) {
        return_to_others(feed);
    }
}

static void on_posted(struct net_task *task)
{
    struct service_feed *feed = (struct service_feed *)(void *)task; // its first member
    (void)pthread_mutex_lock(&feed->lock);
    feed->posted = false;
    bool closing = feed->closing;
    (void)pthread_mutex_unlock(&feed->lock);
    if (!closing) {
        go_on(feed);
    }
}

void service_feed_drained(struct service_feed *feed)
{
    feed->queued = 0;
    go_on(feed);
}

void service_feed_sampled(struct service_feed *feed, uint64_t *out_seen, uint64_t *out_sent)
{
    (void)pthread_mutex_lock(&feed->lock);
    *out_seen = feed->seen;
    *out_sent = feed->sent;
    feed->seen = feed->sent = 0;
    feed->allowed = feed->max_rate;
    (void)pthread_mutex_unlock(&feed->lock);
}

bool service_subscription_rests(peal_subscription *subscription)
{
    struct peal_subscription_stats stats = { .lag = 0 }; // of one that is over
    bool said = subscription && !peal_subscription_stats(&stats, subscription);
    return !said || (stats.lag == 0 && stats.waiting == 0 && stats.in_flight == 0);
}

static bool rests(struct service_feed *feed)
{
    if (feed->member_link) {
        return service_share_rests(feed->share);
    }
    if (!service_subscription_rests(feed->subscription)) {
        return false;
    }
    (void)pthread_mutex_lock(&feed->lock);
    bool nothing = feed->pending.size == 0 && !feed->posted;
    (void)pthread_mutex_unlock(&feed->lock);
    return nothing;
}

bool service_feeds_rest(const struct service *service)
{
    bool all = true;
    for (struct service_feed *feed = service->feeds; feed && all; feed = feed->next) {
        all = rests(feed);
    }
    return all;
}

void service_feeds_tick(struct service *service)
{
    for (struct service_feed *feed = service->feeds, *next; feed; feed = next) {
        next = feed->next;
        if (feed->behind) {
            service_share_part(feed); // there was no memory for it
        }
        if (feed->ops->tick) {
            feed->ops->tick(feed->context);
        }
    }
}

size_t service_feeds_count(const struct service *service)
{
    size_t count = 0;
    for (const struct service_feed *feed = service->feeds; feed; feed = feed->next) {
        count++;
    }
    return count;
}

size_t service_feeds_count_sockets(const struct service *service)
{
    size_t count = 0;
    for (const struct service_feed *feed = service->feeds; feed; feed = feed->next) {
        count += feed->ops->socket;
    }
    return count;
}

// ---- coming and going ---------------------------------------------------------------------------

// Nothing is posted for it any more: what was, has run before this.
static void left_bus(struct net_task *task)
{
    service_encoded_leave(feed_of(task)->service->encoded);
    end_feed(task);
}

void service_feed_close(struct service_feed *feed, void (*gone)(void *context))
{
    (void)pthread_mutex_lock(&feed->lock);
    feed->closing = true;
    (void)pthread_mutex_unlock(&feed->lock);
    feed->service->feeds_open--;
    *feed->link = feed->next;
    if (feed->next) {
        feed->next->link = feed->link;
    }
    feed->gone = gone;
    feed->ended = true;
    bool shares = feed->member_link != NULL;
    if (feed->share) {
        service_share_leave(feed);
    }
    if (feed->leaving) {
        return; // what is under way ends it
    }
    if (shares) {
        feed->leave.run = end_feed;
        net_loop_post(feed->service->loop, &feed->leave);
        return;
    }
    feed->leave.run = leave_bus;
    feed->leave.done = left_bus;
    net_loop_work(feed->service->loop, &feed->leave);
}

enum peal_err service_feed_subscribe(struct service_feed *feed,
                                     const struct service_feed_start *start)
{
    const struct peal_subscribe_options options = {
        .from = start->from,
        .from_position = start->position,
        .from_time_ns = start->time_ns,
        .filter = is_wanted,
        .filter_context = feed,
        .order = PEAL_ORDER_NONE,
        .batch = on_events,
        .batch_max = service_feed_batch(feed->service),
        .label = "feed",
    };
    // Under the lock: the first batch may come before its subscription is known here.
    (void)pthread_mutex_lock(&feed->lock);
    feed->over = false;
    feed->reached = 0;
    enum peal_err err = peal_subscribe(&feed->subscription, feed->service->bus, start->pattern,
                                       &options, NULL, feed);
    (void)pthread_mutex_unlock(&feed->lock);
    return err;
}

enum peal_err service_feed_open(struct service_feed **out, struct service *service,
                                const struct service_feed_start *start,
                                const struct service_feed_ops *ops, void *context)
{
    struct service_feed *feed = calloc(1, sizeof *feed);
    if (!feed) {
        return PEAL_ENOMEM;
    }
    feed->service = service;
    feed->ops = ops;
    feed->context = context;
    feed->filter = start->filter;
    feed->max_rate = feed->allowed = start->max_rate;
    feed->task.run = on_posted;
    (void)pthread_mutex_init(&feed->lock, NULL); // of the usual kind: cannot fail
    bool shares = service_share_join(feed, start);
    enum peal_err err = shares ? PEAL_OK : service_feed_subscribe(feed, start);
    if (err) {
        free_feed(feed);
        return err;
    }
    feed->next = service->feeds;
    feed->link = &service->feeds;
    if (feed->next) {
        feed->next->link = &feed->next;
    }
    service->feeds = feed;
    if (!shares) {
        service_encoded_join(service->encoded);
    }
    service->feeds_open++;
    *out = feed;
    return PEAL_OK;
}
