// SPDX-License-Identifier: MIT
//
// peal bench: what this machine can do, in a quarter of a minute.
//
// Each figure is the median of three, each of which takes about --seconds; the spread stands beside
// it, since machines are shared. Payloads are JSON of 256 bytes. It is a look at a machine, not a
// comparison: for that there is `make bench`, with others in the same run.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/files.h"
#include "cli/output.h"
#include "cli/when.h"

enum { PAYLOAD = 256, REPEATS = 3, BATCH = 100, STEP = 64 };

struct bench {
    const char *directory;
    double seconds;
};

static const struct cli_option options[] = {
    { "directory", 'D', CLI_FILE, "DIRECTORY",
      "where files are written, in a folder that is removed again; default: here",
      offsetof(struct bench, directory) },
    { "seconds", 's', CLI_REAL, "N", "how long each of the repeats takes; default 0.3",
      offsetof(struct bench, seconds) },
    CLI_END,
};

struct work {
    struct cli *cli;
    char folder[512]; // of this run
    char url[600];
    char payload[PAYLOAD];
    int64_t budget_ns;
    uint64_t heard;
};

// Does something for about `budget_ns`: how often, and how long that took.
struct share {
    uint64_t count;
    int64_t took_ns;
};

// ---- what is measured ---------------------------------------------------------------------------

static enum peal_err publish_for(struct share *share, struct work *work, peal_bus *bus,
                                 enum peal_durability level)
{
    const struct peal_message message = {
        .type = "bench.event", .data = work->payload, .size = PAYLOAD, .durability = level
    };
    unsigned step = level == PEAL_DURABILITY_DISK ? 1 : STEP;
    int64_t started = when_monotonic();
    enum peal_err err = PEAL_OK;
    do {
        for (unsigned i = 0; i < step && !err; i++) {
            err = peal_publish(bus, &message, NULL);
            share->count++;
        }
        share->took_ns = when_monotonic() - started;
    } while (!err && share->took_ns < work->budget_ns);
    return err;
}

static enum peal_err bench_publish(struct share *share, struct work *work, peal_bus *bus)
{
    return publish_for(share, work, bus, PEAL_DURABILITY_DEFAULT);
}

static enum peal_err bench_disk(struct share *share, struct work *work, peal_bus *bus)
{
    return publish_for(share, work, bus, PEAL_DURABILITY_DISK);
}

static enum peal_err bench_batch(struct share *share, struct work *work, peal_bus *bus)
{
    struct peal_message messages[BATCH];
    for (size_t i = 0; i < BATCH; i++) {
        messages[i] =
            (struct peal_message){ .type = "bench.event", .data = work->payload, .size = PAYLOAD };
    }
    int64_t started = when_monotonic();
    enum peal_err err = PEAL_OK;
    do {
        err = peal_publish_batch(bus, messages, BATCH, NULL);
        share->count += BATCH;
        share->took_ns = when_monotonic() - started;
    } while (!err && share->took_ns < work->budget_ns);
    return err;
}

static enum peal_verdict hear(const peal_event *event, void *context)
{
    struct work *work = context;
    work->heard += peal_event_size(event) == PAYLOAD;
    return PEAL_DONE;
}

static enum peal_err bench_deliver(struct share *share, struct work *work, peal_bus *bus)
{
    static const struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    peal_subscription *subscription = NULL;
    work->heard = 0;
    enum peal_err err = peal_subscribe(&subscription, bus, "bench.*", &inlined, hear, work);
    err = err ? err : bench_publish(share, work, bus);
    peal_unsubscribe(subscription);
    share->count = work->heard;
    return err;
}

static enum peal_err bench_worker(struct share *share, struct work *work, peal_bus *bus)
{
    peal_subscription *subscription = NULL;
    size_t done = 0;
    work->heard = 0;
    enum peal_err err = peal_subscribe(&subscription, bus, "bench.*", NULL, hear, work);
    int64_t started = when_monotonic();
    while (!err && share->took_ns < work->budget_ns) {
        struct share part = { 0 };
        struct work short_one = *work;
        short_one.budget_ns = 100000;
        err = publish_for(&part, &short_one, bus, PEAL_DURABILITY_DEFAULT);
        err = err ? err : peal_bus_dispatch(bus, 0, &done);
        share->took_ns = when_monotonic() - started;
    }
    peal_unsubscribe(subscription);
    share->count = work->heard;
    return err;
}

static enum peal_err bench_read(struct share *share, struct work *work, peal_bus *bus)
{
    struct share filled = { 0 };
    struct peal_bus_stats stats;
    peal_reader *reader = NULL;
    const peal_event *event = NULL;
    enum peal_err err = peal_bus_stats(&stats, bus);
    if (!err && stats.last_position < 100000) {
        err = bench_batch(&filled, work, bus);
    }
    int64_t started = when_monotonic();
    while (!err && share->took_ns < work->budget_ns) {
        err = peal_reader_open(&reader, bus, NULL);
        while (!err && !(err = peal_reader_next(&event, reader))) {
            share->count++;
        }
        peal_reader_close(reader);
        reader = NULL;
        err = err == PEAL_ENOTFOUND ? PEAL_OK : err;
        share->took_ns = when_monotonic() - started;
    }
    return err;
}

// The machine's own limit: fdatasync over blocks that are written already.
static enum peal_err bench_sync(struct share *share, struct work *work, peal_bus *bus)
{
    enum { BLOCK = 4096, BLOCKS = 256 };
    static const char block[BLOCK];
    char path[600];
    (void)bus;
    (void)snprintf(path, sizeof path, "%s/sync", work->folder); // fits
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0;
    for (int i = 0; i < BLOCKS && good; i++) {
        good = write(fd, block, BLOCK) == BLOCK;
    }
    good = good && fdatasync(fd) == 0;
    int64_t started = when_monotonic();
    while (good && share->took_ns < work->budget_ns) {
        off_t at = (off_t)(share->count % BLOCKS) * BLOCK;
        good = pwrite(fd, work->payload, PAYLOAD, at) == PAYLOAD && fdatasync(fd) == 0;
        share->count++;
        share->took_ns = when_monotonic() - started;
    }
    if (fd >= 0) {
        (void)close(fd); // asked for errors above
        (void)unlink(path);
    }
    return good ? PEAL_OK : PEAL_EIO;
}

// ---- running ------------------------------------------------------------------------------------

static const struct figure {
    const char *name;
    const char *url; // NULL: none; "file:": in the folder
    enum peal_err (*run)(struct share *share, struct work *work, peal_bus *bus);
} figures[] = {
    { "noop: publish", "noop:", bench_publish },
    { "mem: publish", "mem:", bench_publish },
    { "mem: publish in batches of 100", "mem:", bench_batch },
    { "mem: publish and deliver inline", "mem:", bench_deliver },
    { "mem: publish and deliver by a worker", "mem:", bench_worker },
    { "mem: read back", "mem:", bench_read },
    { "file: publish (os)", "file:", bench_publish },
    { "file: publish in batches of 100 (os)", "file:", bench_batch },
    { "file: publish (disk)", "file:", bench_disk },
    { "file: read back", "file:", bench_read },
    { "this machine: fdatasync of 256 bytes", NULL, bench_sync },
};

static int by_value(const void *a, const void *b)
{
    double one = *(const double *)a, other = *(const double *)b;
    return (one > other) - (one < other);
}

static int run_once(double *out, struct work *work, const struct figure *figure)
{
    struct share share = { 0 };
    peal_bus *bus = NULL;
    bool file = figure->url && strcmp(figure->url, "file:") == 0;
    if (figure->url && cli_open(work->cli, &bus, file ? work->url : figure->url, true)) {
        return CLI_NO;
    }
    enum peal_err err = figure->run(&share, work, bus);
    if (err) {
        const char *why = figure->url ? peal_error_sentence() : strerror(errno); // NOLINT
        (void)cli_fail(work->cli, "%s: %s", figure->name, why);
    }
    peal_bus_close(bus);
    *out = share.took_ns > 0 ? (double)share.count * 1e9 / (double)share.took_ns : 0;
    return err ? CLI_NO : CLI_YES;
}

static int run_figure(struct cli_table *table, struct work *work, const struct figure *figure)
{
    double rates[REPEATS];
    for (int i = 0; i < REPEATS; i++) {
        if (run_once(&rates[i], work, figure)) {
            return CLI_NO; // it has been said
        }
    }
    qsort(rates, REPEATS, sizeof *rates, by_value);
    double median = rates[REPEATS / 2];
    const struct cli_value values[] = {
        { .text = figure->name },
        { .real = median },
        { .text = "a second" },
        { .time = median > 0 ? (int64_t)(1e9 / median) : 0 },
        { .real = median > 0 ? (rates[REPEATS - 1] - rates[0]) * 100 / median : 0 },
    };
    cli_table_row(table, values);
    return CLI_YES;
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    static const struct cli_column columns[] = {
        { "name", "WHAT", CELL_TEXT },
        { "value", "RATE", CELL_REAL },
        { "unit", "UNIT", CELL_TEXT },
        { "ns_each", "EACH", CELL_DURATION },
        { "spread_percent", "SPREAD %", CELL_REAL },
    };
    const struct bench *bench = given;
    struct work work = { .cli = cli };
    struct cli_table table;
    struct cli_progress progress;
    int status = CLI_YES;
    (void)bus;
    (void)snprintf(work.folder, sizeof work.folder, "%.480s/peal-bench.XXXXXX",
                   bench->directory ? bench->directory : ".");
    if (!mkdtemp(work.folder)) {
        return cli_fail(cli, "%s: %s", work.folder, strerror(errno)); // NOLINT: one thread
    }
    (void)snprintf(work.url, sizeof work.url, "file:%s/events", work.folder); // fits
    memset(work.payload, 'x', PAYLOAD);
    work.payload[0] = work.payload[PAYLOAD - 1] = '"'; // JSON: a text
    work.budget_ns = (int64_t)((bench->seconds > 0 ? bench->seconds : 0.3) * 1e9);
    cli_table_begin(&table, cli, columns, CLI_COUNT(columns));
    cli_progress_begin(&progress, cli, "figures", CLI_COUNT(figures));
    for (size_t i = 0; i < CLI_COUNT(figures) && !status && !cli_gone(cli); i++) {
        cli_progress_at(&progress, i);
        status = run_figure(&table, &work, &figures[i]);
    }
    cli_progress_end(&progress);
    cli_table_finish(&table);
    cli_files_remove(work.folder);
    return status;
}

const struct cli_verb cli_verb_bench = {
    .name = "bench",
    .arguments = "",
    .summary = "what this machine can do, in a quarter of a minute",
    .about = "Publishes, delivers, syncs and reads back for a moment each, and prints how often a\n"
             "second that went. RATE is the median of three; SPREAD says how far they lie apart:\n"
             "above 20 something else is running.\n\n"
             "  peal bench --directory /var/tmp\n",
    .options = options,
    .size = sizeof(struct bench),
    .need = CLI_ALONE,
    .run = run,
};
