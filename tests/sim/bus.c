// SPDX-License-Identifier: MIT
// ctest: timeout=900
//
// The bus, simulated: every seed is another bus, other subscriptions, another programme and another
// interleaving, in a world of virtual threads and virtual time.
//
//     PEAL_SEEDS=100000 PEAL_SEED=1 build/dev/tests/sim/bus
//
// runs that many seeds from that one on. A run ends in order (everybody calms down, everything must
// be settled or told to be lost) or with a stop in the middle of the load. Whatever goes wrong, the
// last line printed runs the same seed again and says what happens: PEAL_TALK=1.
//
// Some of the buses are on file:. Of these some end with a power cut, and all are opened again.
//
// Read bus_sim.h for how the parts hang together, bus_model.h for what is checked.
#include "sim/bus_again.h"
#include "sim/bus_checks.h"

#include <signal.h>

#define SEEDS  10000UL
#define ROUNDS 400U // of an orderly end, until it is called none
#define ALARM  120  // seconds: a run takes milliseconds; one that takes so long has no end

// The line that is printed when nothing else works any more.
static char last_line[512];

// ---- dying --------------------------------------------------------------------------------------

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

static void last_words(void)
{
    // Nobody is left to hear of a failure.
    (void)!write(STDERR_FILENO, last_line, strlen(last_line));
}

static void on_signal(int number)
{
    last_words();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void prepare_to_die(void)
{
    static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGALRM };
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        (void)signal(signals[i], on_signal); // else it dies without a word
    }
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(last_words);
    }
}

// ---- a run --------------------------------------------------------------------------------------

// What all runs did, for who wonders whether they did anything.
struct totals {
    uint64_t notes, calls, delivered, failed, dead, lost, stopped, stored, cut;
};

static void add_totals(struct totals *totals, const struct sim *sim, bool early)
{
    totals->notes += sim->note_count;
    totals->calls += sim->calls;
    totals->stopped += early;
    for (unsigned i = 0; i < sim->box_count; i++) {
        totals->delivered += sim->boxes[i].counts.delivered;
        totals->failed += sim->boxes[i].counts.failed;
        totals->dead += sim->boxes[i].counts.dead;
        totals->lost += sim->boxes[i].lost;
    }
}

static void start_fiber(struct sim *sim, void (*run)(void *), void *context)
{
    if (peal_world_spawn(sim->world, run, context)) {
        wrong(sim, "no fiber: %s", peal_error_sentence());
    }
}

static void open_bus(struct sim *sim)
{
    draw_run(sim);
    enum peal_err err = peal_bus_open(&sim->bus, sim->stores ? LOG_URL : "mem:", &sim->options);
    for (unsigned i = 0; i < TYPES && !err; i++) {
        err = peal_topic_open(&sim->topics[i], sim->bus, type_names[i]);
    }
    if (!err && sim->intercepts) {
        err = peal_bus_intercept(sim->bus, "user.*", 1, refuse_some, sim);
        err = err ? err : peal_bus_intercept(sim->bus, "order.*", 0, give_keys, sim);
    }
    if (!err && sim->wraps) {
        err = peal_bus_use(sim->bus, 0, wrap, sim);
    }
    if (err) {
        wrong(sim, "opening: %s: %s", peal_err_name(err), peal_error_sentence());
    }
}

static void drive(void *context)
{
    struct sim *sim = context;
    while (!sim->winding && !sim->stopping) {
        enum peal_err err = peal_bus_run(sim->bus, draw(sim, 100));
        if (err && err != PEAL_ECLOSED) {
            wrong(sim, "driving: %s: %s", peal_err_name(err), peal_error_sentence());
        }
        peal_world_sleep(sim->world, 1 + draw(sim, 20));
    }
    sim->loopers--;
}

static void start_everybody(struct sim *sim, struct publisher *publishers)
{
    unsigned boxes = 1 + draw(sim, 9);
    while (boxes-- > 0) {
        (void)add_box(sim); // there is room
    }
    for (unsigned i = 0; i < sim->publishers; i++) {
        publishers[i] = (struct publisher){ sim, i, 0 };
        sim->actors++;
        start_fiber(sim, publisher_main, &publishers[i]);
    }
    sim->actors += 2;
    start_fiber(sim, churn_main, sim);
    start_fiber(sim, operator_main, sim);
    sim->loopers++;
    start_fiber(sim, settler_main, sim);
    if (sim->options.workers < 0 && chance(sim, 50)) {
        sim->loopers++;
        start_fiber(sim, drive, sim);
    }
}

static void pass_time(struct sim *sim, uint64_t ms)
{
    peal_world_advance(sim->world, ms);
    at_rest(sim);
}

// ---- an orderly end -----------------------------------------------------------------------------

// Discards or retries the dead letters of a box.
static void clear_letters(struct box *box)
{
    struct sim *sim = box->sim;
    bool by_name = box->named && chance(box->sim, 50);
    struct peal_dead_filter filter = { .subscription = by_name ? box->name : box->label };
    struct peal_dead_list list;
    uint64_t affected = 0, expected = 0;
    if (peal_dead_list(&list, sim->bus, &filter)) {
        wrong(sim, "listing dead letters: %s", peal_error_sentence());
    }
    const struct member *member = somebody(box);
    bool again = member && !look(member).failed_overflow && chance(sim, 50);
    for (size_t i = 0; i < list.count; i++) {
        struct life *life = life_of(sim, &list.letters[i], &box);
        expected += !list.letters[i].retrying;
        life->revive = life->revive || again;
        life->discard = !again && !list.letters[i].retrying;
    }
    enum peal_err err = again ? peal_dead_retry(sim->bus, &filter, false, &affected)
                              : peal_dead_discard(sim->bus, &filter, false, &affected);
    tell(sim, "%s: %s all dead letters: %llu", box->label, again ? "retries" : "discards",
         (unsigned long long)affected);
    if (err || affected != expected) {
        wrong(sim, "%s: %s %llu of %llu dead letters: %s", box->label,
              again ? "retried" : "discarded", (unsigned long long)affected,
              (unsigned long long)expected, peal_err_name(err));
    }
    for (size_t i = 0; i < list.count; i++) {
        struct life *life = life_of(sim, &list.letters[i], &box);
        if (life->discard && life->state == DEAD) {
            life->discard = false;
            life->state = DISCARDED;
            if (blocks_key(box)) {
                end_life(box, life, DISCARDED);
            }
        }
    }
    peal_dead_list_finish(&list);
}

static bool is_done(struct box *box)
{
    const struct member *member = somebody(box);
    if (!member) {
        return !box->came || box->gone_begun || box->named;
    }
    struct peal_subscription_stats stats = look(member);
    if (stats.failed_overflow) {
        return true;
    }
    struct sums sums = sum_up(box, false);
    if (stats.waiting || stats.in_flight || sums.dead || sums.later) {
        return false;
    }
    return is_lossy(box) || may_miss(box) || sums.must == 0;
}

static bool tidy_up(struct sim *sim)
{
    bool done = true;
    for (unsigned i = 0; i < sim->box_count; i++) {
        struct box *box = &sim->boxes[i];
        if (!somebody(box) && box->named && box->came && (i % 4 != 0 || sim->options.dead_max)) {
            (void)join(box); // the next round shows whether it could
            done = false;
        } else {
            clear_letters(box); // while all are at rest
        }
        done = is_done(box) && done;
    }
    for (unsigned i = 0; i < sim->box_count; i++) {
        struct member *member = somebody(&sim->boxes[i]);
        if (member) {
            pause_or_resume(member, false);
        }
    }
    for (unsigned i = 0; i < HANDLES_MAX; i++) {
        struct handle *handle = &sim->handles[i];
        if (handle->box && !handle->taken) {
            settle(sim, handle, PEAL_DONE);
            done = false;
        }
    }
    return done;
}

// Says who is to blame that there is no end.
static _Noreturn void never_ends(struct sim *sim)
{
    for (unsigned i = 0; i < sim->box_count; i++) {
        if (!is_done(&sim->boxes[i])) {
            check_settled(&sim->boxes[i]);
            (void)sum_up(&sim->boxes[i], true); // says what it waits for
            wrong(sim, "%s: never done", sim->boxes[i].label);
        }
    }
    wrong(sim, "it has no end");
}

static void end_in_order(struct sim *sim)
{
    sim->calm = true;
    unsigned rounds = 0;
    do {
        pass_time(sim, 200 + draw(sim, 2000));
        if (++rounds > ROUNDS) {
            never_ends(sim);
        }
    } while (!tidy_up(sim));
    pass_time(sim, 5000); // what was lost is told
    for (unsigned i = 0; i < sim->box_count; i++) {
        check_settled(&sim->boxes[i]);
    }
    query_something(sim);
    check_versions(sim);
}

// ---- stopping and closing -----------------------------------------------------------------------

static void stop(void *context)
{
    struct sim *sim = context;
    struct peal_leftover left;
    uint64_t deadline = chance(sim, 30) ? 0 : draw(sim, 3000);
    tell(sim, "stops, within %llu ms", (unsigned long long)deadline);
    sim->stopping = true;
    enum peal_err err = peal_bus_stop(sim->bus, deadline, &left);
    sim->stopped = true;
    tell(sim, "has stopped: %llu undelivered, %llu retrying, %llu unsettled, %llu running",
         (unsigned long long)left.undelivered, (unsigned long long)left.retrying,
         (unsigned long long)left.unsettled, (unsigned long long)left.running);
    if (err && !(err == PEAL_EIO && sim->dark)) {
        wrong(sim, "stopping: %s: %s", peal_err_name(err), peal_error_sentence());
    }
}

static void check_leftover(struct sim *sim)
{
    struct peal_leftover left;
    if (peal_bus_stop(sim->bus, 0, &left) || left.running != 0) {
        wrong(sim, "stopped, and %llu handlers run", (unsigned long long)left.running);
    }
    uint64_t waiting = 0, in_flight = 0;
    bool known = true;
    for (unsigned i = 0; i < sim->box_count; i++) {
        struct box *box = &sim->boxes[i];
        const struct member *member = somebody(box);
        if (member) {
            struct peal_subscription_stats stats = look(member);
            waiting += stats.waiting;
            in_flight += stats.in_flight;
            check_left(box);
        }
        known = known && (member || !box->named);
    }
    if (known && (left.undelivered != waiting || left.unsettled != in_flight)) {
        wrong(sim, "%llu are said to be left, and %llu unsettled; it is %llu and %llu",
              (unsigned long long)left.undelivered, (unsigned long long)left.unsettled,
              (unsigned long long)waiting, (unsigned long long)in_flight);
    }
}

static void settle_some(struct sim *sim, unsigned percent)
{
    for (unsigned i = 0; i < HANDLES_MAX; i++) {
        struct handle *handle = &sim->handles[i];
        if (handle->box && chance(sim, percent)) {
            enum peal_err err =
                peal_delivery_settle(handle->delivery, (enum peal_verdict)draw(sim, 4));
            if (err && err != PEAL_ETIMEDOUT) {
                wrong(sim, "settling at the end: %s", peal_err_name(err));
            }
            handle->box = NULL;
        }
    }
}

static void finish(struct sim *sim)
{
    sim->winding = true;
    while (sim->actors + sim->loopers > 0 || !sim->stopped) {
        pass_time(sim, 100);
        if (sim->actors + sim->loopers == 0 && !sim->stopping) {
            stop(sim);
        }
    }
    if (!sim->dark) {
        check_leftover(sim);
        check_bus_counters(sim);
    }
    settle_some(sim, 50);
    peal_bus_close(sim->bus);
    settle_some(sim, 100);
    if (sim->stores) {
        go_on_again(sim);
    }
    peal_world_settle(sim->world);
    peal_world_close(sim->world);
}

static void run(struct sim *sim, uint64_t seed, bool talks, struct totals *totals)
{
    static struct publisher publishers[4];
    memset(sim, 0, sizeof *sim);
    sim->seed = seed;
    sim->chance = mix(seed);
    sim->talks = talks;
    if (peal_world_open(&sim->world, seed)) {
        (void)fprintf(stderr, "no world: %s\n", peal_error_sentence());
        abort();
    }
    open_bus(sim);
    start_everybody(sim, publishers);
    bool early = chance(sim, 35);
    unsigned rounds = early ? draw(sim, 12) : UINT32_MAX;
    for (unsigned i = 0; i < rounds && sim->actors > 0; i++) {
        pass_time(sim, draw(sim, 200));
    }
    bool cut = early && sim->stores && chance(sim, 60);
    if (cut) {
        cut_power(sim);
    }
    if (!early) {
        end_in_order(sim);
    } else if (chance(sim, 50)) {
        stop(sim);
    } else {
        start_fiber(sim, stop, sim);
    }
    finish(sim);
    add_totals(totals, sim, early);
    totals->stored += sim->stores;
    totals->cut += cut;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name); // NOLINT(concurrency-mt-unsafe): nobody sets it
    return text ? strtoull(text, NULL, 10) : otherwise;
}

int main(int count, char **arguments)
{
    uint64_t seeds = setting("PEAL_SEEDS", SEEDS * setting("PEAL_EFFORT", 100) / 100),
             first = setting("PEAL_SEED", 1);
    bool talks = setting("PEAL_TALK", 0) != 0;
    struct totals totals = { 0 };
    struct sim *sim = malloc(sizeof *sim);
    if (!sim) {
        return EXIT_FAILURE;
    }
    prepare_to_die();
    (void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ); // what was said is to be there when it dies
    for (uint64_t i = 0; i < seeds; i++) {
        unsigned long long seed = first + i;
        (void)snprintf(last_line, sizeof last_line, "PEAL_SEED=%llu PEAL_SEEDS=1 PEAL_TALK=1 %s\n",
                       seed, count > 0 ? arguments[0] : "");
        (void)alarm(ALARM);
        run(sim, seed, talks, &totals);
    }
    free(sim);
    (void)printf(
        "%llu seeds from %llu on, %llu stopped in the middle, %llu on file:, %llu of them by a "
        "power cut: %llu events, %llu handler calls, %llu done, %llu attempts failed, %llu dead, "
        "%llu lost and told\n",
        (unsigned long long)seeds, (unsigned long long)first, (unsigned long long)totals.stopped,
        (unsigned long long)totals.stored, (unsigned long long)totals.cut,
        (unsigned long long)totals.notes, (unsigned long long)totals.calls,
        (unsigned long long)totals.delivered, (unsigned long long)totals.failed,
        (unsigned long long)totals.dead, (unsigned long long)totals.lost);
    return EXIT_SUCCESS;
}
