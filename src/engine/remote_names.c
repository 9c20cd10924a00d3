// SPDX-License-Identifier: MIT
//
// Durable names that a service keeps: taking them, taking them again over a new connection, and
// giving them back.
#include "engine/remote.h"

#include "base/error.h"

#include <string.h>

static void pack_subscribe(struct pl_pack *pack, const struct pl_afar *afar)
{
    const struct peal_subscribe_options *options = afar->options;
    const struct peal_retry *retry = &options->retry;
    pl_pack_number(pack, afar->id);
    pl_pack_text(pack, afar->name);
    pl_pack_text(pack, afar->pattern);
    pl_pack_text(pack, options->label);
    pl_pack_text(pack, retry->non_retryable);
    pl_pack_number(pack, options->from);
    pl_pack_number(pack, options->from_position);
    pl_pack_number(pack, (uint64_t)options->from_time_ns);
    pl_pack_number(pack, afar->window);
    pl_pack_number(pack, options->order);
    pl_pack_number(pack, options->spent);
    pl_pack_number(pack, options->after_dead);
    pl_pack_number(pack, retry->immediate);
    pl_pack_number(pack, retry->initial_ms);
    pl_pack_number(pack, (uint64_t)(retry->coefficient * 1000000));
    pl_pack_number(pack, retry->max_ms);
    pl_pack_number(pack, retry->max_attempts);
    pl_pack_number(pack, retry->unlimited);
    pl_pack_number(pack, retry->max_elapsed_ms);
    pl_pack_number(pack, retry->no_jitter);
}

static void drop(struct pl_remote *remote, struct pl_remote_name *name)
{
    pl_remote_forget_settled(remote, name);
    pl_pack_finish(&name->pack);
    pl_release(remote->seams, name->text);
    pl_release(remote->seams, name);
}

enum peal_err pl_remote_take_name(struct pl_engine *engine, const struct pl_afar *afar)
{
    struct pl_remote *remote = pl_local_of(engine)->remote;
    struct pl_remote_name *name = pl_new(remote->seams, sizeof *name);
    if (!name) {
        return pl_fail(PEAL_ENOMEM, "no memory to subscribe to %s", afar->pattern);
    }
    name->id = afar->id;
    name->text = pl_copy_bytes(remote->seams, afar->name, strlen(afar->name));
    if (!name->text) {
        pl_release(remote->seams, name);
        return pl_fail(PEAL_ENOMEM, "no memory to subscribe to %s", afar->pattern);
    }
    pl_settled_init(&name->sent);
    for (size_t i = 0; i < PL_KEPT_LINES; i++) {
        pl_settled_init(&name->kept.lines[i]);
    }
    pl_pack_begin(&name->pack, remote->seams);
    pack_subscribe(&name->pack, afar);
    pl_mutex_lock(&remote->lock, remote->seams);
    uint64_t epoch = remote->epoch;
    pl_list_add_tail(&remote->names, &name->link);
    pl_mutex_unlock(&remote->lock, remote->seams);
    char *answer = NULL;
    size_t size = 0;
    enum peal_err err = pl_remote_call(remote, PL_PROTOCOL_SUBSCRIBE, &name->pack, &answer, &size);
    pl_release(remote->seams, answer);
    pl_mutex_lock(&remote->lock, remote->seams);
    if (err) {
        pl_list_remove(&name->link);
    } else {
        name->ready = true;
        name->epoch = epoch; // if that is over by now the link takes it once more
        pl_remote_wake(remote);
    }
    pl_mutex_unlock(&remote->lock, remote->seams);
    if (err) {
        drop(remote, name);
    }
    return err;
}

void pl_remote_give_name(struct pl_engine *engine, uint64_t subscription)
{
    struct pl_remote *remote = pl_local_of(engine)->remote;
    struct pl_remote_name *name, *found = NULL;
    pl_mutex_lock(&remote->lock, remote->seams);
    PL_LIST_EACH (name, &remote->names, link) {
        found = name->id == subscription ? name : found;
    }
    if (found) {
        found->ready = false; // nor is it taken again
    }
    bool connected = remote->connected;
    pl_mutex_unlock(&remote->lock, remote->seams);
    if (!found) {
        return;
    }
    if (connected) {
        char *answer = NULL;
        size_t size = 0;
        struct pl_pack pack;
        pl_pack_begin(&pack, remote->seams);
        pl_pack_number(&pack, subscription);
        // A connection that breaks gives it back as well. What was settled goes before.
        (void)pl_remote_call(remote, PL_PROTOCOL_UNSUBSCRIBE, &pack, &answer, &size);
        pl_pack_finish(&pack);
        pl_release(remote->seams, answer);
    }
    pl_mutex_lock(&remote->lock, remote->seams);
    pl_list_remove(&found->link);
    pl_mutex_unlock(&remote->lock, remote->seams);
    drop(remote, found);
}

void pl_remote_drop_names(struct pl_remote *remote)
{
    struct pl_list *link;
    while ((link = pl_list_pop_head(&remote->names))) {
        drop(remote, pl_container_of(link, struct pl_remote_name, link));
    }
    pl_remote_drop_settled(remote);
}
