// SPDX-License-Identifier: MIT
//
// Correlation: find everything that belongs together, and play it again.
//
// Two training runs are under way at once; each of their events carries the run as correlation id.
// The checkpoint that a handler publishes because of an epoch says nothing about it, and belongs to
// the run all the same: it inherits the correlation, and names its cause. So one query gives the
// whole story of a run, and a replay of that query brings a lost state back.
#include <err.h>
#include <peal/peal.h>
#include <stdio.h>
#include <string.h>

struct trainer {
    peal_bus *bus;
    int epochs, checkpoints_written;
};

static void must(enum peal_err result)
{
    if (result) {
        errx(1, "%s", peal_error_sentence());
    }
}

static void publish(peal_bus *bus, const char *type, const char *run)
{
    struct peal_message message = { .type = type, .correlation = run };
    must(peal_publish(bus, &message, NULL));
}

// A replay tells what happened; it must not happen again. So what is done to the world outside is
// left out, and only the state is brought up to date.
static enum peal_verdict on_epoch(const peal_event *event, void *context)
{
    struct trainer *trainer = context;
    trainer->epochs++;
    if (peal_event_is_replay(event)) {
        return PEAL_DONE;
    }
    trainer->checkpoints_written++;
    struct peal_message message = { .type = "model.checkpoint_saved" };
    return peal_publish(trainer->bus, &message, NULL) ? PEAL_RETRY : PEAL_DONE;
}

// Prints the story of a run, oldest first; returns how many events it has.
static int tell(peal_bus *bus, const char *run)
{
    struct peal_query query = { .correlation = run };
    peal_reader *reader = NULL;
    must(peal_reader_open(&reader, bus, &query));
    const peal_event *event = NULL;
    enum peal_err err;
    int count = 0;
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        const char *cause = peal_event_causation(event);
        printf("%3llu  %-26s %s%s\n", (unsigned long long)peal_event_position(event),
               peal_event_type(event), *cause ? "because of " : "", cause);
        count++;
    }
    peal_reader_close(reader);
    must(err == PEAL_ENOTFOUND ? PEAL_OK : err); // the end, or a failure?
    return count;
}

int main(void)
{
    struct trainer trainer = { 0 };
    struct peal_subscribe_options here = { .mode = PEAL_INLINE };
    must(peal_bus_open(&trainer.bus, "mem:", NULL));
    must(peal_subscribe(NULL, trainer.bus, "training.epoch_completed", &here, on_epoch, &trainer));

    publish(trainer.bus, "training.started", "run-a");
    publish(trainer.bus, "training.started", "run-b");
    publish(trainer.bus, "training.epoch_completed", "run-a");
    publish(trainer.bus, "training.epoch_completed", "run-b");
    publish(trainer.bus, "training.epoch_completed", "run-a");
    publish(trainer.bus, "training.completed", "run-a");

    printf("run-a:\n");
    int story = tell(trainer.bus, "run-a");

    struct trainer again = { .bus = trainer.bus };
    struct peal_replay replay = {
        .query = { .pattern = "training.epoch_completed", .correlation = "run-a" },
    };
    uint64_t replayed = 0;
    must(peal_replay(trainer.bus, &replay, &replayed, on_epoch, &again));
    printf("replayed %llu: %d epochs again, %d checkpoints written again\n",
           (unsigned long long)replayed, again.epochs, again.checkpoints_written);
    peal_bus_close(trainer.bus);

    bool ok = story == 6 && trainer.epochs == 3 && trainer.checkpoints_written == 3 &&
              replayed == 2 && again.epochs == 2 && again.checkpoints_written == 0;
    return ok ? 0 : 1;
}
