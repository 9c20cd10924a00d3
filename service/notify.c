// SPDX-License-Identifier: MIT
//
// Notify: a socket a message. There are few, and a socket that is kept open would have to survive
// whoever closes all it does not know.
#include "service/notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_MAX = 512 };

struct notify notify_begin(void)
{
    // NOLINTBEGIN(concurrency-mt-unsafe): nobody changes the environment
    const char *address = getenv("NOTIFY_SOCKET");
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    // NOLINTEND(concurrency-mt-unsafe)
    struct notify notify = { .socket = address };
    if (usec && (!pid || strtol(pid, NULL, 10) == getpid())) {
        notify.watchdog_ms = strtoull(usec, NULL, 10) / 2000;
    }
    return notify;
}

static bool notify_send(const struct notify *notify, const char *message)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = notify->socket ? strlen(notify->socket) : 0;
    if (length < 2 || length >= sizeof address.sun_path || !strchr("/@", notify->socket[0])) {
        return false;
    }
    memcpy(address.sun_path, notify->socket, length);
    if (address.sun_path[0] == '@') {
        address.sun_path[0] = '\0'; // an abstract name
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return false;
    }
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    ssize_t sent = sendto(fd, message, strlen(message), MSG_NOSIGNAL,
                          (const struct sockaddr *)(const void *)&address, size);
    (void)close(fd); // a datagram is sent or it is not
    return sent >= 0;
}

// What happened, and perhaps how it stands, which is one line.
static bool notify_tell(const struct notify *notify, const char *what, const char *status)
{
    char message[MESSAGE_MAX];
    size_t start = strlen(what) + 1;
    (void)snprintf(message, sizeof message, "%s\n%s%s", what, status ? "STATUS=" : "",
                   status ? status : ""); // a status that is too long is cut
    for (char *place = message + start; *place; place++) {
        if ((unsigned char)*place < ' ') {
            *place = ' ';
        }
    }
    return notify_send(notify, message);
}

bool notify_ready(const struct notify *notify, const char *status)
{
    return notify_tell(notify, "READY=1", status);
}

bool notify_reloading(const struct notify *notify)
{
    char message[64];
    struct timespec now = { 0 };
    (void)clock_gettime(CLOCK_MONOTONIC, &now); // this clock is always there
    (void)snprintf(message, sizeof message, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, // it fits
                   (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    return notify_send(notify, message);
}

bool notify_stopping(const struct notify *notify, const char *status)
{
    return notify_tell(notify, "STOPPING=1", status);
}

bool notify_status(const struct notify *notify, const char *status)
{
    return notify_tell(notify, "", status);
}

bool notify_watchdog(const struct notify *notify)
{
    return notify_send(notify, "WATCHDOG=1");
}
