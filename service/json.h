// SPDX-License-Identifier: MIT
//
// Small documents that are sent to the service: an object whose members are known, each of one
// kind.
#ifndef SERVICE_JSON_H
#define SERVICE_JSON_H

#include "service/call.h"

struct json_t;

enum service_json_kind {
    SERVICE_JSON_TEXT,   // const char *, borrowed as long as the document
    SERVICE_JSON_NUMBER, // uint64_t
    SERVICE_JSON_REAL,   // double
    SERVICE_JSON_BOOL,   // bool
    SERVICE_JSON_OBJECT, // struct json_t *, borrowed
    SERVICE_JSON_ARRAY,  // struct json_t *, borrowed
};

struct service_field {
    const char *name; // NULL: the end of the table
    enum service_json_kind kind;
    size_t place; // in the struct it fills in
};

// The body as a JSON object; an empty one is {}. *Given*: json_decref. NULL: the call has failed.
struct json_t *service_json_body(struct service_call *call);
// Fills in what the object has; what is not there stays as it is. False: a member is unknown, or of
// another kind, and the call has failed.
bool service_json_read(struct service_call *call, struct json_t *object,
                       const struct service_field *fields, void *out);

#endif
