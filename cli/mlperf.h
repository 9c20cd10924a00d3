// SPDX-License-Identifier: MIT
//
// MLPerf: a line of a training log becomes an event.
//
//     :::MLL 1560400665.504 epoch_start: {"value":null,"metadata":{...}}
//     :::MLLOG {"time_ms":1592245932134,"key":"epoch_start","value":null,"metadata":{...}}
//
// Both are `training.epoch.started`: the key behind "training.", `_start` and `_stop` at its end
// turned into `.started` and `.stopped`. The data is the object to the byte, the log's name is
// correlation id and key, the number of the line the extension `line`. A key with characters no
// type may have is kept in the extension `mllkey`. A time of 0 is none.
#ifndef CLI_MLPERF_H
#define CLI_MLPERF_H

#include "cli/feed.h"
#include "net/ingest.h"

// What the message points to is borrowed from `ingest`, as ingest_event has it; `log` is the name
// of the log and has to live as long. false: `fault` says what is wrong.
bool mlperf_read(struct peal_message *out, struct ingest *ingest, const struct feed_piece *piece,
                 const char *log, struct ingest_fault *fault);

#endif
