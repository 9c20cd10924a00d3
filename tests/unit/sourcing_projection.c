// SPDX-License-Identifier: MIT
//
// Projections: every event from the first on, once, into a state; another state built beside it,
// which takes its place when it has seen as much; and nothing left of the old one.
#include "sourcing_account.h"

#include <peal/deadletter.h>

#include "bus/calls.h"

#define GENERATIONS 16

struct ledger;

// What a handler is given: its diary, and through it the ledger.
struct page {
    struct ledger *ledger;
    uint64_t generation;
};

// The states of a projection, which outlive it.
struct ledger {
    struct page pages[GENERATIONS];
    struct diary diaries[GENERATIONS]; // by generation
    bool alive[GENERATIONS];
    bool forgetful; // a new state is empty, whatever had its number
    unsigned created, destroyed, forgotten;
    enum peal_err answer;      // of create
    enum peal_verdict verdict; // of the handler, in `failing`
    uint64_t failing;          // generation; 0: none
};

static enum peal_err create(void **state, uint64_t generation, void *context)
{
    struct ledger *ledger = context;
    assert_true(generation > 0 && generation < GENERATIONS);
    if (ledger->answer) {
        return ledger->answer;
    }
    assert_false(ledger->alive[generation]);
    ledger->alive[generation] = true;
    ledger->created++;
    if (ledger->forgetful) {
        diary_clear(&ledger->diaries[generation]);
    }
    ledger->pages[generation] = (struct page){ ledger, generation };
    *state = &ledger->pages[generation];
    return PEAL_OK;
}

static void destroy(void *state, uint64_t generation, void *context)
{
    struct ledger *ledger = context;
    assert_ptr_equal(state, &ledger->pages[generation]);
    assert_true(ledger->alive[generation]);
    ledger->alive[generation] = false;
    ledger->destroyed++;
}

static void forget(uint64_t generation, void *context)
{
    struct ledger *ledger = context;
    assert_false(ledger->alive[generation]); // after its state
    ledger->forgotten++;
}

static enum peal_verdict note(const peal_event *event, void *context)
{
    const struct page *page = context;
    struct ledger *ledger = page->ledger;
    assert_true(ledger->alive[page->generation]);
    diary_note(&ledger->diaries[page->generation], event);
    return page->generation == ledger->failing ? ledger->verdict : PEAL_DONE;
}

static struct peal_projection_options options_of(struct ledger *ledger)
{
    return (struct peal_projection_options){ .name = "p",
                                             .pattern = "p.*",
                                             .handler = note,
                                             .context = ledger,
                                             .create = create,
                                             .destroy = destroy,
                                             .forget = forget };
}

static peal_projection *open_as(peal_bus *bus, const struct peal_projection_options *options)
{
    peal_projection *projection = NULL;
    enum peal_err err = peal_projection_open(&projection, bus, options);
    if (err) {
        print_error("opening: %s\n", peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
    return projection;
}

static struct peal_projection_progress progress_of(peal_projection *projection)
{
    struct peal_projection_progress progress;
    assert_int_equal(peal_projection_progress(&progress, projection), PEAL_OK);
    return progress;
}

static bool has_name(peal_bus *bus, uint64_t generation)
{
    return pl_name_next(bus, "p@", generation - 1) == generation;
}

// The data of the events of a run of numbers, as a diary has it.
static const char *numbers(unsigned first, unsigned last)
{
    static char text[DIARY_MAX];
    size_t length = 0;
    text[0] = '\0';
    for (unsigned i = first; i <= last; i++) {
        length +=
            (size_t)snprintf(text + length, sizeof text - length, i == first ? "%u" : " %u", i);
    }
    return text;
}

static void a_projection_sees_every_event_from_the_first_on(void **state)
{
    (void)state;
    struct stage stage;
    struct ledger ledger = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    say_numbers(&stage, "p.n", 1, 3);
    say(&stage, "other", "x");
    struct peal_projection_options options = options_of(&ledger);
    peal_projection *projection = open_as(stage.bus, &options);
    assert_int_equal(progress_of(projection).generation, 1);
    assert_int_equal(progress_of(projection).lag, 4);
    assert_int_equal(progress_of(projection).position, 0);
    peal_world_settle(stage.world);
    say_numbers(&stage, "p.n", 4, 5);
    peal_world_settle(stage.world);
    assert_string_equal(ledger.diaries[1].text, numbers(1, 5));
    struct peal_projection_progress progress = progress_of(projection);
    assert_int_equal(progress.lag, 0);
    assert_int_equal(progress.position, 6);
    assert_int_equal(progress.last_position, 6);
    assert_int_equal(progress.building, 0);
    peal_projection_close(projection);
    assert_int_equal(ledger.created, 1);
    assert_int_equal(ledger.destroyed, 1);
    assert_false(has_name(stage.bus, 1));
    stage_close(&stage);
}

static void a_rebuild_sees_all_again_and_takes_the_place_when_it_has(void **state)
{
    (void)state;
    struct stage stage;
    struct ledger ledger = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    say_numbers(&stage, "p.n", 1, 1000);
    struct peal_projection_options options = options_of(&ledger);
    peal_projection *projection = open_as(stage.bus, &options);
    peal_world_settle(stage.world);

    assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
    struct peal_projection_progress progress = progress_of(projection);
    assert_int_equal(progress.generation, 1);
    assert_int_equal(progress.building, 2);
    assert_int_equal(progress.building_position, 0);
    assert_int_equal(progress.building_lag, 1000);
    assert_int_equal(peal_projection_rebuild(projection), PEAL_ESTATE);
    assert_int_equal(peal_bus_dispatch(stage.bus, 999, NULL), PEAL_OK);
    progress = progress_of(projection);
    assert_int_equal(progress.generation, 1);
    assert_int_equal(progress.building_position, 999);
    assert_true(ledger.alive[1]);
    assert_int_equal(peal_bus_dispatch(stage.bus, 1, NULL), PEAL_OK);
    progress = progress_of(projection);
    assert_int_equal(progress.generation, 2);
    assert_int_equal(progress.building, 0);
    assert_int_equal(progress.position, 1000);
    assert_false(ledger.alive[1]);
    assert_false(has_name(stage.bus, 1));
    assert_true(has_name(stage.bus, 2));

    say_numbers(&stage, "p.n", 1001, 1002);
    peal_world_settle(stage.world);
    assert_string_equal(ledger.diaries[1].text, numbers(1, 1000));
    assert_string_equal(ledger.diaries[2].text, numbers(1, 1002));
    peal_projection_close(projection);
    assert_int_equal(ledger.destroyed, 2);
    stage_close(&stage);
}

static void the_one_that_serves_goes_on_until_the_new_one_is_near(void **state)
{
    (void)state;
    struct stage stage;
    struct ledger ledger = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    say_numbers(&stage, "p.n", 1, 1000);
    struct peal_projection_options options = options_of(&ledger);
    peal_projection *projection = open_as(stage.bus, &options);
    peal_world_settle(stage.world);
    assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
    say_numbers(&stage, "p.n", 1001, 1100);
    // Both run, a share each; in the end the old one waits for the new one.
    for (int i = 0; i < 10000 && progress_of(projection).building; i++) {
        assert_int_equal(peal_bus_dispatch(stage.bus, 1, NULL), PEAL_OK);
        struct peal_projection_progress progress = progress_of(projection);
        assert_true(!progress.building || progress.building_position <= progress.position);
    }
    assert_int_equal(progress_of(projection).generation, 2);
    assert_true(ledger.diaries[1].count >= 1000);
    assert_true(progress_of(projection).position >= ledger.diaries[1].count);
    peal_world_settle(stage.world);
    assert_string_equal(ledger.diaries[2].text, numbers(1, 1100));
    peal_projection_close(projection);
    stage_close(&stage);
}

static void where_there_is_nothing_to_see_the_place_is_taken_at_once(void **state)
{
    (void)state;
    struct stage stage;
    struct ledger ledger = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_projection_options options = options_of(&ledger);
    peal_projection *projection = open_as(stage.bus, &options);
    assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
    assert_int_equal(progress_of(projection).generation, 2);
    assert_int_equal(progress_of(projection).building, 0);
    say(&stage, "p.n", "1");
    peal_world_settle(stage.world);
    assert_string_equal(ledger.diaries[1].text, "");
    assert_string_equal(ledger.diaries[2].text, "1");
    peal_projection_close(projection);
    stage_close(&stage);
}

static void a_rebuild_that_is_cancelled_leaves_the_one_that_serves(void **state)
{
    (void)state;
    struct stage stage;
    struct ledger ledger = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    say_numbers(&stage, "p.n", 1, 20);
    struct peal_projection_options options = options_of(&ledger);
    peal_projection *projection = open_as(stage.bus, &options);
    peal_world_settle(stage.world);
    assert_int_equal(peal_projection_cancel(projection), PEAL_ENOTFOUND);
    assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
    assert_int_equal(peal_bus_dispatch(stage.bus, 5, NULL), PEAL_OK); // near: the old one is paused
    say_numbers(&stage, "p.n", 21, 22);
    assert_int_equal(peal_projection_cancel(projection), PEAL_OK);
    assert_int_equal(progress_of(projection).building, 0);
    assert_false(ledger.alive[2]);
    assert_false(has_name(stage.bus, 2));
    peal_world_settle(stage.world);
    assert_string_equal(ledger.diaries[1].text, numbers(1, 22));
    assert_int_equal(ledger.diaries[2].count, 5);

    // The next one begins anew under the same number, and is not confused with it.
    diary_clear(&ledger.diaries[2]);
    assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
    peal_world_settle(stage.world);
    assert_int_equal(progress_of(projection).generation, 2);
    assert_string_equal(ledger.diaries[2].text, numbers(1, 22));
    peal_projection_close(projection);
    stage_close(&stage);
}

static void a_state_that_is_held_stays_until_it_is_released(void **state)
{
    (void)state;
    struct stage stage;
    struct ledger ledger = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    say(&stage, "p.n", "1");
    struct peal_projection_options options = options_of(&ledger);
    peal_projection *projection = open_as(stage.bus, &options);
    peal_world_settle(stage.world);
    void *one, *again, *two;
    uint64_t first, second, third;
    assert_int_equal(peal_projection_acquire(&one, &first, projection), PEAL_OK);
    assert_int_equal(peal_projection_acquire(&again, &second, projection), PEAL_OK);
    assert_ptr_equal(one, &ledger.pages[1]);
    assert_ptr_equal(again, one);
    assert_int_equal(first, 1);
    assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
    peal_world_settle(stage.world);
    assert_int_equal(peal_projection_acquire(&two, &third, projection), PEAL_OK);
    assert_ptr_equal(two, &ledger.pages[2]);
    assert_int_equal(third, 2);
    assert_true(ledger.alive[1]);
    peal_projection_release(projection, first);
    assert_true(ledger.alive[1]);
    peal_projection_release(projection, second);
    assert_false(ledger.alive[1]);
    peal_projection_release(projection, second); // nobody holds it: nothing happens
    peal_projection_release(projection, third);
    peal_projection_release(projection, third); // nor the projection's own hold
    peal_projection_release(projection, 99);
    assert_true(ledger.alive[2]);
    peal_projection_close(projection);
    stage_close(&stage);
}

static void a_durable_one_goes_on_where_its_name_is(void **state)
{
    (void)state;
    struct stage stage;
    struct ledger ledger = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_projection_options options = options_of(&ledger);
    options.durable = true;
    say_numbers(&stage, "p.n", 1, 3);
    for (unsigned i = 0; i < 3; i++) {
        peal_projection *projection = open_as(stage.bus, &options);
        assert_int_equal(progress_of(projection).generation, 1);
        peal_world_settle(stage.world);
        assert_string_equal(ledger.diaries[1].text, numbers(1, 3 + i));
        peal_projection_close(projection);
        char data[8];
        (void)snprintf(data, sizeof data, "%u", 4 + i);
        say(&stage, "p.n", data);
    }
    // Rebuilt, it is the new one that goes on.
    peal_projection *projection = open_as(stage.bus, &options);
    peal_world_settle(stage.world);
    assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
    peal_world_settle(stage.world);
    peal_projection_close(projection);
    say(&stage, "p.n", "7");
    projection = open_as(stage.bus, &options);
    peal_world_settle(stage.world);
    assert_int_equal(progress_of(projection).generation, 2);
    assert_string_equal(ledger.diaries[2].text, numbers(1, 7));
    assert_int_equal(ledger.forgotten, 1); // the first one
    // What was being built when it was closed is not there the next time.
    assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
    assert_true(has_name(stage.bus, 3));
    peal_projection_close(projection);
    assert_false(has_name(stage.bus, 3));
    assert_true(has_name(stage.bus, 2));
    assert_int_equal(ledger.forgotten, 2);
    stage_close(&stage);
}

static void what_a_crash_left_of_a_rebuild_is_forgotten(void **state)
{
    (void)state;
    for (int durable = 0; durable < 2; durable++) {
        struct stage stage;
        struct ledger ledger = { 0 };
        struct diary diary = { 0 };
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        say_numbers(&stage, "p.n", 1, 2);
        // Names, and nobody who has them: what is there after a crash.
        static const char *const names[] = { "p@2", "p@3", "p@03", "p@3x", "pp@9", "p@" };
        for (size_t i = 0; i < 6; i++) {
            struct peal_subscribe_options as = { .name = names[i], .from = PEAL_FROM_BEGINNING };
            peal_subscription *left = stage_subscribe(&stage, "p.*", &as, diary_write, &diary);
            peal_world_settle(stage.world);
            peal_unsubscribe(left);
        }
        struct peal_projection_options options = options_of(&ledger);
        options.durable = durable;
        peal_projection *projection = open_as(stage.bus, &options);
        say(&stage, "p.n", "3");
        peal_world_settle(stage.world);
        uint64_t generation = durable ? 2 : 4;
        assert_int_equal(progress_of(projection).generation, generation);
        assert_int_equal(ledger.forgotten, durable ? 1 : 2);
        assert_string_equal(ledger.diaries[generation].text, durable ? "3" : "1 2 3");
        assert_int_equal(pl_name_next(stage.bus, "p@", 0), generation);
        assert_int_equal(pl_name_next(stage.bus, "p@", generation), 0);
        assert_int_equal(pl_name_next(stage.bus, "pp@", 0), 9); // not ours
        peal_projection_close(projection);
        stage_close(&stage);
    }
}

static void it_is_open_once(void **state)
{
    (void)state;
    for (int durable = 0; durable < 2; durable++) {
        struct stage stage;
        struct ledger ledger = { 0 }, second = { 0 };
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct peal_projection_options options = options_of(&ledger);
        options.durable = durable;
        peal_projection *projection = open_as(stage.bus, &options), *other = NULL;
        options.context = &second;
        assert_int_equal(peal_projection_open(&other, stage.bus, &options), PEAL_EEXISTS);
        assert_null(other);
        assert_int_equal(second.created, second.destroyed);
        say(&stage, "p.n", "1");
        peal_world_settle(stage.world);
        assert_string_equal(ledger.diaries[1].text, "1");
        peal_projection_close(projection);
        options.context = &ledger;
        projection = open_as(stage.bus, &options); // and again, once it is closed
        peal_projection_close(projection);
        stage_close(&stage);
    }
}

static void an_event_that_fails_holds_up_no_switch(void **state)
{
    (void)state;
    static const enum peal_verdict verdicts[] = { PEAL_RETRY, PEAL_REJECT };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        struct ledger ledger = { .failing = 2, .verdict = verdicts[i] };
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        say_numbers(&stage, "p.n", 1, 3);
        struct peal_projection_options options = options_of(&ledger);
        options.retry.max_attempts = 2;
        peal_projection *projection = open_as(stage.bus, &options);
        peal_world_settle(stage.world);
        assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
        peal_world_advance(stage.world, 10000);
        assert_int_equal(progress_of(projection).generation, 2);
        assert_int_equal(stage_stats(&stage).dead_letters, 3);
        // Mended, and tried again, they go into the state.
        ledger.failing = 0;
        diary_clear(&ledger.diaries[2]);
        assert_int_equal(peal_dead_retry(stage.bus, NULL, false, NULL), PEAL_OK);
        peal_world_settle(stage.world);
        assert_string_equal(ledger.diaries[2].text, numbers(1, 3));
        peal_projection_close(projection);
        stage_close(&stage);
    }
}

static void what_create_refuses_is_not_opened_and_not_rebuilt(void **state)
{
    (void)state;
    struct stage stage;
    struct ledger ledger = { .answer = PEAL_EIO };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_projection_options options = options_of(&ledger);
    peal_projection *projection = NULL;
    assert_int_equal(peal_projection_open(&projection, stage.bus, &options), PEAL_EIO);
    assert_null(projection);
    assert_int_equal(stage_stats(&stage).subscriptions, 0);
    ledger.answer = PEAL_OK;
    projection = open_as(stage.bus, &options);
    ledger.answer = PEAL_EIO;
    assert_int_equal(peal_projection_rebuild(projection), PEAL_EIO);
    assert_int_equal(progress_of(projection).building, 0);
    assert_int_equal(progress_of(projection).generation, 1);
    peal_projection_close(projection);
    assert_int_equal(ledger.created, ledger.destroyed);
    stage_close(&stage);
}

static void a_projection_without_create_fills_its_context(void **state)
{
    (void)state;
    struct stage stage;
    struct diary diary = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_projection_options options = {
        .name = "p", .pattern = "p.*", .handler = diary_write, .context = &diary
    };
    peal_projection *projection = open_as(stage.bus, &options);
    say(&stage, "p.n", "1");
    peal_world_settle(stage.world);
    void *held;
    uint64_t generation;
    assert_int_equal(peal_projection_acquire(&held, &generation, projection), PEAL_OK);
    assert_ptr_equal(held, &diary);
    peal_projection_release(projection, generation);
    assert_string_equal(diary.text, "1");
    peal_projection_close(projection);
    stage_close(&stage);
}

// ---- from a handler -----------------------------------------------------------------------------

struct insider {
    peal_projection *projection;
    enum peal_err wait, rebuild;
    unsigned calls;
};

static enum peal_verdict act_inside(const peal_event *event, void *context)
{
    (void)event;
    struct insider *insider = context;
    if (insider->calls++ == 0) {
        insider->rebuild = peal_projection_rebuild(insider->projection);
        insider->wait = peal_projection_wait(insider->projection, 1000);
        peal_projection_close(insider->projection); // does nothing
    }
    return PEAL_DONE;
}

static void its_own_handler_may_have_it_rebuilt_but_not_wait_or_close(void **state)
{
    (void)state;
    struct stage stage;
    struct insider insider = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_projection_options options = {
        .name = "p", .pattern = "p.*", .handler = act_inside, .context = &insider
    };
    insider.projection = open_as(stage.bus, &options);
    say(&stage, "p.n", "1");
    peal_world_settle(stage.world);
    assert_int_equal(insider.rebuild, PEAL_OK);
    assert_int_equal(insider.wait, PEAL_EAGAIN);
    assert_int_equal(insider.calls, 2);
    assert_int_equal(progress_of(insider.projection).generation, 2);
    peal_projection_close(insider.projection);
    stage_close(&stage);
}

static void who_drives_the_bus_does_not_wait(void **state)
{
    (void)state;
    struct stage stage;
    struct ledger ledger = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    say(&stage, "p.n", "1");
    struct peal_projection_options options = options_of(&ledger);
    peal_projection *projection = open_as(stage.bus, &options);
    peal_world_settle(stage.world);
    assert_int_equal(peal_projection_wait(projection, 1000), PEAL_OK); // there is nothing to wait
    assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
    assert_int_equal(peal_projection_wait(projection, 1000), PEAL_ESTATE);
    peal_world_settle(stage.world);
    assert_int_equal(peal_projection_wait(projection, 1000), PEAL_OK);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_projection_wait(projection, 1000), PEAL_ECLOSED);
    assert_int_equal(peal_projection_rebuild(projection), PEAL_ECLOSED);
    peal_projection_close(projection); // of a bus that has stopped
    assert_int_equal(ledger.created, ledger.destroyed);
    stage_close(&stage);
}

// ---- in every order -----------------------------------------------------------------------------

struct publisher {
    struct stage *stage;
    peal_projection *projection;
};

static void publish_slowly(void *context)
{
    struct publisher *publisher = context;
    for (unsigned i = 101; i <= 200; i++) {
        say_numbers(publisher->stage, "p.n", i, i);
        peal_world_yield(publisher->stage->world);
    }
}

// Looks at the state that serves: it never goes back.
static void watch(void *context)
{
    struct publisher *publisher = context;
    unsigned most = 0;
    uint64_t newest = 0;
    for (int i = 0; i < 300; i++) {
        void *held;
        uint64_t generation;
        assert_int_equal(peal_projection_acquire(&held, &generation, publisher->projection),
                         PEAL_OK);
        const struct page *page = held;
        peal_world_yield(publisher->stage->world); // it may have lost its place meanwhile
        unsigned count = page->ledger->diaries[generation].count;
        assert_true(generation >= newest);
        assert_true(count >= most);
        newest = generation;
        most = count;
        peal_projection_release(publisher->projection, generation);
        peal_world_yield(publisher->stage->world);
    }
}

// Others may go first while an event is on its way to a handler, and when it comes back.
static enum peal_verdict dawdle(const peal_event *event, peal_next *next, void *context)
{
    peal_world_yield(context);
    enum peal_verdict verdict = peal_next_call(next, event);
    peal_world_yield(context);
    return verdict;
}

static void the_switch_loses_and_repeats_nothing_while_events_arrive(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= effort(2000); seed++) {
        struct stage stage;
        static struct ledger ledger;
        ledger = (struct ledger){ .forgetful = true };
        stage_open(&stage, seed, 2);
        say_numbers(&stage, "p.n", 1, 100);
        struct peal_projection_options options = options_of(&ledger);
        peal_projection *projection = open_as(stage.bus, &options);
        struct publisher publisher = { &stage, projection };
        if (seed % 3) {
            assert_int_equal(peal_bus_use(stage.bus, 0, dawdle, stage.world), PEAL_OK);
        }
        assert_int_equal(peal_world_spawn(stage.world, publish_slowly, &publisher), PEAL_OK);
        assert_int_equal(peal_world_spawn(stage.world, watch, &publisher), PEAL_OK);
        for (uint64_t i = 0; i < 2; i++) {
            // Often as early as can be, while an event is on its way to the first one.
            uint64_t most = peal_world_random(stage.world) % 2 ? 100 : 8;
            for (uint64_t n = peal_world_random(stage.world) % most; n > 0; n--) {
                peal_world_yield(stage.world);
            }
            assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
            if (peal_world_random(stage.world) % 4 == 0) {
                (void)peal_projection_cancel(projection); // it may be too late
                (void)peal_projection_rebuild(projection);
            }
            assert_int_equal(peal_projection_wait(projection, 60000), PEAL_OK);
        }
        if (seed % 2) {
            peal_world_settle(stage.world);
            uint64_t generation = progress_of(projection).generation;
            assert_string_equal(ledger.diaries[generation].text, numbers(1, 200));
            assert_int_equal(progress_of(projection).lag, 0);
        } else {
            peal_world_settle(stage.world);
            assert_int_equal(peal_projection_rebuild(projection), PEAL_OK); // closed in the midst
        }
        peal_projection_close(projection);
        assert_int_equal(ledger.created, ledger.destroyed);
        assert_int_equal(stage_stats(&stage).subscriptions, 0);
        stage_close(&stage);
    }
}

static void names_and_limits_are_looked_at(void **state)
{
    (void)state;
    struct stage stage;
    struct ledger ledger = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    char name[PEAL_PROJECTION_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[PEAL_PROJECTION_NAME_MAX + 1] = '\0';
    struct peal_projection_options options = options_of(&ledger);
    peal_projection *projection = NULL;
    options.name = name;
    assert_int_equal(peal_projection_open(&projection, stage.bus, &options), PEAL_ELIMIT);
    name[PEAL_PROJECTION_NAME_MAX] = '\0';
    projection = open_as(stage.bus, &options);
    assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
    peal_projection_close(projection);
    stage_close(&stage);

    stage_open_as(&stage, 1, "noop:", NULL);
    options.name = "p";
    assert_int_equal(peal_projection_open(&projection, stage.bus, &options), PEAL_EUNSUPPORTED);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_projection_sees_every_event_from_the_first_on),
        cmocka_unit_test(a_rebuild_sees_all_again_and_takes_the_place_when_it_has),
        cmocka_unit_test(the_one_that_serves_goes_on_until_the_new_one_is_near),
        cmocka_unit_test(where_there_is_nothing_to_see_the_place_is_taken_at_once),
        cmocka_unit_test(a_rebuild_that_is_cancelled_leaves_the_one_that_serves),
        cmocka_unit_test(a_state_that_is_held_stays_until_it_is_released),
        cmocka_unit_test(a_durable_one_goes_on_where_its_name_is),
        cmocka_unit_test(what_a_crash_left_of_a_rebuild_is_forgotten),
        cmocka_unit_test(it_is_open_once),
        cmocka_unit_test(an_event_that_fails_holds_up_no_switch),
        cmocka_unit_test(what_create_refuses_is_not_opened_and_not_rebuilt),
        cmocka_unit_test(a_projection_without_create_fills_its_context),
        cmocka_unit_test(its_own_handler_may_have_it_rebuilt_but_not_wait_or_close),
        cmocka_unit_test(who_drives_the_bus_does_not_wait),
        cmocka_unit_test(the_switch_loses_and_repeats_nothing_while_events_arrive),
        cmocka_unit_test(names_and_limits_are_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
