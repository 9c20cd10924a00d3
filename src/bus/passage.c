// SPDX-License-Identifier: MIT
//
// A message before the log: whether it makes sense and keeps its limits, what it inherits from the
// event being handled, what interceptors make of it; and the receipt its publisher gets.
#include "bus/publish.h"

#include "base/error.h"

#include <assert.h>
#include <string.h>

// Counts what a limit kept out.
enum peal_err pl_count_limit(struct peal_bus *bus, enum peal_err err)
{
    if (err == PEAL_ELIMIT || err == PEAL_ELOOP || err == PEAL_ECONFLICT) {
        pl_count_shared(&bus->rejected, 1);
    }
    return err;
}

enum peal_err pl_refuse_data(struct peal_bus *bus, const void *data, size_t size)
{
    if (!data && size > 0) {
        return pl_fail(PEAL_EINVAL, "data is NULL but its size is %zu", size);
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err) {
        return err;
    }
    pl_count_shared(&bus->rejected, 1);
    return pl_fail(PEAL_ELIMIT,
                   "data of %zu bytes: at most %zu are allowed (data_max); put large things "
                   "elsewhere and publish where they are",
                   size, (size_t)bus->data_max);
}

// What makes no sense is said before anything else is looked at: the order the header promises.
static bool makes_no_sense(const struct peal_message *message)
{
    return (unsigned)message->expect > PEAL_EXPECT_VERSION ||
           (message->deliver_at_ns && message->expect) ||
           (unsigned)message->priority > PEAL_PRIORITY(PEAL_PRIORITY_HIGHEST) ||
           (message->size > 0 && !message->data);
}

static enum peal_err refuse_nonsense(const struct peal_message *message)
{
    if ((unsigned)message->expect > PEAL_EXPECT_VERSION) {
        return pl_fail(PEAL_EINVAL, "expect %d is not a condition", (int)message->expect);
    }
    if (message->deliver_at_ns && message->expect) {
        return pl_fail(PEAL_EINVAL, "an event that is published at a time cannot expect a version "
                                    "of its stream: nobody would be there to be told");
    }
    size_t size;
    return pl_message_check(message, &size);
}

enum peal_err pl_passage_topic(struct peal_topic **out, struct pl_slot *slot,
                               const struct peal_message *message)
{
    if (__builtin_expect(makes_no_sense(message), 0)) {
        return refuse_nonsense(message);
    }
    if (message->topic) {
        if (message->topic->bus != slot->bus) {
            return pl_fail(PEAL_EINVAL, "topic \"%s\" belongs to another bus",
                           message->topic->type);
        }
        *out = (struct peal_topic *)message->topic; // const only for users
        return PEAL_OK;
    }
    if (!message->type) {
        return pl_fail(PEAL_EINVAL, "a message needs a type or a topic");
    }
    return pl_topic_of(out, slot, message->type);
}

// A publish from inside a handler carries on what the handled event began.
static enum peal_err inherit(struct pl_passage *passage, const struct peal_event *cause)
{
    if (cause->hops >= PEAL_HOPS_MAX) {
        return pl_fail(PEAL_ELOOP,
                       "\"%s\" would be causal hop %d: do handlers publish what triggers them?",
                       passage->topic->type, PEAL_HOPS_MAX + 1);
    }
    passage->baggage->own = *passage->message;
    struct peal_message *own = &passage->baggage->own;
    if (!own->correlation) {
        own->correlation = peal_event_correlation(cause);
    }
    if (!own->causation) {
        own->causation = peal_event_id(cause);
    }
    if (!own->traceparent) {
        own->traceparent = peal_event_traceparent(cause);
        own->tracestate = peal_event_tracestate(cause);
    }
    passage->message = own;
    return PEAL_OK;
}

static bool is_given(const char *text)
{
    return text && *text;
}

static bool is_conditional(const struct peal_bus *bus, const struct peal_message *message)
{
    return is_given(message->id) || message->expect != PEAL_EXPECT_ANY ||
           (is_given(message->subject) && bus->keeps);
}

static enum peal_err check_durability(const struct peal_bus *bus,
                                      const struct peal_message *message)
{
    enum peal_durability best = bus->engine->ops->durability;
    if ((unsigned)message->durability > PEAL_DURABILITY_DISK) {
        return pl_fail(PEAL_EINVAL, "durability %d: there is no such level",
                       (int)message->durability);
    }
    if (message->durability > best) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s: keeps events in memory only; durability %d is more than it can "
                       "promise; file: can",
                       bus->engine->ops->scheme, (int)message->durability);
    }
    return PEAL_OK;
}

// Everything before the log: inheritance, interceptors, limits. Fills in the request.
enum peal_err pl_passage_prepare(struct peal_bus *bus, struct pl_slot *slot,
                                 struct pl_passage *passage, struct pl_request *request)
{
    const struct peal_message *message = passage->message;
    if (pl_data_is_bad(bus, message->data, message->size)) {
        return pl_refuse_data(bus, message->data, message->size);
    }
    enum peal_err err = PEAL_OK;
    request->append.hops = 0;
    if (slot->current) {
        err = inherit(passage, slot->current);
        request->append.hops = (uint16_t)(slot->current->hops + 1);
    }
    // After a loop too: what the message itself has wrong comes first.
    enum peal_err wrong = pl_message_check(passage->message, &request->append.attributes);
    err = pl_count_limit(bus, wrong ? wrong : err);
    if (!err) {
        err = check_durability(bus, passage->message);
    }
    if (!err && passage->route->interceptor_count > 0) {
        passage->drafted = true;
        err = pl_draft_run(&passage->baggage->draft, slot, passage->route, passage->message,
                           passage->topic->type);
        passage->message = &passage->baggage->draft.message;
        if (!err) {
            err = pl_count_limit(bus,
                                 pl_message_check(passage->message, &request->append.attributes));
        }
    }
    request->append.message = passage->message;
    request->append.type = passage->topic->id;
    request->append.outside = NULL;
    request->conditional = is_conditional(bus, passage->message);
    return err;
}

// Data too large to be copied while others wait goes to a block of its own. PEAL_ENOMEM.
enum peal_err pl_passage_outside(struct peal_bus *bus, struct pl_append *append)
{
    const struct peal_message *message = append->message;
    append->outside = NULL;
    if (message->size <= PL_INSIDE_MAX) {
        return PEAL_OK;
    }
    append->outside = pl_outside_copy(bus->seams, message->data, message->size);
    if (!append->outside) {
        return pl_fail(PEAL_ENOMEM, "no memory for data of %zu bytes", message->size);
    }
    return PEAL_OK;
}

// It was checked that it fits.
static void copy_id(struct peal_receipt *receipt, const char *id)
{
    size_t length = strlen(id);
    assert(length < sizeof receipt->id);
    memcpy(receipt->id, id, length + 1);
}

void pl_receipt_fill(struct peal_receipt *receipt, struct peal_event *event,
                     const struct pl_request *request)
{
    assert(receipt);
    copy_id(receipt, peal_event_id(event));
    receipt->position = request ? request->position : 0;
    receipt->stream_version = request ? request->version : 0;
    receipt->durability = PEAL_DURABILITY_MEMORY;
    receipt->duplicate = request && !request->frame;
}

// The duplicate of an event: only its position is known, and the id it was given.
void pl_receipt_duplicate(struct peal_receipt *receipt, const struct pl_request *request)
{
    if (receipt) {
        *receipt = (struct peal_receipt){ .position = request->position,
                                          .durability = PEAL_DURABILITY_MEMORY,
                                          .duplicate = true };
        copy_id(receipt, request->append.message->id);
    }
}
