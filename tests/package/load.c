// SPDX-License-Identifier: MIT
//
// Loads the library the way plug-ins and language bindings do, long after the program has started:
// its thread locals must fit into what the C library keeps for such guests.
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: outside-load libpeal.so\n");
        return 2;
    }
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library || !dlsym(library, "peal_error_sentence")) {
        (void)fprintf(stderr, "%s\n", dlerror()); // NOLINT(concurrency-mt-unsafe): one thread
        return 1;
    }
    printf("loaded %s\n", argv[1]);
    return dlclose(library);
}
