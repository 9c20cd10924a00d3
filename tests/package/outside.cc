// SPDX-License-Identifier: MIT
//
// The same in C++, which must find C names in the headers.
#include <cstdio>
#include <peal/peal.h>

int main()
{
    int seen = 0;
    peal_bus *bus = nullptr;
    peal_subscribe_options here = {};
    here.mode = PEAL_INLINE;
    auto count = [](const peal_event *event, void *context) {
        *static_cast<int *>(context) += static_cast<int>(peal_event_size(event));
        return PEAL_DONE;
    };
    if (peal_bus_open(&bus, "mem:", nullptr) != PEAL_OK ||
        peal_subscribe(nullptr, bus, "outside.*", &here, count, &seen) != PEAL_OK) {
        std::fprintf(stderr, "%s\n", peal_error_sentence());
        return 1;
    }
    peal_emit(bus, "outside.hello", "12345", 5);
    peal_bus_close(bus);

    std::printf("Peal %s: %d bytes seen, 5 expected\n", PEAL_VERSION, seen);
    return seen == 5 ? 0 : 1;
}
