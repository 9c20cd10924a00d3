// SPDX-License-Identifier: MIT
//
// Hello: open a bus, listen to a pattern, publish, close.
//
// `training.*` hears every event below `training`, however deep, and nothing else. The handler runs
// in a worker thread of the bus; closing the bus lets it finish what is waiting.
#include <err.h>
#include <peal/peal.h>
#include <stdio.h>

static enum peal_verdict on_training(const peal_event *event, void *heard)
{
    printf("%s %.*s\n", peal_event_type(event), (int)peal_event_size(event),
           (const char *)peal_event_data(event));
    ++*(int *)heard; // no lock: one event of a subscription is handled at a time
    return PEAL_DONE;
}

int main(void)
{
    peal_bus *bus = NULL;
    int heard = 0;
    if (peal_bus_open(&bus, "mem:", NULL) ||
        peal_subscribe(NULL, bus, "training.*", NULL, on_training, &heard)) {
        errx(1, "%s", peal_error_sentence());
    }
    peal_emit(bus, "training.started", "{\"run\":7}", 9);
    peal_emit(bus, "training.epoch.completed", "{\"loss\":0.12}", 13);
    peal_emit(bus, "billing.paid", "{}", 2); // nobody listens to this one
    peal_bus_close(bus);

    printf("heard %d of 3 events: those below training\n", heard);
    return heard == 2 ? 0 : 1;
}
