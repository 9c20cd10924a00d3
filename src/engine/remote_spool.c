// SPDX-License-Identifier: MIT
//
// The spool: what is published becomes records in blocks, each one PUBLISH.
//
//     waiting: [ sealed ] [ sealed ] [ open: takes more ]      sent: [ unanswered ] [ unanswered ]
//                  └──────── the link takes the first ────────────────────►┘
//
// A block that is being filled takes messages of any thread, until the link sends it or it is full.
// So many who publish one message at a time share the way there and back, and one who waits for
// each pays for no one else. It keeps its bytes until it is answered, to be sent again.
//
// What must stay true: a block keeps its number, its messages their ids and their order, however
// often it is sent. `spooled` is the bytes of all blocks in both lists.
#include "engine/remote.h"

#include "base/error.h"
#include "base/uuid.h"

#include <string.h>

#define BLOCK_FIRST 4096 // bytes of a block to begin with
#define ROOM_SHARE  8    // of the spool: who waits for room is woken when so much of it is free

// ---- blocks -------------------------------------------------------------------------------------

// With the lock.
static void give_bytes_back(struct pl_remote *remote, struct pl_remote_block *block)
{
    if (block->room == PL_PUBLISH_BYTES && remote->spare_count < PL_REMOTE_SPARES) {
        remote->spares[remote->spare_count++] = block->bytes;
    } else {
        pl_release(remote->seams, block->bytes);
    }
}

static void unref(struct pl_remote *remote, struct pl_remote_block *block)
{
    if (--block->refs == 0) {
        give_bytes_back(remote, block);
        pl_release(remote->seams, block->outcomes);
        pl_release(remote->seams, block->sentence);
        pl_release(remote->seams, block);
    }
}

static bool reserve(const struct pl_remote *remote, struct pl_remote_block *block, size_t more)
{
    if (more <= block->room - block->size) {
        return true;
    }
    size_t room = block->room * 4 > block->size + more ? block->room * 4 : block->size + more;
    char *bytes = pl_resize(remote->seams, block->bytes, room);
    if (bytes) {
        block->bytes = bytes;
        block->room = room;
    }
    return bytes != NULL;
}

static struct pl_remote_block *create_block(struct pl_remote *remote, size_t more)
{
    struct pl_remote_block *block = pl_new(remote->seams, sizeof *block);
    if (!block) {
        return NULL;
    }
    block->refs = 1;
    block->size = PL_PUBLISH_HEAD;
    block->room = remote->spare_count > 0 ? PL_PUBLISH_BYTES : PL_PUBLISH_HEAD;
    block->bytes = remote->spare_count > 0 ? remote->spares[--remote->spare_count]
                                           : pl_alloc(remote->seams, PL_PUBLISH_HEAD);
    if (!block->bytes || !reserve(remote, block, more > BLOCK_FIRST ? more : BLOCK_FIRST)) {
        unref(remote, block);
        return NULL;
    }
    block->number = ++remote->next_number;
    pl_list_add_tail(&remote->waiting, &block->link);
    return block;
}

// The block that messages of so many bytes go to. With the lock. NULL: no memory.
static struct pl_remote_block *block_for(struct pl_remote *remote, size_t size, size_t count,
                                         bool together)
{
    struct pl_remote_block *last = NULL;
    if (!pl_list_empty(&remote->waiting)) {
        last = pl_container_of(remote->waiting.prev, struct pl_remote_block, link);
    }
    if (last && !together && !last->sealed && last->size + size <= PL_PUBLISH_BYTES &&
        last->count + count <= PL_PUBLISH_RECORDS) {
        return reserve(remote, last, size) ? last : NULL;
    }
    struct pl_remote_block *block = create_block(remote, size);
    if (block && together) {
        block->sealed = true;
        block->flags = PL_PUBLISH_TOGETHER;
    }
    return block;
}

struct pl_remote_block *pl_remote_next_block(struct pl_remote *remote)
{
    struct pl_list *link = pl_list_pop_head(&remote->waiting);
    if (!link) {
        return NULL;
    }
    struct pl_remote_block *block = pl_container_of(link, struct pl_remote_block, link);
    pl_list_add_tail(&remote->sent, link);
    block->sealed = true;
    if (!(block->flags & PL_PUBLISH_REPEAT)) {
        // Relaxed: a bound from below.
        block->from = atomic_load_explicit(&remote->end, memory_order_relaxed);
    }
    const struct pl_protocol_head head = { PL_PROTOCOL_PUBLISH, 0, block->number };
    const struct pl_publish_head more = { block->flags, block->count, block->from };
    pl_protocol_head_write(block->bytes, &head);
    pl_publish_head_write(block->bytes + PL_PROTOCOL_HEAD, &more);
    return block;
}

void pl_remote_repeat(struct pl_remote *remote)
{
    while (!pl_list_empty(&remote->sent)) {
        struct pl_list *link = remote->sent.prev;
        struct pl_remote_block *block = pl_container_of(link, struct pl_remote_block, link);
        pl_list_remove(link);
        pl_list_add_head(&remote->waiting, link);
        block->flags |= PL_PUBLISH_REPEAT;
    }
}

// ---- what came of it ----------------------------------------------------------------------------

// With the lock; the block is in no list any more.
static void finish(struct pl_remote *remote, struct pl_remote_block *block)
{
    const struct pl_seams *seams = remote->seams;
    remote->spooled -= block->size;
    // Release: the outcomes come before.
    atomic_store_explicit(&block->done, 1, memory_order_release);
    if (block->refs > 1) {
        seams->wake(seams->world, &block->done, UINT32_MAX);
    }
    atomic_fetch_add_explicit(&remote->room_word, 1, memory_order_release);
    // Who is woken for each block fills one, and waits again.
    size_t enough = remote->spool_max - remote->spool_max / ROOM_SHARE;
    if (remote->room_waiters > 0 && remote->spooled <= enough) {
        seams->wake(seams->world, &remote->room_word, UINT32_MAX);
    }
    unref(remote, block);
}

static void read_outcomes(struct pl_remote *remote, struct pl_remote_block *block,
                          const struct pl_protocol_head *head, struct pl_unpack *unpack)
{
    block->err = (enum peal_err)head->code;
    if (!block->err) {
        block->outcomes = pl_alloc(remote->seams, block->count * sizeof *block->outcomes);
        block->err = block->outcomes ? PEAL_OK : PEAL_ENOMEM;
    }
    for (unsigned i = 0; i < block->count && block->outcomes; i++) {
        if (!pl_outcome_read(&block->outcomes[i], unpack)) {
            pl_release(remote->seams, block->outcomes);
            block->outcomes = NULL;
            block->err = PEAL_EIO;
        }
    }
    const char *sentence = unpack->left ? pl_unpack_text(unpack) : NULL;
    block->sentence = sentence ? pl_copy_bytes(remote->seams, sentence, strlen(sentence)) : NULL;
}

// What nobody heard of is told to the log. No lock.
static void tell_of_lost(struct pl_remote *remote, const struct pl_remote_block *block)
{
    unsigned lost = 0;
    enum peal_err err = block->err;
    for (unsigned i = 0; i < block->count; i++) {
        enum peal_err its = block->outcomes ? block->outcomes[i].code : block->err;
        lost += its != PEAL_OK;
        err = err ? err : its;
    }
    if (lost > 0 && block->unheard > 0) {
        pl_remote_say(remote, PEAL_LEVEL_ERROR,
                      "%u of %u events that nobody waited for were not published (%s): %s",
                      lost < block->unheard ? lost : block->unheard, block->unheard,
                      peal_err_name(err), block->sentence ? block->sentence : peal_err_text(err));
    }
}

bool pl_remote_block_answered(struct pl_remote *remote, const struct pl_protocol_head *head,
                              const char *bytes, size_t size)
{
    struct pl_remote_block *block, *found = NULL;
    pl_mutex_lock(&remote->lock, remote->seams);
    PL_LIST_EACH (block, &remote->sent, link) {
        if (block->number == head->number) {
            found = block;
            break;
        }
    }
    if (found) {
        pl_list_remove(&found->link);
    }
    pl_mutex_unlock(&remote->lock, remote->seams);
    if (!found) {
        return false;
    }
    struct pl_unpack unpack = { bytes + PL_PROTOCOL_HEAD, size - PL_PROTOCOL_HEAD, false };
    read_outcomes(remote, found, head, &unpack);
    tell_of_lost(remote, found);
    pl_mutex_lock(&remote->lock, remote->seams);
    finish(remote, found);
    pl_mutex_unlock(&remote->lock, remote->seams);
    return true;
}

void pl_remote_drop_spares(struct pl_remote *remote)
{
    while (remote->spare_count > 0) {
        pl_release(remote->seams, remote->spares[--remote->spare_count]);
    }
}

static void drop_all(struct pl_remote *remote, struct pl_list *blocks)
{
    struct pl_list *link;
    while ((link = pl_list_pop_head(blocks))) {
        struct pl_remote_block *block = pl_container_of(link, struct pl_remote_block, link);
        block->err = PEAL_ECLOSED;
        remote->lost += block->unheard;
        finish(remote, block);
    }
}

void pl_remote_drop_blocks(struct pl_remote *remote)
{
    drop_all(remote, &remote->sent);
    drop_all(remote, &remote->waiting);
}

static enum peal_err wait_until_answered(struct pl_remote *remote, int64_t deadline)
{
    const struct pl_seams *seams = remote->seams;
    for (;;) {
        unsigned word = atomic_load_explicit(&remote->room_word, memory_order_acquire);
        pl_mutex_lock(&remote->lock, seams);
        size_t left = remote->spooled;
        uint64_t lost = remote->lost;
        bool connected = remote->connected;
        pl_mutex_unlock(&remote->lock, seams);
        // Those of no connection mean nothing.
        if (left == 0 && connected &&
            atomic_load_explicit(&remote->settling, memory_order_relaxed) > 0 &&
            seams->monotonic(seams->world) < deadline) {
            int64_t soon = seams->monotonic(seams->world) + PL_NS_PER_MS;
            seams->wait(seams->world, &remote->room_word, word, soon);
            continue;
        }
        if (left == 0 && lost > 0) {
            return pl_fail(PEAL_EIO, "%llu events that nobody waited for may not have reached %s",
                           (unsigned long long)lost, remote->name);
        }
        if (left == 0) {
            return PEAL_OK;
        }
        if (seams->monotonic(seams->world) >= deadline) {
            return pl_fail(PEAL_EIO,
                           "%zu bytes of events that were published have not been "
                           "answered by %s, and may not be in its log",
                           left, remote->name);
        }
        seams->wait(seams->world, &remote->room_word, word, deadline);
    }
}

enum peal_err pl_remote_flush(struct pl_remote *remote, int64_t deadline)
{
    pl_mutex_lock(&remote->lock, remote->seams);
    remote->room_waiters++;
    pl_mutex_unlock(&remote->lock, remote->seams);
    enum peal_err err = wait_until_answered(remote, deadline);
    pl_mutex_lock(&remote->lock, remote->seams);
    remote->room_waiters--;
    pl_mutex_unlock(&remote->lock, remote->seams);
    return err;
}

// ---- publishing ---------------------------------------------------------------------------------

// A message's id, given or made; as long as the block's record is not written.
struct naming {
    struct pl_record_names names;
    char id[PL_UUID_SIZE];
};

// splitmix64.
static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

// Within a millisecond ids are counted up, so that they are in the order of their events, and the
// service, which has to know each for a while, keeps those in a row together (log/window.h). With
// the lock.
static void make_id(char out[PL_UUID_SIZE], struct pl_remote *remote, int64_t now)
{
    int64_t ms = now / PL_NS_PER_MS;
    if (ms == remote->id_ms) {
        remote->id[1]++;
    } else {
        remote->id_ms = ms;
        remote->id[0] = next_random(&remote->chance[0]);
        remote->id[1] = next_random(&remote->chance[1]);
    }
    pl_uuid7(out, now, remote->id[0], remote->id[1]);
}

// With the lock.
static void name(struct pl_remote *remote, const struct pl_departure *departure, int64_t now,
                 struct naming *out)
{
    const struct peal_message *message = departure->message;
    out->names = (struct pl_record_names){ .type = departure->type };
    if (!message->source || !*message->source) {
        out->names.source = departure->source;
    }
    if (!message->id || !*message->id) {
        make_id(out->id, remote, now);
        out->names.id = out->id;
    }
}

static enum peal_durability level_of(const struct pl_departures *what, size_t index)
{
    enum peal_durability level = what->each[index].message->durability;
    return level ? level : what->durability;
}

// Does who publishes hear of it when it is only in the spool?
static bool is_told_at_once(const struct pl_departures *what)
{
    for (size_t i = 0; i < what->count; i++) {
        const struct peal_message *message = what->each[i].message;
        if (what->may_wait && (level_of(what, i) != PEAL_DURABILITY_MEMORY || message->expect ||
                               message->deliver_at_ns)) {
            return false;
        }
    }
    return true;
}

// The most that the records may take: ids that are yet to be made are as long as others.
static size_t records_size(const struct pl_departures *what)
{
    static const char id[PL_UUID_SIZE] = "00000000-0000-7000-8000-000000000000";
    size_t size = 0;
    for (size_t i = 0; i < what->count; i++) {
        const struct pl_departure *departure = &what->each[i];
        const struct peal_message *message = departure->message;
        bool named = message->id && *message->id, sourced = message->source && *message->source;
        struct pl_record_names names = { departure->type, named ? NULL : id,
                                         sourced ? NULL : departure->source };
        size += pl_record_size(message, &names);
    }
    return size;
}

// `known`: its size, or 0.
static void write_record(struct pl_remote_block *block, const struct pl_departures *what,
                         size_t index, const struct naming *naming, size_t known)
{
    struct peal_message message = *what->each[index].message;
    message.durability = level_of(what, index);
    size_t size = known ? known : pl_record_size(&message, &naming->names);
    pl_record_write(block->bytes + block->size, size, &message, &naming->names);
    block->size += size;
    block->count++;
}

// Makes room in the spool, as the pressure says. With the lock, which it gives up while it waits.
static enum peal_err make_room(struct pl_remote *remote, size_t size, bool may_wait)
{
    const struct pl_seams *seams = remote->seams;
    if (size > PL_PROTOCOL_BYTES_MAX - PL_PUBLISH_HEAD) {
        return pl_fail(PEAL_ELIMIT,
                       "%zu bytes of events: a service takes at most %llu at once; publish fewer "
                       "together",
                       size, PL_PROTOCOL_BYTES_MAX);
    }
    if (size > remote->spool_max) {
        return pl_fail(PEAL_ELIMIT, "%zu bytes of events: spool_bytes is %zu", size,
                       remote->spool_max);
    }
    if (remote->spooled + size <= remote->spool_max) {
        return PEAL_OK; // the time is not asked for every event
    }
    int64_t deadline = seams->monotonic(seams->world) + (int64_t)remote->block_ms * PL_NS_PER_MS;
    while (remote->spooled + size > remote->spool_max) {
        if (remote->pressure == PEAL_PRESSURE_DROP_OLDEST && !pl_list_empty(&remote->waiting)) {
            struct pl_list *link = pl_list_pop_head(&remote->waiting);
            struct pl_remote_block *block = pl_container_of(link, struct pl_remote_block, link);
            block->err = PEAL_EAGAIN;
            remote->lost += block->unheard;
            finish(remote, block);
            continue;
        }
        if (remote->pressure != PEAL_PRESSURE_BLOCK || !may_wait) {
            return pl_fail(PEAL_EAGAIN, "%zu bytes of events wait for %s (spool_bytes)",
                           remote->spooled, remote->name);
        }
        unsigned word = atomic_load_explicit(&remote->room_word, memory_order_acquire);
        bool late = seams->monotonic(seams->world) >= deadline;
        if (late || atomic_load_explicit(&remote->stopping, memory_order_relaxed)) {
            return late ? pl_fail(PEAL_ETIMEDOUT,
                                  "%zu bytes of events wait for %s (spool_bytes), and no room was "
                                  "made for %llu ms",
                                  remote->spooled, remote->name,
                                  (unsigned long long)remote->block_ms)
                        : pl_fail(PEAL_ECLOSED, "the bus has been stopped");
        }
        remote->room_waiters++;
        pl_mutex_unlock(&remote->lock, seams);
        seams->wait(seams->world, &remote->room_word, word, deadline);
        pl_mutex_lock(&remote->lock, seams);
        remote->room_waiters--;
    }
    return PEAL_OK;
}

// Messages on their way: the block they are in, and where.
struct parcel {
    struct pl_remote_block *block;
    unsigned index;
    char id[PEAL_ID_MAX + 1]; // of the last
    bool made;                // by us
};

// Puts the messages into a block. With the lock.
static enum peal_err put_in(struct parcel *out, struct pl_remote *remote,
                            const struct pl_departures *what)
{
    size_t size = records_size(what);
    enum peal_err err = make_room(remote, size, what->may_wait);
    if (!err && atomic_load_explicit(&remote->stopping, memory_order_relaxed)) {
        err = pl_fail(PEAL_ECLOSED, "the bus has been stopped");
    }
    if (err) {
        return err;
    }
    struct pl_remote_block *block = block_for(remote, size, what->count, what->together);
    if (!block) {
        return pl_fail(PEAL_ENOMEM, "no memory for %zu bytes of events", size);
    }
    size_t before = block->size == PL_PUBLISH_HEAD ? 0 : block->size;
    int64_t now = pl_clock_now(&remote->clock);
    out->index = block->count;
    out->block = block;
    for (size_t i = 0; i < what->count; i++) {
        struct naming naming;
        name(remote, &what->each[i], now, &naming);
        write_record(block, what, i, &naming, what->count == 1 ? size : 0);
        const char *id = naming.names.id ? naming.id : what->each[i].message->id;
        memcpy(out->id, id, strlen(id) + 1); // it was checked
        out->made = naming.names.id != NULL;
    }
    remote->spooled += block->size - before;
    return PEAL_OK;
}

// `made`: the id is ours, so that it is a duplicate only of itself, sent before.
static void fill(struct peal_receipt *out, const char *id, bool made,
                 const struct pl_outcome *outcome)
{
    *out = (struct peal_receipt){ .position = outcome->position,
                                  .stream_version = outcome->version,
                                  .durability = outcome->durability,
                                  .duplicate = outcome->duplicate && !made };
    memcpy(out->id, id, strlen(id) + 1); // ours
}

// The ids of a batch stand in the block's records.
static void fill_all(const struct pl_remote_block *block, struct peal_receipt *receipts)
{
    struct pl_unpack unpack = { block->bytes + PL_PUBLISH_HEAD, block->size - PL_PUBLISH_HEAD,
                                false };
    struct peal_pair pairs[PEAL_METADATA_MAX];
    struct peal_message message;
    for (unsigned i = 0; i < block->count; i++) {
        const char *record = unpack.at;
        if (pl_record_read(&message, pairs, &unpack)) { // it is: we wrote it
            fill(&receipts[i], message.id, pl_record_made_id(record), &block->outcomes[i]);
        }
    }
}

// What came of the messages. No lock: the block is done.
static enum peal_err read_back(const struct pl_remote *remote, const struct parcel *parcel,
                               size_t count, struct peal_receipt *receipts)
{
    const struct pl_remote_block *block = parcel->block;
    if (!block->outcomes) {
        const char *why = block->err == PEAL_EAGAIN ? "it was dropped from the spool (pressure)"
                          : block->err == PEAL_ECLOSED
                              ? "the bus was stopped before it was answered"
                              : peal_err_text(block->err);
        return pl_fail(block->err, "%s: %s", remote->name, block->sentence ? block->sentence : why);
    }
    for (size_t i = 0; i < count; i++) {
        enum peal_err err = block->outcomes[parcel->index + i].code;
        if (err) {
            return pl_fail(err, "%s", block->sentence ? block->sentence : peal_err_text(err));
        }
    }
    if (receipts && count == 1) {
        fill(receipts, parcel->id, parcel->made, &block->outcomes[parcel->index]);
    } else if (receipts) {
        fill_all(block, receipts);
    }
    return PEAL_OK;
}

static enum peal_err wait_for(struct pl_remote *remote, struct pl_remote_block *block)
{
    const struct pl_seams *seams = remote->seams;
    int64_t deadline = seams->monotonic(seams->world) + PL_REMOTE_WAIT_MS * PL_NS_PER_MS;
    // Acquire: the outcomes are seen.
    while (!atomic_load_explicit(&block->done, memory_order_acquire)) {
        if (seams->monotonic(seams->world) >= deadline) {
            return pl_fail(PEAL_ETIMEDOUT,
                           "%s did not answer for %d s; the event stays in the spool, and is sent "
                           "when the service is there again",
                           remote->name, PL_REMOTE_WAIT_MS / 1000);
        }
        seams->wait(seams->world, &block->done, 0, deadline);
    }
    return PEAL_OK;
}

// It is in the spool, and nobody asks for more.
static void fill_accepted(const struct parcel *parcel, size_t count, struct peal_receipt *receipts)
{
    static const struct pl_outcome accepted = { .durability = PEAL_DURABILITY_MEMORY };
    if (receipts && count == 1) {
        fill(receipts, parcel->id, true, &accepted);
    }
}

enum peal_err pl_remote_publish(struct pl_engine *engine, const struct pl_departures *what,
                                struct peal_receipt *receipts)
{
    struct pl_remote *remote = pl_local_of(engine)->remote;
    struct parcel parcel; // not cleared: it has room for a long id
    parcel.block = NULL;
    // A batch whose receipts are wanted is waited for: its ids are in the block.
    bool at_once = is_told_at_once(what) && (what->count == 1 || !receipts);
    pl_mutex_lock(&remote->lock, remote->seams);
    enum peal_err err = put_in(&parcel, remote, what);
    if (!err && at_once) {
        parcel.block->unheard += (unsigned)what->count;
    } else if (!err) {
        parcel.block->refs++;
    }
    // Nothing else is unanswered: nobody publishes much.
    bool alone = !err && pl_list_empty(&remote->sent) && remote->connected;
    // With the lock, the link has said that it sleeps, or will yet look.
    if (!err && !alone && atomic_load(&remote->asleep)) {
        pl_remote_wake(remote);
    }
    pl_mutex_unlock(&remote->lock, remote->seams);
    if (alone) {
        pl_remote_send(remote);
    }
    if (!err && at_once) {
        fill_accepted(&parcel, what->count, receipts);
    } else if (!err) {
        err = wait_for(remote, parcel.block);
        err = err ? err : read_back(remote, &parcel, what->count, receipts);
        pl_mutex_lock(&remote->lock, remote->seams);
        unref(remote, parcel.block);
        pl_mutex_unlock(&remote->lock, remote->seams);
    }
    return err;
}
