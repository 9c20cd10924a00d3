// SPDX-License-Identifier: MIT
//
// peal-bench: every figure the bus promises, beside a floor and the peers, in one run.

#include "program.h"

static const struct bench_measurement *const tables[] = {
    bench_inline,
#if PEAL_PEER_GLIB
    bench_gsignal,
#endif
#if PEAL_PEER_BOOST
    bench_boost,
#endif
    bench_ring,       bench_worker,
#if PEAL_PEER_MOODYCAMEL
    bench_moodycamel,
#endif
#if PEAL_PEER_ZMQ
    bench_zeromq,
#endif
    bench_noop,       bench_routing, bench_steady, NULL,
};

int main(int argc, char **argv)
{
    static const struct bench_program program = { .tables = tables, .repeats = 7 };
    return bench_main(&program, argc, argv);
}
