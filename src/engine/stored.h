// SPDX-License-Identifier: MIT
//
// Stored: the log in this process with a storage behind it (log/storage.h): what file: and sqlite:
// share. An engine brings the storage, opens and closes it, and takes these as its members.
//
// On opening the log begins where the storage ends, and the ids that count as seen are taken from
// the newest events. The version of a stream is looked up when it is first asked for; from then on
// the log's state knows it.
//
// When something cannot be written or synced, nothing more is appended until all that was is
// stored: each publish is asked of the engine, and an event that cannot be kept is not accepted.
#ifndef PL_ENGINE_STORED_H
#define PL_ENGINE_STORED_H

#include "engine/local.h"

// Lets the log of a new engine begin at `end`, one above the last position of its storage, and
// takes from the newest events what it has to know of them. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_stored_begin(struct pl_local *local, const struct pl_storage *storage,
                              uint64_t end);

// The members of an engine; `version` is pl_local_version.
enum peal_err pl_stored_append(struct pl_engine *engine, struct pl_request *requests, size_t count);
enum peal_err pl_stored_look(struct pl_engine *engine, struct pl_request *requests, size_t count);
enum peal_err pl_stored_settle(struct pl_engine *engine, uint64_t end, enum peal_durability level);

// Publishes the end of what another process has written: positions below it can be read. With no
// lock. For `refresh`.
void pl_stored_publish(struct pl_local *local, uint64_t end);

// The version of an event in the stream of a subject; 0: it is in another.
uint64_t pl_stored_version_in(const struct pl_frame *frame, const char *subject);

// Tells who listens.
void pl_stored_say(const struct pl_local *local, enum peal_level level, const char *text);

// Opens the table of cursors, dead letters and schedules in a directory, and tells of what had to
// be left out. As pl_kv_open.
enum peal_err pl_stored_open_state(struct pl_local *local, const char *directory,
                                   const uint64_t *seed, uint64_t end,
                                   const struct pl_engine_config *config);

#endif
