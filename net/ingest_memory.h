// SPDX-License-Identifier: MIT
//
// The memory of ingest: chunks that are only added to, until all are taken back at once.
//
//     first ──► chunk ──► chunk ──► NULL        the newest first, and only that one is added to
//               its size and what of it is used, then the bytes
//
// A chunk has the usual size, or that of the one thing that needs more. One of the usual size stays
// when the others go, so that who reads small texts and forgets them allocates once.
//
// It is asked several times for each event, so all of it stands here, to be inlined.
#ifndef NET_INGEST_MEMORY_H
#define NET_INGEST_MEMORY_H

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace ingest_inside
{

struct chunk {
    chunk *next;
    size_t size, used; // of the bytes behind this head
};

struct arena {
    static constexpr size_t usual = 262144;
    chunk *first = nullptr;

    // As much as that, where a pointer may stand. NULL: no memory.
    char *take(size_t size)
    {
        size = (size + 15) & ~static_cast<size_t>(15);
        if (!first || first->size - first->used < size) {
            size_t room = size > usual ? size : usual;
            auto *fresh = static_cast<chunk *>(malloc(sizeof(chunk) + room));
            if (!fresh) {
                return nullptr;
            }
            fresh->next = first;
            fresh->size = room;
            fresh->used = 0;
            first = fresh;
        }
        char *taken = reinterpret_cast<char *>(first + 1) + first->used;
        first->used += size;
        return taken;
    }

    // A copy, with so many zero bytes behind it. NULL: no memory.
    char *keep(const void *bytes, size_t size, size_t behind)
    {
        char *copy = take(size + behind);
        if (copy) {
            if (size > 0) {
                memcpy(copy, bytes, size);
            }
            memset(copy + size, 0, behind);
        }
        return copy;
    }

    // Takes back all; `all` false keeps one chunk of the usual size, for the next time.
    void forget(bool all)
    {
        chunk *kept = nullptr;
        while (first) {
            chunk *next = first->next;
            if (!all && !kept && first->size == usual) {
                kept = first;
            } else {
                free(first);
            }
            first = next;
        }
        first = kept;
        if (kept) {
            kept->next = nullptr;
            kept->used = 0;
        }
    }
};

} // namespace ingest_inside
#endif
