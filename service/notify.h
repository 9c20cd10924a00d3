// SPDX-License-Identifier: MIT
//
// Notify: what the service manager is told, so that "started" means "answers".
//
//     struct notify notify = notify_begin();       NOTIFY_SOCKET, WATCHDOG_USEC
//     notify_ready(&notify, "on 127.0.0.1:7325");
//     notify_watchdog(&notify);                    at least every notify.watchdog_ms, if that is
//     not 0 notify_reloading(&notify); ... notify_ready(&notify, "reloaded");
//     notify_stopping(&notify, "waits for 3 requests");
//
// It is the protocol of sd_notify(3): a datagram of lines to a Unix socket. Where nobody asked to
// be told nothing is sent, and a service manager that does not listen changes nothing: so every
// function says whether it was told, and nobody has to look.
//
// A status is *borrowed* for the call and may be NULL; control characters in it become spaces.
// Threads: any.
#ifndef SERVICE_NOTIFY_H
#define SERVICE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

struct notify {
    const char *socket;   // a path, or @ and an abstract name; NULL: nobody to tell. Borrowed
    uint64_t watchdog_ms; // half of what the service manager waits for a sign; 0: it does not
};

// From the environment, which is not to change meanwhile.
struct notify notify_begin(void);

bool notify_ready(const struct notify *notify, const char *status);
bool notify_reloading(const struct notify *notify); // until the next notify_ready
bool notify_stopping(const struct notify *notify, const char *status);
bool notify_status(const struct notify *notify, const char *status);
bool notify_watchdog(const struct notify *notify);

#endif
