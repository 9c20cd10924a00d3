// SPDX-License-Identifier: MIT
//
// Webhooks: events of a bus are sent to URLs.
//
//     bus ─► durable subscription ─► queue ─► one thread, libcurl ─► POST, signed ─► a receiver
//                  ▲                            resolved, checked                       │
//                  └── done, retry, dead letter ◄── settled ◄── 2xx, 503, 404 ... ◄─────┘
//
// A webhook is a durable subscription of the bus: its place in the log, its retries and its dead
// letters are those of any other. Its handler hands the event to a thread that sends it as
// CloudEvents JSON, signed as Standard Webhooks has it (`webhook-id`, `webhook-timestamp`,
// `webhook-signature`), and settles it by the answer:
//
//     2xx                        done
//     410                        the webhook is disabled: paused until somebody resumes it
//     408, 425, 429, 5xx         retry; Retry-After holds back the whole webhook
//     other 4xx                  a dead letter, with the reason http_404 and what the answer said
//     3xx                        retry: http_redirect. It is never followed
//     no answer                  retry: timeout, connect, dns, tls, address, cut
//
// Events of one key arrive in the order of the log, one at a time; of different keys several at a
// time. At least once: a receiver knows one it had by `webhook-id`, which is the event's id (its
// bytes outside [A-Za-z0-9_~:@+/=-] written as %2E).
//
// A receiver's host is resolved, its addresses are checked (address.h), and a checked one is
// connected to; no proxy is asked, nothing of the environment counts.
//
// Definitions are kept in webhooks.json of a directory, beside the log, and subscribed again when
// the service starts. Secrets and the values of headers are in that file (mode 0600) and on their
// way to the receiver; no answer, error or log has them, but the call that makes a secret.
//
// Threads: any function may be called by any, but open, stop and close by one. Calls that change
// something write a file and may wait for the disk.
#ifndef SERVICE_WEBHOOK_H
#define SERVICE_WEBHOOK_H

#include <peal/bus.h>

#include "service/webhook_secret.h"

struct service_webhooks;
struct service_lookup_result;

// ---- limits -------------------------------------------------------------------------------------

#define SERVICE_WEBHOOKS_MAX        1000    // webhooks, unless the options say otherwise
#define SERVICE_WEBHOOK_NAME_MAX    128     // bytes of a name
#define SERVICE_WEBHOOK_URL_MAX     2048    // bytes of a URL
#define SERVICE_WEBHOOK_HEADERS_MAX 16      // headers of a user
#define SERVICE_WEBHOOK_HEADER_NAME 64      // bytes of the name of one
#define SERVICE_WEBHOOK_HEADER_MAX  1024    // bytes of the value of one
#define SERVICE_WEBHOOK_AT_A_TIME   64      // most requests of one webhook at a time
#define SERVICE_WEBHOOK_WAITING     256     // events of one webhook that are not done with
#define SERVICE_WEBHOOK_ANSWER_MAX  65536   // bytes of an answer that are read
#define SERVICE_WEBHOOK_TEXT_MAX    200     // of them that a dead letter tells
#define SERVICE_WEBHOOK_LATER_MAX   3600000 // most that Retry-After holds back, ms
#define SERVICE_WEBHOOK_TIMEOUT_MAX 600000  // most a receiver may be given to answer, ms

// ---- opening and closing ------------------------------------------------------------------------

// Finds the addresses of a host, or fails: on a thread of its own, and may take as long as it
// likes. The usual one asks the system.
typedef bool service_lookup_function(struct service_lookup_result *out, const char *host,
                                     void *context);

// Zero is the default everywhere.
struct service_webhooks_options {
    const char *directory;    // where webhooks.json is; NULL: nothing is kept. *Copied*
    const char *const *allow; // see service_allow_create; *copied*
    size_t allow_count;
    unsigned concurrency; // requests of all webhooks at a time; default 64
    unsigned webhooks_max;
    uint64_t connect_ms;  // to resolve, and again to connect; default 5,000
    uint64_t timeout_ms;  // for all of a request; default 15,000
    uint64_t resolved_ms; // how long a checked address is used again; default 30,000
    const char *ca_file;  // whom to trust, PEM; default: whom the system does. *Copied*
    service_lookup_function *lookup;
    void *lookup_context;   // borrowed until closed, and longer by a lookup that still runs then
    peal_log_callback *log; // told what a person should know
    void *log_context;
};

// Reads webhooks.json and subscribes what it has. One that cannot be subscribed is reported to the
// log callback, and kept: it is listed as paused, with what was wrong as its last error. *Given*:
// service_webhooks_close, before the bus. PEAL_EINVAL, PEAL_ENOMEM; PEAL_EIO, PEAL_ECORRUPT: the
// file cannot be read, or is not what we wrote.
enum peal_err service_webhooks_open(struct service_webhooks **out, peal_bus *bus,
                                    const struct service_webhooks_options *options);

// Sends nothing more, waits for what is under way for at most `deadline_ms`, gives back the rest,
// and unsubscribes; it goes on there when it is opened again. Returns how many requests were cut
// off. Every other call is PEAL_ECLOSED then, but list, read and close.
unsigned service_webhooks_stop(struct service_webhooks *webhooks, uint64_t deadline_ms);
void service_webhooks_close(struct service_webhooks *webhooks); // stops at once; NULL is fine

// What may be reached from now on; addresses that were checked are checked again. PEAL_EINVAL,
// PEAL_ELIMIT, PEAL_ENOMEM: the list is as it was.
enum peal_err service_webhooks_allow(struct service_webhooks *webhooks, const char *const *allow,
                                     size_t count);

// ---- definitions --------------------------------------------------------------------------------

struct service_header {
    const char *name, *value;
};

struct service_webhook_options {
    const char *name; // of the subscription
    const char *pattern;
    const char *label;  // NULL: none
    const char *url;    // http or https, without user and password
    const char *secret; // "whsec_..."; NULL: one is made
    // Sent with each message: no hop-by-hop header, none that we write ourselves.
    const struct service_header *headers;
    size_t header_count;
    uint64_t timeout_ms;  // for all of a request; default: that of all webhooks
    uint64_t concurrency; // requests at a time; default 8
    struct peal_retry retry;
    enum peal_start from;
    uint64_t from_position;
    int64_t from_time_ns;
};

// Makes a webhook, which begins at once. `out_secret` (may be NULL if one was given) is its secret,
// which nobody is told again. PEAL_EINVAL, PEAL_EPATTERN, PEAL_ELIMIT, PEAL_EEXISTS (the name, of a
// webhook or any durable subscription), PEAL_ECLOSED, PEAL_ENOMEM, PEAL_EIO.
enum peal_err service_webhook_create(char out_secret[SERVICE_SECRET_TEXT],
                                     struct service_webhooks *webhooks,
                                     const struct service_webhook_options *options);

// Changes what is given; NULL and 0 leave it as it is. All of it or, on failure, nothing. Messages
// on their way are not changed.
struct service_webhook_change {
    const char *url;
    const struct service_header *headers; // in the place of all; not NULL and none: no header
    size_t header_count;
    uint64_t timeout_ms, concurrency;
    bool rotate;          // another secret: the ones before sign as well for `keep_old_ms` more
    const char *secret;   // of `rotate`; NULL: one is made
    uint64_t keep_old_ms; // of `rotate`
    char *out_secret;     // of `rotate`, SERVICE_SECRET_TEXT bytes; may be NULL if one was given
};
// PEAL_EINVAL, PEAL_ENOTFOUND, PEAL_ECLOSED, PEAL_ENOMEM, PEAL_EIO; PEAL_ELIMIT: also if
// SERVICE_SECRETS_MAX are valid.
enum peal_err service_webhook_change(struct service_webhooks *webhooks, const char *name,
                                     const struct service_webhook_change *wanted);

// A change of nothing but the secret.
enum peal_err service_webhook_rotate(char out_secret[SERVICE_SECRET_TEXT],
                                     struct service_webhooks *webhooks, const char *name,
                                     const char *secret, uint64_t keep_ms);

// Pausing gives back what waits to be sent; resuming one that is disabled enables it.
enum peal_err service_webhook_pause(struct service_webhooks *webhooks, const char *name);
enum peal_err service_webhook_resume(struct service_webhooks *webhooks, const char *name);

// Its place in the log is forgotten; its dead letters stay. What is under way is cut off. Of one
// that could not be subscribed the name is left as it is: somebody else may have it.
enum peal_err service_webhook_delete(struct service_webhooks *webhooks, const char *name);

// ---- watching -----------------------------------------------------------------------------------

// Why a request failed; service_webhook_reason_name has the names.
enum service_webhook_reason {
    SERVICE_FAILED_REDIRECT = 0, // 3xx
    SERVICE_FAILED_REFUSED,      // 4xx that are not below
    SERVICE_FAILED_GONE,         // 410
    SERVICE_FAILED_BUSY,         // 408, 425, 429
    SERVICE_FAILED_SERVER,       // 5xx
    SERVICE_FAILED_TIMEOUT,
    SERVICE_FAILED_DNS,     // the host has no address, or nobody said in time
    SERVICE_FAILED_ADDRESS, // it has none that may be reached
    SERVICE_FAILED_CONNECT,
    SERVICE_FAILED_TLS,  // it is not who it should be
    SERVICE_FAILED_CUT,  // the connection broke, or what came is no HTTP
    SERVICE_FAILED_OURS, // no memory
    SERVICE_FAILED_REASONS
};
const char *service_webhook_reason_name(enum service_webhook_reason reason); // "redirect", ...

struct service_webhook_info {
    const char *name, *pattern, *label, *url; // borrowed as long as the list
    const char *const *header_names;
    size_t header_count;
    size_t secrets; // valid now
    uint64_t timeout_ms;
    unsigned concurrency;
    bool paused;
    bool disabled; // by a 410, and not resumed since

    unsigned under_way; // requests
    unsigned waiting;   // events that wait to be sent
    uint64_t sent;      // requests, whatever came of them
    uint64_t done;      // answered with 2xx
    uint64_t failed[SERVICE_FAILED_REASONS];
    struct peal_histogram time;               // of requests that were answered
    int64_t last_success_ns, last_failure_ns; // since the epoch; 0: never
    char last_error[320];                     // "" : none since it was opened
};

struct service_webhook_list {
    struct service_webhook_info *webhooks; // by name
    size_t count;
    void *owner;
};

// All, or one (`name` not NULL; PEAL_ENOTFOUND). *Given*: service_webhook_list_finish. PEAL_ENOMEM.
enum peal_err service_webhook_list(struct service_webhook_list *out,
                                   struct service_webhooks *webhooks, const char *name);
void service_webhook_list_finish(struct service_webhook_list *list);

// Is there a webhook of that name? For who has the name of a subscription.
bool service_webhook_exists(struct service_webhooks *webhooks, const char *name);

#endif
