// SPDX-License-Identifier: MIT
//
// Dead letters and what is scheduled: listed, tried again, edited, discarded.
#include "service/auth.h"
#include "service/events.h"
#include "service/readable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 1000, LIST_DEFAULT = 100, LIST_MAX = 10000 };

// ---- which ones ---------------------------------------------------------------------------------

static bool read_filter(struct service_call *call, struct peal_dead_filter *out, uint64_t limit)
{
    *out = (struct peal_dead_filter){ .pattern = service_value(call, "type"),
                                      .subscription = service_value(call, "subscription"),
                                      .reason = service_value(call, "reason"),
                                      .limit = limit };
    if (!service_number(call, "older_than_ms", &out->older_than_ms) ||
        !service_number(call, "limit", &out->limit)) {
        return false;
    }
    if (limit && (out->limit == 0 || out->limit > LIST_MAX)) {
        service_refuse(call, 400, "limit", "limit: 1 to %d is possible", LIST_MAX);
        return false;
    }
    return true;
}

// The number in the path.
static bool read_id(struct service_call *call, uint64_t *out)
{
    char *end;
    *out = strtoull(call->parts[0], &end, 10);
    if (*end || *out == 0 || call->parts[0][0] == '-') {
        service_refuse(call, 404, "notfound", "%s is the number of no dead letter", call->parts[0]);
        return false;
    }
    return true;
}

static bool may_read(void *call, const char *type)
{
    return service_may_read(call, type);
}

static struct service_reader reader_of(struct service_call *call)
{
    bool all = !call->identity || auth_is_anybody(call->identity);
    return (struct service_reader){ all ? NULL : may_read, call };
}

// ---- looking ------------------------------------------------------------------------------------

static void put_letter(struct net_text *text, const struct peal_dead_letter *letter)
{
    net_json_begin(text, '{');
    net_json_count(text, "id", letter->id);
    net_json_say(text, "subscription", letter->subscription);
    net_json_say(text, "label", letter->label);
    net_json_say(text, "reason", letter->reason);
    net_json_say(text, "text", letter->text);
    net_json_count(text, "attempts", letter->attempts);
    net_json_name(text, "first_failure");
    net_json_time(text, letter->first_failure_ns);
    net_json_name(text, "last_failure");
    net_json_time(text, letter->last_failure_ns);
    net_json_name(text, "edited");
    net_json_bool(text, letter->edited);
    net_json_name(text, "retrying");
    net_json_bool(text, letter->retrying);
    net_json_count(text, "parked", letter->parked);
    net_json_name(text, "event");
    net_json_event(text, letter->event);
    net_json_end(text, '}');
}

void service_list_dead(struct service_call *call)
{
    struct peal_dead_filter filter;
    struct peal_dead_list list;
    if (!read_filter(call, &filter, LIST_DEFAULT)) {
        return;
    }
    // Of those that may be read: the others are as if they were not there.
    uint64_t left = filter.limit;
    filter.limit = reader_of(call).may_read ? 0 : filter.limit;
    enum peal_err err = peal_dead_list(&list, call->service->bus, &filter);
    if (err) {
        service_fail(call, err);
        return;
    }
    net_json_begin(&call->text, '{');
    net_json_name(&call->text, "dead_letters");
    net_json_begin(&call->text, '[');
    for (size_t i = 0; i < list.count && left > 0; i++) {
        if (service_may_read(call, peal_event_type(list.letters[i].event))) {
            put_letter(&call->text, &list.letters[i]);
            left--;
        }
    }
    net_json_end(&call->text, ']');
    net_json_end(&call->text, '}');
    peal_dead_list_finish(&list);
    service_answer(call, 200);
}

// The one of the path, in a list that is *given* (peal_dead_list_finish). False: the call has
// failed.
static bool find_letter(struct service_call *call, struct peal_dead_list *out)
{
    struct peal_dead_filter filter = { 0 };
    if (!read_id(call, &filter.id)) {
        return false;
    }
    enum peal_err err = peal_dead_list(out, call->service->bus, &filter);
    if (err) {
        service_fail(call, err);
        return false;
    }
    if (out->count == 1 && service_may_read(call, peal_event_type(out->letters[0].event))) {
        return true;
    }
    service_refuse(call, 404, "notfound", "there is no dead letter %s", call->parts[0]);
    peal_dead_list_finish(out);
    return false;
}

void service_get_dead(struct service_call *call)
{
    struct peal_dead_list list;
    if (find_letter(call, &list)) {
        put_letter(&call->text, &list.letters[0]);
        service_answer(call, 200);
        peal_dead_list_finish(&list);
    }
}

// One more of a name; the largest are put first afterwards.
static void count_one(struct peal_dead_count *rows, size_t *count, const char *name)
{
    size_t i = 0;
    while (i < *count && strcmp(rows[i].name, name) != 0) {
        i++;
    }
    if (i < ROWS_MAX) {
        *count += i == *count;
        (void)snprintf(rows[i].name, sizeof rows[i].name, "%s", name); // names fit
        rows[i].count++;
    }
}

static int compare_counts(const void *left, const void *right)
{
    const struct peal_dead_count *l = left, *r = right;
    return l->count == r->count ? strcmp(l->name, r->name) : l->count < r->count ? 1 : -1;
}

// What the bus counts for everybody, counted for who may not read everything.
static enum peal_err count_readable(struct peal_dead_count *rows, size_t *out_count,
                                    struct service_call *call, enum peal_dead_group group)
{
    struct peal_dead_list list;
    enum peal_err err = peal_dead_list(&list, call->service->bus, NULL);
    for (size_t i = 0; !err && i < list.count; i++) {
        const struct peal_dead_letter *letter = &list.letters[i];
        const char *const names[] = { letter->reason, peal_event_type(letter->event),
                                      letter->subscription };
        if (service_may_read(call, peal_event_type(letter->event))) {
            count_one(rows, out_count, names[group]);
        }
    }
    if (!err) {
        peal_dead_list_finish(&list);
        qsort(rows, *out_count, sizeof *rows, compare_counts);
    }
    return err;
}

static enum peal_err count_rows(struct peal_dead_count *rows, size_t *out_count,
                                struct service_call *call, enum peal_dead_group group)
{
    return call->identity && !auth_is_anybody(call->identity)
               ? count_readable(rows, out_count, call, group)
               : peal_dead_count(rows, out_count, call->service->bus, group, ROWS_MAX);
}

void service_count_dead(struct service_call *call)
{
    static const char *const groups[] = { "reason", "type", "subscription" };
    const char *by = service_value(call, "by");
    unsigned group = 0;
    while (by && group < 3 && strcmp(by, groups[group]) != 0) {
        group++;
    }
    if (group == 3) {
        service_refuse(call, 400, "inval", "by=%s: reason, type or subscription is wanted", by);
        return;
    }
    struct peal_dead_count *rows = calloc(ROWS_MAX, sizeof *rows);
    size_t count = 0;
    enum peal_err err =
        rows ? count_rows(rows, &count, call, (enum peal_dead_group)group) : PEAL_ENOMEM;
    if (err) {
        service_fail(call, err);
        free(rows);
        return;
    }
    net_json_begin(&call->text, '{');
    net_json_name(&call->text, "counts");
    net_json_begin(&call->text, '[');
    for (size_t i = 0; i < count && i < ROWS_MAX; i++) {
        net_json_begin(&call->text, '{');
        net_json_say(&call->text, "name", rows[i].name);
        net_json_count(&call->text, "count", rows[i].count);
        net_json_end(&call->text, '}');
    }
    net_json_end(&call->text, ']');
    net_json_end(&call->text, '}');
    free(rows);
    service_answer(call, 200);
}

// ---- mending ------------------------------------------------------------------------------------

// What cannot be undone is not done to all because a filter was forgotten.
static bool says_which(struct service_call *call, const struct peal_dead_filter *filter, bool all)
{
    bool chosen = filter->pattern || filter->subscription || filter->reason ||
                  filter->older_than_ms || filter->limit;
    if (!chosen && !all) {
        service_refuse(call, 400, "inval",
                       "which? subscription, type, reason or older_than_ms selects them, and "
                       "all=true takes every one");
    }
    return chosen || all;
}

static void change_all(struct service_call *call, service_dead_change *change, bool undoable)
{
    struct peal_dead_filter filter;
    bool dry_run = false, all = false;
    uint64_t affected = 0;
    if (!read_filter(call, &filter, 0) || !service_flag(call, "dry_run", &dry_run) ||
        !service_flag(call, "all", &all) ||
        !says_which(call, &filter, all || dry_run || undoable)) {
        return;
    }
    const struct service_reader reader = reader_of(call);
    enum peal_err err =
        service_change_readable(&affected, call->service->bus, &filter, dry_run, change, &reader);
    if (err) {
        service_fail(call, err);
        return;
    }
    net_json_begin(&call->text, '{');
    net_json_count(&call->text, "affected", affected);
    net_json_name(&call->text, "dry_run");
    net_json_bool(&call->text, dry_run);
    net_json_end(&call->text, '}');
    service_answer(call, 200);
}

static void change_one(struct service_call *call, service_dead_change *change, int status)
{
    struct peal_dead_filter filter = { 0 };
    uint64_t affected = 0;
    if (!read_id(call, &filter.id)) {
        return;
    }
    const struct service_reader reader = reader_of(call);
    enum peal_err err =
        service_change_readable(&affected, call->service->bus, &filter, false, change, &reader);
    if (err) {
        service_fail(call, err);
    } else if (affected == 0) {
        service_refuse(call, 404, "notfound", "there is no dead letter %s", call->parts[0]);
    } else if (status == 204) {
        service_answer_nothing(call);
    } else {
        net_json_begin(&call->text, '{');
        net_json_count(&call->text, "affected", affected);
        net_json_end(&call->text, '}');
        service_answer(call, status);
    }
}

void service_retry_dead(struct service_call *call)
{
    change_all(call, peal_dead_retry, true);
}

void service_discard_dead(struct service_call *call)
{
    change_all(call, peal_dead_discard, false);
}

void service_retry_dead_one(struct service_call *call)
{
    change_one(call, peal_dead_retry, 202);
}

void service_discard_dead_one(struct service_call *call)
{
    change_one(call, peal_dead_discard, 204);
}

// What says of itself that it is JSON shall stay so: else the handler would get what nobody can
// read, and the letter come back.
static bool check_data(struct service_call *call, const struct peal_dead_letter *letter)
{
    struct ingest_fault fault = { 0 };
    const struct ingest_text text = { call->body, call->body_size };
    const char *type = peal_event_content_type(letter->event);
    struct ingest *ingest = NULL;
    if (text.size == 0 || !service_is_json(type)) {
        return true;
    }
    if (service_open_ingest(&ingest, call->service)) {
        service_refuse(call, 503, "nomem", "no memory; try again later");
        return false;
    }
    bool good = ingest_check(ingest, text, &fault);
    ingest_close(ingest);
    if (!good) {
        service_refuse(call, 400, "inval",
                       "the data is not JSON at byte %zu: %s; the event of dead letter %llu says "
                       "that it is %s",
                       fault.offset, fault.reason, (unsigned long long)letter->id, type);
    }
    return good;
}

void service_edit_dead(struct service_call *call)
{
    struct peal_dead_list list;
    if (!find_letter(call, &list)) {
        return;
    }
    uint64_t id = list.letters[0].id;
    bool good = check_data(call, &list.letters[0]);
    peal_dead_list_finish(&list);
    if (!good) {
        return;
    }
    enum peal_err err = peal_dead_edit(call->service->bus, id, call->body, call->body_size);
    if (err) {
        service_fail(call, err);
        return;
    }
    net_json_begin(&call->text, '{');
    net_json_count(&call->text, "affected", 1);
    net_json_end(&call->text, '}');
    service_answer(call, 202);
}

// ---- what is scheduled --------------------------------------------------------------------------

void service_list_schedule(struct service_call *call)
{
    struct peal_schedule_filter filter = { .pattern = service_value(call, "type"),
                                           .subject = service_value(call, "subject"),
                                           .correlation = service_value(call, "correlation"),
                                           .limit = LIST_DEFAULT };
    struct peal_schedule_list list;
    if (!service_number(call, "limit", &filter.limit)) {
        return;
    }
    uint64_t left = filter.limit ? filter.limit : UINT64_MAX;
    filter.limit = reader_of(call).may_read ? 0 : filter.limit;
    enum peal_err err = peal_schedule_list(&list, call->service->bus, &filter);
    if (err) {
        service_fail(call, err);
        return;
    }
    net_json_begin(&call->text, '{');
    net_json_name(&call->text, "scheduled");
    net_json_begin(&call->text, '[');
    for (size_t i = 0; i < list.count && left > 0; i++) {
        if (!service_may_read(call, peal_event_type(list.events[i].event))) {
            continue;
        }
        left--;
        net_json_begin(&call->text, '{');
        net_json_name(&call->text, "deliver_at");
        net_json_time(&call->text, list.events[i].deliver_at_ns);
        net_json_name(&call->text, "event");
        net_json_event(&call->text, list.events[i].event);
        net_json_end(&call->text, '}');
    }
    net_json_end(&call->text, ']');
    net_json_end(&call->text, '}');
    peal_schedule_list_finish(&list);
    service_answer(call, 200);
}

void service_cancel_schedule(struct service_call *call)
{
    const struct peal_schedule_filter filter = { .id = call->parts[0],
                                                 .source = service_value(call, "source") };
    enum peal_err err = peal_schedule_cancel(call->service->bus, &filter, false, NULL);
    if (err) {
        service_fail(call, err);
    } else {
        service_answer_nothing(call);
    }
}
