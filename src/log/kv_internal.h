// SPDX-License-Identifier: MIT
//
// The inside of a state table: what opening, committing and writing share.
//
//     kv_bytes.c   the bytes of a file
//     kv_table.c   entries in the order of their keys
//     kv.c         reading, transactions
//     kv_write.c   writing behind the table; generations; settling
//     kv_purge.c   what was removed leaves no trace
//     kv_open.c    opening and closing; what is in the files, and what of it counts
#ifndef PL_LOG_KV_INTERNAL_H
#define PL_LOG_KV_INTERNAL_H

#include "base/lock.h"
#include "log/kv_table.h"

#define PL_KV_PATH 4096 // bytes of the longest path, with the name of a file

// Records that wait to be written.
struct pl_kv_buffer {
    char *bytes;
    size_t size, capacity;
};

struct pl_kv {
    const struct pl_seams *seams;
    const struct pl_files *files;
    char *path;
    uint64_t seed[2];
    uint64_t bytes_max;
    bool read_only;
    struct pl_kv_recovery recovery;

    struct pl_mutex lock; // a leaf, and under it:
    struct pl_kv_table table;
    struct pl_kv_buffer pending;
    uint64_t committed; // transactions, since it was opened

    struct pl_turn writing;      // and with it:
    struct pl_kv_buffer taken;   // what was pending, on its way to the file
    struct pl_file file;         // zero: there is none yet; replaced with `syncing` too
    uint64_t offset;             // behind the last record
    uint64_t room;               // the file's size that was taken in advance
    uint64_t number;             // of the last record in it
    uint64_t renew_at;           // offset at which a new generation was tried in vain
    uint32_t salt;               // of the file's records
    _Atomic uint64_t generation; // of the file; or the newest there was
    _Atomic uint64_t shown;      // the offset, for statistics

    struct pl_turn syncing; // may be taken with `writing`, not the other way round

    // Release when stored, acquire when loaded: who sees a number may rely on what it counts.
    _Atomic uint64_t written, durable; // transactions
    _Atomic uint64_t numbered;         // `number`, once it is written
    _Atomic uint64_t synced;           // records of the file that survive power loss
    atomic_int failed;                 // minus an errno, once something has failed
};

struct pl_kv_transaction {
    struct pl_kv *kv;
    struct pl_kv_table table; // removals are nodes in it
};

// ---- kv.c ---------------------------------------------------------------------------------------

// Puts the transaction's changes into the table, with the lock, or before anybody else knows it;
// what they take the place of is in the transaction's table after.
void pl_kv_apply(struct pl_kv *kv, struct pl_kv_transaction *transaction);

// ---- kv_write.c ---------------------------------------------------------------------------------

// The path of a generation's file.
void pl_kv_file_path(const struct pl_kv *kv, uint64_t generation, char out[PL_KV_PATH]);

// A sentence about a call that failed before this one. Returns PEAL_EIO.
enum peal_err pl_kv_say_failed(const struct pl_kv *kv);
bool pl_kv_has_failed(const struct pl_kv *kv);

// Is it the name of a generation's file? Its number.
bool pl_kv_parse_name(const char *name, uint64_t *out);

// Settles all transactions up to that one.
enum peal_err pl_kv_settle_to(struct pl_kv *kv, uint64_t transaction, enum peal_durability level);

// Makes the next generation of all there is; with the turn to write, or before anybody else knows
// it. What is pending is in it, too.
enum peal_err pl_kv_renew(struct pl_kv *kv);

// Puts a note into the file: all before it is synced. 0 or minus an errno.
int pl_kv_write_note(struct pl_kv *kv);

#endif
