// SPDX-License-Identifier: MIT
//
// Any bytes as a chunked body: however they are split, the data, the end and what is refused are
// the same, and nothing is read twice or left out.
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/http_parse.h"

struct outcome {
    enum net_chunks_result result;
    size_t used, size;
    uint64_t hash; // of the data
};

// An assert that a build without asserts keeps.
static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void mix(struct outcome *outcome, struct net_part data)
{
    for (size_t i = 0; i < data.size; i++) {
        outcome->hash = (outcome->hash ^ (unsigned char)data.bytes[i]) * UINT64_C(1099511628211);
    }
    outcome->size += data.size;
}

// In parts of sizes that `rule` says; 0: all at once.
static struct outcome read_all(const char *bytes, size_t size, unsigned rule)
{
    struct net_chunks chunks = { 0 };
    struct outcome outcome = { .result = NET_CHUNKS_MORE };
    while (outcome.used < size) {
        size_t left = size - outcome.used, taken = 0;
        size_t part = rule ? 1 + rule * (outcome.used + 1) % 17 % rule : left;
        struct net_part data = { 0 };
        part = part < left ? part : left;
        outcome.result = net_chunks_read(&chunks, bytes + outcome.used, part, &taken, &data);
        check(taken > 0 && taken <= part);
        if (outcome.result == NET_CHUNKS_DATA) {
            check(data.size > 0 && data.bytes >= bytes + outcome.used &&
                  data.bytes + data.size == bytes + outcome.used + taken);
            mix(&outcome, data);
        }
        outcome.used += taken;
        if (outcome.result == NET_CHUNKS_END || outcome.result == NET_CHUNKS_BAD) {
            return outcome;
        }
    }
    outcome.result = NET_CHUNKS_MORE;
    return outcome;
}

// The name is libFuzzer's.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); // NOLINT
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct outcome whole = read_all(bytes, size, 0);
    for (unsigned rule = 1; rule < 6; rule++) {
        struct outcome parts = read_all(bytes, size, rule);
        check(parts.result == whole.result && parts.used == whole.used);
        check(parts.size == whole.size && parts.hash == whole.hash);
    }
    return 0;
}
