// SPDX-License-Identifier: MIT
//
// MLPerf: reads training logs, publishes each event line of them, and lets subscribers find out how
// the trainings went.
//
//     a.txt ─┐                            ┌─► facts, accuracy, pace: the table
//     b.txt ─┼─► parse ─► training.<key> ─┤
//     ...   ─┘                            └─► inline, worker: the account of every event
//
// `:::MLL 1560400665.504 epoch_start: {...}` becomes an event `training.epoch.started`: time to the
// last digit (0.0 is none: then it is now), data to the byte, the log's path as correlation id and
// key. By the key the events of a run reach a handler in order and one at a time, while other runs
// go on beside it. Each subscription has members of `struct run` to itself: nothing needs a lock.
//
// Arguments: directories and files; default: $PEAL_DATA, or else a sample in the source tree.
#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fts.h>
#include <jansson.h>
#include <peal/peal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef PEAL_SAMPLE_DATA
#define PEAL_SAMPLE_DATA "tests/data/mlperf"
#endif

enum { OPEN_MAX = 64, TEXT_SIZE = 20, KEY_MAX = 200, PATIENCE_MS = 60000 };

// How long epochs took, or blocks of epochs. They are dispatched ahead, so several may be open; the
// oldest stops first. `busy_ns` is the time in which at least one was open.
struct pace {
    double epochs, waiting[OPEN_MAX];
    unsigned started, stopped;
    int64_t since_ns, busy_ns;
};

struct run {
    char *file;       // its path
    const char *name; // the part of it below the directory given
    bool is_log;      // it has an event line
    char organisation[TEXT_SIZE], platform[TEXT_SIZE], benchmark[TEXT_SIZE], status[TEXT_SIZE];
    double best;
    struct pace epoch, block;
};

enum { SEEN, PARSED, PUBLISHED, INLINE, WORKER, COUNTS };

struct import {
    peal_bus *bus;
    struct run *runs; // by name
    size_t run_count;
    uint64_t counts[COUNTS]; // each written by one thread at a time
};

static void must(enum peal_err result)
{
    if (result) {
        errx(1, "%s", peal_error_sentence());
    }
}

// ---- subscribers

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct run *)a)->name, ((const struct run *)b)->name);
}

static struct run *run_of(const peal_event *event, const struct import *import)
{
    struct run wanted = { .name = peal_event_correlation(event) };
    return bsearch(&wanted, import->runs, import->run_count, sizeof(wanted), by_name);
}

static json_t *json_of(const peal_event *event)
{
    return json_loadb(peal_event_data(event), peal_event_size(event), 0, NULL);
}

static enum peal_verdict judge(const peal_event *event, bool good)
{
    if (!good) {
        peal_fail(event, "unexpected", "the data is not what an event of this type has");
    }
    return good ? PEAL_DONE : PEAL_REJECT;
}

// Who ran what, and how it ended.
static enum peal_verdict on_fact(const peal_event *event, void *import)
{
    struct run *run = run_of(event, import);
    const char *type = peal_event_type(event);
    char *member = strstr(type, "_org")         ? run->organisation
                   : strstr(type, "_platform")  ? run->platform
                   : strstr(type, "_benchmark") ? run->benchmark
                                                : run->status;
    const char *text = "";
    json_t *json = json_of(event);
    bool good = json_unpack(json, "{s:s}", "value", &text) == 0 ||
                json_unpack(json, "{s:{s:s}}", "metadata", "status", &text) == 0;
    (void)snprintf(member, TEXT_SIZE, "%s", text); // cut to what the table shows
    json_decref(json);
    return judge(event, good);
}

// An accuracy is a number, a number in a string, or a list that begins with the one that counts.
static enum peal_verdict on_accuracy(const peal_event *event, void *import)
{
    double accuracy = 0;
    const char *text = NULL;
    json_t *json = json_of(event);
    bool good = json_unpack(json, "{s:F}", "value", &accuracy) == 0 ||
                json_unpack(json, "{s:[F]}", "value", &accuracy) == 0;
    if (!good && json_unpack(json, "{s:s}", "value", &text) == 0) {
        char *end = NULL;
        accuracy = strtod(text, &end);
        good = end != text && !*end;
    }
    json_decref(json);
    struct run *run = run_of(event, import);
    run->best = good && accuracy > run->best ? accuracy : run->best;
    return judge(event, good);
}

static enum peal_verdict on_pace(const peal_event *event, void *import)
{
    struct run *run = run_of(event, import);
    const char *type = peal_event_type(event);
    struct pace *pace = strncmp(type, "training.block", 14) == 0 ? &run->block : &run->epoch;
    bool start = strcmp(strrchr(type, '.'), ".started") == 0;
    unsigned open = pace->started - pace->stopped;
    if (start && open < OPEN_MAX) {
        double *epochs = &pace->waiting[pace->started++ % OPEN_MAX];
        json_t *json = json_of(event);
        *epochs = 1; // unless it says how many
        (void)json_unpack(json, "{s:{s:F}}", "metadata", "epoch_count", epochs);
        json_decref(json);
        pace->since_ns = open == 0 ? peal_event_time(event) : pace->since_ns;
    } else if (!start && open > 0) {
        pace->epochs += pace->waiting[pace->stopped++ % OPEN_MAX];
        pace->busy_ns += peal_event_time(event) - pace->since_ns;
        pace->since_ns = peal_event_time(event);
    }
    return judge(event, !start || open < OPEN_MAX);
}

static enum peal_verdict on_any(const peal_event *event, void *count)
{
    ++*(uint64_t *)count;
    return judge(event, true);
}

// ---- reading

// Reads seconds with up to nine digits behind the point, exactly. NULL: not a time.
static const char *read_time(int64_t *out, const char *at)
{
    static const char digits[] = "0123456789";
    char text[32];
    int whole = (int)strspn(at, digits);
    const char *fraction = at + whole + (at[whole] == '.');
    int decimals = (int)strspn(fraction, digits);
    int kept = decimals < 9 ? decimals : 9; // finer than a nanosecond is not kept
    (void)snprintf(text, sizeof(text), "%.*s%.*s%.*s", whole, at, kept, fraction, 9 - kept,
                   "000000000"); // what does not fit is refused below
    *out = strtoll(text, NULL, 10);
    bool good = whole > 0 && whole <= 10 && *out < INT64_MAX && fraction[decimals] == ' ';
    return good ? fraction + decimals + 1 : NULL;
}

// The type of a key. A character that no type may have becomes `_`: false, if there was one.
static bool make_type(char type[PEAL_TYPE_MAX + 1], const char *key)
{
    bool exact = true;
    (void)snprintf(type, PEAL_TYPE_MAX + 1, "training.%s", key); // KEY_MAX makes it fit
    for (char *at = type + strlen("training."); *at; at++) {
        if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-') {
            *at = '_';
            exact = false;
        }
    }
    char *end = strrchr(type, '_');
    if (end && end[-1] != '.' && (strcmp(end, "_start") == 0 || strcmp(end, "_stop") == 0)) {
        (void)snprintf(end, 10, end[4] == 'r' ? ".started" : ".stopped"); // fits
    }
    return exact;
}

// Publishes what `*at` has: ` <time> <key>: <object>`. Returns NULL, with `*at` behind the object,
// as several writers may share a line; or what is wrong.
static const char *publish(struct import *import, const struct run *run, const char **at,
                           const char *end, size_t line)
{
    struct peal_message message = { .key = run->name, .correlation = run->name };
    const char *key = **at == ' ' ? read_time(&message.time_ns, *at + 1) : NULL;
    const char *colon = key ? strchr(key, ':') : NULL;
    if (!colon || colon == key || colon - key > KEY_MAX) {
        return key ? "no key behind the time, or one too long" : "no time behind the mark";
    }
    message.data = colon + 1 + strspn(colon + 1, " ");
    json_error_t error;
    json_t *json = json_loadb(message.data, (size_t)(end - (const char *)message.data),
                              JSON_DISABLE_EOF_CHECK, &error);
    bool object = json_is_object(json);
    json_decref(json);
    if (!object) {
        return "no whole JSON object behind the key";
    }
    import->counts[PARSED]++;
    message.size = (size_t)error.position;
    *at = (const char *)message.data + message.size;

    char own[KEY_MAX + 1], type[PEAL_TYPE_MAX + 1], number[24];
    (void)snprintf(own, sizeof(own), "%.*s", (int)(colon - key), key); // both fit
    (void)snprintf(number, sizeof(number), "%zu", line);
    struct peal_pair metadata[] = { { "line", number }, { "mllkey", own } };
    message.metadata = metadata;
    message.metadata_count = make_type(type, own) ? 1 : 2; // the key, if the type does not tell it
    message.type = type;
    if (peal_publish(import->bus, &message, NULL)) {
        return peal_error_sentence();
    }
    import->counts[PUBLISHED]++;
    return NULL;
}

static void read_file(struct import *import, struct run *run)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length = 0;
    FILE *file = fopen(run->file, "re");
    for (size_t number = 1; file && (length = getline(&line, &room, file)) > 0; number++) {
        const char *at = line;
        while ((at = memmem(at, (size_t)(line + length - at), ":::MLL", 6))) {
            at += strlen(":::MLL");
            run->is_log = true;
            import->counts[SEEN]++;
            const char *wrong = publish(import, run, &at, line + length, number);
            if (wrong) {
                warnx("%s:%zu: %s", run->file, number, wrong);
            }
        }
    }
    if (!file || ferror(file)) {
        err(1, "%s", run->file);
    }
    free(line);
    (void)fclose(file); // it was only read
}

static void find_files(struct import *import, char *const *paths)
{
    FTS *walk = fts_open(paths, FTS_COMFOLLOW | FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    size_t root = paths[1] ? 0 : strlen(paths[0]); // of several, names are whole paths
    for (FTSENT *found = NULL; walk && (found = fts_read(walk));) {
        if (found->fts_errno) {
            errno = found->fts_errno;
            err(1, "%s", found->fts_path);
        }
        if (found->fts_info == FTS_F) {
            struct run run = { .file = strdup(found->fts_path) };
            import->runs = reallocarray(import->runs, import->run_count + 1, sizeof(run));
            if (!run.file || !import->runs) {
                err(1, "%s", found->fts_path);
            }
            size_t skip = found->fts_level > 0 && root > 0 ? root : 0;
            run.name = run.file + skip + (skip > 0 ? strspn(run.file + skip, "/") : 0);
            import->runs[import->run_count++] = run;
        }
    }
    fts_close(walk);
    if (import->run_count == 0) {
        errx(1, "%s: no files; name a directory with training logs", paths[0]);
    }
    qsort(import->runs, import->run_count, sizeof(*import->runs), by_name);
}

// ---- the whole

static const struct listener {
    const char *pattern;
    struct peal_subscribe_options options;
    peal_handler *handler;
    int count; // what it counts, if it does nothing else
} listeners[] = {
    { "training.submission_org, training.submission_platform, training.submission_benchmark, "
      "training.run.stopped",
      { .label = "facts", .concurrency = 2 },
      on_fact,
      0 },
    { "training.eval_accuracy", { .label = "accuracy", .concurrency = 2 }, on_accuracy, 0 },
    { "training.epoch.*, training.block.*", { .label = "pace", .concurrency = 2 }, on_pace, 0 },
    { "training.*", { .label = "inline", .mode = PEAL_INLINE }, on_any, INLINE },
    { "training.*", { .label = "worker" }, on_any, WORKER },
};

enum { LISTENERS = sizeof(listeners) / sizeof(listeners[0]) };

// Waits until every subscription has settled all there is.
static void settle(peal_subscription *const subscriptions[LISTENERS])
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    for (size_t i = 0, waited_ms = 0; i < LISTENERS && waited_ms < PATIENCE_MS; waited_ms++) {
        struct peal_subscription_stats stats;
        must(peal_subscription_stats(&stats, subscriptions[i]));
        if (stats.lag + stats.waiting + stats.in_flight == 0) {
            i++;
        } else {
            (void)nanosleep(&pause, NULL); // shorter does no harm
        }
    }
}

static const char *or_unknown(const char *text)
{
    return *text ? text : "unknown";
}

// Files without an event line go last.
static int by_group(const void *a, const void *b)
{
    const struct run *one = a, *other = b;
    int order = (int)other->is_log - (int)one->is_log;
    order = order ? order : strcmp(one->organisation, other->organisation);
    order = order ? order : strverscmp(one->platform, other->platform);
    return order ? order : strcmp(one->benchmark, other->benchmark);
}

// Says whose logs these are: the table does not.
static void print_origin(char *const *paths, const struct run *runs, size_t count)
{
    size_t logs = 0, tail = strlen(PEAL_SAMPLE_DATA);
    for (size_t i = 0; i < count; i++) {
        logs += runs[i].is_log;
    }
    printf("%zu training logs", logs);
    for (const char *before = " in "; *paths; before = ", ", paths++) {
        size_t length = strlen(*paths);
        bool sample = length >= tail && strcmp(*paths + length - tail, PEAL_SAMPLE_DATA) == 0;
        printf("%s%s%s", before, *paths, sample ? " (the sample in the source tree)" : "");
    }
    puts(". Each event line of them was published to a bus;\n"
         "subscribers of the bus found out from the events, while they came, how the runs went.\n");
}

// Prints a row for each organisation, platform and benchmark, then the runs that failed.
static void print_table(struct run *runs, size_t count)
{
    printf("%-13s %-19s %-12s %5s %11s %9s %14s %7s\n", "organisation", "platform", "benchmark",
           "runs", "epochs/run", "s/epoch", "best accuracy", "failed");
    qsort(runs, count, sizeof(*runs), by_group);
    for (const struct run *first = runs, *at = runs; at < runs + count && at->is_log; first = at) {
        double epochs = 0, busy_ns = 0, best = 0;
        int failed = 0;
        for (; at < runs + count && by_group(first, at) == 0; at++) {
            const struct pace *pace = at->epoch.stopped > 0 ? &at->epoch : &at->block;
            epochs += pace->epochs;
            busy_ns += (double)pace->busy_ns;
            best = at->best > best ? at->best : best;
            failed += strcmp(at->status, "success") != 0;
        }
        printf("%-13s %-19s %-12s %5td %11.1f %9.2f %14.4f %7d\n", or_unknown(first->organisation),
               or_unknown(first->platform), or_unknown(first->benchmark), at - first,
               epochs / (double)(at - first), epochs > 0 ? busy_ns / 1e9 / epochs : 0, best,
               failed);
    }
    for (const struct run *at = runs; at < runs + count && at->is_log; at++) {
        if (strcmp(at->status, "success") != 0) {
            printf("failed: %s: %s\n", at->name, or_unknown(at->status));
        }
    }
}

// Says where every line went; true if each arrived everywhere.
static bool account(const uint64_t counts[COUNTS], size_t dead, const struct peal_leftover *left)
{
    static const char *const names[COUNTS] = { "event lines", "parsed", "published", "heard inline",
                                               "heard by a worker" };
    bool ok = counts[SEEN] > 0 && dead + left->undelivered + left->unsettled == 0;
    puts("");
    for (int i = 0; i < COUNTS; i++) {
        printf("%8ju %s\n", (uintmax_t)counts[i], names[i]);
        ok = ok && counts[i] == counts[SEEN];
    }
    printf("%8ju malformed, %zu in the dead letters, %ju undelivered\n%s\n",
           (uintmax_t)(counts[SEEN] - counts[PARSED]), dead,
           (uintmax_t)(left->undelivered + left->unsettled),
           ok ? "Every event is accounted for." : "NOT every event is accounted for.");
    return ok;
}

// Shows what a subscriber could not make sense of; returns how much that is.
static size_t show_dead(peal_bus *bus)
{
    struct peal_dead_list dead;
    must(peal_dead_list(&dead, bus, NULL));
    for (size_t i = 0; i < dead.count; i++) {
        const struct peal_dead_letter *letter = &dead.letters[i];
        warnx("%s:%s: %s: %s", peal_event_correlation(letter->event),
              peal_event_metadata(letter->event, "line"), letter->subscription, letter->text);
    }
    size_t count = dead.count;
    peal_dead_list_finish(&dead);
    return count;
}

static void listen_and_read(struct import *import, struct peal_leftover *left, size_t *dead)
{
    peal_subscription *subscriptions[LISTENERS];
    must(peal_bus_open(&import->bus, "mem:", NULL));
    for (size_t i = 0; i < LISTENERS; i++) {
        const struct listener *it = &listeners[i];
        must(peal_subscribe(&subscriptions[i], import->bus, it->pattern, &it->options, it->handler,
                            it->count ? (void *)&import->counts[it->count] : import));
    }
    for (size_t i = 0; i < import->run_count; i++) {
        read_file(import, &import->runs[i]);
        if (isatty(STDERR_FILENO)) {
            (void)fprintf(stderr, "%zu of %zu files\r", i + 1, import->run_count);
        }
    }
    settle(subscriptions);
    *dead = show_dead(import->bus);
    must(peal_bus_stop(import->bus, PATIENCE_MS, left));
    peal_bus_close(import->bus);
}

int main(int argc, char **argv)
{
    const char *data = getenv("PEAL_DATA"); // NOLINT(concurrency-mt-unsafe): no other thread yet
    char *standard[] = { (char *)(data ? data : PEAL_SAMPLE_DATA), NULL };
    struct import import = { 0 };
    struct peal_leftover left;
    size_t dead = 0;
    char **paths = argc > 1 ? argv + 1 : standard;
    find_files(&import, paths);
    listen_and_read(&import, &left, &dead);
    print_origin(paths, import.runs, import.run_count);
    print_table(import.runs, import.run_count);
    bool ok = account(import.counts, dead, &left);
    for (size_t i = 0; i < import.run_count; i++) {
        free(import.runs[i].file);
    }
    free(import.runs);
    return ok ? 0 : 1;
}
