// SPDX-License-Identifier: MIT
//
// Handlers, and what stands around them: filters, middleware, interceptors; and the deliveries they
// give away, with who settles them.
//
// Handlers do all that the headers allow there. They do not wait for each other: a handler
// unsubscribes itself and nobody else.
#ifndef BUS_HANDLERS_H
#define BUS_HANDLERS_H

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
        if (handle->box && !handle->taken && (!handle->rested || now_of(sim) > handle->rested)) {
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

static inline bool add_box(struct sim *sim); // bus_actors.h: handlers subscribe too

static inline void leave_by_itself(struct member *member)
{
    struct box *box = member->box;
    if (member->presence != HERE || member->busy) {
        return;
    }
    tell(box->sim, "%s: unsubscribes itself", box->label);
    member->presence = LEAVING_ITSELF;
    member->epoch = box->sim->epoch; // calls that have begun already may go on meanwhile
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
    if (err && !(err == PEAL_ECLOSED && box->sim->stopping) &&
        !(err == PEAL_EIO && box->sim->dark)) {
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
    box->sim->running++;
    member->running++;
    if (box->options.mode != PEAL_INLINE && member->running > most) {
        wrong(box->sim, "%s: %u handlers of a member at a time", box->label, member->running);
    }
}

static inline void leave_handler(struct member *member)
{
    member->running--;
    member->box->sim->running--;
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
    *handle = (struct handle){ delivery, member->box, life, life->token, false, 0 };
    return true;
}

// Its handler took an event, and settles it by returning. Whoever is settling it just now is first;
// nobody else may meanwhile, because it could come before or after the return.
static inline void settle_by_returning(struct sim *sim, const struct life *life)
{
    while (life->settling) {
        peal_world_yield(sim->world);
    }
    for (unsigned i = 0; i < HANDLES_MAX; i++) {
        struct handle *handle = &sim->handles[i];
        if (handle->box && handle->life == life && handle->token == life->token) {
            handle->rested = now_of(sim);
        }
    }
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
        if (taken && verdict == PEAL_RETRY) {
            settle_by_returning(sim, life);
        }
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

#endif
