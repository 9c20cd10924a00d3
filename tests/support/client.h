// SPDX-License-Identifier: MIT
//
// Client: a socket that says exactly what a test wants it to say, and reads what is answered.
//
//     struct client client;
//     client_open(&client, port);
//     client_say(&client, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
//     client_answer(&client);                  // client.status, client.head, client.body
//     client_close(&client);
//
// What does not come within ten seconds fails the test. Threads: the test's own.
#ifndef PEAL_TESTS_CLIENT_H
#define PEAL_TESTS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client {
    int socket;
    char *bytes; // what has come and was not looked at
    size_t size, room;
    bool ended; // the other side says no more

    // Of the last answer; each ends with a zero byte.
    int status;
    char *head, *body;
    size_t body_size;
};

void client_open(struct client *out, unsigned port);
// With a receive buffer of so many bytes.
void client_open_small(struct client *out, unsigned port, int buffer);
void client_close(struct client *client);

// False: the other side has closed.
bool client_send(struct client *client, const void *bytes, size_t size);
void client_say(struct client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// Says no more, and still reads.
void client_half_close(struct client *client);

// The next answer, by its length or its chunks or up to the end.
void client_answer(struct client *client);
void client_answer_to(struct client *client, const char *method); // HEAD has no body
// A head alone, for an answer that has no end.
void client_head(struct client *client);
// Reads until the text has come in a body that has no end, and returns what stands up to its end as
// a string: *borrowed* until the client reads on.
const char *client_until(struct client *client, const char *text);
// Nothing more comes, and the connection ends.
bool client_is_ended(struct client *client);
// Takes what is there without waiting; bytes that are held then.
size_t client_poll(struct client *client);

// A request with Host, and Content-Length where there is a body, and its answer. `headers` ends
// each with CR LF; both may be NULL.
int client_ask(struct client *client, const char *method, const char *path, const char *headers,
               const char *body);
// The value of a header of the last answer, or NULL; *borrowed* until the next call.
const char *client_header(struct client *client, const char *name);
// A number behind "name": in a text of JSON; fails the test if there is none.
uint64_t json_number(const char *text, const char *name);
// The text behind "name":
const char *json_text(char *out, size_t size, const char *text, const char *name);
// How often one text stands in another.
size_t count_of(const char *text, const char *part);

#endif
