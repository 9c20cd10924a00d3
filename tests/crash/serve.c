// SPDX-License-Identifier: MIT
// ctest: serial timeout=900
//
// `peal serve` is killed under load from HTTP and C clients, 100 times, or PEAL_KILLS, in percent
// of PEAL_EFFORT. Of what it has acknowledged nothing is lost, changed or doubled; nothing is
// invented; who follows and resumes has seen each event once, in order; and what was settled is not
// delivered again: over HTTP once that was answered, to the library as long as its bus lives, and
// once peal_name_save has returned to nobody.
//
//     publishers   one at a time, tried again until answered, and never tried again; batches;
//                  NDJSON; the library through `http:`
//     readers      SSE with Last-Event-ID, WebSocket with `after`, pull and settle; the library: a
//                  subscription, and a durable name, which another bus takes over now and then
//
// Each life lasts until every client has got on in it, and for as many events more as chance says;
// some are cut off as soon as they listen. Whose connection breaks waits for the next life: one
// that breaks without a kill holds the test up until it fails.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "crash/load.h"

// ---- the service --------------------------------------------------------------------------------

static void run_service(const struct world *world)
{
    char listen_to[32];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); // it does not outlive a test that fails
    int journal = open(world->journal, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)snprintf(listen_to, sizeof listen_to, "127.0.0.1:%u", (unsigned)world->port);
    (void)dup2(journal, 1);
    (void)dup2(journal, 2);
    (void)execl(PEAL_PROGRAM, "peal", "serve", "--url", world->log, "--listen", listen_to,
                "--port-file", world->port_file, (char *)NULL);
    _exit(127);
}

// Waits until it listens, and says so to those who wait for it.
static void start_service(struct world *world)
{
    char line[16] = "";
    world->pid = fork();
    assert_true(world->pid >= 0);
    if (world->pid == 0) {
        run_service(world);
    }
    for (size_t used = 0; used < sizeof line - 1 && !strchr(line, '\n');) {
        struct pollfd said = { .fd = world->ports, .events = POLLIN };
        if (poll(&said, 1, PATIENCE_MS) != 1) {
            fail_msg("the service does not start: see %s", world->journal);
        }
        ssize_t got = read(world->ports, line + used, sizeof line - 1 - used);
        assert_true(got > 0);
        used += (size_t)got;
    }
    world->port = (unsigned short)strtoul(line, NULL, 10);
    (void)pthread_mutex_lock(&world->lock);
    world->life = ++world->lives;
    (void)pthread_cond_broadcast(&world->changed);
    (void)pthread_mutex_unlock(&world->lock);
}

static void kill_service(struct world *world)
{
    int status;
    (void)pthread_mutex_lock(&world->lock);
    world->life = 0; // nobody begins anything new in this one
    (void)pthread_mutex_unlock(&world->lock);
    assert_int_equal(kill(world->pid, SIGKILL), 0);
    assert_int_equal(waitpid(world->pid, &status, 0), world->pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        fail_msg("the service has ended by itself (%x): see %s", (unsigned)status, world->journal);
    }
    world->pid = 0;
}

// ---- the test -----------------------------------------------------------------------------------

static unsigned setting(const char *name, unsigned usual)
{
    const char *given = getenv(name); // NOLINT(concurrency-mt-unsafe): nobody sets it
    return given ? (unsigned)strtoul(given, NULL, 10) : usual;
}

static uint64_t chance(uint64_t *seed, uint64_t below)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed % below;
}

// What was published, and what all readers have: who publishes waits for them. With the lock.
static uint64_t progress(const struct world *world)
{
    return world->published + slowest(world);
}

// Everybody has got on in this life, and all together so far. With the lock.
static bool has_lived(const struct world *world, uint64_t until)
{
    bool all = progress(world) >= until;
    for (unsigned i = 0; i < ACTORS; i++) {
        all = all && world->actors[i].moved_in == world->life;
    }
    return all;
}

static void live_and_die(struct world *world, uint64_t more)
{
    (void)pthread_mutex_lock(&world->lock);
    uint64_t until = progress(world) + more;
    bool late = false;
    time_t last = time(NULL) + LIFE_S;
    while (!*world->wrong && !late && !has_lived(world, until)) {
        late = !wait_for_change(world) || time(NULL) > last;
    }
    for (unsigned i = 0; i < ACTORS && late; i++) {
        if (world->actors[i].moved_in != world->life) {
            print_message("client %u does not get on\n", i);
        }
    }
    bool wrong = late || *world->wrong;
    (void)pthread_mutex_unlock(&world->lock);
    if (!wrong) {
        kill_service(world);
        start_service(world);
    } else if (late) {
        say_wrong(world, "somebody does not get on in life %" PRIu64, world->life);
    }
}

static void open_world(struct world *world)
{
    folder_open(&world->folder, "");
    (void)snprintf(world->log, sizeof world->log, "file:%s/events", world->folder.path);
    (void)snprintf(world->journal, sizeof world->journal, "%s/journal", world->folder.path);
    (void)snprintf(world->port_file, sizeof world->port_file, "%s/port", world->folder.path);
    (void)pthread_mutex_init(&world->lock, NULL);
    (void)pthread_cond_init(&world->changed, NULL);
    assert_int_equal(mkfifo(world->port_file, 0600), 0);
    world->ports = open(world->port_file, O_RDWR | O_CLOEXEC);
    assert_true(world->ports >= 0);
    start_service(world);
    struct caller caller = { .port = world->port };
    assert_true(caller_begin(&caller));
    assert_true(caller_ask(&caller, "/v1/subscriptions", "",
                           "{\"name\":\"puller\",\"pattern\":\"load.*\",\"from\":\"beginning\","
                           "\"retry\":{\"max_attempts\":1000,\"initial_ms\":20,"
                           "\"max_interval_ms\":20}}"));
    assert_int_equal(caller.status, 201);
    caller_end(&caller);
}

static void open_library(struct world *world)
{
    const struct peal_subscribe_options all = { .from = PEAL_FROM_BEGINNING };
    (void)snprintf(world->url, sizeof world->url, "http://127.0.0.1:%u", (unsigned)world->port);
    assert_int_equal(peal_bus_open(&world->bus, world->url, NULL), PEAL_OK);
    assert_int_equal(
        peal_subscribe(NULL, world->bus, "load.*", &all, hear, &world->actors[ACTORS - 1]),
        PEAL_OK);
    assert_true(open_named(world));
}

static void start_actors(struct world *world)
{
    for (unsigned i = 0; i < ACTORS; i++) {
        struct actor *actor = &world->actors[i];
        actor->world = world;
        actor->number = i;
        if (i < PUBLISHERS) {
            actor->publisher.position = calloc(EVENTS_MAX, sizeof(uint64_t));
            actor->publisher.known = calloc(EVENTS_MAX, 1);
            assert_true(actor->publisher.position && actor->publisher.known);
        } else {
            actor->reader.seen = calloc(EVENTS_MAX, sizeof(uint64_t));
            actor->reader.settled = calloc(EVENTS_MAX, 1);
            assert_true(actor->reader.seen && actor->reader.settled);
        }
    }
    open_library(world);
    static void *(*const readers[])(void *) = { read_stream, read_socket, read_pulled,
                                                read_by_name };
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&world->actors[i].thread, NULL,
                                        i < PUBLISHERS ? publish : readers[i - PUBLISHERS],
                                        &world->actors[i]),
                         0);
    }
}

// Publishers stop; what there is then, all readers have to have.
static void end_publishing(struct world *world)
{
    (void)pthread_mutex_lock(&world->lock);
    world->stopping = true;
    (void)pthread_cond_broadcast(&world->changed);
    (void)pthread_mutex_unlock(&world->lock);
    for (unsigned i = 0; i < PUBLISHERS; i++) {
        assert_int_equal(pthread_join(world->actors[i].thread, NULL), 0);
    }
    struct peal_bus_stats stats;
    enum peal_err err = *world->wrong ? PEAL_OK : peal_bus_stats(&stats, world->bus);
    if (err) {
        say_wrong(world, "%s", peal_error_sentence());
    }
    (void)pthread_mutex_lock(&world->lock);
    world->end = *world->wrong ? 0 : stats.last_position;
    bool late = false;
    while (!*world->wrong && !late && slowest(world) < world->end) {
        late = !wait_for_change(world);
    }
    world->ending = true;
    (void)pthread_cond_broadcast(&world->changed);
    for (unsigned i = 0; i < READERS && late; i++) {
        print_message("reader %u: %" PRIu64 " of %" PRIu64 "\n", i, world->read[i], world->end);
    }
    (void)pthread_mutex_unlock(&world->lock);
    if (late) {
        say_wrong(world, "a reader does not get all of %" PRIu64 " events", world->end);
    }
}

static void join_readers(struct world *world)
{
    // It asks the service, so that has to be there; the others wait for what does not come any
    // more.
    assert_int_equal(pthread_join(world->actors[THREADS - 1].thread, NULL), 0);
    if (world->pid) {
        kill_service(world);
    }
    for (unsigned i = PUBLISHERS; i < THREADS - 1; i++) {
        assert_int_equal(pthread_join(world->actors[i].thread, NULL), 0);
    }
    peal_bus_close(world->bus);
}

// One event of the log: somebody has said it, it is unchanged, and it stands where they were told.
static void check_event(struct world *world, const peal_event *event, uint64_t *kept)
{
    uint64_t key = key_of(event), position = peal_event_position(event);
    uint64_t number = key & UINT32_MAX, who = key >> 32;
    if (key == 0 || who > PUBLISHERS || number >= world->actors[who - 1].publisher.said) {
        fail_msg("%" PRIu64 ": nobody has said that: %s", position, peal_event_id(event));
    }
    const struct publisher *publisher = &world->actors[who - 1].publisher;
    uint64_t told = publisher->position[number];
    if (told == UINT64_MAX) {
        fail_msg("%s stands twice in the log, at last at %" PRIu64, peal_event_id(event), position);
    }
    if (told && told != position) {
        fail_msg("%s was said to be at %" PRIu64 ", and is at %" PRIu64, peal_event_id(event), told,
                 position);
    }
    for (unsigned i = 0; i < READERS; i++) {
        if (world->actors[PUBLISHERS + i].reader.seen[position] != key) {
            fail_msg("reader %u has another event, or none, for %" PRIu64, i, position);
        }
    }
    publisher->position[number] = UINT64_MAX; // it was found
    (*kept)++;
}

// Nothing was left undone, and the log knows it: what was saved last was all there is.
static void check_name(struct world *world, peal_bus *bus)
{
    for (uint64_t position = 1; position <= world->end; position++) {
        struct peal_standing found;
        assert_int_equal(peal_name_look(&found, bus, "handler", position), PEAL_OK);
        if (found.state != PEAL_STANDS_DONE) {
            fail_msg("%" PRIu64 " was settled and saved, and is not done", position);
        }
    }
}

static void check_log(struct world *world)
{
    peal_bus *bus;
    peal_reader *reader;
    const peal_event *event;
    uint64_t kept = 0, acknowledged = 0;
    assert_int_equal(peal_bus_open(&bus, world->log, NULL), PEAL_OK);
    assert_int_equal(peal_reader_open(&reader, bus, &(struct peal_query){ .pattern = TYPE }),
                     PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        check_event(world, event, &kept);
    }
    peal_reader_close(reader);
    check_name(world, bus);
    peal_bus_close(bus);
    assert_int_equal(kept, world->end);
    for (unsigned i = 0; i < PUBLISHERS; i++) {
        const struct publisher *publisher = &world->actors[i].publisher;
        for (uint64_t number = 0; number < publisher->said; number++) {
            acknowledged += publisher->known[number];
            if (publisher->known[number] && publisher->position[number] != UINT64_MAX) {
                fail_msg("%u-%" PRIu64 " was acknowledged, and is lost", i, number);
            }
        }
    }
    const struct reader *named = &world->actors[THREADS - 1].reader;
    print_message("%" PRIu64 " events, %" PRIu64 " acknowledged; %" PRIu64
                  " settled and saved by the library, to which %" PRIu64
                  " came again that were not, in %u changes of hands\n",
                  kept, acknowledged, named->sure, named->again, named->changes);
    assert_true(named->sure > kept / 2);
    assert_true(acknowledged >= ACTORS);
}

static void free_actors(struct world *world)
{
    for (unsigned i = 0; i < ACTORS; i++) {
        free(world->actors[i].publisher.position);
        free(world->actors[i].publisher.known);
        free(world->actors[i].reader.seen);
        free(world->actors[i].reader.settled);
    }
}

static void a_killed_service_keeps_what_it_has_acknowledged(void **state)
{
    (void)state;
    static struct world world;
    unsigned effort = setting("PEAL_EFFORT", 100);
    unsigned kills = setting("PEAL_KILLS", effort > 0 ? effort : 1);
    uint64_t seed = setting("PEAL_SEED", (unsigned)time(NULL)) | 1;
    print_message("seed %" PRIu64 "\n", seed);
    (void)signal(SIGPIPE, SIG_IGN);
    open_world(&world);
    start_actors(&world);

    for (unsigned i = 0; i < kills && !*world.wrong; i++) {
        live_and_die(&world, 1 + chance(&seed, 2400));
        if (chance(&seed, 8) == 0 && !*world.wrong) { // and once more, before it has served anybody
            kill_service(&world);
            start_service(&world);
        }
    }
    end_publishing(&world);
    join_readers(&world);

    if (*world.wrong) {
        fail_msg("%s; see %s", world.wrong, world.folder.path);
    }
    check_log(&world);
    free_actors(&world);
    (void)close(world.ports);
    folder_close(&world.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_service_keeps_what_it_has_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
