// SPDX-License-Identifier: MIT
//
// Peers that are servers: each measurement starts one of its own and stops it.

#include "server.h"

#include "bench.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEP_NS  5000000
#define ATTEMPTS 2000
#define STOP_NS  UINT64_C(10000000000)

// The kernel chooses one; between this and the server's start somebody else may take it, and then
// the server does not start and the measurement fails.
int bench_server_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0 || bind(probe, (struct sockaddr *)&address, size) ||
        getsockname(probe, (struct sockaddr *)&address, &size)) {
        bench_die("cannot find a port of the loopback interface: %s", strerrordesc_np(errno));
    }
    (void)close(probe);
    return ntohs(address.sin_port);
}

static void be_quiet(void)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)dup2(nothing, STDIN_FILENO); // What goes wrong is seen by who waits for it.
    (void)dup2(nothing, STDOUT_FILENO);
    (void)dup2(nothing, STDERR_FILENO);
}

pid_t bench_server_start(const char *const *arguments)
{
    pid_t pid = fork();
    if (pid < 0) {
        bench_die("cannot start %s: %s", arguments[0], strerrordesc_np(errno));
    }
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        be_quiet();
        (void)execv(arguments[0], (char *const *)arguments);
        _exit(127);
    }
    return pid;
}

void bench_server_wait(pid_t pid, unsigned attempt)
{
    if (waitpid(pid, NULL, WNOHANG) != 0) {
        bench_die("a server has ended as soon as it was started");
    }
    if (attempt == ATTEMPTS) {
        bench_die("a server cannot be reached 10 s after it was started");
    }
    bench_sleep_ns(STEP_NS);
}

void bench_server_stop(pid_t pid)
{
    (void)kill(pid, SIGTERM);
    uint64_t until = bench_now_ns() + STOP_NS;
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (bench_now_ns() > until) {
            (void)kill(pid, SIGKILL);
        }
        bench_sleep_ns(1000000);
    }
}
