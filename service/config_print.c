// SPDX-License-Identifier: MIT
//
// Printing: faults a line each, and the config as YAML that can be read again.
//
// Texts stand in double quotes with what could be anything else escaped; rows stand in the order of
// the table, where those of a section stand together.
#include <inttypes.h>
#include <string.h>

#include "service/config_inside.h"

void service_config_print_faults(const struct service_config *config, FILE *out)
{
    for (size_t i = 0; i < config->fault_count; i++) {
        (void)fprintf(out, "%s: %s\n", config->faults[i].place, config->faults[i].text);
    }
    if (config->fault_count == SERVICE_FAULTS_MAX) {
        (void)fputs("and perhaps more\n", out);
    }
}

static void put_text(FILE *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '"' || byte == '\\') {
            (void)fprintf(out, "\\%c", byte);
        } else if (byte < ' ' || byte == 0x7f) {
            (void)fprintf(out, "\\x%02x", byte);
        } else {
            (void)fputc(byte, out);
        }
    }
}

// Without the password of a URL, and what would end a line.
static void put_quoted(FILE *out, const char *text)
{
    const char *user = strstr(text, "://");
    const char *at = user ? strpbrk(user + 3, "@/?#") : NULL;
    const char *colon = at && *at == '@' ? memchr(user + 3, ':', (size_t)(at - user - 3)) : NULL;
    (void)fputc('"', out);
    if (colon) {
        put_text(out, text, (size_t)(colon - text) + 1);
        (void)fputs("***", out);
        text = at;
    }
    put_text(out, text, strlen(text));
    (void)fputc('"', out);
}

static void put_list(FILE *out, const struct service_list *list)
{
    (void)fputc('[', out);
    for (size_t i = 0; i < list->count; i++) {
        (void)fputs(i ? ", " : "", out);
        put_quoted(out, list->items[i]);
    }
    (void)fputc(']', out);
}

// ---- tokens -------------------------------------------------------------------------------------

static void put_token(FILE *out, const struct service_token *token)
{
    (void)fprintf(out, "    - name: \"%s\"  # %s\n      hash: sha256:", token->name, token->from);
    for (size_t i = 0; i < sizeof token->hash; i++) {
        (void)fprintf(out, "%02x", token->hash[i]);
    }
    (void)fputs("\n      publish: ", out);
    put_list(out, &token->publish);
    (void)fputs("\n      subscribe: ", out);
    put_list(out, &token->subscribe);
    (void)fprintf(out, "\n      admin: %s\n", token->admin ? "true" : "false");
}

static void put_tokens(FILE *out, const struct service_config *config, const char *name)
{
    const struct service_token_list *list = &config->auth_tokens;
    size_t apart = 0;
    for (size_t i = 0; i < list->count; i++) {
        apart += list->items[i].apart;
    }
    if (apart > 0) {
        (void)fprintf(out, "  # %zu tokens in the file of auth.tokens_file\n", apart);
    }
    if (apart == list->count) {
        (void)fprintf(out, "  # %s: not set\n", name);
        return;
    }
    (void)fprintf(out, "  %s:\n", name);
    for (size_t i = 0; i < list->count; i++) {
        if (!list->items[i].apart) {
            put_token(out, &list->items[i]);
        }
    }
}

// ---- rows ---------------------------------------------------------------------------------------

static bool is_number(enum service_kind kind)
{
    return kind == SERVICE_COUNT || kind == SERVICE_BYTES || kind == SERVICE_TIME;
}

static bool is_set(const struct service_config *config, size_t row)
{
    const void *value = config_value_of(config, row);
    enum service_kind kind = service_config_options[row].kind;
    if (is_number(kind)) {
        return *(const uint64_t *)value != SERVICE_UNSET;
    }
    if (kind == SERVICE_CHOICE) {
        return *(const int *)value > 0;
    }
    if (config_is_text(kind)) {
        return **(const char *const *)value;
    }
    return kind != SERVICE_LIST || ((const struct service_list *)value)->count > 0;
}

static void put_choice(FILE *out, const char *choices, int number)
{
    for (; number > 1; number--) {
        choices += strcspn(choices, "|") + 1;
    }
    (void)fprintf(out, "%.*s", (int)strcspn(choices, "|"), choices);
}

static void put_value(FILE *out, const struct service_config *config, size_t row)
{
    const struct service_option *option = &service_config_options[row];
    const void *value = config_value_of(config, row);
    char text[SERVICE_VALUE_SIZE];
    switch (option->kind) {
    case SERVICE_TEXT:
    case SERVICE_FILE:
    case SERVICE_URL:
        put_quoted(out, *(const char *const *)value);
        break;
    case SERVICE_FLAG:
        (void)fputs(*(const bool *)value ? "true" : "false", out);
        break;
    case SERVICE_SWITCH:
        (void)fputs(*(const bool *)value ? "on" : "off", out);
        break;
    case SERVICE_SHARE:
        (void)fprintf(out, "%.15g", *(const double *)value);
        break;
    case SERVICE_CHOICE:
        put_choice(out, option->value, *(const int *)value);
        break;
    case SERVICE_LIST:
        put_list(out, value);
        break;
    default:
        config_number_write(text, option->kind, *(const uint64_t *)value);
        (void)fputs(text, out);
        break;
    }
}

static void put_row(FILE *out, const struct service_config *config, size_t row)
{
    const struct service_option *option = &service_config_options[row];
    const char *dot = strchr(option->name, '.');
    const char *name = dot ? dot + 1 : option->name;
    const char *indent = dot ? "  " : "";
    if (option->kind == SERVICE_TOKENS) {
        put_tokens(out, config, name);
    } else if (!is_set(config, row)) {
        (void)fprintf(out, "%s# %s: not set\n", indent, name);
    } else {
        (void)fprintf(out, "%s%s: ", indent, name);
        put_value(out, config, row);
        (void)fprintf(out, "  # %s\n", config->origins[row].place);
    }
}

void service_config_print(const struct service_config *config, FILE *out)
{
    const char *section = "";
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        const char *name = service_config_options[row].name;
        size_t length = strchr(name, '.') ? strcspn(name, ".") : 0;
        if (length > 0 && strncmp(name, section, length + 1) != 0) {
            (void)fprintf(out, "%.*s:\n", (int)length, name);
        }
        section = name;
        put_row(out, config, row);
    }
}
