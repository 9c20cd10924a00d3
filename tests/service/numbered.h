// SPDX-License-Identifier: MIT
//
// Numbered: events of type a, each of which says in its data which it is, and who listens to them.
// Include cmocka.h first.
//
//     numbered_listen(&reader, "/v1/stream?type=a", "");
//     numbered_publish(&publisher, 1, 100, 0);
//     numbered_expect(&reader, 1, 100);            // all of them, each once, in order
#ifndef PEAL_TESTS_NUMBERED_H
#define PEAL_TESTS_NUMBERED_H

#include <stdio.h>
#include <stdlib.h>

#include "support/client.h"

// So many, from `first` on, in one request. Each has `filler` bytes more.
static inline void numbered_publish(struct client *publisher, size_t first, size_t count,
                                    size_t filler)
{
    size_t room = count * (filler + 160) + 1, used = 0;
    char *lines = malloc(room);
    assert_non_null(lines);
    for (size_t i = first; i < first + count; i++) {
        used += (size_t)snprintf(lines + used, room - used,
                                 "{\"specversion\":\"1.0\",\"source\":\"/t\",\"id\":\"%zu\","
                                 "\"type\":\"a\",\"data\":\"#%zu#%0*d\"}\n",
                                 i, i, (int)filler, 0);
    }
    assert_int_equal(client_ask(publisher, "POST", "/v1/events",
                                "Content-Type: application/x-ndjson\r\n", lines),
                     200);
    assert_int_equal(json_number(publisher->body, "published"), count);
    free(lines);
}

// Follows a stream on a client that is open; `headers` are lines.
static inline void numbered_listen(struct client *to, const char *path, const char *headers)
{
    client_say(to, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path, headers);
    client_head(to);
    assert_int_equal(to->status, 200);
    (void)client_until(to, ":\n\n\r\n");
}

static inline void numbered_expect(struct client *from, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        char wanted[40];
        (void)snprintf(wanted, sizeof wanted, "%zu#", i);
        (void)client_until(from, "\"#"); // what stands before it
        assert_string_equal(client_until(from, "#"), wanted);
    }
}

#endif
