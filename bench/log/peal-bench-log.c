// SPDX-License-Identifier: MIT
//
// peal-bench-log: every figure the log promises, beside a floor and the peers, in one run.

#include "logs.h"
#include "store.h"

static const struct bench_measurement *const tables[] = {
    bench_log_floor,
    bench_log_ingest,
    bench_log_replay,
    bench_log_lookup,
    bench_log_large,
    bench_log_aggregate,
#if PEAL_PEER_SQLITE
    bench_log_sqlite,
#endif
#if PEAL_PEER_LMDB
    bench_log_lmdb,
#endif
#if PEAL_PEER_ROCKSDB
    bench_log_rocksdb,
#endif
#if PEAL_PEER_REDIS
    bench_log_redis,
#endif
#if PEAL_PEER_JETSTREAM
    bench_log_jetstream,
#endif
    NULL,
};

static const struct bench_flat flats[] = {
    { "log.flat.os_one", "log.small.os_one", "log.large.os_one", true },
    { "log.flat.os_batch100", "log.small.os_batch100", "log.large.os_batch100", true },
    { "log.flat.os_append", "log.small.os_append", "log.large.os_append", true },
    { "log.flat.memory_one", "log.small.memory_one", "log.large.memory_one", true },
    { "log.flat.disk_one", "log.small.disk_one", "log.large.disk_one", true },
    { "log.flat.subject", "log.small.subject", "log.large.subject", false },
    { "log.flat.correlation", "log.small.correlation", "log.large.correlation", false },
    { "log.flat.type", "log.small.type", "log.large.type", false },
    { "log.flat.newest", "log.small.newest", "log.large.newest", false },
    { "log.flat.rare_type", "log.small.rare_type", "log.large.rare_type", false },
    { 0 },
};

int main(int argc, char **argv)
{
    static const struct bench_program program = {
        .tables = tables,
        .flats = flats,
        .repeats = 5,
        .deadline_ms = 300000,
        .by_family = true,
        .begin = bench_place_begin,
        .end = bench_place_end,
    };
    return bench_main(&program, argc, argv);
}
