// SPDX-License-Identifier: MIT
//
// A peer of inline dispatch: GLib's GSignal, emitted by name.

#include "bench.h"
#include <glib-object.h>

static GObject *new_emitter(void)
{
    GType type = g_type_register_static_simple(G_TYPE_OBJECT, "BenchEmitter", sizeof(GObjectClass),
                                               NULL, sizeof(GObject), NULL, (GTypeFlags)0);
    g_signal_new("event", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1,
                 G_TYPE_POINTER);
    return g_object_new(type, NULL);
}

static void on_event(GObject *emitter, const struct bench_event *event, void *context)
{
    (void)emitter;
    struct bench_tally *tally = context;
    tally->sum += event->data[0];
}

struct emitter {
    GObject *object;
    struct bench_event event;
};

static void emit_many(void *context, uint64_t count)
{
    struct emitter *emitter = context;
    for (uint64_t i = 0; i < count; i++) {
        g_signal_emit_by_name(emitter->object, "event", &emitter->event);
    }
}

static void run_gsignal(double *out, int handlers)
{
    unsigned char data[BENCH_DATA_SIZE] = { 1 };
    struct bench_tally tallies[BENCH_HANDLERS_MAX] = { 0 };
    struct emitter emitter = { .object = new_emitter(),
                               .event = { .data = data, .size = sizeof data } };
    for (int i = 0; i < handlers; i++) {
        g_signal_connect(emitter.object, "event", G_CALLBACK(on_event), &tallies[i]);
    }
    out[0] = bench_per_operation(emit_many, &emitter);
    g_object_unref(emitter.object);
}

const struct bench_measurement bench_gsignal[] = {
    { run_gsignal, 1, { { "inline.gsignal.1", "ns", { { 0 } } } } },
    { run_gsignal, 10, { { "inline.gsignal.10", "ns", { { 0 } } } } },
    { run_gsignal, 100, { { "inline.gsignal.100", "ns", { { 0 } } } } },
    { 0 },
};
