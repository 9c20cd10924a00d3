// SPDX-License-Identifier: MIT
//
// What this process takes of the machine, as Linux counts it in /proc.
#ifndef SERVICE_METRICS_PROCESS_H
#define SERVICE_METRICS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct service_process {
    double cpu_seconds;   // of all threads, in user and kernel mode
    double start_seconds; // since the epoch
    uint64_t memory_bytes, address_bytes;
    uint64_t descriptors, descriptors_max;
    uint64_t threads;
};

// False: /proc is not there, or not as it should be; `out` is untouched.
bool service_process_read(struct service_process *out);

// The same of a file like /proc/<pid>/stat and one like /proc/stat, as text. False: they are not.
bool service_process_parse(struct service_process *out, const char *stat, const char *machine);

#endif
