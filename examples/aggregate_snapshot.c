// SPDX-License-Identifier: MIT
//
// Snapshots: an account of many events is loaded without one, and through one.
//
//     aggregate_snapshot [events [URL]]
//
// 10,000 events unless the first argument says otherwise; with 1000000 it is a figure to look at.
// The state is the same both ways, or the program ends with 1.
#include <err.h>
#include <peal/peal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 1000, AFTER = 100 };

struct account {
    int64_t balance;
    uint64_t changes;
};

static void must(enum peal_err result)
{
    if (result) {
        errx(1, "%s", peal_error_sentence());
    }
}

static enum peal_err apply(void *state, const peal_event *event, void *context)
{
    (void)context;
    struct account *account = state;
    int64_t amount = 0;
    memcpy(&amount, peal_event_data(event), sizeof(amount)); // C structs may be data, too
    account->balance += amount;
    account->changes++;
    return PEAL_OK;
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

// Appends changes of 1, 2, 3, ...; each batch at the version it expects.
static void change(peal_bus *bus, const char *subject, uint64_t from, uint64_t count)
{
    static int64_t amounts[BATCH];
    static struct peal_message messages[BATCH];
    for (uint64_t done = 0; done < count;) {
        size_t batch = count - done < BATCH ? (size_t)(count - done) : BATCH;
        for (size_t i = 0; i < batch; i++) {
            amounts[i] = (int64_t)(from + done + i + 1);
            messages[i] = (struct peal_message){ .type = "account.changed",
                                                 .content_type = "application/octet-stream",
                                                 .data = &amounts[i],
                                                 .size = sizeof(amounts[i]) };
        }
        struct peal_append append = { .subject = subject,
                                      .expect = PEAL_EXPECT_VERSION,
                                      .expected_version = from + done,
                                      .messages = messages,
                                      .count = batch };
        must(peal_stream_append(NULL, bus, &append));
        done += batch;
    }
}

// Loads the account; prints how long that took.
static peal_aggregate *load(peal_bus *bus, const struct peal_aggregate_type *type,
                            const char *subject)
{
    peal_aggregate *aggregate = NULL;
    struct peal_aggregate_stats stats;
    double began = now_ms();
    must(peal_aggregate_load(&aggregate, bus, type, subject));
    double took = now_ms() - began;
    must(peal_aggregate_stats(&stats, aggregate));
    const struct account *account = peal_aggregate_state(aggregate);
    printf("%-17s %10.3f ms: version %llu, balance %lld, %llu events applied\n",
           stats.snapshot_version ? "with a snapshot" : "without a snapshot", took,
           (unsigned long long)peal_aggregate_version(aggregate), (long long)account->balance,
           (unsigned long long)stats.applied);
    return aggregate;
}

int main(int argc, char **argv)
{
    uint64_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    const char *url = argc > 2 ? argv[2] : "mem:";
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS }; // nobody listens
    if (strncmp(url, "mem:", 4) == 0) {                               // file: keeps everything
        options.history_events = events + 2 * AFTER;
        options.history_bytes = (events + 2 * AFTER) * 256 + (16 << 20);
        options.memory_max = (events + 2 * AFTER) * 512 + (64 << 20);
    }
    const struct peal_aggregate_type type = {
        .name = "account", .version = 1, .state_size = sizeof(struct account), .apply = apply
    };
    const char *subject = "account-7";
    peal_bus *bus = NULL;
    must(peal_bus_open(&bus, url, &options));
    uint64_t there = 0; // of a run before, if the log is kept
    must(peal_stream_version(&there, bus, subject));
    change(bus, subject, there, events);

    peal_aggregate *whole = load(bus, &type, subject);
    must(peal_aggregate_snapshot(whole));
    change(bus, subject, there + events, AFTER);
    peal_aggregate *quick = load(bus, &type, subject);
    must(peal_aggregate_refresh(whole));

    struct peal_aggregate_stats stats;
    must(peal_aggregate_stats(&stats, quick));
    bool same = memcmp(peal_aggregate_state(whole), peal_aggregate_state(quick),
                       sizeof(struct account)) == 0;
    bool saved = stats.applied == AFTER;
    printf("%s\n", same && saved ? "the same state, both ways" : "WRONG");
    peal_aggregate_close(whole);
    peal_aggregate_close(quick);
    peal_bus_close(bus);
    return same && saved ? 0 : 1;
}
