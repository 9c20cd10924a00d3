// SPDX-License-Identifier: MIT
//
// Hooked: a bus with real threads, webhooks, and a receiver on loopback, which is allowed. Include
// cmocka.h first.
//
//     struct hooked hooked;
//     hooked_open(&hooked, answer, context);
//     hooked_create(&hooked, "sale", "order.*", NULL);
//     hooked_say(&hooked, "order.created", "k", "1");
//     receiver_wait(&hooked.receiver, 1);
//     hooked_close(&hooked);
#ifndef PEAL_TESTS_HOOKED_H
#define PEAL_TESTS_HOOKED_H

#include <peal/deadletter.h>
#include <poll.h>

#include "service/receiver.h"
#include "service/webhook.h"
#include "support/folder.h"

struct hooked {
    struct folder folder;
    struct receiver receiver;
    peal_bus *bus;
    struct service_webhooks *webhooks;
    struct service_webhooks_options options;
    char secret[SERVICE_SECRET_TEXT]; // of the one made last
    char url[200];
    pthread_mutex_t lock;
    char said[1 << 16]; // what was told to the log callback, a line each
};

static inline void hooked_hear(enum peal_level level, const char *text, void *context)
{
    struct hooked *hooked = context;
    (void)level;
    pthread_mutex_lock(&hooked->lock);
    size_t used = strlen(hooked->said);
    (void)snprintf(hooked->said + used, sizeof hooked->said - used, "%s\n", text);
    pthread_mutex_unlock(&hooked->lock);
}

static inline bool hooked_was_said(struct hooked *hooked, const char *text)
{
    pthread_mutex_lock(&hooked->lock);
    bool said = strstr(hooked->said, text) != NULL;
    pthread_mutex_unlock(&hooked->lock);
    return said;
}

static inline void hooked_start(struct hooked *hooked)
{
    struct peal_bus_options options = { .workers = 2, .log = hooked_hear, .log_context = hooked };
    enum peal_err err = peal_bus_open(&hooked->bus, hooked->folder.url, &options);
    assert_string_equal(err ? peal_error_sentence() : "", "");
    err = service_webhooks_open(&hooked->webhooks, hooked->bus, &hooked->options);
    assert_string_equal(err ? peal_error_sentence() : "", "");
}

static inline void hooked_end(struct hooked *hooked)
{
    service_webhooks_close(hooked->webhooks);
    peal_bus_close(hooked->bus);
}

// Everything but the bus and the webhooks, so that the options can be changed before.
static inline void hooked_prepare(struct hooked *hooked, receiver_answer *answer, void *context)
{
    static const char *const allow[] = { "127.0.0.0/8" };
    *hooked = (struct hooked){ 0 };
    pthread_mutex_init(&hooked->lock, NULL);
    folder_open(&hooked->folder, "");
    receiver_open(&hooked->receiver, answer, context);
    hooked->options = (struct service_webhooks_options){
        .directory = hooked->folder.path,
        .allow = allow,
        .allow_count = 1,
        .log = hooked_hear,
        .log_context = hooked,
    };
    (void)snprintf(hooked->url, sizeof hooked->url, "http://127.0.0.1:%u/hook",
                   hooked->receiver.port);
}

static inline void hooked_open(struct hooked *hooked, receiver_answer *answer, void *context)
{
    hooked_prepare(hooked, answer, context);
    hooked_start(hooked);
}

static inline void hooked_finish(struct hooked *hooked)
{
    receiver_close(&hooked->receiver);
    folder_close(&hooked->folder);
    pthread_mutex_destroy(&hooked->lock);
}

static inline void hooked_close(struct hooked *hooked)
{
    hooked_end(hooked);
    hooked_finish(hooked);
}

// `more` NULL, or what else than name, pattern, URL and quick retries.
static inline void hooked_create(struct hooked *hooked, const char *name, const char *pattern,
                                 const struct service_webhook_options *more)
{
    struct service_webhook_options options = more ? *more : (struct service_webhook_options){ 0 };
    options.name = name;
    options.pattern = pattern;
    options.url = options.url ? options.url : hooked->url;
    if (options.retry.initial_ms == 0) {
        options.retry.initial_ms = 1;
    }
    enum peal_err err = service_webhook_create(hooked->secret, hooked->webhooks, &options);
    assert_string_equal(err ? peal_error_sentence() : "", "");
}

static inline void hooked_say(struct hooked *hooked, const char *type, const char *key,
                              const char *data)
{
    const struct peal_message message = {
        .type = type, .key = key, .data = data, .size = strlen(data)
    };
    assert_int_equal(peal_publish(hooked->bus, &message, NULL), PEAL_OK);
}

static inline struct service_webhook_info hooked_look(struct hooked *hooked, const char *name)
{
    struct service_webhook_list list;
    assert_int_equal(service_webhook_list(&list, hooked->webhooks, name), PEAL_OK);
    assert_int_equal(list.count, 1);
    struct service_webhook_info info = list.webhooks[0];
    service_webhook_list_finish(&list);
    info.name = info.pattern = info.label = info.url = NULL; // were the list's
    info.header_names = NULL;
    return info;
}

// What is counted becomes so, in a while: looks again until it is, or nobody can wait any longer.
typedef bool hooked_question(struct hooked *hooked, uint64_t number);

static inline void hooked_until(struct hooked *hooked, hooked_question *question, uint64_t number)
{
    for (int turn = 0; turn < RECEIVER_PATIENCE_S * 1000; turn++) {
        if (question(hooked, number)) {
            return;
        }
        (void)poll(NULL, 0, 1); // somebody else's turn
    }
    fail_msg("it does not become %llu", (unsigned long long)number);
}

static inline bool hooked_has_dead(struct hooked *hooked, uint64_t number)
{
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, hooked->bus), PEAL_OK);
    return stats.dead_letters == number;
}

static inline bool hooked_has_delivered(struct hooked *hooked, uint64_t number)
{
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, hooked->bus), PEAL_OK);
    return stats.delivered == number;
}

// The reason and the text of the only dead letter, "reason: text", and its attempts.
static inline unsigned hooked_dead(struct hooked *hooked, char *out, size_t size)
{
    struct peal_dead_list list;
    hooked_until(hooked, hooked_has_dead, 1);
    assert_int_equal(peal_dead_list(&list, hooked->bus, NULL), PEAL_OK);
    assert_int_equal(list.count, 1);
    (void)snprintf(out, size, "%s: %s", list.letters[0].reason, list.letters[0].text);
    unsigned attempts = list.letters[0].attempts;
    peal_dead_list_finish(&list);
    return attempts;
}

#endif
