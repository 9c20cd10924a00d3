// SPDX-License-Identifier: MIT
//
// Plant: mistakes that stores of this kind have made, built in on purpose and one at a time, to see
// that the tests find them. tests/plant/ says which test finds which.
//
//     cmake -DPEAL_PLANT=ignored_sync ...      a library that makes this mistake everywhere
//
//     if (PL_PLANTED(IGNORED_SYNC)) {          where it is made
//
// Without the option PL_PLANTED is a constant that is false, and nothing of it is left in the
// library; with it there is no library without asserts.
#ifndef PL_BASE_PLANT_H
#define PL_BASE_PLANT_H

enum pl_plant {
    PL_PLANT_NONE,
    PL_PLANT_EARLY_ACK,         // acknowledged before the sync
    PL_PLANT_IGNORED_SYNC,      // a sync that failed counts as one that did not
    PL_PLANT_RETRIED_SYNC,      // after one that failed the next one is believed
    PL_PLANT_UNSYNCED_NAME,     // a new file's directory is not synced
    PL_PLANT_KEPT_TEAR,         // writing goes on behind a torn tail
    PL_PLANT_UNCHECKED_BEFORE,  // of the files, only the last is looked at for a torn tail
    PL_PLANT_STOP_AT_DAMAGE,    // reading ends at the first damaged record
    PL_PLANT_REUSED_AT_DAMAGE,  // the position of a damaged record at the end is given again
    PL_PLANT_REUSED_AT_FAILURE, // positions are given again after a write that failed
    PL_PLANT_TRUSTED_BLOCK,     // a damaged block of an index is believed
    PL_PLANT_TRUSTED_RANGE,     // an index is believed to be of this log's events
    PL_PLANT_TRUSTED_CANDIDATE, // what an index finds is not looked at again
    PL_PLANT_CURSOR_AHEAD,      // a cursor ahead of the log is kept
    PL_PLANT_SKIPPED_REDO,      // what a killed process had handed over is thrown away
    PL_PLANT_KEPT_HEAD,         // what was handed over counts after it was written
};

#ifndef PEAL_PLANT
#define PEAL_PLANT PL_PLANT_NONE
#elif defined NDEBUG
#error "A library with a planted bug is for tests: build it with asserts."
#endif

#define PL_PLANTED(bug) (PEAL_PLANT == PL_PLANT_##bug)

#endif
