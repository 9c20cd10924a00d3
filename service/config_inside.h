// SPDX-License-Identifier: MIT
//
// What the files of config share: memory that goes with the config, faults, and setting an option
// from a text.
//
// No function here fails. What the texts say wrong becomes a fault, and reading goes on, so that
// all faults are found at once; what memory there is not for is left out and noted (`starved`), and
// service_config_read says so at its end.
#ifndef SERVICE_CONFIG_INSIDE_H
#define SERVICE_CONFIG_INSIDE_H

#include <yaml.h>

#include "service/config.h"

enum {
    SERVICE_LIST_MAX = 1024,
    SERVICE_TOKENS_MAX = 10000,
    SERVICE_FILE_MAX = 4 << 20, // bytes of a file
    SERVICE_VALUE_SIZE = 40,    // room for a number and its unit
};

// Memory that the config gives back when it is closed; zeros. NULL: starved.
void *config_room(struct service_config *config, size_t size);
// A text of `size` bytes, copied; "" if there is no memory.
const char *config_keep(struct service_config *config, const char *text, size_t size);
__attribute__((format(printf, 2, 3))) const char *config_keep_format(struct service_config *config,
                                                                     const char *format, ...);

// Notes what is wrong at a place, which lives as long as the config.
__attribute__((format(printf, 3, 4))) void config_fault(struct service_config *config,
                                                        const char *place, const char *format, ...);

bool config_is_text(enum service_kind kind);
// The value of a row.
void *config_value(struct service_config *config, size_t row);
const void *config_value_of(const struct service_config *config, size_t row);

// Sets a row from a text. A list is replaced if `origin` is another source than it has, else added
// to, item by item where there are commas; in a file an item may have commas.
void config_set(struct service_config *config, size_t row, struct service_origin origin,
                const char *text);
void config_list_add(struct service_config *config, struct service_list *list, const char *place,
                     const char *text);

// Reads a value of a kind that is one number or word; a sentence's end says what is wrong, or NULL.
// `size` is the room at `wrong`.
bool config_value_read(void *out, const struct service_option *option, const char *text,
                       char wrong[SERVICE_SENTENCE_MAX]);
// Writes a number with the largest unit that divides it.
void config_number_write(char out[SERVICE_VALUE_SIZE], enum service_kind kind, uint64_t number);

// ---- YAML, event by event -----------------------------------------------------------------------

// A node begins with an event and ends with one. Who reads a node finds its first event here, and
// leaves its last.
struct config_yaml {
    struct service_config *config;
    const char *file; // lives as long as the config
    yaml_parser_t parser;
    yaml_event_t event;
    bool ended; // at its end, or at what is no YAML
};

bool config_yaml_begin(struct config_yaml *yaml, struct service_config *config, const char *file);
void config_yaml_end(struct config_yaml *yaml);
yaml_event_type_t config_yaml_next(struct config_yaml *yaml); // YAML_NO_EVENT: it has ended
// To the first event of the document's only node; false: there is none.
bool config_yaml_open(struct config_yaml *yaml);
// Behind it, where nothing else may be.
void config_yaml_shut(struct config_yaml *yaml);
void config_yaml_skip(struct config_yaml *yaml);
const char *config_yaml_place(struct config_yaml *yaml);
// The text of a scalar, kept; NULL if it is no text, and `what` is told so.
const char *config_yaml_text(struct config_yaml *yaml, const char *what);
bool config_yaml_nothing(const struct config_yaml *yaml); // a value that was left out
void config_yaml_list(struct config_yaml *yaml, struct service_list *list, const char *what);

// A file's content, with config_room; NULL: a fault says why, unless it may be missing and is.
char *config_file_read(struct service_config *config, const char *path, bool may_miss,
                       size_t *out_size);

// ---- the steps of reading -----------------------------------------------------------------------

void config_read_yaml(struct service_config *config, const char *file, const char *text,
                      size_t size);
void config_read_environment(struct service_config *config, char *const *environment);
void config_tokens_yaml(struct config_yaml *yaml, bool apart); // at the list of them
void config_tokens_file(struct service_config *config);
void config_tokens_check(struct service_config *config);
void config_check(struct service_config *config);

// The row of a name, its length given; SERVICE_OPTION_COUNT: none.
size_t config_row(const char *name, size_t length);
size_t config_row_of_flag(const char *flag);

#endif
