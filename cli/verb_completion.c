// SPDX-License-Identifier: MIT
//
// peal completion: what a shell has to know to complete a command line of peal, from the tables.
//
// The scripts hold the tables, not a call of peal for each key: they work for a peal that is slow
// to start, or not in the path. packaging/completions/ has them as installed; a test compares.
#include <string.h>

#include "cli/output.h"

// ---- bash ---------------------------------------------------------------------------------------

static void put_bash_options(struct cli *cli, const struct cli_option *rows)
{
    for (; rows && rows->name; rows++) {
        (void)fprintf(cli->out, " --%s", rows->name);
        if (rows->letter) {
            (void)fprintf(cli->out, " -%c", rows->letter);
        }
    }
}

// What may follow an option: one of its choices, a file, or anything.
static void put_bash_values(struct cli *cli, const char *verb, const struct cli_option *rows)
{
    for (; rows && rows->name; rows++) {
        if (rows->kind == CLI_FLAG) {
            continue;
        }
        (void)fprintf(cli->out, "    %s:--%s", verb, rows->name);
        if (rows->letter) {
            (void)fprintf(cli->out, "|%s:-%c", verb, rows->letter);
        }
        if (rows->kind == CLI_CHOICE) {
            (void)fputs(") words=\"", cli->out);
            for (const char *at = rows->value; *at; at++) {
                (void)fputc(*at == '|' ? ' ' : *at, cli->out);
            }
            (void)fputs("\" ;;\n", cli->out);
        } else {
            (void)fprintf(cli->out, ") %s ;;\n", rows->kind == CLI_FILE ? "files=1" : "nothing=1");
        }
    }
}

static void put_spaced(struct cli *cli, const char *choices)
{
    for (; choices && *choices; choices++) {
        (void)fputc(*choices == '|' ? ' ' : *choices, cli->out);
    }
}

static void put_bash(struct cli *cli)
{
    (void)fputs("# bash completion for peal. Written by `peal completion bash`.\n"
                "_peal() {\n"
                "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
                "    local verb=${COMP_WORDS[1]} words='' files='' nothing=''\n"
                "    if [ \"$COMP_CWORD\" -eq 1 ] || "
                "{ [ \"$verb\" = help ] && [ \"$COMP_CWORD\" -eq 2 ]; }; then\n"
                "        words=\"help version",
                cli->out);
    for (size_t i = 0; cli_verbs[i]; i++) {
        (void)fprintf(cli->out, " %s", cli_verbs[i]->name);
    }
    (void)fputs("\"\n"
                "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
                "        return\n"
                "    fi\n"
                "    case $verb:$before in\n",
                cli->out);
    for (size_t i = 0; cli_verbs[i]; i++) {
        put_bash_values(cli, cli_verbs[i]->name, cli_verbs[i]->options);
    }
    put_bash_values(cli, "*", cli_common_options);
    (void)fputs("    *)\n        case $verb in\n", cli->out);
    for (size_t i = 0; cli_verbs[i]; i++) {
        const struct cli_verb *verb = cli_verbs[i];
        (void)fprintf(cli->out, "        %s) words=\"", verb->name);
        put_spaced(cli, verb->actions);
        put_bash_options(cli, verb->options);
        put_bash_options(cli, cli_common_options);
        (void)fprintf(cli->out, "\"%s ;;\n", strstr(verb->arguments, "FILE") ? " files=1" : "");
    }
    (void)fputs(
        "        esac ;;\n"
        "    esac\n"
        "    [ -n \"$nothing\" ] && return\n"
        "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
        "    if [ -n \"$files\" ] && [ \"${word#-}\" = \"$word\" ]; then\n"
        "        mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -f -- \"$word\")\n"
        "        compopt -o filenames\n"
        "    fi\n"
        "}\n"
        "complete -F _peal peal\n",
        cli->out);
}

// ---- zsh ----------------------------------------------------------------------------------------

// Text inside '...[...]' of an _arguments line.
static void put_zsh_text(struct cli *cli, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'') {
            (void)fputs("'\\''", cli->out);
        } else {
            (void)fprintf(cli->out, strchr("[]:\\", *text) ? "\\%c" : "%c", *text);
        }
    }
}

static void put_zsh_value(struct cli *cli, const struct cli_option *row)
{
    if (row->kind == CLI_FLAG) {
        return;
    }
    (void)fputs(":", cli->out);
    put_zsh_text(cli, row->kind == CLI_CHOICE ? row->name : row->value);
    (void)fputs(":", cli->out);
    if (row->kind == CLI_CHOICE) {
        (void)fputs("(", cli->out);
        put_spaced(cli, row->value);
        (void)fputs(")", cli->out);
    } else if (row->kind == CLI_FILE) {
        (void)fputs("_files", cli->out);
    }
}

static void put_zsh_options(struct cli *cli, const struct cli_option *rows)
{
    for (; rows && rows->name; rows++) {
        const char *again = rows->kind == CLI_LIST ? "*" : "";
        char letter[4] = { '-', rows->letter, '\0' };
        for (int i = rows->letter ? 0 : 1; i < 2; i++) {
            (void)fprintf(cli->out, "            '%s%s%s[", again, i ? "--" : letter,
                          i ? rows->name : "");
            put_zsh_text(cli, rows->help);
            (void)fputs("]", cli->out);
            put_zsh_value(cli, rows);
            (void)fputs("' \\\n", cli->out);
        }
    }
}

static void put_zsh(struct cli *cli)
{
    (void)fputs("#compdef peal\n"
                "# zsh completion for peal. Written by `peal completion zsh`.\n"
                "_peal() {\n"
                "    local -a verbs\n"
                "    verbs=(\n"
                "        'help:what a verb does, and its options'\n"
                "        'version:which peal this is'\n",
                cli->out);
    for (size_t i = 0; cli_verbs[i]; i++) {
        (void)fprintf(cli->out, "        '%s:", cli_verbs[i]->name);
        put_zsh_text(cli, cli_verbs[i]->summary);
        (void)fputs("'\n", cli->out);
    }
    (void)fputs("    )\n"
                "    if (( CURRENT == 2 )) || [[ $words[2] == help ]]; then\n"
                "        _describe verb verbs\n"
                "        return\n"
                "    fi\n"
                "    local verb=$words[2]\n"
                "    shift words\n"
                "    (( CURRENT-- ))\n"
                "    case $verb in\n",
                cli->out);
    for (size_t i = 0; cli_verbs[i]; i++) {
        const struct cli_verb *verb = cli_verbs[i];
        (void)fprintf(cli->out, "    %s)\n        _arguments -s \\\n", verb->name);
        put_zsh_options(cli, verb->options);
        put_zsh_options(cli, cli_common_options);
        if (verb->actions) {
            (void)fputs("            '1:action:(", cli->out);
            put_spaced(cli, verb->actions);
            (void)fputs(")' \\\n", cli->out);
        }
        (void)fprintf(cli->out, "            '*:%s ;;\n",
                      strstr(verb->arguments, "FILE") ? "file:_files'" : "argument:'");
    }
    (void)fputs("    esac\n"
                "}\n"
                "_peal \"$@\"\n",
                cli->out);
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    (void)bus;
    (void)given;
    if (cli_choice(cli->verb->actions, cli->arguments[0]) == 1) {
        put_bash(cli);
    } else {
        put_zsh(cli);
    }
    return CLI_YES;
}

const struct cli_verb cli_verb_completion = {
    .name = "completion",
    .arguments = "bash|zsh",
    .summary = "what a shell has to know to complete the verbs and options",
    .about = "Prints a script for the shell; make install puts both where they are looked for.\n\n"
             "  source <(peal completion bash)\n"
             "  peal completion zsh > ~/.zfunc/_peal\n",
    .actions = "bash|zsh",
    .things = "no completion for",
    .least = 1,
    .most = 1,
    .need = CLI_ALONE,
    .run = run,
};
