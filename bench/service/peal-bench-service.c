// SPDX-License-Identifier: MIT
//
// peal-bench-service: what the service promises, beside a floor and peers, in one run.
#include "client.h"

static const struct bench_measurement *const tables[] = {
    bench_service_floor,
    bench_service_publish,
    bench_service_live,
    bench_service_start,
    bench_service_crowd,
    bench_service_v1,
#if PEAL_PEER_NATS
    bench_service_nats,
#endif
#if PEAL_PEER_REDIS
    bench_service_redis,
#endif
#if PEAL_PEER_MOSQUITTO
    bench_service_mosquitto,
#endif
    NULL,
};

int main(int argc, char **argv)
{
    static const struct bench_program program = { .tables = tables,
                                                  .repeats = 5,
                                                  .deadline_ms = 120000,
                                                  .begin = service_begin,
                                                  .end = service_end };
    return bench_main(&program, argc, argv);
}
