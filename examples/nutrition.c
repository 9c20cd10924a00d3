// SPDX-License-Identifier: MIT
//
// Nutrition: a whole application on events. Users register, set goals and log meals; what they are
// is what their events say.
//
//     command ─► user aggregate ─► log ─┬─► welcome mail      inline: before the command returns
//                                       ├─► profile           a worker: two types, one handler
//                                       ├─► billing           fails, is tried again, dead letter
//                                       └─► calories a week   a projection, rebuilt
//
// Around it: an interceptor that puts the user into every event, a middleware that counts what is
// handled, a batch, queries by user, type and time, a meal written in an old form. The bus lives in
// a world of peal/testing.h, so that weeks pass in no time and every run is the same; the code
// would be the same without it.
#include <err.h>
#include <peal/peal.h>
#include <peal/testing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS UINT64_C(86400000)

enum { GOALS_MAX = 4, WEEKS_MAX = 8, RETRIES = 3 };

struct app {
    peal_world *world;
    peal_bus *bus;
    int64_t began_ns;
    int welcomed, profiles, charged, handled;
    bool gateway_down;
};

static void must(enum peal_err result)
{
    if (result) {
        errx(1, "%s", peal_error_sentence());
    }
}

static void check(bool holds, const char *what)
{
    if (!holds) {
        errx(1, "not so: %s", what);
    }
}

// ---- events -------------------------------------------------------------------------------------

static struct peal_message say(const char *type, const char *json)
{
    return (struct peal_message){ .type = type, .data = json, .size = strlen(json) };
}

static bool is(const peal_event *event, const char *type)
{
    return strcmp(peal_event_type(event), type) == 0;
}

// The text behind a name in an event's JSON, up to a quote, a comma or the end. Real programs use a
// JSON library; see mlperf.c.
static const char *field(const peal_event *event, const char *name, char out[64])
{
    char json[512], quoted[32];
    (void)snprintf(json, sizeof(json), "%.*s", (int)peal_event_size(event),
                   (const char *)peal_event_data(event));
    (void)snprintf(quoted, sizeof(quoted), "\"%s\":", name);
    const char *at = strstr(json, quoted);
    at = at ? at + strlen(quoted) : "";
    at += *at == '"';
    (void)snprintf(out, 64, "%.*s", (int)strcspn(at, "\",}"), at);
    return out;
}

static double number(const peal_event *event, const char *name)
{
    char text[64];
    return strtod(field(event, name, text), NULL);
}

// ---- the user: an aggregate ---------------------------------------------------------------------

struct user {
    char email[64];
    struct {
        char type[32];
        double target;
    } goals[GOALS_MAX];
    int goal_count, meal_count;
    double calories;
};

static enum peal_err apply(void *state, const peal_event *event, void *context)
{
    (void)context;
    struct user *user = state;
    char text[64];
    if (is(event, "user.registered")) {
        (void)snprintf(user->email, sizeof(user->email), "%s", field(event, "email", text));
    } else if (is(event, "nutrition.goal_set")) {
        int goal = 0;
        (void)field(event, "goal_type", text);
        while (goal < user->goal_count && strcmp(user->goals[goal].type, text) != 0) {
            goal++;
        }
        if (goal == GOALS_MAX) {
            return PEAL_ELIMIT;
        }
        (void)snprintf(user->goals[goal].type, sizeof(user->goals[goal].type), "%.31s", text);
        user->goals[goal].target = number(event, "target_value");
        user->goal_count += goal == user->goal_count;
    } else if (is(event, "meal.logged")) {
        user->meal_count++;
        user->calories += number(event, "calories");
    }
    return PEAL_OK;
}

static const struct peal_aggregate_type user_type = {
    .name = "user",
    .version = 1,
    .state_size = sizeof(struct user), // no pointers in it: its bytes are the snapshot
    .apply = apply,
    .snapshot_every = 10,
};

// A command: who is registered is not registered again.
static enum peal_err register_user(peal_aggregate *aggregate, void *email)
{
    if (peal_aggregate_version(aggregate) > 0) {
        return PEAL_EEXISTS;
    }
    char json[128];
    (void)snprintf(json, sizeof(json), "{\"email\":\"%s\",\"name\":\"John Doe\"}",
                   (const char *)email);
    struct peal_message registered = say("user.registered", json);
    return peal_aggregate_append(NULL, aggregate, &registered, 1);
}

struct goal {
    const char *type;
    double target;
};

static enum peal_err set_goal(peal_aggregate *aggregate, void *context)
{
    const struct goal *goal = context;
    const struct user *user = peal_aggregate_state(aggregate);
    if (goal->target <= 0 || !*user->email) {
        return PEAL_EREFUSED;
    }
    char json[128];
    (void)snprintf(json, sizeof(json), "{\"goal_type\":\"%s\",\"target_value\":%g}", goal->type,
                   goal->target);
    struct peal_message set = say("nutrition.goal_set", json);
    return peal_aggregate_append(NULL, aggregate, &set, 1);
}

// ---- handlers, middleware, upcaster -------------------------------------------------------------

static enum peal_verdict send_welcome(const peal_event *event, void *context)
{
    char email[64];
    ((struct app *)context)->welcomed++;
    printf("welcome mail to %s\n", field(event, "email", email));
    return PEAL_DONE;
}

static enum peal_verdict update_profile(const peal_event *event, void *context)
{
    (void)event; // a registration or a goal
    ((struct app *)context)->profiles++;
    return PEAL_DONE;
}

static enum peal_verdict charge(const peal_event *event, void *context)
{
    struct app *app = context;
    if (app->gateway_down) {
        peal_fail(event, "gateway_down", "the payment gateway does not answer");
        return PEAL_RETRY;
    }
    app->charged++;
    return PEAL_DONE;
}

// Before the log: every event of a user's stream says who it is about.
static enum peal_err add_user_context(peal_draft *draft, void *context)
{
    (void)context;
    const char *subject = peal_event_subject(peal_draft_event(draft));
    return strncmp(subject, "user-", 5) == 0 ? peal_draft_set_metadata(draft, "userid", subject)
                                             : PEAL_OK;
}

// Around every handler.
static enum peal_verdict count_handled(const peal_event *event, peal_next *next, void *context)
{
    ((struct app *)context)->handled++;
    return peal_next_call(next, event);
}

// Meals of the first version said "kj"; those of today say "calories".
static enum peal_err from_kilojoule(peal_upcast *upcast, void *context)
{
    (void)context;
    char json[64];
    int size = snprintf(json, sizeof(json), "{\"calories\":%.0f}",
                        number(peal_upcast_event(upcast), "kj") / 4.184);
    enum peal_err err = peal_upcast_set_data(upcast, json, (size_t)size);
    return err ? err : peal_upcast_set_schema(upcast, "meal.logged/2");
}

// ---- calories a week: a projection --------------------------------------------------------------

struct weeks {
    const struct app *app;
    double calories[WEEKS_MAX];
};

static enum peal_err new_weeks(void **state, uint64_t generation, void *context)
{
    (void)generation;
    struct weeks *weeks = calloc(1, sizeof(*weeks));
    if (weeks) {
        weeks->app = context;
        *state = weeks;
    }
    return weeks ? PEAL_OK : PEAL_ENOMEM;
}

static void free_weeks(void *state, uint64_t generation, void *context)
{
    (void)generation;
    (void)context;
    free(state);
}

static enum peal_verdict add_meal(const peal_event *event, void *state)
{
    struct weeks *weeks = state;
    uint64_t days = (uint64_t)(peal_event_time(event) - weeks->app->began_ns) / 1000000 / DAY_MS;
    if (days / 7 < WEEKS_MAX) {
        weeks->calories[days / 7] += number(event, "calories");
    }
    return PEAL_DONE;
}

static double calories_of(peal_projection *projection, size_t week)
{
    void *state = NULL;
    uint64_t generation = 0;
    must(peal_projection_acquire(&state, &generation, projection));
    double calories = ((const struct weeks *)state)->calories[week];
    peal_projection_release(projection, generation);
    return calories;
}

// ---- the event store: queries -------------------------------------------------------------------

static size_t count(const struct app *app, const struct peal_query *query)
{
    peal_reader *reader = NULL;
    const peal_event *event = NULL;
    size_t events = 0;
    must(peal_reader_open(&reader, app->bus, query));
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        events++;
    }
    peal_reader_close(reader);
    return events;
}

static void look_back(const struct app *app)
{
    int64_t week_ago = peal_world_now(app->world) - (int64_t)(7 * DAY_MS) * 1000000;
    struct peal_query timeline = { .subject = "user-123" };
    struct peal_query recent = { .pattern = "*", .from_time_ns = week_ago, .limit = 100 };
    struct peal_query meals = { .pattern = "meal.logged", .from_time_ns = week_ago };
    struct peal_query kinds = { .pattern = "user.registered, nutrition.goal_set" };
    struct peal_stream_query newest = { .subject = "user-123", .backwards = true, .limit = 1 };
    printf("the log: %zu events of user-123, %zu in the last week, %zu of them meals; %zu "
           "registrations and goals\n",
           count(app, &timeline), count(app, &recent), count(app, &meals), count(app, &kinds));
    check(count(app, &timeline) == 16 && count(app, &meals) == 8 && count(app, &kinds) == 6,
          "what the log has");

    peal_stream *stream = NULL;
    const peal_event *event = NULL;
    must(peal_stream_open(&stream, app->bus, &newest));
    must(peal_stream_next(&event, stream));
    check(peal_event_stream_version(event) == 16, "the newest event of the stream");
    check(strcmp(peal_event_metadata(event, "userid"), "user-123") == 0, "the user's context");
    peal_stream_close(stream);
}

// ---- dead letters -------------------------------------------------------------------------------

static void bill(struct app *app)
{
    app->gateway_down = true;
    struct peal_message paid = say("payment.processed", "{\"amount\":9.99,\"currency\":\"EUR\"}");
    paid.subject = "user-123";
    must(peal_publish(app->bus, &paid, NULL));
    peal_world_advance(app->world, 60000); // it is tried, and tried again
    struct peal_dead_count reasons[4];
    size_t kinds = 0;
    must(peal_dead_count(reasons, &kinds, app->bus, PEAL_DEAD_BY_REASON, 4));
    check(kinds == 1 && reasons[0].count == 1 && app->charged == 0, "one payment has failed");
    printf("dead letters: %llu because of %s\n", (unsigned long long)reasons[0].count,
           reasons[0].name);

    app->gateway_down = false;
    uint64_t retried = 0;
    must(peal_dead_retry(app->bus, NULL, false, &retried));
    peal_world_settle(app->world);
    struct peal_bus_stats stats;
    must(peal_bus_stats(&stats, app->bus));
    check(retried == 1 && app->charged == 1 && stats.dead_letters == 0, "and is made good");
}

// ---- a few weeks --------------------------------------------------------------------------------

static void set_up(struct app *app)
{
    struct peal_bus_options options = {
        .world = app->world,
        .source = "/nutrition",
        .dead_max = 1000,
        .dead_ms = 30 * DAY_MS,
    };
    must(peal_bus_open(&app->bus, "mem:", &options));
    app->began_ns = peal_world_now(app->world);
    must(peal_bus_intercept(app->bus, "*", 0, add_user_context, NULL));
    must(peal_bus_use(app->bus, 0, count_handled, app));
    must(peal_bus_upcast(
        app->bus, &(struct peal_upcast_rule){ .type = "meal.logged", .upcaster = from_kilojoule }));
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    struct peal_subscribe_options profile = { .label = "profile", .concurrency = 50 };
    struct peal_subscribe_options billing = { .label = "billing",
                                              .retry.max_attempts = RETRIES + 1 };
    must(peal_subscribe(NULL, app->bus, "user.registered", &inlined, send_welcome, app));
    must(peal_subscribe(NULL, app->bus, "user.registered, nutrition.goal_set", &profile,
                        update_profile, app));
    must(peal_subscribe(NULL, app->bus, "payment.processed", &billing, charge, app));
}

static void live(struct app *app)
{
    peal_aggregate *user = NULL;
    must(peal_aggregate_load(&user, app->bus, &user_type, "user-123"));
    must(peal_aggregate_execute(user, 0, register_user, "john@example.com"));
    check(app->welcomed == 1, "the mail was sent before the command returned");
    check(peal_aggregate_execute(user, 0, register_user, "again@example.com") == PEAL_EEXISTS,
          "nobody registers twice");
    struct goal calories = { "calories", 2000 }, weight = { "weight_loss", 2 }, bad = { "x", 0 };
    must(peal_aggregate_execute(user, 0, set_goal, &calories));
    must(peal_aggregate_execute(user, 0, set_goal, &weight));
    check(peal_aggregate_execute(user, 0, set_goal, &bad) == PEAL_EREFUSED, "a goal of nothing");

    struct peal_message first[] = {
        say("meal.plan_created", "{\"plan_id\":\"plan-456\",\"meal_count\":21}"),
        say("health.data_synced", "{\"steps\":9000}"),
        say("coaching.session_completed", "{\"minutes\":30}"),
        say("meal.logged", "{\"meal_id\":\"meal-0\",\"kj\":2092}"), // written by an old program
    };
    must(peal_aggregate_append(NULL, user, first, 4));
    peal_world_advance(app->world, 8 * DAY_MS);
    struct peal_message meal = say("meal.logged", "{\"meal_id\":\"meal-1\",\"calories\":500}");
    meal.schema = "meal.logged/2";
    for (int i = 0; i < 8; i++) {
        must(peal_aggregate_append(NULL, user, &meal, 1));
    }
    peal_aggregate_close(user);

    // Three more users, all or none; and what is about nobody.
    struct peal_message others[] = {
        say("user.registered", "{\"email\":\"user1@example.com\"}"),
        say("user.registered", "{\"email\":\"user2@example.com\"}"),
        say("user.registered", "{\"email\":\"user3@example.com\"}"),
        say("report.weekly_generated", "{\"week\":1}"),
    };
    others[0].subject = "user-1";
    others[1].subject = "user-2";
    others[2].subject = "user-3";
    must(peal_publish_batch(app->bus, others, 4, NULL));
    peal_world_settle(app->world);
    check(app->welcomed == 4 && app->profiles == 6, "four registrations, two goals");
}

static void load_again(const struct app *app)
{
    peal_aggregate *loaded = NULL;
    struct peal_aggregate_stats stats;
    must(peal_aggregate_load(&loaded, app->bus, &user_type, "user-123"));
    must(peal_aggregate_stats(&stats, loaded));
    const struct user *user = peal_aggregate_state(loaded);
    printf("%s, version %llu: %s, %d goals, %d meals, %.0f calories (a snapshot of version %llu "
           "and %llu events)\n",
           peal_aggregate_subject(loaded), (unsigned long long)peal_aggregate_version(loaded),
           user->email, user->goal_count, user->meal_count, user->calories,
           (unsigned long long)stats.snapshot_version, (unsigned long long)stats.applied);
    check(strcmp(user->email, "john@example.com") == 0 && user->goal_count == 2 &&
              user->meal_count == 9 && user->calories == 4500,
          "the user is what the events say");
    check(stats.snapshot_version == 10, "loaded through its snapshot");
    peal_aggregate_close(loaded);
}

int main(void)
{
    struct app app = { 0 };
    must(peal_world_open(&app.world, 4));
    set_up(&app);
    struct peal_projection_options options = { .name = "weeks",
                                               .pattern = "meal.logged",
                                               .handler = add_meal,
                                               .context = &app,
                                               .create = new_weeks,
                                               .destroy = free_weeks };
    peal_projection *weeks = NULL;
    must(peal_projection_open(&weeks, app.bus, &options));

    live(&app);
    bill(&app);
    must(peal_projection_rebuild(weeks)); // beside the one that serves, from the first event on
    must(peal_projection_wait(weeks, 1000));
    look_back(&app);
    load_again(&app);
    printf("calories: %.0f in the first week, %.0f in the second; %d events handled\n",
           calories_of(weeks, 0), calories_of(weeks, 1), app.handled);
    check(calories_of(weeks, 0) == 500 && calories_of(weeks, 1) == 4000, "the weeks");

    peal_projection_close(weeks);
    peal_bus_close(app.bus);
    peal_world_close(app.world);
    return 0;
}
