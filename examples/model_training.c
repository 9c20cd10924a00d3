// SPDX-License-Identifier: MIT
//
// Model training: a publisher, subscribers of `model.training.*`, and the two meanings of priority.
//
// - The priority of an inline subscription says who of them is told first: the registry must know a
//   model before anybody is notified of it. Both run in the publishing thread.
// - The priority of an event says which of the waiting events goes first: the operator hears of the
//   failure before the progress that was published earlier. Events of one subject (here: of one
//   model) are never reordered.
//
// The program drives the bus itself (PEAL_NO_WORKERS), so the order is the same in every run.
#include <err.h>
#include <peal/peal.h>
#include <stdio.h>
#include <string.h>

// Who must be told of which model, in this order.
static const char *const expected[][2] = {
    { "registry", "ad_score_v2" }, { "notifier", "ad_score_v2" }, { "operator", "rank_v5" },
    { "operator", "churn_v1" },    { "operator", "ad_score_v2" },
};

enum { STEPS = sizeof(expected) / sizeof(expected[0]) };

struct progress {
    size_t steps, wrong;
};

struct listener {
    const char *name;
    struct progress *progress;
};

static void must(enum peal_err result)
{
    if (result) {
        errx(1, "%s", peal_error_sentence());
    }
}

static enum peal_verdict on_training(const peal_event *event, void *context)
{
    const struct listener *listener = context;
    const char *model = peal_event_subject(event);
    size_t step = listener->progress->steps++;
    bool right = step < STEPS && strcmp(expected[step][0], listener->name) == 0 &&
                 strcmp(expected[step][1], model) == 0;
    listener->progress->wrong += right ? 0 : 1;
    printf("%-9s %-24s %-12s %.*s\n", listener->name, peal_event_type(event), model,
           (int)peal_event_size(event), (const char *)peal_event_data(event));
    return PEAL_DONE;
}

static void publish(peal_bus *bus, const char *type, const char *model, const char *data,
                    int priority)
{
    struct peal_message message = {
        .type = type,
        .subject = model,
        .data = data,
        .size = strlen(data),
        .priority = priority,
    };
    must(peal_publish(bus, &message, NULL));
}

int main(void)
{
    struct progress progress = { 0 };
    struct listener registry = { "registry", &progress };
    struct listener notifier = { "notifier", &progress };
    struct listener operators = { "operator", &progress };

    peal_bus *bus = NULL;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .source = "/trainer" };
    must(peal_bus_open(&bus, "mem:", &options));

    struct peal_subscribe_options later = { .mode = PEAL_INLINE, .priority = 1 };
    struct peal_subscribe_options first = { .mode = PEAL_INLINE, .priority = 10 };
    must(peal_subscribe(NULL, bus, "model.training.complete", &later, on_training, &notifier));
    must(peal_subscribe(NULL, bus, "model.training.complete", &first, on_training, &registry));
    must(peal_subscribe(NULL, bus, "model.training.*", NULL, on_training, &operators));

    publish(bus, "model.training.progress", "churn_v1", "{\"epoch\":3}", 0);
    publish(bus, "model.training.complete", "ad_score_v2", "{\"accuracy\":0.92}", 0);
    publish(bus, "model.training.failed", "rank_v5", "{\"error\":\"no memory\"}", PEAL_PRIORITY(9));
    must(peal_bus_dispatch(bus, 0, NULL)); // the operator's turn
    peal_bus_close(bus);

    bool ok = progress.steps == STEPS && progress.wrong == 0;
    printf("%s\n", ok ? "the registry knew first, and the failure overtook what was waiting"
                      : "the order is wrong");
    return ok ? 0 : 1;
}
