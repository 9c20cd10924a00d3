// SPDX-License-Identifier: MIT
//
// Progress: one line on a terminal, drawn ten times a second at most, and only when the work has
// taken half a second: who waits wants to know, and who does not wait is not bothered.
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/when.h"

enum { BAR = 24, PATIENCE_MS = 500, REDRAW_MS = 100 };

void cli_progress_begin(struct cli_progress *progress, struct cli *cli, const char *what,
                        uint64_t total)
{
    *progress = (struct cli_progress){
        .cli = cli, .what = what, .total = total, .started_ns = when_monotonic()
    };
    progress->on = !cli->quiet && isatty(fileno(cli->err));
    progress->drawn_ns = progress->started_ns + (PATIENCE_MS - REDRAW_MS) * INT64_C(1000000);
}

static void write_amount(char out[WHEN_SIZE], const struct cli_progress *progress, double amount)
{
    if (strcmp(progress->what, "bytes") == 0) {
        when_write_bytes(out, (uint64_t)amount);
    } else {
        when_write_short(out, amount);
    }
}

static void draw(const struct cli_progress *progress, uint64_t done, int64_t now)
{
    char amount[WHEN_SIZE], total[WHEN_SIZE], rate[WHEN_SIZE], left[WHEN_SIZE];
    char bar[BAR + 1];
    const char *unit = strcmp(progress->what, "bytes") == 0 ? "" : progress->what;
    FILE *err = progress->cli->err;
    double per_s = (double)done * 1e9 / (double)(now - progress->started_ns);
    write_amount(amount, progress, (double)done);
    write_amount(rate, progress, per_s);
    if (progress->total == 0) {
        (void)fprintf(err, "\r%s%s%s, %s/s\033[K", amount, *unit ? " " : "", unit, rate);
        (void)fflush(err);
        return;
    }
    double share = (double)done / (double)progress->total;
    share = share < 1 ? share : 1;
    int full = (int)(share * BAR);
    memset(bar, '.', BAR);
    memset(bar, '#', (size_t)full);
    bar[BAR] = '\0';
    write_amount(total, progress, (double)progress->total);
    double rest = per_s > 0 && share < 1 ? (double)(progress->total - done) / per_s : 0;
    when_write_duration(left, (int64_t)(rest * 1e9));
    (void)fprintf(err, "\r[%s] %3.0f%%  %s of %s%s%s, %s/s, %s left\033[K", bar, share * 100,
                  amount, total, *unit ? " " : "", unit, rate, left);
    (void)fflush(err);
}

void cli_progress_at(struct cli_progress *progress, uint64_t done)
{
    int64_t now = progress->on ? when_monotonic() : 0;
    if (progress->on && now - progress->drawn_ns >= REDRAW_MS * INT64_C(1000000)) {
        draw(progress, done, now);
        progress->drawn_ns = now;
        progress->shown = true;
    }
}

void cli_progress_end(struct cli_progress *progress)
{
    if (progress->shown) {
        (void)fputs("\r\033[K", progress->cli->err);
        (void)fflush(progress->cli->err);
        progress->shown = false;
    }
}
