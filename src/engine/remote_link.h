// SPDX-License-Identifier: MIT
//
// The inside of the link: what connecting (remote_connect.c), saying (remote_out.c), hearing
// (remote_in.c) and the thread that does all of it (remote_link.c) share.
//
// Threads: who holds `wire`, which is the link but for pl_remote_send; what receives is the link's
// alone.
#ifndef PL_ENGINE_REMOTE_LINK_H
#define PL_ENGINE_REMOTE_LINK_H

#include "engine/remote.h"

static inline int64_t pl_link_now(const struct pl_remote *remote)
{
    return remote->seams->monotonic(remote->seams->world);
}

static inline bool pl_link_is_stopping(const struct pl_remote *remote)
{
    return atomic_load_explicit(&remote->stopping, memory_order_acquire);
}

// ---- remote_out.c -------------------------------------------------------------------------------

// Room for `more` bytes behind `out`. False: no memory.
bool pl_link_reserve(struct pl_remote *remote, size_t more);

// A frame with these bytes, masked, into `out`: copied. False: no memory.
bool pl_link_put_frame(struct pl_remote *remote, enum pl_ws_opcode opcode, const char *bytes,
                       size_t size);

// A request of that kind, masked, into `out`; the pack is *taken*. False: no memory.
bool pl_link_put(struct pl_remote *remote, unsigned kind, uint64_t number, struct pl_pack *pack);

// Takes into `out` what the link and others have to say, about PL_REMOTE_OUT bytes. False: no
// memory.
bool pl_link_fill_out(struct pl_remote *remote);

// Sends what the socket takes of `out`. 0, or minus an errno.
int pl_link_send_out(struct pl_remote *remote);

// ---- remote_in.c --------------------------------------------------------------------------------

// Reads once what has come: *out_count bytes. *out_all: there was no more. 0, or minus an errno.
int pl_link_receive(struct pl_remote *remote, size_t *out_count, bool *out_all);

// Reads what has come, though not for ever, and hands each message to whom it is for. 0, or minus
// an errno.
int pl_link_hear(struct pl_remote *remote);

// The log of the service has positions [first, end) now; `first` 0: it begins where it did.
void pl_link_note_ends(struct pl_remote *remote, uint64_t first, uint64_t end);

// ---- remote_connect.c ---------------------------------------------------------------------------

// PEAL_EIO, PEAL_ENOMEM, PEAL_EREFUSED, or what the service answers HELLO with.
enum peal_err pl_link_connect(struct pl_remote *remote, int64_t deadline); // monotonic

// PEAL_EIO or PEAL_ENOMEM, with the sentence for minus an errno.
enum peal_err pl_link_fail(const struct pl_remote *remote, int result);

#endif
