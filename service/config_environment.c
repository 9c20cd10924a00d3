// SPDX-License-Identifier: MIT
//
// The environment: PEAL_ and the name of an option in capitals. An empty value is none.
//
// Others have variables that begin with PEAL_ too. One that begins like a section of ours and names
// no option of it is a typing mistake, and a fault.
#include <string.h>

#include "net/words.h"
#include "service/config_inside.h"

enum { NAME_SIZE = 64 };

// Of the letters that names have.
static char capital(char letter)
{
    static const char small[] = "abcdefghijklmnopqrstuvwxyz.";
    static const char large[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    const char *place = strchr(small, letter);
    if (place) {
        letter = large[place - small];
    }
    return letter;
}

void service_option_environment(char out[64], const struct service_option *option)
{
    (void)snprintf(out, NAME_SIZE, "PEAL_%s", option->name); // it fits
    for (char *place = out; *place; place++) {
        *place = capital(*place);
    }
}

// Whether a variable's name begins as those of the section of a row do.
static bool of_section(const char *name, size_t row)
{
    char whole[NAME_SIZE];
    const char *dot = strchr(service_config_options[row].name, '.');
    service_option_environment(whole, &service_config_options[row]);
    size_t length =
        dot ? strlen("PEAL_") + (size_t)(dot - service_config_options[row].name) + 1 : 0;
    return length > 0 && strncmp(name, whole, length) == 0;
}

static void refuse(struct service_config *config, const char *name)
{
    char names[SERVICE_OPTION_COUNT][NAME_SIZE];
    const char *candidates[SERVICE_OPTION_COUNT];
    bool ours = false;
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        service_option_environment(names[row], &service_config_options[row]);
        candidates[row] = names[row];
        ours = ours || of_section(name, row);
    }
    if (ours) {
        const char *near = words_nearest(name, candidates, SERVICE_OPTION_COUNT);
        config_fault(config, name, "there is no such option%s%s%s", near ? "; did you mean " : "",
                     near ? near : "", near ? "?" : "");
    }
}

static void read_variable(struct service_config *config, const char *name, const char *value)
{
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        char known[NAME_SIZE];
        service_option_environment(known, &service_config_options[row]);
        if (strcmp(known, name) == 0) {
            config_set(config, row, (struct service_origin){ SERVICE_ENVIRONMENT, name }, value);
            return;
        }
    }
    refuse(config, name);
}

void config_read_environment(struct service_config *config, char *const *environment)
{
    for (; *environment; environment++) {
        const char *equals = strchr(*environment, '=');
        if (equals && equals[1] && strncmp(*environment, "PEAL_", 5) == 0) {
            size_t length = (size_t)(equals - *environment);
            read_variable(config, config_keep(config, *environment, length), equals + 1);
        }
    }
}
