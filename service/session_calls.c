// SPDX-License-Identifier: MIT
//
// Calls: a request is a call of a public function in bytes, its answer what that function said.
#include "service/readable.h"
#include "service/session_inside.h"

#include "base/error.h"

#include <peal/log.h>
#include <string.h>

// One call on its way.
struct call {
    struct service_session *session;
    peal_bus *bus;
    struct pl_unpack *in;
    struct pl_pack *out;
};

// What came cannot be read.
static enum peal_err say_bad(void)
{
    return pl_fail(PEAL_EINVAL, "the request cannot be read: is the client of another version?");
}

static struct service_reader reader_of(const struct call *call)
{
    const struct service_rights *rights = &call->session->config.rights;
    bool all = !rights->may_read || (rights->may_read_all && rights->may_read_all(rights->context));
    return (struct service_reader){ all ? NULL : rights->may_read, rights->context };
}

static enum peal_err call_dead(const struct call *call, service_dead_change *change)
{
    const struct service_reader reader = reader_of(call);
    bool dry_run = false;
    uint64_t affected = 0;
    struct peal_dead_filter filter = pl_unpack_dead(call->in, &dry_run);
    enum peal_err err = call->in->bad ? say_bad()
                                      : service_change_readable(&affected, call->bus, &filter,
                                                                dry_run, change, &reader);
    pl_pack_number(call->out, affected);
    return err;
}

static enum peal_err call_who(const struct call *call)
{
    (void)call;
    return PEAL_OK;
}

static enum peal_err call_retry(const struct call *call)
{
    return call_dead(call, peal_dead_retry);
}

static enum peal_err call_discard(const struct call *call)
{
    return call_dead(call, peal_dead_discard);
}

static enum peal_err call_edit(const struct call *call)
{
    size_t size = 0;
    uint64_t id = pl_unpack_number(call->in);
    const void *data = pl_unpack_bytes(call->in, &size);
    pl_pack_number(call->out, 1);
    if (call->in->bad) {
        return say_bad();
    }
    // Would it be retried, for this client? Else it is as if it were not there.
    const struct service_reader reader = reader_of(call);
    const struct peal_dead_filter one = { .id = id };
    uint64_t affected = 0;
    enum peal_err err =
        service_change_readable(&affected, call->bus, &one, true, peal_dead_retry, &reader);
    return err ? err : peal_dead_edit(call->bus, id, data, size);
}

static enum peal_err call_cancel(const struct call *call)
{
    bool dry_run = false;
    uint64_t affected = 0;
    struct peal_schedule_filter filter = pl_unpack_schedule(call->in, &dry_run);
    enum peal_err err =
        call->in->bad ? say_bad() : peal_schedule_cancel(call->bus, &filter, dry_run, &affected);
    pl_pack_number(call->out, affected);
    return err;
}

typedef enum peal_err name_function(peal_bus *bus, const char *name);

static enum peal_err call_name(const struct call *call, name_function *function)
{
    const char *name = pl_unpack_text(call->in);
    pl_pack_number(call->out, 1);
    return call->in->bad ? say_bad() : function(call->bus, name);
}

static enum peal_err call_pause(const struct call *call)
{
    return call_name(call, peal_name_pause);
}

static enum peal_err call_resume(const struct call *call)
{
    return call_name(call, peal_name_resume);
}

static enum peal_err call_forget(const struct call *call)
{
    return call_name(call, peal_name_forget);
}

static enum peal_err call_seek(const struct call *call)
{
    const char *name = pl_unpack_text(call->in);
    uint64_t from = pl_unpack_number(call->in), position = pl_unpack_number(call->in);
    int64_t time_ns = (int64_t)pl_unpack_number(call->in);
    bool bad = call->in->bad || from > PEAL_FROM_TIME;
    pl_pack_number(call->out, 1);
    return bad ? say_bad()
               : peal_name_seek(call->bus, name, (enum peal_start)from, position, time_ns);
}

static enum peal_err call_names(const struct call *call)
{
    struct peal_subscription_list list;
    enum peal_err err = peal_subscription_list(&list, call->bus);
    if (!err) {
        pl_pack_names(call->out, &list);
        peal_subscription_list_finish(&list);
    }
    return err;
}

static enum peal_err call_stats(const struct call *call)
{
    struct peal_bus_stats stats;
    enum peal_err err = peal_bus_stats(&stats, call->bus);
    if (!err) {
        pl_pack_stats(call->out, &stats);
    }
    return err;
}

static enum peal_err call_look(const struct call *call)
{
    struct peal_standing found = { .state = PEAL_STANDS_DONE };
    const char *name = pl_unpack_text(call->in);
    uint64_t position = pl_unpack_number(call->in);
    enum peal_err err =
        call->in->bad ? say_bad() : peal_name_look(&found, call->bus, name, position);
    // What it says to be done stays so, whatever becomes of this process.
    err = err || found.state != PEAL_STANDS_DONE ? err : peal_name_save(call->bus, name);
    pl_pack_number(call->out, found.state);
    pl_pack_number(call->out, found.attempts);
    pl_pack_number(call->out, (uint64_t)found.due_ns);
    pl_pack_number(call->out, found.dead_letter);
    pl_pack_number(call->out, found.filtered);
    return err;
}

// Into the place that was left for it.
static void put_count(const struct call *call, size_t at, uint64_t count)
{
    if (!call->out->failed) {
        memcpy(call->out->bytes + at, &count, sizeof count);
    }
}

// Saves a name, and says of these positions which it has done with. Who may do nothing but events
// may do so with a name of its own.
static enum peal_err call_save(const struct call *call)
{
    const char *name = pl_unpack_text(call->in);
    uint64_t count = pl_unpack_number(call->in), known = 0;
    if (call->in->bad || !name || count > call->in->left / 8) {
        return say_bad();
    }
    if (call->session->config.rights.only_events && !session_has_name(call->session, name)) {
        return pl_fail(PEAL_EREFUSED, "this client may not do that");
    }
    size_t at = call->out->size;
    pl_pack_number(call->out, 0);
    for (uint64_t i = 0; i < count; i++) {
        struct peal_standing found = { .state = PEAL_STANDS_AHEAD };
        uint64_t position = pl_unpack_number(call->in);
        enum peal_err err = peal_name_look(&found, call->bus, name, position);
        bool done = found.state == PEAL_STANDS_DONE || found.state == PEAL_STANDS_DEAD;
        if (!err && done) {
            pl_pack_number(call->out, position);
            known++;
        }
    }
    put_count(call, at, known);
    return peal_name_save(call->bus, name); // after it was looked at
}

static enum peal_err call_version(const struct call *call)
{
    uint64_t version = 0;
    const char *subject = pl_unpack_text(call->in);
    enum peal_err err =
        call->in->bad || !subject ? say_bad() : peal_stream_version(&version, call->bus, subject);
    pl_pack_number(call->out, version);
    return err;
}

static void pack_event(const struct call *call, const peal_event *event)
{
    size_t size = peal_event_encode(event, NULL, 0);
    pl_pack_number(call->out, size + 1);
    char *room = pl_pack_room(call->out, size + 1);
    if (room) {
        (void)peal_event_encode(event, room, size); // it fits
        room[size] = '\0';
    }
}

static void pack_letter(const struct call *call, const struct peal_dead_letter *letter)
{
    pl_pack_number(call->out, letter->id);
    pack_event(call, letter->event);
    pl_pack_text(call->out, letter->subscription);
    pl_pack_text(call->out, letter->reason);
    pl_pack_text(call->out, letter->text);
    pl_pack_number(call->out, letter->attempts);
    pl_pack_number(call->out, (uint64_t)letter->first_failure_ns);
    pl_pack_number(call->out, (uint64_t)letter->last_failure_ns);
    pl_pack_number(call->out, letter->edited);
    pl_pack_number(call->out, letter->retrying);
    pl_pack_number(call->out, letter->parked);
    pl_pack_text(call->out, letter->label);
}

// How many of them may be listed: so many are asked for, or all, among which the client's are
// counted. Those that he may not read are as if they were not there.
static uint64_t take_limit(const struct call *call, uint64_t *limit)
{
    uint64_t most = *limit ? *limit : UINT64_MAX;
    *limit = reader_of(call).may_read ? 0 : *limit;
    return most;
}

// Those whose type the client may read.
static enum peal_err call_dead_list(const struct call *call)
{
    bool dry_run;
    struct peal_dead_list list;
    struct peal_dead_filter filter = pl_unpack_dead(call->in, &dry_run);
    uint64_t most = take_limit(call, &filter.limit);
    enum peal_err err = call->in->bad ? say_bad() : peal_dead_list(&list, call->bus, &filter);
    if (err) {
        return err;
    }
    uint64_t count = 0;
    size_t at = call->out->size;
    pl_pack_number(call->out, 0);
    for (size_t i = 0; i < list.count && count < most; i++) {
        if (session_may_read(call->session, peal_event_type(list.letters[i].event))) {
            pack_letter(call, &list.letters[i]);
            count++;
        }
    }
    put_count(call, at, count);
    peal_dead_list_finish(&list);
    return PEAL_OK;
}

static enum peal_err call_dead_count(const struct call *call)
{
    uint64_t group = pl_unpack_number(call->in), max = pl_unpack_number(call->in);
    struct peal_dead_count rows[256];
    size_t count = 0;
    max = max < 256 ? max : 256;
    enum peal_err err = call->in->bad ? say_bad()
                                      : peal_dead_count(rows, &count, call->bus,
                                                        (enum peal_dead_group)group, (size_t)max);
    pl_pack_number(call->out, count);
    for (size_t i = 0; i < count && i < max && !err; i++) {
        pl_pack_text(call->out, rows[i].name);
        pl_pack_number(call->out, rows[i].count);
    }
    return err;
}

static enum peal_err call_schedule_list(const struct call *call)
{
    bool dry_run;
    struct peal_schedule_list list;
    struct peal_schedule_filter filter = pl_unpack_schedule(call->in, &dry_run);
    uint64_t most = take_limit(call, &filter.limit);
    enum peal_err err = call->in->bad ? say_bad() : peal_schedule_list(&list, call->bus, &filter);
    if (err) {
        return err;
    }
    uint64_t count = 0;
    size_t at = call->out->size;
    pl_pack_number(call->out, 0);
    for (size_t i = 0; i < list.count && count < most; i++) {
        if (session_may_read(call->session, peal_event_type(list.events[i].event))) {
            pl_pack_number(call->out, (uint64_t)list.events[i].deliver_at_ns);
            pack_event(call, list.events[i].event);
            count++;
        }
    }
    put_count(call, at, count);
    peal_schedule_list_finish(&list);
    return PEAL_OK;
}

static const struct row {
    unsigned kind;
    enum peal_err (*function)(const struct call *call);
    bool manages; // more than events
} rows[] = {
    { PL_PROTOCOL_VERSION_OF, call_version, false },
    { PL_PROTOCOL_CALL + PL_CALL_WHO, call_who, false },
    { PL_PROTOCOL_CALL + PL_CALL_DEAD_RETRY, call_retry, true },
    { PL_PROTOCOL_CALL + PL_CALL_DEAD_DISCARD, call_discard, true },
    { PL_PROTOCOL_CALL + PL_CALL_DEAD_EDIT, call_edit, true },
    { PL_PROTOCOL_CALL + PL_CALL_CANCEL, call_cancel, true },
    { PL_PROTOCOL_CALL + PL_CALL_PAUSE, call_pause, true },
    { PL_PROTOCOL_CALL + PL_CALL_RESUME, call_resume, true },
    { PL_PROTOCOL_CALL + PL_CALL_SEEK, call_seek, true },
    { PL_PROTOCOL_CALL + PL_CALL_FORGET, call_forget, true },
    { PL_PROTOCOL_CALL + PL_CALL_NAMES, call_names, true },
    { PL_PROTOCOL_CALL + PL_CALL_STATS, call_stats, true },
    { PL_PROTOCOL_CALL + PL_CALL_LOOK, call_look, true },
    { PL_PROTOCOL_CALL + PL_CALL_DEAD_LIST, call_dead_list, true },
    { PL_PROTOCOL_CALL + PL_CALL_DEAD_COUNT, call_dead_count, true },
    { PL_PROTOCOL_CALL + PL_CALL_SCHEDULE_LIST, call_schedule_list, true },
    { PL_PROTOCOL_CALL + PL_CALL_SAVE, call_save, false },
};

static size_t page_size(uint64_t wanted)
{
    return wanted < 4096 ? 4096 : wanted < (4U << 20) ? (size_t)wanted : 4U << 20;
}

// Events that follow each other, from a position on.
static void stretch(struct service_session *session, const struct pl_protocol_head *head,
                    struct pl_unpack *unpack)
{
    uint64_t position = pl_unpack_number(unpack), most = pl_unpack_number(unpack);
    const struct peal_query query = { .from_position = position ? position : 1 };
    struct session_encoding encoding = { .bus = session->config.bus,
                                         .session = session,
                                         .bytes_max = page_size(most) };
    uint64_t next = query.from_position;
    enum peal_err err = unpack->bad ? PEAL_EINVAL : session_encode(&encoding, &next, &query);
    if (err) {
        session_refuse(session, head->number, err,
                       unpack->bad ? "a stretch that makes no sense" : peal_error_sentence());
        return;
    }
    const struct pl_protocol_head answer = { PL_PROTOCOL_ANSWER, 0, head->number };
    const struct pl_events_head more = { next, next };
    session_send(session, session_events(encoding.message, &answer, &more));
}

// Events that match, a page of them.
static void find(struct service_session *session, const struct pl_protocol_head *head,
                 struct pl_unpack *unpack)
{
    const struct peal_query query = pl_unpack_query(unpack);
    struct session_encoding encoding = { .bus = session->config.bus,
                                         .session = session,
                                         .bytes_max = page_size(pl_unpack_number(unpack)) };
    uint64_t cursor = 0;
    bool more = false;
    enum peal_err err = unpack->bad ? say_bad() : session_find(&encoding, &query, &cursor, &more);
    if (err) {
        session_refuse(session, head->number, err, peal_error_sentence());
        return;
    }
    const struct pl_protocol_head answer = { PL_PROTOCOL_ANSWER, 0, head->number };
    const struct pl_events_head found = { more, cursor };
    session_send(session, session_events(encoding.message, &answer, &found));
}

bool session_call(struct service_session *session, const struct pl_protocol_head *head,
                  struct pl_unpack *unpack)
{
    if (head->kind == PL_PROTOCOL_STRETCH) {
        stretch(session, head, unpack);
        return true;
    }
    if (head->kind == PL_PROTOCOL_QUERY) {
        find(session, head, unpack);
        return true;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].kind != head->kind) {
            continue;
        }
        if (rows[i].manages && session->config.rights.only_events) {
            session_refuse(session, head->number, PEAL_EREFUSED, "this client may not do that");
            return true;
        }
        struct pl_pack pack;
        pl_pack_begin(&pack, &pl_seams_real);
        const struct call call = { session, session->config.bus, unpack, &pack };
        session_answer(session, head->number, rows[i].function(&call), &pack);
        return true;
    }
    return false;
}
