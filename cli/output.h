// SPDX-License-Identifier: MIT
//
// Output: the same facts for people and for programs.
//
//     on a terminal, --text                      else, --json
//     POSITION  TYPE           DATA              {"specversion":"1.0","id":...,"data":{"total":5}}
//           12  order.created  {"total":5}       one object a line
//
// An event is a CloudEvent for programs. Anything else is a row of a table: for programs an object
// whose names are the columns', for people a line that is aligned with the others when the table is
// finished.
//
// Nothing that comes out of an event can command a terminal: control characters are shown.
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "cli/cli.h"

// ---- events -------------------------------------------------------------------------------------

// Writes events, one after the other. Zero to begin with, cli_events_finish to end.
struct cli_events {
    char *line; // room for the JSON of one
    size_t room;
    uint64_t count;
    int type_width, subject_width; // grow as they are needed
    bool versions;                 // show the version in the stream, not the position in the log
};

void cli_event_write(struct cli *cli, struct cli_events *events, const peal_event *event);

// The JSON of an event on one line, borrowed until the next; NULL: no memory. A line break inside
// its data becomes a space, which means the same in JSON.
const char *cli_event_line(struct cli_events *events, const peal_event *event, size_t *out_length);
void cli_events_finish(struct cli_events *events);

// All of one event, a line for each attribute, for people.
void cli_event_show(struct cli *cli, const peal_event *event);

// ---- tables -------------------------------------------------------------------------------------

enum cli_cell {
    CELL_TEXT,
    CELL_NUMBER,   // uint64_t
    CELL_REAL,     // double
    CELL_BOOL,     // yes, no; true, false
    CELL_TIME,     // int64_t ns since the epoch; 0: none
    CELL_DURATION, // int64_t ns
    CELL_BYTES,    // uint64_t
};

struct cli_column {
    const char *name; // for programs, with its unit: "lag_ns"
    const char *heading;
    enum cli_cell kind;
};

struct cli_value {
    const char *text;
    uint64_t number;
    int64_t time;
    double real;
};

struct cli_table {
    struct cli *cli;
    const struct cli_column *columns;
    size_t count;
    char **cells; // of the lines so far, for people
    size_t lines, room;
    bool failed; // no memory: the rows that fit are shown, and that there were more
};

void cli_table_begin(struct cli_table *table, struct cli *cli, const struct cli_column *columns,
                     size_t count);
void cli_table_row(struct cli_table *table, const struct cli_value *values);
void cli_table_finish(struct cli_table *table);

// The rows of a table with one line: for people a line for each column.
void cli_table_one(struct cli *cli, const struct cli_column *columns, size_t count,
                   const struct cli_value *values);

#define CLI_COUNT(array) (sizeof(array) / sizeof((array)[0]))

// ---- pieces -------------------------------------------------------------------------------------

// A text as a JSON string with its quotes.
void cli_put_json(struct cli *cli, const char *text);

// Text for people, at most `columns` wide (0: any), what does not fit ending with "…"; how wide.
int cli_put_text(struct cli *cli, const char *text, size_t size, int columns);

enum cli_colour { COLOUR_NONE = 0, COLOUR_DIM, COLOUR_NAME, COLOUR_GOOD, COLOUR_BAD };
void cli_colour(struct cli *cli, enum cli_colour colour); // COLOUR_NONE ends it

// ---- progress -----------------------------------------------------------------------------------

// A bar on `err`, if that is a terminal and the work takes longer than a moment.
struct cli_progress {
    struct cli *cli;
    const char *what; // "events", "bytes"
    uint64_t total;   // 0: unknown
    int64_t started_ns, drawn_ns;
    bool on, shown;
};

void cli_progress_begin(struct cli_progress *progress, struct cli *cli, const char *what,
                        uint64_t total);
void cli_progress_at(struct cli_progress *progress, uint64_t done);
void cli_progress_end(struct cli_progress *progress); // the line is gone

#endif
