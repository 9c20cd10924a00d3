// SPDX-License-Identifier: MIT
//
// Records are fixed parts, then texts with a zero byte each, one behind the other. All integers are
// little-endian, as they are in the files of the log. docs/format.md spells them.
#include "bus/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- texts --------------------------------------------------------------------------------------

struct writer {
    char *out;
    size_t size, room;
};

static void put(struct writer *writer, const void *bytes, size_t size)
{
    if (size <= writer->room && writer->size <= writer->room - size) {
        memcpy(writer->out + writer->size, bytes, size);
    }
    writer->size += size;
}

static void put_text(struct writer *writer, const char *text)
{
    put(writer, text ? text : "", text ? strlen(text) + 1 : 1);
}

struct reader {
    const char *next, *end;
};

static bool take(struct reader *reader, void *out, size_t size)
{
    if ((size_t)(reader->end - reader->next) < size) {
        return false;
    }
    memcpy(out, reader->next, size);
    reader->next += size;
    return true;
}

static bool take_text(struct reader *reader, const char **out)
{
    const char *zero = memchr(reader->next, '\0', (size_t)(reader->end - reader->next));
    if (!zero) {
        return false;
    }
    *out = reader->next;
    reader->next = zero + 1;
    return true;
}

// ---- sub/<name> ---------------------------------------------------------------------------------

enum { HAS_BATCH = 1, HAS_FILTER = 2, UNLIMITED = 4, NO_JITTER = 8 };

struct fixed_definition {
    uint32_t version, flags;
    uint32_t mode, order, overflow, spent, after_dead;
    uint32_t concurrency, batch_max, mailbox;
    uint32_t immediate, max_attempts;
    uint64_t batch_wait_ms, ack_wait_ms, slow_ms;
    uint64_t initial_ms, max_ms, max_elapsed_ms;
    double coefficient;
};

_Static_assert(sizeof(struct fixed_definition) == 104, "it is part of the format");

// NOLINTNEXTLINE(readability-non-const-parameter): the writer writes to it
size_t pl_definition_write(char *out, size_t size, const struct pl_definition *definition)
{
    const struct peal_subscribe_options *options = &definition->options;
    const struct peal_retry *retry = &options->retry;
    struct fixed_definition fixed = {
        .version = PL_RECORD_VERSION,
        .flags = (definition->has_batch ? HAS_BATCH : 0U) |
                 (definition->has_filter ? HAS_FILTER : 0U) | (retry->unlimited ? UNLIMITED : 0U) |
                 (retry->no_jitter ? NO_JITTER : 0U),
        .mode = (uint32_t)options->mode,
        .order = (uint32_t)options->order,
        .overflow = (uint32_t)options->overflow,
        .spent = (uint32_t)options->spent,
        .after_dead = (uint32_t)options->after_dead,
        .concurrency = options->concurrency,
        .batch_max = options->batch_max,
        .mailbox = options->mailbox,
        .immediate = retry->immediate,
        .max_attempts = retry->max_attempts,
        .batch_wait_ms = options->batch_wait_ms,
        .ack_wait_ms = options->ack_wait_ms,
        .slow_ms = options->slow_ms,
        .initial_ms = retry->initial_ms,
        .max_ms = retry->max_ms,
        .max_elapsed_ms = retry->max_elapsed_ms,
        .coefficient = retry->coefficient,
    };
    struct writer writer = { out, 0, size };
    put(&writer, &fixed, sizeof fixed);
    put_text(&writer, definition->pattern);
    put_text(&writer, options->label);
    put_text(&writer, retry->non_retryable);
    return writer.size;
}

static const char *unless_empty(const char *text)
{
    return *text ? text : NULL;
}

bool pl_definition_read(struct pl_definition *out, const char *bytes, size_t size)
{
    struct reader reader = { bytes, bytes + size };
    struct fixed_definition fixed;
    const char *pattern, *label, *non_retryable;
    if (!take(&reader, &fixed, sizeof fixed) || fixed.version != PL_RECORD_VERSION ||
        !take_text(&reader, &pattern) || !take_text(&reader, &label) ||
        !take_text(&reader, &non_retryable)) {
        return false;
    }
    *out = (struct pl_definition){ .has_batch = fixed.flags & HAS_BATCH,
                                   .has_filter = fixed.flags & HAS_FILTER,
                                   .pattern = pattern };
    out->options = (struct peal_subscribe_options){
        .mode = (enum peal_mode)fixed.mode,
        .order = (enum peal_order)fixed.order,
        .overflow = (enum peal_overflow)fixed.overflow,
        .spent = (enum peal_spent)fixed.spent,
        .after_dead = (enum peal_after_dead)fixed.after_dead,
        .concurrency = fixed.concurrency,
        .batch_max = fixed.batch_max,
        .mailbox = fixed.mailbox,
        .batch_wait_ms = fixed.batch_wait_ms,
        .ack_wait_ms = fixed.ack_wait_ms,
        .slow_ms = fixed.slow_ms,
        .label = unless_empty(label),
        .retry = { .immediate = fixed.immediate,
                   .initial_ms = fixed.initial_ms,
                   .coefficient = fixed.coefficient,
                   .max_ms = fixed.max_ms,
                   .max_attempts = fixed.max_attempts,
                   .unlimited = fixed.flags & UNLIMITED,
                   .max_elapsed_ms = fixed.max_elapsed_ms,
                   .no_jitter = fixed.flags & NO_JITTER,
                   .non_retryable = unless_empty(non_retryable) },
    };
    return true;
}

// ---- cursor/<name> ------------------------------------------------------------------------------

enum { CLEAN = 1, EXACT = 2, PAUSED = 4 };

struct fixed_place {
    uint32_t version, flags;
    uint64_t next;
    uint64_t lost, lost_first, lost_last;
    uint32_t count, zero;
};

// One that nobody has tried is its position alone.
#define HAS_MORE 1

struct fixed_unsettled {
    uint64_t dead;
    int64_t first_failure, last_failure, due;
    uint32_t attempts, flags;
};

_Static_assert(sizeof(struct fixed_place) == 48, "it is part of the format");
_Static_assert(sizeof(struct fixed_unsettled) == 40, "and so is this");

size_t pl_place_size(size_t count)
{
    return sizeof(struct fixed_place) + count * (sizeof(uint64_t) + sizeof(struct fixed_unsettled));
}

size_t pl_place_begin(char *out, const struct pl_place *place)
{
    struct fixed_place fixed = { .version = PL_RECORD_VERSION,
                                 .flags = (place->clean ? CLEAN : 0U) |
                                          (place->exact ? EXACT : 0U) |
                                          (place->paused ? PAUSED : 0U),
                                 .next = place->next,
                                 .lost = place->lost,
                                 .lost_first = place->lost_first,
                                 .lost_last = place->lost_last };
    memcpy(out, &fixed, sizeof fixed);
    return sizeof fixed;
}

size_t pl_place_add(char *out, size_t size, const struct pl_unsettled *unsettled)
{
    struct fixed_place head;
    memcpy(&head, out, sizeof head);
    head.count++;
    memcpy(out, &head, sizeof head);
    bool more = unsettled->dead || unsettled->attempts || unsettled->flags;
    uint64_t word = unsettled->position << 1 | (more ? HAS_MORE : 0U);
    memcpy(out + size, &word, sizeof word);
    size += sizeof word;
    if (more) {
        struct fixed_unsettled fixed = { unsettled->dead,         unsettled->first_failure,
                                         unsettled->last_failure, unsettled->due,
                                         unsettled->attempts,     unsettled->flags };
        memcpy(out + size, &fixed, sizeof fixed);
        size += sizeof fixed;
    }
    return size;
}

static bool take_unsettled(struct reader *reader, struct pl_unsettled *out)
{
    uint64_t word;
    struct fixed_unsettled fixed = { 0 };
    if (!take(reader, &word, sizeof word) ||
        ((word & HAS_MORE) && !take(reader, &fixed, sizeof fixed))) {
        return false;
    }
    *out = (struct pl_unsettled){ .position = word >> 1,
                                  .dead = fixed.dead,
                                  .first_failure = fixed.first_failure,
                                  .last_failure = fixed.last_failure,
                                  .due = fixed.due,
                                  .attempts = fixed.attempts,
                                  .flags = fixed.flags };
    return true;
}

bool pl_place_read(struct pl_place *out, const char *bytes, size_t size)
{
    struct reader reader = { bytes, bytes + size };
    struct fixed_place fixed;
    if (!take(&reader, &fixed, sizeof fixed) || fixed.version != PL_RECORD_VERSION ||
        fixed.next == 0) {
        return false;
    }
    for (uint32_t i = 0; i < fixed.count; i++) {
        struct pl_unsettled unsettled;
        if (!take_unsettled(&reader, &unsettled)) {
            return false;
        }
    }
    *out = (struct pl_place){ .next = fixed.next,
                              .lost = fixed.lost,
                              .lost_first = fixed.lost_first,
                              .lost_last = fixed.lost_last,
                              .count = fixed.count,
                              .clean = fixed.flags & CLEAN,
                              .exact = fixed.flags & EXACT,
                              .paused = fixed.flags & PAUSED };
    return true;
}

static int by_position(const void *left, const void *right)
{
    const struct pl_unsettled *a = left, *b = right;
    return a->position < b->position ? -1 : a->position > b->position;
}

size_t pl_place_list(struct pl_unsettled *out, const char *bytes, size_t size)
{
    struct reader reader = { bytes + sizeof(struct fixed_place), bytes + size };
    struct fixed_place fixed;
    memcpy(&fixed, bytes, sizeof fixed);
    size_t read = 0, count = 0;
    while (read < fixed.count && take_unsettled(&reader, &out[read])) {
        read++;
    }
    if (read > 1) {
        qsort(out, read, sizeof *out, by_position);
    }
    for (size_t i = 0; i < read; i++) {
        if (out[i].position > 0 && (count == 0 || out[count - 1].position < out[i].position)) {
            out[count++] = out[i];
        }
    }
    return count;
}

// ---- dead/<id> ----------------------------------------------------------------------------------

enum { EDITED = 1 };

struct fixed_letter {
    uint32_t version, flags;
    int64_t first_failure, last_failure;
    uint32_t attempts, zero;
};

_Static_assert(sizeof(struct fixed_letter) == 32, "it is part of the format");

void pl_letter_name(char out[PL_LETTER_KEY], uint64_t id)
{
    (void)snprintf(out, PL_LETTER_KEY, "dead/%016" PRIx64, id); // 21 bytes
}

bool pl_letter_parse(const char *key, uint64_t *out_id)
{
    char again[PL_LETTER_KEY];
    char *end = NULL;
    if (strncmp(key, "dead/", 5) != 0) {
        return false;
    }
    *out_id = strtoull(key + 5, &end, 16);
    pl_letter_name(again, *out_id);
    return strcmp(key, again) == 0 && *out_id > 0;
}

// NOLINTNEXTLINE(readability-non-const-parameter): as above
size_t pl_letter_write(char *out, size_t size, const struct pl_letter *letter)
{
    struct fixed_letter fixed = { .version = PL_RECORD_VERSION,
                                  .flags = letter->edited ? EDITED : 0U,
                                  .first_failure = letter->first_failure,
                                  .last_failure = letter->last_failure,
                                  .attempts = letter->attempts };
    struct writer writer = { out, 0, size };
    put(&writer, &fixed, sizeof fixed);
    put_text(&writer, letter->code);
    put_text(&writer, letter->text);
    put_text(&writer, letter->name);
    put_text(&writer, letter->label);
    return writer.size + letter->event_size;
}

bool pl_letter_read(struct pl_letter *out, const char *bytes, size_t size)
{
    struct reader reader = { bytes, bytes + size };
    struct fixed_letter fixed;
    struct pl_letter letter = { 0 };
    if (!take(&reader, &fixed, sizeof fixed) || fixed.version != PL_RECORD_VERSION ||
        !take_text(&reader, &letter.code) || !take_text(&reader, &letter.text) ||
        !take_text(&reader, &letter.name) || !take_text(&reader, &letter.label)) {
        return false;
    }
    letter.first_failure = fixed.first_failure;
    letter.last_failure = fixed.last_failure;
    letter.attempts = fixed.attempts;
    letter.edited = fixed.flags & EDITED;
    letter.event = reader.next;
    letter.event_size = (size_t)(reader.end - reader.next);
    *out = letter;
    return true;
}
