// SPDX-License-Identifier: MIT
//
// Changing the dead letters that somebody may read, and no others: those of types that are not his
// are as if they were not there, also for who may change.
#ifndef SERVICE_READABLE_H
#define SERVICE_READABLE_H

#include <peal/deadletter.h>

// Zeros: who may read everything.
struct service_reader {
    bool (*may_read)(void *context, const char *type);
    void *context; // *borrowed* for the call
};

// peal_dead_retry or peal_dead_discard.
typedef enum peal_err service_dead_change(peal_bus *bus, const struct peal_dead_filter *filter,
                                          bool dry_run, uint64_t *affected);

// Calls `change` for what the filter says, and the reader may read. The errors of `change`; one
// letter that may not be read is PEAL_ENOTFOUND.
enum peal_err service_change_readable(uint64_t *out_affected, peal_bus *bus,
                                      const struct peal_dead_filter *filter, bool dry_run,
                                      service_dead_change *change,
                                      const struct service_reader *reader);

#endif
