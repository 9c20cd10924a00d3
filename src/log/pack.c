// SPDX-License-Identifier: MIT
//
// zstd works in memory that it is given: a piece of ours, as large as it says that it needs. So it
// asks the machine for none, and what it takes is known before.
//
// Level 3: on events of trainings it packs to a tenth and reads 1 GB/s; level 6 gains 7 % for four
// times the time, level 1 loses nothing worth saying, and gains none.
#include "log/pack.h"

#ifdef PEAL_ZSTD

// Where zstd is told which memory to use. What of it we call stays as it is within a major version.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <assert.h>

#define LEVEL 3

struct pl_packer {
    const struct pl_seams *seams;
    ZSTD_CCtx *zstd; // in the room
    _Alignas(8) char room[];
};

struct pl_unpacker {
    const struct pl_seams *seams;
    ZSTD_DCtx *zstd;
    _Alignas(8) char room[];
};

bool pl_pack_is_here(void)
{
    return true;
}

// What zstd refuses here only we could have got wrong: it was asked how much room it needs.
static void set(ZSTD_CCtx *zstd, ZSTD_cParameter parameter, int value)
{
    size_t result = ZSTD_CCtx_setParameter(zstd, parameter, value);
    assert(!ZSTD_isError(result));
    (void)result; // without asserts nobody looks
}

struct pl_packer *pl_packer_create(const struct pl_seams *seams)
{
    size_t room = ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(LEVEL, PL_PACK_BLOCK_MAX, 0));
    struct pl_packer *packer = pl_alloc(seams, sizeof *packer + room);
    if (!packer) {
        return NULL;
    }
    packer->seams = seams;
    packer->zstd = ZSTD_initStaticCCtx(packer->room, room);
    assert(packer->zstd);
    set(packer->zstd, ZSTD_c_compressionLevel, LEVEL);
    set(packer->zstd, ZSTD_c_checksumFlag, 1);
    set(packer->zstd, ZSTD_c_contentSizeFlag, 1);
    return packer;
}

void pl_packer_destroy(struct pl_packer *packer)
{
    if (packer) {
        pl_release(packer->seams, packer);
    }
}

struct pl_unpacker *pl_unpacker_create(const struct pl_seams *seams)
{
    size_t room = ZSTD_estimateDCtxSize();
    struct pl_unpacker *unpacker = pl_alloc(seams, sizeof *unpacker + room);
    if (!unpacker) {
        return NULL;
    }
    unpacker->seams = seams;
    unpacker->zstd = ZSTD_initStaticDCtx(unpacker->room, room);
    assert(unpacker->zstd);
    return unpacker;
}

void pl_unpacker_destroy(struct pl_unpacker *unpacker)
{
    if (unpacker) {
        pl_release(unpacker->seams, unpacker);
    }
}

size_t pl_pack(struct pl_packer *packer, char *out, const char *block, size_t size)
{
    size_t made = ZSTD_compress2(packer->zstd, out, PL_PACK_FRAME_MAX, block, size);
    return ZSTD_isError(made) ? 0 : made;
}

bool pl_unpack(struct pl_unpacker *unpacker, char *out, size_t size, const char *frame,
               size_t frame_size)
{
    // One frame, and that says what it has: not several that come to the same, nor one without end.
    return ZSTD_getFrameContentSize(frame, frame_size) == size &&
           ZSTD_decompressDCtx(unpacker->zstd, out, size, frame, frame_size) == size;
}

#else

bool pl_pack_is_here(void)
{
    return false;
}

struct pl_packer *pl_packer_create(const struct pl_seams *seams)
{
    (void)seams;
    return NULL;
}

void pl_packer_destroy(struct pl_packer *packer)
{
    (void)packer;
}

struct pl_unpacker *pl_unpacker_create(const struct pl_seams *seams)
{
    (void)seams;
    return NULL;
}

void pl_unpacker_destroy(struct pl_unpacker *unpacker)
{
    (void)unpacker;
}

size_t pl_pack(struct pl_packer *packer, char *out, const char *block, size_t size)
{
    (void)packer;
    (void)out;
    (void)block;
    (void)size;
    return 0;
}

bool pl_unpack(struct pl_unpacker *unpacker, char *out, size_t size, const char *frame,
               size_t frame_size)
{
    (void)unpacker;
    (void)out;
    (void)size;
    (void)frame;
    (void)frame_size;
    return false;
}

#endif
