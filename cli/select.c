// SPDX-License-Identifier: MIT
//
// Select: options become a query.
#include "cli/select.h"

int select_query(struct peal_query *out, struct cli *cli, const struct select *select)
{
    const char *argument = cli->count > 0 ? cli->arguments[0] : NULL;
    if (argument && select->type) {
        return cli_misuse(cli, "two patterns, %s and --type %s: join them with a comma", argument,
                          select->type);
    }
    if (select->from_ns && select->to_ns && select->from_ns >= select->to_ns) {
        return cli_misuse(cli, "--since is not before --until: nothing can lie between them");
    }
    *out = (struct peal_query){
        .pattern = argument ? argument : select->type,
        .from_position = select->from_position,
        .to_position = select->to_position,
        .from_time_ns = select->from_ns,
        .to_time_ns = select->to_ns,
        .correlation = select->correlation,
        .causation = select->causation,
        .subject = select->subject,
        .source = select->source,
        .id = select->id,
        .limit = select->limit,
        .after = select->after,
        .contains = select->contains,
    };
    return CLI_YES;
}
