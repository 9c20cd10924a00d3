// SPDX-License-Identifier: MIT
//
// Cli: what every verb of the program `peal` is made of.
//
//     argv ─► verbs.c ─► options.c ─► bus ─► verb_<name>.c ─► output.h ─► 0, 1 or 2
//             which       one table          a function over
//             verb?       a verb             a peal_bus
//
// A verb is a row of a table: its name, what it says of itself, its options, and a function that is
// given a bus and a struct its options have filled in. Help, completion and the check of the man
// pages read the same tables, so that none of them can know less than another.
//
// The exit status: 0 yes, 1 no (not found, refused, failed), 2 misuse. Errors are one line:
// `peal query: what failed, on what, why, what to do`. A reader of the output that goes away is no
// error: cli_gone() says so, the verb ends, and the status is 0.
//
// Ownership: all a verb is given is borrowed until it returns. Threads: one, but for handlers.
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <peal/peal.h>
#include <stdio.h>

enum { CLI_YES = 0, CLI_NO = 1, CLI_MISUSE = 2 };

// What an option's value is, and what of the verb's struct it fills in.
enum cli_kind {
    CLI_FLAG,     // bool
    CLI_TEXT,     // const char *
    CLI_FILE,     // const char *, completed as a file name
    CLI_NUMBER,   // uint64_t
    CLI_AMOUNT,   // uint64_t, above 0, which is "not given"
    CLI_REAL,     // double, above 0
    CLI_TIME,     // int64_t, nanoseconds since the epoch; a moment or an age (when.h)
    CLI_DURATION, // uint64_t, milliseconds; "90", "5m", "2h"
    CLI_CHOICE,   // int: 1 for the first of `value`, which lists them ("memory|os|disk")
    CLI_LIST,     // struct cli_list, one more each time
};

enum { CLI_LIST_MAX = 64, CLI_OPTIONS_MAX = 80 };

struct cli_list {
    const char *items[CLI_LIST_MAX];
    size_t count;
};

struct cli_option {
    const char *name; // NULL: the end of the table
    char letter;      // its short form, or 0
    enum cli_kind kind;
    const char *value; // what help calls its value; NULL for a flag
    const char *help;
    size_t place; // in the verb's struct
};

#define CLI_END                                                                                    \
    {                                                                                              \
        0                                                                                          \
    }

enum cli_need {
    CLI_ALONE,   // no bus; or one the verb opens itself, when it knows that it wants it
    CLI_READS,   // a bus that is there already; a log on disk may be in use by another process
    CLI_CHANGES, // one that is there already, to change what is in it
    CLI_WRITES
};

struct cli;

struct cli_verb {
    const char *name;
    const char *arguments; // as in the usage line: "[PATTERN]"
    const char *summary;   // half a line
    const char *about;     // paragraphs and examples, for help
    const char *actions;   // of verbs that have some, as the first argument: "list|show"; or NULL
    const char *things;    // what is said of another argument, if these are no actions; or NULL
    const char *reads;     // those of them that only read, whatever `need` says; or NULL
    const struct cli_option *options;
    size_t size;          // of the struct they fill in
    unsigned least, most; // arguments
    enum cli_need need;
    bool asks; // what it does can be asked of another process that has the log
    int (*run)(struct cli *cli, peal_bus *bus, const void *given);
};

// One run of the program. What is zero is found out: standard streams, terminals, a bus by its URL.
struct cli {
    FILE *in, *out, *err;
    peal_bus *bus; // borrowed, instead of opening one
    const char *url;
    const char *named; // by --url; NULL: the URL is of the environment, or the default

    const struct cli_verb *verb; // NULL before it is known
    char *const *arguments;
    size_t count;

    uint64_t wait_ms; // for a log that another process has, which takes no requests
    unsigned damages; // that the library has told of when it opened the log
    int64_t owner;    // that process, if it is asked; 0: the bus is ours, or nobody has it

    bool json;     // one JSON object a line, else for people
    bool quiet;    // no progress, no remarks
    bool terminal; // `out` is one
    bool colour;
    unsigned width; // columns of the terminal; 0: any
    bool broken;    // the reader of `out` has gone
};

// The verbs, by the order of their help; the last has no name.
extern const struct cli_verb *const cli_verbs[];

// The options every verb has; filled into struct cli_common.
struct cli_common {
    const char *url;
    uint64_t wait_ms;
    bool json, text, quiet, help;
};
extern const struct cli_option cli_common_options[];

// The whole program. `argv` ends with NULL.
int cli_main(struct cli *cli, int argc, char **argv);

// Reads options and leaves the arguments in cli->arguments, sorted behind them. false: misuse, and
// said so.
bool cli_options_read(struct cli *cli, struct cli_common *common, void *given, int argc,
                      char **argv);

// Help of all verbs, and of one.
void cli_help(struct cli *cli);
void cli_help_verb(struct cli *cli, const struct cli_verb *verb);

// The verb of a name, or NULL.
const struct cli_verb *cli_verb_find(const char *name);

// What was probably meant by a word: the nearest of `count` candidates, or NULL when none is near.
// cli_nearest_choice takes the candidates from a list like "list|show|retry".
const char *cli_nearest(const char *word, const char *const *candidates, size_t count);
const char *cli_nearest_choice(char out[64], const char *word, const char *choices);

// 1 for the first of "a|b|c", and so on; 0 if the word is none of them.
int cli_choice(const char *choices, const char *word);

// ---- what went wrong ----------------------------------------------------------------------------

// One line on `err`, `peal <verb>: ...`. The first two return what the verb is to return: CLI_NO
// and CLI_MISUSE. A remark is said only to a person who did not ask for quiet.
__attribute__((format(printf, 2, 3))) int cli_fail(struct cli *cli, const char *format, ...);
__attribute__((format(printf, 2, 3))) int cli_misuse(struct cli *cli, const char *format, ...);
__attribute__((format(printf, 2, 3))) void cli_remark(struct cli *cli, const char *format, ...);

// The sentence of a Peal call that failed: misuse if it was what the user wrote, else failure.
int cli_failed(struct cli *cli, enum peal_err err);

// How signals are met; a verb that writes is asked to end in order (cli_interrupted).
void cli_signals(bool writes);

// Opens the bus of a URL; without `writes`, only a log that is there already. If another process
// has it, a verb that asks gets a bus that does so. CLI_YES, or what has been said.
int cli_open(struct cli *cli, peal_bus **out, const char *url, bool writes);

// The same to read what is there, of the files alone, whoever has it.
int cli_open_to_look(struct cli *cli, peal_bus **out, const char *url);

// Is there a log, if the URL is of one on disk? CLI_YES, or what has been said.
int cli_is_there(struct cli *cli, const char *url);

// Which file or directory a log on disk is, whatever its name. false: there is none, or the URL is
// of no log on disk.
struct cli_place {
    uint64_t device, file;
};
bool cli_place_of(struct cli_place *out, const char *url);

// Whether two URLs name one log that is there. A service, and the log it serves, are not compared.
bool cli_same_log(const char *a, const char *b);

// Whether there is no reason to go on: the output has gone, or somebody wants it to end: Ctrl-C,
// SIGTERM.
bool cli_gone(struct cli *cli);
bool cli_interrupted(void);
int cli_interrupted_by(void); // the signal; 0: none

#endif
