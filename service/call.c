// SPDX-License-Identifier: MIT
//
// Finding the route, reading what was asked, running it here or in the pool, sending the answer.
#include "service/call.h"

#include "net/ingest.h"
#include "service/auth.h"
#include "service/guard.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- errors -------------------------------------------------------------------------------------

int service_status_of(enum peal_err err)
{
    static const int statuses[] = {
        [PEAL_EINVAL] = 400,    [PEAL_ENOMEM] = 503,    [PEAL_ETYPE] = 400,
        [PEAL_EPATTERN] = 400,  [PEAL_EURL] = 400,      [PEAL_ELIMIT] = 413,
        [PEAL_EAGAIN] = 503,    [PEAL_ETIMEDOUT] = 503, [PEAL_ECLOSED] = 503,
        [PEAL_ENOTFOUND] = 404, [PEAL_EEXISTS] = 409,   [PEAL_ECONFLICT] = 409,
        [PEAL_EREFUSED] = 422,  [PEAL_ELOOP] = 422,     [PEAL_EUNSUPPORTED] = 501,
        [PEAL_ESTATE] = 409,    [PEAL_ECORRUPT] = 500,  [PEAL_EIO] = 500,
        [PEAL_EOVERFLOW] = 409, [PEAL_EBUSY] = 503,
    };
    bool known = (unsigned)err < sizeof statuses / sizeof statuses[0] && statuses[err];
    return known ? statuses[err] : 500;
}

const char *service_code_of(enum peal_err err, char out[24])
{
    const char *name = peal_err_name(err) + strlen("PEAL_E");
    size_t i = 0;
    for (; i < 23 && name[i]; i++) {
        out[i] = (char)(name[i] | 0x20); // capital letters all
    }
    out[i] = 0;
    return out;
}

void service_refuse(struct service_call *call, int status, const char *code, const char *format,
                    ...)
{
    char detail[1024];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(detail, sizeof detail, format, list);
    va_end(list);
    call->text.size = 0;
    call->text.comma = false;
    call->status = status;
    call->type = "application/problem+json";
    net_json_begin(&call->text, '{');
    net_json_say(&call->text, "type", "about:blank");
    net_json_say(&call->text, "title", net_http_reason(status));
    net_json_count(&call->text, "status", (uint64_t)status);
    net_json_say(&call->text, "code", code);
    net_json_say(&call->text, "detail", detail);
    net_json_end(&call->text, '}');
    net_text_put(&call->text, "\n");
    if (status == 503 || status == 429) {
        service_header(call, "Retry-After", "1");
    }
}

void service_fail(struct service_call *call, enum peal_err err)
{
    char code[24];
    const char *sentence = peal_error_sentence();
    service_refuse(call, service_status_of(err), service_code_of(err, code), "%s",
                   *sentence ? sentence : peal_err_text(err));
}

void service_answer(struct service_call *call, int status)
{
    call->status = status;
    call->type = call->type ? call->type : "application/json";
    net_text_put(&call->text, "\n");
}

void service_answer_nothing(struct service_call *call)
{
    call->status = 204;
    call->type = NULL;
}

void service_header(struct service_call *call, const char *name, const char *value)
{
    net_text_format(&call->headers, "%s: %s\n", name, value);
}

// ---- what was asked -----------------------------------------------------------------------------

const char *service_value(const struct service_call *call, const char *name)
{
    for (size_t i = 0; i < call->count; i++) {
        if (strcmp(call->values[i].name, name) == 0) {
            return call->values[i].value;
        }
    }
    return NULL;
}

static bool bad_value(struct service_call *call, const char *name, const char *value,
                      const char *wanted)
{
    service_refuse(call, 400, "inval", "%s=%s: %s is wanted", name, value, wanted);
    return false;
}

bool service_number(struct service_call *call, const char *name, uint64_t *out)
{
    const char *value = service_value(call, name);
    char *end = NULL;
    if (!value) {
        return true;
    }
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end || errno) {
        return bad_value(call, name, value, "a number");
    }
    *out = number;
    return true;
}

bool service_flag(struct service_call *call, const char *name, bool *out)
{
    const char *value = service_value(call, name);
    if (!value) {
        return true;
    }
    bool yes = strcmp(value, "true") == 0 || strcmp(value, "1") == 0 || !*value;
    if (!yes && strcmp(value, "false") != 0 && strcmp(value, "0") != 0) {
        return bad_value(call, name, value, "true or false");
    }
    *out = yes;
    return true;
}

bool service_moment(struct service_call *call, const char *name, int64_t *out)
{
    const char *value = service_value(call, name);
    if (value && !ingest_time(out, value, strlen(value))) {
        return bad_value(call, name, value,
                         strchr(value, ' ') ? "a time such as 2026-11-21T09:15:00Z (and the + of "
                                              "an offset, in an address, as %2B)"
                                            : "a time such as 2026-11-21T09:15:00Z");
    }
    return true;
}

// ---- the answer is sent -------------------------------------------------------------------------

static void finish(struct service_call *call)
{
    net_text_finish(&call->text);
    net_text_finish(&call->headers);
    free(call->memory);
    free(call->body_copy);
    free(call->extra);
    auth_identity_unref(call->identity);
    free(call);
}

static void send_headers(struct service_call *call)
{
    char *line = (char *)net_text_string(&call->headers);
    while (*line) {
        char *end = strchr(line, '\n');
        char *colon = strchr(line, ':');
        *end = 0;
        *colon = 0;
        net_answer_header(call->request, line, colon + 2);
        line = end + 1;
    }
}

static void send_answer(struct service_call *call)
{
    struct net_request *request = call->request;
    if (request) {
        net_request_on_gone(request, NULL, NULL);
        if (call->text.failed || call->headers.failed) {
            net_answer_problem(request, 503, "nomem", "no memory for the answer; try again later");
        } else {
            send_headers(call);
            net_answer(request, call->status, call->type, call->text.bytes, call->text.size);
        }
    }
    finish(call);
}

struct net_request *service_call_take(struct service_call *call)
{
    struct net_request *request = call->request;
    net_request_on_gone(request, NULL, NULL);
    call->taken = true;
    return request;
}

// ---- running ------------------------------------------------------------------------------------

static struct service_call *call_of(struct net_task *task)
{
    return (struct service_call *)(void *)task; // its first member
}

static void run_in_pool(struct net_task *task)
{
    struct service_call *call = call_of(task);
    call->route->run(call);
}

static void after_pool(struct net_task *task)
{
    send_answer(call_of(task));
}

static void on_gone(void *context)
{
    struct service_call *call = context;
    call->request = NULL; // who works for it finds nobody to answer
}

static bool copy_body(struct service_call *call)
{
    if (call->body_size > 0 && !call->body_copy) {
        call->body_copy = malloc(call->body_size);
        if (!call->body_copy) {
            service_refuse(call, 503, "nomem", "no memory for the body; try again later");
            return false;
        }
        memcpy(call->body_copy, call->body, call->body_size);
        call->body = call->body_copy;
    }
    return true;
}

static void to_pool(struct service_call *call, void (*run)(struct net_task *task))
{
    net_request_on_gone(call->request, on_gone, call);
    call->head = NULL; // the request may go before the pool is done
    call->task.run = run;
    call->task.done = after_pool;
    net_loop_work(call->service->loop, &call->task);
}

void service_call_collect(struct service_call *call, void (*run_with)(struct service_call *call))
{
    call->collected = run_with;
}

void service_call_move(struct service_call *call, void (*run_next)(struct service_call *call))
{
    if (copy_body(call)) {
        call->moved = run_next;
    }
}

static void run_moved(struct net_task *task)
{
    struct service_call *call = call_of(task);
    call->moved(call);
}

// The function has run.
static void conclude(struct service_call *call)
{
    if (call->moved) {
        to_pool(call, run_moved);
    } else if (call->taken) {
        finish(call);
    } else {
        send_answer(call);
    }
}

static void run(struct service_call *call);

// The peer has gone before its body was there.
static void forget(void *context)
{
    finish(context);
}

static void on_body(struct net_request *request, const char *body, size_t size, void *context)
{
    struct service_call *call = context;
    call->request = request;
    call->body = body;
    call->body_size = size;
    net_request_on_gone(request, NULL, NULL);
    if (call->collected) {
        call->collected(call);
        conclude(call);
    } else {
        run(call);
    }
}

static void collect(struct service_call *call)
{
    net_request_on_gone(call->request, forget, call);
    net_request_collect(call->request, call->service->options.body_max, on_body, call);
}

// All of the request is there.
static void run(struct service_call *call)
{
    if (!call->route->on_loop) {
        if (copy_body(call)) {
            to_pool(call, run_in_pool);
        } else {
            send_answer(call);
        }
        return;
    }
    call->route->run(call);
    if (call->collected && !call->status) {
        collect(call);
    } else {
        conclude(call);
    }
}

// ---- finding out what is wanted -----------------------------------------------------------------

// Does a path fit a route? Its variable parts go to `parts`.
static bool fits(const char *route, struct net_part path, struct net_part parts[SERVICE_PARTS_MAX])
{
    size_t count = 0;
    const char *at = path.bytes, *end = path.bytes + path.size;
    for (; *route; route++) {
        if (route[0] == '{') {
            const char *from = at;
            while (at < end && *at != '/') {
                at++;
            }
            if (at == from) {
                return false;
            }
            parts[count++] = (struct net_part){ from, (size_t)(at - from) };
            route++; // the other bracket
        } else if (at == end || *at++ != *route) {
            return false;
        }
    }
    return at == end;
}

static bool allows(const struct service_route *route, struct net_part method)
{
    return net_part_is(method, route->method) ||
           (net_part_is(method, "HEAD") && strcmp(route->method, "GET") == 0);
}

// The route of a request. NULL: *allowed says which methods there are, "" none.
static const struct service_route *find_route(const struct net_head *head, char allowed[64],
                                              struct net_part parts[SERVICE_PARTS_MAX])
{
    allowed[0] = 0;
    for (const struct service_route *route = service_routes; route->method; route++) {
        struct net_part found[SERVICE_PARTS_MAX] = { 0 };
        if (!fits(route->path, head->path, found)) {
            continue;
        }
        if (allows(route, head->method)) {
            memcpy(parts, found, sizeof found);
            return route;
        }
        size_t used = strlen(allowed);
        (void)snprintf(allowed + used, 64 - used, "%s%s", used ? ", " : "", route->method);
    }
    return NULL;
}

static bool is_among(const char *names, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = names; length > 0 && (at = strstr(at, name)); at += length) {
        bool begins = at == names || at[-1] == ' ';
        if (begins && (at[length] == ' ' || !at[length])) {
            return true;
        }
    }
    return false;
}

// Decodes into the call's memory; NULL: it cannot be.
static const char *decode(char **memory, struct net_part text, bool query)
{
    char *out = *memory;
    if (!net_url_decode(out, text.size + 1, text, query)) {
        return NULL;
    }
    *memory += text.size + 1;
    return out;
}

static bool read_query(struct service_call *call, struct net_part query, char **memory)
{
    struct net_part name, value;
    while (net_query_next(&query, &name, &value)) {
        if (call->count == SERVICE_VALUES_MAX) {
            service_refuse(call, 400, "limit", "there are more than %d parameters",
                           SERVICE_VALUES_MAX);
            return false;
        }
        struct service_value *next = &call->values[call->count];
        next->name = decode(memory, name, true);
        next->value = decode(memory, value, true);
        if (!next->name || !next->value) {
            service_refuse(call, 400, "inval", "the parameter %.*s is not encoded as it should be",
                           (int)name.size, name.bytes);
            return false;
        }
        if (!is_among(call->route->parameters, next->name)) {
            service_refuse(call, 400, "inval", "there is no parameter %s here; there are: %s",
                           next->name, *call->route->parameters ? call->route->parameters : "none");
            return false;
        }
        if (service_value(call, next->name)) {
            service_refuse(call, 400, "inval", "the parameter %s stands twice", next->name);
            return false;
        }
        call->count++;
    }
    return true;
}

static const char *keep_header(struct service_call *call, const char *name, char **memory)
{
    struct net_part value = net_head_find(call->head, name);
    if (!value.bytes) {
        return NULL;
    }
    char *out = *memory;
    memcpy(out, value.bytes, value.size);
    out[value.size] = 0;
    *memory += value.size + 1;
    return out;
}

static bool read_preference(struct service_call *call)
{
    static const char *const levels[] = { "durability=memory", "durability=os", "durability=disk" };
    struct net_part prefer = net_head_find(call->head, "prefer");
    for (int i = 0; prefer.size > 0 && i < 3; i++) {
        if (net_part_has_word(prefer, levels[i])) {
            call->durability = (enum peal_durability)(PEAL_DURABILITY_MEMORY + i);
            return true;
        }
    }
    if (prefer.size >= 11 && memmem(prefer.bytes, prefer.size, "durability=", 11)) {
        service_refuse(call, 400, "inval", "Prefer: durability is memory, os or disk");
        return false;
    }
    return true;
}

// Nothing is unpacked here: what is packed would be stored as it is, and called JSON.
static bool is_unpacked(struct service_call *call)
{
    struct net_part coding = net_head_find(call->head, "content-encoding");
    if (coding.size == 0 || net_part_is_word(coding, "identity") ||
        call->route->body == SERVICE_NO_BODY) {
        return true;
    }
    service_header(call, "Accept-Encoding", "identity");
    service_refuse(call, 415, "unsupported",
                   "Content-Encoding is %.*s: a body is taken as it is, and not compressed",
                   (int)(coding.size < 64 ? coding.size : 64), coding.bytes);
    return false;
}

static bool read_request(struct service_call *call, const struct net_part *parts)
{
    const struct net_head *head = call->head;
    size_t room = head->path.size * 2 + head->query.size * 2 + 16;
    for (size_t i = 0; i < head->count; i++) {
        room += head->headers[i].value.size + 1;
    }
    char *memory = call->memory = malloc(room);
    if (!memory) {
        service_refuse(call, 503, "nomem", "no memory; try again later");
        return false;
    }
    memcpy(memory, head->path.bytes, head->path.size);
    memory[head->path.size] = 0;
    call->path = memory;
    memory += head->path.size + 1;
    for (size_t i = 0; i < SERVICE_PARTS_MAX && parts[i].bytes; i++) {
        call->parts[i] = decode(&memory, parts[i], false);
        if (!call->parts[i]) {
            service_refuse(call, 400, "inval", "the path is not encoded as it should be");
            return false;
        }
    }
    call->if_match = keep_header(call, "if-match", &memory);
    call->if_none_match = keep_header(call, "if-none-match", &memory);
    call->content_type = keep_header(call, "content-type", &memory);
    return read_query(call, head->query, &memory) && read_preference(call) && is_unpacked(call);
}

void service_call_begin(struct net_request *request, void *context)
{
    char allowed[64];
    struct net_part parts[SERVICE_PARTS_MAX] = { 0 };
    const struct net_head *head = net_request_head(request);
    if (service_answer_preflight(request, context)) {
        return;
    }
    const struct service_route *route = find_route(head, allowed, parts);
    struct service_call *call = route ? calloc(1, sizeof *call) : NULL;
    if (!route && *allowed) {
        net_answer_header(request, "Allow", allowed);
        net_answer_problem(request, 405, "method", "this can be asked with %s only", allowed);
        return;
    }
    if (!call) {
        net_answer_problem(request, route ? 503 : 404, route ? "nomem" : "notfound", "%s",
                           route ? "no memory; try again later"
                                 : "there is no such call: docs/http.md has them all");
        return;
    }
    call->service = context;
    call->request = request;
    call->route = route;
    call->head = head;
    if (!service_guard(call) || !read_request(call, parts)) {
        send_answer(call);
    } else if (route->body == SERVICE_BODY) {
        collect(call);
    } else {
        run(call);
    }
}
