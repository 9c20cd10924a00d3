// SPDX-License-Identifier: MIT
//
// Publishing what comes with a request as a whole.
//
// At `memory` and `os` a publish waits for nothing but memory, so it happens on the loop. If it has
// to wait, for memory or for a disk, the same is done again in the pool, from the body.
#include "service/events.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { PAUSE_NS = 2000000 };

// ---- shared -------------------------------------------------------------------------------------

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static enum peal_err publish(peal_bus *bus, const struct peal_message *messages, size_t count,
                             struct peal_receipt *receipts)
{
    return count == 1 ? peal_publish(bus, messages, receipts)
                      : peal_publish_batch(bus, messages, count, receipts);
}

enum peal_err service_publish(struct service *service, const struct peal_message *messages,
                              size_t count, struct peal_receipt *receipts, bool patient)
{
    // A publisher that outruns those who read is slowed, not refused.
    int64_t until = patient ? now_ms() + (int64_t)service->options.publish_ms : 0;
    enum peal_err err = publish(service->bus, messages, count, receipts);
    while (err == PEAL_EAGAIN && patient && now_ms() < until) {
        const struct timespec pause = { .tv_nsec = PAUSE_NS };
        (void)nanosleep(&pause, NULL);
        err = publish(service->bus, messages, count, receipts);
    }
    return err;
}

bool service_waits(const struct service_call *call)
{
    enum peal_durability level =
        call->durability ? call->durability : call->service->options.durability;
    return level == PEAL_DURABILITY_DISK;
}

void service_put_receipt(struct net_text *text, const struct peal_receipt *receipt,
                         int64_t deliver_at_ns)
{
    static const char *const levels[] = { "none", "memory", "os", "disk" };
    net_json_begin(text, '{');
    net_json_say(text, "id", receipt->id);
    if (deliver_at_ns && !receipt->position) {
        net_json_name(text, "deliver_at");
        net_json_time(text, deliver_at_ns);
    } else {
        net_json_count(text, "position", receipt->position);
        net_json_count(text, "version", receipt->stream_version);
    }
    net_json_say(text, "durability", levels[receipt->durability]);
    net_json_name(text, "duplicate");
    net_json_bool(text, receipt->duplicate);
    net_json_end(text, '}');
}

// ---- JSON texts ---------------------------------------------------------------------------------

static bool say_fault(struct service_call *call, size_t at, const struct ingest_fault *fault)
{
    service_refuse(call, 400, "inval", "the body is no event at byte %zu: %s", at + fault->offset,
                   fault->reason);
    return false;
}

static size_t skip(const char *bytes, size_t at, size_t size)
{
    while (at < size && strchr(" \t\r\n", bytes[at]) && bytes[at]) {
        at++;
    }
    return at;
}

// The elements of an array, one after the other.
static bool read_array(struct service_call *call, struct ingest *ingest,
                       struct peal_message **messages, size_t *count)
{
    const char *bytes = call->body;
    size_t size = call->body_size, at = skip(bytes, skip(bytes, 0, size) + 1, size), room = 0;
    struct ingest_fault fault = { 0 };
    while (at < size && bytes[at] != ']') {
        if (*count == PEAL_BATCH_MAX) {
            service_refuse(call, 413, "limit", "a batch has at most %d events", PEAL_BATCH_MAX);
            return false;
        }
        if (*count == room) {
            room = room ? room * 2 : 64;
            struct peal_message *grown = reallocarray(*messages, room, sizeof **messages);
            if (!grown) {
                service_refuse(call, 503, "nomem", "no memory for the batch; try again later");
                return false;
            }
            *messages = grown;
        }
        size_t span = ingest_span((struct ingest_text){ bytes + at, size - at });
        struct ingest_text text = { bytes + at, span ? span : size - at };
        if (!ingest_event(&(*messages)[*count], ingest, text, NULL, &fault)) {
            return say_fault(call, at, &fault);
        }
        ++*count;
        at = skip(bytes, at + span, size);
        bool comma = at < size && bytes[at] == ',';
        size_t next = skip(bytes, at + comma, size);
        if (at == size || (!comma && bytes[at] != ']') ||
            (comma && next < size && bytes[next] == ']')) {
            break;
        }
        at = next;
    }
    if (at < size && bytes[at] == ']' && skip(bytes, at + 1, size) == size) {
        return true;
    }
    fault = (struct ingest_fault){ .reason =
                                       "the array of events does not go on, or end, as it should" };
    return say_fault(call, at, &fault);
}

bool service_read_events(struct service_call *call, struct ingest *ingest,
                         struct peal_message **out_messages, size_t *out_count)
{
    struct peal_message *messages = NULL;
    size_t count = 0, start = skip(call->body, 0, call->body_size);
    bool good;
    if (start < call->body_size && call->body[start] == '[') {
        good = read_array(call, ingest, &messages, &count);
    } else {
        struct ingest_fault fault = { 0 };
        messages = calloc(1, sizeof *messages);
        good = messages &&
               ingest_event(messages, ingest, (struct ingest_text){ call->body, call->body_size },
                            NULL, &fault);
        if (!messages) {
            service_refuse(call, 503, "nomem", "no memory; try again later");
        } else if (!good) {
            good = say_fault(call, 0, &fault);
        }
        count = 1;
    }
    if (!good) {
        free(messages);
        return false;
    }
    *out_messages = messages;
    *out_count = count;
    return true;
}

// ---- the calls ----------------------------------------------------------------------------------

static void answer_receipts(struct service_call *call, const struct peal_receipt *receipts,
                            size_t count, int64_t deliver_at_ns)
{
    bool array = call->is_batch;
    bool stored = !(deliver_at_ns && !receipts[0].position);
    if (array) {
        net_json_begin(&call->text, '[');
    }
    for (size_t i = 0; i < count; i++) {
        stored = stored && receipts[i].durability > PEAL_DURABILITY_MEMORY;
        service_put_receipt(&call->text, &receipts[i], deliver_at_ns);
    }
    if (array) {
        net_json_end(&call->text, ']');
    }
    service_answer(call, stored ? 201 : 202);
}

// Publishes and answers. PEAL_EAGAIN: nothing was done; it would have to wait.
static enum peal_err publish_and_answer(struct service_call *call,
                                        const struct peal_message *messages, size_t count,
                                        bool patient)
{
    struct peal_receipt one = { .position = 0 };
    if (!service_may_publish(call, messages, count)) {
        return PEAL_EREFUSED;
    }
    struct peal_receipt *receipts = count > 1 ? calloc(count, sizeof *receipts) : &one;
    if (!receipts) {
        service_refuse(call, 503, "nomem", "no memory for the answer; try again later");
        return PEAL_ENOMEM;
    }
    enum peal_err err =
        count == 0 ? PEAL_OK : service_publish(call->service, messages, count, receipts, patient);
    if (err && (err != PEAL_EAGAIN || patient)) {
        service_fail(call, err);
    } else if (!err) {
        answer_receipts(call, receipts, count, count == 1 ? messages->deliver_at_ns : 0);
    }
    if (receipts != &one) {
        free(receipts);
    }
    return err;
}

// What a body of CloudEvents says is published.
static enum peal_err publish_json(struct service_call *call, struct ingest *ingest, bool patient)
{
    struct peal_message *messages = NULL;
    size_t count = 0;
    int64_t deliver_at_ns = 0;
    if (!service_moment(call, "deliver_at", &deliver_at_ns) ||
        !service_read_events(call, ingest, &messages, &count)) {
        ingest_forget(ingest);
        return PEAL_EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        messages[i].durability = call->durability;
        messages[i].deliver_at_ns = deliver_at_ns;
    }
    enum peal_err err = publish_and_answer(call, messages, count, patient);
    free(messages);
    ingest_forget(ingest);
    return err;
}

static void publish_json_in_pool(struct service_call *call)
{
    struct ingest *ingest = NULL;
    if (service_open_ingest(&ingest, call->service)) {
        service_refuse(call, 503, "nomem", "no memory; try again later");
        return;
    }
    (void)publish_json(call, ingest, true); // it has answered
    ingest_close(ingest);
}

static void post_json(struct service_call *call)
{
    size_t start = skip(call->body, 0, call->body_size);
    bool array = start < call->body_size && call->body[start] == '[';
    if (array != call->is_batch && call->is_cloudevents) {
        service_refuse(call, 400, "inval",
                       call->is_batch ? "application/cloudevents-batch+json is an array of events"
                                      : "application/cloudevents+json is one event; an array is "
                                        "application/cloudevents-batch+json");
        return;
    }
    call->is_batch = array;
    if (service_waits(call) || publish_json(call, call->service->ingest, false) == PEAL_EAGAIN) {
        service_call_move(call, publish_json_in_pool);
    }
}

static enum peal_err publish_extra(struct service_call *call, bool patient)
{
    struct service_message *composed = call->extra;
    composed->message.data = call->body_size ? call->body : NULL;
    composed->message.size = call->body_size;
    return publish_and_answer(call, &composed->message, 1, patient);
}

static void publish_extra_in_pool(struct service_call *call)
{
    (void)publish_extra(call, true); // it has answered
}

bool service_is_json(const char *type)
{
    size_t size = strcspn(type, "; ");
    return size >= 5 && (strncasecmp(type + size - 5, "/json", 5) == 0 ||
                         strncasecmp(type + size - 5, "+json", 5) == 0);
}

// The message is call->extra, its data the body.
static void post_data(struct service_call *call)
{
    struct ingest_fault fault = { 0 };
    struct ingest_text text = { call->body, call->body_size };
    const char *type = call->content_type;
    bool json = !type || service_is_json(type);
    bool good = !json || text.size == 0 || ingest_check(call->service->ingest, text, &fault);
    ingest_forget(call->service->ingest);
    if (!good) {
        service_refuse(call, 400, "inval",
                       "the data is not JSON at byte %zu: %s; say Content-Type: text/plain if it "
                       "is not meant to be",
                       fault.offset, fault.reason);
        return;
    }
    if (service_waits(call) || publish_extra(call, false) == PEAL_EAGAIN) {
        service_call_move(call, publish_extra_in_pool);
    }
}

// curl -d says so of all it sends, unless it is told otherwise: JSON is meant.
static bool is_form(const char *type)
{
    return type && strncasecmp(type, "application/x-www-form-urlencoded", 33) == 0;
}

void service_post_event(struct service_call *call)
{
    call->content_type = is_form(call->content_type) ? NULL : call->content_type;
    call->extra = service_message_of(call, call->parts[0]);
    if (call->extra) {
        post_data(call);
    }
}

static void post_binary(struct service_call *call)
{
    struct service_message *composed = call->extra;
    if (!composed->message.type) {
        service_refuse(call, 400, "inval", "there is no header ce-type");
        return;
    }
    post_data(call);
}

void service_post_events(struct service_call *call)
{
    const char *type = call->content_type ? call->content_type : "";
    size_t size = strcspn(type, "; ");
    struct net_part media = { type, size };
    if (service_is_binary(call->head)) {
        call->extra = service_message_of(call, NULL);
        if (call->extra) {
            service_call_collect(call, post_binary);
        }
        return;
    }
    if (net_part_is_word(media, "application/x-ndjson")) {
        service_post_lines(call);
        return;
    }
    call->is_batch = net_part_is_word(media, "application/cloudevents-batch+json");
    call->is_cloudevents =
        call->is_batch || net_part_is_word(media, "application/cloudevents+json");
    if (!call->is_cloudevents && !net_part_is_word(media, "application/json")) {
        service_header(call, "Accept-Post",
                       "application/cloudevents+json, application/cloudevents-batch+json, "
                       "application/x-ndjson");
        service_refuse(call, 415, "unsupported",
                       "Content-Type is %s; one event is application/cloudevents+json, an array "
                       "application/cloudevents-batch+json, one a line application/x-ndjson; "
                       "any data goes to /v1/events/TYPE",
                       *type ? type : "missing");
        return;
    }
    service_call_collect(call, post_json);
}
