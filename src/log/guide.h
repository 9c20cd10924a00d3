// SPDX-License-Identifier: MIT
//
// Guide: what leads to the events of one segment file without reading all of it.
//
//     marks   a record begins there; one in some 4 KiB, or one for every event that is larger
//     names   of the numbers that types have in this file, and what numbers the process gives them
//
// It grows with the file that is being written. When a file is complete, its guide is written
// behind the last event, as a summary; without one it is made by reading the file.
//
// Threads: marks are whose owner's lock says so. Names are put by one thread at a time and read by
// any. Ownership: shared; refs are atomic.
#ifndef PL_LOG_GUIDE_H
#define PL_LOG_GUIDE_H

#include "log/segfile.h"

#define PL_MARK_EVERY  4096 // bytes
#define PL_NAME_CHUNKS 19

// No summary is larger; a file with more names does without.
#define PL_SUMMARY_MAX (16 << 20)

struct pl_mark {
    uint32_t event; // its position, less the file's base
    uint32_t word;  // its offset, divided by 8
};

struct pl_name {
    _Atomic(char *) text;    // NULL: not known
    _Atomic uint32_t number; // in this process; PL_TYPE_INSIDE: nobody has asked
};

struct pl_guide {
    atomic_uint refs;
    const struct pl_seams *seams;
    struct pl_mark *marks;
    size_t mark_count, mark_capacity;
    // Chunk k has 16 << k names. They stay where they are, so that looking needs no lock.
    _Atomic(struct pl_name *) chunks[PL_NAME_CHUNKS];
    uint32_t name_end;  // one above the highest number named
    size_t name_bytes;  // in a summary
    uint64_t last_used; // for who keeps few guides
};

// Without anything. NULL without memory.
struct pl_guide *pl_guide_create(const struct pl_seams *seams);
void pl_guide_ref(struct pl_guide *guide);
void pl_guide_unref(struct pl_guide *guide); // NULL is fine

// Forgets marks and names. Nobody else has it.
void pl_guide_empty(struct pl_guide *guide);

// The memory it takes, about.
size_t pl_guide_bytes(const struct pl_guide *guide);

// Is an event at an offset worth a mark?
static inline bool pl_guide_wants(const struct pl_guide *guide, uint64_t offset)
{
    return guide->mark_count == 0 ||
           offset - (uint64_t)guide->marks[guide->mark_count - 1].word * 8 >= PL_MARK_EVERY;
}

// Marks it. Without memory there is no mark, and reading begins further back.
void pl_guide_mark(struct pl_guide *guide, uint64_t event, uint64_t offset);

// The last mark that is not behind an event, and where the next one is. NULL: there is none.
const struct pl_mark *pl_guide_find_mark(const struct pl_guide *guide, uint64_t event,
                                         const struct pl_mark **out_next);

// Names a type; the same name again is fine. PEAL_ENOMEM.
enum peal_err pl_guide_put_name(struct pl_guide *guide, uint32_t number, const char *name,
                                size_t length);

// The same as a whole PL_RECORD_TYPE says.
enum peal_err pl_guide_take_name(struct pl_guide *guide, const struct pl_frame *record);

// NULL: it has no name.
struct pl_name *pl_guide_name(const struct pl_guide *guide, uint32_t number);

// ---- summaries ----------------------------------------------------------------------------------

// What a summary says beside.
struct pl_summary {
    uint64_t end;     // one above the last position in the file
    uint64_t durable; // positions below it were on the disk when it was written
    uint64_t offset;  // where it stands; not in the record
};

// The bytes of the record; of a guide without anything.
#define PL_GUIDE_LEAST (sizeof(struct pl_frame) + 16)
size_t pl_guide_summary_size(const struct pl_guide *guide);

// Writes the record; `out` has so many bytes.
void pl_guide_summarise(const struct pl_guide *guide, const struct pl_summary *summary,
                        uint32_t salt, struct pl_frame *out);

// What a whole summary record says. False: it makes no sense.
bool pl_summary_read(struct pl_summary *out, const struct pl_frame *record);

// Fills an empty guide with it. PEAL_ENOMEM, PEAL_ECORRUPT.
enum peal_err pl_guide_restore(struct pl_guide *guide, const struct pl_frame *record);

#endif
