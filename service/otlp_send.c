// SPDX-License-Identifier: MIT
//
// A multi handle with one transfer, so that another thread can wake it from its wait.
#include "service/otlp_send.h"

#include <peal/peal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>
#include <jansson.h>

enum { ANSWER_MAX = 65536, CONNECT_MS = 5000 };

struct service_otlp_sender {
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
    char *answer; // ANSWER_MAX + 1 bytes
    size_t answered;
};

int64_t service_otlp_now(void)
{
    struct timespec now = { 0 };
    (void)clock_gettime(CLOCK_MONOTONIC, &now); // this clock is always there
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// ---- opening ------------------------------------------------------------------------------------

// What is wrong with a URL, a half sentence; NULL: nothing.
static const char *fault_of_url(const char *url)
{
    char *scheme = NULL, *user = NULL;
    CURLU *parts = curl_url();
    const char *fault = NULL;
    if (!parts || !url || curl_url_set(parts, CURLUPART_URL, url, 0) ||
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0)) {
        fault = "is not a URL";
    } else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) {
        fault = "is neither http: nor https:";
    } else if (!curl_url_get(parts, CURLUPART_USER, &user, 0)) {
        fault = "has a user in it: put who you are into a header";
    }
    curl_free(scheme);
    curl_free(user);
    curl_url_cleanup(parts);
    return fault;
}

static bool is_header(const char *text)
{
    size_t name = strcspn(text, ":");
    if (name == 0 || text[name] == '\0') {
        return false;
    }
    for (const char *at = text; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool add_header(struct service_otlp_sender *sender, const char *text)
{
    struct curl_slist *longer = curl_slist_append(sender->headers, text);
    sender->headers = longer ? longer : sender->headers;
    return longer != NULL;
}

// What is beyond the limit is read and thrown away.
static size_t take_answer(char *bytes, size_t one, size_t count, void *context)
{
    struct service_otlp_sender *sender = context;
    size_t room = ANSWER_MAX - sender->answered;
    size_t taken = one * count < room ? one * count : room;
    memcpy(sender->answer + sender->answered, bytes, taken);
    sender->answered += taken;
    return one * count;
}

static bool set_up(struct service_otlp_sender *sender, const char *url)
{
    CURL *easy = sender->easy;
    return !curl_easy_setopt(easy, CURLOPT_URL, url) &&
           !curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") &&
           !curl_easy_setopt(easy, CURLOPT_PROXY, "") &&
           !curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) &&
           !curl_easy_setopt(easy, CURLOPT_POST, 1L) &&
           !curl_easy_setopt(easy, CURLOPT_HTTPHEADER, sender->headers) &&
           !curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS) &&
           !curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, sender->error) &&
           !curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer) &&
           !curl_easy_setopt(easy, CURLOPT_WRITEDATA, sender);
}

// False: there is no memory.
static bool fill_in(struct service_otlp_sender *sender, const char *url, const char *const *headers)
{
    sender->multi = curl_multi_init();
    sender->easy = curl_easy_init();
    sender->answer = malloc(ANSWER_MAX + 1);
    // No "Expect: 100-continue": a collector that does not know it costs a second a request.
    bool ok = sender->multi && sender->easy && sender->answer &&
              add_header(sender, "Content-Type: application/json") &&
              add_header(sender, "User-Agent: OTel-OTLP-Exporter-Peal/" PEAL_VERSION) &&
              add_header(sender, "Expect:");
    for (size_t i = 0; ok && headers && headers[i]; i++) {
        ok = add_header(sender, headers[i]);
    }
    return ok && set_up(sender, url);
}

// Its value is not shown: it may be a secret.
static enum peal_err check(const char *url, const char *const *headers, char out_error[160])
{
    const char *fault = fault_of_url(url);
    if (fault) {
        (void)snprintf(out_error, 160, "%.100s %s", url ? url : "(none)", fault);
        return PEAL_EINVAL;
    }
    for (size_t i = 0; headers && headers[i]; i++) {
        if (!is_header(headers[i])) {
            (void)snprintf(out_error, 160, "header %zu is not \"Name: value\" in one line", i + 1);
            return PEAL_EINVAL;
        }
    }
    return PEAL_OK;
}

enum peal_err service_otlp_sender_open(struct service_otlp_sender **out, const char *url,
                                       const char *const *headers, char out_error[160])
{
    enum peal_err err = check(url, headers, out_error);
    if (err) {
        return err;
    }
    struct service_otlp_sender *sender = calloc(1, sizeof *sender);
    if (!sender || !fill_in(sender, url, headers)) {
        (void)snprintf(out_error, 160, "there is no memory");
        service_otlp_sender_close(sender);
        return PEAL_ENOMEM;
    }
    *out = sender;
    return PEAL_OK;
}

void service_otlp_sender_close(struct service_otlp_sender *sender)
{
    if (!sender) {
        return;
    }
    curl_easy_cleanup(sender->easy);
    if (sender->multi) {
        (void)curl_multi_cleanup(sender->multi); // there is no transfer in it
    }
    curl_slist_free_all(sender->headers);
    free(sender->answer);
    free(sender);
}

// ---- a request ----------------------------------------------------------------------------------

// Runs it to its end. CURLE_OPERATION_TIMEDOUT: the deadline came first.
static CURLcode run(struct service_otlp_sender *sender, const _Atomic int64_t *deadline)
{
    for (;;) {
        int running = 0, left = 0;
        if (curl_multi_perform(sender->multi, &running)) {
            return CURLE_OUT_OF_MEMORY;
        }
        const CURLMsg *message = curl_multi_info_read(sender->multi, &left);
        if (message && message->msg == CURLMSG_DONE) {
            return message->data.result;
        }
        // Relaxed: whoever brings it nearer wakes us after.
        int64_t wait = atomic_load_explicit(deadline, memory_order_relaxed) - service_otlp_now();
        if (wait <= 0) {
            (void)snprintf(sender->error, sizeof sender->error, "no answer in time");
            return CURLE_OPERATION_TIMEDOUT;
        }
        if (curl_multi_poll(sender->multi, NULL, 0, wait < 60000 ? (int)wait : 60000, NULL)) {
            return CURLE_OUT_OF_MEMORY;
        }
    }
}

// How many spans a collector that has answered 200 did not want: partialSuccess.rejectedSpans, a
// 64-bit integer, so a string in JSON.
static uint64_t rejected_of(const struct service_otlp_sender *sender, char text[160])
{
    json_t *answer = json_loadb(sender->answer, sender->answered, 0, NULL);
    const json_t *partial = json_object_get(answer, "partialSuccess");
    const json_t *count = json_object_get(partial, "rejectedSpans");
    const char *why = json_string_value(json_object_get(partial, "errorMessage"));
    uint64_t rejected = 0;
    if (json_is_string(count)) {
        rejected = strtoull(json_string_value(count), NULL, 10);
    } else if (json_integer_value(count) > 0) {
        rejected = (uint64_t)json_integer_value(count);
    }
    if (why && *why) {
        (void)snprintf(text, 160, "%s", why); // what is longer is cut
    }
    json_decref(answer);
    return rejected;
}

static bool is_passing(long status)
{
    return status == 429 || status == 502 || status == 503 || status == 504;
}

static void judge(struct service_otlp_sender *sender, struct service_otlp_answer *out)
{
    long status = 0;
    curl_off_t after = 0;
    (void)curl_easy_getinfo(sender->easy, CURLINFO_RESPONSE_CODE, &status); // else it is 0
    (void)curl_easy_getinfo(sender->easy, CURLINFO_RETRY_AFTER, &after);
    if (status >= 200 && status < 300) {
        out->rejected = rejected_of(sender, out->text);
        return;
    }
    out->result = is_passing(status) ? SERVICE_OTLP_AGAIN : SERVICE_OTLP_REFUSED;
    out->retry_after_ms = after > 0 ? (uint64_t)after * 1000 : 0;
    size_t length = sender->answered < 100 ? sender->answered : 100;
    (void)snprintf(out->text, sizeof out->text, "%ld %.*s", status, (int)length, sender->answer);
}

void service_otlp_sender_post(struct service_otlp_sender *sender, const char *body, size_t size,
                              const _Atomic int64_t *deadline, struct service_otlp_answer *out)
{
    *out = (struct service_otlp_answer){ .result = SERVICE_OTLP_TAKEN };
    sender->answered = 0;
    sender->error[0] = '\0';
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (!curl_easy_setopt(sender->easy, CURLOPT_POSTFIELDS, body) &&
        !curl_easy_setopt(sender->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size) &&
        !curl_multi_add_handle(sender->multi, sender->easy)) {
        code = run(sender, deadline);
        (void)curl_multi_remove_handle(sender->multi, sender->easy); // it is in it
    }
    if (code) {
        out->result = SERVICE_OTLP_AGAIN;
        (void)snprintf(out->text, sizeof out->text, "%.150s",
                       sender->error[0] ? sender->error : curl_easy_strerror(code));
    } else {
        judge(sender, out);
    }
    for (char *at = out->text; *at; at++) { // it goes to a log, as one line
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f) {
            *at = '?';
        }
    }
}

void service_otlp_sender_wake(struct service_otlp_sender *sender)
{
    (void)curl_multi_wakeup(sender->multi); // at worst it waits for its deadline
}
