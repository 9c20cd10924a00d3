// SPDX-License-Identifier: MIT
//
// Tracing: spans are made where something happens, and given away when it has ended.
//
// The thread's slot says which span a handler runs in (slot->span), beside the event it handles
// (slot->current). What the handler publishes is a child of the span if both are of one trace;
// else, in a batch whose handler has named an event of another trace, of that event.
//
// Begin and end are of one clock each: the time of day when a span begins, and the monotonic clock
// for how long it took, so that no span is longer because somebody set the clock.
#include "bus/tracing.h"

#include "base/error.h"

#include <string.h>

// Bytes of "00-<32>-<16>-<2>", and its end.
enum { TEXT_SIZE = 56, TRACE_AT = 3, SPAN_AT = 36, FLAGS_AT = 53 };

// Of two to the power of so many: a share.
enum { SHARE_BITS = 56 };

// ---- the names of spans, and W3C trace context --------------------------------------------------

static const struct peal_span_context none;

static bool is_none(const uint8_t *bytes, size_t size)
{
    return memcmp(bytes, &none, size) == 0;
}

// Lower case only, as the standard has it.
static bool read_hex(uint8_t *out, const char *text, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        const char *high = text[2 * i] ? strchr(digits, text[2 * i]) : NULL;
        const char *low = high && text[2 * i + 1] ? strchr(digits, text[2 * i + 1]) : NULL;
        if (!low) {
            return false;
        }
        out[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    return true;
}

static void write_hex(char *out, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

static void write_text(char out[TEXT_SIZE], const struct peal_span_context *context)
{
    memcpy(out, "00-", sizeof "00-");
    write_hex(out + TRACE_AT, context->trace, sizeof context->trace);
    out[SPAN_AT - 1] = '-';
    write_hex(out + SPAN_AT, context->span, sizeof context->span);
    memcpy(out + FLAGS_AT - 1, "-01", 4);
}

// False: the text is no traceparent, or its flag says that it is not sampled. Of later versions the
// first four fields are read, as the standard asks for.
static bool read_text(struct peal_span_context *out, const char *text)
{
    size_t length = text ? strnlen(text, TEXT_SIZE) : 0;
    uint8_t version, flags;
    if (length < TEXT_SIZE - 1 || text[2] != '-' || text[SPAN_AT - 1] != '-' ||
        text[FLAGS_AT - 1] != '-' || !read_hex(&version, text, 1) || version == 0xff ||
        !read_hex(&flags, text + FLAGS_AT, 1)) {
        return false;
    }
    char behind = text[TEXT_SIZE - 1];
    if (behind && (version == 0 || behind != '-')) {
        return false;
    }
    return (flags & 1) && read_hex(out->trace, text + TRACE_AT, sizeof out->trace) &&
           read_hex(out->span, text + SPAN_AT, sizeof out->span) &&
           !is_none(out->trace, sizeof out->trace) && !is_none(out->span, sizeof out->span);
}

// The slot's own chance: xorshift128+ (Vigna), seeded by the machine's, which costs a system call.
// Names are to differ, not to be hard to guess.
static uint64_t next_random(struct pl_slot *slot)
{
    const struct pl_seams *seams = slot->bus->seams;
    while (slot->chance[0] == 0 && slot->chance[1] == 0) {
        slot->chance[0] = seams->random(seams->world);
        slot->chance[1] = seams->random(seams->world);
    }
    uint64_t a = slot->chance[0], b = slot->chance[1];
    slot->chance[0] = b;
    a ^= a << 23;
    slot->chance[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
    return slot->chance[1] + b;
}

static void make_span(uint8_t out[8], struct pl_slot *slot)
{
    uint64_t random;
    do {
        random = next_random(slot);
    } while (random == 0);
    memcpy(out, &random, sizeof random);
}

// Is a trace that begins here sampled? By the last seven bytes of its name, which the standard asks
// to be random (W3C Trace Context, level 2), so that all who are asked for a share agree.
static bool begin_trace(uint8_t out[16], const struct pl_tracing *tracing, struct pl_slot *slot)
{
    make_span(out, slot);
    make_span(out + 8, slot);
    uint64_t random = 0;
    for (size_t i = 9; i < 16; i++) {
        random = random << 8 | out[i];
    }
    return random < tracing->below;
}

// ---- a span -------------------------------------------------------------------------------------

static void finish(const struct pl_tracing *tracing, struct peal_span *span)
{
    span->end_ns = span->end_ns < span->start_ns ? span->start_ns : span->end_ns;
    tracing->finished(span, tracing->context);
}

static const char *name_of(const struct pl_mailbox *mailbox)
{
    const char *name = mailbox->settings->options.name;
    return name ? name : pl_mailbox_label(mailbox);
}

// What a span says of the event it is about.
static struct peal_span describe(enum peal_span_kind kind, const struct peal_event *event,
                                 const struct pl_mailbox *mailbox)
{
    return (struct peal_span){
        .kind = kind,
        .tracestate = peal_event_tracestate(event),
        .type = event->type,
        .id = peal_event_id(event),
        .subject = peal_event_subject(event),
        .key = peal_event_key(event),
        .position = peal_event_position(event),
        .size = event->size,
        .count = 1,
        .subscription = name_of(mailbox),
        .attempt = event->attempt,
        .code = "",
        .text = "",
    };
}

struct wait {
    struct pl_slot *slot; // of the thread in which it ends
    int64_t since, until;
};

// Of an event that waited for a handler: since it came, or since it has failed.
static struct wait wait_of(struct pl_slot *slot, const struct peal_event *event,
                           int64_t last_failure, int64_t now)
{
    bool again = event->attempt > 1 && last_failure != 0;
    return (struct wait){ slot, again ? last_failure : peal_event_recorded_time(event), now };
}

// When it failed last. Of one that is being run: nobody else has its pending event.
static int64_t failed_at(const struct peal_event *event)
{
    const struct pl_call *call = event->delivery;
    return event->attempt > 1 && call && call->pending ? call->pending->last_failure : 0;
}

// The span of a wait; `context` is the event's, and becomes the span's own.
static void deliver_span(struct peal_span_context *context, const struct pl_tracing *tracing,
                         const struct pl_mailbox *mailbox, const struct peal_event *event,
                         struct wait wait)
{
    struct peal_span span = describe(PEAL_SPAN_DELIVER, event, mailbox);
    span.own = *context;
    make_span(span.own.span, wait.slot);
    memcpy(span.parent, context->span, sizeof span.parent);
    span.start_ns = wait.since;
    span.end_ns = wait.until;
    *context = span.own;
    finish(tracing, &span);
}

static bool is_waited_for(const struct pl_mailbox *mailbox, const struct peal_event *event)
{
    return mailbox->mode != PEAL_INLINE || event->attempt > 1;
}

// ---- publishing ---------------------------------------------------------------------------------

// Is a publish sampled? `out` its span, and its parent's. `explicit`: its publisher's, or NULL.
static bool begin_publish(struct peal_span *out, const struct pl_tracing *tracing,
                          struct pl_slot *slot, const char *explicit)
{
    struct peal_span_context parent;
    const char *text = explicit                ? explicit
                       : slot->current != NULL ? peal_event_traceparent(slot->current)
                                               : "";
    if (*text == '\0') {
        if (slot->current || !begin_trace(out->own.trace, tracing, slot)) {
            return false;
        }
    } else if (!read_text(&parent, text)) {
        return false;
    } else {
        memcpy(out->own.trace, parent.trace, sizeof parent.trace);
        bool inside = !explicit && memcmp(slot->span.trace, parent.trace, 16) == 0;
        memcpy(out->parent, inside ? slot->span.span : parent.span, sizeof out->parent);
    }
    make_span(out->own.span, slot);
    return true;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static void end_publish(const struct pl_tracing *tracing, struct peal_span *span,
                        const struct peal_message *message, enum peal_err err)
{
    span->kind = PEAL_SPAN_PUBLISH;
    span->type = message->topic ? message->topic->type : or_empty(message->type);
    span->tracestate = or_empty(message->tracestate);
    span->subject = or_empty(message->subject);
    span->key = message->key ? message->key : span->subject;
    span->subscription = "";
    span->err = err;
    span->code = err ? peal_err_name(err) : "";
    span->text = err ? peal_error_sentence() : "";
    finish(tracing, span);
}

enum peal_err pl_tracing_publish(struct peal_bus *bus, const struct peal_message *message,
                                 bool may_block, struct peal_receipt *receipt)
{
    const struct pl_tracing *tracing = pl_tracing_of(bus);
    struct pl_slot *slot = pl_slot_mine(bus);
    struct peal_span span = { .count = 1, .size = message->size };
    if (!slot || !begin_publish(&span, tracing, slot, message->traceparent)) {
        return pl_publish_message(bus, message, may_block, receipt);
    }
    char text[TEXT_SIZE];
    struct peal_message own = *message;
    struct peal_receipt unasked = { .id = "" };
    receipt = receipt ? receipt : &unasked;
    if (!own.traceparent) {
        write_text(text, &span.own);
        own.traceparent = text;
        // As if it had inherited both.
        own.tracestate = slot->current && !own.tracestate ? peal_event_tracestate(slot->current)
                                                          : own.tracestate;
    }
    span.start_ns = pl_bus_now(bus);
    int64_t ticks = pl_bus_ticks(bus);
    enum peal_err err = pl_publish_message(bus, &own, may_block, receipt);
    span.end_ns = span.start_ns + (pl_bus_ticks(bus) - ticks);
    span.id = err ? or_empty(own.id) : receipt->id;
    span.position = err ? 0 : receipt->position;
    end_publish(tracing, &span, &own, err);
    return err;
}

enum peal_err pl_tracing_publish_many(struct peal_bus *bus, const struct peal_message *messages,
                                      size_t count, struct peal_receipt *receipts)
{
    const struct pl_tracing *tracing = pl_tracing_of(bus);
    struct pl_slot *slot = pl_slot_mine(bus);
    struct peal_span span = { .count = count };
    bool sampled = slot && begin_publish(&span, tracing, slot, NULL);
    // Without memory it is published all the same.
    struct peal_message *own = sampled ? pl_alloc(bus->seams, count * sizeof *own) : NULL;
    if (!own) {
        return pl_publish_many(bus, messages, count, receipts);
    }
    char text[TEXT_SIZE];
    write_text(text, &span.own);
    memcpy(own, messages, count * sizeof *own);
    for (size_t i = 0; i < count; i++) {
        span.size += own[i].size;
        if (!own[i].traceparent) {
            own[i].traceparent = text;
            own[i].tracestate = slot->current && !own[i].tracestate
                                    ? peal_event_tracestate(slot->current)
                                    : own[i].tracestate;
        }
    }
    span.start_ns = pl_bus_now(bus);
    int64_t ticks = pl_bus_ticks(bus);
    enum peal_err err = pl_publish_many(bus, own, count, receipts);
    span.end_ns = span.start_ns + (pl_bus_ticks(bus) - ticks);
    span.id = !err && receipts && count == 1 ? receipts[0].id : "";
    span.position = !err && receipts ? receipts[0].position : 0;
    end_publish(tracing, &span, &own[0], err);
    pl_release(bus->seams, own);
    return err;
}

// ---- handlers -----------------------------------------------------------------------------------

static void say_why(struct peal_span *span, const struct pl_call *call)
{
    if (call && call->failed && span->verdict != PEAL_DONE) {
        span->code = call->code;
        span->text = call->text;
    }
}

enum peal_verdict pl_tracing_run(const struct pl_middlewares *list,
                                 const struct peal_subscription *member,
                                 const struct peal_event *event)
{
    struct pl_mailbox *mailbox = member->mailbox;
    struct peal_bus *bus = mailbox->bus;
    struct pl_slot *slot = pl_slot_mine(bus);
    struct peal_span_context context;
    if (!slot || !read_text(&context, peal_event_traceparent(event))) {
        return pl_chain_run(list, member, event);
    }
    int64_t now = pl_bus_now(bus), ticks = pl_bus_ticks(bus);
    if (is_waited_for(mailbox, event)) {
        deliver_span(&context, list->tracing, mailbox, event,
                     wait_of(slot, event, failed_at(event), now));
    }
    struct peal_span span = describe(PEAL_SPAN_PROCESS, event, mailbox);
    span.own = context;
    make_span(span.own.span, slot);
    memcpy(span.parent, context.span, sizeof span.parent);
    const struct peal_span_context before = slot->span;
    slot->span = span.own;
    enum peal_verdict verdict = pl_chain_run(list, member, event);
    slot->span = before;
    span.verdict = verdict;
    span.start_ns = now;
    span.end_ns = now + (pl_bus_ticks(bus) - ticks);
    say_why(&span, event->delivery);
    finish(list->tracing, &span);
    return verdict;
}

// ---- batches ------------------------------------------------------------------------------------

void pl_tracing_batch_begins(struct pl_batch_span *batch, struct pl_mailbox *mailbox,
                             const struct peal_event *const *events, size_t count)
{
    struct peal_bus *bus = mailbox->bus;
    batch->tracing = NULL;
    const struct pl_tracing *tracing = pl_tracing_of(bus);
    struct pl_slot *slot = tracing ? pl_slot_mine(bus) : NULL;
    if (!slot) {
        return;
    }
    int64_t now = pl_bus_now(bus);
    size_t links = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        struct peal_span_context context;
        size += events[i]->size;
        if (!read_text(&context, peal_event_traceparent(events[i]))) {
            continue;
        }
        deliver_span(&context, tracing, mailbox, events[i],
                     wait_of(slot, events[i], failed_at(events[i]), now));
        if (!batch->tracing) {
            batch->tracing = tracing;
            batch->span = describe(PEAL_SPAN_PROCESS, events[i], mailbox);
            batch->span.own = context;
            memcpy(batch->span.parent, context.span, sizeof batch->span.parent);
        } else if (links < PEAL_SPAN_LINKS_MAX) {
            batch->links[links++] = context;
        }
    }
    if (!batch->tracing) {
        return;
    }
    make_span(batch->span.own.span, slot);
    batch->span.start_ns = now;
    batch->span.id = count == 1 ? batch->span.id : "";
    batch->span.count = count;
    batch->span.size = size;
    batch->span.links = batch->links;
    batch->span.link_count = links;
    batch->before = slot->span;
    batch->ticks = pl_bus_ticks(bus);
    slot->span = batch->span.own;
}

void pl_tracing_batch_ends(struct pl_batch_span *batch, struct pl_mailbox *mailbox,
                           const struct peal_event *first, const enum peal_verdict *verdicts)
{
    if (!batch->tracing) {
        return;
    }
    struct peal_bus *bus = mailbox->bus;
    struct pl_slot *slot = pl_slot_mine(bus);
    if (slot) { // it was there when the batch began
        slot->span = batch->before;
    }
    const struct peal_event *failed = first; // they lie side by side
    for (size_t i = 0; i < batch->span.count && batch->span.verdict == PEAL_DONE; i++) {
        batch->span.verdict = verdicts[i];
        failed = first + i;
    }
    say_why(&batch->span, failed->delivery);
    batch->span.end_ns = batch->span.start_ns + (pl_bus_ticks(bus) - batch->ticks);
    finish(batch->tracing, &batch->span);
}

// ---- deliveries ---------------------------------------------------------------------------------

void pl_tracing_pulled(struct peal_bus *bus, peal_delivery *const *deliveries, size_t count)
{
    const struct pl_tracing *tracing = pl_tracing_of(bus);
    struct pl_slot *slot = tracing ? pl_slot_mine(bus) : NULL;
    int64_t now = slot ? pl_bus_now(bus) : 0;
    for (size_t i = 0; slot && i < count; i++) {
        struct peal_delivery *delivery = deliveries[i];
        struct peal_span_context context;
        if (read_text(&context, peal_event_traceparent(&delivery->event))) {
            struct wait wait = wait_of(slot, &delivery->event, delivery->span.failed, now);
            deliver_span(&context, tracing, delivery->mailbox, &delivery->event, wait);
            delivery->span.own = context;
            memcpy(delivery->span.parent, context.span, sizeof delivery->span.parent);
            make_span(delivery->span.own.span, slot);
            delivery->span.pulled = now;
        }
    }
}

void pl_tracing_settles(struct pl_settling *settling, const struct peal_delivery *delivery)
{
    settling->event = NULL;
    if (is_none(delivery->span.own.span, sizeof delivery->span.own.span) ||
        peal_event_ref(&settling->event, &delivery->event)) {
        return; // not traced; or without memory there is no span
    }
    settling->span = delivery->span;
    settling->attempt = delivery->event.attempt;
    settling->start = pl_bus_now(delivery->mailbox->bus);
    bool failed = delivery->call.failed;
    memcpy(settling->code, failed ? delivery->call.code : "", failed ? sizeof settling->code : 1);
    memcpy(settling->text, failed ? delivery->call.text : "", failed ? sizeof settling->text : 1);
}

void pl_tracing_settled(struct pl_settling *settling, struct pl_mailbox *mailbox,
                        enum peal_verdict verdict)
{
    if (!settling->event) {
        return;
    }
    struct peal_bus *bus = mailbox->bus;
    const struct pl_tracing *tracing = pl_tracing_of(bus);
    struct pl_slot *slot = pl_slot_mine(bus);
    if (!slot) {
        peal_event_unref(settling->event);
        return;
    }
    struct peal_span span = describe(PEAL_SPAN_SETTLE, settling->event, mailbox);
    span.verdict = verdict;
    span.attempt = settling->attempt;
    span.code = verdict == PEAL_DONE ? "" : settling->code;
    span.text = verdict == PEAL_DONE ? "" : settling->text;
    span.start_ns = settling->start;
    span.end_ns = pl_bus_now(bus);
    span.own = settling->span.own;
    make_span(span.own.span, slot);
    memcpy(span.parent, settling->span.own.span, sizeof span.parent);
    finish(tracing, &span);
    if (settling->span.pulled) {
        span.kind = PEAL_SPAN_PROCESS;
        span.own = settling->span.own;
        memcpy(span.parent, settling->span.parent, sizeof span.parent);
        span.start_ns = settling->span.pulled;
        finish(tracing, &span);
    }
    peal_event_unref(settling->event);
}

// ---- setting it up ------------------------------------------------------------------------------

static enum peal_err check_options(const struct peal_trace_options *given)
{
    if (!given->finished) {
        return pl_fail(PEAL_EINVAL, "peal_bus_trace needs a function that is given the spans");
    }
    if (!(given->share <= 1) || (given->share < 0 && given->share > PEAL_TRACE_NONE)) {
        return pl_fail(PEAL_EINVAL, "a share of %g of the traces: it is 0 to 1, or PEAL_TRACE_NONE",
                       given->share);
    }
    return PEAL_OK;
}

static uint64_t limit_of(double share)
{
    const uint64_t all = (uint64_t)1 << SHARE_BITS;
    return share < 0 ? 0 : share == 0 || share >= 1 ? all : (uint64_t)(share * (double)all);
}

enum peal_err peal_bus_trace(peal_bus *bus, const struct peal_trace_options *options)
{
    if (!bus || !options) {
        return pl_fail(PEAL_EINVAL, "peal_bus_trace needs a bus and options");
    }
    struct peal_trace_options given = { 0 };
    size_t size = options->struct_size ? options->struct_size : sizeof given;
    memcpy(&given, options, size < sizeof given ? size : sizeof given);
    enum peal_err err = check_options(&given);
    err = err ? err : pl_bus_check_open(bus);
    if (err) {
        return err;
    }
    struct pl_tracing *tracing = pl_new(bus->seams, sizeof *tracing);
    if (!tracing) {
        return pl_fail(PEAL_ENOMEM, "no memory to trace a bus");
    }
    *tracing = (struct pl_tracing){ limit_of(given.share), given.finished, given.context };
    err = pl_middlewares_trace(bus, tracing);
    if (err) {
        pl_release(bus->seams, tracing);
    }
    return err;
}
