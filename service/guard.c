// SPDX-License-Identifier: MIT
//
// The checks in the order in which they cost least and tell least: the page, the name, the token.
#include "service/guard.h"

#include "service/auth.h"
#include "service/config.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

// ---- origins ------------------------------------------------------------------------------------

// "http://host:port" without its scheme.
static struct net_part authority_of(struct net_part origin)
{
    const char *slashes = memmem(origin.bytes, origin.size, "://", 3);
    size_t skip = slashes ? (size_t)(slashes - origin.bytes) + 3 : origin.size;
    return (struct net_part){ origin.bytes + skip, origin.size - skip };
}

static bool is_listed(const struct service *service, struct net_part origin)
{
    const struct service_list *origins = service->config ? &service->config->cors_origins : NULL;
    for (size_t i = 0; origins && i < origins->count; i++) {
        if (strcmp(origins->items[i], "*") == 0 || net_part_is_word(origin, origins->items[i])) {
            return true;
        }
    }
    return false;
}

bool service_origin_is_good(const struct service *service, const struct net_head *head)
{
    struct net_part origin = net_head_find(head, "origin");
    if (!origin.bytes) {
        return true; // no page
    }
    struct net_part own = net_head_find(head, "host");
    struct net_part its = authority_of(origin);
    bool same =
        its.size > 0 && its.size == own.size && strncasecmp(its.bytes, own.bytes, own.size) == 0;
    return same || is_listed(service, origin);
}

// What a page that may use the service asks for: nobody can list the extensions that events have
// as headers (ce-...).
static void put_allowed_headers(struct net_request *request, const struct net_head *head)
{
    struct net_part asked = net_head_find(head, "access-control-request-headers");
    char text[1024];
    if (asked.size == 0 || asked.size >= sizeof text) {
        return;
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)asked.size, asked.bytes);
    net_answer_header(request, "Access-Control-Allow-Headers", text);
}

bool service_answer_preflight(struct net_request *request, struct service *service)
{
    const struct net_head *head = net_request_head(request);
    struct net_part origin = net_head_find(head, "origin");
    char text[256];
    if (!net_part_is(head->method, "OPTIONS") || !origin.bytes ||
        !net_head_find(head, "access-control-request-method").bytes) {
        return false;
    }
    if (!is_listed(service, origin) || origin.size >= sizeof text) {
        net_answer_problem(request, 403, "origin",
                           "pages of %.*s may not use this service; "
                           "cors.origins says which may",
                           (int)origin.size, origin.bytes);
        return true;
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)origin.size, origin.bytes);
    net_answer_header(request, "Access-Control-Allow-Origin", text);
    net_answer_header(request, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE");
    put_allowed_headers(request, head);
    net_answer_header(request, "Access-Control-Max-Age", "600");
    net_answer_header(request, "Vary", "Origin, Access-Control-Request-Headers");
    net_answer(request, 204, NULL, NULL, 0);
    return true;
}

static bool changes_something(const struct service_call *call)
{
    return !net_part_is(call->head->method, "GET") && !net_part_is(call->head->method, "HEAD");
}

static bool check_origin(struct service_call *call)
{
    struct net_part origin = net_head_find(call->head, "origin");
    char text[256];
    if (!origin.bytes) {
        return true;
    }
    if (!service_origin_is_good(call->service, call->head)) {
        if (changes_something(call) || call->head->upgrade) {
            service_refuse(call, 403, "origin",
                           "a page of %.*s may not do that; cors.origins says which may",
                           (int)origin.size, origin.bytes);
            return false;
        }
        return true; // the browser keeps the answer from the page
    }
    if (origin.size < sizeof text && is_listed(call->service, origin)) {
        (void)snprintf(text, sizeof text, "%.*s", (int)origin.size, origin.bytes);
        service_header(call, "Access-Control-Allow-Origin", text);
        service_header(call, "Access-Control-Expose-Headers", "ETag, Link, Retry-After");
        service_header(call, "Vary", "Origin");
    }
    return true;
}

// ---- names --------------------------------------------------------------------------------------

// The host of "host:port" or "[address]:port".
static bool host_of(char out[256], struct net_part host)
{
    size_t size = host.size;
    const char *from = host.bytes;
    if (size > 0 && *from == '[') {
        const char *end = memchr(from, ']', size);
        size = end ? (size_t)(end - from) - 1 : 0;
        from++;
    } else {
        const char *colon = memchr(from, ':', size);
        size = colon ? (size_t)(colon - from) : size;
    }
    if (size == 0 || size >= 256) {
        return false;
    }
    memcpy(out, from, size);
    out[size] = 0;
    return true;
}

static bool is_address(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static bool is_host_of_origins(const struct service *service, const char *host)
{
    const struct service_list *origins = service->config ? &service->config->cors_origins : NULL;
    for (size_t i = 0; origins && i < origins->count; i++) {
        char listed[256];
        struct net_part origin = { origins->items[i], strlen(origins->items[i]) };
        if (host_of(listed, authority_of(origin)) && strcasecmp(listed, host) == 0) {
            return true;
        }
    }
    return false;
}

static bool check_host(struct service_call *call)
{
    char host[256];
    struct net_part header = net_head_find(call->head, "host");
    if (!header.bytes) {
        return true; // HTTP/1.0: no browser
    }
    if (host_of(host, header) && (is_address(host) || strcasecmp(host, "localhost") == 0 ||
                                  is_host_of_origins(call->service, host))) {
        return true;
    }
    service_refuse(call, 403, "host",
                   "this service has no tokens, and is asked for by a name that is not listed: use "
                   "its address or localhost, or list http://%.*s in cors.origins",
                   (int)header.size, header.bytes);
    return false;
}

// ---- who ----------------------------------------------------------------------------------------

static bool refuse_token(struct service_call *call, const char *challenge, const char *sentence)
{
    service_header(call, "WWW-Authenticate", challenge);
    service_refuse(call, 401, "unauthorized", "%s", sentence);
    return false;
}

static bool check_token(struct service_call *call)
{
    char text[512];
    struct net_part header = net_head_find(call->head, "authorization");
    if (header.size >= sizeof text) {
        return refuse_token(call, "Bearer error=\"invalid_token\"", "no token is that long");
    }
    if (header.size > 0) {
        memcpy(text, header.bytes, header.size);
    }
    text[header.size] = 0;
    switch (auth_find(&call->identity, call->service->auth, header.bytes ? text : NULL)) {
    case AUTH_FOUND:
        return true;
    case AUTH_MISSING:
        return refuse_token(call, "Bearer",
                            "a token is needed: send Authorization: Bearer and the token");
    default:
        return refuse_token(call, "Bearer error=\"invalid_token\"",
                            "the token is not known here, or not any more");
    }
}

bool service_guard(struct service_call *call)
{
    if (!check_origin(call)) {
        return false;
    }
    if (!call->service->auth) {
        return true;
    }
    bool tokens = call->service->config && call->service->config->auth_tokens.count > 0;
    if (!tokens && !(call->service->config && call->service->config->insecure) &&
        !check_host(call)) {
        return false;
    }
    if (call->route->right == SERVICE_ANYBODY) {
        return true;
    }
    if (!check_token(call)) {
        return false;
    }
    if (call->route->right == SERVICE_CHANGE && !auth_is_admin(call->identity)) {
        service_refuse(call, 403, "forbidden", "the token %s may not do that: it takes admin",
                       auth_name(call->identity));
        return false;
    }
    return true;
}

// ---- types --------------------------------------------------------------------------------------

bool service_may_read(const struct service_call *call, const char *type)
{
    return !call->identity || auth_may_read(call->identity, type);
}

bool service_may_publish(struct service_call *call, const struct peal_message *messages,
                         size_t count)
{
    for (size_t i = 0; i < count && call->identity; i++) {
        if (!auth_may_publish(call->identity, messages[i].type)) {
            service_refuse(call, 403, "forbidden", "the token %s may not publish %s",
                           auth_name(call->identity), messages[i].type);
            return false;
        }
    }
    return true;
}
