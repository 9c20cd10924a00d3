// SPDX-License-Identifier: MIT
//
// Who does what to the bus: handlers, pullers, those who settle, come, go and look.
//
// Handlers do all that the headers allow there. They do not wait for each other: a handler
// unsubscribes itself and nobody else.
#ifndef BUS_ACTORS_H
#define BUS_ACTORS_H

#include "sim/bus_config.h"
#include "sim/bus_publish.h"
#include "sim/bus_query.h"

// ---- handles ------------------------------------------------------------------------------------

static inline struct handle *free_handle(struct sim *sim)
{
    for (unsigned i = 0; i < HANDLES_MAX; i++) {
        if (!sim->handles[i].box) {
            return &sim->handles[i];
        }
    }
    return NULL;
}

// May settling it fail? Its life has gone on without it, or its bus or subscription has ended.
static inline void check_too_late(const struct sim *sim, const struct handle *handle, bool stale)
{
    const struct box *box = handle->box;
    const struct life *life = handle->life;
    if (!life || stale || handle->token != life->token || box->gone_begun || sim->stopped ||
        (life->state == LATER && now_of(sim) >= life->deadline)) {
        return;
    }
    wrong(sim, "%s: #%u could not be settled, though it was in time", box->label,
          serial_of(box, life));
}

static inline void settle(struct sim *sim, struct handle *handle, enum peal_verdict verdict)
{
    handle->taken = true;
    struct box *box = handle->box;
    struct life *life = handle->life;
    bool stale = life && handle->token != life->token;
    bool old = stale && life->epoch != sim->epoch;
    if (life && !stale) {
        life->settling = (uint8_t)(verdict + 1);
    }
    enum peal_err err = peal_delivery_settle(handle->delivery, verdict);
    tell(sim, "%s: settles #%u with %d: %s", box->label, life ? serial_of(box, life) : 0, verdict,
         peal_err_name(err));
    if (err && err != PEAL_ETIMEDOUT) {
        wrong(sim, "settling: %s: %s", peal_err_name(err), peal_error_sentence());
    }
    if (!err && old && !box->gone_begun) {
        wrong(sim, "%s: #%u was settled by a handle whose time was over", box->label,
              serial_of(box, life));
    }
    if (err) {
        check_too_late(sim, handle, stale);
    }
    box->counts.delivered += !err && !life && verdict == PEAL_DONE; // a gap counts too
    if (life && !stale && handle->token == life->token && life->settling) {
        life->settling = 0;
        if (!err && life->state == RUNNING) {
            life->early = (uint8_t)(verdict + 1);
        } else if (!err && life->state == LATER) {
            apply(box, life, verdict);
        }
    }
    *handle = (struct handle){ 0 };
}

static inline struct handle *draw_handle(struct sim *sim)
{
    unsigned first = draw(sim, HANDLES_MAX);
    for (unsigned i = 0; i < HANDLES_MAX; i++) {
        struct handle *handle = &sim->handles[(first + i) % HANDLES_MAX];
        if (handle->box && !handle->taken) {
            return handle;
        }
    }
    return NULL;
}

static inline void extend(struct sim *sim, struct handle *handle)
{
    struct life *life = handle->life;
    uint64_t wait_ms = 1 + draw(sim, 1000);
    int64_t deadline = now_of(sim) + (int64_t)wait_ms * MS;
    handle->taken = true;
    bool stale = life && handle->token != life->token;
    enum peal_err err = peal_delivery_extend(handle->delivery, wait_ms);
    tell(sim, "%s: extends #%u by %llu ms: %s", handle->box->label,
         life ? serial_of(handle->box, life) : 0, (unsigned long long)wait_ms, peal_err_name(err));
    if (err) {
        check_too_late(sim, handle, stale);
    } else if (life && handle->token == life->token && life->state == LATER) {
        life->deadline = deadline;
    } else if (life && handle->token == life->token && life->state == RUNNING) {
        life->extended = deadline;
    }
    handle->taken = false;
}

// What a handler, or who settles for it, answers.
static inline enum peal_verdict draw_verdict(struct sim *sim, const struct box *box,
                                             const struct life *life)
{
    if (sim->calm || !chance(sim, sim->trouble) ||
        (box->options.retry.unlimited && life->attempt > 6)) {
        return PEAL_DONE;
    }
    unsigned way = draw(sim, 100);
    if (way < 55) {
        return PEAL_RETRY;
    }
    if (way < 70) {
        return life->given < 3 ? PEAL_RELEASE : PEAL_DONE;
    }
    return way < 80 ? PEAL_REJECT : PEAL_LATER;
}

static inline void settler_main(void *context)
{
    struct sim *sim = context;
    while (!sim->winding) {
        struct handle *handle = draw_handle(sim);
        if (handle && !chance(sim, 30)) {
            enum peal_verdict verdict =
                handle->life ? draw_verdict(sim, handle->box, handle->life) : PEAL_DONE;
            if (verdict == PEAL_LATER && chance(sim, 50)) {
                extend(sim, handle);
            } else if (verdict != PEAL_LATER) {
                settle(sim, handle, verdict);
            }
        }
        peal_world_sleep(sim->world, sim->calm ? 5 : draw(sim, 60));
    }
    sim->loopers--;
}

// ---- handlers -----------------------------------------------------------------------------------

static inline bool add_box(struct sim *sim);

static inline void leave_by_itself(struct member *member)
{
    struct box *box = member->box;
    if (member->presence != HERE || member->busy) {
        return;
    }
    tell(box->sim, "%s: unsubscribes itself", box->label);
    member->presence = LEAVING_ITSELF;
    if (!box->named) {
        box->gone_begun = ++box->sim->stamp;
    }
    peal_unsubscribe(member->subscription);
    if (!box->named) {
        box->gone = ++box->sim->stamp;
    }
    member->epoch = box->sim->epoch;
}

static inline void pause_or_resume(struct member *member, bool pause)
{
    struct box *box = member->box;
    if (box->options.mode == PEAL_INLINE) {
        return;
    }
    member->busy++;
    box->unsure = box->switching++ > 0;
    box->paused = false;
    box->frozen = false;
    enum peal_err err = pause ? peal_subscription_pause(member->subscription)
                              : peal_subscription_resume(member->subscription);
    tell(box->sim, "%s: %s: %s", box->label, pause ? "pauses" : "resumes", peal_err_name(err));
    box->switching--;
    box->paused = pause && !box->unsure && box->switching == 0 && !err;
    box->touched = now_of(box->sim);
    member->busy--;
    if (err && !(err == PEAL_ECLOSED && box->sim->stopping)) {
        wrong(box->sim, "%s: pausing: %s", box->label, peal_err_name(err));
    }
}

// What a handler does besides handling.
static inline void act(struct member *member, const peal_event *event)
{
    struct sim *sim = member->box->sim;
    unsigned way = sim->calm ? 100 : draw(sim, 100);
    if (way < 25) {
        peal_world_yield(sim->world);
    } else if (way < 30) {
        peal_world_sleep(sim->world, draw(sim, 40));
    } else if (way < 38 && sim->nests) {
        (void)publish_something(sim, event);
    } else if (way == 40) {
        leave_by_itself(member);
    } else if (way == 41) {
        (void)add_box(sim);
    } else if (way == 42 && member->presence == HERE && member->box->options.mode == PEAL_WORKER) {
        pause_or_resume(member, true);
    } else if (way == 43) {
        query_something(sim);
    }
}

static inline void enter_handler(struct member *member)
{
    struct box *box = member->box;
    unsigned most = box->options.concurrency ? box->options.concurrency : 1;
    box->running++;
    box->sim->running++;
    member->running++;
    most *= box->named ? MEMBERS_MAX : 1;
    if (box->options.mode != PEAL_INLINE && box->running > most) {
        wrong(box->sim, "%s: %u handlers at a time", box->label, box->running);
    }
}

static inline void leave_handler(struct member *member)
{
    member->running--;
    member->box->sim->running--;
    member->box->running--;
    member->box->touched = now_of(member->box->sim);
    member->box->sim->busy = member->box->touched;
}

// Why it fails, sometimes.
static inline void say_why(struct sim *sim, struct life *life, const peal_event *event)
{
    unsigned way = draw(sim, 8);
    if (way < 2) {
        life->failing = way == 0 ? SOFT : FATAL;
        peal_fail(event, reason_names[life->failing], "as drawn");
    }
}

static inline bool take(struct member *member, struct life *life, const peal_event *event)
{
    struct sim *sim = member->box->sim;
    struct handle *handle = free_handle(sim);
    peal_delivery *delivery;
    if (!handle || chance(sim, 10)) {
        return false; // says it will, and cannot: it is tried again
    }
    enum peal_err err = peal_delivery_take(&delivery, event);
    bool may = member->box->options.mode == PEAL_WORKER;
    if (err != (may ? PEAL_OK : PEAL_ESTATE)) {
        wrong(sim, "%s: taking a delivery: %s", member->box->label, peal_err_name(err));
    }
    if (err) {
        return false;
    }
    handle = free_handle(sim); // somebody may have had the same one
    if (!handle) {
        wrong(sim, "no room for a handle");
    }
    *handle = (struct handle){ delivery, member->box, life, life->token, false };
    return true;
}

static inline enum peal_verdict on_event(const peal_event *event, void *context)
{
    struct member *member = context;
    struct sim *sim = member->box->sim;
    if (is_gap(event)) {
        note_gap(member, event);
        if (!sim->calm && chance(sim, 5)) {
            leave_by_itself(member);
        }
        return PEAL_DONE;
    }
    enter_handler(member);
    struct life *life = begin(member, event, ++sim->calls);
    act(member, event);
    enum peal_verdict verdict = draw_verdict(sim, member->box, life);
    bool taken = false;
    if (verdict == PEAL_LATER) {
        taken = take(member, life, event);
        if (chance(sim, 30)) {
            peal_world_sleep(sim->world, draw(sim, 10));
        }
        verdict = chance(sim, 10) ? PEAL_RETRY : PEAL_LATER;
    } else if (verdict != PEAL_DONE) {
        say_why(sim, life, event);
    }
    tell(sim, "%s: #%u verdict %d%s", member->box->label, serial_of(member->box, life), verdict,
         taken ? ", taken" : "");
    end(member->box, life, verdict, taken);
    leave_handler(member);
    return verdict;
}

static inline void on_batch(const peal_event *const *events, size_t count,
                            enum peal_verdict *verdicts, void *context)
{
    struct member *member = context;
    struct sim *sim = member->box->sim;
    struct life *lives[64];
    if (count > 64 ||
        count > (member->box->options.batch_max ? member->box->options.batch_max : 64)) {
        wrong(sim, "%s: a batch of %zu", member->box->label, count);
    }
    if (is_gap(events[0])) {
        note_gap(member, events[0]);
        return;
    }
    enter_handler(member);
    uint64_t call = ++sim->calls;
    for (size_t i = 0; i < count; i++) {
        lives[i] = begin(member, events[i], call);
    }
    act(member, events[0]);
    for (size_t i = 0; i < count; i++) {
        verdicts[i] = draw_verdict(sim, member->box, lives[i]);
        if (verdicts[i] == PEAL_RETRY || verdicts[i] == PEAL_REJECT) {
            say_why(sim, lives[i], events[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        tell(sim, "%s: #%u verdict %d, of a batch of %zu", member->box->label,
             serial_of(member->box, lives[i]), verdicts[i], count);
        end(member->box, lives[i], verdicts[i], false);
    }
    leave_handler(member);
}

static inline bool on_filter(const peal_event *event, void *context)
{
    return let_through(context, event);
}

// ---- middleware and interceptors ----------------------------------------------------------------

static inline enum peal_verdict wrap(const peal_event *event, peal_next *next, void *context)
{
    struct sim *sim = context;
    sim->wrapped++;
    enum peal_verdict verdict = peal_next_call(next, event);
    if (peal_next_call(next, event) != PEAL_DONE) {
        wrong(sim, "a middleware called the rest of the chain twice, and it ran");
    }
    return verdict;
}

static inline enum peal_err refuse_some(peal_draft *draft, void *context)
{
    struct sim *sim = context;
    uint32_t serial = serial_in(sim, peal_draft_event(draft));
    if (chance(sim, 20)) {
        peal_world_yield(sim->world);
    }
    return serial % 13 == 3 ? peal_draft_refuse(draft, "not this one") : PEAL_OK;
}

static inline enum peal_err give_keys(peal_draft *draft, void *context)
{
    struct sim *sim = context;
    uint32_t serial = serial_in(sim, peal_draft_event(draft));
    enum peal_err err = peal_draft_set_metadata(draft, "touched", "yes");
    return err || serial % 5 != 0 ? err : peal_draft_set_key(draft, "k1");
}

// ---- coming and going ---------------------------------------------------------------------------

static inline bool join(struct box *box)
{
    struct sim *sim = box->sim;
    struct member *member = NULL;
    for (unsigned i = 0; i < MEMBERS_MAX && !member; i++) {
        bool gone = box->members[i].presence == LEFT ||
                    (box->members[i].presence == LEAVING_ITSELF && box->members[i].running == 0 &&
                     box->members[i].epoch != sim->epoch);
        if (box->members[i].presence == ABSENT || (gone && box->named)) {
            member = &box->members[i];
        }
    }
    if (!member || sim->stopping) {
        return false;
    }
    struct peal_subscribe_options options = box->options;
    options.filter = box->filters ? on_filter : NULL;
    options.filter_context = box->filters ? box : NULL;
    options.batch = box->batches ? on_batch : NULL;
    bool handled = !box->batches && options.mode != PEAL_PULL;
    member->presence = COMING;
    member->box = box;
    if (!box->came_begun) {
        box->came_begun = ++sim->stamp;
        box->came_at = now_of(sim);
    }
    enum peal_err err = peal_subscribe(&member->subscription, sim->bus, patterns[box->pattern].text,
                                       &options, handled ? on_event : NULL, member);
    tell(sim, "%s: subscribes to %s: %s", box->label, patterns[box->pattern].text,
         peal_err_name(err));
    if (err) {
        if (err != PEAL_ECLOSED || !sim->stopping) {
            wrong(sim, "%s: subscribing: %s: %s", box->label, peal_err_name(err),
                  peal_error_sentence());
        }
        member->presence = ABSENT;
        return false;
    }
    box->came = box->came ? box->came : ++sim->stamp;
    box->touched = now_of(sim);
    if (member->presence == COMING) { // else it has left itself already
        member->presence = HERE;
    }
    return true;
}

static inline void puller_main(void *context);

static inline bool add_box(struct sim *sim)
{
    if (sim->box_count == BOXES_MAX || sim->stopping) {
        return false;
    }
    struct box *box = &sim->boxes[sim->box_count];
    box->sim = sim;
    box->index = sim->box_count++;
    draw_box(sim, box);
    if (!join(box)) {
        return false;
    }
    if (box->options.mode == PEAL_PULL) {
        sim->loopers++;
        if (peal_world_spawn(sim->world, puller_main, &box->members[0])) {
            wrong(sim, "no fiber for a puller");
        }
    }
    return true;
}

static inline void leave(struct member *member)
{
    struct box *box = member->box;
    struct sim *sim = box->sim;
    if (member->busy) {
        return;
    }
    tell(sim, "%s: unsubscribes", box->label);
    member->presence = LEAVING;
    if (!box->named) {
        box->gone_begun = ++sim->stamp;
    }
    peal_unsubscribe(member->subscription);
    if (member->running > 0) {
        wrong(sim, "%s: unsubscribed, and a handler of it runs still", box->label);
    }
    if (!box->named) {
        box->gone = ++sim->stamp;
    }
    member->presence = LEFT;
}

static inline struct member *draw_member(struct sim *sim)
{
    struct box *box = &sim->boxes[draw(sim, sim->box_count)];
    struct member *member = &box->members[draw(sim, box->named ? MEMBERS_MAX : 1)];
    return member->presence == HERE ? member : NULL;
}

static inline void churn_main(void *context)
{
    struct sim *sim = context;
    for (unsigned i = 0; i < sim->steps && !sim->stopping; i++) {
        struct member *member = draw_member(sim);
        unsigned way = draw(sim, 100);
        if (way < 15) {
            (void)add_box(sim);
        } else if (way < 30) {
            struct box *box = &sim->boxes[draw(sim, sim->box_count)];
            (void)(box->named && join(box));
        } else if (member && way < 40 && member->box->options.mode != PEAL_PULL) {
            leave(member);
        } else if (member && way < 50) {
            pause_or_resume(member, true);
        } else if (member && way < 85) {
            pause_or_resume(member, false);
        }
        peal_world_sleep(sim->world, draw(sim, 80));
    }
    sim->actors--;
}

// ---- pulling ------------------------------------------------------------------------------------

static inline void pulled(struct member *member, peal_delivery *delivery)
{
    struct box *box = member->box;
    struct sim *sim = box->sim;
    const peal_event *event = peal_delivery_event(delivery);
    struct handle *handle = free_handle(sim);
    if (!handle) {
        wrong(sim, "no room for a handle");
    }
    if (is_gap(event)) {
        note_gap(member, event);
        box->pulled += box->gaps[box->gap_count - 1].count;
        *handle = (struct handle){ delivery, box, NULL, 0, true };
        settle(sim, handle, PEAL_DONE);
        return;
    }
    struct life *life = begin(member, event, ++sim->calls);
    end(box, life, PEAL_LATER, true);
    *handle = (struct handle){ delivery, box, life, life->token, false };
    if (sim->calm || chance(sim, 60)) {
        enum peal_verdict verdict = draw_verdict(sim, box, life);
        handle->taken = true;
        settle(sim, handle, verdict == PEAL_LATER ? PEAL_RETRY : verdict);
    }
}

static inline void puller_main(void *context)
{
    struct member *member = context;
    struct sim *sim = member->box->sim;
    unsigned until = draw(sim, 3) == 0 ? 5 + draw(sim, 40) : UINT32_MAX;
    peal_delivery *deliveries[8];
    for (unsigned i = 0; !sim->winding; i++) {
        size_t count = 0, max = 1 + draw(sim, 8);
        uint64_t timeout = draw(sim, 4) == 0 ? 0 : draw(sim, 100);
        enum peal_err err =
            peal_subscription_pull(deliveries, &count, member->subscription, max, timeout);
        if (err == PEAL_ECLOSED && sim->stopping) {
            break;
        }
        if (err == PEAL_EOVERFLOW && member->box->options.overflow == PEAL_FAIL) {
            break;
        }
        if ((err && err != PEAL_ETIMEDOUT && err != PEAL_EAGAIN) || count > max ||
            (!err && count == 0)) {
            wrong(sim, "%s: pulling: %s, %zu of %zu", member->box->label, peal_err_name(err), count,
                  max);
        }
        for (size_t j = 0; j < count; j++) {
            pulled(member, deliveries[j]);
        }
        if (i >= until && !sim->calm && member->presence == HERE && !member->busy) {
            leave(member);
            break;
        }
        peal_world_sleep(sim->world, draw(sim, 20));
    }
    sim->loopers--;
}

// ---- the operator -------------------------------------------------------------------------------

static inline struct life *life_of(struct sim *sim, const struct peal_dead_letter *letter,
                                   struct box **out)
{
    for (unsigned i = 0; i < sim->box_count; i++) {
        if (strcmp(sim->boxes[i].label, letter->subscription) == 0) {
            *out = &sim->boxes[i];
            return &sim->boxes[i].lives[serial_in(sim, letter->event) - 1];
        }
    }
    wrong(sim, "a dead letter of %s, whoever that is", letter->subscription);
}

static inline void retry_letter(struct box *box, struct life *life, uint64_t id, bool edit)
{
    struct sim *sim = box->sim;
    uint32_t data[3] = { serial_of(box, life), 0, 0 };
    struct peal_dead_filter filter = { .id = id };
    uint64_t count = 0;
    life->revive = true;
    bool was = life->edited;
    life->edited = life->edited || edit;
    enum peal_err err = edit ? peal_dead_edit(sim->bus, id, data, sizeof data)
                             : peal_dead_retry(sim->bus, &filter, false, &count);
    tell(sim, "%s: #%u letter %llu: %s: %s", box->label, serial_of(box, life),
         (unsigned long long)id, edit ? "edit" : "retry", peal_err_name(err));
    if (err) {
        life->edited = was || life->edited; // it may have been written before it was refused
        life->revive = false;
    } else if (!edit && count != 1) {
        wrong(sim, "retrying letter %llu: %llu affected", (unsigned long long)id,
              (unsigned long long)count);
    }
}

static inline void discard_letter(struct sim *sim, struct box *box, struct life *life, uint64_t id)
{
    struct peal_dead_filter filter = { .id = id };
    uint64_t count = 0;
    life->discard = true;
    enum peal_err err = peal_dead_discard(sim->bus, &filter, false, &count);
    tell(sim, "%s: #%u letter %llu: discard: %s", box->label, serial_of(box, life),
         (unsigned long long)id, peal_err_name(err));
    life->discard = false;
    if (err) {
        return;
    }
    if (count != 1 || life->state != DEAD) {
        wrong(sim, "letter %llu was discarded, of an event in state %u", (unsigned long long)id,
              life->state);
    }
    life->state = DISCARDED;
    box->touched = now_of(sim);
    if (blocks_key(box)) {
        end_life(box, life, DISCARDED);
    }
}

static inline void handle_letter(struct sim *sim)
{
    struct peal_dead_list list;
    enum peal_err err = peal_dead_list(&list, sim->bus, NULL);
    if (err) {
        return; // closed
    }
    if (list.count > 0) {
        const struct peal_dead_letter *letter = &list.letters[draw(sim, (unsigned)list.count)];
        struct box *box;
        struct life *life = life_of(sim, letter, &box);
        unsigned way = draw(sim, 100);
        if (life->state == DEAD && way < 50 && !life->revive) {
            retry_letter(box, life, letter->id, chance(sim, 30));
        } else if (life->state == DEAD && way < 80) {
            discard_letter(sim, box, life, letter->id);
        }
    }
    peal_dead_list_finish(&list);
}

static inline void operator_main(void *context)
{
    struct sim *sim = context;
    for (unsigned i = 0; i < sim->steps && !sim->stopping; i++) {
        unsigned way = draw(sim, 100);
        if (way < 40) {
            handle_letter(sim);
        } else if (way < 60) {
            query_something(sim);
        } else if (way < 70) {
            struct peal_bus_stats stats;
            (void)peal_bus_stats(&stats, sim->bus); // checked at the end, when it is exact
        } else if (way < 80) {
            struct member *member = draw_member(sim);
            struct peal_subscription_stats stats;
            if (member) {
                member->busy++;
                (void)peal_subscription_stats(&stats, member->subscription);
                member->busy--;
            }
        }
        peal_world_sleep(sim->world, draw(sim, 150));
    }
    sim->actors--;
}

#endif
