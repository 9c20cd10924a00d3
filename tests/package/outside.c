// SPDX-License-Identifier: MIT
//
// The smallest program that needs all of the library: an event goes in and comes out.
#include <peal/peal.h>
#include <stdio.h>

static enum peal_verdict count(const peal_event *event, void *context)
{
    int *seen = context;
    *seen += (int)peal_event_size(event);
    return PEAL_DONE;
}

int main(void)
{
    int seen = 0;
    peal_bus *bus = NULL;
    const struct peal_subscribe_options here = { .mode = PEAL_INLINE };
    if (peal_bus_open(&bus, "mem:", NULL) ||
        peal_subscribe(NULL, bus, "outside.*", &here, count, &seen)) {
        (void)fprintf(stderr, "%s\n", peal_error_sentence());
        return 1;
    }
    peal_emit(bus, "outside.hello", "12345", 5);
    peal_bus_close(bus);

    printf("Peal %s: %d bytes seen, 5 expected\n", PEAL_VERSION, seen);
    return seen == 5 ? 0 : 1;
}
