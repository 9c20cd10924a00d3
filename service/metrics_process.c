// SPDX-License-Identifier: MIT
//
// /proc/self/stat is one line of numbers behind the program's name, which may hold anything: it
// ends at the last bracket (proc(5)). When the machine was booted stands in /proc/stat.
#include "service/metrics_process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

// Fields behind the name, by their number in proc(5).
enum { FIRST = 3, UTIME = 14, STIME = 15, THREADS = 20, START = 22, ADDRESSES = 23, RESIDENT = 24 };

// Fields FIRST to RESIDENT; false: there are fewer.
static bool read_fields(const char *stat, uint64_t fields[RESIDENT + 1])
{
    const char *at = strrchr(stat, ')');
    if (!at || strlen(at) < 4) {
        return false;
    }
    at += 3; // behind the state, a letter, which stands first
    for (int i = FIRST + 1; i <= RESIDENT; i++) {
        char *end;
        fields[i] = strtoull(at, &end, 10);
        if (end == at) {
            return false;
        }
        at = end;
    }
    return true;
}

bool service_process_parse(struct service_process *out, const char *stat, const char *machine)
{
    uint64_t fields[RESIDENT + 1];
    const char *boot = strstr(machine, "\nbtime ");
    long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
    if (!boot || ticks <= 0 || page <= 0 || !read_fields(stat, fields)) {
        return false;
    }
    double second = (double)ticks;
    out->cpu_seconds = (double)(fields[UTIME] + fields[STIME]) / second;
    out->start_seconds =
        (double)strtoull(boot + strlen("\nbtime "), NULL, 10) + (double)fields[START] / second;
    out->address_bytes = fields[ADDRESSES];
    out->memory_bytes = fields[RESIDENT] * (uint64_t)page;
    out->threads = fields[THREADS];
    return true;
}

// All of a file that tells no size; *given*. NULL: it cannot be read.
static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "re");
    size_t room = 4096, size = 0;
    char *text = file ? malloc(room) : NULL;
    while (text) {
        size += fread(text + size, 1, room - size - 1, file);
        if (size < room - 1) {
            break;
        }
        char *grown = realloc(text, room * 2);
        if (!grown) {
            free(text);
        }
        text = grown;
        room *= 2;
    }
    if (text) {
        text[size] = '\0';
    }
    if (file) {
        (void)fclose(file); // only read
    }
    return text;
}

// Open descriptors, but for the one this takes.
static uint64_t count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    uint64_t count = 0;
    while (folder && readdir(folder)) { // NOLINT(concurrency-mt-unsafe): nobody else has it
        count++;
    }
    if (folder) {
        (void)closedir(folder); // only read
    }
    return count > 3 ? count - 3 : 0; // and "." and ".."
}

bool service_process_read(struct service_process *out)
{
    struct service_process process = { 0 };
    char *stat = read_whole("/proc/self/stat");
    char *machine = read_whole("/proc/stat");
    bool ok = stat && machine && service_process_parse(&process, stat, machine);
    free(stat);
    free(machine);
    struct rlimit limit;
    if (!ok || getrlimit(RLIMIT_NOFILE, &limit)) {
        return false;
    }
    process.descriptors_max = limit.rlim_cur;
    process.descriptors = count_descriptors();
    *out = process;
    return true;
}
