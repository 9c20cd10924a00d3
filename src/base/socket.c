// SPDX-License-Identifier: MIT
//
// Sockets by TCP, a bell by an eventfd, all waiting by poll.
//
// Between two programs of one machine there is no way that could be congested. Where the system's
// choice for the others is BBR, which spaces what it sends by timers, that is a seventh of what an
// event of `peal.v1` costs: there the oldest way is the best one, which every kernel has.
#include "base/socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time); // there is one
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void pl_socket_close(int socket)
{
    if (socket >= 0) {
        (void)close(socket); // what was to be sent was
    }
}

int pl_socket_wait(int socket, int bell, bool wants_to_send, int64_t deadline)
{
    struct pollfd polled[2] = { { .fd = bell, .events = POLLIN }, { .fd = socket } };
    polled[1].events = (short)(POLLIN | (wants_to_send ? POLLOUT : 0));
    for (;;) {
        int64_t left_ms = (deadline - now()) / 1000000 + 1;
        left_ms = left_ms > INT32_MAX ? INT32_MAX : left_ms < 0 ? 0 : left_ms;
        int count = poll(polled, socket < 0 ? 1 : 2, (int)left_ms);
        if (count < 0 && errno != EINTR) {
            return -errno;
        }
        if (count == 0) {
            return 0;
        }
        if (count > 0) {
            int found = polled[0].revents ? PL_SOCKET_BELL : 0;
            found |= polled[1].revents & (POLLIN | POLLHUP | POLLERR) ? PL_SOCKET_READABLE : 0;
            return found | (polled[1].revents & POLLOUT ? PL_SOCKET_WRITABLE : 0);
        }
    }
}

// Do both ends have one address?
static bool stays_here(int socket)
{
    struct sockaddr_storage here = { 0 }, there = { 0 };
    socklen_t here_size = sizeof here, there_size = sizeof there;
    if (getsockname(socket, (struct sockaddr *)&here, &here_size) ||
        getpeername(socket, (struct sockaddr *)&there, &there_size) ||
        here.ss_family != there.ss_family) {
        return false;
    }
    if (here.ss_family == AF_INET) {
        return ((struct sockaddr_in *)&here)->sin_addr.s_addr ==
               ((struct sockaddr_in *)&there)->sin_addr.s_addr;
    }
    return here.ss_family == AF_INET6 &&
           IN6_ARE_ADDR_EQUAL(&((struct sockaddr_in6 *)&here)->sin6_addr,
                              &((struct sockaddr_in6 *)&there)->sin6_addr);
}

void pl_socket_prepare(int socket)
{
    static const char plain[] = "reno";
    const int on = 1;
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); // slower without
    if (stays_here(socket)) {
        (void)setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, plain, sizeof plain - 1); // as well
    }
}

// One address of a host; the connection, or minus an errno.
static int try_address(const struct addrinfo *address, int bell, int64_t deadline)
{
    int made = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0) {
        return -errno;
    }
    int error = connect(made, address->ai_addr, address->ai_addrlen) ? errno : 0;
    if (error == EINPROGRESS) {
        int found = pl_socket_wait(made, bell, true, deadline);
        socklen_t size = sizeof error;
        if (found < 0 || found == 0 || found & PL_SOCKET_BELL) {
            error = found < 0 ? -found : found ? ECANCELED : ETIMEDOUT;
        } else if (getsockopt(made, SOL_SOCKET, SO_ERROR, &error, &size)) {
            error = errno;
        }
    }
    if (error) {
        pl_socket_close(made);
        return -error;
    }
    pl_socket_prepare(made);
    return made;
}

int pl_socket_connect(const char *host, uint16_t port, int bell, int64_t deadline)
{
    char service[8];
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
    struct addrinfo *found = NULL;
    (void)snprintf(service, sizeof service, "%u", (unsigned)port); // fits
    if (getaddrinfo(host, service, &hints, &found)) {
        hints.ai_flags = AI_NUMERICHOST; // also where there is no network but the machine's own
        if (getaddrinfo(host, service, &hints, &found)) {
            return -ENOENT;
        }
    }
    int result = -ENOENT;
    for (const struct addrinfo *at = found; at && result < 0 && result != -ECANCELED;
         at = at->ai_next) {
        result = try_address(at, bell, deadline);
    }
    freeaddrinfo(found);
    return result;
}

static int64_t outcome_of(int64_t count)
{
    if (count >= 0) {
        return count;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return 0;
    }
    return errno == ECONNRESET ? -EPIPE : -errno;
}

int64_t pl_socket_receive(int socket, void *out, size_t size)
{
    ssize_t count = recv(socket, out, size, 0);
    return count == 0 ? -EPIPE : outcome_of(count);
}

int64_t pl_socket_send(int socket, const void *bytes, size_t size)
{
    return outcome_of(send(socket, bytes, size, MSG_NOSIGNAL));
}

int pl_bell_open(void)
{
    int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return bell < 0 ? -errno : bell;
}

void pl_bell_ring(int bell)
{
    (void)eventfd_write(bell, 1); // one that is full rings already
}

void pl_bell_quiet(int bell)
{
    eventfd_t count;
    (void)eventfd_read(bell, &count); // it may not have rung
}
