// SPDX-License-Identifier: MIT
//
// Asking for events before they are read, so that the disk fetches them side by side.
//
//     get ─► would this one wait? ─ no ─► it is read, and the next ones are in memory as well
//                   │ yes
//            where each of the next ones lies ─► what is near together ─► will_read
//                   │
//            it is read: the disk is waited for once, and not for each
//
// Who looks up fifty events reads fifty pages, far from each other, one after the other. In memory
// each takes a microsecond; from a disk, as long as the disk takes to answer, fifty times. A disk
// that is asked for all of them answers many at once.
//
// All of it is a hint. What goes wrong here goes wrong again where it is read, and is said there.
#include "log/internal.h"

// What lies closer together is asked for as one: some pages more cost less than a request of their
// own.
#define GAP 8192

// So much is asked for at a time; events may be large.
#define POSITIONS_MAX 64
#define AHEAD_MAX     1048576 // bytes

struct asking {
    struct pl_store *store;
    struct pl_place place; // of the bytes [from, to) that are still to be asked for
    uint64_t from, to;     // both 0: there are none
    uint64_t left;         // bytes that may be asked for
};

// Where a position is: *from and *to, which may have others in them. False: nobody knows.
static bool find(struct pl_place *place, struct pl_store *store, uint64_t position, uint64_t *from,
                 uint64_t *to)
{
    bool found = false;
    if (pl_place_find(place, store, position, &found) || !found) {
        return false;
    }
    if (position < place->volume.base) { // it is gone
        pl_place_leave(place, store);
        return false;
    }
    uint64_t length = 0;
    if (!pl_place_guess(place, position, from, &length)) {
        *from = place->offset;
        length = place->until ? place->until - place->offset : PL_STORE_GET_LEAST;
    }
    *to = *from + length;
    return true;
}

// Asks for what has been gathered.
static void ask(struct asking *asking)
{
    uint64_t size = asking->to - asking->from;
    if (asking->to == 0) {
        return;
    }
    size = size < asking->left ? size : asking->left;
    if (size > 0) {
        const struct pl_files *files = asking->store->files;
        pl_files_will_read(files, asking->place.file, asking->from, (size_t)size);
    }
    asking->left -= size;
    asking->from = asking->to = 0;
    pl_place_leave(&asking->place, asking->store);
}

// Adds a position to what is gathered; what is too far from it is asked for.
static void add(struct asking *asking, uint64_t position)
{
    struct pl_place place = { 0 };
    uint64_t from = 0;
    uint64_t to = 0;
    if (!find(&place, asking->store, position, &from, &to)) {
        return;
    }
    if (asking->to > 0 && place.volume.base == asking->place.volume.base &&
        from <= asking->to + GAP && asking->from <= to + GAP) {
        asking->from = from < asking->from ? from : asking->from;
        asking->to = to > asking->to ? to : asking->to;
        pl_place_leave(&place, asking->store);
        return;
    }
    ask(asking);
    asking->place = place;
    asking->from = from;
    asking->to = to;
}

void pl_store_ask_for(struct pl_store *store, struct pl_coming *coming)
{
    uint64_t positions[POSITIONS_MAX];
    size_t count = coming->tell(coming->context, positions, POSITIONS_MAX);
    coming->asked = (uint32_t)count;
    coming->picked = 0;
    if (!store->files->will_read) {
        return;
    }
    struct asking asking = { .store = store, .left = AHEAD_MAX };
    for (size_t i = 0; i < count && asking.left > 0; i++) {
        add(&asking, positions[i]);
    }
    ask(&asking);
}
