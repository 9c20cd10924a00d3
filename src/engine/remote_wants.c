// SPDX-License-Identifier: MIT
//
// What is wanted of the log: the patterns of all who listen, each once, counted.
//
//     listen ─► list, `wanted` moves on ─► the link: FOLLOW or WANT with all of it ─► answered:
//     `wanted_known` ─► the log's end is awaited ─► the subscription begins there
//
// What must stay true: from the position on at which a subscription begins, the log here has every
// event it wants. When the service answers it has put the list in the place of the one before, and
// it looks at the list after it has read what it sends: so what it has left out by an older list
// was in its log before the answer, and is below the end that is awaited then. And nothing is taken
// from the list while somebody listens to it, however often the connection breaks.
#include "engine/remote.h"

#include "base/error.h"

#include <string.h>

struct want {
    struct pl_list link;
    unsigned refs;
    uint64_t since; // `wanted` when it came
    char pattern[];
};

static struct want *find(struct pl_remote *remote, const char *pattern)
{
    struct want *want;
    PL_LIST_EACH (want, &remote->wants, link) {
        if (strcmp(want->pattern, pattern) == 0) {
            return want;
        }
    }
    return NULL;
}

// With the lock. *out: what the service has to know.
static enum peal_err add(uint64_t *out, struct pl_remote *remote, const char *pattern)
{
    struct want *want = find(remote, pattern);
    if (!want) {
        size_t size = strlen(pattern) + 1;
        want = pl_new(remote->seams, sizeof *want + size);
        if (!want) {
            return pl_fail(PEAL_ENOMEM, "no memory to subscribe to %s", pattern);
        }
        memcpy(want->pattern, pattern, size);
        want->since = ++remote->wanted;
        pl_list_add_tail(&remote->wants, &want->link);
    }
    want->refs++;
    remote->wants_follow = true;
    *out = want->since;
    pl_remote_wake(remote);
    return PEAL_OK;
}

void pl_remote_unlisten(struct pl_engine *engine, const char *pattern)
{
    struct pl_remote *remote = pl_local_of(engine)->remote;
    pl_mutex_lock(&remote->lock, remote->seams);
    struct want *want = find(remote, pattern);
    bool last = want && --want->refs == 0;
    if (last) {
        pl_list_remove(&want->link);
        remote->wanted++;
        pl_remote_wake(remote);
    }
    pl_mutex_unlock(&remote->lock, remote->seams);
    pl_release(remote->seams, last ? want : NULL);
}

static enum peal_err wait_until_known(struct pl_remote *remote, uint64_t since)
{
    const struct pl_seams *seams = remote->seams;
    int64_t deadline = seams->monotonic(seams->world) + PL_REMOTE_WAIT_MS * PL_NS_PER_MS;
    for (;;) {
        // Acquire: what is known was written before.
        unsigned word = atomic_load_explicit(&remote->arrived, memory_order_acquire);
        pl_mutex_lock(&remote->lock, seams);
        // Relaxed: with the lock.
        bool over = remote->wanted_known >= since ||
                    atomic_load_explicit(&remote->estranged, memory_order_relaxed);
        pl_mutex_unlock(&remote->lock, seams);
        if (over) {
            return PEAL_OK; // of an estranged one the look at its end says more
        }
        if (atomic_load_explicit(&remote->stopping, memory_order_relaxed)) {
            return pl_fail(PEAL_ECLOSED, "the bus has been stopped");
        }
        if (seams->monotonic(seams->world) >= deadline) {
            return pl_fail(PEAL_ETIMEDOUT, "%s did not answer for %d s; nothing is subscribed",
                           remote->name, PL_REMOTE_WAIT_MS / 1000);
        }
        seams->wait(seams->world, &remote->arrived, word, deadline);
    }
}

enum peal_err pl_remote_listen(struct pl_engine *engine, const char *pattern)
{
    struct pl_remote *remote = pl_local_of(engine)->remote;
    uint64_t since = 0;
    pl_mutex_lock(&remote->lock, remote->seams);
    bool first = !remote->wants_follow;
    pl_mutex_unlock(&remote->lock, remote->seams);
    // Before anything is followed the log here ends where the other one does, with nothing of it.
    enum peal_err err = first ? pl_remote_refresh(engine) : PEAL_OK;
    if (err) {
        return err;
    }
    pl_mutex_lock(&remote->lock, remote->seams);
    err = add(&since, remote, pattern);
    pl_mutex_unlock(&remote->lock, remote->seams);
    if (err) {
        return err;
    }
    err = wait_until_known(remote, since);
    err = err ? err : pl_remote_refresh(engine);
    if (err) {
        pl_remote_unlisten(engine, pattern);
    }
    return err;
}

void pl_remote_pack_wants(struct pl_remote *remote, struct pl_pack *pack)
{
    struct want *want;
    size_t count = 0;
    PL_LIST_EACH (want, &remote->wants, link) {
        count++;
    }
    bool all = count > PL_PROTOCOL_PATTERNS_MAX;
    pl_pack_number(pack, all ? 0 : count + 1);
    PL_LIST_EACH (want, &remote->wants, link) {
        if (!all) {
            pl_pack_text(pack, want->pattern);
        }
    }
    remote->wanted_sent = remote->wanted;
}

void pl_remote_wants_known(struct pl_remote *remote)
{
    pl_mutex_lock(&remote->lock, remote->seams);
    remote->wanted_known = remote->wanted_sent;
    pl_mutex_unlock(&remote->lock, remote->seams);
    // Release: it is known before.
    atomic_fetch_add_explicit(&remote->arrived, 1, memory_order_release);
    remote->seams->wake(remote->seams->world, &remote->arrived, UINT32_MAX);
}

void pl_remote_drop_wants(struct pl_remote *remote)
{
    struct pl_list *link;
    while ((link = pl_list_pop_head(&remote->wants))) {
        pl_release(remote->seams, pl_container_of(link, struct want, link));
    }
}
