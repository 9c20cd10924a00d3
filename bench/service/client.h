// SPDX-License-Identifier: MIT
//
// What the measurements of the service share: a service of their own, and a client of HTTP and
// WebSocket that costs as little as one can.
//
//     service_start ─► port ─► client_open ─► client_send, client_answer ─► client_close
//                        └───► client_live ─► client_count: events as they come
//
// The service is the program `peal` of this build, in a process of its own, with a log in files and
// everything as it is by default. A client is a socket that blocks; what it does not look at is not
// copied. Whatever goes wrong ends the measurement.
#ifndef BENCH_SERVICE_CLIENT_H
#define BENCH_SERVICE_CLIENT_H

#include "bench.h"
#include "program.h"

#include <sys/types.h>

struct service_process {
    pid_t pid;
    int port;
    char folder[256]; // its log, removed at the end
    const char *log;  // *borrowed*: a log that stays, instead of that; NULL
    uint64_t begun;   // when it was started (bench_now_ns)
};

void service_begin(const struct bench_sizes *sizes); // a folder for all of them
void service_end(void);                              // removes it
uint64_t service_count(uint64_t count);              // less if the run is a quick one
uint64_t service_large(void);                        // events of the large log
void service_start(struct service_process *out);
void service_start_on(struct service_process *out, const char *log); // *borrowed* while it runs
void service_stop(struct service_process *process);
// A new folder for a measurement, removed after the last one.
void service_folder(char *out, size_t room, const char *name);
const char *service_place(void); // the folder for all of them

struct client {
    int socket;
    char *bytes; // that came and were not looked at
    size_t from, to;
    bool frames;   // a WebSocket; else Server-Sent Events
    uint64_t left; // of a frame: bytes that are still to come
};

enum { CLIENT_ROOM = 1 << 18 };

bool client_can_open(int port); // does anybody listen?
void client_open(struct client *client, int port);
void client_close(struct client *client);
void client_send(const struct client *client, const void *bytes, size_t size);
// Reads one answer with a length; its status.
int client_answer(struct client *client);
// Reads what comes next, behind what is there; waits for it.
void client_receive(struct client *client);
// Opens a stream: a WebSocket or Server-Sent Events.
void client_live(struct client *client, int port, const char *query, bool frames);
// Reads once; how many events were begun in what came.
size_t client_count(struct client *client);

// Publishes so many events by NDJSON over one connection, and waits for the answer.
void client_publish(int port, uint64_t count);

#define CLIENT_DATA                                                                                \
    "{\"epoch\":5,\"loss\":0.28471,\"note\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"      \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}" // 128 bytes

extern const struct bench_measurement bench_service_live[];
extern const struct bench_measurement bench_service_start[];
extern const struct bench_measurement bench_service_crowd[];
extern const struct bench_measurement bench_service_publish[];
extern const struct bench_measurement bench_service_floor[];
extern const struct bench_measurement bench_service_v1[];
extern const struct bench_measurement bench_service_nats[];
extern const struct bench_measurement bench_service_redis[];
extern const struct bench_measurement bench_service_mosquitto[];

#endif
