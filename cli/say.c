// SPDX-License-Identifier: MIT
//
// Say: errors and remarks, and whether there is any reason to go on.
//
// SIGPIPE is ignored, so a reader that goes away is an error of write like any other, which stdio
// keeps for ferror. Only poll tells it from a full disk, and also when nothing is written
// (tail --follow).
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

// The one thing here that outlives a function: signal handlers are given nothing.
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

// The first Ctrl-C asks a verb that writes to end in order; the second is the system's.
void cli_signals(bool writes)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    struct sigaction ask = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
    (void)sigaction(SIGPIPE, &ignore, NULL); // none of these can fail
    if (writes) {
        (void)sigaction(SIGINT, &ask, NULL);
        (void)sigaction(SIGTERM, &ask, NULL);
    }
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

int cli_interrupted_by(void)
{
    return interrupted;
}

bool cli_gone(struct cli *cli)
{
    if (!cli->broken && fileno(cli->out) >= 0) {
        struct pollfd pipe = { .fd = fileno(cli->out), .events = 0 };
        cli->broken = poll(&pipe, 1, 0) == 1 && (pipe.revents & (POLLERR | POLLHUP));
    }
    return cli->broken || ferror(cli->out) || cli_interrupted();
}

static void say(struct cli *cli, const char *format, va_list arguments)
{
    (void)fflush(cli->out); // what was said before stands before
    (void)fprintf(cli->err, "peal%s%s: ", cli->verb ? " " : "", cli->verb ? cli->verb->name : "");
    (void)vfprintf(cli->err, format, arguments);
    (void)fputc('\n', cli->err);
}

int cli_fail(struct cli *cli, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(cli, format, arguments);
    va_end(arguments);
    return CLI_NO;
}

int cli_misuse(struct cli *cli, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(cli, format, arguments);
    va_end(arguments);
    (void)fprintf(cli->err, "See: peal help%s%s\n", cli->verb ? " " : "",
                  cli->verb ? cli->verb->name : "");
    return CLI_MISUSE;
}

void cli_remark(struct cli *cli, const char *format, ...)
{
    if (cli->quiet || !isatty(fileno(cli->err))) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    say(cli, format, arguments);
    va_end(arguments);
}

int cli_failed(struct cli *cli, enum peal_err err)
{
    bool misuse = err == PEAL_EINVAL || err == PEAL_ETYPE || err == PEAL_EPATTERN ||
                  err == PEAL_EURL || err == PEAL_ELIMIT;
    const char *sentence = peal_error_sentence();
    sentence = *sentence ? sentence : peal_err_text(err);
    return misuse ? cli_misuse(cli, "%s", sentence) : cli_fail(cli, "%s", sentence);
}
