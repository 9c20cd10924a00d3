// SPDX-License-Identifier: MIT
//
// Doors, by abstract Unix sockets; who the other one is, by SO_PEERCRED.
//
// Everything waits in poll, which also looks at the door: shutting it is seen there as a hang-up,
// so that closing a bus never waits for somebody who does not speak.
#include "base/door.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { WAITING = 16, PAUSE_MS = 100 };

static int64_t now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time); // there is one
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int pl_door_name(struct pl_door_name *out, const char *path)
{
    struct stat info;
    if (stat(path, &info)) {
        return -errno;
    }
    (void)snprintf(out->text, sizeof out->text, "peal/%llx/%llx", (unsigned long long)info.st_dev,
                   (unsigned long long)info.st_ino); // fits
    out->owner = info.st_uid;
    return 0;
}

// The zero byte in front makes it a name that is not in the file system.
static socklen_t address(struct sockaddr_un *out, const struct pl_door_name *name)
{
    *out = (struct sockaddr_un){ .sun_family = AF_UNIX };
    size_t length = strlen(name->text);
    memcpy(out->sun_path + 1, name->text, length);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

// The other side's user and process. Of one that cannot be known, nobody's.
static struct ucred who(int connection)
{
    struct ucred other = { .uid = (uid_t)-1 };
    socklen_t size = sizeof other;
    (void)getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &other, &size); // or it stays nobody's
    return other;
}

int pl_door_open(const struct pl_door_name *name)
{
    struct sockaddr_un at;
    socklen_t size = address(&at, name);
    int door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (door < 0) {
        return -errno;
    }
    if (bind(door, (const struct sockaddr *)&at, size) || listen(door, WAITING)) {
        int error = errno;
        (void)close(door); // nothing was written
        return -error;
    }
    return door;
}

void pl_door_shut(int door)
{
    (void)shutdown(door, SHUT_RDWR); // of one that is shut it does nothing
}

void pl_door_close(int door)
{
    if (door >= 0) {
        (void)close(door); // what was to be written was
    }
}

// Until one of the events, or the deadline; 0 or minus an errno.
static int wait_for(int descriptor, short events, int door, int64_t deadline)
{
    for (;;) {
        struct pollfd polled[2] = { { .fd = descriptor, .events = events }, { .fd = door } };
        int64_t left_ms = (deadline - now()) / 1000000 + 1;
        if (left_ms <= 0) {
            return -ETIMEDOUT;
        }
        int count = poll(polled, 2, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
        if (count < 0 && errno != EINTR) {
            return -errno;
        }
        if (count > 0 && polled[1].revents) {
            return -ECANCELED;
        }
        if (count > 0) {
            return 0; // also of a hang-up: reading says what it is
        }
    }
}

int pl_door_wait(int door)
{
    for (;;) {
        struct pollfd polled = { .fd = door, .events = POLLIN };
        if (poll(&polled, 1, -1) < 0 && errno != EINTR) {
            return -errno;
        }
        if (polled.revents & (POLLHUP | POLLERR | POLLNVAL)) {
            return -ECANCELED;
        }
        int connection = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (connection < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
            polled.events = 0; // who knocks has to wait until there is room
            (void)poll(&polled, 1, PAUSE_MS);
        }
        uid_t user = connection >= 0 ? who(connection).uid : (uid_t)-1;
        if (connection >= 0 && (user == geteuid() || user == 0)) {
            return connection;
        }
        pl_door_close(connection);
    }
}

// A socket that does not wait is told that the other's queue is full, and nothing wakes it: so this
// one waits, in connect, as long as its send timeout says.
static int knock(const struct pl_door_name *name, int64_t deadline)
{
    struct sockaddr_un at;
    socklen_t size = address(&at, name);
    int64_t left = deadline - now();
    struct timeval patience = { .tv_sec = left / 1000000000 + 1 };
    int connection = left > 0 ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (connection < 0) {
        return left > 0 ? -errno : -ETIMEDOUT;
    }
    if (setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) ||
        connect(connection, (const struct sockaddr *)&at, size)) {
        int error = errno == EAGAIN ? ETIMEDOUT : errno;
        (void)close(connection); // nothing was written
        return -error;
    }
    return connection;
}

int pl_door_knock(const struct pl_door_name *name, int64_t deadline, int64_t *out_pid)
{
    int connection = knock(name, deadline);
    if (connection < 0) {
        return connection;
    }
    struct ucred other = who(connection);
    if (other.uid != geteuid() && other.uid != 0 && other.uid != name->owner) {
        (void)close(connection); // nothing was written
        return -EPERM;
    }
    *out_pid = other.pid;
    return connection;
}

// MSG_DONTWAIT: a connection may be one that waits (knock), and waiting is for poll alone.
int pl_door_read(int connection, int door, void *out, size_t size, int64_t deadline)
{
    char *next = out;
    while (size > 0) {
        int result = wait_for(connection, POLLIN, door, deadline);
        if (result) {
            return result;
        }
        ssize_t count = recv(connection, next, size, MSG_DONTWAIT);
        if (count == 0 || (count < 0 && errno == ECONNRESET)) {
            return -EPIPE;
        }
        if (count < 0 && errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
        next += count > 0 ? count : 0;
        size -= count > 0 ? (size_t)count : 0;
    }
    return 0;
}

int pl_door_write(int connection, int door, const void *bytes, size_t size, int64_t deadline)
{
    const char *next = bytes;
    while (size > 0) {
        int result = wait_for(connection, POLLOUT, door, deadline);
        if (result) {
            return result;
        }
        ssize_t count = send(connection, next, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno != EAGAIN && errno != EINTR) {
            return errno == ECONNRESET ? -EPIPE : -errno;
        }
        next += count > 0 ? count : 0;
        size -= count > 0 ? (size_t)count : 0;
    }
    return 0;
}
