// SPDX-License-Identifier: MIT
//
// Index files from strangers. Whatever the bytes are, nothing may break; and once as they came,
// once with every checksum made to fit, these stay true of what is opened:
//
//     candidates are of the positions that were asked for, in order, and come to an end
//     types have the numbers, and names that are no longer than they may be
//     what is not an answer is PEAL_ECORRUPT, and a sentence
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "bytes.h"
#include "log/index_inside.h"

#define TYPES_MAX 64

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

// ---- asking -------------------------------------------------------------------------------------

static void require_corrupt(enum peal_err err)
{
    require(err == PEAL_OK || (err == PEAL_ECORRUPT && *peal_error_sentence()));
}

static void find(struct pl_index *index, const struct pl_sought *wanted)
{
    struct pl_find find;
    enum peal_err err = pl_find_begin(&find, index, wanted);
    require_corrupt(err);
    uint64_t last = wanted->backwards ? UINT64_MAX : 0;
    while (!err) {
        uint64_t found = UINT64_MAX;
        err = pl_find_next(&find, &found);
        require_corrupt(err);
        if (err || found == 0) {
            break;
        }
        require(found >= wanted->first && found < wanted->end);
        require(wanted->backwards ? found < last : found > last);
        last = found;
    }
    (void)pl_find_weight(&find); // any is fine
}

static enum peal_err check_type(void *context, const struct pl_index_type *type)
{
    uint32_t *next = context;
    require(type->number == (*next)++);
    require(type->size <= PEAL_TYPE_MAX);
    require(strnlen(type->name, type->size) <= type->size); // it can be read
    return PEAL_OK;
}

static void check_types(struct pl_index *index, const struct pl_index_facts *facts)
{
    uint32_t next = 0;
    uint32_t number = 0;
    uint32_t count = 0;
    require_corrupt(pl_index_types(index, check_type, &next));
    require(next <= facts->types);
    require_corrupt(pl_index_find_type(index, "order.created", 13, &number, &count));
    uint32_t numbers[TYPES_MAX];
    uint32_t known = facts->types < TYPES_MAX ? facts->types : TYPES_MAX;
    for (uint32_t i = 0; i < known; i++) {
        numbers[i] = i;
        const struct pl_sought one = { .types = &i, .type_count = 1, .end = UINT64_MAX };
        find(index, &one);
    }
    const struct pl_sought all = { .types = numbers,
                                   .type_count = known,
                                   .first = facts->base + 3,
                                   .end = facts->end,
                                   .backwards = true };
    find(index, &all);
}

static void check_places(struct pl_index *index, const struct pl_index_facts *facts)
{
    struct pl_stretch stretch = { .end = UINT64_MAX, .earliest = 0, .latest = INT64_MAX };
    require_corrupt(pl_index_times(index, true, &stretch));
    require_corrupt(pl_index_times(index, false, &stretch));
    uint64_t span = facts->end - facts->base;
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t offset = 0;
        require_corrupt(pl_index_offset(index, facts->base + span * i / 99, &offset));
        require(offset < PL_INDEX_OFFSET_MAX);
    }
}

static void check_keys(struct pl_index *index)
{
    for (uint64_t i = 0; i < 200; i++) {
        const struct pl_sought wanted = { .key = (enum pl_index_key)(i % PL_KEYS),
                                          .hash = pl_hash_mix(i + 1, PL_HASH_A) | 1,
                                          .end = UINT64_MAX,
                                          .backwards = i / PL_KEYS % 2 };
        find(index, &wanted);
    }
}

static void check(const uint8_t *data, size_t size)
{
    struct bytes bytes = { data, size, NULL };
    const struct pl_files files = bytes_files(&bytes);
    struct pl_index_header header = { 0 };
    memcpy(&header, data, size < sizeof header ? size : sizeof header);
    const struct pl_index_source source = { .seed = { header.seed[0], header.seed[1] },
                                            .base = header.base };
    struct pl_index *index = NULL;
    enum peal_err err = pl_index_open(&index, &pl_seams_real, &files, "an index", &source);
    if (err) {
        require((err == PEAL_ECORRUPT || err == PEAL_EUNSUPPORTED) && !index);
        require(*peal_error_sentence());
        return;
    }
    struct pl_index_facts facts;
    pl_index_facts(index, &facts);
    require(facts.end - facts.base <= PL_INDEX_POSITIONS_MAX);
    check_types(index, &facts);
    check_places(index, &facts);
    check_keys(index);
    pl_index_unref(index);
}

// Makes what is looked at before anything else fit: name, version, size, checksums.
static void repair(uint8_t *bytes, size_t size)
{
    struct pl_index_header header;
    memcpy(&header, bytes, sizeof header);
    memcpy(header.magic, pl_index_magic, sizeof header.magic);
    header.version = PL_INDEX_VERSION;
    header.flags = 0;
    header.probe = pl_index_hash(header.seed, pl_index_magic, sizeof pl_index_magic);
    header.blocks = (uint32_t)(size / PL_BLOCK);
    memcpy(bytes, &header, sizeof header);
    for (uint32_t i = 0; i < size / PL_BLOCK; i++) {
        uint32_t crc = pl_crc32c(i ? pl_index_salt(&header) : 0, &i, sizeof i);
        crc = pl_crc32c(crc, bytes + (size_t)i * PL_BLOCK, PL_BLOCK_ROOM);
        memcpy(bytes + (size_t)i * PL_BLOCK + PL_BLOCK_ROOM, &crc, sizeof crc);
    }
}

// NOLINTBEGIN(readability-identifier-naming): libFuzzer prescribes the name.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
// NOLINTEND(readability-identifier-naming)
{
    check(data, size);
    size -= size % PL_BLOCK;
    if (size >= PL_BLOCK) {
        uint8_t *bytes = malloc(size);
        require(bytes != NULL);
        memcpy(bytes, data, size);
        repair(bytes, size);
        check(bytes, size);
        free(bytes);
    }
    return 0;
}
