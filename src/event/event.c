// SPDX-License-Identifier: MIT
//
// Reading an event, keeping it, and moving it as bytes.
//
// Everything is looked up when it is asked for: an event nobody looks at costs nothing but its
// frame. An id nobody gave is a UUIDv7 made of the event's time and a mix of the bus's seed with
// the event's number, so that it can be made again at any time and is the same each time.
//
// A reference is one allocation, of one of two kinds:
//
//     ┌ event ┬ origin ┬ type ┬ source ┐              peal_event_ref of a frame with an owner: the
//     └───────┴────────┴──────┴────────┘              frame stays where it is
//     ┌ event ┬ origin ┬ a frame that stands alone ┐  a copy, or decoded: type, source and id are
//     └───────┴────────┴───────────────────────────┘  in the frame, like everything else
#include "event/event.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"

#define CONTENT_TYPE_DEFAULT "application/json"

// What a const event may still change: the caches of a view, which belong to its thread, and the
// count of a reference, which is atomic. No event is ever defined const.
static struct peal_event *behind(const struct peal_event *event)
{
    return (struct peal_event *)event;
}

// ---- attributes ---------------------------------------------------------------------------------

static const char *string_of(const struct peal_event *event, enum pl_tag tag)
{
    size_t length;
    const char *found = event->frame ? pl_frame_attribute(event->frame, tag, &length)
                                     : pl_message_string(event->message, tag);
    return found ? found : "";
}

static bool number_of(const struct peal_event *event, enum pl_tag tag, void *out)
{
    size_t length;
    const char *found = event->frame ? pl_frame_attribute(event->frame, tag, &length) : NULL;
    if (!found) {
        return false;
    }
    assert(length == sizeof(uint64_t));
    memcpy(out, found, sizeof(uint64_t));
    return true;
}

const char *peal_event_type(const peal_event *event)
{
    return event->type;
}

const void *peal_event_data(const peal_event *event)
{
    return event->data;
}

size_t peal_event_size(const peal_event *event)
{
    return event->size;
}

const char *peal_event_source(const peal_event *event)
{
    const char *source = string_of(event, PL_TAG_SOURCE);
    return *source ? source : event->origin->source;
}

const char *peal_event_subject(const peal_event *event)
{
    return string_of(event, PL_TAG_SUBJECT);
}

const char *peal_event_key(const peal_event *event)
{
    const char *key = string_of(event, PL_TAG_KEY);
    return *key ? key : peal_event_subject(event);
}

const char *peal_event_content_type(const peal_event *event)
{
    const char *type = string_of(event, PL_TAG_CONTENT_TYPE);
    return *type ? type : CONTENT_TYPE_DEFAULT;
}

const char *peal_event_schema(const peal_event *event)
{
    return string_of(event, PL_TAG_SCHEMA);
}

const char *peal_event_correlation(const peal_event *event)
{
    return string_of(event, PL_TAG_CORRELATION);
}

const char *peal_event_causation(const peal_event *event)
{
    return string_of(event, PL_TAG_CAUSATION);
}

const char *peal_event_traceparent(const peal_event *event)
{
    return string_of(event, PL_TAG_TRACEPARENT);
}

const char *peal_event_tracestate(const peal_event *event)
{
    return string_of(event, PL_TAG_TRACESTATE);
}

int peal_event_priority(const peal_event *event)
{
    if (event->frame) {
        return (int)pl_frame_priority(event->frame);
    }
    return event->message->priority ? event->message->priority - 1 : PEAL_PRIORITY_DEFAULT;
}

int64_t peal_event_time(const peal_event *event)
{
    if (event->frame) {
        int64_t time;
        return number_of(event, PL_TAG_TIME, &time) ? time : event->frame->recorded;
    }
    if (event->time == 0) {
        const struct pl_seams *seams = event->origin->seams;
        behind(event)->time = seams->realtime(seams->world);
    }
    return event->time;
}

int64_t peal_event_recorded_time(const peal_event *event)
{
    return event->frame && event->frame->recorded ? event->frame->recorded : peal_event_time(event);
}

uint64_t peal_event_position(const peal_event *event)
{
    return event->frame ? event->frame->position : 0;
}

uint64_t peal_event_stream_version(const peal_event *event)
{
    uint64_t version;
    return number_of(event, PL_TAG_VERSION, &version) ? version : 0;
}

unsigned peal_event_attempt(const peal_event *event)
{
    return event->attempt;
}

bool peal_event_is_replay(const peal_event *event)
{
    return event->replay;
}

// splitmix64's finisher: every bit of the input reaches every bit of the output.
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

const char *peal_event_id(const peal_event *event)
{
    const char *given = string_of(event, PL_TAG_ID);
    if (*given) {
        return given;
    }
    if (!event->id_made) {
        const uint64_t *seed = event->origin->seed;
        uint64_t a = mix(seed[0] + event->number * 0x9e3779b97f4a7c15U);
        uint64_t b = mix(seed[1] + event->number);
        pl_uuid7(behind(event)->id, peal_event_time(event), mix(a ^ seed[1]), b);
        behind(event)->id_made = true;
    }
    return event->id;
}

// ---- metadata -----------------------------------------------------------------------------------

// The next pair; `*cursor` and `*index` start as NULL and 0 and move on. False at the end.
static bool next_pair(const struct peal_event *event, const char **cursor, size_t *index,
                      struct peal_pair *out)
{
    if (!event->frame) {
        if (*index == event->message->metadata_count) {
            return false;
        }
        *out = event->message->metadata[(*index)++];
        return true;
    }
    struct pl_attribute attribute;
    while (pl_frame_next(event->frame, cursor, &attribute)) {
        if (attribute.tag == PL_TAG_META) {
            out->name = attribute.bytes;
            out->value = attribute.bytes + strlen(attribute.bytes) + 1;
            ++*index;
            return true;
        }
    }
    return false;
}

size_t peal_event_metadata_count(const peal_event *event)
{
    const char *cursor = NULL;
    size_t count = 0;
    struct peal_pair pair;
    while (next_pair(event, &cursor, &count, &pair)) {
    }
    return count;
}

struct peal_pair peal_event_metadata_at(const peal_event *event, size_t index)
{
    const char *cursor = NULL;
    size_t seen = 0;
    struct peal_pair pair;
    while (next_pair(event, &cursor, &seen, &pair)) {
        if (seen > index) {
            return pair;
        }
    }
    return (struct peal_pair){ NULL, NULL };
}

const char *peal_event_metadata(const peal_event *event, const char *name)
{
    const char *cursor = NULL;
    size_t seen = 0;
    struct peal_pair pair;
    while (name && next_pair(event, &cursor, &seen, &pair)) {
        if (strcmp(pair.name, name) == 0) {
            return pair.value;
        }
    }
    return NULL;
}

// ---- standing alone -----------------------------------------------------------------------------

// What has to be written for an event to stand alone: nothing is left to what a bus or a log knows.
struct alone {
    struct peal_message message; // borrows from the event and from `pairs`
    struct pl_stamp stamp;
    size_t attributes; // bytes
    struct peal_pair pairs[PEAL_METADATA_MAX];
};

static void describe(struct alone *alone, const struct peal_event *event,
                     const struct pl_recast *recast)
{
    const char *cursor = NULL;
    size_t count = 0;
    while (count < PEAL_METADATA_MAX && next_pair(event, &cursor, &count, &alone->pairs[count])) {
    }
    int64_t time = peal_event_time(event);
    alone->message.subject = peal_event_subject(event);
    alone->message.key = string_of(event, PL_TAG_KEY);
    alone->message.content_type = string_of(event, PL_TAG_CONTENT_TYPE);
    alone->message.correlation = peal_event_correlation(event);
    alone->message.causation = peal_event_causation(event);
    alone->message.id = peal_event_id(event);
    alone->message.source = peal_event_source(event);
    alone->message.schema = recast->schema ? recast->schema : peal_event_schema(event);
    alone->message.traceparent = peal_event_traceparent(event);
    alone->message.tracestate = peal_event_tracestate(event);
    alone->message.metadata = alone->pairs;
    alone->message.metadata_count = count;
    alone->message.time_ns = time == alone->stamp.recorded ? 0 : time;
    alone->stamp.version = peal_event_stream_version(event);
    alone->stamp.type_inside = recast->type ? recast->type : event->type;
    alone->attributes = pl_frame_attributes_needed(&alone->message, &alone->stamp);
}

// Has the frame all but its type in it, as what came over a network does? *out: bytes of its
// attributes, without the zeros behind them. They stand in the order of their tags.
static bool names_itself(const struct pl_frame *frame, size_t *out)
{
    const char *cursor = NULL;
    struct pl_attribute attribute;
    unsigned count = 0;
    while (pl_frame_next(frame, &cursor, &attribute)) {
        if (count < 2 && attribute.tag != (count == 0 ? PL_TAG_ID : PL_TAG_SOURCE)) {
            return false;
        }
        count++;
    }
    *out = cursor ? (size_t)(cursor - pl_frame_attributes(frame)) : 0;
    return count >= 2;
}

static void stand_alone(struct alone *alone, const struct peal_event *event,
                        const struct pl_recast *recast)
{
    const struct pl_frame *frame = event->frame;
    alone->message = (struct peal_message){
        .data = recast->data ? recast->data : event->data,
        .size = recast->data ? recast->size : event->size,
        .priority = PEAL_PRIORITY(peal_event_priority(event)),
    };
    alone->stamp = (struct pl_stamp){
        .position = peal_event_position(event),
        .type = PL_TYPE_INSIDE,
        .hops = event->hops,
    };
    bool renamed = recast->type || recast->schema;
    if (frame && frame->type == PL_TYPE_INSIDE && !renamed) {
        // It does already, perhaps with attributes of a later version: they go on unchanged.
        alone->stamp.recorded = frame->recorded;
        alone->stamp.attributes = pl_frame_attributes(frame);
        alone->attributes = pl_frame_attributes_size(frame);
        return;
    }
    alone->stamp.recorded = peal_event_recorded_time(event);
    if (frame && !renamed && names_itself(frame, &alone->stamp.attributes_used)) {
        alone->stamp.type_inside = event->type;
        alone->stamp.attributes = pl_frame_attributes(frame);
        alone->attributes = pl_frame_attributes_named(&alone->stamp);
        return;
    }
    describe(alone, event, recast);
}

// ---- references ---------------------------------------------------------------------------------

// With an origin of its own it outlives the bus.
struct reference {
    struct peal_event event; // first: peal_event_unref frees by its address
    struct pl_origin origin;
};

_Static_assert(sizeof(struct reference) % 8 == 0, "a frame may stand behind it");

// Makes the event of the frame behind the reference, which stands alone.
static void wake(struct reference *made, const struct pl_seams *seams)
{
    const struct pl_frame *frame = (const struct pl_frame *)(made + 1);
    size_t length;
    made->origin = (struct pl_origin){ .seams = seams, .source = "" };
    pl_event_from_frame(&made->event, frame, pl_frame_attribute(frame, PL_TAG_TYPE, &length),
                        &made->origin);
    atomic_init(&made->event.refs, 1);
}

enum peal_err pl_event_recast(const struct peal_event **out, const struct peal_event *event,
                              const struct pl_recast *recast)
{
    const struct pl_seams *seams = event->origin->seams;
    struct alone alone;
    stand_alone(&alone, event, recast);
    size_t needed = pl_frame_size(alone.attributes, alone.message.size, false);
    struct reference *made = pl_alloc(seams, sizeof *made + needed);
    if (!made) {
        return pl_fail(PEAL_ENOMEM, "no memory to keep an event of type %s with %zu bytes of data",
                       event->type, alone.message.size);
    }
    pl_frame_write((struct pl_frame *)(made + 1), &alone.message, alone.attributes, &alone.stamp);
    wake(made, seams);
    made->event.attempt = event->attempt;
    made->event.replay = event->replay;
    *out = &made->event;
    return PEAL_OK;
}

enum peal_err pl_event_copy(const struct peal_event **out, const struct peal_event *event,
                            const void *data, size_t size)
{
    return pl_event_recast(out, event, &(struct pl_recast){ .data = data, .size = size });
}

// A reference to a view whose frame has an owner.
static enum peal_err share(const struct peal_event **out, const struct peal_event *event)
{
    const struct pl_seams *seams = event->origin->seams;
    size_t type = strlen(event->type) + 1;
    size_t source = strlen(event->origin->source) + 1;
    struct reference *made = pl_alloc(seams, sizeof *made + type + source);
    if (!made) {
        return pl_fail(PEAL_ENOMEM, "no memory to keep an event of type %s", event->type);
    }
    (void)peal_event_id(event); // for what it leaves in the cache, before anybody shares that
    char *strings = (char *)(made + 1);
    memcpy(&made->event, event, sizeof made->event);
    made->event.origin = &made->origin;
    made->event.type = memcpy(strings, event->type, type);
    made->event.delivery = NULL;
    atomic_init(&made->event.refs, 1);
    made->origin = *event->origin;
    made->origin.source = memcpy(strings + type, event->origin->source, source);
    event->owner_ops->keep(event->owner);
    *out = &made->event;
    return PEAL_OK;
}

enum peal_err peal_event_ref(const peal_event **out, const peal_event *event)
{
    if (!out || !event) {
        return pl_fail(PEAL_EINVAL, "peal_event_ref needs an event and a place for the reference");
    }
    atomic_uint *refs = &behind(event)->refs;
    if (atomic_load_explicit(refs, memory_order_relaxed) > 0) {
        // Relaxed: whoever calls holds a reference, so it cannot fall to zero meanwhile.
        atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
        *out = event;
        return PEAL_OK;
    }
    return event->owner ? share(out, event) : pl_event_copy(out, event, NULL, 0);
}

void peal_event_unref(const peal_event *event)
{
    // A view is nobody's to drop.
    if (!event || atomic_load_explicit(&behind(event)->refs, memory_order_relaxed) == 0) {
        return;
    }
    // Release: our reads come before the free; acquire: the free comes after everybody's reads.
    if (atomic_fetch_sub_explicit(&behind(event)->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    const struct pl_seams *seams = event->origin->seams;
    if (event->owner) {
        event->owner_ops->drop(event->owner);
    }
    pl_release(seams, behind(event));
}

// ---- views of references ------------------------------------------------------------------------

static void keep_reference(void *reference)
{
    struct peal_event *event = reference;
    // Relaxed: whoever calls has a view of it, so the count cannot fall to zero meanwhile.
    atomic_fetch_add_explicit(&event->refs, 1, memory_order_relaxed);
}

static void drop_reference(void *reference)
{
    peal_event_unref(reference);
}

static const struct pl_owner_ops reference_owner = { keep_reference, drop_reference };

void pl_event_view(struct peal_event *view, const struct peal_event *reference)
{
    memcpy(view, reference, sizeof *view);
    view->owner = behind(reference);
    view->owner_ops = &reference_owner;
    view->delivery = NULL;
    atomic_init(&view->refs, 0);
}

// ---- bytes --------------------------------------------------------------------------------------

size_t peal_event_encode(const peal_event *event, void *out, size_t size)
{
    struct alone alone;
    stand_alone(&alone, event, &(struct pl_recast){ 0 });
    size_t needed = pl_frame_size(alone.attributes, event->size, false);
    if (out && size >= needed) {
        pl_frame_encode(out, &alone.message, alone.attributes, &alone.stamp);
    }
    return needed;
}

enum peal_err pl_event_decode(const struct peal_event **out, const struct pl_seams *seams,
                              const void *bytes, size_t size)
{
    enum peal_err err = pl_frame_verify(bytes, size);
    if (err) {
        return err;
    }
    struct reference *made = pl_alloc(seams, sizeof *made + size);
    if (!made) {
        return pl_fail(PEAL_ENOMEM, "no memory to decode an event of %zu bytes", size);
    }
    memcpy(made + 1, bytes, size);
    wake(made, seams);
    *out = &made->event;
    return PEAL_OK;
}

enum peal_err peal_event_decode(const peal_event **out, const void *bytes, size_t size)
{
    if (!out || !bytes) {
        return pl_fail(PEAL_EINVAL, "peal_event_decode needs bytes and a place for the event");
    }
    return pl_event_decode(out, &pl_seams_real, bytes, size);
}
