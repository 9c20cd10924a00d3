// SPDX-License-Identifier: MIT
//
// The options of the service: one list, and everything that knows an option reads it.
//
// A row is
//
//     X(member, name, flag, KIND, value, usual, least, most, when, help)
//
// member   in struct service_config
// name     in the file: `limits.line_bytes` is line_bytes in the section limits. The environment
//          says PEAL_LIMITS_LINE_BYTES, which is made from this
// flag     on the command line, without its dashes: the name with dashes for dots and underscores
// KIND     what a value is (enum service_kind)
// value    what help calls it; of a CHOICE, what there is to choose from; NULL of a FLAG
// usual    its default, as it would be written; "" is not set
// least, most  of numbers; in bytes and milliseconds
// when     LIVE: a reload applies it. RESTART: the next start does
// help     half a line, no full stop
//
// Those of the section bus are those of struct peal_bus_options by their names; not set is for the
// engine to say.
#ifndef SERVICE_CONFIG_OPTIONS_H
#define SERVICE_CONFIG_OPTIONS_H

#define SERVICE_KIB 1024ULL
#define SERVICE_MIB (1024 * SERVICE_KIB)
#define SERVICE_GIB (1024 * SERVICE_MIB)
#define SERVICE_TIB (1024 * SERVICE_GIB)
#define SERVICE_S   1000ULL
#define SERVICE_H   (3600 * SERVICE_S)
#define SERVICE_D   (24 * SERVICE_H)
#define SERVICE_Y   (366 * SERVICE_D)
#define SERVICE_ANY (1ULL << 62)

// clang-format off: a row stays a row.
#define SERVICE_OPTIONS(X)                                                                         \
    X(url, "url", "url", URL, "URL", "file:./events", 0, 0, RESTART, "where the events live")      \
    X(listen, "listen", "listen", LIST, "HOST:PORT", "127.0.0.1:7325", 0, 0, RESTART,              \
      "where to listen; may be given more than once")                                              \
    X(insecure, "insecure", "insecure", FLAG, NULL, "false", 0, 0, RESTART,                        \
      "listen beyond this machine without authentication")                                         \
    X(tls_certificate, "tls.certificate", "tls-certificate", FILE, "FILE", "", 0, 0, RESTART,      \
      "the certificate and its chain, PEM")                                                        \
    X(tls_key, "tls.key", "tls-key", FILE, "FILE", "", 0, 0, RESTART,                              \
      "the certificate's private key, PEM")                                                        \
    X(tls_client_ca, "tls.client_ca", "tls-client-ca", FILE, "FILE", "", 0, 0, RESTART,            \
      "who signs clients' certificates, which are then required")                                  \
    X(auth_tokens, "auth.tokens", "", TOKENS, NULL, "", 0, 0, LIVE,                                \
      "who may publish and read what; in a file only")                                             \
    X(auth_tokens_file, "auth.tokens_file", "auth-tokens-file", FILE, "FILE", "", 0, 0, LIVE,      \
      "a file with more of auth.tokens")                                                           \
    X(cors_origins, "cors.origins", "cors-origins", LIST, "ORIGIN", "", 0, 0, LIVE,                \
      "pages of these origins may use the service")                                                \
    X(limits_line_bytes, "limits.line_bytes", "limits-line-bytes", BYTES, "SIZE", "8KiB", 256,     \
      64 * SERVICE_KIB, LIVE, "of the line a request begins with")                                 \
    X(limits_header_bytes, "limits.header_bytes", "limits-header-bytes", BYTES, "SIZE", "32KiB",   \
      SERVICE_KIB, SERVICE_MIB, LIVE, "of a request's headers together")                           \
    X(limits_body_bytes, "limits.body_bytes", "limits-body-bytes", BYTES, "SIZE", "16MiB",         \
      SERVICE_KIB, SERVICE_GIB, LIVE, "of a request's body; of NDJSON, of a line")                 \
    X(limits_json_depth, "limits.json_depth", "limits-json-depth", COUNT, "N", "64", 1, 127, LIVE, \
      "of arrays and objects inside each other")                                                   \
    X(limits_connections, "limits.connections", "limits-connections", COUNT, "N", "10000", 1,      \
      1000000, LIVE, "at once")                                                                    \
    X(limits_connections_per_address, "limits.connections_per_address",                            \
      "limits-connections-per-address", COUNT, "N", "4096", 1, 1000000, LIVE,                      \
      "at once, from one address")                                                                 \
    X(limits_send_queue_bytes, "limits.send_queue_bytes", "limits-send-queue-bytes", BYTES,        \
      "SIZE", "1MiB", 4 * SERVICE_KIB, SERVICE_GIB, LIVE, "that wait for one client to read")      \
    X(limits_request_ms, "limits.request_ms", "limits-request-ms", TIME, "TIME", "30s", 100,       \
      SERVICE_H, LIVE, "for a request to arrive, from its first byte to its last")                 \
    X(limits_idle_ms, "limits.idle_ms", "limits-idle-ms", TIME, "TIME", "2m", 100, SERVICE_D,      \
      LIVE, "between requests, and in which a reader takes nothing of its answer")                 \
    X(limits_streams, "limits.streams", "limits-streams", COUNT, "N", "5000", 0, 1000000, LIVE,    \
      "WebSocket and event streams open at once")                                                  \
    X(bus_durability, "bus.durability", "bus-durability", CHOICE, "memory|os|disk", "", 0, 0,      \
      RESTART, "how safe an event is when its publisher is answered")                              \
    X(bus_history_events, "bus.history_events", "bus-history-events", COUNT, "N", "", 0,           \
      SERVICE_ANY, RESTART, "events kept, at most")                                                \
    X(bus_history_bytes, "bus.history_bytes", "bus-history-bytes", BYTES, "SIZE", "", 0,           \
      1024 * SERVICE_TIB, RESTART, "bytes of events kept, at most")                                \
    X(bus_history_ms, "bus.history_ms", "bus-history-ms", TIME, "TIME", "", 0, 100 * SERVICE_Y,    \
      RESTART, "how long events are kept, at most")                                                \
    X(bus_forget_unread, "bus.forget_unread", "bus-forget-unread", FLAG, NULL, "false", 0, 0,      \
      RESTART, "those limits also hold for what is yet to be read")                                \
    X(bus_archive_ms, "bus.archive_ms", "bus-archive-ms", TIME, "TIME", "", 1, 100 * SERVICE_Y,    \
      RESTART, "age at which files of events are compressed")                                      \
    X(bus_duplicate_events, "bus.duplicate_events", "bus-duplicate-events", COUNT, "N", "", 0,     \
      SERVICE_ANY, RESTART, "ids remembered, to know a duplicate")                                 \
    X(bus_duplicate_ms, "bus.duplicate_ms", "bus-duplicate-ms", TIME, "TIME", "", 0,               \
      100 * SERVICE_Y, RESTART, "how long ids are remembered")                                     \
    X(bus_dead_max, "bus.dead_max", "bus-dead-max", COUNT, "N", "", 0, SERVICE_ANY, RESTART,       \
      "dead letters kept; then subscriptions pause")                                               \
    X(bus_dead_ms, "bus.dead_ms", "bus-dead-ms", TIME, "TIME", "", 1, 100 * SERVICE_Y, RESTART,    \
      "age at which dead letters are purged by default")                                           \
    X(bus_scheduled_max, "bus.scheduled_max", "bus-scheduled-max", COUNT, "N", "", 0, SERVICE_ANY, \
      RESTART, "events that wait for their time")                                                  \
    X(bus_scheduled_bytes, "bus.scheduled_bytes", "bus-scheduled-bytes", BYTES, "SIZE", "", 1,     \
      SERVICE_TIB, RESTART, "and the memory they take")                                            \
    X(bus_memory_max, "bus.memory_max", "bus-memory-max", BYTES, "SIZE", "", SERVICE_MIB,          \
      SERVICE_TIB, RESTART, "memory for events, read or not")                                      \
    X(bus_data_max, "bus.data_max", "bus-data-max", BYTES, "SIZE", "", 1, 64 * SERVICE_MIB,        \
      RESTART, "bytes of data of an event")                                                        \
    X(bus_types_max, "bus.types_max", "bus-types-max", COUNT, "N", "", 1, SERVICE_ANY, RESTART,    \
      "different types")                                                                           \
    X(bus_segment_bytes, "bus.segment_bytes", "bus-segment-bytes", BYTES, "SIZE", "",              \
      64 * SERVICE_KIB, SERVICE_GIB, RESTART, "of a file of events")                               \
    X(bus_go_on, "bus.go_on", "bus-go-on", FLAG, NULL, "false", 0, 0, RESTART,                     \
      "after a failed write, take events in a new file")                                           \
    X(bus_workers, "bus.workers", "bus-workers", COUNT, "N", "", 1, 1024, RESTART,                 \
      "threads that run handlers; default: one a CPU")                                             \
    X(webhooks_allow, "webhooks.allow", "webhooks-allow", LIST, "HOST", "", 0, 0, LIVE,            \
      "hosts webhooks may reach although they are private")                                        \
    X(webhooks_timeout_ms, "webhooks.timeout_ms", "webhooks-timeout-ms", TIME, "TIME", "15s", 100, \
      600 * SERVICE_S, LIVE, "for a webhook to answer")                                            \
    X(webhooks_concurrency, "webhooks.concurrency", "webhooks-concurrency", COUNT, "N", "16", 1,   \
      1024, RESTART, "webhooks called at once")                                                    \
    X(tracing_otlp_url, "tracing.otlp_url", "tracing-otlp-url", TEXT, "URL", "", 0, 0, RESTART,    \
      "where traces are sent, by OTLP over HTTP")                                                  \
    X(tracing_sample, "tracing.sample", "tracing-sample", SHARE, "SHARE", "1", 0, 1, RESTART,      \
      "of traces begun here, 0 to 1")                                                              \
    X(log_level, "log.level", "log-level", CHOICE, "debug|info|warning|error", "info", 0, 0, LIVE, \
      "the least that is said")                                                                    \
    X(log_format, "log.format", "log-format", CHOICE, "auto|text|json", "auto", 0, 0, RESTART,     \
      "auto: text on a terminal, else JSON lines")                                                 \
    X(drain_ms, "drain_ms", "drain-ms", TIME, "TIME", "20s", 0, SERVICE_H, LIVE,                   \
      "to finish what was begun, when stopped")                                                    \
    X(ready_lag_ms, "ready_lag_ms", "ready-lag-ms", TIME, "TIME", "0s", 0, SERVICE_Y, LIVE,        \
      "a subscription may lag before readyz is red; 0: any")                                       \
    X(dashboard, "dashboard", "dashboard", SWITCH, "on|off", "on", 0, 0, RESTART,                  \
      "serve the dashboard at /")
// clang-format on

#endif
