// SPDX-License-Identifier: MIT
//
// Durable names of a bus: found, and listed with how far they are.
//
// Those that are in use are mailboxes; ghosts are those that an earlier process had and nobody has
// taken again.
#include "bus/ask.h"
#include "bus/hold.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

struct pl_mailbox *pl_name_find(struct peal_bus *bus, const char *name)
{
    struct pl_mailbox *mailbox;
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        const char *its = mailbox->settings->options.name;
        if (its && strcmp(its, name) == 0) {
            return mailbox;
        }
    }
    return NULL;
}

// The number behind a prefix; 0: it is none.
static uint64_t number_behind(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    const char *digits = name + length;
    if (strncmp(name, prefix, length) != 0 || *digits < '1' || *digits > '9') {
        return 0;
    }
    char *end;
    unsigned long long number = strtoull(digits, &end, 10);
    return *end ? 0 : number;
}

uint64_t pl_name_next(struct peal_bus *bus, const char *prefix, uint64_t after)
{
    uint64_t lowest = 0;
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_mailbox *mailbox;
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        const char *name = mailbox->settings->options.name;
        uint64_t number = name ? number_behind(name, prefix) : 0;
        if (number > after && (lowest == 0 || number < lowest)) {
            lowest = number;
        }
    }
    PL_LIST_EACH (mailbox, &bus->ghosts, link) {
        uint64_t number = number_behind(mailbox->settings->options.name, prefix);
        if (number > after && (lowest == 0 || number < lowest)) {
            lowest = number;
        }
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    return lowest;
}

// ---- listing ------------------------------------------------------------------------------------

struct list_owner {
    const struct pl_seams *seams;
    size_t room;
    char *answer;                   // of another process, in which the texts are; or NULL
    struct pl_mailbox *mailboxes[]; // references; none then
};

static size_t count_names(struct peal_bus *bus)
{
    size_t count = 0;
    struct pl_mailbox *mailbox;
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        count += mailbox->settings->options.name != NULL;
    }
    PL_LIST_EACH (mailbox, &bus->ghosts, link) {
        count++;
    }
    return count;
}

static void describe(struct peal_subscription_info *out, struct pl_mailbox *mailbox)
{
    *out = (struct peal_subscription_info){
        .name = mailbox->settings->options.name,
        .pattern = pl_pattern_text(mailbox->pattern),
        .label = pl_mailbox_label(mailbox),
        .members = atomic_load_explicit(&mailbox->member_count, memory_order_relaxed),
    };
}

static void look_at(struct peal_subscription_info *out, struct pl_mailbox *mailbox)
{
    struct pl_loss loss;
    describe(out, mailbox);
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    uint64_t next = pl_intake_next(mailbox->in, &loss);
    uint64_t first = pl_durable_first(mailbox);
    out->position = first < next ? first : next;
    out->unsettled = pl_durable_count(mailbox);
    struct pl_pending *pending;
    if (mailbox->hold) {
        PL_LIST_EACH (pending, &mailbox->hold->all, link) {
            if (pending->position > 0 && !pending->dead) {
                out->position =
                    pending->position < out->position ? pending->position : out->position;
                out->unsettled++;
            }
        }
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    out->lag = next; // for the moment
    out->paused = atomic_load_explicit(&mailbox->paused, memory_order_relaxed);
}

// With bus->lock.
static void fill_list(struct peal_subscription_list *list, struct list_owner *owner,
                      struct peal_bus *bus)
{
    struct pl_mailbox *mailbox;
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        if (list->count < owner->room && mailbox->settings->options.name) {
            look_at(&list->subscriptions[list->count], mailbox);
            owner->mailboxes[list->count++] = mailbox;
            pl_mailbox_ref(mailbox);
        }
    }
    PL_LIST_EACH (mailbox, &bus->ghosts, link) {
        if (list->count < owner->room) {
            struct peal_subscription_info *info = &list->subscriptions[list->count];
            describe(info, mailbox);
            pl_ghost_look(info, mailbox);
            owner->mailboxes[list->count++] = mailbox;
            pl_mailbox_ref(mailbox);
        }
    }
}

// How far it is behind, and what of it is dead. No lock: the log may have to be read back.
static void complete(struct peal_subscription_info *info, struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    uint64_t end = pl_log_end(bus->log);
    info->lag = info->lag < end ? end - info->lag : 0;
    info->dead_letters = pl_dead_count_of(mailbox);
    struct pl_cursor place = { 0 };
    const struct pl_frame *frame =
        info->position < end ? pl_cursor_at(&place, bus->log, info->position) : NULL;
    int64_t age = frame ? pl_bus_now(bus) - frame->recorded : 0;
    info->lag_ns = age > 0 ? (uint64_t)age : 0;
    pl_cursor_rest(&place);
}

static int by_name(const void *left, const void *right)
{
    const struct peal_subscription_info *a = left, *b = right;
    return strcmp(a->name, b->name);
}

// The list as the process that has the log knows it; `answer` is taken.
static enum peal_err list_answer(struct peal_subscription_list *out, struct peal_bus *bus,
                                 char *answer, struct pl_unpack *names)
{
    uint64_t count = pl_unpack_number(names);
    bool fits = count <= names->left / 8;
    struct list_owner *owner = fits ? pl_new(bus->seams, sizeof *owner) : NULL;
    struct peal_subscription_list list = {
        .subscriptions = fits ? pl_new(bus->seams, (count + 1) * sizeof *list.subscriptions) : NULL
    };
    for (uint64_t i = 0; list.subscriptions && i < count && !names->bad; i++) {
        list.subscriptions[list.count++] = pl_unpack_name(names);
    }
    if (!owner || !list.subscriptions || names->bad) {
        pl_release(bus->seams, owner);
        pl_release(bus->seams, list.subscriptions);
        pl_release(bus->seams, answer);
        return pl_fail(fits && !names->bad ? PEAL_ENOMEM : PEAL_EIO,
                       "the names that the process which has the log knows cannot be listed");
    }
    owner->seams = bus->seams;
    owner->answer = answer;
    list.owner = owner;
    *out = list;
    return PEAL_OK;
}

enum peal_err peal_subscription_list(struct peal_subscription_list *out, peal_bus *bus)
{
    if (!out || !bus) {
        return pl_fail(PEAL_EINVAL, "peal_subscription_list needs a bus and a place for the list");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err) {
        return err;
    }
    char *answer = NULL;
    struct pl_unpack names;
    if (pl_asks(bus) && !pl_ask_names(&answer, &names, bus)) {
        return list_answer(out, bus, answer, &names);
    }
    pl_mutex_lock(&bus->lock, bus->seams);
    size_t room = count_names(bus);
    pl_mutex_unlock(&bus->lock, bus->seams);
    struct list_owner *owner =
        pl_new(bus->seams, sizeof *owner + room * sizeof(struct pl_mailbox *));
    struct peal_subscription_list list = {
        .subscriptions = pl_new(bus->seams, (room + 1) * sizeof *list.subscriptions)
    };
    if (!owner || !list.subscriptions) {
        pl_release(bus->seams, owner);
        pl_release(bus->seams, list.subscriptions);
        return pl_fail(PEAL_ENOMEM, "no memory to list %zu subscriptions", room);
    }
    owner->seams = bus->seams;
    owner->room = room;
    list.owner = owner;
    pl_mutex_lock(&bus->lock, bus->seams);
    fill_list(&list, owner, bus);
    pl_mutex_unlock(&bus->lock, bus->seams);
    for (size_t i = 0; i < list.count; i++) {
        complete(&list.subscriptions[i], owner->mailboxes[i]);
    }
    qsort(list.subscriptions, list.count, sizeof *list.subscriptions, by_name);
    *out = list;
    return PEAL_OK;
}

void peal_subscription_list_finish(struct peal_subscription_list *list)
{
    if (!list || !list->owner) {
        return;
    }
    struct list_owner *owner = list->owner;
    for (size_t i = 0; i < list->count && !owner->answer; i++) {
        pl_mailbox_unref(owner->mailboxes[i]);
    }
    const struct pl_seams *seams = owner->seams;
    pl_release(seams, owner->answer);
    pl_release(seams, list->subscriptions);
    pl_release(seams, owner);
    *list = (struct peal_subscription_list){ 0 };
}
