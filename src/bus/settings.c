// SPDX-License-Identifier: MIT
//
// Settings: the options of a subscription, checked, with every default filled in, and copied.
//
// Most subscriptions ask for nothing, and share two settings that are never freed.
#include "bus/calls.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

#define CONCURRENCY_MAX 1024
#define BATCH_MOST      4096
#define MAILBOX_MOST    (1U << 24)

// What most subscriptions have: shared, never freed.
static const struct pl_settings plain_settings = {
    .options = { .concurrency = 1,
                 .mailbox = 1024,
                 .ack_wait_ms = 30000,
                 .slow_ms = 1000,
                 .retry = { .initial_ms = 1000,
                            .coefficient = 2.0,
                            .max_ms = 100000,
                            .max_attempts = 5 } },
    .simple = true,
};

static const struct pl_settings inline_settings = {
    .options = { .mode = PEAL_INLINE,
                 .concurrency = 1,
                 .mailbox = 1024,
                 .ack_wait_ms = 30000,
                 .retry = { .initial_ms = 1000,
                            .coefficient = 2.0,
                            .max_ms = 100000,
                            .max_attempts = 5 } },
    .simple = true,
};

void pl_settings_free(const struct pl_settings *settings, const struct pl_seams *seams)
{
    if (!settings || settings == &plain_settings || settings == &inline_settings) {
        return;
    }
    pl_release(seams, (void *)settings->options.name);
    pl_release(seams, (void *)settings->options.label);
    pl_release(seams, (void *)settings->options.retry.non_retryable);
    pl_release(seams, (void *)settings->who);
    pl_release(seams, (void *)settings);
}

// ---- defaults -----------------------------------------------------------------------------------

static void fill_defaults(struct peal_subscribe_options *options)
{
    const struct peal_subscribe_options *plain = &plain_settings.options;
    options->concurrency = options->concurrency ? options->concurrency : plain->concurrency;
    options->mailbox = options->mailbox ? options->mailbox : plain->mailbox;
    if (options->mailbox <= MAILBOX_MOST) { // what is too large is refused as it came
        uint32_t size = 2;
        while (size < options->mailbox) {
            size *= 2;
        }
        options->mailbox = size;
    }
    options->batch_max = options->batch_max ? options->batch_max : 64;
    options->ack_wait_ms = options->ack_wait_ms ? options->ack_wait_ms : plain->ack_wait_ms;
    if (options->mode != PEAL_INLINE && options->slow_ms == 0) {
        options->slow_ms = plain->slow_ms;
    }
    struct peal_retry *retry = &options->retry;
    retry->initial_ms = retry->initial_ms ? retry->initial_ms : plain->retry.initial_ms;
    retry->coefficient = retry->coefficient != 0 ? retry->coefficient : plain->retry.coefficient;
    retry->max_ms = retry->max_ms ? retry->max_ms : retry->initial_ms * 100;
    retry->max_attempts = retry->max_attempts ? retry->max_attempts : plain->retry.max_attempts;
}

// ---- checking -----------------------------------------------------------------------------------

static enum peal_err check_retry(const struct peal_retry *retry)
{
    if (!(retry->coefficient >= 1.0 && retry->coefficient <= 1000.0)) {
        return pl_fail(PEAL_EINVAL, "retry coefficient %g: must be 1 to 1000", retry->coefficient);
    }
    uint64_t most = INT64_MAX / (uint64_t)PL_NS_PER_MS / 4;
    if (retry->initial_ms > most || retry->max_ms > most || retry->max_elapsed_ms > most) {
        return pl_fail(PEAL_EINVAL, "retry: intervals must be below 70 years");
    }
    return PEAL_OK;
}

static enum peal_err check_ranges(const struct peal_subscribe_options *options)
{
    if ((unsigned)options->mode > PEAL_PULL || (unsigned)options->from > PEAL_FROM_TIME ||
        (unsigned)options->order > PEAL_ORDER_NONE || (unsigned)options->overflow > PEAL_FAIL ||
        (unsigned)options->spent > PEAL_SPENT_PAUSE ||
        (unsigned)options->after_dead > PEAL_AFTER_DEAD_PARK) {
        return pl_fail(PEAL_EINVAL, "subscribe options: mode, from, order, overflow, spent or "
                                    "after_dead is none of its values");
    }
    if (options->concurrency > CONCURRENCY_MAX || options->batch_max > BATCH_MOST ||
        options->mailbox > MAILBOX_MOST) {
        return pl_fail(PEAL_ELIMIT,
                       "subscribe options: concurrency is at most %d, batch_max %d, mailbox %u",
                       CONCURRENCY_MAX, BATCH_MOST, MAILBOX_MOST);
    }
    uint64_t most = INT64_MAX / (uint64_t)PL_NS_PER_MS / 4;
    if (options->ack_wait_ms > most || options->batch_wait_ms > most || options->slow_ms > most) {
        return pl_fail(PEAL_EINVAL, "subscribe options: waits must be below 70 years");
    }
    if (options->name && !*options->name) {
        return pl_fail(PEAL_EINVAL, "subscription name: must not be empty; NULL is none");
    }
    if (options->name && strnlen(options->name, PEAL_ID_MAX + 1) > PEAL_ID_MAX) {
        return pl_fail(PEAL_ELIMIT, "subscription name \"%.40s...\": at most %d bytes",
                       options->name, PEAL_ID_MAX);
    }
    if (options->label && strnlen(options->label, PEAL_TYPE_MAX + 1) > PEAL_TYPE_MAX) {
        return pl_fail(PEAL_ELIMIT, "subscription label \"%.40s...\": at most %d bytes",
                       options->label, PEAL_TYPE_MAX);
    }
    return check_retry(&options->retry);
}

static enum peal_err check_mode(const struct peal_subscribe_options *options, peal_handler *handler)
{
    int ways = (handler != NULL) + (options->batch != NULL);
    if (options->mode == PEAL_PULL ? ways != 0 : ways != 1) {
        return pl_fail(PEAL_EINVAL, options->mode == PEAL_PULL
                                        ? "a PEAL_PULL subscription takes no handler"
                                        : "a subscription takes a handler, or a batch handler");
    }
    bool worker_only = options->name || options->from || options->batch ||
                       options->concurrency > 1 || options->overflow ||
                       options->spent == PEAL_SPENT_PAUSE;
    if (options->mode == PEAL_INLINE && worker_only) {
        return pl_fail(PEAL_EINVAL, "an inline subscription runs in the publisher: it has no name, "
                                    "start, batch, concurrency, overflow or PEAL_SPENT_PAUSE");
    }
    return PEAL_OK;
}

enum peal_err pl_settings_check(const struct peal_subscribe_options *options, peal_handler *handler)
{
    static const struct peal_subscribe_options zero;
    enum peal_err err = check_mode(options ? options : &zero, handler);
    if (!err && options) {
        struct peal_subscribe_options filled = *options;
        fill_defaults(&filled);
        err = check_ranges(&filled);
    }
    return err;
}

// ---- making -------------------------------------------------------------------------------------

static bool copy_text(const char **text, const struct pl_seams *seams)
{
    if (*text) {
        *text = pl_copy_bytes(seams, *text, strlen(*text));
        return *text != NULL;
    }
    return true;
}

static bool copy_label(struct peal_subscribe_options *options, const struct pl_seams *seams)
{
    char place[PEAL_TYPE_MAX + 1];
    if (!options->label && options->file) {
        (void)snprintf(place, sizeof place, "%s:%d", options->file, options->line); // cut is fine
        options->label = place;
    }
    return copy_text(&options->label, seams);
}

static bool make_who(struct pl_settings *made, const struct peal_subscribe_options *given,
                     const struct pl_seams *seams)
{
    const char *name = given->label ? given->label : given->name;
    char who[2 * PEAL_TYPE_MAX];
    if (name && given->file) {
        // Cut is fine.
        (void)snprintf(who, sizeof who, "%s (%s:%d)", name, given->file, given->line);
        made->who = pl_copy_bytes(seams, who, strlen(who));
        return made->who != NULL;
    }
    return true;
}

enum peal_err pl_settings_make(const struct pl_settings **out, const struct pl_seams *seams,
                               const struct peal_subscribe_options *given)
{
    static const struct peal_subscribe_options zero;
    // Padding that differs costs an allocation and nothing else.
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
    if (!given || memcmp(given, &zero, sizeof zero) == 0) {
        *out = &plain_settings;
        return PEAL_OK;
    }
    static const struct peal_subscribe_options bare_inline = { .mode = PEAL_INLINE };
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): as above
    if (memcmp(given, &bare_inline, sizeof bare_inline) == 0) {
        *out = &inline_settings;
        return PEAL_OK;
    }
    struct pl_settings *made = pl_new(seams, sizeof *made);
    if (!made) {
        return pl_fail(PEAL_ENOMEM, "no memory for a subscription's options");
    }
    made->options = *given;
    struct peal_subscribe_options *options = &made->options;
    fill_defaults(options);
    made->simple = !options->batch && !options->name && options->concurrency == 1 &&
                   options->mode != PEAL_PULL && options->overflow != PEAL_LATEST_PER_KEY;
    // Each becomes a copy, or the freeing function must not see it.
    const char *name = options->name, *words = options->retry.non_retryable;
    options->name = NULL;
    options->retry.non_retryable = NULL;
    bool copied = copy_label(options, seams);
    if (!copied) {
        options->label = NULL;
    }
    copied = copied && copy_text(&name, seams);
    options->name = copied ? name : NULL;
    copied = copied && copy_text(&words, seams);
    options->retry.non_retryable = copied ? words : NULL;
    copied = copied && make_who(made, given, seams);
    if (!copied) {
        pl_settings_free(made, seams);
        return pl_fail(PEAL_ENOMEM, "no memory for a subscription's options");
    }
    *out = made;
    return PEAL_OK;
}

// ---- comparing ----------------------------------------------------------------------------------

static bool same_text(const char *left, const char *right)
{
    return left == right || (left && right && strcmp(left, right) == 0);
}

static bool same_retry(const struct peal_retry *a, const struct peal_retry *b)
{
    return a->immediate == b->immediate && a->initial_ms == b->initial_ms &&
           a->coefficient == b->coefficient && a->max_ms == b->max_ms &&
           a->max_attempts == b->max_attempts && a->unlimited == b->unlimited &&
           a->max_elapsed_ms == b->max_elapsed_ms && a->no_jitter == b->no_jitter &&
           same_text(a->non_retryable, b->non_retryable);
}

bool pl_settings_same(const struct peal_subscribe_options *a,
                      const struct peal_subscribe_options *b)
{
    return a->mode == b->mode && a->concurrency == b->concurrency && a->order == b->order &&
           (a->batch != NULL) == (b->batch != NULL) && a->batch_max == b->batch_max &&
           a->batch_wait_ms == b->batch_wait_ms && a->mailbox == b->mailbox &&
           a->overflow == b->overflow && a->spent == b->spent && a->after_dead == b->after_dead &&
           a->filter == b->filter && a->filter_context == b->filter_context &&
           a->ack_wait_ms == b->ack_wait_ms && a->slow_ms == b->slow_ms &&
           same_retry(&a->retry, &b->retry);
}
