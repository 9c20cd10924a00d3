// SPDX-License-Identifier: MIT
//
// Folder: a directory of the test's own on the real disk, and the URL of a log in it.
//
//     struct folder folder;
//     folder_open(&folder, "?durability=disk");
//     peal_bus_open(&bus, folder.url, NULL);
//     ...
//     folder_close(&folder);                   // with all files in it
//
// Include cmocka.h first. What cannot be done here fails the test.
#ifndef PEAL_TESTS_FOLDER_H
#define PEAL_TESTS_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct folder {
    char path[64], url[160];
};

static inline void folder_open(struct folder *folder, const char *options)
{
    (void)snprintf(folder->path, sizeof folder->path, "/tmp/peal-file-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    (void)snprintf(folder->url, sizeof folder->url, "file:%s%s", folder->path, options);
}

// Empties a directory, and those in it, and removes it.
static inline void folder_remove(const char *directory) // NOLINT(misc-no-recursion): depth is ours
{
    DIR *names = opendir(directory);
    assert_non_null(names);
    const struct dirent *entry;
    while ((entry = readdir(names))) { // NOLINT(concurrency-mt-unsafe): nobody else has it
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            char path[400];
            (void)snprintf(path, sizeof path, "%.140s/%.255s", directory, entry->d_name);
            if (unlink(path) != 0) {
                folder_remove(path);
            }
        }
    }
    (void)closedir(names);
    assert_int_equal(rmdir(directory), 0);
}

static inline void folder_close(const struct folder *folder)
{
    folder_remove(folder->path);
}

#endif
