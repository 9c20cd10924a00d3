// SPDX-License-Identifier: MIT
//
// The one that is asked: a thread behind the door of the log takes one request after the other and
// does what it says, by the functions that everybody calls.
//
//     door ─► read ─┬─► done ─────────────────────► answer
//                   └─► line ─► another thread ───► answer       erasing, archiving:
//                   PL_ASK_LINE_MAX
//
// What may take minutes goes on a line, so that others are heard meanwhile. A second thread does
// what is on it, one after the other, and lives as long as there is something.
//
// It sleeps in the kernel until somebody knocks, and costs publishers nothing. Memory for a request
// grows as its bytes come, so that a large number alone takes none. Whatever goes wrong with an
// asker ends its connection, and nothing else.
//
// When the bus stops, the gate is closed first: a request that waits for memory then ends with
// PEAL_ECLOSED. Then the door is shut, which ends every wait here.
#include "bus/ask.h"

#include "base/door.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

#define PIECE 65536 // bytes that memory is taken for before they are there

struct request {
    struct request *next; // on the line
    int connection;
    struct pl_ask_head head;
    char *body;
};

struct pl_answer {
    struct peal_bus *bus;
    struct pl_thread *thread;
    struct pl_thread *worker; // the last one; NULL: there was none. Of `thread`, until it has ended
    int door;

    struct pl_mutex lock; // guards the line
    struct request *first, **last;
    size_t working; // those on it, and the one that is being done
};

// ---- what is asked ------------------------------------------------------------------------------

enum peal_err pl_answer_bad(void)
{
    return pl_fail(PEAL_EINVAL,
                   "the request cannot be read: is the asker another version of Peal?");
}

static enum peal_err answer_who(struct peal_bus *bus, struct pl_unpack *request,
                                struct pl_pack *reply)
{
    (void)request;
    (void)reply;
    return pl_bus_check_open(bus);
}

static enum peal_err publish(struct peal_bus *bus, const struct peal_message *messages,
                             size_t count, struct pl_pack *reply)
{
    struct peal_receipt *receipts = pl_new(bus->seams, count * sizeof *receipts);
    if (!receipts) {
        return pl_fail(PEAL_ENOMEM, "no memory for %zu receipts", count);
    }
    enum peal_err err = count == 1 ? peal_publish(bus, messages, receipts)
                                   : peal_publish_batch(bus, messages, count, receipts);
    for (size_t i = 0; i < count && !err; i++) {
        pl_pack_receipt(reply, &receipts[i]);
    }
    pl_release(bus->seams, receipts);
    return err;
}

static enum peal_err answer_publish(struct peal_bus *bus, struct pl_unpack *request,
                                    struct pl_pack *reply)
{
    size_t count = 0;
    struct peal_message *messages = pl_unpack_messages(request, bus->seams, &count);
    if (!messages) {
        return request->bad ? pl_answer_bad()
                            : pl_fail(PEAL_ENOMEM, "no memory for what is published");
    }
    enum peal_err err = publish(bus, messages, count, reply);
    pl_release(bus->seams, messages);
    return err;
}

typedef enum peal_err dead_function(peal_bus *bus, const struct peal_dead_filter *filter,
                                    bool dry_run, uint64_t *affected);

static enum peal_err answer_dead(struct peal_bus *bus, struct pl_unpack *request,
                                 struct pl_pack *reply, dead_function *function)
{
    bool dry_run = false;
    uint64_t affected = 0;
    struct peal_dead_filter filter = pl_unpack_dead(request, &dry_run);
    enum peal_err err = request->bad ? pl_answer_bad() : function(bus, &filter, dry_run, &affected);
    pl_pack_number(reply, affected);
    return err;
}

static enum peal_err answer_retry(struct peal_bus *bus, struct pl_unpack *request,
                                  struct pl_pack *reply)
{
    return answer_dead(bus, request, reply, peal_dead_retry);
}

static enum peal_err answer_discard(struct peal_bus *bus, struct pl_unpack *request,
                                    struct pl_pack *reply)
{
    return answer_dead(bus, request, reply, peal_dead_discard);
}

static enum peal_err answer_edit(struct peal_bus *bus, struct pl_unpack *request,
                                 struct pl_pack *reply)
{
    size_t size = 0;
    uint64_t id = pl_unpack_number(request);
    const void *data = pl_unpack_bytes(request, &size);
    pl_pack_number(reply, 1);
    return request->bad ? pl_answer_bad() : peal_dead_edit(bus, id, data, size);
}

static enum peal_err answer_cancel(struct peal_bus *bus, struct pl_unpack *request,
                                   struct pl_pack *reply)
{
    bool dry_run = false;
    uint64_t affected = 0;
    struct peal_schedule_filter filter = pl_unpack_schedule(request, &dry_run);
    enum peal_err err =
        request->bad ? pl_answer_bad() : peal_schedule_cancel(bus, &filter, dry_run, &affected);
    pl_pack_number(reply, affected);
    return err;
}

static enum peal_err answer_pause(struct peal_bus *bus, struct pl_unpack *request,
                                  struct pl_pack *reply)
{
    const char *name = pl_unpack_text(request);
    pl_pack_number(reply, 1);
    return request->bad ? pl_answer_bad() : peal_name_pause(bus, name);
}

static enum peal_err answer_resume(struct peal_bus *bus, struct pl_unpack *request,
                                   struct pl_pack *reply)
{
    const char *name = pl_unpack_text(request);
    pl_pack_number(reply, 1);
    return request->bad ? pl_answer_bad() : peal_name_resume(bus, name);
}

static enum peal_err answer_seek(struct peal_bus *bus, struct pl_unpack *request,
                                 struct pl_pack *reply)
{
    const char *name = pl_unpack_text(request);
    uint64_t from = pl_unpack_number(request), position = pl_unpack_number(request);
    int64_t time_ns = (int64_t)pl_unpack_number(request);
    bool bad = request->bad || from > PEAL_FROM_TIME;
    pl_pack_number(reply, 1);
    return bad ? pl_answer_bad()
               : peal_name_seek(bus, name, (enum peal_start)from, position, time_ns);
}

static enum peal_err answer_forget(struct peal_bus *bus, struct pl_unpack *request,
                                   struct pl_pack *reply)
{
    const char *name = pl_unpack_text(request);
    pl_pack_number(reply, 1);
    return request->bad ? pl_answer_bad() : peal_name_forget(bus, name);
}

static enum peal_err answer_names(struct peal_bus *bus, struct pl_unpack *request,
                                  struct pl_pack *reply)
{
    struct peal_subscription_list list;
    (void)request;
    enum peal_err err = peal_subscription_list(&list, bus);
    if (!err) {
        pl_pack_names(reply, &list);
        peal_subscription_list_finish(&list);
    }
    return err;
}

static enum peal_err answer_stats(struct peal_bus *bus, struct pl_unpack *request,
                                  struct pl_pack *reply)
{
    struct peal_bus_stats stats;
    (void)request;
    enum peal_err err = peal_bus_stats(&stats, bus);
    if (!err) {
        pl_pack_stats(reply, &stats);
    }
    return err;
}

static enum peal_err answer_look(struct peal_bus *bus, struct pl_unpack *request,
                                 struct pl_pack *reply)
{
    struct peal_standing found = { .state = PEAL_STANDS_DONE };
    const char *name = pl_unpack_text(request);
    uint64_t position = pl_unpack_number(request);
    enum peal_err err =
        request->bad ? pl_answer_bad() : peal_name_look(&found, bus, name, position);
    pl_pack_number(reply, found.state);
    pl_pack_number(reply, found.attempts);
    pl_pack_number(reply, (uint64_t)found.due_ns);
    pl_pack_number(reply, found.dead_letter);
    pl_pack_number(reply, found.filtered);
    return err;
}

static enum peal_err (*const kinds[PL_ASK_KINDS])(struct peal_bus *bus, struct pl_unpack *request,
                                                  struct pl_pack *reply) = {
    [PL_ASK_WHO] = answer_who,
    [PL_ASK_PUBLISH] = answer_publish,
    [PL_ASK_DEAD_RETRY] = answer_retry,
    [PL_ASK_DEAD_DISCARD] = answer_discard,
    [PL_ASK_DEAD_EDIT] = answer_edit,
    [PL_ASK_CANCEL] = answer_cancel,
    [PL_ASK_PAUSE] = answer_pause,
    [PL_ASK_RESUME] = answer_resume,
    [PL_ASK_SEEK] = answer_seek,
    [PL_ASK_FORGET] = answer_forget,
    [PL_ASK_NAMES] = answer_names,
    [PL_ASK_STATS] = answer_stats,
    [PL_ASK_LOOK] = answer_look,
    [PL_ASK_ERASE] = pl_answer_erase,
    [PL_ASK_ARCHIVE] = pl_answer_archive,
};

// ---- a connection -------------------------------------------------------------------------------

static enum peal_err check_head(const struct pl_ask_head *head)
{
    if (head->version != PL_ASK_VERSION || head->code >= PL_ASK_KINDS || !kinds[head->code]) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "the process that has the log is another version of Peal and does not know "
                       "this request (%u, version %u); ask it with a program of its version",
                       head->code, head->version);
    }
    return head->size > PL_ASK_BYTES_MAX
               ? pl_fail(PEAL_ELIMIT, "a request of %llu bytes is too large",
                         (unsigned long long)head->size)
               : PEAL_OK;
}

// The bytes of a request; *given*, NULL: they did not come, or there is no memory.
static char *read_body(const struct pl_answer *answer, int connection, uint64_t size,
                       int64_t deadline)
{
    const struct pl_seams *seams = answer->bus->seams;
    char *body = NULL;
    for (uint64_t done = 0; done < size || !body;) {
        uint64_t more = size - done < PIECE + done ? size - done : PIECE + done;
        char *larger = pl_resize(seams, body, done + more + 1);
        if (!larger || pl_door_read(connection, answer->door, larger + done, more, deadline) != 0) {
            pl_release(seams, larger ? larger : body);
            return NULL;
        }
        body = larger;
        done += more;
    }
    return body;
}

static void send_reply(const struct pl_answer *answer, int connection, enum peal_err err,
                       struct pl_pack *reply)
{
    struct peal_bus *bus = answer->bus;
    if (err) {
        pl_pack_finish(reply);
        pl_pack_begin(reply, bus->seams);
        pl_pack_text(reply, peal_error_sentence());
    }
    pl_pack_head(reply, err);
    if (!reply->failed) { // else the asker is told nothing, and knows that it does not know
        (void)pl_door_write(connection, answer->door, reply->bytes, reply->size,
                            pl_deadline(bus, PL_ASK_PATIENCE_MS)); // it may have gone
    }
}

// *Taken*: the connection ends.
static void finish(const struct pl_answer *answer, struct request *request)
{
    pl_door_close(request->connection);
    pl_release(answer->bus->seams, request->body);
    pl_release(answer->bus->seams, request);
}

static void refuse(const struct pl_answer *answer, const struct request *request, enum peal_err err)
{
    struct pl_pack reply;
    pl_pack_begin(&reply, answer->bus->seams);
    send_reply(answer, request->connection, err, &reply);
    pl_pack_finish(&reply);
}

// Does what is asked, and answers. The request is *taken*.
static void serve(const struct pl_answer *answer, struct request *request)
{
    struct peal_bus *bus = answer->bus;
    struct pl_unpack unpack = { .at = request->body, .left = request->head.size };
    struct pl_pack reply;
    pl_pack_begin(&reply, bus->seams);
    enum peal_err err = kinds[request->head.code](bus, &unpack, &reply);
    send_reply(answer, request->connection, err, &reply);
    pl_pack_finish(&reply);
    finish(answer, request);
}

// ---- the line -----------------------------------------------------------------------------------

// The next one, after `done` of those before; NULL: there is none, and the worker ends.
static struct request *next_of_line(struct pl_answer *answer, size_t done)
{
    pl_mutex_lock(&answer->lock, answer->bus->seams);
    struct request *request = answer->first;
    answer->working -= done;
    if (request) {
        answer->first = request->next;
        answer->last = answer->first ? answer->last : &answer->first;
    }
    pl_mutex_unlock(&answer->lock, answer->bus->seams);
    return request;
}

static void work(void *context)
{
    struct pl_answer *answer = context;
    struct request *request = next_of_line(answer, 0);
    while (request) {
        serve(answer, request);
        request = next_of_line(answer, 1);
    }
}

// Puts it on the line. False: that is full. *out_begin: nobody is at it.
static bool line_up(struct pl_answer *answer, struct request *request, bool *out_begin)
{
    pl_mutex_lock(&answer->lock, answer->bus->seams);
    bool full = answer->working > PL_ASK_LINE_MAX;
    *out_begin = answer->working == 0;
    if (!full) {
        *answer->last = request;
        answer->last = &request->next;
        answer->working++;
    }
    pl_mutex_unlock(&answer->lock, answer->bus->seams);
    return !full;
}

// The request is *taken*. By the thread behind the door.
static void leave_to_worker(struct pl_answer *answer, struct request *request)
{
    const struct pl_seams *seams = answer->bus->seams;
    bool begin;
    if (!line_up(answer, request, &begin)) {
        refuse(answer, request,
               pl_fail(PEAL_ELIMIT,
                       "%d others wait for the process that has the log to erase or archive; "
                       "nothing was done: try again when it has",
                       PL_ASK_LINE_MAX));
        finish(answer, request);
        return;
    }
    if (!begin) {
        return;
    }
    if (answer->worker) {
        seams->join(seams->world, answer->worker); // it has found nothing more, and ends
        answer->worker = NULL;
    }
    if (seams->start(seams->world, &answer->worker, work, answer)) {
        answer->worker = NULL;
        work(answer); // others have to wait
    }
}

// ---- one after the other ------------------------------------------------------------------------

// Reads what is asked. False: it has gone, is none of ours, or was refused.
static bool hear(const struct pl_answer *answer, struct request *request)
{
    char bytes[PL_ASK_HEAD];
    int64_t deadline = pl_deadline(answer->bus, PL_ASK_PATIENCE_MS);
    if (pl_door_read(request->connection, answer->door, bytes, sizeof bytes, deadline) ||
        !pl_unpack_head(&request->head, bytes)) {
        return false;
    }
    enum peal_err err = check_head(&request->head);
    if (err) {
        refuse(answer, request, err);
        return false;
    }
    request->body = read_body(answer, request->connection, request->head.size, deadline);
    return request->body != NULL;
}

static void answer_all(void *context)
{
    struct pl_answer *answer = context;
    int connection;
    while ((connection = pl_door_wait(answer->door)) >= 0) {
        struct request *request = pl_new(answer->bus->seams, sizeof *request);
        if (!request) {
            pl_door_close(connection); // it is told nothing, and knows that it does not know
            continue;
        }
        request->connection = connection;
        if (!hear(answer, request)) {
            finish(answer, request);
        } else if (pl_ask_works(request->head.code)) {
            leave_to_worker(answer, request);
        } else {
            serve(answer, request);
        }
    }
}

// ---- beginning and ending -----------------------------------------------------------------------

static enum peal_err open_door(struct pl_answer *answer)
{
    struct peal_bus *bus = answer->bus;
    answer->door = pl_door_open(&bus->door);
    if (answer->door >= 0) {
        return bus->seams->start(bus->seams->world, &answer->thread, answer_all, answer);
    }
    return answer->door == -EADDRINUSE
               ? pl_fail(PEAL_EBUSY, "another process has taken the address of this log")
               : pl_fail(PEAL_EIO, "no socket to be had: %s", pl_files_text(answer->door));
}

void pl_answer_start(struct peal_bus *bus)
{
    const struct peal_bus_options *options = &bus->options;
    if (!*bus->door.text || options->read_only || options->no_requests || bus->workers < 1) {
        return;
    }
    struct pl_answer *answer = pl_new(bus->seams, sizeof *answer);
    enum peal_err err = answer ? PEAL_OK : pl_fail(PEAL_ENOMEM, "no memory");
    if (answer) {
        answer->bus = bus;
        answer->last = &answer->first;
        err = open_door(answer);
    }
    if (err) {
        pl_bus_say(bus, PEAL_LEVEL_WARNING,
                   "requests of other processes cannot be taken (peal dead retry, peal subs pause "
                   "and the like will not reach this one): %s",
                   peal_error_sentence());
        if (answer) {
            pl_door_close(answer->door);
        }
        pl_release(bus->seams, answer);
        return;
    }
    bus->answer = answer;
}

void pl_answer_stop(struct peal_bus *bus)
{
    struct pl_answer *answer = bus->answer;
    if (answer) {
        pl_door_shut(answer->door);
        bus->seams->join(bus->seams->world, answer->thread);
        if (answer->worker) { // what is on the line is refused by now
            bus->seams->join(bus->seams->world, answer->worker);
        }
        pl_door_close(answer->door);
        pl_release(bus->seams, answer);
        bus->answer = NULL;
    }
}
