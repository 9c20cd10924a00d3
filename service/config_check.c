// SPDX-License-Identifier: MIT
//
// What is wrong only when values are seen together, or with what they name.
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

#include "net/tls.h"
#include "service/address.h"
#include "service/config_inside.h"

// Where an option is from.
static const char *place_of(const struct service_config *config, const char *name)
{
    return config->origins[config_row(name, strlen(name))].place;
}

// An address that is a number can be judged now. What a name stands for is judged when it is known.
static void check_binding(struct service_config *config, const struct service_address *address,
                          const char *text)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                    .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    char why[SERVICE_SENTENCE_MAX];
    if (getaddrinfo(*address->host ? address->host : NULL, address->port, &hints, &found)) {
        return;
    }
    if (service_binding(why, config, found->ai_addr) == SERVICE_BIND_REFUSED) {
        config_fault(config, place_of(config, "listen"), "listen \"%.60s\": %s", text, why);
    }
    freeaddrinfo(found);
}

static void check_listen(struct service_config *config)
{
    const struct service_list *list = &config->listen;
    if (list->count == 0) {
        config_fault(config, place_of(config, "listen"), "listen: there is no address");
    }
    for (size_t i = 0; i < list->count; i++) {
        struct service_address address;
        if (service_address_read(&address, list->items[i])) {
            check_binding(config, &address, list->items[i]);
        } else {
            config_fault(
                config, place_of(config, "listen"),
                "listen: \"%.60s\" is no address: HOST:PORT, [IPV6]:PORT or PORT is wanted",
                list->items[i]);
        }
    }
}

static void check_file(struct service_config *config, const char *name, const char *path)
{
    char text[128];
    if (*path && access(path, R_OK)) {
        config_fault(config, place_of(config, name), "%s: %.200s: %s", name, path,
                     strerror_r(errno, text, sizeof text));
    }
}

// Whether TLS could be spoken with them: that a renewed certificate is of another key is better
// said now than at the next start.
static void check_certificate(struct service_config *config)
{
    struct ssl_ctx_st *tls = NULL;
    char error[256];
    if (!net_tls_open(&tls, config->tls_certificate, config->tls_key, config->tls_client_ca,
                      error)) {
        config_fault(config, place_of(config, "tls.certificate"), "cannot speak TLS: %s", error);
    }
    net_tls_close(tls);
}

static void check_tls(struct service_config *config)
{
    bool certificate = *config->tls_certificate, key = *config->tls_key;
    if (certificate != key) {
        const char *given = certificate ? "tls.certificate" : "tls.key";
        config_fault(config, place_of(config, given), "%s: tls.%s is wanted with it", given,
                     certificate ? "key" : "certificate");
    }
    if (*config->tls_client_ca && !certificate) {
        config_fault(config, place_of(config, "tls.client_ca"),
                     "tls.client_ca: clients show certificates over TLS only, which needs "
                     "tls.certificate and tls.key");
    }
    size_t faults = config->fault_count;
    check_file(config, "tls.certificate", config->tls_certificate);
    check_file(config, "tls.key", config->tls_key);
    check_file(config, "tls.client_ca", config->tls_client_ca);
    if (certificate && key && config->fault_count == faults) {
        check_certificate(config);
    }
}

// scheme://host[:port], and nothing behind it.
static bool is_origin(const char *text)
{
    const char *host = strstr(text, "://");
    return host && host > text && host[3] && !strpbrk(host + 3, "/?#@ ");
}

static void check_origins(struct service_config *config)
{
    const struct service_list *list = &config->cors_origins;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], "*") != 0 && !is_origin(list->items[i])) {
            config_fault(config, place_of(config, "cors.origins"),
                         "cors.origins: \"%.60s\" is no origin: https://example.com is one, "
                         "without a path",
                         list->items[i]);
        }
    }
}

static void check_allowed(struct service_config *config)
{
    const struct service_list *list = &config->webhooks_allow;
    for (size_t i = 0; i < list->count; i++) {
        const char *text = list->items[i];
        struct service_allow *allow = NULL;
        if (service_allow_create(&allow, &text, 1) == PEAL_EINVAL) {
            config_fault(config, place_of(config, "webhooks.allow"),
                         "webhooks.allow: \"%.60s\" is no host: a name, an address, or a network "
                         "such as 10.0.0.0/8 is wanted",
                         text);
        }
        service_allow_unref(allow);
    }
}

// What the library has to say of a URL and options. NULL: nothing.
static const char *bus_refusal(const char *url, const struct peal_bus_options *options)
{
    enum peal_err err = peal_bus_check(url, options);
    return err && err != PEAL_ENOMEM ? peal_error_sentence() : NULL;
}

static void check_bus(struct service_config *config)
{
    struct peal_bus_options options = { 0 };
    const char *refusal = bus_refusal(config->url, NULL);
    if (refusal) {
        config_fault(config, place_of(config, "url"), "url: %s", refusal);
    } else if (config->fault_count == 0) { // else an option of the bus may have the wrong value
        service_config_bus(&options, config);
        refusal = bus_refusal(config->url, &options);
    }
    if (refusal && config->fault_count == 0) {
        config_fault(config, place_of(config, "url"), "bus, with this url: %s", refusal);
    }
}

static void check_url(struct service_config *config)
{
    const char *otlp = config->tracing_otlp_url;
    if (!*config->url) {
        config_fault(config, place_of(config, "url"), "url: file:./events or another is wanted");
    } else if (strncmp(config->url, "noop:", 5) == 0) {
        config_fault(
            config, place_of(config, "url"),
            "url: noop: keeps no event, so there is nothing to serve: mem: or file:./events "
            "is wanted");
    } else if (strncmp(config->url, "http:", 5) == 0) {
        config_fault(config, place_of(config, "url"),
                     "url: http: is the log of another service, which serves it itself: mem: or "
                     "file:./events is wanted");
    } else {
        check_bus(config);
    }
    if (*otlp && strncmp(otlp, "http://", 7) != 0 && strncmp(otlp, "https://", 8) != 0) {
        config_fault(config, place_of(config, "tracing.otlp_url"),
                     "tracing.otlp_url: http://host:4318/v1/traces is wanted, or https");
    }
}

void config_check(struct service_config *config)
{
    config_tokens_check(config);
    check_url(config);
    check_listen(config);
    check_tls(config);
    check_origins(config);
    check_allowed(config);
}
