// SPDX-License-Identifier: MIT
//
// The floor of the log: what the machine does with the same bytes and nothing of ours.
//
// A frame is 288 bytes: a header of 32 and the data of 256, without indexes and attributes. Where
// reading is compared with Peal's it is 320, as an event of this work is there with its attributes,
// so that both read as many bytes.

#include "base/crc32c.h"
#include "logs.h"
#include "work.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME      288
#define FRAME_READ 320
#define BLOCK      65536
#define READ_BLOCK (FRAME_READ * 1024)
#define HEAD       32

struct floor_file {
    char folder[BENCH_PATH_MAX];
    int file;
};

static void must(bool done, const char *what)
{
    if (!done) {
        bench_die("floor: %s: %s", what, strerrordesc_np(errno));
    }
}

static int open_in(const char *folder)
{
    char path[BENCH_PATH_MAX + 8];
    (void)snprintf(path, sizeof path, "%s/bytes", folder);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(file >= 0, "open");
    return file;
}

static void floor_open(struct floor_file *out)
{
    bench_place_make(out->folder, "floor");
    out->file = open_in(out->folder);
}

static void floor_close(struct floor_file *file)
{
    (void)close(file->file);
    bench_place_remove(file->folder);
}

// The checksum goes into the head, as in a real frame: what follows it is what it is of.
static void make_frame(unsigned char *frame, size_t size, uint64_t number)
{
    struct bench_work work;
    bench_work_make(&work, 0, number);
    memset(frame, 0, size);
    memcpy(frame + 8, &number, sizeof number);
    memcpy(frame + HEAD, bench_work_data(work.data), BENCH_WORK_DATA);
    uint32_t crc = pl_crc32c(0, frame + 8, size - 8);
    memcpy(frame, &crc, sizeof crc);
}

// ---- writing ------------------------------------------------------------------------------------

static void run_write(double *out, int argument)
{
    (void)argument;
    struct floor_file floor;
    floor_open(&floor);
    unsigned char frame[FRAME];
    make_frame(frame, FRAME, 0);
    uint64_t count = bench_log_sizes()->one;
    bench_place_ready(count);
    uint64_t start = bench_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        must(write(floor.file, frame, FRAME) == FRAME, "write");
    }
    out[0] = (double)count * 1e6 / (double)(bench_now_ns() - start);
    floor_close(&floor);
}

// Frames are put together in a buffer, with their checksums, as whoever writes them must.
static double write_blocks(int file, uint64_t count)
{
    static unsigned char block[BLOCK];
    size_t used = 0;
    off_t at = 0;
    struct bench_work *work = bench_work_prepare(0, 0, count);
    bench_place_ready(count);
    uint64_t start = bench_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        if (used + FRAME > BLOCK) {
            must(pwrite(file, block, used, at) == (ssize_t)used, "pwrite");
            at += (off_t)used;
            used = 0;
        }
        unsigned char *frame = block + used;
        memset(frame, 0, HEAD);
        memcpy(frame + 8, &i, sizeof i);
        memcpy(frame + HEAD, bench_work_data(work[i].data), BENCH_WORK_DATA);
        uint32_t crc = pl_crc32c(0, frame + 8, FRAME - 8);
        memcpy(frame, &crc, sizeof crc);
        used += FRAME;
    }
    must(pwrite(file, block, used, at) == (ssize_t)used, "pwrite");
    uint64_t took = bench_now_ns() - start;
    free(work);
    return (double)count * 1e6 / (double)took;
}

// The second time over, the file's pages and blocks are there already.
static void run_blocks(double *out, int argument)
{
    (void)argument;
    struct floor_file floor;
    floor_open(&floor);
    out[0] = write_blocks(floor.file, bench_log_sizes()->batch);
    out[1] = write_blocks(floor.file, bench_log_sizes()->batch);
    floor_close(&floor);
}

// One frame and one sync after the other, over blocks that have been written and synced before.
static void run_sync(double *out, int argument)
{
    (void)argument;
    struct floor_file floor;
    floor_open(&floor);
    static unsigned char zeros[1 << 20];
    for (int i = 0; i < 16; i++) {
        must(write(floor.file, zeros, sizeof zeros) == (ssize_t)sizeof zeros, "write");
    }
    must(fsync(floor.file) == 0, "fsync");

    unsigned char frame[FRAME];
    make_frame(frame, FRAME, 0);
    uint64_t count = 0;
    bench_place_ready(0);
    uint64_t start = bench_now_ns();
    uint64_t took = 0;
    for (; took < bench_log_sizes()->turn_ns && (count + 1) * FRAME <= 16 * sizeof zeros; count++) {
        must(pwrite(floor.file, frame, FRAME, (off_t)(count * FRAME)) == FRAME, "pwrite");
        must(fdatasync(floor.file) == 0, "fdatasync");
        took = bench_now_ns() - start;
    }
    out[0] = (double)count * 1e6 / (double)took;
    floor_close(&floor);
}

// ---- reading ------------------------------------------------------------------------------------

static void write_frames(int file, uint64_t count)
{
    static unsigned char block[READ_BLOCK];
    size_t used = 0;
    for (uint64_t i = 0; i < count; i++) {
        make_frame(block + used, FRAME_READ, i);
        used += FRAME_READ;
        if (used == sizeof block || i + 1 == count) {
            must(write(file, block, used) == (ssize_t)used, "write");
            used = 0;
        }
    }
}

// Every checksum is looked at, and every number, which says that it is the frame that was meant.
static uint64_t scan(int file)
{
    static unsigned char block[READ_BLOCK];
    uint64_t count = 0;
    off_t at = 0;
    for (ssize_t size; (size = pread(file, block, sizeof block, at)) > 0; at += size) {
        for (ssize_t offset = 0; offset + FRAME_READ <= size; offset += FRAME_READ) {
            uint32_t crc;
            uint64_t number;
            memcpy(&crc, block + offset, sizeof crc);
            memcpy(&number, block + offset + 8, sizeof number);
            if (pl_crc32c(0, block + offset + 8, FRAME_READ - 8) != crc || number != count) {
                bench_die("floor: frame %llu is not what was written", (unsigned long long)count);
            }
            count++;
        }
    }
    return count;
}

static void run_scan(double *out, int cold)
{
    char folder[BENCH_PATH_MAX];
    bool mine = bench_place_share(folder, "frames");
    int file = open_in(folder);
    uint64_t count = bench_log_sizes()->replay;
    if (mine) {
        write_frames(file, count);
        bench_place_done(folder, 0);
    }
    if (cold) {
        bench_log_cool(folder, "log.floor.scan_cold");
        bench_place_ready(count);
    } else {
        (void)scan(file);
    }
    uint64_t start = bench_now_ns();
    uint64_t found = scan(file);
    uint64_t took = bench_now_ns() - start;
    if (found != count) {
        bench_die("floor: %llu of %llu frames were read", (unsigned long long)found,
                  (unsigned long long)count);
    }
    (void)close(file);
    out[0] = (double)count * 1e6 / (double)took;
}

// name, unit, goals
const struct bench_measurement bench_log_floor[] = {
    { run_write, 0, { { "log.floor.write", "k/s", { { 0 } } } } },
    { run_blocks,
      0,
      { { "log.floor.blocks_new", "k/s", { { 0 } } },
        { "log.floor.blocks_recycled", "k/s", { { 0 } } } } },
    { run_sync, 0, { { "log.floor.sync", "k/s", { { 0 } } } } },
    { run_scan, 0, { { "log.floor.scan_hot", "k/s", { { 0 } } } } },
    { run_scan, 1, { { "log.floor.scan_cold", "k/s", { { 0 } } } } },
    { 0 },
};
