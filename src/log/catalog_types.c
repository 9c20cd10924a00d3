// SPDX-License-Identifier: MIT
//
// Counting types by indexes: each says how many events of each type it has.
//
// A tail does not count here: it grows while it is read. Nor does an index of which a part is
// wanted, or was forgotten: it knows how many there are, and not where. What does not count is left
// to the caller, who looks at the events: at most some 260,000 at either end of a log.
#include "log/catalog_inside.h"

struct counting {
    struct pl_index *index;
    enum peal_err (*each)(void *context, const struct pl_catalog_type *type);
    void *context;
};

static enum peal_err meet_type(void *context, const struct pl_index_type *type)
{
    const struct counting *counting = context;
    const struct pl_catalog_type told = { .name = type->name,
                                          .size = type->size,
                                          .count = type->count,
                                          .index = counting->index,
                                          .number = type->number };
    bool counts = type->count > 0 && !pl_catalog_is_damaged(type->name, type->size);
    return counts ? counting->each(counting->context, &told) : PEAL_OK;
}

enum peal_err pl_catalog_types(
    struct pl_catalog *catalog, uint64_t *first, uint64_t *end, bool *out_counted,
    enum peal_err (*each)(void *context, const struct pl_catalog_type *type), void *context)
{
    struct counting counting = { NULL, each, context };
    struct pl_index_facts facts;
    *out_counted = false;
    enum peal_err err = pl_catalog_find(catalog, *end - 1, &counting.index, first, end);
    if (err || !counting.index) {
        return err;
    }
    pl_index_facts(counting.index, &facts);
    if (facts.bytes > 0 && facts.base == *first && facts.end <= *end) {
        err = pl_index_types(counting.index, meet_type, &counting);
        *out_counted = !err;
    }
    if (err == PEAL_ECORRUPT) {
        pl_catalog_put_away(catalog, counting.index);
    }
    pl_index_unref(counting.index);
    return err;
}

enum peal_err pl_catalog_newest(const struct pl_catalog_type *type, uint64_t *out)
{
    struct pl_index_facts facts;
    struct pl_find find;
    pl_index_facts(type->index, &facts);
    const struct pl_sought sought = { .types = &type->number,
                                      .type_count = 1,
                                      .first = facts.base,
                                      .end = facts.end,
                                      .backwards = true };
    enum peal_err err = pl_find_begin(&find, type->index, &sought);
    return err ? err : pl_find_next(&find, out);
}
