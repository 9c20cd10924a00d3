// SPDX-License-Identifier: MIT
//
// Training monitor: handlers that turn events into other events.
//
// One hears of each epoch and says `training.new_best_model` when the loss has never been so low.
// One counts failures of any part of the system, by two patterns at once, and at the third says
// `system.error_threshold_exceeded`. One prints what was concluded, and from what.
// The data is a C struct, as publisher and subscribers are one program; its content type says so.
#include <err.h>
#include <peal/peal.h>
#include <stdio.h>
#include <string.h>

struct epoch {
    int number;
    double loss;
};

struct monitor {
    peal_bus *bus;
    double best_loss;
    int errors, conclusions;
};

static void must(enum peal_err result)
{
    if (result) {
        errx(1, "%s", peal_error_sentence());
    }
}

static enum peal_err publish(peal_bus *bus, const char *type, const struct epoch *epoch)
{
    struct peal_message message = {
        .type = type,
        .content_type = "application/x-epoch",
        .data = epoch,
        .size = epoch ? sizeof(*epoch) : 0,
    };
    return peal_publish(bus, &message, NULL);
}

static enum peal_verdict on_epoch(const peal_event *event, void *context)
{
    struct monitor *monitor = context;
    struct epoch epoch;
    if (peal_event_size(event) != sizeof(epoch)) {
        return PEAL_REJECT;
    }
    memcpy(&epoch, peal_event_data(event), sizeof(epoch));
    if (epoch.loss >= monitor->best_loss) {
        return PEAL_DONE;
    }
    monitor->best_loss = epoch.loss;
    printf("epoch %d: loss %.2f, the best so far\n", epoch.number, epoch.loss);
    return publish(monitor->bus, "training.new_best_model", &epoch) ? PEAL_RETRY : PEAL_DONE;
}

static enum peal_verdict on_error(const peal_event *event, void *context)
{
    struct monitor *monitor = context;
    printf("error %d: %s\n", ++monitor->errors, peal_event_type(event));
    if (monitor->errors == 3) { // nobody depends on this one: if it is lost, it is counted
        peal_emit(monitor->bus, "system.error_threshold_exceeded", "{\"threshold\":3}", 15);
    }
    return PEAL_DONE;
}

static enum peal_verdict on_conclusion(const peal_event *event, void *context)
{
    ((struct monitor *)context)->conclusions++;
    printf("%s, because of %s\n", peal_event_type(event), peal_event_causation(event));
    return PEAL_DONE;
}

int main(void)
{
    struct monitor monitor = { .best_loss = 1e9 };
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    must(peal_bus_open(&monitor.bus, "mem:", &options));
    must(peal_subscribe(NULL, monitor.bus, "training.epoch_completed", NULL, on_epoch, &monitor));
    must(peal_subscribe(NULL, monitor.bus, "*.error, *.failed", NULL, on_error, &monitor));
    must(peal_subscribe(NULL, monitor.bus, "training.new_*, *.error_threshold_exceeded", NULL,
                        on_conclusion, &monitor));

    static const struct epoch epochs[] = { { 1, 0.31 }, { 2, 0.15 }, { 3, 0.18 }, { 4, 0.12 } };
    for (int i = 0; i < 4; i++) {
        must(publish(monitor.bus, "training.epoch_completed", &epochs[i]));
    }
    must(publish(monitor.bus, "data.error", NULL));
    must(publish(monitor.bus, "training.failed", NULL));
    must(publish(monitor.bus, "plugin.early_stopping.error", NULL));
    must(peal_bus_dispatch(monitor.bus, 0, NULL)); // until nothing is left, conclusions included
    peal_bus_close(monitor.bus);

    printf("%d of 4 conclusions from 7 events\n", monitor.conclusions);
    return monitor.conclusions == 4 && monitor.errors == 3 ? 0 : 1;
}
