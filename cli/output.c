// SPDX-License-Identifier: MIT
//
// Output: text made harmless, JSON strings, colour; and events.
//
// For people an event is one line: position, time, type, subject, data. How wide type and subject
// are is found as they come, since nobody wants to wait for the last event to see the first; what
// has grown does not shrink. Data is cut at the edge of the terminal.
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>

#include "cli/when.h"

// ---- pieces -------------------------------------------------------------------------------------

void cli_colour(struct cli *cli, enum cli_colour colour)
{
    static const char *const codes[] = {
        [COLOUR_NONE] = "\033[0m",  [COLOUR_DIM] = "\033[2m",  [COLOUR_NAME] = "\033[36m",
        [COLOUR_GOOD] = "\033[32m", [COLOUR_BAD] = "\033[31m",
    };
    if (cli->colour) {
        (void)fputs(codes[colour], cli->out); // asked once, at the end: cli_gone
    }
}

// The length of the character of UTF-8 at `text`, or 0 if it is none or commands a terminal.
static size_t character(const char *text, size_t size)
{
    unsigned char first = (unsigned char)*text;
    if (first < 0x80) {
        return first >= ' ' && first != 0x7f;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || length > size) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool control = first == 0xc2 && (unsigned char)text[1] < 0xa0;  // C1
    bool turns = first == 0xe2 && (unsigned char)text[1] == 0x80 && // the direction of writing
                 (unsigned char)text[2] >= 0xaa && (unsigned char)text[2] <= 0xae;
    return control || turns ? 0 : length;
}

static size_t width_of(const char *text, size_t size)
{
    size_t width = 0;
    for (size_t at = 0; at < size; width++) {
        size_t length = character(text + at, size - at);
        at += length ? length : 1;
    }
    return width;
}

// A character that would command is shown as U+00B7, a space if it only moves.
static size_t put_character(struct cli *cli, const char *text, size_t size)
{
    size_t length = character(text, size);
    if (length) {
        (void)fwrite(text, 1, length, cli->out);
    } else if (strchr("\n\r\t", *text) && *text) {
        (void)fputc(' ', cli->out);
    } else {
        (void)fputs("\xc2\xb7", cli->out);
    }
    return length ? length : 1;
}

int cli_put_text(struct cli *cli, const char *text, size_t size, int columns)
{
    size_t wide = width_of(text, size);
    size_t room = columns > 0 ? (size_t)columns : wide;
    size_t shown = wide <= room ? wide : room - 1;
    size_t at = 0;
    for (size_t i = 0; i < shown; i++) {
        at += put_character(cli, text + at, size - at);
    }
    if (wide > room) {
        (void)fputs("\xe2\x80\xa6", cli->out); // an ellipsis
    }
    return (int)(wide <= room ? wide : room);
}

static void put_padded(struct cli *cli, const char *text, int columns)
{
    int width = cli_put_text(cli, text, strlen(text), columns);
    (void)fprintf(cli->out, "%*s", columns - width, "");
}

void cli_put_json(struct cli *cli, const char *text)
{
    (void)fputc('"', cli->out);
    for (size_t left = strlen(text); left > 0;) {
        unsigned char byte = (unsigned char)*text;
        size_t length = character(text, left);
        if (byte == '"' || byte == '\\') {
            (void)fprintf(cli->out, "\\%c", byte);
        } else if (length) {
            (void)fwrite(text, 1, length, cli->out);
        } else if (byte < 0x80) {
            (void)fprintf(cli->out, "\\u%04x", byte);
        } else {
            (void)fputs("\\ufffd", cli->out);
        }
        length = length ? length : 1;
        text += length;
        left -= length;
    }
    (void)fputc('"', cli->out);
}

// ---- events -------------------------------------------------------------------------------------

const char *cli_event_line(struct cli_events *events, const peal_event *event, size_t *out_length)
{
    size_t needed = peal_event_to_json(event, events->line, events->room);
    if (needed >= events->room) {
        size_t room = needed + 1 > 2 * events->room ? needed + 1 : 2 * events->room;
        char *line = realloc(events->line, room);
        if (!line) {
            return NULL;
        }
        events->line = line;
        events->room = room;
        needed = peal_event_to_json(event, line, room);
    }
    // Inside a string a line break is an escape, so those that are left stand between values.
    for (char *at = events->line; (at = strpbrk(at, "\n\r"));) {
        *at = ' ';
    }
    *out_length = needed;
    return events->line;
}

static int grow(int width, const char *text, int most)
{
    int wanted = (int)width_of(text, strlen(text));
    return wanted > width ? (wanted < most ? wanted : most) : width;
}

// How events are laid out. On a narrow terminal the data, which says the most, gets what the year
// and the milliseconds would take.
static const struct layout {
    int position, time, type, type_max, subject_max;
} wide = { 10, 24, 20, 44, 28 }, narrow = { 8, 14, 14, 26, 14 };

enum { SUBJECT_WIDTH = 8, NARROW = 110, DATA_WIDTH = 12 };

static const struct layout *layout_of(const struct cli *cli)
{
    return cli->width > 0 && cli->width < NARROW ? &narrow : &wide;
}

// "2026-11-21T09:15:02.123Z", or of it "11-21 09:15:02".
static void put_time(struct cli *cli, const struct layout *layout, int64_t time_ns)
{
    char time[WHEN_SIZE];
    when_write(time, time_ns);
    if (layout == &narrow) {
        memmove(time, time + 5, 14);
        time[5] = ' ';
        time[14] = '\0';
    }
    cli_colour(cli, COLOUR_DIM);
    (void)fprintf(cli->out, "%-*s  ", layout->time, time);
}

static void put_heading(struct cli *cli, const struct cli_events *events)
{
    const struct layout *layout = layout_of(cli);
    cli_colour(cli, COLOUR_DIM);
    (void)fprintf(cli->out, "%*s  %-*s  %-*s  %-*s  %s", layout->position,
                  events->versions ? "VERSION" : "POSITION", layout->time, "TIME",
                  events->type_width, "TYPE", events->subject_width, "SUBJECT", "DATA");
    cli_colour(cli, COLOUR_NONE);
    (void)fputc('\n', cli->out);
}

// Data that is not text is only described.
static void put_data(struct cli *cli, const peal_event *event, int columns)
{
    const char *data = peal_event_data(event);
    size_t size = peal_event_size(event);
    size_t odd = 0;
    size_t looked = size < 512 ? size : 512;
    for (size_t at = 0; at < looked;) {
        size_t length = character(data + at, size - at);
        odd += length == 0 && (data[at] == '\0' || !strchr("\n\r\t", data[at]));
        at += length ? length : 1;
    }
    if (odd > looked / 8) {
        char what[320];
        (void)snprintf(what, sizeof what, "(%zu bytes, %.256s)", size,
                       peal_event_content_type(event)); // cut is fine
        (void)cli_put_text(cli, what, strlen(what), columns);
    } else if (columns >= 0) {
        (void)cli_put_text(cli, data ? data : "", size, columns);
    }
}

static void put_people(struct cli *cli, struct cli_events *events, const peal_event *event)
{
    const struct layout *layout = layout_of(cli);
    const char *type = peal_event_type(event);
    const char *subject = peal_event_subject(event);
    if (events->count == 0) {
        events->type_width = layout->type;
        events->subject_width = SUBJECT_WIDTH;
    }
    events->type_width = grow(events->type_width, type, layout->type_max);
    events->subject_width = grow(events->subject_width, subject, layout->subject_max);
    if (events->count == 0) {
        put_heading(cli, events);
    }
    uint64_t number =
        events->versions ? peal_event_stream_version(event) : peal_event_position(event);
    (void)fprintf(cli->out, "%*llu  ", layout->position, (unsigned long long)number);
    put_time(cli, layout, peal_event_time(event));
    cli_colour(cli, COLOUR_NAME);
    put_padded(cli, type, events->type_width);
    cli_colour(cli, COLOUR_NONE);
    (void)fputs("  ", cli->out);
    put_padded(cli, subject, events->subject_width);
    (void)fputs("  ", cli->out);
    int used = layout->position + layout->time + events->type_width + events->subject_width + 8;
    int left = (int)cli->width - used;
    put_data(cli, event, cli->width == 0 ? 0 : left > DATA_WIDTH ? left : DATA_WIDTH);
    (void)fputc('\n', cli->out);
}

void cli_event_write(struct cli *cli, struct cli_events *events, const peal_event *event)
{
    if (cli->json) {
        size_t length = 0;
        const char *line = cli_event_line(events, event, &length);
        if (!line) {
            (void)cli_fail(cli, "event %llu is left out: no memory for its %zu bytes",
                           (unsigned long long)peal_event_position(event), peal_event_size(event));
            return;
        }
        (void)fwrite(line, 1, length, cli->out);
        (void)fputc('\n', cli->out);
    } else {
        put_people(cli, events, event);
    }
    events->count++;
}

void cli_events_finish(struct cli_events *events)
{
    free(events->line);
    *events = (struct cli_events){ 0 };
}

// ---- one event ----------------------------------------------------------------------------------

static void show(struct cli *cli, const char *name, const char *value)
{
    if (*value) {
        cli_colour(cli, COLOUR_DIM);
        (void)fprintf(cli->out, "%-14s", name);
        cli_colour(cli, COLOUR_NONE);
        (void)fputs("  ", cli->out);
        (void)cli_put_text(cli, value, strlen(value), 0);
        (void)fputc('\n', cli->out);
    }
}

void cli_event_show(struct cli *cli, const peal_event *event)
{
    char time[WHEN_SIZE], position[WHEN_SIZE], version[WHEN_SIZE] = "";
    when_write(time, peal_event_time(event));
    when_write_number(position, peal_event_position(event));
    if (peal_event_stream_version(event)) {
        when_write_number(version, peal_event_stream_version(event));
    }
    show(cli, "position", position);
    show(cli, "type", peal_event_type(event));
    show(cli, "time", time);
    show(cli, "id", peal_event_id(event));
    show(cli, "source", peal_event_source(event));
    show(cli, "subject", peal_event_subject(event));
    show(cli, "version", version);
    const char *key = peal_event_key(event);
    show(cli, "key", strcmp(key, peal_event_subject(event)) == 0 ? "" : key);
    show(cli, "correlation", peal_event_correlation(event));
    show(cli, "causation", peal_event_causation(event));
    show(cli, "schema", peal_event_schema(event));
    for (size_t i = 0; i < peal_event_metadata_count(event); i++) {
        struct peal_pair pair = peal_event_metadata_at(event, i);
        show(cli, pair.name, pair.value);
    }
    show(cli, "content type", peal_event_content_type(event));
    cli_colour(cli, COLOUR_DIM);
    (void)fprintf(cli->out, "%-14s  ", "data");
    cli_colour(cli, COLOUR_NONE);
    put_data(cli, event, 0);
    (void)fputc('\n', cli->out);
}
