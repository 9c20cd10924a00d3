// SPDX-License-Identifier: MIT
//
// The inside of a world: what a test's buses stand on. See peal/testing.h for what it is for, and
// fiber.h for its threads.
//
//     bus ──► world->seams ─┬─► clock and threads   fibers
//                           ├─► memory              blocks: counted, listed, refused when asked to
//                           ├─► chance              a generator of the buses' own
//                           └─► files               a disk of the world's own (disk.h)
//
// Three generators come from one seed, for the buses, for the test and for the scheduler, so that
// an id more or less does not change who runs next.
#ifndef PL_TESTING_WORLD_H
#define PL_TESTING_WORLD_H

#include "testing/disk.h"
#include "testing/fiber.h"

#include <peal/testing.h>

struct peal_world {
    struct pl_seams seams;
    struct pl_fibers fibers; // and the clock
    uint64_t bus_chance, test_chance;

    struct pl_disk *disk;
    bool real_disk; // buses opened from now on have the machine's instead

    struct pl_list blocks; // allocated now, in the order asked for
    uint64_t asked;        // allocations, the refused ones too
    uint64_t refused;
    uint64_t bytes;   // allocated now
    uint64_t fail_in; // the fail_in-th allocation from now is refused; 0: none
    bool fail_on;     // and every one after it

    struct pl_list buses; // open ones, in the order opened
    uint64_t changes;     // of that list
    bool settling;
};

// pl_world_seams, pl_world_files, pl_world_attach and pl_world_detach are declared in
// bus/internal.h.

// Between the two nothing is refused and nobody else runs unless he must: for those who only look.
// May be nested.
void pl_world_hush(struct peal_world *world);
void pl_world_unhush(struct peal_world *world);

// Buses opened from now on have the machine's disk: for engines that write their files themselves,
// as a database does. Time, threads, chance and Peal's own memory stay the world's; nothing is
// simulated of the disk, and what is written there is the test's to remove.
void pl_world_use_real_disk(struct peal_world *world);

// A hash of all switches so far.
uint64_t pl_world_trace(const struct peal_world *world);

#endif
