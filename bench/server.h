// SPDX-License-Identifier: MIT
//
// Peers that are servers: each measurement starts one of its own, and stops it.
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <sys/types.h>

// A port of the loopback interface nobody listens at.
int bench_server_port(void);
// Starts a program that dies with this process; `arguments` begin with its path and end with NULL.
pid_t bench_server_start(const char *const *arguments);
void bench_server_stop(pid_t pid);
// Between attempts to reach one that has just been started: dies after 10 s of them, or when the
// server has ended.
void bench_server_wait(pid_t pid, unsigned attempt);

#endif
