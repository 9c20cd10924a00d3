// SPDX-License-Identifier: MIT
//
// Who does what to the bus besides publishing: members that come and go, pullers, an operator.
#ifndef BUS_ACTORS_H
#define BUS_ACTORS_H

#include "sim/bus_config.h"
#include "sim/bus_handlers.h"

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
    struct peal_bus_stats now;
    if (!box->came_begun && peal_bus_stats(&now, sim->bus) == PEAL_OK &&
        box->from_position > now.last_position + 1) {
        box->from_position = now.last_position + 1; // none is given for what is still to come
        box->options.from_position = box->from_position;
        options.from_position = box->from_position;
    }
    if (!box->came_begun) {
        box->came_begun = ++sim->stamp;
        box->came_at = now_of(sim);
    }
    enum peal_err err = peal_subscribe(&member->subscription, sim->bus, patterns[box->pattern].text,
                                       &options, handled ? on_event : NULL, member);
    tell(sim, "%s: subscribes to %s: %s", box->label, patterns[box->pattern].text,
         peal_err_name(err));
    if (err) {
        if ((err != PEAL_ECLOSED || !sim->stopping) && (err != PEAL_EIO || !sim->dark)) {
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
        *handle = (struct handle){ delivery, box, NULL, 0, true, 0 };
        settle(sim, handle, PEAL_DONE);
        return;
    }
    struct life *life = begin(member, event, ++sim->calls);
    end(box, life, PEAL_LATER, true);
    *handle = (struct handle){ delivery, box, life, life->token, false, 0 };
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
        struct box *box = &sim->boxes[i];
        if (strcmp(box->label, letter->label) == 0 &&
            strcmp(box->named ? box->name : box->label, letter->subscription) == 0) {
            *out = box;
            return &box->lives[serial_in(sim, letter->event) - 1];
        }
    }
    wrong(sim, "a dead letter of %s (%s), whoever that is", letter->subscription, letter->label);
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
    if (err || box->gone_begun) {
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
