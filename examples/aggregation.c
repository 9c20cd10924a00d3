// SPDX-License-Identifier: MIT
//
// Aggregation: many events become one, every five seconds.
//
// A batch subscription collects for up to `batch_wait_ms` and then hands over all there is: that is
// the window, and needs no timer of our own. The handler counts by kind and publishes
// `metrics.aggregated`, which its pattern does not match, so it never hears itself.
//
// The trainer is a virtual thread, the clock a virtual one (peal/testing.h): a quarter of a minute
// passes at once, and every run gives the same figures.
#include <err.h>
#include <peal/peal.h>
#include <peal/testing.h>
#include <stdio.h>
#include <string.h>

enum { WINDOW_MS = 5000 };

struct trainer {
    peal_world *world;
    peal_bus *bus;
};

static void must(enum peal_err result)
{
    if (result) {
        errx(1, "%s", peal_error_sentence());
    }
}

static void aggregate(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                      void *context)
{
    size_t training = 0;
    for (size_t i = 0; i < count; i++) {
        training += strncmp(peal_event_type(events[i]), "training.", 9) == 0;
    }
    char data[128];
    int size =
        snprintf(data, sizeof(data),
                 "{\"training_events\":%zu,\"system_events\":%zu,\"events_per_second\":%.1f}",
                 training, count - training, (double)count * 1000 / WINDOW_MS);
    struct peal_message message = { .type = "metrics.aggregated", .data = data, .size = size };
    if (peal_publish(((struct trainer *)context)->bus, &message, NULL)) {
        for (size_t i = 0; i < count; i++) {
            verdicts[i] = PEAL_RELEASE; // the window is given back, not lost
        }
    }
}

// Twelve seconds of training: a batch twice a second, the memory looked at every other second.
static void train(void *context)
{
    struct trainer *trainer = context;
    for (int tick = 0; tick < 24; tick++) {
        peal_emit(trainer->bus, "training.batch_completed", "{\"loss\":0.3}", 12);
        if (tick % 4 == 0) {
            peal_emit(trainer->bus, "system.memory_usage", "{\"percentage\":61.5}", 19);
        }
        peal_world_sleep(trainer->world, 500);
    }
}

int main(void)
{
    struct trainer trainer = { 0 };
    must(peal_world_open(&trainer.world, 5));
    struct peal_bus_options options = { .world = trainer.world };
    must(peal_bus_open(&trainer.bus, "mem:", &options));
    struct peal_subscribe_options window = {
        .batch = aggregate,
        .batch_max = 4096, // a fuller window is handed over early
        .batch_wait_ms = WINDOW_MS,
    };
    must(peal_subscribe(NULL, trainer.bus, "training.*, system.*", &window, NULL, &trainer));
    peal_recorder *recorder = NULL;
    must(peal_recorder_open(&recorder, trainer.bus));

    must(peal_world_spawn(trainer.world, train, &trainer));
    peal_world_advance(trainer.world, 20000);

    size_t windows = peal_recorder_published(recorder, "metrics.aggregated");
    for (size_t i = 0; i < windows; i++) {
        const peal_event *event = peal_recorder_event(recorder, "metrics.aggregated", i);
        printf("%.*s\n", (int)peal_event_size(event), (const char *)peal_event_data(event));
    }
    size_t events = peal_recorder_published(recorder, "training.*, system.*");
    printf("%zu events in %zu windows of five seconds\n", events, windows);
    peal_recorder_close(recorder);
    peal_bus_close(trainer.bus);
    peal_world_close(trainer.world);
    return events == 30 && windows == 3 ? 0 : 1;
}
