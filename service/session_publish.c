// SPDX-License-Identifier: MIT
//
// Publishing: the records of a request become messages that point into it, and the bus is called
// once for all of them. Where it takes them all or none and says none, each is tried by itself,
// unless they are to go together: so every publisher hears of its own message.
//
// A repeat may have been published before the connection broke. First it is looked in the log, from
// where that ended when the client first sent it, by the ids; what is there is a duplicate, and the
// rest is published.
#include "service/session_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAIRS    1024 // of a block
#define SLICE    128  // what the bus needs for so many events stays in a CPU's own cache
#define PAUSE_NS 2000000

struct pairs {
    struct pairs *before;
    size_t used;
    struct peal_pair each[PAIRS];
};

struct order {
    struct service_session *session;
    struct pl_publish_head head;
    struct peal_message *messages;
    struct peal_receipt *receipts;
    struct pl_outcome *outcomes;
    struct pairs *pairs;
    bool holds;        // the bell of those who follow
    const char *wrong; // of the first that failed: its sentence
    char sentence[512];
};

static void finish(struct order *order)
{
    while (order->pairs) {
        struct pairs *before = order->pairs->before;
        free(order->pairs);
        order->pairs = before;
    }
    free(order->messages);
    free(order->receipts);
    free(order->outcomes);
}

static void note(struct order *order, size_t index, enum peal_err err, const char *sentence)
{
    order->outcomes[index] = (struct pl_outcome){ .code = err };
    if (!order->wrong) {
        (void)snprintf(order->sentence, sizeof order->sentence, "%s", sentence);
        order->wrong = order->sentence;
    }
}

static void note_receipt(struct order *order, size_t index, const struct peal_receipt *receipt)
{
    order->outcomes[index] = (struct pl_outcome){ .position = receipt->position,
                                                  .version = receipt->stream_version,
                                                  .durability = receipt->durability,
                                                  .duplicate = receipt->duplicate };
}

// How many go to the bus at a time.
static size_t slice_of(const struct pl_publish_head *head)
{
    bool whole = (head->flags & PL_PUBLISH_TOGETHER) || head->count < SLICE;
    return whole ? head->count : SLICE;
}

// ---- reading ------------------------------------------------------------------------------------

static bool provide_pairs(struct order *order)
{
    if (!order->pairs || PAIRS - order->pairs->used < PEAL_METADATA_MAX) {
        struct pairs *more = malloc(sizeof *more);
        if (!more) {
            return false;
        }
        more->before = order->pairs;
        more->used = 0;
        order->pairs = more;
    }
    return true;
}

// PEAL_EINVAL: what came makes no sense. PEAL_ENOMEM.
static enum peal_err read_all(struct order *order, const char *bytes, size_t size)
{
    struct pl_unpack unpack = { bytes + PL_PUBLISH_HEAD, size - PL_PUBLISH_HEAD, false };
    unsigned count = order->head.count;
    order->messages = malloc(count * sizeof *order->messages);
    order->receipts = malloc(slice_of(&order->head) * sizeof *order->receipts);
    order->outcomes = calloc(count, sizeof *order->outcomes);
    if (!order->messages || !order->receipts || !order->outcomes) {
        return PEAL_ENOMEM;
    }
    for (unsigned i = 0; i < count; i++) {
        if (!provide_pairs(order)) {
            return PEAL_ENOMEM;
        }
        struct peal_message *message = &order->messages[i];
        if (!pl_record_read(message, order->pairs->each + order->pairs->used, &unpack)) {
            return PEAL_EINVAL;
        }
        order->pairs->used += message->metadata_count;
    }
    return unpack.left ? PEAL_EINVAL : PEAL_OK;
}

// ---- rights -------------------------------------------------------------------------------------

static const char forbidden[] = "this client may not publish events of that type";

// Messages that may not be published are out of the order. How many are left.
static size_t check_rights(struct order *order, bool *pending)
{
    size_t left = 0;
    const char *last = NULL;
    bool may = false;
    for (unsigned i = 0; i < order->head.count; i++) {
        const char *type = order->messages[i].type ? order->messages[i].type : "";
        if (!last || strcmp(type, last) != 0) {
            may = session_may_publish(order->session, type);
            last = type;
        }
        pending[i] = may;
        left += may;
        if (!may) {
            char sentence[PEAL_TYPE_MAX + 64];
            (void)snprintf(sentence, sizeof sentence, "this client may not publish %.*s",
                           PEAL_TYPE_MAX, type);
            note(order, i, PEAL_EREFUSED, sentence);
        }
    }
    return left;
}

// ---- repeats ------------------------------------------------------------------------------------

static size_t hash_of(const char *text)
{
    size_t hash = 14695981039346656037U;
    for (; *text; text++) {
        hash = (hash ^ (unsigned char)*text) * 1099511628211U;
    }
    return hash;
}

// Ids of the order by their hashes: indexes + 1, 0 where there is none.
struct ids {
    unsigned *slots;
    size_t mask;
};

static bool index_ids(struct ids *ids, const struct order *order, const bool *pending)
{
    size_t size = 16;
    while (size < (size_t)order->head.count * 2) {
        size *= 2;
    }
    ids->slots = calloc(size, sizeof *ids->slots);
    ids->mask = size - 1;
    for (unsigned i = 0; i < order->head.count && ids->slots; i++) {
        const char *id = order->messages[i].id;
        if (pending[i] && id) {
            size_t at = hash_of(id) & ids->mask;
            while (ids->slots[at]) {
                at = (at + 1) & ids->mask;
            }
            ids->slots[at] = i + 1;
        }
    }
    return ids->slots != NULL;
}

// The event is one of the order: it was published.
static void find(const struct ids *ids, struct order *order, bool *pending, const peal_event *event)
{
    const char *id = peal_event_id(event);
    for (size_t at = hash_of(id) & ids->mask; ids->slots[at]; at = (at + 1) & ids->mask) {
        unsigned index = ids->slots[at] - 1;
        const struct peal_message *message = &order->messages[index];
        const char *source = message->source ? message->source : "";
        if (pending[index] && strcmp(message->id, id) == 0 &&
            (!*source || strcmp(source, peal_event_source(event)) == 0)) {
            pending[index] = false;
            order->outcomes[index] =
                (struct pl_outcome){ .position = peal_event_position(event),
                                     .version = peal_event_stream_version(event),
                                     .durability = PEAL_DURABILITY_MEMORY,
                                     .duplicate = true };
        }
    }
}

// What was found is as durable as its message asks.
static enum peal_err settle_found(struct order *order, const bool *pending)
{
    enum peal_err err = PEAL_OK;
    for (unsigned i = 0; i < order->head.count && !err; i++) {
        enum peal_durability level = order->messages[i].durability;
        level = level ? level : PEAL_DURABILITY_OS;
        struct pl_outcome *outcome = &order->outcomes[i];
        if (!pending[i] && outcome->duplicate && level > outcome->durability) {
            err = peal_bus_settle(order->session->config.bus, level);
            err = err == PEAL_EUNSUPPORTED ? PEAL_OK : err;
            for (unsigned j = i; j < order->head.count && !err; j++) {
                order->outcomes[j].durability = level; // of those that are pending it is said anew
            }
        }
    }
    return err;
}

static enum peal_err look_for(struct order *order, bool *pending)
{
    struct ids ids;
    if (!index_ids(&ids, order, pending)) {
        return PEAL_ENOMEM;
    }
    const struct peal_query query = { .from_position = order->head.from };
    peal_reader *reader = NULL;
    const peal_event *event;
    enum peal_err err = peal_reader_open(&reader, order->session->config.bus, &query);
    while (!err && !(err = peal_reader_next(&event, reader))) {
        find(&ids, order, pending, event);
    }
    peal_reader_close(reader);
    free(ids.slots);
    return err == PEAL_ENOTFOUND ? settle_found(order, pending) : err;
}

// ---- publishing ---------------------------------------------------------------------------------

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static enum peal_err publish_now(struct order *order, const struct peal_message *messages,
                                 size_t count)
{
    peal_bus *bus = order->session->config.bus;
    return count == 1 ? peal_publish(bus, messages, order->receipts)
                      : peal_publish_batch(bus, messages, count, order->receipts);
}

static bool is_closed(struct service_session *session)
{
    pthread_mutex_lock(&session->lock);
    bool closed = session->closed;
    pthread_mutex_unlock(&session->lock);
    return closed;
}

static void release_bell(struct order *order)
{
    if (order->holds) {
        order->holds = false;
        session_release_bell(order->session->config.feed);
    }
}

// A publisher that outruns those who read is slowed, not refused.
static enum peal_err publish_patiently(struct order *order, const struct peal_message *messages,
                                       size_t count)
{
    enum peal_err err = publish_now(order, messages, count);
    int64_t until = err == PEAL_EAGAIN ? now_ms() + (int64_t)order->session->config.publish_ms : 0;
    if (err == PEAL_EAGAIN) {
        release_bell(order); // who reads makes room
    }
    while (err == PEAL_EAGAIN && now_ms() < until && !is_closed(order->session)) {
        const struct timespec pause = { .tv_nsec = PAUSE_NS };
        (void)nanosleep(&pause, NULL);
        err = publish_now(order, messages, count);
    }
    return err;
}

static void publish_one(struct order *order, size_t index)
{
    enum peal_err err = publish_patiently(order, &order->messages[index], 1);
    if (err) {
        note(order, index, err, peal_error_sentence());
    } else {
        note_receipt(order, index, order->receipts);
    }
}

static void publish_each(struct order *order, const bool *pending)
{
    for (unsigned i = 0; i < order->head.count; i++) {
        if (pending[i]) {
            publish_one(order, i);
        }
    }
}

// Would each by itself end as all of them did?
static bool concerns_all(enum peal_err err)
{
    return err == PEAL_ECLOSED || err == PEAL_EIO || err == PEAL_ENOMEM || err == PEAL_EAGAIN ||
           err == PEAL_ETIMEDOUT;
}

static bool has_time(const struct order *order)
{
    for (unsigned i = 0; i < order->head.count; i++) {
        if (order->messages[i].deliver_at_ns) {
            return true;
        }
    }
    return false;
}

// Those from an index on in one batch, which none of the bus's other limits has kept out.
static enum peal_err publish_some(struct order *order, size_t from, size_t count)
{
    enum peal_err err = publish_patiently(order, order->messages + from, count);
    for (size_t i = 0; i < count && !err; i++) {
        note_receipt(order, from + i, &order->receipts[i]);
    }
    return err;
}

// All of them: in one batch if they are to be together, else a slice at a time. What the others
// would fail of, too, is not tried again.
static void publish_slices(struct order *order)
{
    bool together = (order->head.flags & PL_PUBLISH_TOGETHER) != 0;
    size_t count = order->head.count, slice = slice_of(&order->head);
    for (size_t from = 0; from < count; from += slice) {
        size_t some = count - from < slice ? count - from : slice;
        enum peal_err err = publish_some(order, from, some);
        bool over = err && (together || concerns_all(err));
        const char *sentence = peal_error_sentence();
        for (size_t i = from; over && i < count; i++) {
            note(order, i, err, sentence);
        }
        for (size_t i = from; err && !over && i < from + some; i++) {
            publish_one(order, i);
        }
        if (over) {
            return;
        }
    }
}

static void publish_all(struct order *order)
{
    order->holds = true;
    session_hold_bell(order->session->config.feed);
    publish_slices(order);
    release_bell(order);
}

static void publish_order(struct order *order, bool *pending)
{
    bool together = (order->head.flags & PL_PUBLISH_TOGETHER) != 0;
    unsigned count = order->head.count;
    size_t left = check_rights(order, pending);
    if (together && left < count) {
        memset(pending, 0, count * sizeof *pending);
        for (unsigned i = 0; i < count; i++) {
            note(order, i, PEAL_EREFUSED, forbidden);
        }
        return;
    }
    if (order->head.flags & PL_PUBLISH_REPEAT) {
        enum peal_err err = look_for(order, pending);
        left = 0;
        for (unsigned i = 0; i < count; i++) {
            if (pending[i] && err) {
                note(order, i, err, peal_error_sentence());
                pending[i] = false;
            }
            left += pending[i];
        }
    }
    // Some of them only, or at times of their own: each by itself.
    bool whole = left == count && left > 1 && !has_time(order);
    if (whole) {
        publish_all(order);
    } else {
        publish_each(order, pending);
    }
}

static struct service_bytes *write_answer(const struct order *order, uint64_t number)
{
    size_t size = PL_PROTOCOL_HEAD + (size_t)order->head.count * PL_OUTCOME_SIZE;
    size_t text = order->wrong ? strlen(order->wrong) + 1 : 0;
    struct service_bytes *message = service_bytes_create(size + 8 + text);
    if (!message) {
        return NULL;
    }
    const struct pl_protocol_head head = { PL_PROTOCOL_ANSWER, 0, number };
    pl_protocol_head_write(message->bytes, &head);
    for (unsigned i = 0; i < order->head.count; i++) {
        pl_outcome_write(message->bytes + PL_PROTOCOL_HEAD + (size_t)i * PL_OUTCOME_SIZE,
                         &order->outcomes[i]);
    }
    uint64_t length = text;
    memcpy(message->bytes + size, &length, 8);
    if (text) {
        memcpy(message->bytes + size + 8, order->wrong, text);
    }
    return message;
}

void session_publish(struct service_session *session, const struct pl_protocol_head *head,
                     const char *bytes, size_t size)
{
    struct order order = { .session = session };
    enum peal_err err = PEAL_EINVAL;
    bool *pending = NULL;
    if (pl_publish_head_read(&order.head, bytes, size)) {
        err = read_all(&order, bytes, size);
        pending = calloc(order.head.count, sizeof *pending);
        err = !err && !pending ? PEAL_ENOMEM : err;
    }
    if (err) {
        session_refuse(session, head->number, err,
                       err == PEAL_ENOMEM ? "the service has no memory for what is published"
                                          : "what is published cannot be read");
    } else {
        publish_order(&order, pending);
        session_send(session, write_answer(&order, head->number));
    }
    free(pending);
    finish(&order);
}

// Does none of them wait for a disk or a time, and may all be published?
static bool is_simple(struct order *order)
{
    const char *last = NULL;
    for (unsigned i = 0; i < order->head.count; i++) {
        const struct peal_message *message = &order->messages[i];
        const char *type = message->type ? message->type : "";
        if (message->durability == PEAL_DURABILITY_DISK || message->deliver_at_ns) {
            return false;
        }
        if ((!last || strcmp(type, last) != 0) && !session_may_publish(order->session, type)) {
            return false;
        }
        last = type;
    }
    return true;
}

bool session_publish_at_once(struct service_session *session, const struct pl_protocol_head *head,
                             const char *bytes, size_t size)
{
    struct order order = { .session = session };
    bool done = pl_publish_head_read(&order.head, bytes, size) && order.head.count <= SLICE &&
                !(order.head.flags & PL_PUBLISH_REPEAT) && !read_all(&order, bytes, size) &&
                is_simple(&order) && !publish_now(&order, order.messages, order.head.count);
    if (done) {
        for (unsigned i = 0; i < order.head.count; i++) {
            note_receipt(&order, i, &order.receipts[i]);
        }
        session_send(session, write_answer(&order, head->number));
    }
    finish(&order);
    return done;
}
