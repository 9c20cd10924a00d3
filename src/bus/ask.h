// SPDX-License-Identifier: MIT
//
// Asking: what one process wants changed in a log that another has.
//
//     only reads, ask_owner                           has the log
//     peal_publish ... ─► ask.c ──► door ──► answer.c, a thread ──► peal_publish ...
//                            ◄── a code, and its sentence or a result ◄──┘
//
// There is one writing process, and so it is asked. Both sides are this library: a request is a
// call of a public function in bytes (ask_bytes.c), and the answer what that function said. So all
// the rules of the function hold, in the process that has the log, as if its own code had called.
//
// One connection carries one request and its answer, both of them this head and `size` bytes:
//
//     0  "peal"
//     4  u16  version: PL_ASK_VERSION; another one is answered PEAL_EUNSUPPORTED
//     6  u16  what is wanted (enum pl_ask_kind), or the code (enum peal_err)
//     8  u64  size of what follows, at most PL_ASK_BYTES_MAX
//    16       numbers of 8 bytes; texts: their length + 1 (0: NULL) in 8 bytes, then their bytes
//
// Numbers are as the machine has them: both processes run on it. What is read is not believed.
//
// The owner answers one after the other, and gives each PL_ASK_PATIENCE_MS to say what it wants:
// who is silent or gone holds up others no longer than that, and nobody else. It remembers nothing
// of an asker. Who asks waits PL_ASK_WAIT_MS; after that the outcome is unknown, and said so. To
// erase and to archive takes longer, and is waited for as long as the owner lives, up to
// PL_ASK_WORK_MS; these wait for each other, and others are answered meanwhile. Archiving is cut
// into requests of some seconds, so that nobody waits for all of it.
#ifndef PL_BUS_ASK_H
#define PL_BUS_ASK_H

#include "base/wire_calls.h"
#include "bus/calls.h"

#define PL_ASK_VERSION     1
#define PL_ASK_HEAD        PL_WIRE_HEAD
#define PL_ASK_BYTES_MAX   (256ULL << 20)
#define PL_ASK_PATIENCE_MS 5000
#define PL_ASK_WAIT_MS     30000
#define PL_ASK_WORK_MS     3600000
#define PL_ASK_PIECE_MS    2000 // of archiving; a file is never left in its middle
#define PL_ASK_LINE_MAX    16   // who wait to erase or archive; one more is PEAL_ELIMIT

enum pl_ask_kind {
    PL_ASK_WHO = 1, // nothing: is somebody there?
    PL_ASK_PUBLISH,
    PL_ASK_DEAD_RETRY,
    PL_ASK_DEAD_DISCARD,
    PL_ASK_DEAD_EDIT,
    PL_ASK_CANCEL, // what is scheduled
    PL_ASK_PAUSE,
    PL_ASK_RESUME,
    PL_ASK_SEEK,
    PL_ASK_FORGET,
    PL_ASK_NAMES,
    PL_ASK_STATS,
    PL_ASK_LOOK,
    // Of a service only: who has the log of files can read these there.
    PL_ASK_DEAD_LIST,
    PL_ASK_DEAD_COUNT,
    PL_ASK_SCHEDULE_LIST,
    // Of who has the log of files only.
    PL_ASK_ERASE,
    PL_ASK_ARCHIVE,
    PL_ASK_KINDS,
};

// Does it take minutes, perhaps?
static inline bool pl_ask_works(unsigned kind)
{
    return kind == PL_ASK_ERASE || kind == PL_ASK_ARCHIVE;
}

// ---- bytes (ask_bytes.c) ------------------------------------------------------------------------

struct pl_ask_head {
    unsigned version, code;
    uint64_t size;
};

void pl_pack_head(struct pl_pack *pack, unsigned code); // once all is in it

// False: it is not ours.
bool pl_unpack_head(struct pl_ask_head *out, const char bytes[PL_ASK_HEAD]);

// ---- the one that asks (ask.c) ------------------------------------------------------------------

static inline bool pl_asks(const struct peal_bus *bus)
{
    return bus && bus->options.ask_owner;
}

// Each as the function whose name it bears. PEAL_EUNSUPPORTED: nobody has the log, or who has takes
// no requests. PEAL_ETIMEDOUT, PEAL_EIO: whether it was done is unknown.
enum peal_err pl_ask_publish(struct peal_bus *bus, const struct peal_message *messages,
                             size_t count, struct peal_receipt *receipts);
enum peal_err pl_ask_dead(struct peal_bus *bus, enum pl_ask_kind kind,
                          const struct peal_dead_filter *filter, bool dry_run, uint64_t *affected);
enum peal_err pl_ask_edit(struct peal_bus *bus, uint64_t id, const void *data, size_t size);
enum peal_err pl_ask_cancel(struct peal_bus *bus, const struct peal_schedule_filter *filter,
                            bool dry_run, uint64_t *affected);
enum peal_err pl_ask_name(struct peal_bus *bus, enum pl_ask_kind kind, const char *name,
                          const struct pl_start *start);
enum peal_err pl_ask_stats(struct peal_bus_stats *out, struct peal_bus *bus);
enum peal_err pl_ask_look(struct peal_standing *out, struct peal_bus *bus, const char *name,
                          uint64_t position);

// ask_work.c
enum peal_err pl_ask_erase(struct peal_erased *out, struct peal_bus *bus, const char *subject,
                           bool dry_run);
enum peal_err pl_ask_archive(struct peal_savings *out, struct peal_bus *bus,
                             const struct peal_archive *archive);

// Lists of a service; what they point into is *given* with them (struct pl_asked_list).
enum peal_err pl_ask_dead_list(struct peal_dead_list *out, struct peal_bus *bus,
                               const struct peal_dead_filter *filter);
enum peal_err pl_ask_dead_count(struct peal_dead_count *out, size_t *out_count,
                                struct peal_bus *bus, enum peal_dead_group group, size_t max);
enum peal_err pl_ask_schedule_list(struct peal_schedule_list *out, struct peal_bus *bus,
                                   const struct peal_schedule_filter *filter);

// How the owner of each list begins.
struct pl_asked_list {
    const struct pl_seams *seams;
    char *answer;                 // of a service, in which the texts are; NULL: it is ours
    struct peal_dead_list *parts; // NULL, or two lists of which this one has only the order
};

// Asks, and gives the whole answer: its bytes are *given* (pl_release). The pack is finished.
enum peal_err pl_ask_any(char **out, struct pl_unpack *out_unpack, struct peal_bus *bus,
                         enum pl_ask_kind kind, struct pl_pack *pack);

// The answer about all durable names; its bytes are *given* (pl_release).
enum peal_err pl_ask_names(char **out, struct pl_unpack *out_names, struct peal_bus *bus);

// ---- the one that is asked (answer.c, ask_work.c) -----------------------------------------------

enum peal_err pl_answer_bad(void); // it cannot be read
enum peal_err pl_answer_erase(struct peal_bus *bus, struct pl_unpack *request,
                              struct pl_pack *reply);
enum peal_err pl_answer_archive(struct peal_bus *bus, struct pl_unpack *request,
                                struct pl_pack *reply);

// Opens the door of the log and starts a thread behind it. What cannot be is said, and does no
// harm. Nothing on a bus that is not to be asked.
void pl_answer_start(struct peal_bus *bus);

// Returns when no request is served any more, and none will be. The bus takes no publishes by now.
// Fine if it was not started.
void pl_answer_stop(struct peal_bus *bus);

#endif
