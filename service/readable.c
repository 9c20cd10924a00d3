// SPDX-License-Identifier: MIT
//
// The library knows no rights. So what the filter says is listed, and changed one by one; what goes
// meanwhile, or is being retried, is left out, as the library leaves it out.
#include "service/readable.h"

#include "base/error.h"

// By its number, which has to be there.
static enum peal_err change_one(uint64_t *out_affected, peal_bus *bus, uint64_t id, bool dry_run,
                                service_dead_change *change)
{
    const struct peal_dead_filter one = { .id = id };
    uint64_t affected = 0;
    enum peal_err err = change(bus, &one, dry_run, &affected);
    *out_affected += err ? 0 : affected;
    return err;
}

static bool goes_on(enum peal_err err)
{
    return !err || err == PEAL_ENOTFOUND || err == PEAL_ESTATE;
}

enum peal_err service_change_readable(uint64_t *out_affected, peal_bus *bus,
                                      const struct peal_dead_filter *filter, bool dry_run,
                                      service_dead_change *change,
                                      const struct service_reader *reader)
{
    struct peal_dead_list list;
    if (!reader->may_read) {
        return change(bus, filter, dry_run, out_affected);
    }
    struct peal_dead_filter all = *filter;
    all.limit = 0; // counted among those that may be read
    enum peal_err err = peal_dead_list(&list, bus, &all);
    if (err) {
        return err;
    }
    uint64_t affected = 0;
    bool any = false;
    for (size_t i = 0; i < list.count && goes_on(err); i++) {
        const struct peal_dead_letter *letter = &list.letters[i];
        if (filter->limit && affected == filter->limit) {
            break;
        }
        if (reader->may_read(reader->context, peal_event_type(letter->event))) {
            err = change_one(&affected, bus, letter->id, dry_run, change);
            any = true;
        }
    }
    peal_dead_list_finish(&list);
    if (filter->id && !any) {
        return pl_fail(PEAL_ENOTFOUND, "there is no dead letter %llu (any more)",
                       (unsigned long long)filter->id);
    }
    *out_affected = affected;
    return filter->id || !goes_on(err) ? err : PEAL_OK;
}
