// SPDX-License-Identifier: MIT
//
// MLPerf: what stands in front of the object is read here, the object by ingest.
#include "cli/mlperf.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = 200 };

static const char prefix[] = "training.";

static bool refuse(struct ingest_fault *fault, size_t offset, const char *reason)
{
    fault->offset = offset;
    (void)snprintf(fault->reason, sizeof fault->reason, "%s", reason); // they are short
    return false;
}

// Seconds with up to nine digits behind the point, exactly. Returns how long they are, 0: no time.
static size_t read_time(int64_t *out, const char *text, size_t size)
{
    size_t at = 0;
    int64_t time = 0;
    int decimals = -1; // before the point
    for (; at < size && (isdigit((unsigned char)text[at]) || (text[at] == '.' && decimals < 0));
         at++) {
        if (text[at] == '.') {
            decimals = 0;
        } else if (decimals < 9) { // finer than a nanosecond is not kept
            if (time > INT64_MAX / 100) {
                return 0;
            }
            time = time * 10 + (text[at] - '0');
            decimals += decimals >= 0;
        }
    }
    for (decimals = decimals < 0 ? 0 : decimals; decimals < 9; decimals++) {
        if (time > INT64_MAX / 10) {
            return 0;
        }
        time *= 10;
    }
    *out = time;
    return at;
}

// The type of a key, and whether it tells all of it.
static bool make_type(char type[PEAL_TYPE_MAX + 1], const char *key)
{
    bool exact = true;
    (void)snprintf(type, PEAL_TYPE_MAX + 1, "%s%s", prefix, key); // KEY_MAX makes it fit
    for (char *at = type + sizeof prefix - 1; *at; at++) {
        if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-') {
            *at = '_';
            exact = false;
        }
    }
    char *end = strrchr(type, '_');
    if (end && end[-1] != '.' && (strcmp(end, "_start") == 0 || strcmp(end, "_stop") == 0)) {
        (void)snprintf(end, 10, end[4] == 'r' ? ".started" : ".stopped"); // fits
    }
    return exact;
}

// The attributes a key and its place give.
static bool finish(struct peal_message *message, struct ingest *ingest,
                   const struct feed_piece *piece, const char *key, const char *log)
{
    char type[PEAL_TYPE_MAX + 1], number[24];
    bool exact = make_type(type, key);
    (void)snprintf(number, sizeof number, "%" PRIu64, piece->line); // it fits
    const struct peal_pair pairs[] = {
        { "line", ingest_keep(ingest, number, strlen(number)) },
        { "mllkey", key },
    };
    message->type = ingest_keep(ingest, type, strlen(type));
    message->metadata =
        (const struct peal_pair *)(const void *)ingest_keep(ingest, pairs, sizeof pairs);
    message->metadata_count = exact ? 1 : 2;
    message->key = log;
    message->correlation = log;
    return message->type && message->metadata && pairs[0].value;
}

static bool read_object(struct peal_message *out, struct ingest *ingest,
                        const struct feed_piece *piece, size_t from, struct ingest_fault *fault)
{
    // Whatever it says, it is data: the member that makes a CloudEvent is not looked for.
    const struct ingest_plain plain = {
        .type = "training.x",
        .type_member = from == 8 ? "key" : NULL,
        .time_member = from == 8 ? "time_ms" : NULL,
    };
    struct ingest_text text = { piece->bytes + from, piece->size - from };
    bool good = ingest_event(out, ingest, text, &plain, fault);
    fault->offset += good ? 0 : from;
    return good;
}

// :::MLLOG, all in the object.
static bool read_new(struct peal_message *out, struct ingest *ingest,
                     const struct feed_piece *piece, const char *log, struct ingest_fault *fault)
{
    if (!read_object(out, ingest, piece, 8, fault)) {
        return false;
    }
    if (strlen(out->type) > KEY_MAX) {
        return refuse(fault, 8, "a key of more than 200 bytes");
    }
    return finish(out, ingest, piece, out->type, log) || refuse(fault, 0, "no memory");
}

// :::MLL, time and key in front of it.
static bool read_old(struct peal_message *out, struct ingest *ingest,
                     const struct feed_piece *piece, const char *log, struct ingest_fault *fault)
{
    size_t at = 7;
    int64_t time = 0;
    size_t length = piece->size > at ? read_time(&time, piece->bytes + at, piece->size - at) : 0;
    if (length == 0 || piece->bytes[6] != ' ' || at + length == piece->size ||
        piece->bytes[at + length] != ' ') {
        return refuse(fault, 6, "no time behind the mark");
    }
    at += length + 1;
    const char *colon = at < piece->size ? memchr(piece->bytes + at, ':', piece->size - at) : NULL;
    size_t key_length = colon ? (size_t)(colon - piece->bytes) - at : 0;
    if (key_length == 0 || key_length > KEY_MAX) {
        return refuse(fault, at, "no key behind the time, or one of more than 200 bytes");
    }
    const char *key = ingest_keep(ingest, piece->bytes + at, key_length);
    at += key_length + 1;
    if (!read_object(out, ingest, piece, at, fault)) {
        return false;
    }
    out->time_ns = time;
    return (key && finish(out, ingest, piece, key, log)) || refuse(fault, 0, "no memory");
}

bool mlperf_read(struct peal_message *out, struct ingest *ingest, const struct feed_piece *piece,
                 const char *log, struct ingest_fault *fault)
{
    struct peal_message message = { 0 };
    if (piece->size < 7 || memcmp(piece->bytes, ":::MLL", 6) != 0) {
        return refuse(fault, 0, "no mark, :::MLL, and a time behind it");
    }
    bool is_new = piece->size > 8 && memcmp(piece->bytes, ":::MLLOG", 8) == 0;
    bool good = is_new ? read_new(&message, ingest, piece, log, fault)
                       : read_old(&message, ingest, piece, log, fault);
    if (good) {
        *out = message;
    }
    return good;
}
