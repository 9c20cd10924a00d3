// SPDX-License-Identifier: MIT
//
// Mailbox: what a subscription is to those who publish and to those who run it. Here is what it has
// lost, when it may rest, who it is for people, and its life; how events come to it is in intake.c,
// what happens to them in run.c.
#include "bus/durable.h"

#include "base/error.h"

void pl_mailbox_lose(struct pl_mailbox *mailbox, uint64_t count, uint64_t first, uint64_t last)
{
    struct peal_bus *bus = mailbox->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    pl_intake_add_loss(mailbox->in, count, first, last);
    pl_turn_give(&bus->log->turn, bus->seams);
}

void pl_mailbox_miss(struct pl_mailbox *mailbox, uint64_t count, uint64_t first, uint64_t last)
{
    pl_count_shared(&mailbox->in->forgotten, count);
    pl_mailbox_lose(mailbox, count, first, last);
}

bool pl_mailbox_take_loss(struct pl_mailbox *mailbox, struct pl_loss *out)
{
    if (!atomic_load_explicit(&mailbox->lost, memory_order_relaxed)) {
        return false;
    }
    struct peal_bus *bus = mailbox->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    *out = mailbox->in->loss;
    mailbox->in->loss = (struct pl_loss){ 0 };
    atomic_store_explicit(&mailbox->lost, false, memory_order_relaxed);
    pl_turn_give(&bus->log->turn, bus->seams);
    if (out->count > 0) {
        pl_count_shared(&mailbox->counts.dropped, out->count);
    }
    return out->count > 0;
}

bool pl_mailbox_rest(struct pl_mailbox *mailbox)
{
    struct pl_intake *in = mailbox->in;
    if (!in) {
        return true; // nothing is pushed to it
    }
    struct peal_bus *bus = mailbox->bus;
    pl_cursor_rest(&in->place);
    pl_turn_take(&bus->log->turn, bus->seams);
    // What it has lost it is to be told, also when nothing comes after it.
    bool rests =
        pl_intake_news(in) == 0 && !atomic_load_explicit(&mailbox->lost, memory_order_relaxed);
    if (rests && atomic_load_explicit(&in->active, memory_order_relaxed)) {
        atomic_store_explicit(&in->active, false, memory_order_relaxed);
        pl_list_remove(&in->active_link);
        atomic_store_explicit(&in->floor, UINT64_MAX, memory_order_relaxed);
        atomic_store_explicit(&in->mixed, false, memory_order_relaxed);
    }
    pl_turn_give(&bus->log->turn, bus->seams);
    return rests;
}

bool pl_mailbox_rest_shared(struct pl_mailbox *mailbox)
{
    if (pl_mailbox_is_alone(mailbox)) {
        return pl_mailbox_rest(mailbox);
    }
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    bool rests = pl_mailbox_rest(mailbox);
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return rests;
}

// ---- life ---------------------------------------------------------------------------------------

const char *pl_mailbox_label(const struct pl_mailbox *mailbox)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    if (options->label) {
        return options->label;
    }
    return options->name ? options->name : pl_pattern_text(mailbox->pattern);
}

const char *pl_mailbox_who(const struct pl_mailbox *mailbox)
{
    const char *who = mailbox->settings->who;
    return who ? who : pl_mailbox_label(mailbox);
}

enum peal_err pl_mailbox_create(struct pl_mailbox **out, struct peal_bus *bus, const char *pattern,
                                const struct pl_settings *settings)
{
    const struct pl_seams *seams = bus->seams;
    bool has_intake = settings->options.mode != PEAL_INLINE;
    size_t intake_size = has_intake ? sizeof(struct pl_intake) + 63 : 0; // from a cache line on
    struct pl_mailbox *mailbox = pl_new(seams, sizeof *mailbox + intake_size);
    if (!mailbox) {
        return pl_fail(PEAL_ENOMEM, "no memory to subscribe to %s", pattern);
    }
    mailbox->bus = bus;
    mailbox->seams = seams;
    enum peal_err err = pl_pattern_parse(&mailbox->pattern, seams, pattern);
    if (err) {
        pl_release(seams, mailbox);
        return err;
    }
    mailbox->settings = settings;
    const struct peal_subscribe_options *options = &settings->options;
    mailbox->mode = (uint8_t)options->mode;
    mailbox->running_max = (uint16_t)options->concurrency;
    atomic_init(&mailbox->refs, 1);
    if (has_intake) {
        mailbox->in = pl_align64(mailbox + 1);
        mailbox->in->mailbox = mailbox;
        mailbox->in->overflow = (uint8_t)options->overflow;
        atomic_init(&mailbox->in->floor, UINT64_MAX);
    }
    pl_list_init(&mailbox->members);
    *out = mailbox;
    return PEAL_OK;
}

bool pl_mailbox_is_gone(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    pl_mutex_lock(&bus->runs.lock, bus->seams);
    bool gone = mailbox->forgotten;
    pl_mutex_unlock(&bus->runs.lock, bus->seams);
    return gone || atomic_load_explicit(&mailbox->overflowed, memory_order_acquire);
}

void pl_mailbox_ref(struct pl_mailbox *mailbox)
{
    atomic_fetch_add_explicit(&mailbox->refs, 1, memory_order_relaxed);
}

void pl_mailbox_unref(struct pl_mailbox *mailbox)
{
    if (!mailbox || atomic_fetch_sub_explicit(&mailbox->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    const struct pl_seams *seams = mailbox->seams; // the bus may be gone
    if (mailbox->in) {
        pl_cursor_rest(&mailbox->in->place);
        pl_release(seams, (void *)mailbox->in->ring);
        pl_release(seams, mailbox->in->types);
    }
    pl_hold_finish(mailbox);
    pl_pattern_free(mailbox->pattern, seams);
    pl_settings_free(mailbox->settings, seams);
    pl_durable_free(mailbox->durable, seams);
    pl_release(seams, atomic_load(&mailbox->timings));
    pl_release(seams, mailbox);
}
