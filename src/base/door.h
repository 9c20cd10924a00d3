// SPDX-License-Identifier: MIT
//
// Doors: how processes of one machine and one user talk to each other.
//
//     who has a thing              who wants something of it
//     pl_door_open(its name)       pl_door_knock(the same name)
//     pl_door_wait  ◄──────────────────┘
//     read, write   ◄────────────► read, write            one connection, closed by both
//
// A door is a Unix socket in the abstract namespace: nothing is in the file system, so nothing is
// left behind however a process ends. Its name is made of the device and the inode of a file or
// directory, so that two paths to one thing are one door. Names are free to everybody on the
// machine, so each side asks the kernel who the other one is: only the same user and root are
// answered, and only they and whoever owns the file are asked.
//
// Results are descriptors, counts or 0, or minus an errno. Nothing here takes memory. Threads: any;
// a connection belongs to one at a time. A deadline is a time of the real monotonic clock, in ns.
#ifndef PL_BASE_DOOR_H
#define PL_BASE_DOOR_H

#include <stddef.h>
#include <stdint.h>

struct pl_door_name {
    char text[64];
    unsigned owner; // user id of who owns what the name is made of
};

// -ENOENT, -EACCES: there is no file or directory at `path`, or it cannot be looked at.
int pl_door_name(struct pl_door_name *out, const char *path);

// -EADDRINUSE: somebody has a door of that name.
int pl_door_open(const struct pl_door_name *name);

// Waits for the next one who may come in. -ECANCELED: pl_door_shut.
int pl_door_wait(int door);

// Who waits at the door, or reads behind it, returns -ECANCELED. Any thread, also several times.
void pl_door_shut(int door);

// Of a door or a connection. Fine on what is below 0.
void pl_door_close(int door);

// *out_pid: of the process behind the door. -ECONNREFUSED: there is none; -EPERM: it is that of
// somebody who has no business there; -ETIMEDOUT.
int pl_door_knock(const struct pl_door_name *name, int64_t deadline, int64_t *out_pid);

// Reads or writes all of it, or fails: -EPIPE (the other one has gone), -ETIMEDOUT, -ECANCELED.
// `door`: the one that may be shut meanwhile; -1: none.
int pl_door_read(int connection, int door, void *out, size_t size, int64_t deadline);
int pl_door_write(int connection, int door, const void *bytes, size_t size, int64_t deadline);

#endif
