// SPDX-License-Identifier: MIT
//
// Serve's configuration: the options of the service as options of the verb, and all sources read.
//
//     service/config_options.h ─► serve_options ─► struct serve_given ─► service_config_read
//
// Every option of the file is one of the verb, by its flag; they are texts here, and what they
// mean, and what is wrong with them, is found where the file is read.
#ifndef CLI_SERVE_CONFIG_H
#define CLI_SERVE_CONFIG_H

#include "cli/cli.h"
#include "service/config.h"

struct serve_given {
    const char *config;
    bool check;
    const char *port_file;
#define SERVE_MEMBER_TEXT(member)                   const char *member;
#define SERVE_MEMBER_FILE(member)                   const char *member;
#define SERVE_MEMBER_COUNT(member)                  const char *member;
#define SERVE_MEMBER_BYTES(member)                  const char *member;
#define SERVE_MEMBER_TIME(member)                   const char *member;
#define SERVE_MEMBER_SHARE(member)                  const char *member;
#define SERVE_MEMBER_CHOICE(member)                 const char *member;
#define SERVE_MEMBER_SWITCH(member)                 const char *member;
#define SERVE_MEMBER_FLAG(member)                   bool member;
#define SERVE_MEMBER_LIST(member)                   struct cli_list member;
#define SERVE_MEMBER_URL(member)                    // an option of every verb
#define SERVE_MEMBER_TOKENS(member)                 // in a file only
#define SERVE_MEMBER(member, name, flag, kind, ...) SERVE_MEMBER_##kind(member)
    SERVICE_OPTIONS(SERVE_MEMBER)
#undef SERVE_MEMBER
};

extern const struct cli_option serve_options[];

// Reads all sources; what is wrong with them is for the caller to say. *Given*:
// service_config_close, if it is CLI_YES. Else what failed has been said.
int serve_config_read(struct service_config **out, struct cli *cli,
                      const struct serve_given *given);

#endif
