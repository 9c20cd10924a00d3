// SPDX-License-Identifier: MIT
//
// Durable names: the bus keeps the place, tries again and buries; a client has the handlers.
//
//     thread of the name: pull ─► DELIVERY ─► client ─► SETTLE ─► peal_delivery_settle
//                                                ▲                          │
//                                                └── SETTLED ◄── saved ◄────┘
//
// Each name a client has taken has a thread that pulls, as long as fewer deliveries are out than
// the client's window says; it sleeps in the pull. A client that is connected may take as long as
// it likes: it watches its own acknowledgement waits. When it goes, what is out is released, and
// the thread, which notices it within PATIENCE_MS, gives the name back.
//
// The thread also saves what was settled, SAVE_MS after the last time, and says so. While it cannot
// be saved, no more than UNSAVED_MAX are given out: what the client remembers is bounded as well.
#include "service/session_inside.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 250
#define PULL_MAX    64
#define WINDOW_MAX  65536
#define OUT_MS      50 // a pull, while something is out
#define SAVE_MS     20
#define UNSAVED_MAX 8192
#define NO_WAIT_MS  (7ULL * 24 * 3600 * 1000) // that nothing is settled in the name of the client

struct out {
    struct pl_list link;
    uint64_t number;
    peal_delivery *delivery;
};

struct session_named {
    struct pl_list link; // in the session, under its lock
    struct service_session *session;
    uint64_t id; // the client's
    char *name;
    peal_subscription *subscription;
    size_t window;
    pthread_mutex_t lock; // guards what follows
    pthread_cond_t room;
    struct pl_list out;
    size_t count;
    size_t unsaved;      // settled, and not known to be saved
    uint64_t settled;    // the request in which the last was
    uint64_t unsaid;     // what is saved up to there could not be said, without memory; 0: it was
    struct timespec due; // then they are saved; CLOCK_MONOTONIC
    bool leaving;
    atomic_uint refs; // the session's, and the thread's
};

static void unref(struct session_named *named)
{
    if (atomic_fetch_sub_explicit(&named->refs, 1, memory_order_acq_rel) == 1) {
        (void)pthread_mutex_destroy(&named->lock);
        (void)pthread_cond_destroy(&named->room);
        session_unref(named->session);
        free(named->name);
        free(named);
    }
}

// ---- out ----------------------------------------------------------------------------------------

static struct service_bytes *encode(const struct session_named *named, uint64_t number,
                                    const peal_event *event)
{
    const uint64_t numbers[] = { named->id, number, peal_event_attempt(event) };
    size_t head = PL_PROTOCOL_HEAD + sizeof numbers;
    size_t size = peal_event_encode(event, NULL, 0);
    struct service_bytes *message = service_bytes_create(head + size);
    if (message) {
        const struct pl_protocol_head kind = { PL_PROTOCOL_DELIVERY, 0, 0 };
        pl_protocol_head_write(message->bytes, &kind);
        memcpy(message->bytes + PL_PROTOCOL_HEAD, numbers, sizeof numbers);
        (void)peal_event_encode(event, message->bytes + head, size); // it fits
    }
    return message;
}

static void give(struct session_named *named, peal_delivery *delivery)
{
    struct service_session *session = named->session;
    const peal_event *event = peal_delivery_event(delivery);
    struct out *out = malloc(sizeof *out);
    bool may = session_may_read(session, peal_event_type(event));
    uint64_t number = session_next_delivery(session->config.feed);
    struct service_bytes *message = out && may ? encode(named, number, event) : NULL;
    bool leaving = true;
    (void)peal_delivery_extend(delivery, NO_WAIT_MS);
    if (message) {
        *out = (struct out){ .number = number, .delivery = delivery };
        pthread_mutex_lock(&named->lock);
        leaving = named->leaving;
        if (!leaving) {
            pl_list_add_tail(&named->out, &out->link);
            named->count++;
        }
        pthread_mutex_unlock(&named->lock);
    }
    if (leaving) {
        free(out);
        service_bytes_unref(message);
        // What it may not read is not for it, now or later; but if its rights are over, nobody
        // knows what it may read, and others may have the name.
        bool never = !may && !session_is_over(session);
        (void)peal_delivery_settle(delivery, never ? PEAL_DONE : PEAL_RELEASE);
    } else {
        session_send(session, message);
    }
}

static struct timespec soon(void)
{
    struct timespec then;
    (void)clock_gettime(CLOCK_MONOTONIC, &then);
    then.tv_nsec += SAVE_MS * 1000000L;
    then.tv_sec += then.tv_nsec / 1000000000;
    then.tv_nsec %= 1000000000;
    return then;
}

static bool is_over(const struct timespec *then)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > then->tv_sec ||
           (now.tv_sec == then->tv_sec && now.tv_nsec >= then->tv_nsec);
}

// With the lock.
static bool is_to_save(const struct session_named *named)
{
    return (named->unsaved > 0 || named->unsaid > 0) && is_over(&named->due);
}

static bool say_settled(struct session_named *named, uint64_t settled)
{
    const uint64_t numbers[] = { named->id, settled };
    struct service_bytes *message = service_bytes_create(PL_PROTOCOL_HEAD + sizeof numbers);
    if (message) {
        const struct pl_protocol_head kind = { PL_PROTOCOL_SETTLED, 0, 0 };
        pl_protocol_head_write(message->bytes, &kind);
        memcpy(message->bytes + PL_PROTOCOL_HEAD, numbers, sizeof numbers);
    }
    if (message) {
        session_send(named->session, message);
    }
    return message != NULL;
}

// Saves what was settled, and says so, if it is time. What fails is tried again after as long: the
// client would remember it until it settles something else.
static void save(struct session_named *named)
{
    pthread_mutex_lock(&named->lock);
    bool due = is_to_save(named);
    size_t unsaved = named->unsaved;
    uint64_t settled = unsaved > 0 ? named->settled : named->unsaid;
    pthread_mutex_unlock(&named->lock);
    if (!due) {
        return;
    }
    bool saved = unsaved == 0 || !peal_name_save(named->session->config.bus, named->name);
    bool said = saved && say_settled(named, settled);
    pthread_mutex_lock(&named->lock);
    named->unsaved -= saved ? unsaved : 0;
    named->unsaid = said ? 0 : saved ? settled : named->unsaid;
    named->due = soon();
    pthread_mutex_unlock(&named->lock);
}

// How many may be pulled; 0: it leaves, if *out_leaves, or there is something to be saved.
static size_t wait_for_room(struct session_named *named, bool *out_leaves)
{
    size_t room = 0;
    pthread_mutex_lock(&named->lock);
    while (!named->leaving && !is_to_save(named)) {
        bool full = named->count >= named->window || named->unsaved >= UNSAVED_MAX;
        room = full ? 0 : named->window - named->count;
        if (!full) {
            break;
        }
        if (named->unsaved > 0 || named->unsaid > 0) {
            const struct timespec due = named->due;
            (void)pthread_cond_timedwait(&named->room, &named->lock, &due);
        } else {
            (void)pthread_cond_wait(&named->room, &named->lock);
        }
    }
    *out_leaves = named->leaving;
    pthread_mutex_unlock(&named->lock);
    return room < PULL_MAX ? room : PULL_MAX;
}

// As long as a pull may wait: what is settled meanwhile is saved after it.
static uint64_t patience(struct session_named *named)
{
    pthread_mutex_lock(&named->lock);
    bool saves = named->unsaved > 0 || named->unsaid > 0;
    uint64_t wait_ms = saves ? SAVE_MS : named->count > 0 ? OUT_MS : PATIENCE_MS;
    pthread_mutex_unlock(&named->lock);
    return wait_ms;
}

// There was no memory to pull with: others may give some back meanwhile.
static void wait_for_memory(struct session_named *named)
{
    pthread_mutex_lock(&named->lock);
    const struct timespec then = soon();
    while (!named->leaving && !is_over(&then)) {
        (void)pthread_cond_timedwait(&named->room, &named->lock, &then);
    }
    pthread_mutex_unlock(&named->lock);
}

static void *pull_all(void *context)
{
    struct session_named *named = context;
    peal_delivery *deliveries[PULL_MAX];
    bool leaves = false;
    for (;;) {
        size_t count = 0, room = wait_for_room(named, &leaves);
        if (leaves || session_is_over(named->session)) {
            break; // the connection is ended soon
        }
        save(named);
        if (room == 0) {
            continue;
        }
        enum peal_err err =
            peal_subscription_pull(deliveries, &count, named->subscription, room, patience(named));
        for (size_t i = 0; i < count && !err; i++) {
            give(named, deliveries[i]);
        }
        if (err == PEAL_ENOMEM) {
            wait_for_memory(named);
        } else if (err && err != PEAL_ETIMEDOUT) {
            break; // the bus stops
        }
    }
    struct service_tail *feed = named->session->config.feed;
    peal_unsubscribe(named->subscription);
    unref(named);
    session_count_thread(feed, false);
    return NULL;
}

// ---- settling -----------------------------------------------------------------------------------

// Takes one that is out; NULL: it is not.
static peal_delivery *take_out(struct session_named *named, uint64_t number)
{
    peal_delivery *delivery = NULL;
    struct out *out;
    pthread_mutex_lock(&named->lock);
    PL_LIST_EACH (out, &named->out, link) {
        if (out->number == number) {
            break;
        }
    }
    if (pl_list_link(out, link) != &named->out) {
        pl_list_remove(&out->link);
        delivery = out->delivery;
        named->count--;
        free(out);
        pthread_cond_signal(&named->room);
    }
    pthread_mutex_unlock(&named->lock);
    return delivery;
}

// With a reference; NULL: the client has no such name.
static struct session_named *find(struct service_session *session, uint64_t id)
{
    struct session_named *named, *found = NULL;
    pthread_mutex_lock(&session->lock);
    PL_LIST_EACH (named, &session->names, link) {
        found = named->id == id ? named : found;
    }
    if (found) {
        atomic_fetch_add_explicit(&found->refs, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&session->lock);
    return found;
}

bool session_has_name(struct service_session *session, const char *name)
{
    struct session_named *named;
    bool found = false;
    pthread_mutex_lock(&session->lock);
    PL_LIST_EACH (named, &session->names, link) {
        found = found || strcmp(named->name, name) == 0;
    }
    pthread_mutex_unlock(&session->lock);
    return found;
}

// It is done: from now on, saving saves it.
static void note_settled(struct session_named *named, uint64_t request)
{
    pthread_mutex_lock(&named->lock);
    if (named->unsaved++ == 0) {
        named->due = soon();
    }
    named->settled = request;
    pthread_mutex_unlock(&named->lock);
}

void session_settle(struct service_session *session, const struct pl_protocol_head *head,
                    struct pl_unpack *unpack)
{
    uint64_t id = pl_unpack_number(unpack), number = pl_unpack_number(unpack);
    uint64_t verdict = pl_unpack_number(unpack);
    const char *code = pl_unpack_text(unpack), *text = pl_unpack_text(unpack);
    struct session_named *named = unpack->bad || verdict >= PEAL_LATER ? NULL : find(session, id);
    if (!named) {
        return; // of a connection that is gone
    }
    peal_delivery *delivery = take_out(named, number);
    if (delivery) {
        if (code && *code) {
            peal_fail(peal_delivery_event(delivery), code, text);
        }
        // What came too late was given out again.
        (void)peal_delivery_settle(delivery, (enum peal_verdict)verdict);
    }
    note_settled(named, head->number);
    unref(named);
}

// ---- coming and going ---------------------------------------------------------------------------

// What it has is for others from now on.
static void leave(struct session_named *named)
{
    struct pl_list *link;
    struct pl_list out;
    pl_list_init(&out);
    pthread_mutex_lock(&named->lock);
    named->leaving = true;
    while ((link = pl_list_pop_head(&named->out))) {
        pl_list_add_tail(&out, link);
    }
    named->count = 0;
    pthread_cond_broadcast(&named->room);
    pthread_mutex_unlock(&named->lock);
    while ((link = pl_list_pop_head(&out))) {
        struct out *one = pl_container_of(link, struct out, link);
        (void)peal_delivery_settle(one->delivery, PEAL_RELEASE); // or it was too late
        free(one);
    }
    unref(named);
}

void session_leave_names(struct service_session *session)
{
    for (;;) {
        pthread_mutex_lock(&session->lock);
        struct pl_list *link = pl_list_pop_head(&session->names);
        pthread_mutex_unlock(&session->lock);
        if (!link) {
            return;
        }
        leave(pl_container_of(link, struct session_named, link));
    }
}

static struct peal_subscribe_options read_options(struct pl_unpack *unpack, uint64_t *out_window)
{
    struct peal_subscribe_options options = { .mode = PEAL_PULL };
    options.label = pl_unpack_text(unpack);
    options.retry.non_retryable = pl_unpack_text(unpack);
    options.from = (enum peal_start)pl_unpack_number(unpack);
    options.from_position = pl_unpack_number(unpack);
    options.from_time_ns = (int64_t)pl_unpack_number(unpack);
    *out_window = pl_unpack_number(unpack);
    options.order = (enum peal_order)pl_unpack_number(unpack);
    options.spent = (enum peal_spent)pl_unpack_number(unpack);
    options.after_dead = (enum peal_after_dead)pl_unpack_number(unpack);
    struct peal_retry *retry = &options.retry;
    retry->immediate = (unsigned)pl_unpack_number(unpack);
    retry->initial_ms = pl_unpack_number(unpack);
    retry->coefficient = (double)pl_unpack_number(unpack) / 1000000;
    retry->max_ms = pl_unpack_number(unpack);
    retry->max_attempts = (unsigned)pl_unpack_number(unpack);
    retry->unlimited = pl_unpack_number(unpack) != 0;
    retry->max_elapsed_ms = pl_unpack_number(unpack);
    retry->no_jitter = pl_unpack_number(unpack) != 0;
    return options;
}

static enum peal_err begin(struct session_named *named)
{
    struct service_session *session = named->session;
    pthread_attr_t attributes;
    pthread_t thread;
    named->refs = 2;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, 256 << 10);
    session_count_thread(session->config.feed, true);
    int failed = pthread_create(&thread, &attributes, pull_all, named);
    (void)pthread_attr_destroy(&attributes);
    if (failed) {
        session_count_thread(session->config.feed, false);
        return pl_fail(PEAL_ENOMEM, "the service has no thread for one more durable name");
    }
    pthread_mutex_lock(&session->lock);
    bool closed = session->closed;
    if (!closed) {
        pl_list_add_tail(&session->names, &named->link);
    }
    pthread_mutex_unlock(&session->lock);
    if (closed) {
        leave(named);
    }
    return PEAL_OK;
}

static void init_room(pthread_cond_t *room)
{
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(room, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

static enum peal_err subscribe(struct service_session *session, struct pl_unpack *unpack)
{
    uint64_t id = pl_unpack_number(unpack), window = 0;
    const char *name = pl_unpack_text(unpack), *pattern = pl_unpack_text(unpack);
    struct peal_subscribe_options options = read_options(unpack, &window);
    options.name = name;
    if (unpack->bad || !name || !pattern || window == 0) {
        return pl_fail(PEAL_EINVAL, "a request to subscribe that makes no sense");
    }
    struct session_named *named = find(session, id);
    if (named) {
        unref(named);
        return pl_fail(PEAL_EEXISTS, "this connection has taken that name already");
    }
    named = calloc(1, sizeof *named);
    if (!named || !(named->name = strdup(name))) {
        free(named);
        return pl_fail(PEAL_ENOMEM, "the service has no memory for one more durable name");
    }
    named->id = id;
    named->window = window < WINDOW_MAX ? (size_t)window : WINDOW_MAX;
    pl_list_init(&named->out);
    enum peal_err err =
        peal_subscribe(&named->subscription, session->config.bus, pattern, &options, NULL, NULL);
    if (err) {
        free(named->name);
        free(named);
        return err;
    }
    named->session = session;
    session_ref(session);
    (void)pthread_mutex_init(&named->lock, NULL);
    init_room(&named->room);
    err = begin(named);
    if (err) {
        peal_unsubscribe(named->subscription);
        named->refs = 1;
        unref(named);
    }
    return err;
}

void session_subscribe(struct service_session *session, const struct pl_protocol_head *head,
                       struct pl_unpack *unpack)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, &pl_seams_real);
    session_answer(session, head->number, subscribe(session, unpack), &pack);
}

void session_unsubscribe(struct service_session *session, const struct pl_protocol_head *head,
                         struct pl_unpack *unpack)
{
    struct pl_pack pack;
    struct session_named *named = find(session, pl_unpack_number(unpack));
    pl_pack_begin(&pack, &pl_seams_real);
    if (named) {
        pthread_mutex_lock(&session->lock);
        bool mine = named->link.next != NULL;
        pl_list_remove(&named->link);
        pthread_mutex_unlock(&session->lock);
        if (mine) {
            (void)peal_name_save(session->config.bus, named->name); // or it is saved later
            leave(named);
        }
        unref(named); // NOLINT(clang-analyzer-unix.Malloc): ours, of find()
    }
    session_answer(session, head->number, PEAL_OK, &pack);
}
