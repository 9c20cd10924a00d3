// SPDX-License-Identifier: MIT
//
// Where the log's bench writes. See place.h.
//
// The directory and the sizes are set once, before the first measurement's process is forked, and
// only read from then on.

#include "place.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define TMPFS 0x01021994 // as statfs calls it

#define NAME_ROOM 64 // of what stands in the directory

#define READ_BLOCK (1 << 20)

#define LARGE_EVENT 600 // bytes of the disk for each event of the large log, at most, in all

// The kernel's pages that a measurement has at hand: so much, and so much for each event (its
// record, a share of an index; a peer with a journal writes it twice). And memory of its own.
#define READY_LEAST ((uint64_t)256 << 20)
#define READY_EVENT 384
#define READY_OWN   ((size_t)128 << 20)
#define READY_PAGE  4096

// Written at a time. The kernel keeps what is written at once in pieces as large as fit there, and
// finds the memory of each among pieces of its size: these are as odd as those of a log are.
#define READY_WRITE (262144 - 64)

static struct bench_log_sizes sizes;
static bool is_quick;
static char place[BENCH_PATH_MAX - NAME_ROOM];

static const struct bench_log_sizes whole = {
    .small = 100000,
    .large = 10000000,
    .replay = 1000000,
    .one = 400000,
    .batch = 1000000,
    .warm = 50000,
    .share = 5,
    .peer = 200000,
    .turn_ns = 400000000,
};

static const struct bench_log_sizes quick = {
    .small = 60000,
    .large = 200000,
    .replay = 50000,
    .one = 10000,
    .batch = 20000,
    .warm = 5000,
    .share = 2,
    .peer = 60000,
    .turn_ns = 30000000,
};

const struct bench_log_sizes *bench_log_sizes(void)
{
    return &sizes;
}

// ---- the directory ------------------------------------------------------------------------------

static void check_folder(const char *folder)
{
    struct statvfs room;
    struct statfs kind;
    if (statvfs(folder, &room) || statfs(folder, &kind)) {
        bench_die("cannot write in %s: %s; name another directory with --dir", folder,
                  strerrordesc_np(errno));
    }
    uint64_t free_bytes = (uint64_t)room.f_bavail * room.f_frsize;
    uint64_t needed = sizes.large * LARGE_EVENT;
    if (free_bytes < needed) {
        bench_die("%s has %llu MiB, and %llu are needed: name another directory with --dir, or "
                  "fewer events with --large",
                  folder, (unsigned long long)(free_bytes >> 20),
                  (unsigned long long)(needed >> 20));
    }
    if (kind.f_type == TMPFS) {
        (void)fprintf(stderr,
                      "peal-bench-log: %s is memory, not a disk: figures of syncs and of cold "
                      "reading mean nothing; name another directory with --dir\n",
                      folder);
    }
}

void bench_place_begin(const struct bench_sizes *wanted)
{
    is_quick = wanted->quick;
    sizes = is_quick ? quick : whole;
    sizes.large = wanted->large ? wanted->large : sizes.large;
    if (sizes.large < quick.small) {
        bench_die("--large: at least %llu, for sessions that are whole",
                  (unsigned long long)quick.small);
    }
    const char *folder = wanted->folder ? wanted->folder : getenv("TMPDIR"); // NOLINT: no threads
    folder = folder && *folder ? folder : "/var/tmp";
    check_folder(folder);
    int length = snprintf(place, sizeof place, "%s/peal-bench-log.XXXXXX", folder);
    if (length < 0 || (size_t)length >= sizeof place) {
        bench_die("the name of the directory is too long: %s", folder);
    }
    if (!mkdtemp(place)) {
        bench_die("cannot make a directory in %s: %s; name another one with --dir", folder,
                  strerrordesc_np(errno));
    }
}

void bench_place_end(void)
{
    bench_place_remove(place);
}

static void make(const char *path)
{
    if (mkdir(path, 0700)) {
        bench_die("cannot make %s: %s", path, strerrordesc_np(errno));
    }
}

void bench_place_make(char out[BENCH_PATH_MAX], const char *name)
{
    (void)snprintf(out, BENCH_PATH_MAX, "%s/%.32s.%d", place, name, (int)getpid());
    bench_place_remove(out); // in one process the second repeat has the same name
    make(out);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    (void)remove(path); // What stays is seen by whoever finds the directory.
    return 0;
}

void bench_place_remove(const char *path)
{
    // NOLINTNEXTLINE(concurrency-mt-unsafe): changes no directory here
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// ---- before the clock runs ----------------------------------------------------------------------

static void sync_all(void)
{
    int folder = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || syncfs(folder)) {
        bench_die("cannot sync what is in %s: %s", place, strerrordesc_np(errno));
    }
    (void)close(folder);
}

static unsigned char *touch_memory(size_t bytes)
{
    unsigned char *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        bench_die("cannot touch %zu MiB of memory: there is less", bytes >> 20);
    }
    (void)madvise(memory, bytes, MADV_NOHUGEPAGE); // Advice: most of what is timed has small pages.
    for (size_t i = 0; i < bytes; i += READY_PAGE) {
        memory[i] = 1;
    }
    return memory;
}

// A file that is gone before the kernel has begun to write it to the disk.
static void touch_pages(uint64_t bytes)
{
    static unsigned char block[READ_BLOCK];
    char path[BENCH_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/ready.%d", place, (int)getpid());
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || unlink(path)) {
        bench_die("cannot make %s: %s", path, strerrordesc_np(errno));
    }
    for (uint64_t at = 0; at < bytes; at += READY_WRITE) {
        if (pwrite(file, block, READY_WRITE, (off_t)at) != READY_WRITE) {
            bench_die("cannot write %s: %s", path, strerrordesc_np(errno));
        }
    }
    (void)close(file);
}

// Memory last: what is touched does not stay for long. No more than half of what is free, as the
// kernel would take the rest from the files that are to be in it.
void bench_place_ready(uint64_t events)
{
    if (is_quick) {
        return;
    }
    sync_all();
    uint64_t most = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 2;
    uint64_t bytes = READY_LEAST + events * READY_EVENT;
    unsigned char *memory = touch_memory(READY_OWN);
    touch_pages(bytes < most ? bytes : most);
    (void)munmap(memory, READY_OWN);
}

// ---- what several measurements share ------------------------------------------------------------

// Beside the directory, not in it: a log refuses files it does not know.
static void name_of_note(char out[BENCH_PATH_MAX + 8], const char *path)
{
    (void)snprintf(out, BENCH_PATH_MAX + 8, "%s.note", path);
}

bool bench_place_share(char out[BENCH_PATH_MAX], const char *name)
{
    char note[BENCH_PATH_MAX + 8];
    (void)snprintf(out, BENCH_PATH_MAX, "%s/%.32s", place, name);
    name_of_note(note, out);
    if (access(note, F_OK) == 0) {
        return false;
    }
    bench_place_remove(out);
    make(out);
    return true;
}

void bench_place_done(const char *path, double note)
{
    char name[BENCH_PATH_MAX + 8];
    name_of_note(name, path);
    FILE *file = fopen(name, "we");
    if (!file || fprintf(file, "%.17g\n", note) < 0 || fclose(file)) {
        bench_die("cannot write %s", name);
    }
}

double bench_place_note(const char *path)
{
    char name[BENCH_PATH_MAX + 8];
    char text[64] = "";
    name_of_note(name, path);
    FILE *file = fopen(name, "re");
    if (!file || !fgets(text, sizeof text, file)) {
        bench_die("cannot read %s", name);
    }
    (void)fclose(file);
    return strtod(text, NULL);
}

// ---- its files ----------------------------------------------------------------------------------

// A walk cannot carry a context, so what is found is kept here: a measurement walks alone.
static struct {
    uint64_t bytes;
    size_t pages, in_memory;
} found;

static void walk(const char *path, __nftw_func_t look)
{
    memset(&found, 0, sizeof found);
    if (nftw(path, look, 16, FTW_PHYS)) { // NOLINT(concurrency-mt-unsafe): as above
        bench_die("cannot look at the files in %s: %s", path, strerrordesc_np(errno));
    }
}

// A block of the disk, whatever size it has, is counted in units of 512 bytes.
static int add_bytes(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)path;
    (void)where;
    found.bytes += kind == FTW_F ? (uint64_t)status->st_blocks * 512 : 0;
    return 0;
}

uint64_t bench_place_bytes(const char *path)
{
    walk(path, add_bytes);
    return found.bytes;
}

static void count_in_memory(int file, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = (size + page - 1) / page;
    unsigned char *present = bench_new(pages);
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED || mincore(map, size, present)) {
        bench_die("cannot ask what of a file is in memory: %s", strerrordesc_np(errno));
    }
    for (size_t i = 0; i < pages; i++) {
        found.in_memory += present[i] & 1;
    }
    found.pages += pages;
    (void)munmap(map, size);
    free(present);
}

// The kernel lets go only of what is on the disk.
static int cool(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)where;
    if (kind != FTW_F || status->st_size == 0) {
        return 0;
    }
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fdatasync(file) || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED)) {
        bench_die("cannot take %s out of memory: %s", path, strerrordesc_np(errno));
    }
    count_in_memory(file, (size_t)status->st_size);
    (void)close(file);
    return 0;
}

static int heat(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    static unsigned char block[READ_BLOCK];
    (void)where;
    if (kind != FTW_F || status->st_size == 0) {
        return 0;
    }
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? -1 : 1;
    for (off_t at = 0; size > 0; at += size) {
        size = pread(file, block, sizeof block, at);
    }
    if (size < 0) {
        bench_die("cannot read %s: %s", path, strerrordesc_np(errno));
    }
    count_in_memory(file, (size_t)status->st_size);
    (void)close(file);
    return 0;
}

static double share_in_memory(void)
{
    return found.pages ? (double)found.in_memory / (double)found.pages : 0;
}

double bench_place_cool(const char *path)
{
    walk(path, cool);
    return share_in_memory();
}

double bench_place_heat(const char *path)
{
    walk(path, heat);
    return share_in_memory();
}
