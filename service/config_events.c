// SPDX-License-Identifier: MIT
//
// Events of YAML: libyaml's parser, with a place for each event, texts that are texts, and nodes
// that can be passed over.
//
// What our files have no use for is refused where it stands: aliases, which can make little text
// into much, and second documents. When libyaml finds an error the rest of the file is not read.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "service/config_inside.h"

// ---- files --------------------------------------------------------------------------------------

static char *read_all(struct service_config *config, FILE *in, const char *path, size_t *out_size)
{
    char *text = config_room(config, SERVICE_FILE_MAX + 1);
    if (!text) {
        return NULL;
    }
    size_t size = fread(text, 1, SERVICE_FILE_MAX + 1, in);
    if (ferror(in)) {
        config_fault(config, path, "cannot be read: it is a directory, or the disk fails");
        return NULL;
    }
    if (size > SERVICE_FILE_MAX) {
        config_fault(config, path, "larger than %d bytes: is it the right file?", SERVICE_FILE_MAX);
        return NULL;
    }
    *out_size = size;
    return text;
}

char *config_file_read(struct service_config *config, const char *path, bool may_miss,
                       size_t *out_size)
{
    FILE *in = fopen(path, "rbe");
    if (!in) {
        int reason = errno;
        char text[128];
        if (reason != ENOENT || !may_miss) {
            config_fault(config, path, "cannot be opened: %s",
                         strerror_r(reason, text, sizeof text));
        }
        return NULL;
    }
    struct stat info;
    char *text = NULL;
    if (fstat(fileno(in), &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & S_IWOTH)) {
        config_fault(config, path,
                     "everybody may write to it, and so decide who may do what: "
                     "chmod o-w takes that away");
    } else {
        text = read_all(config, in, path, out_size);
    }
    (void)fclose(in); // it was only read
    return text;
}

// ---- events -------------------------------------------------------------------------------------

static const char *place_of(struct config_yaml *yaml, yaml_mark_t mark)
{
    return config_keep_format(yaml->config, "%s:%zu:%zu", yaml->file, mark.line + 1,
                              mark.column + 1);
}

const char *config_yaml_place(struct config_yaml *yaml)
{
    return place_of(yaml, yaml->event.start_mark);
}

bool config_yaml_begin(struct config_yaml *yaml, struct service_config *config, const char *file)
{
    *yaml = (struct config_yaml){ .config = config, .file = file };
    if (!yaml_parser_initialize(&yaml->parser)) {
        config->starved = true;
        yaml->ended = true;
        return false;
    }
    return true;
}

void config_yaml_end(struct config_yaml *yaml)
{
    yaml_event_delete(&yaml->event);
    yaml_parser_delete(&yaml->parser);
}

static void no_yaml(struct config_yaml *yaml)
{
    const yaml_parser_t *parser = &yaml->parser;
    yaml_mark_t mark = parser->problem_mark;
    if (parser->error == YAML_MEMORY_ERROR) {
        yaml->config->starved = true;
        return;
    }
    if (parser->error == YAML_READER_ERROR) {
        mark = parser->mark;
    }
    config_fault(yaml->config, place_of(yaml, mark),
                 "not YAML: %s%s%s; what follows has not been read",
                 parser->context ? parser->context : "", parser->context ? ", " : "",
                 parser->problem ? parser->problem : "it cannot be understood");
}

yaml_event_type_t config_yaml_next(struct config_yaml *yaml)
{
    yaml_event_delete(&yaml->event);
    yaml->event = (yaml_event_t){ 0 };
    if (!yaml->ended && !yaml_parser_parse(&yaml->parser, &yaml->event)) {
        yaml->ended = true;
        no_yaml(yaml);
        yaml->event = (yaml_event_t){ 0 };
    }
    if (yaml->event.type == YAML_STREAM_END_EVENT) {
        yaml->ended = true;
    }
    return yaml->event.type;
}

bool config_yaml_open(struct config_yaml *yaml)
{
    static const yaml_event_type_t begin[] = { YAML_STREAM_START_EVENT, YAML_DOCUMENT_START_EVENT };
    for (size_t i = 0; i < sizeof begin / sizeof begin[0]; i++) {
        if (config_yaml_next(yaml) != begin[i]) {
            return false;
        }
    }
    return config_yaml_next(yaml) != YAML_NO_EVENT && !config_yaml_nothing(yaml);
}

void config_yaml_shut(struct config_yaml *yaml)
{
    if (config_yaml_next(yaml) != YAML_DOCUMENT_END_EVENT) {
        return;
    }
    (void)config_yaml_next(yaml);
    if (yaml->event.type == YAML_DOCUMENT_START_EVENT) {
        config_fault(yaml->config, config_yaml_place(yaml),
                     "a second document begins here: one file has one");
    }
}

void config_yaml_skip(struct config_yaml *yaml)
{
    size_t depth = 0;
    for (;; (void)config_yaml_next(yaml)) {
        switch (yaml->event.type) {
        case YAML_MAPPING_START_EVENT:
        case YAML_SEQUENCE_START_EVENT:
            depth++;
            break;
        case YAML_MAPPING_END_EVENT:
        case YAML_SEQUENCE_END_EVENT:
            depth--;
            break;
        case YAML_NO_EVENT:
        case YAML_STREAM_END_EVENT:
            return;
        default:
            break;
        }
        if (depth == 0) {
            return;
        }
    }
}

// ---- texts --------------------------------------------------------------------------------------

bool config_yaml_nothing(const struct config_yaml *yaml)
{
    static const char *const words[] = { "", "~", "null", "Null", "NULL" };
    const yaml_event_t *event = &yaml->event;
    if (event->type != YAML_SCALAR_EVENT || event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
        return false;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp((const char *)event->data.scalar.value, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static const char *form(yaml_event_type_t type)
{
    return type == YAML_ALIAS_EVENT            ? "an alias, which is not taken here"
           : type == YAML_SEQUENCE_START_EVENT ? "a list"
           : type == YAML_MAPPING_START_EVENT  ? "a mapping"
                                               : "nothing";
}

const char *config_yaml_text(struct config_yaml *yaml, const char *what)
{
    const yaml_event_t *event = &yaml->event;
    if (event->type == YAML_NO_EVENT) {
        return NULL; // that has been said
    }
    if (event->type != YAML_SCALAR_EVENT) {
        config_fault(yaml->config, config_yaml_place(yaml),
                     "%s: one value is wanted, and this is %s", what, form(event->type));
        config_yaml_skip(yaml);
        return NULL;
    }
    const char *text = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;
    if (config_yaml_nothing(yaml)) {
        config_fault(yaml->config, config_yaml_place(yaml),
                     "%s has no value: give it one, or leave it out for its default", what);
        return NULL;
    }
    if (memchr(text, 0, size)) {
        config_fault(yaml->config, config_yaml_place(yaml), "%s: there is a zero byte in it", what);
        return NULL;
    }
    return config_keep(yaml->config, text, size);
}

void config_yaml_list(struct config_yaml *yaml, struct service_list *list, const char *what)
{
    if (yaml->event.type != YAML_SEQUENCE_START_EVENT) {
        const char *text = config_yaml_text(yaml, what);
        if (text) { // a list of one
            config_list_add(yaml->config, list, config_yaml_place(yaml), text);
        }
        return;
    }
    while (config_yaml_next(yaml) != YAML_SEQUENCE_END_EVENT && !yaml->ended) {
        const char *text = config_yaml_text(yaml, what);
        if (text) {
            config_list_add(yaml->config, list, config_yaml_place(yaml), text);
        }
    }
}
