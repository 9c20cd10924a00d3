// SPDX-License-Identifier: MIT
//
// Events of the service: what publishes them, and what several calls share of that.
#ifndef SERVICE_EVENTS_H
#define SERVICE_EVENTS_H

#include "service/call.h"

#include "net/ingest.h"

// ---- a message from the head of a request (head.c) ----------------------------------------------

// A message and the texts it points to, in one block of memory.
struct service_message {
    struct peal_message message;
    struct peal_pair pairs[PEAL_METADATA_MAX];
    char texts[];
};

// Is there a header `ce-specversion`? Then the event is in the binary mode.
bool service_is_binary(const struct net_head *head);

// Attributes from the headers `ce-...` (CloudEvents HTTP binding 1.0.2, section 3.1.3) and from the
// parameters of the query; the type from `type` (or NULL: it must be among the headers). *Given*:
// free. NULL: the call has failed.
struct service_message *service_message_of(struct service_call *call, const char *type);

// ---- publishing (publish.c) ---------------------------------------------------------------------

// Publishes, waiting for memory if it has to and `patient`. PEAL_EAGAIN: it would have to wait.
enum peal_err service_publish(struct service *service, const struct peal_message *messages,
                              size_t count, struct peal_receipt *receipts, bool patient);
// Is data of this content type JSON?
bool service_is_json(const char *content_type);
// Does it wait for a disk?
bool service_waits(const struct service_call *call);
// {"id": ..., "position": ...}
void service_put_receipt(struct net_text *text, const struct peal_receipt *receipt,
                         int64_t deliver_at_ns);

// Reads all CloudEvents of a JSON text: one, or an array. *out_messages is *given* (free), what
// they point to is the ingest's. False: the call has failed.
bool service_read_events(struct service_call *call, struct ingest *ingest,
                         struct peal_message **out_messages, size_t *out_count);

// The calls:
void service_post_events(struct service_call *call);
void service_post_event(struct service_call *call);
void service_post_lines(struct service_call *call); // lines.c: NDJSON, as it comes
void service_get_events(struct service_call *call);
void service_get_event(struct service_call *call);
void service_get_trace(struct service_call *call);
void service_get_stream(struct service_call *call);
void service_post_stream(struct service_call *call);
void service_get_live(struct service_call *call); // live.c: SSE
void service_get_types(struct service_call *call);
void service_list_subscriptions(struct service_call *call);
void service_get_subscription(struct service_call *call);
void service_create_subscription(struct service_call *call);
void service_change_webhook(struct service_call *call);
void service_delete_subscription(struct service_call *call);
void service_pause_subscription(struct service_call *call);
void service_resume_subscription(struct service_call *call);
void service_seek_subscription(struct service_call *call);
void service_pull(struct service_call *call);
void service_settle(struct service_call *call);
void service_list_dead(struct service_call *call);
void service_count_dead(struct service_call *call);
void service_get_dead(struct service_call *call);
void service_retry_dead(struct service_call *call);
void service_retry_dead_one(struct service_call *call);
void service_edit_dead(struct service_call *call);
void service_discard_dead(struct service_call *call);
void service_discard_dead_one(struct service_call *call);
void service_list_schedule(struct service_call *call);
void service_cancel_schedule(struct service_call *call);
void service_get_stats(struct service_call *call);
void service_get_metrics(struct service_call *call); // metrics_call.c
void service_get_health(struct service_call *call);
void service_get_ready(struct service_call *call);
void service_get_dashboard(struct service_call *call);

#endif
