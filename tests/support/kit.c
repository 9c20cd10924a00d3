// SPDX-License-Identifier: MIT
//
// Setting up a kit, and comparing what a bus was with what it is.
#include "support/kit.h"

#include <string.h>

#include "base/error.h"

#define MARK    "no sentence was written"
#define PATTERN 0x5a

static void take(struct kit *kit, struct kit_state *out)
{
    memset(out, 0, sizeof *out); // also between the members
    assert_int_equal(peal_bus_stats(&out->bus, kit->bus), PEAL_OK);
    // What a refused call may count, and what is no state of the bus.
    out->bus.rejected = 0;
    out->bus.refused = 0;
    out->bus.emit_lost = 0;
    out->bus.worker_parks = 0;
    out->bus.types = 0; // a type that was looked up stays known
    memset(&out->bus.publish_wait, 0, sizeof out->bus.publish_wait);
    out->worker = scene_box(kit->worker);
    out->pull = scene_box(kit->pull);
    out->inlined = scene_box(kit->inlined);
    struct peal_dead_list list;
    if (peal_dead_list(&list, kit->bus, NULL) == PEAL_OK) { // not once the bus has stopped
        for (size_t i = 0; i < list.count && i < 4; i++) {
            out->dead[i] =
                list.letters[i].id * 16 + list.letters[i].retrying * 2ULL + list.letters[i].edited;
        }
        peal_dead_list_finish(&list);
    }
}

void kit_look(struct kit *kit)
{
    take(kit, &kit->before);
    (void)pl_fail(PEAL_EIO, MARK);
}

void kit_open(struct kit *kit)
{
    *kit = (struct kit){ 0 };
    scene_open(&kit->scene, 1,
               &(struct peal_bus_options){
                   .data_max = 100, .memory_max = 4 << 20, .history_bytes = 1 << 20 });
    kit->bus = kit->scene.bus;
    kit->rejecting = (struct actor){ .verdict = PEAL_REJECT, .failures = SCENE_ALWAYS };
    kit->worker = scene_subscribe(&kit->scene, "w", NULL, &kit->rejecting);
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    assert_int_equal(peal_subscribe(&kit->pull, kit->bus, "p", &pull, NULL, NULL), PEAL_OK);
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    kit->inlined = scene_subscribe(&kit->scene, "i", &inlined, &kit->done);
    assert_int_equal(peal_topic_open(&kit->topic, kit->bus, "i"), PEAL_OK);
    scene_publish(&kit->scene, "w", "key", "1");
    scene_publish(&kit->scene, "p", "key", "2");
    scene_publish(&kit->scene, "p", "key", "3");
    scene_publish(&kit->scene, "i", "key", "4");
    peal_world_settle(kit->scene.world);
    size_t count;
    assert_int_equal(peal_subscription_pull(&kit->delivery, &count, kit->pull, 1, 0), PEAL_OK);
    peal_delivery *none;
    assert_int_equal(peal_subscription_pull(&none, &count, kit->pull, 1, 0), PEAL_EAGAIN);
    assert_int_equal(peal_reader_open(&kit->reader, kit->bus, NULL), PEAL_OK);
    kit_look(kit);
}

void kit_close(struct kit *kit)
{
    if (kit->delivery) {
        (void)peal_delivery_settle(kit->delivery, PEAL_DONE); // it may be too late
    }
    peal_reader_close(kit->reader);
    scene_close(&kit->scene);
}

// The call that was just made failed as documented, and changed nothing.
void kit_refused(struct kit *kit, enum peal_err expected, enum peal_err err)
{
    assert_string_equal(peal_err_name(err), peal_err_name(expected));
    assert_string_not_equal(peal_error_sentence(), MARK);
    assert_true(strlen(peal_error_sentence()) > 10);
    struct kit_state after;
    take(kit, &after);
    assert_memory_equal(&kit->before, &after, sizeof after);
    kit_look(kit);
}

// Was nothing written here? Fills it again.
void kit_untouched(const void *out, size_t size)
{
    const unsigned char *bytes = out;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(bytes[i], PATTERN);
    }
}

void *kit_pattern(void *out, size_t size)
{
    return memset(out, PATTERN, size);
}

// A pointer that must not be written. Its value is never used.
void *kit_nowhere(void)
{
    static char place;
    return &place;
}
