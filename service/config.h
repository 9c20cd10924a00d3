// SPDX-License-Identifier: MIT
//
// Config: what the service is told to be, and by whom.
//
//     defaults ─► /etc/peal/peal.yaml ─► PEAL_LISTEN, ... ─► --listen, ... ─► struct service_config
//     weakest     --config               environment         flags              + where each is
//     from
//                              what is wrong in any of them: faults, all of them
//
//     struct service_config *config;
//     struct service_sources sources = { .file = path, .environment = environ };
//     if (service_config_read(&config, &sources)) ...           // only for lack of memory
//     if (config->fault_count) service_config_print_faults(config, stderr);
//
// The options are one list (config_options.h): their names in the file, in the environment and on
// the command line, their kinds, defaults and limits, and whether a running service can change
// them. A stronger source replaces what a weaker one said of an option, lists as a whole.
//
// Sizes are whole numbers with B, KiB, MiB, GiB or TiB behind them (or K, M, G, T, which mean the
// same, or kB, MB, GB, TB: powers of 1000), times with ms, s, m, h, d or w. Without a unit they are
// bytes and milliseconds.
//
// A config is read once and not changed: a reload reads another one and asks for the difference.
//
// Ownership: a config owns all that it points to, and has *copied* what it was told. Threads: any
// may read one; nobody changes it but service_config_carry.
#ifndef SERVICE_CONFIG_H
#define SERVICE_CONFIG_H

#include <peal/bus.h>
#include <stdio.h>

#include "service/config_options.h"

struct sockaddr;

#define SERVICE_CONFIG_FILE "/etc/peal/peal.yaml" // read if it is there

enum { SERVICE_SENTENCE_MAX = 512, SERVICE_FAULTS_MAX = 100 };

// What a value is, and what stands for it in the struct.
enum service_kind {
    SERVICE_TEXT,   // const char *, "" if it is not set, never NULL
    SERVICE_FILE,   // the same: the path of a file
    SERVICE_URL,    // the same; on the command line an option of every verb
    SERVICE_FLAG,   // bool, usually false; as a flag it has no value
    SERVICE_SWITCH, // bool
    SERVICE_COUNT,  // uint64_t, SERVICE_UNSET if it is not set
    SERVICE_BYTES,  // uint64_t, the same
    SERVICE_TIME,   // uint64_t, the same: milliseconds
    SERVICE_SHARE,  // double
    SERVICE_CHOICE, // int: 1 for the first, 0 if it is not set
    SERVICE_LIST,   // struct service_list
    SERVICE_TOKENS, // struct service_token_list
};

#define SERVICE_UNSET UINT64_MAX

struct service_list {
    const char **items; // not NULL where count is not 0
    size_t count;
};

// Who may do what; see auth.h. Patterns are as the file has them, and good.
struct service_token {
    const char *name;
    unsigned char hash[32]; // SHA-256 of the token's text
    struct service_list publish, subscribe;
    bool admin;
    bool apart;       // from auth.tokens_file
    const char *from; // "/etc/peal/peal.yaml:12:5"
};

struct service_token_list {
    struct service_token *items;
    size_t count;
};

enum service_source { SERVICE_DEFAULT, SERVICE_IN_FILE, SERVICE_ENVIRONMENT, SERVICE_GIVEN };

struct service_origin {
    enum service_source source;
    const char *place; // "/etc/peal/peal.yaml:12:3", "PEAL_LISTEN", "--listen", "default"
};

struct service_option {
    const char *name, *flag;
    enum service_kind kind;
    const char *value;
    const char *usual;
    uint64_t least, most;
    bool live;
    const char *help;
    size_t place; // in struct service_config
};

#define SERVICE_OPTION_ONE(...) +1
enum { SERVICE_OPTION_COUNT = 0 SERVICE_OPTIONS(SERVICE_OPTION_ONE) };
#undef SERVICE_OPTION_ONE

extern const struct service_option service_config_options[SERVICE_OPTION_COUNT];

enum { SERVICE_LOG_AUTO = 1, SERVICE_LOG_TEXT, SERVICE_LOG_JSON }; // log_format; level - 1 is ours

struct service_fault {
    const char *place;
    const char *text; // what is wrong, why, and what to do
};

struct service_config {
#define SERVICE_TYPE_TEXT                             const char *
#define SERVICE_TYPE_FILE                             const char *
#define SERVICE_TYPE_URL                              const char *
#define SERVICE_TYPE_FLAG                             bool
#define SERVICE_TYPE_SWITCH                           bool
#define SERVICE_TYPE_COUNT                            uint64_t
#define SERVICE_TYPE_BYTES                            uint64_t
#define SERVICE_TYPE_TIME                             uint64_t
#define SERVICE_TYPE_SHARE                            double
#define SERVICE_TYPE_CHOICE                           int
#define SERVICE_TYPE_LIST                             struct service_list
#define SERVICE_TYPE_TOKENS                           struct service_token_list
#define SERVICE_MEMBER(member, name, flag, kind, ...) SERVICE_TYPE_##kind member;
    SERVICE_OPTIONS(SERVICE_MEMBER)
#undef SERVICE_MEMBER
    struct service_origin origins[SERVICE_OPTION_COUNT]; // by the rows of service_config_options
    struct service_fault *faults;
    size_t fault_count;          // 0: it is sound. What is beyond SERVICE_FAULTS_MAX is not told
    const char *file;            // that was read; NULL: none
    struct service_kept *memory; // its own
    bool starved;                // its own: there was no memory
};

// ---- reading ------------------------------------------------------------------------------------

// What a flag said; for a FLAG the text is NULL, or "true".
struct service_setting {
    const char *flag; // without dashes
    const char *text;
};

struct service_sources {
    const char *file; // NULL: SERVICE_CONFIG_FILE, if it is there
    const char *text; // the file's content, if it is not to be read from disk; then `file` names it
    size_t text_size; // of `text`
    char *const *environment; // "NAME=value", NULL at the end; NULL: none
    const struct service_setting *flags;
    size_t flag_count;
};

// Reads all of it, weakest first. *Given*: service_config_close, NULL is fine. PEAL_ENOMEM; else
// PEAL_OK, and the config's faults say what is wrong.
enum peal_err service_config_read(struct service_config **out,
                                  const struct service_sources *sources);
void service_config_close(struct service_config *config);

// ---- saying -------------------------------------------------------------------------------------

// One line a fault: "/etc/peal/peal.yaml:12:3: limits has no lin_bytes; did you mean line_bytes?"
void service_config_print_faults(const struct service_config *config, FILE *out);

// All options as YAML that can be read again, with where each value is from in a comment. What is
// not set is only a comment. Passwords in URLs are not shown.
void service_config_print(const struct service_config *config, FILE *out);

// The name of a row in the environment.
void service_option_environment(char out[64], const struct service_option *option);

// What of a config is for the bus. Borrowed from the config; log and world are not touched.
void service_config_bus(struct peal_bus_options *out, const struct service_config *config);

// ---- a reload -----------------------------------------------------------------------------------

struct service_change {
    const struct service_option *option;
    bool live; // else it waits for the next start, and is worth a line in the log
};

// What differs, in the order of the table; how many. Tokens differ if any does.
size_t service_config_diff(struct service_change out[SERVICE_OPTION_COUNT],
                           const struct service_config *old, const struct service_config *fresh);

// Puts the old values of options that need a restart into `fresh`, so that it says what the service
// is from now on. PEAL_ENOMEM: `fresh` is of no use.
enum peal_err service_config_carry(struct service_config *fresh, const struct service_config *old);

// ---- addresses ----------------------------------------------------------------------------------

struct service_address {
    char host[256]; // a name or an address, without brackets; "": every address of the machine
    char port[6];   // a number
};

// HOST:PORT, [IPV6]:PORT, :PORT or PORT, which is of 127.0.0.1. False: it is none.
bool service_address_read(struct service_address *out, const char *text);

// Whether to listen there: before bind, with the address as it was resolved, so that no name
// decides. `why` is the sentence for the log, unless it is SERVICE_BIND.
enum service_binding {
    SERVICE_BIND,         // yes
    SERVICE_BIND_WARNED,  // yes, but nobody is asked who they are, or tokens travel readable
    SERVICE_BIND_REFUSED, // not without authentication, but for `insecure`
};
enum service_binding service_binding(char why[SERVICE_SENTENCE_MAX],
                                     const struct service_config *config,
                                     const struct sockaddr *address);

#endif
