// SPDX-License-Identifier: MIT
//
// Call: one request to the service, from its head to its answer.
//
// A call's function fills in its answer: `text` by net_json_..., and service_answer, or
// service_fail with what the library has said. It is sent when the function returns; unless it has
// taken the request over (service_call_take), for an answer that comes later or in parts.
//
// Memory: what a call has (parameters, body) is *borrowed* until its function returns.
#ifndef SERVICE_CALL_H
#define SERVICE_CALL_H

#include "service/service.h"

enum service_right { SERVICE_ANYBODY, SERVICE_READ, SERVICE_PUBLISH, SERVICE_CHANGE };

// How the body of a call comes.
enum service_body {
    SERVICE_NO_BODY,
    SERVICE_BODY,  // whole
    SERVICE_PARTS, // the function takes it, as it comes
};

struct auth_identity;
struct service_call;

struct service_route {
    const char *method;
    const char *path;       // "/v1/events/{}": {} is one part of it
    const char *parameters; // of the query: "type subject"
    enum service_right right;
    enum service_body body;
    bool on_loop; // it does not wait for anything
    void (*run)(struct service_call *call);
};

extern const struct service_route service_routes[]; // the last has no method

enum { SERVICE_VALUES_MAX = 24, SERVICE_PARTS_MAX = 2 };

struct service_value {
    const char *name, *value;
};

struct service_call {
    struct net_task task;
    struct service *service;
    struct net_request *request; // NULL: the peer has gone. The loop's only
    const struct service_route *route;
    const char *path;                     // as it came
    const char *parts[SERVICE_PARTS_MAX]; // of it, decoded
    struct service_value values[SERVICE_VALUES_MAX];
    size_t count;
    const struct net_head *head; // *borrowed* as long as the request; in the pool: see below
    const char *body;
    size_t body_size;
    char *memory;    // parts and values point into it
    char *body_copy; // in the pool

    // What calls need of the head in the pool, copied before.
    const char *if_match, *if_none_match, *content_type;
    enum peal_durability durability; // Prefer
    bool is_batch, is_cloudevents;   // what the body is, as Content-Type has it

    // The answer:
    struct auth_identity *identity; // who asks; NULL: nobody is asked who they are

    int status;
    const char *type;
    struct net_text text;
    struct net_text headers; // "name: value\n" each
    bool taken;
    void (*moved)(struct service_call *call);     // goes on in the pool with this; or NULL
    void (*collected)(struct service_call *call); // with the body; or NULL
    uint64_t cursor;                              // behind the last event of a page
    void *extra; // one block of memory of the function's own; freed with the call
};

// ---- what was asked -----------------------------------------------------------------------------

const char *service_value(const struct service_call *call, const char *name); // or NULL
// Numbers and the like. False: it is none, and the call has failed with a sentence. What is not
// there is left as it is.
bool service_number(struct service_call *call, const char *name, uint64_t *out);
bool service_flag(struct service_call *call, const char *name, bool *out);
bool service_moment(struct service_call *call, const char *name, int64_t *out);

// ---- what is answered ---------------------------------------------------------------------------

void service_answer(struct service_call *call, int status); // `text` is JSON
void service_answer_nothing(struct service_call *call);     // 204
void service_header(struct service_call *call, const char *name, const char *value);
// What a call of the library has said; its status by its code.
void service_fail(struct service_call *call, enum peal_err err);
void service_refuse(struct service_call *call, int status, const char *code, const char *format,
                    ...) __attribute__((format(printf, 4, 5)));
int service_status_of(enum peal_err err);
const char *service_code_of(enum peal_err err, char out[24]); // "conflict"

// ---- what may be seen and said (guard.c) --------------------------------------------------------

// Each of the type of one event; any thread.
bool service_may_read(const struct service_call *call, const char *type);
// False: the call has failed.
bool service_may_publish(struct service_call *call, const struct peal_message *messages,
                         size_t count);

// ---- how it runs --------------------------------------------------------------------------------

// The request is the function's now, which answers it by net_answer; the call ends when it returns.
struct net_request *service_call_take(struct service_call *call);
// Goes on with a function once all of the body is there.
void service_call_collect(struct service_call *call, void (*run)(struct service_call *call));
// Runs a function in the pool and answers after it; for a call that runs on the loop and has found
// that it would have to wait. The body is copied.
void service_call_move(struct service_call *call, void (*run)(struct service_call *call));

// The head of a request has come.
void service_call_begin(struct net_request *request, void *context);

#endif
