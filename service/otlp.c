// SPDX-License-Identifier: MIT
//
// Spans are copied into blocks of one allocation each and lined up under a lock; the thread takes a
// batch of them out, writes it as JSON without the lock, and sends it until it is taken or given
// up.
//
// What must stay true: every span that came is counted once, as exported, dropped or queued.
#include "service/otlp.h"

#include "service/otlp_json.h"
#include "service/otlp_send.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

enum {
    QUEUE_MAX = 8192,
    BATCH_MAX = 512,
    DELAY_MS = 1000,
    TIMEOUT_MS = 10000,
    RETRY_MS = 1000,
    RETRY_MAX_MS = 30000,
    ATTEMPTS_MAX = 6,
    RETRY_AFTER_MAX_MS = 300000, // a collector that asks for more is asked again after this
    SAY_EVERY_MS = 60000,
};

// A span and what it points to, in one block.
struct waiting {
    struct waiting *next;
    struct peal_span span;
    struct peal_span_context links[];
};

struct service_otlp {
    struct service_otlp_options options; // with every default filled in
    char *service_name, *instance;
    struct service_otlp_sender *sender;
    pthread_t thread;

    pthread_mutex_t lock; // of all below
    pthread_cond_t changed;
    struct waiting *first, **last;
    size_t count, sending;
    int64_t since; // when the first came
    bool closing;
    int64_t closes_at; // by then, if it is closing
    uint64_t exported, dropped, failures;

    _Atomic int64_t deadline; // of the request; written with the lock
    int64_t said;             // the thread's own
    uint64_t chance;          // the same
};

// ---- spans come ---------------------------------------------------------------------------------

static const char *put_string(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    const char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

// NULL without memory.
static struct waiting *copy_span(const struct peal_span *span)
{
    const char *const texts[] = { span->tracestate, span->type,         span->id,   span->subject,
                                  span->key,        span->subscription, span->code, span->text };
    size_t size = sizeof(struct waiting) + span->link_count * sizeof span->links[0];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size += strlen(texts[i]) + 1;
    }
    struct waiting *copy = malloc(size);
    if (!copy) {
        return NULL;
    }
    copy->next = NULL;
    copy->span = *span;
    if (span->link_count > 0) {
        memcpy(copy->links, span->links, span->link_count * sizeof span->links[0]);
    }
    copy->span.links = copy->links;
    char *at = (char *)(copy->links + span->link_count);
    copy->span.tracestate = put_string(&at, span->tracestate);
    copy->span.type = put_string(&at, span->type);
    copy->span.id = put_string(&at, span->id);
    copy->span.subject = put_string(&at, span->subject);
    copy->span.key = put_string(&at, span->key);
    copy->span.subscription = put_string(&at, span->subscription);
    copy->span.code = put_string(&at, span->code);
    copy->span.text = put_string(&at, span->text);
    return copy;
}

void service_otlp_span(const struct peal_span *span, void *context)
{
    struct service_otlp *otlp = context;
    struct waiting *copy = copy_span(span);
    (void)pthread_mutex_lock(&otlp->lock);
    bool full = otlp->count + otlp->sending >= otlp->options.queue_max;
    if (!copy || full || otlp->closing) {
        otlp->dropped++;
    } else {
        *otlp->last = copy;
        otlp->last = &copy->next;
        otlp->count++;
        otlp->since = otlp->count == 1 ? service_otlp_now() : otlp->since;
        if (otlp->count == 1 || otlp->count == otlp->options.batch_max) {
            (void)pthread_cond_signal(&otlp->changed);
        }
        copy = NULL;
    }
    (void)pthread_mutex_unlock(&otlp->lock);
    free(copy);
}

void service_otlp_counts(struct service_otlp *otlp, struct service_otlp_counts *out)
{
    (void)pthread_mutex_lock(&otlp->lock);
    *out = (struct service_otlp_counts){ .exported = otlp->exported,
                                         .dropped = otlp->dropped,
                                         .failures = otlp->failures,
                                         .queued = otlp->count + otlp->sending };
    (void)pthread_mutex_unlock(&otlp->lock);
}

// ---- the thread waits ---------------------------------------------------------------------------

// Until somebody says that something has changed, or until then, in ms of the monotonic clock. With
// the lock.
static void wait_until(struct service_otlp *otlp, int64_t until)
{
    struct timespec time = { .tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000 };
    (void)pthread_cond_timedwait(&otlp->changed, &otlp->lock, &time); // who waits looks again
}

// The next batch; NULL: it is closing, and there is none.
static struct waiting *take_batch(struct service_otlp *otlp)
{
    (void)pthread_mutex_lock(&otlp->lock);
    while (!otlp->closing && otlp->count < otlp->options.batch_max) {
        int64_t due = otlp->since + (int64_t)otlp->options.delay_ms;
        if (otlp->count == 0) {
            (void)pthread_cond_wait(&otlp->changed, &otlp->lock);
        } else if (service_otlp_now() >= due) {
            break;
        } else {
            wait_until(otlp, due);
        }
    }
    struct waiting *batch = otlp->first, **end = &batch;
    while (*end && otlp->sending < otlp->options.batch_max) {
        end = &(*end)->next;
        otlp->sending++;
    }
    otlp->first = *end;
    *end = NULL;
    otlp->last = otlp->first ? otlp->last : &otlp->first;
    otlp->count -= otlp->sending;
    otlp->since = service_otlp_now(); // of those that stay: at least since now
    (void)pthread_mutex_unlock(&otlp->lock);
    return batch;
}

// Between 3/4 and all of it, so that many who were refused at once do not come back at once.
static uint64_t jittered(struct service_otlp *otlp, uint64_t ms)
{
    otlp->chance = otlp->chance * 6364136223846793005U + 1442695040888963407U; // Knuth's MMIX
    return ms - (otlp->chance >> 33) % (ms / 4 + 1);
}

static uint64_t backoff(struct service_otlp *otlp, unsigned attempt, uint64_t asked_ms)
{
    uint64_t ms = otlp->options.retry_ms;
    for (unsigned i = 1; i < attempt && ms < otlp->options.retry_max_ms; i++) {
        ms *= 2;
    }
    ms = jittered(otlp, ms < otlp->options.retry_max_ms ? ms : otlp->options.retry_max_ms);
    asked_ms = asked_ms < RETRY_AFTER_MAX_MS ? asked_ms : RETRY_AFTER_MAX_MS;
    return ms > asked_ms ? ms : asked_ms;
}

// Waits before the next attempt. Who closes waits for no backoff that ends too late: there is one
// more attempt, at once. False: it is closing, and that is over.
static bool wait_to_retry(struct service_otlp *otlp, uint64_t ms)
{
    int64_t until = service_otlp_now() + (int64_t)ms;
    (void)pthread_mutex_lock(&otlp->lock);
    while (service_otlp_now() < until) {
        if (otlp->closing && until >= otlp->closes_at) {
            break;
        }
        wait_until(otlp, until);
    }
    bool in_time = !otlp->closing || service_otlp_now() < otlp->closes_at;
    (void)pthread_mutex_unlock(&otlp->lock);
    return in_time;
}

// ---- the thread sends ---------------------------------------------------------------------------

static void say(struct service_otlp *otlp, const char *what,
                const struct service_otlp_answer *answer)
{
    int64_t now = service_otlp_now();
    if (!otlp->options.log || (otlp->said && now - otlp->said < SAY_EVERY_MS)) {
        return;
    }
    otlp->said = now;
    char line[320];
    (void)snprintf(line, sizeof line, "traces: the collector %s: %s", what, answer->text);
    otlp->options.log(PEAL_LEVEL_WARNING, line, otlp->options.log_context);
}

// A request has as long as an option says, and no longer than closing has.
static void set_deadline(struct service_otlp *otlp)
{
    int64_t until = service_otlp_now() + (int64_t)otlp->options.timeout_ms;
    (void)pthread_mutex_lock(&otlp->lock);
    until = otlp->closing && otlp->closes_at < until ? otlp->closes_at : until;
    atomic_store_explicit(&otlp->deadline, until, memory_order_relaxed);
    (void)pthread_mutex_unlock(&otlp->lock);
}

// Sends until it is taken, or given up; how many spans were not taken.
static uint64_t send_all(struct service_otlp *otlp, const struct net_text *body, uint64_t spans)
{
    for (unsigned attempt = 1;; attempt++) {
        struct service_otlp_answer answer;
        set_deadline(otlp);
        service_otlp_sender_post(otlp->sender, body->bytes, body->size, &otlp->deadline, &answer);
        if (answer.result == SERVICE_OTLP_TAKEN) {
            if (answer.rejected > 0) {
                say(otlp, "did not want all spans", &answer);
            }
            return answer.rejected < spans ? answer.rejected : spans;
        }
        (void)pthread_mutex_lock(&otlp->lock);
        otlp->failures++;
        (void)pthread_mutex_unlock(&otlp->lock);
        say(otlp, answer.result == SERVICE_OTLP_AGAIN ? "cannot be reached" : "refuses spans",
            &answer);
        if (answer.result == SERVICE_OTLP_REFUSED || attempt >= otlp->options.attempts_max ||
            !wait_to_retry(otlp, backoff(otlp, attempt, answer.retry_after_ms))) {
            return spans;
        }
    }
}

// Writes a batch, which it frees.
static uint64_t write_batch(struct service_otlp *otlp, struct net_text *body, struct waiting *batch)
{
    const struct service_otlp_resource resource = { otlp->service_name, otlp->instance };
    uint64_t spans = 0;
    service_otlp_json_begin(body, &resource);
    while (batch) {
        struct waiting *next = batch->next;
        service_otlp_json_span(body, &batch->span);
        spans++;
        free(batch);
        batch = next;
    }
    service_otlp_json_end(body);
    return spans;
}

static void *run(void *context)
{
    struct service_otlp *otlp = context;
    struct waiting *batch;
    while ((batch = take_batch(otlp)) != NULL) {
        struct net_text body = { 0 };
        uint64_t spans = write_batch(otlp, &body, batch);
        uint64_t lost = body.failed ? spans : send_all(otlp, &body, spans);
        net_text_finish(&body);
        (void)pthread_mutex_lock(&otlp->lock);
        otlp->exported += spans - lost;
        otlp->dropped += lost;
        otlp->sending = 0;
        (void)pthread_mutex_unlock(&otlp->lock);
    }
    return NULL;
}

// ---- life ---------------------------------------------------------------------------------------

static void fill_in_defaults(struct service_otlp_options *options)
{
    options->service_name = options->service_name ? options->service_name : "peal";
    options->queue_max = options->queue_max ? options->queue_max : QUEUE_MAX;
    options->batch_max = options->batch_max ? options->batch_max : BATCH_MAX;
    options->batch_max =
        options->batch_max < options->queue_max ? options->batch_max : options->queue_max;
    options->delay_ms = options->delay_ms ? options->delay_ms : DELAY_MS;
    options->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS;
    options->retry_ms = options->retry_ms ? options->retry_ms : RETRY_MS;
    options->retry_max_ms = options->retry_max_ms ? options->retry_max_ms : RETRY_MAX_MS;
    options->attempts_max = options->attempts_max ? options->attempts_max : ATTEMPTS_MAX;
}

static char *own_instance(const char *given)
{
    char host[64] = "", text[96];
    if (given) {
        return strdup(given);
    }
    (void)gethostname(host, sizeof host - 1); // a long name is cut
    (void)snprintf(text, sizeof text, "%s/%ld", host, (long)getpid());
    return strdup(text);
}

// Signals are for the program's own threads; above all SIGPIPE, of a connection that has gone.
static int start_thread(struct service_otlp *otlp)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&otlp->thread, NULL, run, otlp);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

static void init_lock(struct service_otlp *otlp)
{
    pthread_condattr_t monotonic;
    (void)pthread_mutex_init(&otlp->lock, NULL); // cannot fail with glibc, nor do those below
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&otlp->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

static void free_otlp(struct service_otlp *otlp)
{
    service_otlp_sender_close(otlp->sender);
    (void)pthread_cond_destroy(&otlp->changed);
    (void)pthread_mutex_destroy(&otlp->lock);
    free(otlp->service_name);
    free(otlp->instance);
    free(otlp);
    curl_global_cleanup();
}

enum peal_err service_otlp_open(struct service_otlp **out,
                                const struct service_otlp_options *options, char out_error[160])
{
    (void)snprintf(out_error, 160, "there is no memory");
    if (curl_global_init(CURL_GLOBAL_DEFAULT)) {
        return PEAL_ENOMEM;
    }
    struct service_otlp *otlp = calloc(1, sizeof *otlp);
    if (!otlp) {
        curl_global_cleanup();
        return PEAL_ENOMEM;
    }
    init_lock(otlp);
    otlp->options = *options;
    fill_in_defaults(&otlp->options);
    otlp->last = &otlp->first;
    otlp->chance = (uint64_t)service_otlp_now() ^ (uint64_t)getpid() << 32;
    otlp->service_name = strdup(otlp->options.service_name);
    otlp->instance = own_instance(options->service_instance);
    enum peal_err err = otlp->service_name && otlp->instance ? PEAL_OK : PEAL_ENOMEM;
    err = err ? err
              : service_otlp_sender_open(&otlp->sender, options->url, options->headers, out_error);
    if (!err && start_thread(otlp)) {
        (void)snprintf(out_error, 160, "no thread can be started");
        err = PEAL_EIO;
    }
    if (err) {
        free_otlp(otlp);
        return err;
    }
    *out = otlp;
    return PEAL_OK;
}

bool service_otlp_close(struct service_otlp *otlp, uint64_t deadline_ms)
{
    if (!otlp) {
        return true;
    }
    int64_t deadline =
        service_otlp_now() + (int64_t)(deadline_ms < INT32_MAX ? deadline_ms : INT32_MAX);
    (void)pthread_mutex_lock(&otlp->lock);
    uint64_t before = otlp->dropped;
    otlp->closing = true;
    otlp->closes_at = deadline;
    if (deadline < atomic_load_explicit(&otlp->deadline, memory_order_relaxed)) {
        atomic_store_explicit(&otlp->deadline, deadline, memory_order_relaxed);
    }
    (void)pthread_cond_signal(&otlp->changed);
    (void)pthread_mutex_unlock(&otlp->lock);
    service_otlp_sender_wake(otlp->sender);
    (void)pthread_join(otlp->thread, NULL);
    bool all = otlp->dropped == before;
    free_otlp(otlp);
    return all;
}
