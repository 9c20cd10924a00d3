// SPDX-License-Identifier: MIT
//
// Run: the service as a process, from its configuration to its end.
//
//     bus ─► loop ─► tokens ─► service ─► webhooks ─► listening ─► READY ─► signals
//
//     SIGHUP             reads the configuration again, and applies what can be while it runs
//     SIGTERM, SIGINT    takes no more connections, answers what is under way (at most drain_ms),
//                        ends streams, closes the log; a second one does not wait
//
// The service manager is told of each (notify.h), people by the journal.
#ifndef SERVICE_RUN_H
#define SERVICE_RUN_H

#include "service/config.h"

struct service_run_options {
    // Reads the configuration again, with its faults; false: it cannot be read at all.
    bool (*read)(struct service_config **out, void *context);
    void *context;         // *borrowed*
    const char *port_file; // the ports, one a line, when it listens; NULL: nobody asks
    int log_fd;            // what is said goes there
    bool terminal;         // it is one
};

// Runs until it is told to stop. `config` is sound (no faults), and *taken*. Returns an exit
// status: 0, or 1 when it could not start, which it has said.
int service_run(struct service_config *config, const struct service_run_options *options);

#endif
