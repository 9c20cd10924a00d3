// SPDX-License-Identifier: MIT
//
// Compose: options become a message.
//
// Data without a content type has to be JSON. A shell takes quotes away, so what arrives is often
// {total:5} where {"total":5} was meant; it is better to hear of that here than from a subscriber.
#include "cli/compose.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/when.h"

// All of a file into memory that the ingest keeps.
static int read_file(struct peal_message *out, struct cli *cli, struct ingest *ingest,
                     const char *path)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? cli->in : fopen(path, "re");
    char *bytes = NULL;
    size_t size = 0, room = 0;
    if (!file) {
        return cli_fail(cli, "%s: %s", path, strerror(errno)); // NOLINT: one thread
    }
    while (!feof(file) && !ferror(file) && size <= PEAL_DATA_MAX) {
        if (size == room) {
            room = room ? 2 * room : 65536;
            char *more = realloc(bytes, room);
            if (!more) {
                break;
            }
            bytes = more;
        }
        size += fread(bytes + size, 1, room - size, file);
    }
    bool whole = feof(file) && !ferror(file) && size <= PEAL_DATA_MAX;
    if (whole) {
        out->data = ingest_keep(ingest, bytes, size);
        out->size = size;
    }
    if (!standard) {
        (void)fclose(file); // it was only read
    }
    free(bytes);
    return whole && out->data
               ? CLI_YES
               : cli_fail(cli, "%s: cannot be read whole; data is at most 64 MiB", path);
}

static int check_json(struct cli *cli, struct ingest *ingest, const struct peal_message *message)
{
    struct ingest_fault fault = { 0 };
    struct ingest_text text = { message->data, message->size };
    if (message->size == 0 || message->content_type || ingest_check(ingest, text, &fault)) {
        return CLI_YES;
    }
    return cli_misuse(cli,
                      "the data is not JSON (byte %zu: %s). Quote it for the shell, as in "
                      "'{\"total\":5}' or '\"text\"', or say --content-type text/plain",
                      fault.offset, fault.reason);
}

// "name=value", the name kept with its end.
static int read_metadata(struct composed *out, struct cli *cli, const struct compose *compose,
                         struct ingest *ingest)
{
    for (size_t i = 0; i < compose->metadata.count; i++) {
        const char *item = compose->metadata.items[i];
        const char *equals = strchr(item, '=');
        if (!equals || equals == item) {
            return cli_misuse(cli, "--metadata %s: NAME=TEXT is wanted", item);
        }
        out->pairs[i].name = ingest_keep(ingest, item, (size_t)(equals - item));
        out->pairs[i].value = equals + 1;
        if (!out->pairs[i].name) {
            return cli_fail(cli, "no memory");
        }
    }
    out->message.metadata = out->pairs;
    out->message.metadata_count = compose->metadata.count;
    return CLI_YES;
}

int compose_message(struct composed *out, struct cli *cli, const struct compose *compose,
                    struct ingest *ingest, const char *data)
{
    if ((data != NULL) + (compose->data != NULL) + (compose->data_file != NULL) > 1) {
        return cli_misuse(cli, "the data is given twice: as an argument, --data or --data-file");
    }
    data = data ? data : compose->data;
    struct peal_message *message = &out->message;
    message->data = data;
    message->size = data ? strlen(data) : 0;
    message->content_type = compose->content_type;
    message->subject = message->subject ? message->subject : compose->subject;
    message->key = compose->key;
    message->correlation = compose->correlation;
    message->causation = compose->causation;
    message->id = compose->id;
    message->source = compose->source;
    message->schema = compose->schema;
    message->time_ns = compose->time_ns;
    message->priority = compose->priority;
    message->durability = (enum peal_durability)compose->durability;
    int status = read_metadata(out, cli, compose, ingest);
    if (!status && compose->data_file) {
        status = read_file(message, cli, ingest, compose->data_file);
    }
    return status ? status : check_json(cli, ingest, message);
}

// What waits for its time has no place in the log yet, but that time.
static void put_receipt_line(struct cli *cli, const struct peal_message *message,
                             const struct peal_receipt *receipt, const char *level)
{
    char when[WHEN_SIZE] = "";
    bool waits = !receipt->position && message->deliver_at_ns;
    const char *what = receipt->duplicate  ? "known already:"
                       : waits             ? "scheduled"
                       : receipt->position ? "published"
                                           : "accepted"; // nothing is kept
    (void)fprintf(cli->out, "%s %s", what, message->type);
    if (waits) {
        when_write(when, message->deliver_at_ns);
        (void)fprintf(cli->out, " for %s", when);
    }
    if (receipt->position) {
        (void)fprintf(cli->out, " at position %llu", (unsigned long long)receipt->position);
    }
    if (receipt->stream_version) {
        (void)fprintf(cli->out, ", version %llu", (unsigned long long)receipt->stream_version);
    }
    (void)fprintf(cli->out, " (%s%s%s)\n", level, *receipt->id ? ", id " : "", receipt->id);
}

void compose_receipt(struct cli *cli, const struct peal_message *message,
                     const struct peal_receipt *receipt)
{
    static const char *const levels[] = { "none", "memory", "os", "disk" };
    static const struct cli_column columns[] = {
        { "id", "id", CELL_TEXT },
        { "position", "position", CELL_NUMBER },
        { "version", "version", CELL_NUMBER },
        { "durability", "durability", CELL_TEXT },
        { "duplicate", "known already", CELL_BOOL },
        { "deliver_at", "deliver at", CELL_TIME }, // of what waits
    };
    const char *level = levels[receipt->durability];
    bool waits = !receipt->position && message->deliver_at_ns;
    const struct cli_value values[] = {
        { .text = receipt->id },
        { .number = receipt->position },
        { .number = receipt->stream_version },
        { .text = level },
        { .number = receipt->duplicate },
        { .time = message->deliver_at_ns },
    };
    if (cli->json) {
        cli_table_one(cli, columns, CLI_COUNT(columns) - !waits, values);
        return;
    }
    put_receipt_line(cli, message, receipt, level);
}
