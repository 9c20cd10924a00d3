// SPDX-License-Identifier: MIT
//
// The publishers of the simulation: every way to publish, and what may be answered.
#ifndef BUS_PUBLISH_H
#define BUS_PUBLISH_H

#include "sim/bus_model.h"

#define BATCH_LARGEST 16

// One of the test's threads that publishes.
struct publisher {
    struct sim *sim;
    unsigned number;
    uint64_t last; // position of what it published last, outside handlers
};

static inline size_t draw_size(struct sim *sim)
{
    switch (chance(sim, 70) ? 0 : sim->sizes) {
    case 0:
        return 4 + draw(sim, 60);
    case 1:
        return 4 + draw(sim, 4000);
    case 2:
        return 4 + draw(sim, 17 << 10); // about as much as fits inside a segment
    default:
        return chance(sim, 90) ? 4 + draw(sim, 60 << 10) : 4 + draw(sim, 300 << 10);
    }
}

// A note of what is going to be published. NULL: there have been enough.
static inline struct note *new_note(struct sim *sim, const peal_event *cause)
{
    if (sim->note_count == NOTES_MAX) {
        return NULL;
    }
    struct note *note = &sim->notes[sim->note_count++];
    note->type = (uint8_t)draw(sim, TYPES);
    note->size = (uint32_t)draw_size(sim);
    note->priority = PEAL_PRIORITY_DEFAULT;
    note->begun = ++sim->stamp;
    note->begun_at = now_of(sim);
    note->nested = cause != NULL;
    note->level = (uint8_t)sim->options.durability;
    note->level = note->level || !sim->stores ? note->level : PEAL_DURABILITY_OS;
    if (cause) {
        (void)snprintf(note->cause, sizeof note->cause, "%s", peal_event_id(cause));
    }
    return note;
}

// What interceptors will make of it: see interceptors in bus_actors.h.
static inline void foresee(struct sim *sim, struct note *note)
{
    uint32_t serial = (uint32_t)(note - sim->notes) + 1;
    bool is_user = note->type == 2 || note->type == 3, is_order = note->type < 2;
    note->refused = sim->intercepts && is_user && serial % 13 == 3;
    if (sim->intercepts && is_order && serial % 5 == 0) {
        note->key = 1;
    }
}

static inline void *data_of(const struct sim *sim, const struct note *note)
{
    uint32_t serial = (uint32_t)(note - sim->notes) + 1;
    unsigned char *data = malloc(note->size);
    if (!data) {
        wrong(sim, "the machine has no memory left");
    }
    memset(data, (int)(serial & 0xff), note->size);
    memcpy(data, &serial, sizeof serial);
    return data;
}

// Fills in a note and its message, for the ways of publishing that take a message.
static inline void fill_message(struct sim *sim, struct note *note, struct peal_message *message)
{
    static const char *const ids[] = { NULL, "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8" };
    note->key = (uint8_t)draw(sim, 5);
    note->subject = chance(sim, 50) ? (uint8_t)draw(sim, 4) : 0;
    note->id = chance(sim, sim->id_share) ? (uint8_t)(1 + draw(sim, IDS)) : 0;
    *message = (struct peal_message){ .type = type_names[note->type],
                                      .key = key_names[note->key],
                                      .subject = subject_names[note->subject],
                                      .id = ids[note->id],
                                      .size = note->size };
    if (sim->mixed) {
        unsigned priority = draw(sim, 10);
        message->priority = (int)PEAL_PRIORITY(priority);
        note->priority = (uint8_t)priority;
    }
    if (note->subject && sim->keeps && chance(sim, 15)) {
        uint64_t version = 0;
        if (peal_stream_version(&version, sim->bus, message->subject) == PEAL_OK) {
            version += chance(sim, 30); // sometimes wrong at once, sometimes by the time it counts
            note->conditional = true;
            note->expected = version + 1;
            message->expect = PEAL_EXPECT_VERSION;
            message->expected_version = version;
        }
    }
    if (sim->stores && chance(sim, 30)) {
        message->durability = (enum peal_durability)(1 + draw(sim, 3));
        note->level = (uint8_t)message->durability;
    }
    foresee(sim, note);
    message->data = data_of(sim, note);
}

// ---- answers ------------------------------------------------------------------------------------

static inline void check_refusal(const struct sim *sim, const struct note *note, enum peal_err err)
{
    uint32_t serial = (uint32_t)(note - sim->notes) + 1;
    bool may = false;
    switch (err) {
    case PEAL_ECLOSED:
        may = sim->stopping;
        break;
    case PEAL_EREFUSED:
        may = note->refused;
        break;
    case PEAL_ECONFLICT:
        may = note->conditional;
        break;
    case PEAL_EAGAIN:
    case PEAL_ETIMEDOUT:
        may = sim->options.memory_max != 0;
        break;
    case PEAL_ELOOP:
        may = note->nested;
        break;
    default:
        break;
    }
    if (!may) {
        wrong(sim, "publishing #%u: %s: %s", serial, peal_err_name(err), peal_error_sentence());
    }
}

static inline void conclude_duplicate(struct sim *sim, struct note *note,
                                      const struct peal_receipt *receipt)
{
    uint32_t serial = (uint32_t)(note - sim->notes) + 1;
    uint64_t *position = &sim->id_position[note->id];
    if (!note->id || note->fate == ACCEPTED) {
        wrong(sim, "#%u is called a duplicate and is none", serial);
    }
    if (*position && *position != receipt->position) {
        wrong(sim, "#%u is called a duplicate of position %llu instead of %llu", serial,
              (unsigned long long)receipt->position, (unsigned long long)*position);
    }
    *position = receipt->position;
    note->fate = DUPLICATE;
    sim->duplicates++;
}

static inline void conclude_accepted(struct sim *sim, struct note *note,
                                     const struct peal_receipt *receipt)
{
    uint32_t serial = (uint32_t)(note - sim->notes) + 1;
    if (note->refused) {
        wrong(sim, "#%u got past the interceptor that refuses it", serial);
    }
    note->fate = ACCEPTED;
    sim->accepted++;
    if (!receipt) {
        return;
    }
    place(sim, note, receipt->position);
    check_id(sim, serial, note, receipt->id);
    if (note->id) {
        uint64_t *position = &sim->id_position[note->id];
        if (*position && *position != receipt->position) {
            wrong(sim, "#%u has an id that position %llu has too", serial,
                  (unsigned long long)*position);
        }
        *position = receipt->position;
    }
    note->version = receipt->stream_version;
    if ((note->conditional && note->version != note->expected) ||
        (note->subject && sim->keeps && note->version == 0)) {
        wrong(sim, "#%u has stream version %llu", serial, (unsigned long long)note->version);
    }
}

// The publish has returned.
static inline void conclude(struct sim *sim, struct note *note, enum peal_err err,
                            const struct peal_receipt *receipt)
{
    note->ended = ++sim->stamp;
    note->ended_at = now_of(sim);
    tell(sim, "#%u %s: %s, position %llu%s", (uint32_t)(note - sim->notes) + 1,
         type_names[note->type], peal_err_name(err),
         (unsigned long long)(!err && receipt ? receipt->position : 0),
         !err && receipt && receipt->duplicate ? " (duplicate)" : "");
    if (err == PEAL_EIO && sim->dark) {
        return; // it may be in the log: bus_again.h finds out
    }
    if (err) {
        if (note->fate == ACCEPTED) {
            wrong(sim, "#%u was seen, though its publish failed with %s",
                  (uint32_t)(note - sim->notes) + 1, peal_err_name(err));
        }
        check_refusal(sim, note, err);
        note->fate = REJECTED;
    } else if (receipt && receipt->duplicate) {
        conclude_duplicate(sim, note, receipt);
    } else {
        conclude_accepted(sim, note, receipt);
    }
}

// Inline handlers are done when the publish returns, unless something has failed and others of its
// key wait behind it.
static inline void check_inline(const struct sim *sim, const struct note *note)
{
    uint32_t serial = (uint32_t)(note - sim->notes) + 1;
    for (unsigned i = 0; i < sim->box_count; i++) {
        const struct box *box = &sim->boxes[i];
        bool failed = box->counts.failed + box->counts.released + box->counts.rejected > 0;
        if (box->options.mode == PEAL_INLINE && duty_of(box, note) == MUST &&
            box->lives[serial - 1].state == NONE && !failed) {
            wrong(sim, "%s: #%u was published and its inline handler has not run", box->label,
                  serial);
        }
    }
}

// ---- ways to publish ----------------------------------------------------------------------------

static inline uint64_t publish_one(struct sim *sim, const peal_event *cause)
{
    struct note *note = new_note(sim, cause);
    if (!note) {
        return 0;
    }
    struct peal_message message;
    fill_message(sim, note, &message);
    if (chance(sim, 30)) {
        message.topic = sim->topics[note->type];
        message.type = NULL;
    }
    struct peal_receipt receipt;
    enum peal_err err = peal_publish(sim->bus, &message, &receipt);
    free((void *)(uintptr_t)message.data);
    sim->refused += err == PEAL_EREFUSED;
    conclude(sim, note, err, &receipt);
    check_inline(sim, note);
    return note->fate == ACCEPTED ? note->position : 0;
}

static inline void publish_by_topic(struct sim *sim, const peal_event *cause)
{
    struct note *note = new_note(sim, cause);
    if (note) {
        foresee(sim, note);
        void *data = data_of(sim, note);
        enum peal_err err = peal_topic_publish(sim->topics[note->type], data, note->size);
        free(data);
        sim->refused += err == PEAL_EREFUSED;
        conclude(sim, note, err, NULL);
        check_inline(sim, note);
    }
}

static inline void emit(struct sim *sim, const peal_event *cause)
{
    struct note *note = new_note(sim, cause);
    if (note) {
        foresee(sim, note);
        note->emitted = true;
        note->level = PEAL_DURABILITY_MEMORY;
        sim->emits++;
        void *data = data_of(sim, note);
        peal_emit(sim->bus, type_names[note->type], data, note->size);
        free(data);
        note->ended = ++sim->stamp;
        note->ended_at = now_of(sim);
        tell(sim, "#%u %s: emitted", (uint32_t)(note - sim->notes) + 1, type_names[note->type]);
        if (note->refused) {
            note->fate = REJECTED;
        }
        check_inline(sim, note);
    }
}

// Together in the log, and as safe as the one that wants the most.
static inline void note_batch(struct note *const *notes, const struct peal_receipt *receipts,
                              size_t count)
{
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        end = !receipts[i].duplicate ? receipts[i].position : end;
    }
    for (size_t i = 0; i < count; i++) {
        notes[i]->batch_end = receipts[i].duplicate ? 0 : end;
        notes[i]->level = (uint8_t)receipts[i].durability;
    }
}

static inline void check_consecutive(const struct sim *sim, const struct peal_receipt *receipts,
                                     size_t count)
{
    uint64_t before = 0;
    for (size_t i = 0; i < count; i++) {
        if (receipts[i].duplicate) {
            continue;
        }
        if (before && receipts[i].position != before + 1) {
            wrong(sim, "a batch is not consecutive: position %llu follows %llu",
                  (unsigned long long)receipts[i].position, (unsigned long long)before);
        }
        before = receipts[i].position;
    }
}

static inline uint64_t publish_batch(struct sim *sim, const peal_event *cause)
{
    struct peal_message messages[BATCH_LARGEST];
    struct peal_receipt receipts[BATCH_LARGEST];
    struct note *notes[BATCH_LARGEST];
    size_t most = 1 + draw(sim, BATCH_LARGEST), count = 0;
    while (count < most && (notes[count] = new_note(sim, cause)) != NULL) {
        fill_message(sim, notes[count], &messages[count]);
        count++;
    }
    bool refused = false;
    for (size_t i = 0; i < count; i++) {
        // One of them is reason enough for any of them.
        notes[i]->ended = 0;
        refused = refused || notes[i]->refused;
    }
    enum peal_err err = peal_publish_batch(sim->bus, messages, count, receipts);
    sim->refused += err == PEAL_EREFUSED;
    bool conditional = false;
    for (size_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)messages[i].data);
        conditional = conditional || notes[i]->conditional;
    }
    for (size_t i = 0; i < count; i++) {
        notes[i]->refused = refused;
        notes[i]->conditional = err ? conditional : notes[i]->conditional;
        conclude(sim, notes[i], err, &receipts[i]);
    }
    for (size_t i = 0; i < count; i++) {
        check_inline(sim, notes[i]);
    }
    if (!err && sim->keeps) {
        check_consecutive(sim, receipts, count);
        note_batch(notes, receipts, count);
    }
    uint64_t last = 0;
    for (size_t i = 0; i < count; i++) {
        last = notes[i]->fate == ACCEPTED ? notes[i]->position : last;
    }
    return last;
}

// Returns the position of the last of what was published, as far as that is known.
static inline uint64_t publish_something(struct sim *sim, const peal_event *cause)
{
    unsigned way = draw(sim, 100);
    if (way < 55) {
        return publish_one(sim, cause);
    }
    if (way < 70) {
        publish_by_topic(sim, cause);
    } else if (way < 85) {
        emit(sim, cause);
    } else {
        return publish_batch(sim, cause);
    }
    return 0;
}

static inline void publisher_main(void *context)
{
    struct publisher *publisher = context;
    struct sim *sim = publisher->sim;
    for (unsigned i = 0; i < sim->steps && !sim->stopping; i++) {
        uint64_t position = publish_something(sim, NULL);
        if (position && position < publisher->last) {
            wrong(sim, "publisher %u: position %llu came after %llu", publisher->number,
                  (unsigned long long)position, (unsigned long long)publisher->last);
        }
        publisher->last = position ? position : publisher->last;
        if (chance(sim, 30)) {
            peal_world_sleep(sim->world, draw(sim, 60));
        } else if (chance(sim, 30)) {
            peal_world_yield(sim->world);
        }
    }
    sim->actors--;
}

#endif
