// SPDX-License-Identifier: MIT
//
// Repair: mending what of a log's files can be mended without guessing.
//
//     a header     one half is damaged: it is written again from the other. Both are: from the
//                  copy's, or else from what the name and the files around it agree on
//     records      damaged ones: from a copy of the file, if its bytes are whole records of this
//                  log and this file, go on where ours end, and lead to where ours begin
//     an index     put aside; it is made again from the events
//
// What is replaced is first kept, durably, in a directory "damaged-<time>" in the log's. A file is
// written only where it is damaged, and synced. So a crash in between leaves a place damaged, or
// mended, and nothing else changed; and readers, who look at every checksum, see the one or the
// other. Nothing that opening mends by itself (a torn tail, the state table) is done here.
#ifndef PL_LOG_REPAIR_H
#define PL_LOG_REPAIR_H

#include "log/store.h"

#include <peal/log.h>

struct pl_catalog;

// All is *borrowed*.
struct pl_repair {
    const struct peal_repair *wanted;
    struct peal_repaired *out;
    // Filled in by pl_store_repair, which comes first:
    const struct pl_seams *seams;
    const struct pl_files *files;
    const char *path; // of the log's directory
    char keep[4096];  // "": there is no directory for what is replaced yet
};

// Headers and records. A store that only reads wants `dry_run`. Others may read meanwhile, and
// write; one at a time, and not with pl_store_forget, pl_store_archive or pl_store_erase: what is
// written to a file that is replaced is lost. PEAL_EIO: what was done so far is done. PEAL_ENOMEM.
enum peal_err pl_store_repair(struct pl_store *store, struct pl_repair *repair);

// Indexes, and what is left of those that were being written. As above.
enum peal_err pl_catalog_repair(struct pl_catalog *catalog, struct pl_repair *repair);

// ---- what both do -------------------------------------------------------------------------------

// Counts it, and tells who wants to know.
void pl_repair_tell(struct pl_repair *repair, const struct peal_mending *mending);

// Keeps bytes that will be replaced, durably: in a file of this name. And a whole file of the
// directory, which is no longer there.
enum peal_err pl_repair_keep(struct pl_repair *repair, const char *name, const void *bytes,
                             size_t size);
enum peal_err pl_repair_put_aside(struct pl_repair *repair, const char *name);

#endif
