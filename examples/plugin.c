// SPDX-License-Identifier: MIT
//
// Plugin: a part that comes, listens, acts and leaves without a trace.
//
// The early-stopping plugin knows the trainer by its events only: it hears of each epoch and, when
// two in a row were no better, asks for a stop. The trainer knows no plugin at all. Arriving and
// leaving are announced, and once peal_unsubscribe has returned, nothing of the plugin runs. All
// handlers are inline: what they do is done when the publish returns.
#include <err.h>
#include <peal/peal.h>
#include <stdio.h>

static const struct peal_subscribe_options at_once = { .mode = PEAL_INLINE };

static void must(enum peal_err result)
{
    if (result) {
        errx(1, "%s", peal_error_sentence());
    }
}

// ---- the plugin

struct plugin {
    peal_bus *bus;
    peal_subscription *subscription;
    int best, patience, calls;
};

static enum peal_verdict on_epoch(const peal_event *event, void *context)
{
    struct plugin *plugin = context;
    int errors = 0; // wrong answers in a thousand, as digits
    for (size_t i = 0; i < peal_event_size(event); i++) {
        errors = errors * 10 + (((const char *)peal_event_data(event))[i] - '0');
    }
    plugin->calls++;
    plugin->patience = errors < plugin->best ? 2 : plugin->patience - 1;
    plugin->best = errors < plugin->best ? errors : plugin->best;
    if (plugin->patience == 0) {
        peal_emit(plugin->bus, "training.stop_requested", "{\"reason\":\"no progress\"}", 24);
    }
    return PEAL_DONE;
}

static void activate(struct plugin *plugin, peal_bus *bus)
{
    *plugin = (struct plugin){ .bus = bus, .best = 1000, .patience = 2 };
    must(peal_subscribe(&plugin->subscription, bus, "training.epoch_completed", &at_once, on_epoch,
                        plugin));
    peal_emit(bus, "plugin.activated", "{\"plugin_name\":\"early_stopping\"}", 32);
}

static void deactivate(struct plugin *plugin)
{
    peal_unsubscribe(plugin->subscription);
    peal_emit(plugin->bus, "plugin.deactivated", "{\"plugin_name\":\"early_stopping\"}", 32);
}

// ---- its host

static enum peal_verdict on_notice(const peal_event *event, void *count)
{
    printf("%-24s %.*s\n", peal_event_type(event), (int)peal_event_size(event),
           (const char *)peal_event_data(event));
    ++*(int *)count;
    return PEAL_DONE;
}

// Trains until all is done or somebody asks for a stop; returns how many epochs that took.
static int train(peal_bus *bus, const int *stop)
{
    static const char errors[6][4] = { "310", "120", "125", "130", "128", "122" };
    int epoch = 0;
    while (epoch < 6 && !*stop) {
        peal_emit(bus, "training.epoch_completed", errors[epoch++], 3);
    }
    return epoch;
}

int main(void)
{
    peal_bus *bus = NULL;
    int stops = 0, announced = 0;
    must(peal_bus_open(&bus, "mem:", NULL));
    must(peal_subscribe(NULL, bus, "training.stop_requested", &at_once, on_notice, &stops));
    must(peal_subscribe(NULL, bus, "plugin.*", &at_once, on_notice, &announced));

    struct plugin plugin;
    activate(&plugin, bus);
    int with = train(bus, &stops);
    deactivate(&plugin);
    stops = 0;
    int without = train(bus, &stops);
    peal_bus_close(bus);

    printf("%d epochs with the plugin, %d without it\n", with, without);
    return with == 4 && without == 6 && plugin.calls == 4 && announced == 2 ? 0 : 1;
}
