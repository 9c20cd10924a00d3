// SPDX-License-Identifier: MIT
//
// Snapshots as events: found by subject, backwards; numbers as decimal text, so that every tool
// that shows events shows what a snapshot says.
#include "sourcing/snapshot.h"

#include "bus/calls.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE "$peal.snapshot"

_Static_assert(sizeof "$snapshot//" + PEAL_AGGREGATE_NAME_MAX + PEAL_AGGREGATE_SUBJECT_MAX ==
                   PL_SNAPSHOT_SUBJECT_SIZE,
               "a name and a subject fill a snapshot's subject");

void pl_snapshot_subject(char out[PL_SNAPSHOT_SUBJECT_SIZE], const char *name, const char *subject)
{
    // It fits: see above.
    (void)snprintf(out, PL_SNAPSHOT_SUBJECT_SIZE, "$snapshot/%s/%s", name, subject);
}

enum peal_err pl_snapshot_open(peal_reader **out, peal_bus *bus, const char *subject)
{
    uint64_t count;
    enum peal_err err = peal_stream_version(&count, bus, subject);
    if (err) {
        return err;
    }
    if (count == 0) {
        *out = NULL;
        return PEAL_OK;
    }
    struct peal_query query = {
        .pattern = TYPE, .subject = subject, .backwards = true, .limit = PEAL_SNAPSHOTS_TRIED
    };
    return peal_reader_open(out, bus, &query);
}

// A decimal number of metadata and nothing else.
static bool read_number(uint64_t *out, const peal_event *event, const char *name)
{
    const char *text = peal_event_metadata(event, name);
    if (!text || *text < '0' || *text > '9') {
        return false;
    }
    char *end;
    unsigned long long number = strtoull(text, &end, 10);
    *out = number;
    return *end == '\0' && number < UINT64_MAX;
}

bool pl_snapshot_read(struct pl_snapshot *out, const peal_event *event)
{
    uint64_t reducer, version, position;
    if (!read_number(&reducer, event, "reducer") || reducer > UINT32_MAX ||
        !read_number(&version, event, "streamversion") || version == 0 ||
        !read_number(&position, event, "streamposition") ||
        position >= peal_event_position(event)) {
        return false;
    }
    *out = (struct pl_snapshot){ (uint32_t)reducer, version, position, peal_event_data(event),
                                 peal_event_size(event) };
    return true;
}

enum peal_err pl_snapshot_write(peal_bus *bus, const char *subject,
                                const struct pl_snapshot *snapshot)
{
    char reducer[24], version[24], position[24];
    (void)snprintf(reducer, sizeof reducer, "%" PRIu32, snapshot->reducer); // they fit
    (void)snprintf(version, sizeof version, "%" PRIu64, snapshot->version);
    (void)snprintf(position, sizeof position, "%" PRIu64, snapshot->position);
    const struct peal_pair numbers[] = { { "reducer", reducer },
                                         { "streamversion", version },
                                         { "streamposition", position } };
    struct peal_message message = {
        .type = TYPE,
        .subject = subject,
        .content_type = "application/octet-stream",
        .data = snapshot->data,
        .size = snapshot->size,
        .metadata = numbers,
        .metadata_count = 3,
        .durability = PEAL_DURABILITY_MEMORY,
    };
    return pl_publish_system(bus, &message, NULL);
}
