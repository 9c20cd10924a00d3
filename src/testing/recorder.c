// SPDX-License-Identifier: MIT
//
// The recorder: looks at a bus from outside, when it is asked.
//
// It subscribes to nothing and intercepts nothing, so the bus does the same with it as without it.
// What was published is read from the log at the moment somebody asks, from where the last look
// ended; references keep it from being forgotten after that. Who settled what is in the counters of
// the subscriptions; those of the last clear are subtracted.
//
// While it looks, the world hushes: nobody else runs, no allocation is refused. Its own memory is
// the machine's. Where the machine has none, it says so on stderr and answers nothing: 0, NULL,
// false; a clear changes nothing then. What it has not read it reads the next time.
#include "base/error.h"
#include "bus/calls.h"
#include "event/pattern.h"
#include "testing/world.h"

#include <peal/log.h>
#include <stdio.h>
#include <string.h>

// Characters of a line in a comparison; the rest is cut.
#define COLUMN 48

// How far two lists are searched for a place where they agree again.
#define RESYNC_MAX 256

// What a subscription had settled when it was last cleared.
struct baseline {
    uint64_t serial; // the mailbox's
    uint64_t delivered, dead;
};

struct recording {
    const peal_event **events; // *shared* references, in log order
    size_t count, capacity;
    uint64_t next;    // the first position not looked at
    uint64_t skipped; // forgotten by the log before we looked
    struct baseline *baselines;
    size_t baseline_count;
};

// The recording is what a look changes: a const recorder can look.
struct peal_recorder {
    struct peal_bus *bus;
    struct recording *recording;
};

// ---- memory -------------------------------------------------------------------------------------

// Room for one more of an array; NULL: no memory, and the array is as it was.
static void *grow(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    size_t wanted = *capacity ? *capacity * 2 : 64;
    void *grown = pl_resize(&pl_seams_real, array, wanted * size);
    if (grown) {
        *capacity = wanted;
    }
    return grown;
}

static void hush(const struct peal_bus *bus)
{
    if (bus->options.world) {
        pl_world_hush(bus->options.world);
    }
}

static void unhush(const struct peal_bus *bus)
{
    if (bus->options.world) {
        pl_world_unhush(bus->options.world);
    }
}

// ---- what was published -------------------------------------------------------------------------

// Where a question cannot be answered, and its answer has no room for an error.
static void complain(void)
{
    (void)fprintf(stderr, "peal recorder: %s\n", peal_error_sentence());
}

static enum peal_err keep(struct recording *recording, const peal_event *event)
{
    void *events =
        grow(recording->events, recording->count, &recording->capacity, sizeof(const peal_event *));
    if (!events) {
        return pl_fail(PEAL_ENOMEM, "no memory to record an event of type %s",
                       peal_event_type(event));
    }
    recording->events = events;
    enum peal_err err = peal_event_ref(&recording->events[recording->count], event);
    recording->count += !err;
    return err;
}

static enum peal_err read_on(struct recording *recording, struct peal_bus *bus)
{
    struct peal_query query = { .from_position = recording->next };
    peal_reader *reader = NULL;
    enum peal_err err = peal_reader_open(&reader, bus, &query);
    if (err) {
        return err;
    }
    const peal_event *event = NULL;
    while (!(err = peal_reader_next(&event, reader)) && !(err = keep(recording, event))) {
        // Positions are dense: a step of more than one went over what the log has forgotten.
        recording->skipped += peal_event_position(event) - recording->next;
        recording->next = peal_event_position(event) + 1;
    }
    peal_reader_close(reader);
    return err == PEAL_ENOTFOUND ? PEAL_OK : err;
}

// A bus that was stopped has nothing more to say; what was read before stays. False and said so, if
// there may be more than could be read.
static bool look(const struct peal_recorder *recorder)
{
    hush(recorder->bus);
    enum peal_err err = read_on(recorder->recording, recorder->bus);
    unhush(recorder->bus);
    if (err && err != PEAL_ECLOSED) {
        complain();
        return false;
    }
    return true;
}

// Without a pattern: every type. NULL and said so, if it is none.
static bool parse(struct pl_pattern **out, const char *pattern)
{
    *out = NULL;
    if (pattern && pl_pattern_parse(out, &pl_seams_real, pattern)) {
        complain();
        return false;
    }
    return true;
}

static bool matches(const struct pl_pattern *pattern, const peal_event *event)
{
    const char *type = peal_event_type(event);
    return !pattern || pl_pattern_match(pattern, type, strlen(type));
}

// ---- who settled what ---------------------------------------------------------------------------

// For links in bus->mailboxes. The head of the list is no place for this, nor for PL_LIST_EACH: a
// mailbox stands on a cache line, and one that is imagined around the head would not.
static struct pl_mailbox *mailbox_at(struct pl_list *link)
{
    return pl_container_of(link, struct pl_mailbox, link);
}

static uint64_t delivered_by(struct peal_bus *bus, struct pl_mailbox *mailbox)
{
    uint64_t count = atomic_load_explicit(&mailbox->counts.delivered, memory_order_relaxed);
    if (mailbox->mode == PEAL_INLINE) {
        count += pl_routes_delivered(bus, mailbox); // routes count the calls, mailboxes correct it
    }
    return count;
}

static uint64_t died_of(struct pl_mailbox *mailbox)
{
    return pl_hold_counts(mailbox).dead;
}

static struct baseline baseline_of(const struct recording *recording, uint64_t serial)
{
    for (size_t i = 0; i < recording->baseline_count; i++) {
        if (recording->baselines[i].serial == serial) {
            return recording->baselines[i];
        }
    }
    return (struct baseline){ 0 };
}

// Sums up the subscriptions of a label or name. Those that were ended are not counted any more.
static struct baseline settled(const struct peal_recorder *recorder, const char *label)
{
    struct peal_bus *bus = recorder->bus;
    struct baseline sum = { 0 };
    hush(bus);
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_list *head = &bus->mailboxes;
    for (struct pl_list *at = pl_list_first(head); at != head; at = at->next) {
        struct pl_mailbox *mailbox = mailbox_at(at);
        if (pl_mailbox_is_called(mailbox, label)) {
            struct baseline before = baseline_of(recorder->recording, mailbox->serial);
            sum.delivered += delivered_by(bus, mailbox) - before.delivered;
            sum.dead += died_of(mailbox) - before.dead;
        }
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    unhush(bus);
    return sum;
}

// All of them, or those of before.
static enum peal_err take_baselines(struct recording *recording, struct peal_bus *bus)
{
    struct baseline *taken = NULL;
    size_t count = 0;
    size_t capacity = 0;
    bool enough = true;
    hush(bus);
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_list *head = &bus->mailboxes;
    for (struct pl_list *at = pl_list_first(head); at != head && enough; at = at->next) {
        struct pl_mailbox *mailbox = mailbox_at(at);
        void *grown = grow(taken, count, &capacity, sizeof *taken);
        enough = grown != NULL;
        if (enough) {
            taken = grown;
            taken[count++] =
                (struct baseline){ mailbox->serial, delivered_by(bus, mailbox), died_of(mailbox) };
        }
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    unhush(bus);
    pl_release(&pl_seams_real, enough ? recording->baselines : taken);
    if (!enough) {
        return pl_fail(PEAL_ENOMEM, "no memory to note what each subscription has settled");
    }
    recording->baselines = taken;
    recording->baseline_count = count;
    return PEAL_OK;
}

static void forget(struct recording *recording)
{
    for (size_t i = 0; i < recording->count; i++) {
        peal_event_unref(recording->events[i]);
    }
    recording->count = 0;
    recording->skipped = 0;
}

// What was until now is not recorded.
static enum peal_err start_over(struct recording *recording, struct peal_bus *bus)
{
    struct peal_bus_stats stats;
    hush(bus);
    enum peal_err err = peal_bus_stats(&stats, bus);
    unhush(bus);
    err = err ? err : take_baselines(recording, bus);
    if (!err) {
        forget(recording);
        recording->next = stats.last_position + 1;
    }
    return err;
}

// ---- comparing ----------------------------------------------------------------------------------

// A line of one side: borrowed text, without its end. Of an event: the type, a space, the data.
struct line {
    const char *type;
    size_t type_length;
    const char *data;
    size_t size;
};

struct lines {
    struct line *at;
    size_t count, capacity;
};

static enum peal_err add_line(struct lines *lines, struct line line)
{
    void *at = grow(lines->at, lines->count, &lines->capacity, sizeof line);
    if (!at) {
        return pl_fail(PEAL_ENOMEM, "no memory to compare more than %zu lines", lines->count);
    }
    lines->at = at;
    lines->at[lines->count++] = line;
    return PEAL_OK;
}

static struct line trim(const char *text, size_t length)
{
    while (length > 0 && strchr(" \t\r", text[0])) {
        text++;
        length--;
    }
    while (length > 0 && strchr(" \t\r", text[length - 1])) {
        length--;
    }
    const char *space = length ? memchr(text, ' ', length) : NULL;
    size_t type_length = space ? (size_t)(space - text) : length;
    struct line line = { .type = text, .type_length = type_length };
    if (space) {
        line.data = space + 1;
        line.size = length - type_length - 1;
    }
    return line;
}

static enum peal_err read_expected(struct lines *lines, const char *text)
{
    enum peal_err err = PEAL_OK;
    while (*text && !err) {
        size_t length = strcspn(text, "\n");
        struct line line = trim(text, length);
        if (line.type_length > 0) {
            err = add_line(lines, line);
        }
        text += length + (text[length] == '\n');
    }
    return err;
}

// The system's own events are not expected and need not be.
static enum peal_err read_published(struct lines *lines, const struct recording *recording)
{
    enum peal_err err = PEAL_OK;
    for (size_t i = 0; i < recording->count && !err; i++) {
        const peal_event *event = recording->events[i];
        const char *type = peal_event_type(event);
        if (type[0] != '$') {
            err = add_line(lines, (struct line){ type, strlen(type), peal_event_data(event),
                                                 peal_event_size(event) });
        }
    }
    return err;
}

// An expected line without data says nothing of the data.
static bool agree(const struct line *expected, const struct line *published)
{
    return expected->type_length == published->type_length &&
           memcmp(expected->type, published->type, expected->type_length) == 0 &&
           (!expected->data || (expected->size == published->size &&
                                memcmp(expected->data, published->data, expected->size) == 0));
}

static void print_line(const struct lines *lines, size_t index)
{
    char text[COLUMN + 1] = "";
    size_t length = 0;
    if (index < lines->count) {
        const struct line *line = &lines->at[index];
        for (size_t i = 0; i < line->type_length && length < COLUMN; i++) {
            text[length++] = line->type[i];
        }
        if (line->size > 0 && length < COLUMN) {
            text[length++] = ' ';
        }
        for (size_t i = 0; i < line->size && length < COLUMN; i++) {
            unsigned char byte = (unsigned char)line->data[i];
            text[length++] = (char)(byte < 0x20 || byte == 0x7f ? '.' : byte);
        }
    }
    (void)fprintf(stderr, "%-*.*s", COLUMN, (int)length, text);
}

// One row; an index of SIZE_MAX leaves its side empty.
static void print_row(char mark, const struct lines *expected, size_t left,
                      const struct lines *published, size_t right)
{
    (void)fprintf(stderr, "%c ", mark);
    print_line(expected, left);
    (void)fputs(" | ", stderr);
    print_line(published, right);
    (void)fputc('\n', stderr);
}

// The nearest place from (left, right) on where both sides agree again, or both ends.
static void find_agreement(const struct lines *expected, const struct lines *published,
                           size_t *left, size_t *right)
{
    size_t rest = expected->count - *left + published->count - *right;
    for (size_t far = 1; far <= rest && far <= RESYNC_MAX; far++) {
        for (size_t more = 0; more <= far; more++) {
            size_t l = *left + more;
            size_t r = *right + far - more;
            if (l < expected->count && r < published->count &&
                agree(&expected->at[l], &published->at[r])) {
                *left = l;
                *right = r;
                return;
            }
        }
    }
    *left = expected->count;
    *right = published->count;
}

// ' ' as expected, '!' another one, '-' missing, '+' too many.
static void print_comparison(const struct lines *expected, const struct lines *published)
{
    (void)fprintf(stderr, "  %-*s | %s\n", COLUMN, "expected", "published");
    size_t left = 0;
    size_t right = 0;
    while (left < expected->count || right < published->count) {
        if (left < expected->count && right < published->count &&
            agree(&expected->at[left], &published->at[right])) {
            print_row(' ', expected, left++, published, right++);
            continue;
        }
        size_t left_end = left;
        size_t right_end = right;
        find_agreement(expected, published, &left_end, &right_end);
        while (left < left_end && right < right_end) {
            print_row('!', expected, left++, published, right++);
        }
        while (left < left_end) {
            print_row('-', expected, left++, published, SIZE_MAX);
        }
        while (right < right_end) {
            print_row('+', expected, SIZE_MAX, published, right++);
        }
    }
}

static bool compare(const struct lines *expected, const struct lines *published, uint64_t skipped)
{
    bool same = expected->count == published->count;
    for (size_t i = 0; same && i < expected->count; i++) {
        same = agree(&expected->at[i], &published->at[i]);
    }
    if (!same) {
        print_comparison(expected, published);
    }
    if (!same && skipped > 0) {
        (void)fprintf(stderr, "  (and the log forgot %llu events before they were looked at)\n",
                      (unsigned long long)skipped);
    }
    return same;
}

// ---- for tests ----------------------------------------------------------------------------------

enum peal_err peal_recorder_open(peal_recorder **out, peal_bus *bus)
{
    if (!out || !bus) {
        return pl_fail(PEAL_EINVAL, "a recorder needs a bus and somewhere to put it");
    }
    struct peal_recorder *recorder = pl_new(&pl_seams_real, sizeof *recorder);
    struct recording *recording = pl_new(&pl_seams_real, sizeof *recording);
    if (!recorder || !recording) {
        pl_release(&pl_seams_real, recorder);
        pl_release(&pl_seams_real, recording);
        return pl_fail(PEAL_ENOMEM, "no memory for a recorder");
    }
    *recorder = (struct peal_recorder){ .bus = bus, .recording = recording };
    enum peal_err err = start_over(recording, bus);
    if (!err) {
        hush(bus);
        err = read_on(recording, bus); // is there a log to read at all?
        unhush(bus);
    }
    if (err) {
        peal_recorder_close(recorder);
        return err;
    }
    *out = recorder;
    return PEAL_OK;
}

void peal_recorder_close(peal_recorder *recorder)
{
    if (!recorder) {
        return;
    }
    struct recording *recording = recorder->recording;
    forget(recording);
    pl_release(&pl_seams_real, recording->events);
    pl_release(&pl_seams_real, recording->baselines);
    pl_release(&pl_seams_real, recording);
    pl_release(&pl_seams_real, recorder);
}

void peal_recorder_clear(peal_recorder *recorder)
{
    if (start_over(recorder->recording, recorder->bus)) {
        complain();
    }
}

size_t peal_recorder_published(const peal_recorder *recorder, const char *pattern)
{
    struct pl_pattern *parsed = NULL;
    if (!parse(&parsed, pattern)) {
        return 0;
    }
    bool looked = look(recorder);
    const struct recording *recording = recorder->recording;
    size_t count = 0;
    for (size_t i = 0; i < recording->count && looked; i++) {
        count += matches(parsed, recording->events[i]);
    }
    pl_pattern_free(parsed, &pl_seams_real);
    return count;
}

const peal_event *peal_recorder_event(const peal_recorder *recorder, const char *pattern,
                                      size_t index)
{
    struct pl_pattern *parsed = NULL;
    if (!parse(&parsed, pattern)) {
        return NULL;
    }
    bool looked = look(recorder);
    const struct recording *recording = recorder->recording;
    const peal_event *found = NULL;
    for (size_t i = 0; i < recording->count && looked && !found; i++) {
        if (matches(parsed, recording->events[i]) && index-- == 0) {
            found = recording->events[i];
        }
    }
    pl_pattern_free(parsed, &pl_seams_real);
    return found;
}

size_t peal_recorder_delivered(const peal_recorder *recorder, const char *label)
{
    return settled(recorder, label).delivered;
}

size_t peal_recorder_dead(const peal_recorder *recorder, const char *label)
{
    return settled(recorder, label).dead;
}

bool peal_recorder_expect(const peal_recorder *recorder, const char *expected)
{
    if (!look(recorder)) {
        return false;
    }
    struct lines left = { 0 };
    struct lines right = { 0 };
    bool same = false;
    if (read_expected(&left, expected) || read_published(&right, recorder->recording)) {
        complain();
    } else {
        same = compare(&left, &right, recorder->recording->skipped);
    }
    pl_release(&pl_seams_real, left.at);
    pl_release(&pl_seams_real, right.at);
    return same;
}
