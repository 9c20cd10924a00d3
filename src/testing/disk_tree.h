// SPDX-License-Identifier: MIT
//
// The names of a simulated disk: directories and files, as the program sees them and as a power cut
// would leave them.
//
//     directory ──► entry "a"  now ─► node 7  kept ─► nobody
//              ├──► entry "b"  now ─► nobody  kept ─► node 3
//              └──► changes    { create "a" 7 } { remove "b" 3 }
//
// The changes between the two wait in order until the directory is synced.
//
// Used by disk.c only. Threads: none. Results are 0 or minus an errno.
#ifndef PL_TESTING_DISK_TREE_H
#define PL_TESTING_DISK_TREE_H

#include "base/list.h"
#include "testing/disk_bytes.h"

struct pl_disk_node {
    struct pl_list link; // in tree->nodes
    bool directory;
    bool marked;
    int locked_by;   // number of the open file that has the lock; 0: nobody
    unsigned opened; // by so many open files
    struct pl_disk_bytes bytes;
    struct pl_list entries; // of a directory
    struct pl_list changes; // of a directory, oldest first
};

struct pl_disk_tree {
    const struct pl_seams *seams;
    uint64_t *chance; // borrowed
    struct pl_list nodes;
    struct pl_disk_node *root;
};

int pl_disk_tree_init(struct pl_disk_tree *tree, const struct pl_seams *seams, uint64_t *chance);
void pl_disk_tree_finish(struct pl_disk_tree *tree);

// Nodes are borrowed while they have a name or are open.
int pl_disk_tree_find(const struct pl_disk_tree *tree, struct pl_disk_node **out, const char *path);
int pl_disk_tree_create(struct pl_disk_tree *tree, struct pl_disk_node **out, const char *path,
                        bool directory);
int pl_disk_tree_rename(struct pl_disk_tree *tree, const char *from, const char *to);
int pl_disk_tree_unlink(struct pl_disk_tree *tree, const char *path);
int pl_disk_tree_list(const struct pl_disk_tree *tree, const char *path,
                      int (*each)(void *context, const char *name), void *context);

// Keeps the changes of a directory. When the sync fails, some are lost: still seen, never kept.
int pl_disk_tree_sync(struct pl_disk_tree *tree, const char *path, bool fails);

// A power cut, for names and bytes. Nothing may be open. Needs no memory.
void pl_disk_tree_crash(struct pl_disk_tree *tree);

// Frees what has no name and is not open. To be called when a file was closed.
void pl_disk_tree_collect(struct pl_disk_tree *tree);

// Pages of files that have a name or are open. Those that only a power cut could bring back are not
// counted: the system gives their room away when they are removed.
uint64_t pl_disk_tree_used(struct pl_disk_tree *tree);

#endif
