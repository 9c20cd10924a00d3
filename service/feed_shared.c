// SPDX-License-Identifier: MIT
//
// Feeds that share: one subscription for all that want the same from now on.
//
//     bus worker ─► batch ─► encoded into `pending` ─► loop ─► block ─► lent to each member
//                                            ▲           │
//                                            └── rests ◄─┘ until it may write (service/gather.h)
//
// So an event that goes to a hundred connections is routed, encoded and copied once, and a turn of
// the loop costs each of them one write, however many events have come since the last.
//
// If all its members go on alone, nothing is encoded for nobody: positions are noted, so that who
// has caught up knows what was passed over.
//
// Who joins is not given what was published before: it knows the position of the newest event then,
// and each event of a block has its place there. Who does not keep up, because as
// many bytes wait in its connection as a feed may have, goes on alone behind what it was lent: it
// gets a subscription of its own, which is paused and resumed with its connection, and reads the
// log. So does everybody if there is no memory for a block.
//
// Memory: a block lives until the last of those it was lent to has sent it. What waits for the loop
// is bounded as a feed's is.
#include "service/auth.h"
#include "service/encoded.h"
#include "service/feed_inside.h"
#include "service/gather.h"
#include "service/types.h"

#include <stdlib.h>
#include <string.h>

struct place {
    uint64_t position;
    size_t at; // in the text
};

// Events that were encoded, and where each begins.
struct events {
    struct net_text text;
    struct place *places;
    size_t count, room;
    bool failed; // there was no memory for one
};

struct block {
    struct events events;
    size_t holds;
};

struct service_share {
    struct net_task task; // posted: there is something to send; its first member
    struct net_task leave;
    struct service_rest rest; // until the loop writes again
    struct service *service;
    struct service_share *next, **link; // of all
    const struct service_feed_ops *ops;
    char *pattern;
    struct auth_identity *identity; // shared; or NULL
    peal_subscription *subscription;
    struct service_feed *members;
    size_t alone;   // that have been members, and may be again
    uint64_t taken; // up to here all was lent

    pthread_mutex_t lock; // what stands below
    struct events pending;
    uint64_t first, last; // positions that are, or were, pending
    bool posted, paused, closing;
    bool rests; // posted, and waits for `rest`
    bool idle;  // it has no members: only positions are noted
};

// ---- on a thread of the bus ---------------------------------------------------------------------

static bool is_wanted(const peal_event *event, void *context)
{
    const struct service_share *share = context;
    return !share->identity || service_feed_is_gap(event) ||
           auth_may_read(share->identity, peal_event_type(event));
}

static bool make_room(struct events *events)
{
    if (events->count < events->room) {
        return true;
    }
    size_t room = events->room ? events->room * 2 : 16;
    struct place *grown = reallocarray(events->places, room, sizeof *grown);
    if (grown) {
        events->places = grown;
        events->room = room;
    }
    return grown != NULL;
}

// With the lock.
static void take_event(struct service_share *share, const peal_event *event)
{
    struct events *events = &share->pending;
    uint64_t position = peal_event_position(event);
    share->last = position > share->last ? position : share->last; // a gap has none
    if (share->idle) {
        return;
    }
    share->first = share->first ? share->first : share->last;
    events->failed = events->failed || !make_room(events);
    if (!events->failed) {
        events->places[events->count++] = (struct place){ share->last, events->text.size };
        share->ops->encode(&events->text, event, share->service);
        events->failed = events->text.failed;
    }
}

// NOLINTNEXTLINE(readability-non-const-parameter): it is as the library has it
static void on_events(const peal_event *const *list, size_t count, enum peal_verdict *verdicts,
                      void *context)
{
    struct service_share *share = context;
    (void)verdicts; // all are done
    (void)pthread_mutex_lock(&share->lock);
    for (size_t i = 0; i < count && !share->closing; i++) {
        take_event(share, list[i]);
    }
    bool rested = share->rests && share->pending.text.size > SERVICE_GATHER_ENOUGH;
    bool post = (!share->posted || rested) && !share->closing && !share->idle && count > 0;
    bool pause = !share->paused && share->pending.text.size > SERVICE_FEED_HIGH;
    share->posted = share->posted || post;
    share->rests = share->rests && !post;
    share->paused = share->paused || pause;
    if (pause) {
        (void)peal_subscription_pause(share->subscription); // under the lock: see take_pending
    }
    (void)pthread_mutex_unlock(&share->lock);
    if (post) {
        net_loop_post(share->service->loop, &share->task);
    }
}

// ---- on the loop: blocks ------------------------------------------------------------------------

static void finish_events(struct events *events)
{
    net_text_finish(&events->text);
    free(events->places);
}

static void let_go(void *context)
{
    struct block *block = context;
    if (--block->holds == 0) {
        finish_events(&block->events);
        free(block);
    }
}

// Where what is behind a position begins.
static size_t begin_of(const struct events *events, uint64_t after)
{
    size_t low = 0, high = events->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (events->places[middle].position > after) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low < events->count ? events->places[low].at : events->text.size;
}

static void lend(struct service_feed *feed, struct block *block, uint64_t last)
{
    size_t from = begin_of(&block->events, feed->after);
    size_t size = block->events.text.size - from;
    if (size == 0) {
        return;
    }
    block->holds++;
    feed->after = 0; // the next block is behind it
    feed->queued =
        feed->ops->lend(block->events.text.bytes + from, size, let_go, block, feed->context);
    if (feed->queued >= service_feed_room(feed->service)) {
        feed->behind = last + 1;
    }
}

// All that is pending; `first` and `last` of its positions.
static void take_pending(struct service_share *share, struct events *out, uint64_t *first,
                         uint64_t *last)
{
    (void)pthread_mutex_lock(&share->lock);
    *out = share->pending;
    *first = share->first;
    *last = share->last;
    share->pending = (struct events){ .count = 0 };
    share->first = 0;
    share->posted = share->rests = false;
    // Under the lock, and so is pausing: else one could overtake the other, and all stand still.
    // The bus holds no lock of its own while it is in on_events.
    if (share->paused && !share->closing) {
        share->paused = false;
        (void)peal_subscription_resume(share->subscription);
    }
    (void)pthread_mutex_unlock(&share->lock);
}

static struct service_share *share_of_rest(struct service_rest *rest)
{
    return (struct service_share *)(void *)((char *)rest - offsetof(struct service_share, rest));
}

static void set_idle(struct service_share *share, bool idle)
{
    (void)pthread_mutex_lock(&share->lock);
    share->idle = idle;
    (void)pthread_mutex_unlock(&share->lock);
}

// What is pending to all.
static void give(struct service_share *share)
{
    struct events events;
    uint64_t first, last;
    size_t lent = 0;
    take_pending(share, &events, &first, &last);
    share->taken = last;
    struct block *block = events.failed ? NULL : malloc(sizeof *block);
    if (block) {
        *block = (struct block){ events, 1 };
    } else {
        finish_events(&events);
    }
    for (struct service_feed *feed = share->members, *next; feed; feed = next) {
        next = feed->next_member;
        if (!block && !feed->behind) {
            feed->behind = feed->after >= first ? feed->after + 1 : first;
        } else if (!feed->behind) {
            lend(feed, block, last);
            lent++;
        }
        if (feed->behind) {
            service_share_part(feed);
        }
    }
    if (block) {
        let_go(block);
    }
    if (!share->members) {
        set_idle(share, true);
    }
    service_gather_wrote(share->service->gather, lent);
}

// The time to write has come. If it was posted meanwhile, it is on its way.
static void on_rested(struct service_rest *rest)
{
    struct service_share *share = share_of_rest(rest);
    (void)pthread_mutex_lock(&share->lock);
    bool rests = share->rests;
    (void)pthread_mutex_unlock(&share->lock);
    if (rests) {
        give(share);
    }
}

static void on_posted(struct net_task *task)
{
    struct service_share *share = (struct service_share *)(void *)task; // its first member
    struct service_gather *gather = share->service->gather;
    (void)pthread_mutex_lock(&share->lock);
    bool must = share->pending.text.size > SERVICE_GATHER_ENOUGH || share->closing;
    share->rests = !service_gather_begin(gather, must);
    bool rests = share->rests;
    (void)pthread_mutex_unlock(&share->lock);
    if (rests) {
        service_gather_rest(gather, &share->rest);
    } else {
        service_gather_forget(share->service->gather, &share->rest);
        give(share);
    }
}

// ---- coming and going ---------------------------------------------------------------------------

static void free_share(struct service_share *share)
{
    finish_events(&share->pending);
    auth_identity_unref(share->identity);
    (void)pthread_mutex_destroy(&share->lock);
    free(share->pattern);
    free(share);
}

static struct service_share *share_of(struct net_task *task)
{
    return (struct service_share *)(void *)((char *)task - offsetof(struct service_share, leave));
}

// In the pool: it may have to wait for the end of a batch.
static void leave_bus(struct net_task *task)
{
    peal_unsubscribe(share_of(task)->subscription);
}

// Nothing is posted for it any more: what was, has run before this.
static void left_bus(struct net_task *task)
{
    free_share(share_of(task));
}

// Nobody is left.
static void close_share(struct service_share *share)
{
    (void)pthread_mutex_lock(&share->lock);
    share->closing = true;
    (void)pthread_mutex_unlock(&share->lock);
    service_gather_forget(share->service->gather, &share->rest);
    *share->link = share->next;
    if (share->next) {
        share->next->link = share->link;
    }
    share->leave.run = leave_bus;
    share->leave.done = left_bus;
    net_loop_work(share->service->loop, &share->leave);
}

static enum peal_err subscribe(struct service_share *share)
{
    const struct peal_subscribe_options options = {
        .filter = is_wanted,
        .filter_context = share,
        .order = PEAL_ORDER_NONE,
        .batch = on_events,
        .batch_max = SERVICE_FEED_BATCH,
        .label = "feed",
    };
    // Under the lock: the first batch may come before its subscription is known here.
    (void)pthread_mutex_lock(&share->lock);
    enum peal_err err = peal_subscribe(&share->subscription, share->service->bus, share->pattern,
                                       &options, NULL, share);
    (void)pthread_mutex_unlock(&share->lock);
    return err;
}

static struct service_share *make_share(const struct service_feed *feed,
                                        const struct service_feed_start *start)
{
    struct service *service = feed->service;
    struct service_share *share = calloc(1, sizeof *share);
    if (!share) {
        return NULL;
    }
    share->service = service;
    share->ops = feed->ops;
    share->identity = start->identity ? auth_identity_ref(start->identity) : NULL;
    share->pattern = strdup(start->pattern);
    share->task.run = on_posted;
    share->rest.run = on_rested;
    (void)pthread_mutex_init(&share->lock, NULL); // of the usual kind: cannot fail
    if (!share->pattern || subscribe(share)) {
        free_share(share);
        return NULL;
    }
    share->next = service->shares;
    share->link = &service->shares;
    if (share->next) {
        share->next->link = &share->next;
    }
    service->shares = share;
    return share;
}

static struct service_share *find_share(const struct service_feed *feed,
                                        const struct service_feed_start *start)
{
    struct service_share *share = feed->service->shares;
    while (share && (share->ops != feed->ops || share->identity != start->identity ||
                     strcmp(share->pattern, start->pattern) != 0)) {
        share = share->next;
    }
    return share;
}

// One without members encodes for nobody: it does not count as one that others may encode for.
static void enter(struct service_share *share, struct service_feed *feed)
{
    if (!share->members) {
        service_encoded_join(share->service->encoded);
        set_idle(share, false);
    }
    feed->next_member = share->members;
    feed->member_link = &share->members;
    if (feed->next_member) {
        feed->next_member->member_link = &feed->next_member;
    }
    share->members = feed;
}

static void take_out(struct service_feed *feed)
{
    *feed->member_link = feed->next_member;
    if (feed->next_member) {
        feed->next_member->member_link = feed->member_link;
    }
    feed->member_link = NULL;
    if (!feed->share->members) {
        service_encoded_leave(feed->service->encoded);
        set_idle(feed->share, true);
    }
}

bool service_share_join(struct service_feed *feed, const struct service_feed_start *start)
{
    uint64_t after = 0;
    // Of types that begin with `$` it is not known which event is the newest.
    if (!feed->ops->lend || !start->alike || start->max_rate || start->from != PEAL_FROM_NOW ||
        strchr(start->pattern, '$') || !service_types_last(feed->service->types, &after)) {
        return false;
    }
    struct service_share *share = find_share(feed, start);
    share = share ? share : make_share(feed, start);
    if (!share) {
        return false;
    }
    feed->share = share;
    feed->after = after;
    enter(share, feed);
    return true;
}

void service_share_leave(struct service_feed *feed)
{
    struct service_share *share = feed->share;
    if (feed->member_link) {
        take_out(feed);
    } else {
        share->alone--;
    }
    feed->share = NULL;
    if (!share->members && share->alone == 0) {
        close_share(share);
    }
}

void service_share_part(struct service_feed *feed)
{
    const struct service_feed_start start = { .pattern = feed->share->pattern,
                                              .from = PEAL_FROM_POSITION,
                                              .position = feed->behind };
    if (!feed->leaving && service_feed_subscribe(feed, &start) == PEAL_OK) {
        feed->behind = 0;
        take_out(feed);
        feed->share->alone++;
        service_encoded_join(feed->service->encoded);
    }
}

// Who asks wants to return: what comes from here on is encoded, and what was passed over by then is
// what others were lent. If nobody comes, the next turn finds no members.
uint64_t service_share_taken(const struct service_feed *feed)
{
    struct service_share *share = feed->share;
    (void)pthread_mutex_lock(&share->lock);
    if (share->idle) {
        share->idle = false;
        share->taken = share->last;
    }
    (void)pthread_mutex_unlock(&share->lock);
    return share->taken;
}

bool service_share_rests(struct service_share *share)
{
    if (!service_subscription_rests(share->subscription)) {
        return false;
    }
    (void)pthread_mutex_lock(&share->lock);
    bool nothing = share->pending.count == 0 && !share->posted;
    (void)pthread_mutex_unlock(&share->lock);
    return nothing;
}

void service_share_return(struct service_feed *feed, uint64_t after)
{
    feed->after = after;
    feed->share->alone--;
    enter(feed->share, feed);
}
