// SPDX-License-Identifier: MIT
//
// What stands behind a `peal_event *`: a view of an event wherever it is.
//
//     a frame of the log            frame set; `owner` is the segment it lies in
//     a message being published     message set, frame NULL: no log keeps it
//     a reference (peal_event_ref)  refs > 0; stands alone, but for the bytes of a frame it owns
//
// A view is filled in by whoever has the event, on its stack, and not cleared: every member but
// `id` is set by pl_event_from_frame or pl_event_from_message. It costs no allocation and no lock.
//
// Threads: a view belongs to one. What a view finds out when it is first asked (id, time) a
// reference knows from the start, so that reading one changes nothing but `refs`.
#ifndef PL_EVENT_EVENT_H
#define PL_EVENT_EVENT_H

#include "base/seams.h"
#include "base/uuid.h"
#include "event/frame.h"

// What the events of one bus have in common. Borrowed by views, copied into references.
struct pl_origin {
    const struct pl_seams *seams;
    const char *source; // of events that bring none
    uint64_t seed[2];   // the ids of events that bring none come from this and a number
};

// Keeps and drops what the bytes of a frame lie in. Any thread.
struct pl_owner_ops {
    void (*keep)(void *owner);
    void (*drop)(void *owner);
};

struct peal_event {
    // As in struct peal_event_head.
    const char *type;                   // borrowed; a reference's own
    const void *data;                   // in the frame or the message
    size_t size;                        // bytes of data
    const struct peal_message *message; // borrowed; NULL in a reference
    const struct pl_origin *origin;     // borrowed; a reference's own
    uint64_t number;                    // position, or one unique among events without one
    // Side by side, because a view of a message sets all four to zero in two stores.
    const struct pl_frame *frame;         // borrowed; with an owner in a reference: shared
    void *owner;                          // of the frame's bytes; NULL: as long as the view
    const struct pl_owner_ops *owner_ops; // NULL without an owner
    int64_t time;                         // of a message that does not say; 0: not looked at yet
    void *delivery;                       // the bus's, while a handler runs; else NULL
    uint32_t attempt;
    uint16_t hops;
    bool replay;
    bool id_made;     // `id` is filled in
    atomic_uint refs; // 0: a view
    char id[PL_UUID_SIZE];
};

_Static_assert(offsetof(struct peal_event, type) == offsetof(struct peal_event_head, type) &&
                   offsetof(struct peal_event, data) == offsetof(struct peal_event_head, data) &&
                   offsetof(struct peal_event, size) == offsetof(struct peal_event_head, size),
               "programs read these without asking us");

// A view of a frame. Whoever knows what the frame lies in sets `owner` and `owner_ops` afterwards.
static inline void pl_event_from_frame(struct peal_event *event, const struct pl_frame *frame,
                                       const char *type, const struct pl_origin *origin)
{
    event->frame = frame;
    event->message = NULL;
    event->origin = origin;
    event->type = type;
    event->data = pl_frame_data(frame, &event->size);
    event->number = frame->position;
    event->time = 0;
    event->owner = NULL;
    event->owner_ops = NULL;
    event->delivery = NULL;
    event->attempt = 0;
    event->hops = (uint16_t)pl_frame_hops(frame);
    event->replay = false;
    event->id_made = false;
    atomic_init(&event->refs, 0);
}

// A view of a checked message that no log keeps. `number` is unique within the origin.
static inline void pl_event_from_message(struct peal_event *event,
                                         const struct peal_message *message, const char *type,
                                         const struct pl_origin *origin, uint64_t number)
{
    event->frame = NULL;
    event->message = message;
    event->origin = origin;
    event->type = type;
    event->data = message->data;
    event->size = message->size;
    event->number = number;
    event->time = message->time_ns;
    event->owner = NULL;
    event->owner_ops = NULL;
    event->delivery = NULL;
    event->attempt = 0;
    event->hops = 0;
    event->replay = false;
    event->id_made = false;
    atomic_init(&event->refs, 0);
}

// A copy that borrows nothing, not even the log's bytes: for what is kept for long. Shared; ends
// with peal_event_unref. `data` (borrowed for the call; NULL: the event's own) replaces the
// event's. PEAL_ENOMEM.
enum peal_err pl_event_copy(const struct peal_event **out, const struct peal_event *event,
                            const void *data, size_t size);

// What is to be different in a copy; NULL: as it is. All borrowed for the call, and within limits.
struct pl_recast {
    const char *type, *schema;
    const void *data;
    size_t size;
};

// pl_event_copy with that.
enum peal_err pl_event_recast(const struct peal_event **out, const struct peal_event *event,
                              const struct pl_recast *recast);

// A view of a reference, which has to outlive it; who refs the view keeps the reference.
void pl_event_view(struct peal_event *view, const struct peal_event *reference);

// peal_event_decode with memory from these seams, which outlive the event.
enum peal_err pl_event_decode(const struct peal_event **out, const struct pl_seams *seams,
                              const void *bytes, size_t size);

#endif
