// SPDX-License-Identifier: MIT
//
// Fuzz: bytes as files of events, JSON lines or a batch or a training log, cut into pieces as
// `peal import` cuts them, each read as a CloudEvent, as a plain object and as an MLPerf line. What
// is taken has to be publishable: strings that end, limits that the reader says it keeps, and data
// that lies where it may. What is refused has a reason, and a place in the text.
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/feed.h"
#include "cli/mlperf.h"
#include "net/ingest.h"

// An assert that a build without asserts keeps.
static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_message(const struct peal_message *message)
{
    check(message->type && *message->type);
    check(message->metadata_count <= PEAL_METADATA_MAX);
    for (size_t i = 0; i < message->metadata_count; i++) {
        check(strlen(message->metadata[i].name) <= PEAL_METADATA_NAME_MAX);
        check(*message->metadata[i].value);
    }
    uint64_t sum = 0; // each byte may be read
    for (size_t i = 0; i < message->size; i++) {
        sum += ((const uint8_t *)message->data)[i];
    }
    check(sum <= message->size * UINT64_C(255));
}

// Data that is JSON came out of a text that was checked: alone, it is JSON too.
static void check_data(struct ingest *ingest, const struct peal_message *message)
{
    struct ingest_fault fault;
    struct ingest_text text = { message->data, message->size };
    if (message->size > 0 && !message->content_type) {
        (void)ingest_check(ingest, text, &fault); // data_base64 may be anything
    }
}

static void look(struct ingest *ingest, const struct feed_piece *piece)
{
    const struct ingest_plain plain = { "t", "type", "time", "subject", "run" };
    struct ingest_text text = { piece->bytes, piece->size };
    for (int i = 0; i < 3; i++) {
        struct peal_message message = { 0 };
        struct ingest_fault fault = { 0 };
        bool good = i == 2 ? mlperf_read(&message, ingest, piece, "log", &fault)
                           : ingest_event(&message, ingest, text, i ? &plain : NULL, &fault);
        if (good) {
            check_message(&message);
            check_data(ingest, &message);
        } else {
            check(*fault.reason);
            check(fault.offset <= piece->size);
        }
    }
    check(ingest_span(text) <= text.size);
    ingest_forget(ingest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ingest *ingest = NULL;
    int fd = memfd_create("peal-fuzz", MFD_CLOEXEC);
    bool written = fd >= 0 && write(fd, data, size) == (ssize_t)size && !ingest_open(&ingest);
    for (int format = FEED_UNKNOWN; written && format <= FEED_MARKS; format++) {
        struct feed feed;
        struct feed_piece piece;
        uint64_t line = 1;
        size_t sum = 0;
        (void)lseek(fd, 0, SEEK_SET); // memory can be sought in
        feed_begin(&feed, fd, (enum feed_format)format);
        while (feed_next(&piece, &feed)) {
            check(piece.size > 0 && piece.line >= line);
            line = piece.line;
            sum += piece.size;
            if (!piece.wrong) {
                look(ingest, &piece);
            }
        }
        check(sum <= size && feed.read <= size && !feed.error);
        feed_finish(&feed);
    }
    if (fd >= 0) {
        (void)close(fd); // it is gone with that
    }
    ingest_close(ingest);
    return 0;
}
