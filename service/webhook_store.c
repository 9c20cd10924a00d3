// SPDX-License-Identifier: MIT
//
// The file webhooks.json, by jansson. Reading is strict: json_unpack with "!" refuses members that
// nobody knows.
#include "service/webhook_store.h"

#include "base/error.h"
#include "service/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION 1

static const char *const starts[] = { "now", "beginning", "position", "time" };

// ---- writing ------------------------------------------------------------------------------------

static json_t *secrets_json(const struct service_plan *plan)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < plan->secret_count; i++) {
        char text[SERVICE_SECRET_TEXT];
        service_secret_print(text, &plan->secrets[i]);
        json_t *one = json_pack("{s:s, s:I}", "secret", text, "until_ms",
                                (json_int_t)plan->secrets[i].until_ms);
        service_secret_wipe(text, sizeof text);
        if (!one || json_array_append_new(list, one)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *headers_json(const struct service_plan *plan)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < plan->header_count; i++) {
        json_t *one =
            json_pack("{s:s, s:s}", "name", plan->headers[i].name, "value", plan->headers[i].value);
        if (!one || json_array_append_new(list, one)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *retry_json(const struct peal_retry *retry)
{
    return json_pack("{s:i, s:I, s:f, s:I, s:i, s:b, s:I, s:b, s:s*}", "immediate",
                     (int)retry->immediate, "initial_ms", (json_int_t)retry->initial_ms,
                     "coefficient", retry->coefficient, "max_ms", (json_int_t)retry->max_ms,
                     "max_attempts", (int)retry->max_attempts, "unlimited", retry->unlimited,
                     "max_elapsed_ms", (json_int_t)retry->max_elapsed_ms, "no_jitter",
                     retry->no_jitter, "non_retryable", retry->non_retryable);
}

// The o of json_pack takes the reference, also when it fails, and fails for NULL.
static json_t *plan_json(const struct service_plan *plan)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:i, s:o, s:s, s:I, s:I, s:b}", "name",
                     plan->name, "pattern", plan->pattern, "label", plan->label, "url", plan->url,
                     "secrets", secrets_json(plan), "headers", headers_json(plan), "timeout_ms",
                     (json_int_t)plan->timeout_ms, "concurrency", (int)plan->concurrency, "retry",
                     retry_json(&plan->retry), "from", starts[plan->from], "position",
                     (json_int_t)plan->from_position, "time_ns", (json_int_t)plan->from_time_ns,
                     "disabled", plan->disabled);
}

// *Given*: free. NULL: no memory, or a text that is no UTF-8.
static char *print(struct service_plan *const *plans, size_t count)
{
    json_t *list = json_array();
    bool whole = list != NULL;
    for (size_t i = 0; whole && i < count; i++) {
        whole = json_array_append_new(list, plan_json(plans[i])) == 0;
    }
    json_t *root = json_pack("{s:i, s:o}", "version", VERSION, "webhooks", list);
    char *text = whole && root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    return text;
}

enum peal_err service_store_write(const char *directory, struct service_plan *const *plans,
                                  size_t count)
{
    char *text = print(plans, count);
    if (!text) {
        return pl_fail(PEAL_EINVAL, "a webhook was not kept: a text of it is no UTF-8, or there is "
                                    "no memory");
    }
    bool kept = service_keep(directory, SERVICE_WEBHOOK_FILE, text, strlen(text));
    int failure = errno;
    service_secret_wipe(text, strlen(text));
    free(text);
    return kept ? PEAL_OK
                : pl_fail(PEAL_EIO, "%s/" SERVICE_WEBHOOK_FILE " could not be written: %s",
                          directory, strerrordesc_np(failure));
}

// ---- reading ------------------------------------------------------------------------------------

static bool read_secrets(struct service_plan *plan, json_t *list)
{
    size_t index;
    json_t *one;
    if (json_array_size(list) == 0 || json_array_size(list) > SERVICE_SECRETS_MAX) {
        return false;
    }
    json_array_foreach(list, index, one)
    {
        const char *text;
        json_int_t until;
        if (json_unpack(one, "{s:s, s:I !}", "secret", &text, "until_ms", &until) ||
            service_secret_parse(&plan->secrets[index], text)) {
            return false;
        }
        plan->secrets[index].until_ms = until;
        plan->secret_count = index + 1;
    }
    return true;
}

// Into an array of SERVICE_WEBHOOK_HEADERS_MAX; *borrowed* from the list.
static bool read_headers(struct service_header *out, json_t *list)
{
    size_t index;
    json_t *one;
    if (!json_is_array(list) || json_array_size(list) > SERVICE_WEBHOOK_HEADERS_MAX) {
        return false;
    }
    json_array_foreach(list, index, one)
    {
        if (json_unpack(one, "{s:s, s:s !}", "name", &out[index].name, "value",
                        &out[index].value)) {
            return false;
        }
    }
    return true;
}

static bool read_retry(struct peal_retry *out, json_t *from)
{
    json_int_t initial, max, elapsed;
    int immediate, attempts, unlimited, no_jitter;
    const char *reasons = NULL;
    if (json_unpack(from, "{s:i, s:I, s:F, s:I, s:i, s:b, s:I, s:b, s?s !}", "immediate",
                    &immediate, "initial_ms", &initial, "coefficient", &out->coefficient, "max_ms",
                    &max, "max_attempts", &attempts, "unlimited", &unlimited, "max_elapsed_ms",
                    &elapsed, "no_jitter", &no_jitter, "non_retryable", &reasons)) {
        return false;
    }
    out->immediate = (unsigned)immediate;
    out->initial_ms = (uint64_t)initial;
    out->max_ms = (uint64_t)max;
    out->max_attempts = (unsigned)attempts;
    out->unlimited = unlimited;
    out->max_elapsed_ms = (uint64_t)elapsed;
    out->no_jitter = no_jitter;
    out->non_retryable = reasons;
    return true;
}

static bool read_start(struct service_webhook_options *out, const char *text)
{
    for (unsigned i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        if (strcmp(text, starts[i]) == 0) {
            out->from = (enum peal_start)i;
            return true;
        }
    }
    return false;
}

// PEAL_ECORRUPT, PEAL_ENOMEM.
static enum peal_err read_plan(struct service_plan **out, json_t *from)
{
    struct service_webhook_options options = { 0 };
    struct service_header headers[SERVICE_WEBHOOK_HEADERS_MAX];
    json_t *secrets, *list, *retry;
    json_int_t timeout, position, time;
    const char *start;
    int concurrency, disabled;
    if (json_unpack(from, "{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:i, s:o, s:s, s:I, s:I, s:b !}",
                    "name", &options.name, "pattern", &options.pattern, "label", &options.label,
                    "url", &options.url, "secrets", &secrets, "headers", &list, "timeout_ms",
                    &timeout, "concurrency", &concurrency, "retry", &retry, "from", &start,
                    "position", &position, "time_ns", &time, "disabled", &disabled) ||
        !read_headers(headers, list) || !read_retry(&options.retry, retry) ||
        !read_start(&options, start)) {
        return PEAL_ECORRUPT;
    }
    options.headers = headers;
    options.header_count = json_array_size(list);
    options.timeout_ms = (uint64_t)timeout;
    options.concurrency = (unsigned)concurrency;
    options.from_position = (uint64_t)position;
    options.from_time_ns = time;
    struct service_plan *plan;
    enum peal_err err = service_plan_create(&plan, &options);
    if (err) {
        return err == PEAL_ENOMEM ? err : PEAL_ECORRUPT;
    }
    plan->disabled = disabled;
    if (!read_secrets(plan, secrets)) {
        service_plan_unref(plan);
        return PEAL_ECORRUPT;
    }
    *out = plan;
    return PEAL_OK;
}

static enum peal_err damaged(const char *directory, const char *why)
{
    return pl_fail(PEAL_ECORRUPT,
                   "%s/" SERVICE_WEBHOOK_FILE " %s; put it aside, or mend it, and start again",
                   directory, why);
}

static enum peal_err read_plans(struct service_plan ***out, size_t *out_count, json_t *root,
                                const char *directory)
{
    int version = 0;
    json_t *list = NULL;
    if (json_unpack(root, "{s:i, s:o !}", "version", &version, "webhooks", &list) ||
        version != VERSION || !json_is_array(list)) {
        return damaged(directory, "is of no version we know");
    }
    size_t count = json_array_size(list), read = 0;
    struct service_plan **plans = calloc(count + 1, sizeof(struct service_plan *));
    if (!plans) {
        return pl_fail(PEAL_ENOMEM, "no memory for webhooks");
    }
    enum peal_err err = PEAL_OK;
    while (read < count && !err) {
        err = read_plan(&plans[read], json_array_get(list, read));
        read += !err;
    }
    if (err) {
        for (size_t i = 0; i < read; i++) {
            service_plan_unref(plans[i]);
        }
        free(plans);
        return err == PEAL_ENOMEM ? pl_fail(err, "no memory for webhooks")
                                  : damaged(directory, "has a webhook that cannot be read");
    }
    *out = plans;
    *out_count = count;
    return PEAL_OK;
}

// The whole file, ended by a zero byte; *given*: free. NULL: errno says why; 0: it is too long.
static char *read_text(const char *path, size_t *out_size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (file < 0) {
        return NULL;
    }
    bool fits = fstat(file, &about) == 0 && about.st_size <= SERVICE_WEBHOOK_FILE_MAX;
    char *text = fits ? calloc(1, (size_t)about.st_size + 1) : NULL;
    size_t size = 0;
    ssize_t some = 1;
    while (text && some > 0 && size < (size_t)about.st_size) {
        some = read(file, text + size, (size_t)about.st_size - size);
        size += some > 0 ? (size_t)some : 0;
    }
    int failure = fits ? errno : 0;
    (void)close(file); // it was read only
    if (some < 0) {
        free(text);
        text = NULL;
    }
    errno = failure;
    *out_size = size;
    return text;
}

enum peal_err service_store_read(struct service_plan ***out, size_t *out_count,
                                 const char *directory)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/" SERVICE_WEBHOOK_FILE, directory) >= sizeof path) {
        return pl_fail(PEAL_EINVAL, "the path of the directory of webhooks is too long");
    }
    size_t size = 0;
    char *text = read_text(path, &size);
    if (!text && errno == ENOENT) {
        struct service_plan **none = calloc(1, sizeof(struct service_plan *));
        if (!none) {
            return pl_fail(PEAL_ENOMEM, "no memory for webhooks");
        }
        *out = none;
        *out_count = 0;
        return PEAL_OK;
    }
    if (!text && errno == ENOMEM) {
        return pl_fail(PEAL_ENOMEM, "no memory to read %s", path);
    }
    if (!text) {
        return pl_fail(PEAL_EIO, "%s could not be read: %s", path,
                       errno ? strerrordesc_np(errno) : "it is too long");
    }
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    service_secret_wipe(text, size);
    free(text);
    enum peal_err err =
        root ? read_plans(out, out_count, root, directory) : damaged(directory, "is no JSON");
    json_decref(root);
    return err;
}
