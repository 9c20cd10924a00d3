// SPDX-License-Identifier: MIT
//
// Help: what the tables say, laid out.
#include <string.h>

#include "cli/output.h"

enum { OPTION_WIDTH = 26, HELP_WIDTH = 50, PAGE_WIDTH = 78 };

void cli_help(struct cli *cli)
{
    (void)fputs("Usage: peal VERB [OPTION...] [ARGUMENT...]\n\n"
                "Peal keeps events in a log and tells who wants to know.\n\n",
                cli->out);
    for (size_t i = 0; cli_verbs[i]; i++) {
        (void)fputs("  ", cli->out);
        cli_colour(cli, COLOUR_NAME);
        (void)fprintf(cli->out, "%-11s", cli_verbs[i]->name);
        cli_colour(cli, COLOUR_NONE);
        (void)fprintf(cli->out, " %s\n", cli_verbs[i]->summary);
    }
    (void)fputs("\n"
                "peal help VERB says more of one; so does man peal-VERB. peal --version.\n"
                "Where the events live: --url URL, or PEAL_URL in the environment; else\n"
                "file:./events. The token for a service is in PEAL_TOKEN.\n",
                cli->out);
}

// The words of `text`, broken at HELP_WIDTH, the lines behind the first indented.
static void put_wrapped(struct cli *cli, const char *text)
{
    int column = 0;
    while (*text) {
        int length = (int)strcspn(text, " ");
        if (column > 0 && column + 1 + length > HELP_WIDTH) {
            (void)fprintf(cli->out, "\n%*s", OPTION_WIDTH + 4, "");
            column = 0;
        }
        (void)fprintf(cli->out, "%s%.*s", column ? " " : "", length, text);
        column += length + (column > 0);
        text += length + (text[length] == ' ');
    }
    (void)fputc('\n', cli->out);
}

static void put_options(struct cli *cli, const struct cli_option *rows)
{
    for (; rows && rows->name; rows++) {
        char names[80];
        char letter[8] = "    ";
        if (rows->letter) {
            (void)snprintf(letter, sizeof letter, "-%c, ", rows->letter); // fits
        }
        (void)snprintf(names, sizeof names, "%s--%s%s%s", letter, rows->name,
                       rows->value ? " " : "", rows->value ? rows->value : ""); // cut is fine
        if (strlen(names) > OPTION_WIDTH) {
            (void)fprintf(cli->out, "  %s\n%*s", names, OPTION_WIDTH + 4, "");
        } else {
            (void)fprintf(cli->out, "  %-*s  ", OPTION_WIDTH, names);
        }
        put_wrapped(cli, rows->help);
    }
}

// Paragraphs are broken where the page ends; what is indented, an example, stays as it is.
static void put_about(struct cli *cli, const char *text)
{
    int column = 0;
    while (*text) {
        if (column == 0 && (*text == ' ' || *text == '\n')) {
            int length = (int)strcspn(text, "\n");
            (void)fprintf(cli->out, "%.*s\n", length, text);
            text += length + (text[length] == '\n');
            continue;
        }
        int length = (int)strcspn(text, " \n");
        bool full = column > 0 && column + 1 + length > PAGE_WIDTH;
        (void)fprintf(cli->out, "%s%.*s", full ? "\n" : column ? " " : "", length, text);
        column = (full || column == 0 ? 0 : column + 1) + length;
        text += length;
        bool ends = *text == '\n' && (text[1] == '\n' || text[1] == ' ' || text[1] == '\0');
        text += *text == ' ' || *text == '\n';
        if (ends) {
            (void)fputc('\n', cli->out);
            column = 0;
        }
    }
}

void cli_help_verb(struct cli *cli, const struct cli_verb *verb)
{
    (void)fprintf(cli->out, "Usage: peal %s%s%s [OPTION...]\n\n", verb->name,
                  *verb->arguments ? " " : "", verb->arguments);
    put_about(cli, verb->about);
    if (verb->options && verb->options->name) {
        (void)fputs("\nOptions:\n", cli->out);
        put_options(cli, verb->options);
    }
    (void)fputs("\nOptions of every verb:\n", cli->out);
    put_options(cli, cli_common_options);
}
