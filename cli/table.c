// SPDX-License-Identifier: MIT
//
// Table: rows of facts. For programs each is written at once; for people they are kept until the
// widths of the columns are known.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/when.h"

enum { CELL_SIZE = 64, CELL_WIDTH_MAX = 60 };

void cli_table_begin(struct cli_table *table, struct cli *cli, const struct cli_column *columns,
                     size_t count)
{
    *table = (struct cli_table){ .cli = cli, .columns = columns, .count = count };
}

// ---- for programs -------------------------------------------------------------------------------

static void put_cell_json(struct cli *cli, enum cli_cell kind, const struct cli_value *value)
{
    char time[WHEN_SIZE];
    switch (kind) {
    case CELL_TEXT:
        cli_put_json(cli, value->text ? value->text : "");
        break;
    case CELL_NUMBER:
    case CELL_BYTES:
        (void)fprintf(cli->out, "%" PRIu64, value->number);
        break;
    case CELL_REAL:
        (void)fprintf(cli->out, "%.10g", value->real);
        break;
    case CELL_BOOL:
        (void)fputs(value->number ? "true" : "false", cli->out);
        break;
    case CELL_TIME:
        when_write(time, value->time);
        (void)fprintf(cli->out, value->time ? "\"%s\"" : "null", time);
        break;
    case CELL_DURATION:
        (void)fprintf(cli->out, "%" PRId64, value->time);
        break;
    }
}

static void put_row_json(struct cli *cli, const struct cli_column *columns, size_t count,
                         const struct cli_value *values)
{
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(cli->out, "%c\"%s\":", i ? ',' : '{', columns[i].name);
        put_cell_json(cli, columns[i].kind, &values[i]);
    }
    (void)fputs("}\n", cli->out);
}

// ---- for people ---------------------------------------------------------------------------------

static char *cell_text(enum cli_cell kind, const struct cli_value *value)
{
    char text[CELL_SIZE] = "";
    switch (kind) {
    case CELL_TEXT:
        return strdup(value->text ? value->text : "");
    case CELL_NUMBER:
        when_write_number(text, value->number);
        break;
    case CELL_BYTES:
        when_write_bytes(text, value->number);
        break;
    case CELL_REAL:
        when_write_short(text, value->real);
        break;
    case CELL_BOOL:
        return strdup(value->number ? "yes" : "no");
    case CELL_TIME:
        when_write(text, value->time);
        return strdup(value->time ? text : "-");
    case CELL_DURATION:
        when_write_duration(text, value->time);
        break;
    }
    return strdup(text);
}

static bool is_right(enum cli_cell kind)
{
    return kind == CELL_NUMBER || kind == CELL_REAL || kind == CELL_DURATION || kind == CELL_BYTES;
}

static void keep_row(struct cli_table *table, const struct cli_value *values)
{
    if (table->lines == table->room) {
        size_t room = table->room ? 2 * table->room : 64;
        char **cells = reallocarray(table->cells, room * table->count, sizeof *cells);
        if (!cells) {
            table->failed = true;
            return;
        }
        table->cells = cells;
        table->room = room;
    }
    char **row = table->cells + table->lines * table->count;
    for (size_t i = 0; i < table->count; i++) {
        row[i] = cell_text(table->columns[i].kind, &values[i]);
        table->failed = table->failed || !row[i];
    }
    table->lines++;
}

static int column_width(const struct cli_table *table, size_t column)
{
    size_t widest = strlen(table->columns[column].heading);
    for (size_t i = 0; i < table->lines; i++) {
        const char *cell = table->cells[i * table->count + column];
        size_t wide = cell ? strlen(cell) : 0;
        widest = wide > widest ? wide : widest;
    }
    return widest < CELL_WIDTH_MAX ? (int)widest : CELL_WIDTH_MAX;
}

static void put_row(const struct cli_table *table, char *const *cells, const int *widths)
{
    struct cli *cli = table->cli;
    for (size_t i = 0; i < table->count; i++) {
        const char *text = cells[i] ? cells[i] : "";
        bool right = is_right(table->columns[i].kind);
        bool last = i + 1 == table->count;
        if (right) {
            (void)fprintf(cli->out, "%*s", widths[i], text);
        } else {
            int shown = cli_put_text(cli, text, strlen(text), last ? 0 : widths[i]);
            (void)fprintf(cli->out, "%*s", last || shown > widths[i] ? 0 : widths[i] - shown, "");
        }
        (void)fputs(last ? "\n" : "  ", cli->out);
    }
}

void cli_table_row(struct cli_table *table, const struct cli_value *values)
{
    if (table->cli->json) {
        put_row_json(table->cli, table->columns, table->count, values);
    } else {
        keep_row(table, values);
    }
}

void cli_table_finish(struct cli_table *table)
{
    int widths[32];
    char *headings[32];
    if (table->lines > 0) {
        for (size_t i = 0; i < table->count; i++) {
            widths[i] = column_width(table, i);
            headings[i] = (char *)table->columns[i].heading; // only read
        }
        cli_colour(table->cli, COLOUR_DIM);
        put_row(table, headings, widths);
        cli_colour(table->cli, COLOUR_NONE);
    }
    for (size_t i = 0; i < table->lines; i++) {
        put_row(table, table->cells + i * table->count, widths);
    }
    for (size_t i = 0; i < table->lines * table->count; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    if (table->failed) {
        (void)cli_fail(table->cli, "the table is not whole: no memory for its rows; try --json");
    }
    *table = (struct cli_table){ 0 };
}

// A heading beside its value shouts less than one above a column.
static void put_small(struct cli *cli, const char *heading)
{
    int width = 0;
    for (; heading[width]; width++) {
        bool capital = heading[width] >= 'A' && heading[width] <= 'Z';
        (void)fputc(heading[width] + (capital ? 'a' - 'A' : 0), cli->out);
    }
    (void)fprintf(cli->out, "%*s", width < 22 ? 22 - width : 0, "");
}

void cli_table_one(struct cli *cli, const struct cli_column *columns, size_t count,
                   const struct cli_value *values)
{
    if (cli->json) {
        put_row_json(cli, columns, count, values);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char *text = cell_text(columns[i].kind, &values[i]);
        cli_colour(cli, COLOUR_DIM);
        put_small(cli, columns[i].heading);
        cli_colour(cli, COLOUR_NONE);
        (void)fputs("  ", cli->out);
        (void)cli_put_text(cli, text ? text : "", text ? strlen(text) : 0, 0);
        (void)fputc('\n', cli->out);
        free(text);
    }
}
