// SPDX-License-Identifier: MIT
//
// The model: what was published, what each subscription was given, and what may come next.
//
//     NONE ── begin ──► RUNNING ── verdict ──► DONE, DROPPED, DEAD
//                         ▲  ▲ └─ retry, release ─► OPEN ──┐  │ retried
//                         │  └─────────────────────────────┘  │
//                         └─────── LATER ── settled, or out of time; a dead letter that came back
//
// A verdict counts from the moment the handler returns it: the bus learns of it a little later, so
// the model is never behind. Where two things happen at once (a delivery is settled while its
// handler returns), the model allows either order, until everybody was at rest.
#ifndef BUS_MODEL_H
#define BUS_MODEL_H

#include "sim/bus_sim.h"

// ---- notes --------------------------------------------------------------------------------------

// A position belongs to one note.
static inline void place(struct sim *sim, struct note *note, uint64_t position)
{
    uint32_t serial = (uint32_t)(note - sim->notes) + 1;
    if (position == 0) {
        if (sim->keeps) {
            wrong(sim, "#%u has no position, though the bus keeps what is published", serial);
        }
        return;
    }
    if (position > NOTES_MAX || (sim->at[position] && sim->at[position] != serial)) {
        wrong(sim, "#%u is at position %llu, which is that of #%u", serial,
              (unsigned long long)position, position > NOTES_MAX ? 0 : sim->at[position]);
    }
    if (note->position && note->position != position) {
        wrong(sim, "#%u was at position %llu and is now at %llu", serial,
              (unsigned long long)note->position, (unsigned long long)position);
    }
    sim->at[position] = serial;
    note->position = position;
}

static inline void check_data(const struct sim *sim, uint32_t serial, const struct note *note,
                              const peal_event *event)
{
    const unsigned char *data = peal_event_data(event);
    size_t size = peal_event_size(event);
    unsigned char filling = (unsigned char)serial;
    size_t middle = size / 2 > 4 ? size / 2 : 4;
    if (size != note->size || (size > 4 && (data[4] != filling || data[middle] != filling ||
                                            data[size - 1] != filling))) {
        wrong(sim, "#%u came with other data than was published", serial);
    }
}

static inline void check_attributes(const struct sim *sim, uint32_t serial, const struct note *note,
                                    const peal_event *event)
{
    const char *subject = subject_names[note->subject] ? subject_names[note->subject] : "";
    if (strcmp(peal_event_type(event), type_names[note->type]) != 0 ||
        strcmp(peal_event_key(event), line_names[line_of(note)]) != 0 ||
        strcmp(peal_event_subject(event), subject) != 0 ||
        peal_event_priority(event) != note->priority) {
        wrong(sim, "#%u came with another type, key, subject or priority", serial);
    }
    if (strcmp(peal_event_causation(event), note->cause) != 0) {
        wrong(sim, "#%u came with causation \"%s\" instead of \"%s\"", serial,
              peal_event_causation(event), note->cause);
    }
    int64_t recorded = peal_event_recorded_time(event);
    if (recorded < note->begun_at || recorded > (note->ended ? note->ended_at : now_of(sim))) {
        wrong(sim, "#%u was not recorded when it was published", serial);
    }
}

static inline void check_id(const struct sim *sim, uint32_t serial, struct note *note,
                            const char *id)
{
    if (!note->made_id[0]) {
        (void)snprintf(note->made_id, sizeof note->made_id, "%s", id);
    } else if (strcmp(note->made_id, id) != 0) {
        wrong(sim, "#%u had the id %s and has now %s", serial, note->made_id, id);
    }
}

static inline uint32_t serial_in(const struct sim *sim, const peal_event *event)
{
    uint32_t serial = 0;
    if (peal_event_size(event) >= sizeof serial) {
        memcpy(&serial, peal_event_data(event), sizeof serial);
    }
    if (serial == 0 || serial > sim->note_count) {
        wrong(sim, "an event of type %s that nobody published", peal_event_type(event));
    }
    return serial;
}

// Somebody sees an event of the log.
static inline uint32_t learn(struct sim *sim, const peal_event *event, bool edited)
{
    uint32_t serial = serial_in(sim, event);
    struct note *note = note_of(sim, serial);
    if (note->fate == REJECTED || note->fate == DUPLICATE) {
        wrong(sim, "#%u was seen, though its publisher was told that it is not in the log", serial);
    }
    if (!edited) {
        check_data(sim, serial, note, event);
    }
    check_attributes(sim, serial, note, event);
    check_id(sim, serial, note, peal_event_id(event));
    place(sim, note, peal_event_position(event));
    uint64_t version = peal_event_stream_version(event);
    if (note->version && note->version != version) {
        wrong(sim, "#%u had stream version %llu and has now %llu", serial,
              (unsigned long long)note->version, (unsigned long long)version);
    }
    note->version = version;
    note->fate = ACCEPTED;
    return serial;
}

// ---- who may, who must --------------------------------------------------------------------------

enum duty { NOT = 0, MAY, MUST };

static inline enum duty duty_before(const struct box *box, const struct note *note)
{
    if (box->sim->stores && note->fate != ACCEPTED && box->options.from != PEAL_FROM_NOW) {
        return MAY; // emitted, and perhaps lost: memory may have been full of what is not written
    }
    switch (box->options.from) {
    case PEAL_FROM_NOW:
        return NOT;
    case PEAL_FROM_BEGINNING:
        return box->sim->forgets ? MAY : MUST;
    case PEAL_FROM_POSITION:
        return note->position == 0 ? MAY : note->position < box->from_position ? NOT : MUST;
    case PEAL_FROM_TIME:
        return note->ended_at < box->from_time                          ? NOT
               : note->begun_at >= box->from_time && !box->sim->forgets ? MUST
                                                                        : MAY;
    }
    return MAY;
}

// Is a box to be given a note? By when it came and went, and when the note was published.
static inline enum duty duty_of(const struct box *box, const struct note *note)
{
    if (!box->came_begun || !matches(box, note)) {
        return NOT;
    }
    if (note->fate == REJECTED || note->fate == DUPLICATE ||
        (box->gone && note->begun > box->gone)) {
        return NOT;
    }
    if (note->ended && note->ended < box->came_begun) {
        return duty_before(box, note);
    }
    bool surely = box->came && note->begun > box->came && note->fate == ACCEPTED &&
                  (!box->gone_begun || (note->ended && note->ended < box->gone_begun));
    return surely ? MUST : MAY;
}

// ---- lines: the order of a key ------------------------------------------------------------------

static inline void line_remove(struct line *line, uint32_t serial)
{
    for (unsigned i = 0; i < line->count; i++) {
        if (line->open[i] == serial) {
            line->open[i] = line->open[--line->count];
            return;
        }
    }
}

static inline bool has_order(const struct box *box, const struct note *note)
{
    return line_of(note) != 0 && box->options.order == PEAL_ORDER_KEY;
}

static inline bool blocks_key(const struct box *box)
{
    return box->options.spent == PEAL_SPENT_BLOCK ||
           box->options.after_dead == PEAL_AFTER_DEAD_PARK;
}

// Came back from the dead letters, without anybody having waited for it.
static inline bool is_late(const struct box *box, const struct life *life)
{
    return (life->retried || life->state == DEAD) && !blocks_key(box);
}

// ---- what a verdict means -----------------------------------------------------------------------

static inline int64_t delay_of(const struct box *box, unsigned attempt)
{
    const struct peal_retry *retry = &box->options.retry;
    if (attempt <= retry->immediate) {
        return 0;
    }
    double initial = retry->initial_ms ? (double)retry->initial_ms : 1000;
    double most = retry->max_ms ? (double)retry->max_ms : 100 * initial;
    double delay = initial;
    for (unsigned i = retry->immediate + 1; i < attempt && delay < most; i++) {
        delay *= retry->coefficient != 0 ? retry->coefficient : 2.0;
    }
    return (int64_t)((delay < most ? delay : most) * (double)MS);
}

static inline void end_life(struct box *box, struct life *life, enum state state)
{
    struct sim *sim = box->sim;
    const struct note *note = note_of(sim, serial_of(box, life));
    life->state = (uint8_t)state;
    box->touched = now_of(sim);
    if (state == DEAD && blocks_key(box)) {
        return; // its key waits
    }
    box->lives_open--;
    line_remove(&box->lines[line_of(note)], serial_of(box, life));
}

static inline void die(struct box *box, struct life *life, enum reason reason)
{
    life->reason = (uint8_t)(life->failing ? life->failing : reason);
    box->counts.dead++;
    life->revive = false;
    end_life(box, life, DEAD);
}

// Its attempts are spent. One that was retried has a letter, and keeps it.
static inline void spend(struct box *box, struct life *life, enum reason reason)
{
    if (box->options.spent != PEAL_SPENT_DROP || life->retried) {
        die(box, life, reason);
        return;
    }
    box->counts.dropped++;
    end_life(box, life, DROPPED);
}

static inline void fail_attempt(struct box *box, struct life *life, enum reason reason,
                                int64_t when)
{
    const struct peal_retry *retry = &box->options.retry;
    unsigned most = retry->max_attempts ? retry->max_attempts : 5;
    box->counts.failed++;
    bool hopeless = life->failing == FATAL && retry->non_retryable;
    if (hopeless) {
        die(box, life, reason);
        return;
    }
    if (!retry->unlimited && life->attempt >= most) {
        spend(box, life, reason);
        return;
    }
    int64_t delay = delay_of(box, life->attempt);
    life->state = OPEN;
    life->not_before = when + (retry->no_jitter ? delay : 0);
    life->not_after = now_of(box->sim) + delay;
}

// The end of an attempt.
static inline void apply(struct box *box, struct life *life, enum peal_verdict verdict)
{
    struct sim *sim = box->sim;
    box->touched = now_of(sim);
    life->token++;
    life->epoch = sim->epoch;
    life->settling = 0;
    life->early = 0;
    switch (verdict) {
    case PEAL_DONE:
        box->counts.delivered++;
        life->retried = false;
        end_life(box, life, DONE);
        return;
    case PEAL_RELEASE:
        box->counts.released++;
        life->attempt--;
        life->given++;
        life->state = OPEN;
        life->not_before = now_of(sim);
        life->not_after = now_of(sim) + 1000 * MS;
        return;
    case PEAL_REJECT:
        box->counts.rejected++;
        die(box, life, REJECTED_BY_HANDLER);
        return;
    case PEAL_LATER:
    case PEAL_RETRY:
        fail_attempt(box, life, ATTEMPTS, now_of(sim));
        return;
    }
}

// Nobody settled it in time.
static inline void expire(struct box *box, struct life *life)
{
    life->token++;
    life->epoch = box->sim->epoch;
    life->failing = 0;
    fail_attempt(box, life, ACK_WAIT, life->deadline);
}

// ---- who begins before whom ---------------------------------------------------------------------

// One that is open stands before one that begins: may it?
static inline void check_pair(struct box *box, uint32_t open, uint32_t serial, uint64_t call)
{
    struct sim *sim = box->sim;
    struct life *other = &box->lives[open - 1], *life = &box->lives[serial - 1];
    if (other->call == call) {
        return; // of the same batch
    }
    if (other->state == LATER && other->settling && now_of(sim) >= other->deadline) {
        return; // it is being settled, just in time or just too late
    }
    if (other->state == LATER && other->settling) {
        apply(box, other, (enum peal_verdict)(other->settling - 1)); // it is being settled
    } else if (other->state == LATER && now_of(sim) >= other->deadline) {
        expire(box, other); // as the bus may have seen before us
    }
    if (other->state >= DONE && other->state != DEAD) {
        return;
    }
    if (other->state == RUNNING) {
        wrong(sim, "%s: #%u begins while #%u of the same key runs", box->label, serial, open);
    }
    if (note_of(sim, open)->position > note_of(sim, serial)->position || is_late(box, life) ||
        is_late(box, other) || other->discard) {
        return;
    }
    if (sim->options.dead_max && other->state == DEAD && life->retried) {
        return; // the other finds no room among the dead letters, and this one may make some
    }
    if (box->options.overflow == PEAL_LATEST_PER_KEY && other->state == OPEN) {
        other->state = LOST; // what waited gave way to what is newer
        box->lives_open--;
        line_remove(&box->lines[line_of(note_of(sim, open))], open);
        return;
    }
    wrong(sim, "%s: #%u begins before #%u, which has its key and is not settled (state %u)",
          box->label, serial, open, other->state);
}

static inline void enter_line(struct box *box, uint32_t serial, uint64_t call)
{
    struct sim *sim = box->sim;
    const struct note *note = note_of(sim, serial);
    struct life *life = &box->lives[serial - 1];
    if (!has_order(box, note)) {
        return;
    }
    struct line *line = &box->lines[line_of(note)];
    bool known = false;
    for (unsigned i = line->count; i-- > 0;) {
        known = known || line->open[i] == serial;
        if (line->open[i] != serial && box->options.mode != PEAL_INLINE) {
            check_pair(box, line->open[i], serial, call);
        }
    }
    if (!known && !is_late(box, life) && box->options.mode != PEAL_INLINE) {
        if (note->position <= line->last) {
            wrong(sim, "%s: #%u (position %llu) begins after position %llu of the same key",
                  box->label, serial, (unsigned long long)note->position,
                  (unsigned long long)line->last);
        }
        line->last = note->position;
    }
    if (!known) {
        if (line->count == OPEN_MAX) {
            wrong(sim, "the model has no room for more events of one key");
        }
        line->open[line->count++] = serial;
    }
}

// ---- beginning and ending of an attempt ---------------------------------------------------------

// Who is given something must be there.
static inline void check_presence(const struct member *member, uint32_t serial)
{
    const struct box *box = member->box;
    const struct sim *sim = box->sim;
    if (sim->stopped && box->options.mode != PEAL_PULL) {
        wrong(sim, "%s: #%u was given to a handler after the bus had stopped", box->label, serial);
    }
    if (member->presence == LEFT || member->presence == ABSENT ||
        (member->presence == LEAVING_ITSELF && member->epoch != sim->epoch &&
         member->running == 0)) {
        wrong(sim, "%s: #%u was given to a handler that has unsubscribed", box->label, serial);
    }
    if (box->frozen) {
        wrong(sim, "%s: #%u was given to a subscription that is paused", box->label, serial);
    }
}

// What was to be settled later begins again: it was settled, or its time is over. Which of the two,
// if somebody settles it just now, its attempt tells.
static inline void end_wait(struct box *box, struct life *life, unsigned attempt)
{
    struct sim *sim = box->sim;
    bool over = now_of(sim) >= life->deadline;
    if (life->settling && (!over || attempt == life->attempt)) {
        apply(box, life, (enum peal_verdict)(life->settling - 1));
    } else if (over) {
        expire(box, life);
    } else {
        wrong(sim, "%s: #%u was given again before its acknowledgement wait was over", box->label,
              serial_of(box, life));
    }
}

static inline void check_may_begin(struct box *box, struct life *life, uint32_t serial,
                                   unsigned attempt)
{
    struct sim *sim = box->sim;
    if (duty_of(box, note_of(sim, serial)) == NOT) {
        wrong(sim, "%s: #%u is not for this subscription", box->label, serial);
    }
    if (life->state == LATER) {
        end_wait(box, life, attempt);
    }
    if (life->state == DEAD && life->revive) {
        life->retried = true;
        life->attempt = 0;
        life->not_before = 0;
        box->lives_open += !blocks_key(box);
        life->state = OPEN;
    }
    if (life->state != NONE && life->state != OPEN) {
        wrong(sim, "%s: #%u was given once more (state %u, attempt %u)", box->label, serial,
              life->state, life->attempt);
    }
    if (now_of(sim) < life->not_before) {
        wrong(sim, "%s: #%u was retried %.3f ms before its time", box->label, serial,
              (double)(life->not_before - now_of(sim)) / (double)MS);
    }
    if (box->filters && !life->passed) {
        wrong(sim, "%s: #%u was given without its filter having been asked", box->label, serial);
    }
}

// A handler is given an event, or a pull takes it.
static inline struct life *begin(struct member *member, const peal_event *event, uint64_t call)
{
    struct box *box = member->box;
    struct sim *sim = box->sim;
    struct life *life = &box->lives[serial_in(sim, event) - 1];
    uint32_t serial = learn(sim, event, life->edited);
    tell(sim, "%s: #%u attempt %u, position %llu, key %s", box->label, serial,
         peal_event_attempt(event), (unsigned long long)peal_event_position(event),
         peal_event_key(event));
    check_presence(member, serial);
    bool fresh = life->state == NONE;
    check_may_begin(box, life, serial, peal_event_attempt(event));
    if (peal_event_attempt(event) != life->attempt + 1) {
        wrong(sim, "%s: #%u says it is attempt %u instead of %u", box->label, serial,
              peal_event_attempt(event), life->attempt + 1);
    }
    enter_line(box, serial, call);
    box->lives_open += fresh;
    life->attempt++;
    life->state = RUNNING;
    life->failing = 0;
    life->extended = 0;
    life->call = call;
    box->touched = now_of(sim);
    return life;
}

// A filter is asked. What it refuses is settled.
static inline bool let_through(struct box *box, const peal_event *event)
{
    struct sim *sim = box->sim;
    struct life *life = &box->lives[serial_in(sim, event) - 1];
    uint32_t serial = learn(sim, event, life->edited);
    if (!is_filtered(box, serial)) {
        life->passed = true;
        return true;
    }
    if (life->state != NONE || duty_of(box, note_of(sim, serial)) == NOT) {
        wrong(sim, "%s: the filter was asked about #%u once more", box->label, serial);
    }
    life->state = FILTERED;
    box->counts.filtered++;
    box->touched = now_of(sim);
    return false;
}

// A handler returns. `taken`: it has taken the delivery to settle it later.
static inline void end(struct box *box, struct life *life, enum peal_verdict verdict, bool taken)
{
    if (life->early) {
        apply(box, life, (enum peal_verdict)(life->early - 1));
    } else if (verdict != PEAL_LATER || !taken) {
        apply(box, life, verdict == PEAL_LATER ? PEAL_RETRY : verdict);
    } else {
        uint64_t wait_ms = box->options.ack_wait_ms ? box->options.ack_wait_ms : 30000;
        life->state = LATER;
        life->deadline = life->extended ? life->extended : now_of(box->sim) + (int64_t)wait_ms * MS;
        box->touched = now_of(box->sim);
    }
}

// ---- gaps ---------------------------------------------------------------------------------------

static inline bool is_gap(const peal_event *event)
{
    return strcmp(peal_event_type(event), "$peal.gap") == 0;
}

static inline uint64_t number_after(const struct sim *sim, const char *text, const char *name)
{
    const char *at = strstr(text, name);
    if (!at) {
        wrong(sim, "a gap without %s: %s", name, text);
    }
    return strtoull(at + strlen(name), NULL, 10);
}

static inline void note_gap(const struct member *member, const peal_event *event)
{
    struct box *box = member->box;
    const struct sim *sim = box->sim;
    char text[128] = { 0 };
    size_t size = peal_event_size(event);
    memcpy(text, peal_event_data(event), size < sizeof text ? size : sizeof text - 1);
    struct loss gap = { number_after(sim, text, "\"count\":"),
                        number_after(sim, text, "\"first\":"),
                        number_after(sim, text, "\"last\":") };
    tell(sim, "%s: gap %s", box->label, text);
    check_presence(member, 0);
    if (!is_lossy(box) && !may_miss(box) && !sim->dark) {
        wrong(sim, "%s: lost something it never may: %s", box->label, text);
    }
    if (gap.count == 0 || gap.first > gap.last || gap.count > gap.last - gap.first + 1 ||
        box->gap_count == GAPS_MAX) {
        wrong(sim, "%s: a gap that cannot be: %s", box->label, text);
    }
    box->gaps[box->gap_count++] = gap;
    box->lost += gap.count;
}

#endif
