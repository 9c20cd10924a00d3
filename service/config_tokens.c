// SPDX-License-Identifier: MIT
//
// Tokens in the file: a list of mappings, in auth.tokens or in a file of its own.
//
//     - name: ci
//       hash: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//       publish: ["build.*", "!build.secret.**"]
//       subscribe: build.*
//       admin: false
//
// What a token may do is what is written: nothing is allowed that is not named.
#include <peal/pattern.h>
#include <stdlib.h>
#include <string.h>

#include "net/words.h"
#include "service/config_inside.h"

#define HASH_PREFIX "sha256:"

enum { TOKEN_NAME_MAX = 64, HASH_SIZE = 32 };

// A token as it is read, and which of its keys have come.
struct reading {
    struct service_token token;
    bool named, hashed, publishes, subscribes, decided;
};

static void read_name(struct config_yaml *yaml, struct reading *reading)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *text = config_yaml_text(yaml, "name");
    size_t length = text ? strlen(text) : 0;
    reading->named = true;
    if (text && (length == 0 || length > TOKEN_NAME_MAX || text[strspn(text, good)])) {
        config_fault(yaml->config, config_yaml_place(yaml),
                     "name: 1 to %d letters, digits, '.', '_' and '-' are wanted", TOKEN_NAME_MAX);
    } else if (text) {
        reading->token.name = text;
    }
}

static bool hash_of(unsigned char out[HASH_SIZE], const char *text)
{
    static const char digits[] = "0123456789abcdef";
    size_t prefix = strlen(HASH_PREFIX);
    if (strncmp(text, HASH_PREFIX, prefix) != 0 || strlen(text) != prefix + 2 * (size_t)HASH_SIZE) {
        return false;
    }
    for (size_t i = 0; i < HASH_SIZE; i++) {
        const char *high = strchr(digits, text[prefix + 2 * i]);
        const char *low = strchr(digits, text[prefix + 2 * i + 1]);
        if (!high || !low) {
            return false;
        }
        out[i] = (unsigned char)((high - digits) << 4 | (low - digits));
    }
    return true;
}

static void read_hash(struct config_yaml *yaml, struct reading *reading)
{
    const char *text = config_yaml_text(yaml, "hash");
    reading->hashed = true;
    if (text && !hash_of(reading->token.hash, text)) {
        config_fault(
            yaml->config, config_yaml_place(yaml),
            "hash: sha256: and 64 digits 0 to f are wanted, as `peal token new` prints them");
    }
}

// A list of patterns, each good on its own but for those that only exclude.
static void read_patterns(struct config_yaml *yaml, struct service_list *list, const char *what)
{
    char canonical[PEAL_PATTERN_SIZE];
    const char *place = config_yaml_place(yaml);
    size_t used = 0;
    config_yaml_list(yaml, list, what);
    char *whole = config_room(yaml->config, PEAL_PATTERN_SIZE);
    for (size_t i = 0; whole && i < list->count; i++) {
        int more =
            snprintf(whole + used, PEAL_PATTERN_SIZE - used, "%s%s", i ? "," : "", list->items[i]);
        used += (size_t)more;
        if (used >= PEAL_PATTERN_SIZE) {
            config_fault(yaml->config, place, "%s: all patterns together are too long", what);
            return;
        }
    }
    if (!whole || used == 0) {
        return;
    }
    enum peal_err err = peal_pattern_canonical(canonical, sizeof canonical, whole);
    if (err == PEAL_ENOMEM) {
        yaml->config->starved = true;
    } else if (err) {
        config_fault(yaml->config, place, "%s: %s", what, peal_error_sentence());
    }
}

static void read_publish(struct config_yaml *yaml, struct reading *reading)
{
    reading->publishes = true;
    read_patterns(yaml, &reading->token.publish, "publish");
}

static void read_subscribe(struct config_yaml *yaml, struct reading *reading)
{
    reading->subscribes = true;
    read_patterns(yaml, &reading->token.subscribe, "subscribe");
}

static void read_admin(struct config_yaml *yaml, struct reading *reading)
{
    static const struct service_option admin = { .kind = SERVICE_FLAG };
    char wrong[SERVICE_SENTENCE_MAX];
    const char *text = config_yaml_text(yaml, "admin");
    reading->decided = true;
    if (text && !config_value_read(&reading->token.admin, &admin, text, wrong)) {
        config_fault(yaml->config, config_yaml_place(yaml), "admin: %s", wrong);
    }
}

static const struct {
    const char *name;
    void (*read)(struct config_yaml *yaml, struct reading *reading);
    size_t seen;
} keys[] = {
    { "name", read_name, offsetof(struct reading, named) },
    { "hash", read_hash, offsetof(struct reading, hashed) },
    { "publish", read_publish, offsetof(struct reading, publishes) },
    { "subscribe", read_subscribe, offsetof(struct reading, subscribes) },
    { "admin", read_admin, offsetof(struct reading, decided) },
};
enum { KEYS = sizeof keys / sizeof keys[0] };

static void refuse_key(struct config_yaml *yaml, const char *key)
{
    const char *names[KEYS];
    for (size_t i = 0; i < KEYS; i++) {
        names[i] = keys[i].name;
    }
    if (strcmp(key, "token") == 0) {
        config_fault(yaml->config, config_yaml_place(yaml),
                     "a token itself is not written down: its hash is, by the name hash");
        return;
    }
    const char *near = words_nearest(key, names, KEYS);
    config_fault(yaml->config, config_yaml_place(yaml), "a token has no \"%.60s\"%s%s%s", key,
                 near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

// The row of a key; KEYS: none.
static size_t key_of(const char *key)
{
    size_t i = 0;
    while (i < KEYS && strcmp(keys[i].name, key) != 0) {
        i++;
    }
    return i;
}

static void read_key(struct config_yaml *yaml, struct reading *reading, const char *key)
{
    size_t i = key_of(key);
    bool seen = i < KEYS && *((const bool *)(const void *)reading + keys[i].seen);
    if (i < KEYS && !seen) {
        (void)config_yaml_next(yaml);
        keys[i].read(yaml, reading);
        return;
    }
    if (seen) {
        config_fault(yaml->config, config_yaml_place(yaml), "%s is given twice", key);
    } else {
        refuse_key(yaml, key);
    }
    (void)config_yaml_next(yaml);
    config_yaml_skip(yaml);
}

static void add(struct service_config *config, const struct service_token *token)
{
    struct service_token_list *list = &config->auth_tokens;
    if (list->count == SERVICE_TOKENS_MAX) {
        config_fault(config, token->from, "there are more than %d tokens", SERVICE_TOKENS_MAX);
        return;
    }
    if ((list->count & (list->count - 1)) == 0) { // full, at 0, 1, 2, 4, ...
        struct service_token *items =
            config_room(config, (list->count ? 2 * list->count : 1) * sizeof *items);
        if (!items) {
            return;
        }
        if (list->count) {
            memcpy(items, list->items, list->count * sizeof *items);
        }
        list->items = items;
    }
    list->items[list->count++] = *token;
}

static void read_token(struct config_yaml *yaml, bool apart)
{
    struct service_config *config = yaml->config;
    struct reading reading = { .token = { .apart = apart, .from = config_yaml_place(yaml) } };
    if (yaml->event.type != YAML_MAPPING_START_EVENT) {
        config_fault(config, reading.token.from,
                     "a token is a mapping: name, hash, publish, subscribe, admin");
        config_yaml_skip(yaml);
        return;
    }
    while (config_yaml_next(yaml) != YAML_MAPPING_END_EVENT && !yaml->ended) {
        const char *key = config_yaml_text(yaml, "what is said of a token");
        if (key) {
            read_key(yaml, &reading, key);
        } else {
            (void)config_yaml_next(yaml);
            config_yaml_skip(yaml);
        }
    }
    if (yaml->ended) {
        return;
    }
    if (!reading.named || !reading.hashed) {
        config_fault(config, reading.token.from,
                     "a token needs a name and a hash: `peal token new NAME` prints such an entry");
    } else if (reading.token.name) {
        add(config, &reading.token);
    }
}

void config_tokens_yaml(struct config_yaml *yaml, bool apart)
{
    if (config_yaml_nothing(yaml)) {
        return;
    }
    if (yaml->event.type != YAML_SEQUENCE_START_EVENT) {
        config_fault(yaml->config, config_yaml_place(yaml), "a list of tokens is wanted");
        config_yaml_skip(yaml);
        return;
    }
    while (config_yaml_next(yaml) != YAML_SEQUENCE_END_EVENT && !yaml->ended) {
        read_token(yaml, apart);
    }
}

void config_tokens_file(struct service_config *config)
{
    struct config_yaml yaml;
    size_t size = 0;
    const char *file = config->auth_tokens_file;
    const char *text = *file ? config_file_read(config, file, false, &size) : NULL;
    if (!text || !config_yaml_begin(&yaml, config, file)) {
        return;
    }
    yaml_parser_set_input_string(&yaml.parser, (const unsigned char *)text, size);
    if (config_yaml_open(&yaml)) {
        config_tokens_yaml(&yaml, true);
    }
    config_yaml_shut(&yaml);
    config_yaml_end(&yaml);
}

// ---- no two alike -------------------------------------------------------------------------------

static int by_name(const void *left, const void *right)
{
    const struct service_token *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static int by_hash(const void *left, const void *right)
{
    const struct service_token *const *a = left, *const *b = right;
    return memcmp((*a)->hash, (*b)->hash, HASH_SIZE);
}

void config_tokens_check(struct service_config *config)
{
    static const struct {
        int (*compare)(const void *left, const void *right);
        const char *what;
    } unique[] = { { by_name, "name" }, { by_hash, "hash" } };
    size_t count = config->auth_tokens.count;
    const struct service_token **sorted = config_room(config, count * sizeof(void *));
    for (size_t i = 0; i < 2 && sorted && count; i++) {
        for (size_t j = 0; j < count; j++) {
            sorted[j] = &config->auth_tokens.items[j];
        }
        qsort(sorted, count, sizeof(void *), unique[i].compare);
        for (size_t j = 1; j < count; j++) {
            if (unique[i].compare(&sorted[j - 1], &sorted[j]) == 0) {
                config_fault(config, sorted[j]->from, "two tokens have the same %s: at %s as well",
                             unique[i].what, sorted[j - 1]->from);
            }
        }
    }
}
