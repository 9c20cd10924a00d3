// SPDX-License-Identifier: MIT
//
// Messages of peal.v1 from strangers, to a session on a bus that has some events. The input is
// messages, each behind its length in two bytes. Nothing may break, every answer is to a request
// that was made, and the bus goes on. Durable names have threads of their own and are left out.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/protocol.h"
#include "service/session.h"

#define JOBS 64

struct connection {
    struct {
        void (*run)(void *job);
        void *job;
    } jobs[JOBS];
    size_t begun, count;
    uint64_t answers, requests;
};

static size_t send_message(void *context, struct service_bytes *message)
{
    struct connection *connection = context;
    struct pl_protocol_head head;
    if (!pl_protocol_head_read(&head, message->bytes, message->size) ||
        head.kind < PL_PROTOCOL_ANSWER) {
        abort();
    }
    connection->answers += head.kind == PL_PROTOCOL_ANSWER;
    service_bytes_unref(message);
    return 0;
}

static void drained(void *context)
{
    (void)context;
}

static void work(void *context, void (*run)(void *job), void *job)
{
    struct connection *connection = context;
    if (connection->count - connection->begun == JOBS) {
        abort(); // two at a time is all a session has
    }
    connection->jobs[connection->count % JOBS].run = run;
    connection->jobs[connection->count++ % JOBS].job = job;
}

static void run_jobs(struct connection *connection)
{
    while (connection->begun < connection->count) {
        size_t at = connection->begun++ % JOBS;
        connection->jobs[at].run(connection->jobs[at].job);
    }
}

static void hand_over(struct connection *connection, struct service_session *session,
                      const uint8_t *data, size_t size)
{
    while (size >= 2) {
        size_t length = (size_t)data[0] | (size_t)data[1] << 8;
        length = length < size - 2 ? length : size - 2;
        struct pl_protocol_head head;
        bool named =
            pl_protocol_head_read(&head, data + 2, length) && head.kind == PL_PROTOCOL_SUBSCRIBE;
        if (!named) {
            char *exact = malloc(length ? length : 1); // so that a look behind it is seen
            if (!exact) {
                abort();
            }
            memcpy(exact, data + 2, length);
            connection->requests +=
                service_session_receive(session, exact, length) != SERVICE_BREACH;
            free(exact);
            run_jobs(connection);
        }
        data += 2 + length;
        size -= 2 + length;
    }
}

// One bus for all inputs: opening and closing one takes longer than all else.
static peal_bus *bus;
static struct service_tail *feed;

static void open_once(void)
{
    const struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    const char *url =
        "mem:?memory_max=2M&history_bytes=512k&history_events=50&data_max=64k&pressure=reject";
    if (!bus && (peal_bus_open(&bus, url, &options) || service_tail_open(&feed, bus))) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct service_session *session;
    struct connection connection = { .count = 0 };
    open_once();
    peal_emit(bus, "a.b", "{}", 2);
    const struct service_session_config config = { .bus = bus,
                                                   .feed = feed,
                                                   .send = send_message,
                                                   .drained = drained,
                                                   .work = work,
                                                   .context = &connection };
    if (service_session_open(&session, &config)) {
        abort();
    }
    hand_over(&connection, session, data, size);
    peal_emit(bus, "a.b", "{}", 2);
    run_jobs(&connection);
    service_session_close(session);
    run_jobs(&connection);
    if (connection.answers > connection.requests) {
        abort();
    }
    return 0;
}
