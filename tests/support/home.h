// SPDX-License-Identifier: MIT
//
// A bus on file: in a world, that ends and is opened again. Include stage.h's needs first.
//
//     struct stage stage;
//     home_open(&stage, seed, PEAL_NO_WORKERS);
//     ... subscribe by a name, publish, settle ...
//     home_reopen(&stage);           // stopped and closed, opened again
//     home_kill(&stage);             // as if the process had been killed here
//     home_cut(&stage);              // as if the power had gone
//     stage_close(&stage);
#ifndef PEAL_TESTS_HOME_H
#define PEAL_TESTS_HOME_H

#include "support/stage.h"
#include "testing/world.h"

#define HOME_URL "file:/home?segment_bytes=64k"

static inline void home_begin(struct stage *stage, int workers)
{
    struct peal_bus_options options = { .workers = workers, .world = stage->world };
    stage->bus = NULL;
    assert_int_equal(peal_bus_open(&stage->bus, HOME_URL, &options), PEAL_OK);
}

static inline void home_open(struct stage *stage, uint64_t seed, int workers)
{
    assert_int_equal(peal_world_open(&stage->world, seed), PEAL_OK);
    home_begin(stage, workers);
}

static inline void home_reopen(struct stage *stage)
{
    (void)peal_bus_stop(stage->bus, 0, NULL); // time stands still; a killed one cannot save
    peal_bus_close(stage->bus);
    home_begin(stage, PEAL_NO_WORKERS);
}

// What the bus does from here on does not reach the disk.
static inline void home_kill(struct stage *stage)
{
    pl_disk_kill(stage->world->disk);
    home_reopen(stage);
}

static inline void home_cut(struct stage *stage)
{
    peal_world_crash(stage->world);
    home_reopen(stage);
}

#endif
