// SPDX-License-Identifier: MIT
//
// Plans: checking what somebody wants, and copying it. URLs are read by libcurl, as it will read
// them when it sends: what was checked is what is meant.
#include "service/webhook_plan.h"

#include "base/error.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONCURRENCY_DEFAULT 8

// ---- urls ---------------------------------------------------------------------------------------

static enum peal_err bad_url(const char *why)
{
    return pl_fail(PEAL_EINVAL,
                   "the URL of a webhook %s; write https://host/path, without user and password",
                   why);
}

// A part of a URL: *given* to the caller, free. NULL: it has none, or there is no memory.
static char *part(CURLU *url, CURLUPart which, unsigned flags)
{
    char *text = NULL;
    if (curl_url_get(url, which, &text, flags) != CURLUE_OK) {
        return NULL;
    }
    char *copy = strdup(text);
    curl_free(text);
    return copy;
}

static enum peal_err read_host(struct service_plan *plan, CURLU *url)
{
    char *host = part(url, CURLUPART_HOST, 0);
    if (!host) {
        return bad_url("has no host");
    }
    size_t length = strlen(host);
    if (host[0] == '[' && host[length - 1] == ']') {
        memmove(host, host + 1, length - 2);
        host[length - 2] = 0;
    }
    plan->host = host;
    plan->numeric = service_ip_parse(&plan->ip, host);
    if (!plan->numeric && strchr(host, ':')) {
        return bad_url("has an address that cannot be read");
    }
    return PEAL_OK;
}

static enum peal_err read_parts(struct service_plan *plan, CURLU *url)
{
    char *zone = part(url, CURLUPART_ZONEID, 0);
    char *scheme = part(url, CURLUPART_SCHEME, 0);
    char *port = part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    plan->url = part(url, CURLUPART_URL, 0);
    bool known = scheme && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    bool whole = port && plan->url;
    bool zoned = zone != NULL;
    plan->port = port ? (uint16_t)strtoul(port, NULL, 10) : 0;
    free(zone);
    free(scheme);
    free(port);
    if (!known) {
        return bad_url("is neither http nor https");
    }
    if (zoned) {
        return bad_url("has a zone, which means nothing elsewhere");
    }
    return whole ? read_host(plan, url) : pl_fail(PEAL_ENOMEM, "no memory for a webhook");
}

static enum peal_err read_url(struct service_plan *plan, const char *text)
{
    if (!text || !text[0]) {
        return bad_url("is missing");
    }
    if (strlen(text) > SERVICE_WEBHOOK_URL_MAX) {
        return pl_fail(PEAL_ELIMIT, "the URL of a webhook has more than %d bytes",
                       SERVICE_WEBHOOK_URL_MAX);
    }
    for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++) {
        if (*byte <= ' ' || *byte > '~') {
            return bad_url("has a byte that no URL has");
        }
    }
    CURLU *url = curl_url();
    if (!url) {
        return pl_fail(PEAL_ENOMEM, "no memory for a webhook");
    }
    CURLUcode code = curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER);
    enum peal_err err = PEAL_OK;
    if (code == CURLUE_USER_NOT_ALLOWED) {
        err = bad_url("has a user or password in it");
    } else if (code != CURLUE_OK) {
        err = bad_url("cannot be read");
    } else {
        err = read_parts(plan, url);
    }
    curl_url_cleanup(url);
    return err;
}

// ---- headers ------------------------------------------------------------------------------------

// What belongs to the connection, or is written by us or libcurl.
static const char *const ours[] = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "content-type",
    "expect",
    "content-encoding",
    "accept-encoding",
    "http2-settings",
};

static bool is_ours(const char *name)
{
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strcasecmp(name, ours[i]) == 0) {
            return true;
        }
    }
    return strncasecmp(name, "webhook-", 8) == 0;
}

static bool is_header_name(const char *name)
{
    static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "!#$%&'*+-.^_`|~";
    size_t length = name ? strlen(name) : 0;
    return length > 0 && length <= SERVICE_WEBHOOK_HEADER_NAME && strspn(name, token) == length;
}

// Visible ASCII, spaces and tabs within, and something at all: libcurl would leave an empty one
// out.
static bool is_header_value(const char *value)
{
    size_t length = value ? strlen(value) : 0;
    if (length == 0 || length > SERVICE_WEBHOOK_HEADER_MAX || strchr(" \t", value[0]) ||
        strchr(" \t", value[length - 1])) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)value[i];
        if ((byte < ' ' && byte != '\t') || byte > '~') {
            return false;
        }
    }
    return true;
}

static enum peal_err check_header(const struct service_header *headers, size_t index)
{
    const struct service_header *header = &headers[index];
    if (!is_header_name(header->name)) {
        return pl_fail(PEAL_EINVAL,
                       "header %zu of a webhook: its name is no token of at most %d bytes",
                       index + 1, SERVICE_WEBHOOK_HEADER_NAME);
    }
    if (is_ours(header->name)) {
        return pl_fail(PEAL_EINVAL,
                       "the header %s of a webhook is not a user's to set; leave it out",
                       header->name);
    }
    for (size_t i = 0; i < index; i++) {
        if (strcasecmp(headers[i].name, header->name) == 0) {
            return pl_fail(PEAL_EINVAL, "the header %s of a webhook is there twice", header->name);
        }
    }
    if (!is_header_value(header->value)) {
        return pl_fail(
            PEAL_EINVAL,
            "the header %s of a webhook: its value is to be 1 to %d bytes of visible ASCII, "
            "with spaces only between",
            header->name, SERVICE_WEBHOOK_HEADER_MAX);
    }
    return PEAL_OK;
}

static enum peal_err read_headers(struct service_plan *plan, const struct service_header *headers,
                                  size_t count)
{
    if (count > SERVICE_WEBHOOK_HEADERS_MAX) {
        return pl_fail(PEAL_ELIMIT, "a webhook has at most %d headers, not %zu",
                       SERVICE_WEBHOOK_HEADERS_MAX, count);
    }
    for (size_t i = 0; i < count; i++) {
        enum peal_err err = check_header(headers, i);
        if (err) {
            return err;
        }
    }
    plan->headers = calloc(count + 1, sizeof plan->headers[0]);
    bool whole = plan->headers != NULL;
    for (size_t i = 0; whole && i < count; i++) {
        plan->headers[i].name = strdup(headers[i].name);
        plan->headers[i].value = strdup(headers[i].value);
        plan->header_count++;
        whole = plan->headers[i].name && plan->headers[i].value;
    }
    return whole ? PEAL_OK : pl_fail(PEAL_ENOMEM, "no memory for the headers of a webhook");
}

// ---- the rest -----------------------------------------------------------------------------------

static enum peal_err read_names(struct service_plan *plan,
                                const struct service_webhook_options *options)
{
    if (!options->name || !options->name[0] || !options->pattern) {
        return pl_fail(PEAL_EINVAL, "a webhook needs a name and a pattern");
    }
    if (strlen(options->name) > SERVICE_WEBHOOK_NAME_MAX) {
        return pl_fail(PEAL_ELIMIT, "the name of a webhook has more than %d bytes",
                       SERVICE_WEBHOOK_NAME_MAX);
    }
    plan->name = strdup(options->name);
    plan->pattern = strdup(options->pattern);
    plan->label = strdup(options->label ? options->label : "");
    return plan->name && plan->pattern && plan->label
               ? PEAL_OK
               : pl_fail(PEAL_ENOMEM, "no memory for a webhook");
}

static enum peal_err read_numbers(struct service_plan *plan,
                                  const struct service_webhook_options *options)
{
    if (options->timeout_ms > SERVICE_WEBHOOK_TIMEOUT_MAX) {
        return pl_fail(PEAL_ELIMIT, "a receiver of webhooks has at most %d ms to answer",
                       SERVICE_WEBHOOK_TIMEOUT_MAX);
    }
    if (options->concurrency > SERVICE_WEBHOOK_AT_A_TIME) {
        return pl_fail(PEAL_ELIMIT, "a webhook sends at most %d events at a time",
                       SERVICE_WEBHOOK_AT_A_TIME);
    }
    plan->timeout_ms = options->timeout_ms;
    plan->concurrency = options->concurrency ? (unsigned)options->concurrency : CONCURRENCY_DEFAULT;
    plan->from = options->from;
    plan->from_position = options->from_position;
    plan->from_time_ns = options->from_time_ns;
    plan->retry = options->retry;
    plan->retry.non_retryable = NULL;
    if (options->retry.non_retryable) {
        plan->retry.non_retryable = strdup(options->retry.non_retryable);
        if (!plan->retry.non_retryable) {
            return pl_fail(PEAL_ENOMEM, "no memory for a webhook");
        }
    }
    return PEAL_OK;
}

static enum peal_err read_secret(struct service_plan *plan, const char *secret)
{
    if (!secret) {
        return PEAL_OK;
    }
    plan->secret_count = 1;
    return service_secret_parse(&plan->secrets[0], secret);
}

static void plan_free(struct service_plan *plan)
{
    for (size_t i = 0; i < plan->header_count; i++) {
        free((char *)plan->headers[i].name);
        free((char *)plan->headers[i].value);
    }
    free(plan->headers);
    free((char *)plan->retry.non_retryable);
    free(plan->host);
    free(plan->url);
    free(plan->label);
    free(plan->pattern);
    free(plan->name);
    service_secret_wipe(plan, sizeof *plan);
    free(plan);
}

enum peal_err service_plan_create(struct service_plan **out,
                                  const struct service_webhook_options *options)
{
    struct service_plan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        return pl_fail(PEAL_ENOMEM, "no memory for a webhook");
    }
    atomic_init(&plan->holders, 1);
    enum peal_err err = read_names(plan, options);
    if (!err) {
        err = read_url(plan, options->url);
    }
    if (!err) {
        err = read_headers(plan, options->headers, options->header_count);
    }
    if (!err) {
        err = read_numbers(plan, options);
    }
    if (!err) {
        err = read_secret(plan, options->secret);
    }
    if (err) {
        plan_free(plan);
        return err;
    }
    *out = plan;
    return PEAL_OK;
}

struct service_webhook_options service_plan_options(const struct service_plan *plan)
{
    return (struct service_webhook_options){
        .name = plan->name,
        .pattern = plan->pattern,
        .label = plan->label[0] ? plan->label : NULL,
        .url = plan->url,
        .headers = plan->headers,
        .header_count = plan->header_count,
        .timeout_ms = plan->timeout_ms,
        .concurrency = plan->concurrency,
        .retry = plan->retry,
        .from = plan->from,
        .from_position = plan->from_position,
        .from_time_ns = plan->from_time_ns,
    };
}

enum peal_err service_plan_copy(struct service_plan **out, const struct service_plan *plan)
{
    struct service_webhook_options options = service_plan_options(plan);
    enum peal_err err = service_plan_create(out, &options);
    if (!err) {
        memcpy((*out)->secrets, plan->secrets, sizeof plan->secrets);
        (*out)->secret_count = plan->secret_count;
        (*out)->disabled = plan->disabled;
    }
    return err;
}

struct service_plan *service_plan_ref(struct service_plan *plan)
{
    // Relaxed: who makes a reference has one already.
    atomic_fetch_add_explicit(&plan->holders, 1, memory_order_relaxed);
    return plan;
}

void service_plan_unref(struct service_plan *plan)
{
    // Release and acquire: all that others have read of it comes before it is freed.
    if (plan && atomic_fetch_sub_explicit(&plan->holders, 1, memory_order_acq_rel) == 1) {
        plan_free(plan);
    }
}
