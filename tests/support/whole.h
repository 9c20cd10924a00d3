// SPDX-License-Identifier: MIT
//
// The whole of an event and of a log, for tests that ask whether it is still the same later:
//
//     peal_publish(bus, &whole_message, NULL);       // every attribute there is
//     whole_log(bus, before, sizeof before);
//     ...                                            // another process, a restart, an archive
//     whole_log(bus, after, sizeof after);
//     assert_string_equal(before, after);
#ifndef PEAL_TESTS_WHOLE_H
#define PEAL_TESTS_WHOLE_H

#include <peal/log.h>

static const struct peal_pair whole_metadata[] = { { "tenant", "7" }, { "empty", "" } };

static const struct peal_message whole_message = {
    .type = "order.created",
    .data = "{\"n\":1}",
    .size = 7,
    .content_type = "application/x-order",
    .subject = "order 1",
    .key = "customer 7",
    .correlation = "corr",
    .causation = "cause",
    .id = "my id",
    .source = "/elsewhere",
    .schema = "urn:order:1",
    .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    .tracestate = "a=b",
    .metadata = whole_metadata,
    .metadata_count = 2,
    .time_ns = 1234567890123456789,
    .priority = PEAL_PRIORITY(9),
};

// All events of a bus as JSON, one a line. Returns the length; that there is no room fails the
// test.
static inline size_t whole_log(peal_bus *bus, char *out, size_t size)
{
    peal_reader *reader;
    const peal_event *event;
    size_t length = 0;
    assert_int_equal(peal_reader_open(&reader, bus, NULL), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        length += peal_event_to_json(event, out + length, size - length);
        assert_true(length + 2 < size);
        out[length++] = '\n';
    }
    out[length] = '\0';
    peal_reader_close(reader);
    return length;
}

#endif
