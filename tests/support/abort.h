// SPDX-License-Identifier: MIT
//
// Abort: what must end the process ends one of its own. Include cmocka.h first.
//
//     expect_abort(wait_for_ever, "nobody is left who could wake it");
#ifndef PEAL_TESTS_ABORT_H
#define PEAL_TESTS_ABORT_H

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// What `act` says on stderr before it aborts.
static inline void expect_abort(void (*act)(void), const char *saying)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        (void)signal(SIGABRT, SIG_DFL); // cmocka's handler would go on with the next test
        act();
        _exit(0);
    }
    (void)close(ends[1]);
    char said[4096];
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], said + length, sizeof said - 1 - length)) > 0) {
        length += (size_t)got;
    }
    said[length] = 0;
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    if (!strstr(said, saying)) {
        fail_msg("expected \"%s\" in: %s", saying, said);
    }
}

#endif
