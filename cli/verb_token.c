// SPDX-License-Identifier: MIT
//
// peal token: a new token for a service.
#include "cli/output.h"
#include "service/auth.h"

struct token {
    bool admin;
};

static const struct cli_option options[] = {
    { "admin", 0, CLI_FLAG, NULL, "the entry says that it may change the service",
      offsetof(struct token, admin) },
    CLI_END,
};

static void put_pair(struct cli *cli, const char *before, const char *text)
{
    (void)fputs(before, cli->out);
    cli_put_json(cli, text);
}

static int run(struct cli *cli, peal_bus *none, const void *given)
{
    (void)none;
    const struct token *wanted = given;
    char token[AUTH_TOKEN_SIZE], hash[AUTH_HASH_SIZE], line[AUTH_LINE_SIZE];
    const char *name = cli->arguments[1];
    if (auth_token_new(token, hash)) {
        return cli_fail(cli, "the system has no random bytes to make one of");
    }
    if (!auth_token_line(line, name, hash, wanted->admin)) {
        return cli_misuse(cli, "%s: a name is 1 to 64 letters, digits, '.', '_' and '-'", name);
    }
    if (cli->json) {
        put_pair(cli, "{\"name\":", name);
        put_pair(cli, ",\"token\":", token);
        put_pair(cli, ",\"hash\":", hash);
        put_pair(cli, ",\"entry\":", line);
        (void)fputs("}\n", cli->out);
        return CLI_YES;
    }
    (void)fprintf(cli->out, "%s\n%s\n", token, line);
    cli_remark(cli,
               "the first line is for the client, and is not shown again; the second is for "
               "auth.tokens, or the file of auth.tokens_file, and then: systemctl reload peal");
    return CLI_YES;
}

const struct cli_verb cli_verb_token = {
    .name = "token",
    .arguments = "new NAME",
    .summary = "a new token for a service",
    .about =
        "Makes a token of 256 random bits and shows it once, with the entry for the service's\n"
        "configuration, which has only its hash. What it may do is for the entry to say.\n\n"
        "  peal token new build\n"
        "  peal token new ops --admin\n",
    .actions = "new",
    .options = options,
    .size = sizeof(struct token),
    .least = 2,
    .most = 2,
    .need = CLI_ALONE,
    .run = run,
};
