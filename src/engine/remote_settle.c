// SPDX-License-Identifier: MIT
//
// What became of deliveries, until the service knows and has saved it.
//
//     any thread ─► settlements ─► unsent ─► SETTLE, `sent` of its name ─► SETTLED: forgotten
//                     (a stack)      │                │ the connection breaks
//                                    │                ▼
//                                    └─ of a ─► `kept` of its name ─┬► the service has it:
//                                    forgotten
//                                  delivery of one that broke       └► it comes again: unsent
//
// It is said by who runs the handler, with a lock of the bus: so it is pushed to a stack, which is
// turned round by who takes it.
//
// What must stay true: an event that a handler here has done, or rejected, is not handed to one
// again for a reason that lies on the way, as long as this bus lives. When the connection breaks,
// or the service dies, nobody knows whether a SETTLE has arrived, or was saved. Such a one is kept;
// the service is asked (the call SAVE) whether it has done with the event, and if it hands it out
// once more, that is answered here. Other verdicts are not kept: the event is to come again.
//
// What is kept is forgotten as soon as the service says that it has it. Until then an event that
// somebody sends back to its handlers on purpose, as peal_name_seek does, is taken for a repeat;
// so the question is asked on each new connection at once, before anything can come over it.
#include "engine/remote.h"

#include "base/error.h"

#include <string.h>

static void add(struct pl_settled *settled, struct pl_settlement *settlement)
{
    settlement->next = NULL;
    *settled->end = settlement;
    settled->end = &settlement->next;
}

// Takes out what `at` points to.
static struct pl_settlement *take(struct pl_settled *settled, struct pl_settlement **at)
{
    struct pl_settlement *settlement = *at;
    *at = settlement->next;
    if (settled->end == &settlement->next) {
        settled->end = at;
    }
    return settlement;
}

static struct pl_settled *line_of(struct pl_kept *kept, uint64_t position)
{
    return &kept->lines[position % PL_KEPT_LINES];
}

// Takes out the one of that position; NULL: there is none.
static struct pl_settlement *take_kept(struct pl_kept *kept, uint64_t position)
{
    struct pl_settled *line = line_of(kept, position);
    struct pl_settlement **at = &line->first;
    while (*at && (*at)->position != position) {
        at = &(*at)->next;
    }
    if (!*at) {
        return NULL;
    }
    kept->count--;
    return take(line, at);
}

static void free_all(const struct pl_remote *remote, struct pl_settled *settled)
{
    while (settled->first) {
        pl_release(remote->seams, take(settled, &settled->first));
    }
}

static struct pl_remote_name *find(struct pl_remote *remote, uint64_t id)
{
    struct pl_remote_name *name;
    PL_LIST_EACH (name, &remote->names, link) {
        if (name->id == id) {
            return name;
        }
    }
    return NULL;
}

// Something has changed for who waits. With the lock.
static void tell(struct pl_remote *remote)
{
    // Relaxed: who waits has read it with the lock.
    atomic_fetch_add_explicit(&remote->settled_word, 1, memory_order_relaxed);
    if (remote->settled_waiters > 0) {
        remote->seams->wake(remote->seams->world, &remote->settled_word, UINT32_MAX);
    }
}

static void no_longer_settling(struct pl_remote *remote)
{
    // Relaxed: who waits for 0 looks again.
    atomic_fetch_sub_explicit(&remote->settling, 1, memory_order_relaxed);
}

// Its connection is gone. With the lock.
static void keep(struct pl_remote *remote, struct pl_settlement *settlement)
{
    struct pl_remote_name *name = find(remote, settlement->subscription);
    if (!name || (settlement->verdict != PEAL_DONE && settlement->verdict != PEAL_REJECT)) {
        pl_release(remote->seams, settlement);
        return;
    }
    settlement->number = 0;
    add(line_of(&name->kept, settlement->position), settlement);
    name->kept.count++;
}

// Takes what was said since the last time. With the lock.
static void sort(struct pl_remote *remote)
{
    struct pl_settlement *newest = atomic_exchange(&remote->settlements, NULL), *oldest = NULL;
    while (newest) {
        struct pl_settlement *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct pl_settlement *next = oldest->next;
        if (oldest->number > 0) {
            add(&remote->unsent, oldest);
        } else {
            no_longer_settling(remote);
            keep(remote, oldest);
        }
        oldest = next;
    }
}

// ---- what the bus calls -------------------------------------------------------------------------

void pl_remote_settle(struct pl_engine *engine, struct pl_settlement *settlement)
{
    struct pl_remote *remote = pl_local_of(engine)->remote;
    struct pl_settlement *first = atomic_load_explicit(&remote->settlements, memory_order_relaxed);
    // Before it can be taken, so that it never falls below 0. Relaxed: who waits for 0 looks again.
    atomic_fetch_add_explicit(&remote->settling, 1, memory_order_relaxed);
    do {
        settlement->next = first;
    } while (!atomic_compare_exchange_weak(&remote->settlements, &first, settlement));
    pl_remote_wake(remote);
}

// In the link's thread, so the connection does not break meanwhile.
bool pl_remote_settled(struct pl_engine *engine, struct pl_settlement *settlement)
{
    struct pl_remote *remote = pl_local_of(engine)->remote;
    struct pl_settlement *known = NULL;
    pl_mutex_lock(&remote->lock, remote->seams);
    struct pl_remote_name *name =
        remote->epoch > 1 ? find(remote, settlement->subscription) : NULL; // else nothing is kept
    if (name) {
        sort(remote);
        known = take_kept(&name->kept, settlement->position);
    }
    if (known) {
        known->number = settlement->number;
        atomic_fetch_add_explicit(&remote->settling, 1, memory_order_relaxed); // as above
        add(&remote->unsent, known);
        tell(remote);
    }
    pl_mutex_unlock(&remote->lock, remote->seams);
    if (known) {
        pl_release(remote->seams, settlement);
    }
    return known != NULL;
}

// ---- what the link calls ------------------------------------------------------------------------

struct pl_settlement *pl_remote_next_settlement(struct pl_remote *remote)
{
    sort(remote);
    while (remote->unsent.first) {
        struct pl_settlement *settlement = take(&remote->unsent, &remote->unsent.first);
        struct pl_remote_name *name = find(remote, settlement->subscription);
        no_longer_settling(remote);
        if (name) {
            settlement->request = ++remote->next_number;
            add(&name->sent, settlement);
            return settlement;
        }
        pl_release(remote->seams, settlement); // the name was given back, and all of it
    }
    return NULL;
}

// A request to save a name, and the positions of what was kept: so many.
static uint64_t pack_save(struct pl_pack *pack, const struct pl_remote *remote, const char *text,
                          const struct pl_remote_name *name)
{
    uint64_t count = name ? name->kept.count : 0;
    pl_pack_begin(pack, remote->seams);
    pl_pack_text(pack, text);
    pl_pack_number(pack, count);
    for (size_t i = 0; i < PL_KEPT_LINES && count > 0; i++) {
        const struct pl_settlement *at = name->kept.lines[i].first;
        for (; at; at = at->next) {
            pl_pack_number(pack, at->position);
        }
    }
    return count;
}

struct pl_remote_name *pl_remote_next_question(struct pl_remote *remote, struct pl_pack *out)
{
    struct pl_remote_name *name;
    int64_t now = 0;
    PL_LIST_EACH (name, &remote->names, link) {
        if (name->kept.count == 0 || name->asked > 0) {
            continue;
        }
        now = now ? now : remote->seams->monotonic(remote->seams->world);
        if (now >= name->ask_at) {
            (void)pack_save(out, remote, name->text, name);
            name->asked = ++remote->next_number;
            name->ask_at = now + PL_REMOTE_ASK_MS * PL_NS_PER_MS;
            return name;
        }
    }
    return NULL;
}

void pl_remote_take_settled(struct pl_remote *remote, uint64_t subscription, uint64_t request)
{
    pl_mutex_lock(&remote->lock, remote->seams);
    struct pl_remote_name *name = find(remote, subscription);
    while (name && name->sent.first && name->sent.first->request <= request) {
        pl_release(remote->seams, take(&name->sent, &name->sent.first));
    }
    tell(remote);
    pl_mutex_unlock(&remote->lock, remote->seams);
}

// What the service says it has done with need not be kept. How many there are. With the lock.
static uint64_t forget_known(const struct pl_remote *remote, struct pl_remote_name *name,
                             const char *answer, size_t size)
{
    struct pl_unpack unpack = { answer + PL_PROTOCOL_HEAD, size - PL_PROTOCOL_HEAD, false };
    uint64_t count = pl_unpack_number(&unpack);
    for (uint64_t left = count; left > 0 && !unpack.bad; left--) {
        uint64_t position = pl_unpack_number(&unpack);
        // None: it has come again meanwhile.
        pl_release(remote->seams, unpack.bad ? NULL : take_kept(&name->kept, position));
    }
    return unpack.bad ? 0 : count;
}

bool pl_remote_take_known(struct pl_remote *remote, const struct pl_protocol_head *head,
                          const char *bytes, size_t size)
{
    struct pl_remote_name *name;
    bool found = false;
    pl_mutex_lock(&remote->lock, remote->seams);
    PL_LIST_EACH (name, &remote->names, link) {
        if (name->asked == head->number && head->number > 0) {
            found = true;
            name->asked = 0;
            if (!head->code) { // else it is asked again
                (void)forget_known(remote, name, bytes, size);
            }
            tell(remote);
        }
    }
    pl_mutex_unlock(&remote->lock, remote->seams);
    return found;
}

void pl_remote_break_settlements(struct pl_remote *remote)
{
    struct pl_remote_name *name;
    pl_mutex_lock(&remote->lock, remote->seams);
    PL_LIST_EACH (name, &remote->names, link) {
        while (name->sent.first) {
            keep(remote, take(&name->sent, &name->sent.first));
        }
        name->asked = 0;
        name->ask_at = 0;
    }
    sort(remote);
    while (remote->unsent.first) {
        no_longer_settling(remote);
        keep(remote, take(&remote->unsent, &remote->unsent.first));
    }
    tell(remote);
    pl_mutex_unlock(&remote->lock, remote->seams);
}

// ---- waiting ------------------------------------------------------------------------------------

static void wait_for_word(struct pl_remote *remote, unsigned word, int64_t deadline)
{
    const struct pl_seams *seams = remote->seams;
    remote->settled_waiters++;
    pl_mutex_unlock(&remote->lock, seams);
    seams->wait(seams->world, &remote->settled_word, word, deadline);
    pl_mutex_lock(&remote->lock, seams);
    remote->settled_waiters--;
}

static struct pl_remote_name *find_text(struct pl_remote *remote, const char *text)
{
    struct pl_remote_name *name;
    PL_LIST_EACH (name, &remote->names, link) {
        if (strcmp(name->text, text) == 0) {
            return name;
        }
    }
    return NULL;
}

// One way there and back. *out_again: it is to be done again, because not all that was kept is
// known to the service: what it hands out once more is sent behind our request. Or the connection
// is another one, and what was sent before our request may not have arrived.
static enum peal_err save_once(struct pl_remote *remote, const char *text, bool *out_again,
                               unsigned *out_word)
{
    struct pl_pack pack;
    char *answer = NULL;
    size_t size = 0;
    pl_mutex_lock(&remote->lock, remote->seams);
    sort(remote);
    uint64_t epoch = remote->epoch;
    struct pl_remote_name *name = find_text(remote, text);
    uint64_t asked = pack_save(&pack, remote, text, name);
    // Relaxed: with the lock.
    *out_word = atomic_load_explicit(&remote->settled_word, memory_order_relaxed);
    pl_mutex_unlock(&remote->lock, remote->seams);
    enum peal_err err =
        pl_remote_call(remote, PL_PROTOCOL_CALL + PL_CALL_SAVE, &pack, &answer, &size);
    pl_pack_finish(&pack);
    if (err) {
        return err;
    }
    pl_mutex_lock(&remote->lock, remote->seams);
    name = find_text(remote, text);
    uint64_t known = name ? forget_known(remote, name, answer, size) : asked;
    *out_again = known < asked || remote->epoch != epoch;
    pl_mutex_unlock(&remote->lock, remote->seams);
    pl_release(remote->seams, answer);
    return PEAL_OK;
}

enum peal_err pl_remote_save_name(struct pl_engine *engine, const char *text)
{
    struct pl_remote *remote = pl_local_of(engine)->remote;
    const struct pl_seams *seams = remote->seams;
    int64_t deadline = seams->monotonic(seams->world) + PL_REMOTE_WAIT_MS * PL_NS_PER_MS;
    for (;;) {
        bool again = false;
        unsigned word = 0;
        enum peal_err err = save_once(remote, text, &again, &word);
        if (err || !again) {
            return err;
        }
        if (seams->monotonic(seams->world) >= deadline) {
            return pl_fail(PEAL_ETIMEDOUT,
                           "%s has not handed out again what was settled when the connection "
                           "broke; it may come again",
                           remote->name);
        }
        pl_mutex_lock(&remote->lock, seams);
        wait_for_word(remote, word, deadline);
        pl_mutex_unlock(&remote->lock, seams);
    }
}

// With the lock.
static bool all_is_settled(struct pl_remote *remote)
{
    struct pl_remote_name *name;
    bool all = !remote->unsent.first && !atomic_load(&remote->settlements);
    PL_LIST_EACH (name, &remote->names, link) {
        all = all && !name->sent.first;
    }
    return all;
}

void pl_remote_await_settled(struct pl_remote *remote)
{
    const struct pl_seams *seams = remote->seams;
    int64_t deadline = seams->monotonic(seams->world) + PL_NS_PER_S;
    pl_mutex_lock(&remote->lock, seams);
    while (remote->connected && !all_is_settled(remote) &&
           seams->monotonic(seams->world) < deadline) {
        // Relaxed: with the lock.
        unsigned word = atomic_load_explicit(&remote->settled_word, memory_order_relaxed);
        wait_for_word(remote, word, deadline);
    }
    pl_mutex_unlock(&remote->lock, seams);
}

// ---- the end ------------------------------------------------------------------------------------

void pl_remote_forget_settled(struct pl_remote *remote, struct pl_remote_name *name)
{
    free_all(remote, &name->sent);
    for (size_t i = 0; i < PL_KEPT_LINES; i++) {
        free_all(remote, &name->kept.lines[i]);
    }
    name->kept.count = 0;
}

void pl_remote_drop_settled(struct pl_remote *remote)
{
    sort(remote);
    free_all(remote, &remote->unsent);
}
