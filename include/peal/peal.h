// SPDX-License-Identifier: MIT
//
// Peal: an event system. A log with ears.
//
// Everything at once. Where to read:
//
//     bus.h         open, publish, subscribe, settle, watch        (read first)
//     event.h       what a publisher says and what a handler reads
//     log.h         query and replay
//     deadletter.h  what could not be handled
//     schedule.h    what is to be delivered at a time
//     sourcing.h    streams, aggregates, projections, upcasters
//     pattern.h     how a pattern is read, apart from any bus
//     trace.h       spans: how long what took where
//     error.h       codes, and the sentence for people
//     testing.h     virtual time and seeded runs for your own tests  (not included here)
#ifndef PEAL_PEAL_H
#define PEAL_PEAL_H

#define PEAL_VERSION_MAJOR 0
#define PEAL_VERSION_MINOR 1
#define PEAL_VERSION_PATCH 0
#define PEAL_VERSION       "0.1.0"

#include <peal/bus.h>
#include <peal/deadletter.h>
#include <peal/error.h>
#include <peal/event.h>
#include <peal/log.h>
#include <peal/pattern.h>
#include <peal/schedule.h>
#include <peal/sourcing.h>
#include <peal/trace.h>

#endif
