// SPDX-License-Identifier: MIT
//
// Values: what a text says, by the kind of its option, and the other way round.
//
// Reading is strict: the whole text or nothing. A number is written with the largest unit that
// divides it, so that what is written is what is read.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "net/words.h"
#include "service/config_inside.h"

enum { CHOICES_MAX = 8, SHOWN_MAX = 60 };

struct unit {
    const char *name;
    uint64_t factor;
    bool written;
};

// Each from the smallest to the largest.
static const struct unit sizes[] = {
    { "B", 1, true },
    { "kB", 1000, false },
    { "KB", 1000, false },
    { "K", SERVICE_KIB, false },
    { "k", SERVICE_KIB, false },
    { "KiB", SERVICE_KIB, true },
    { "MB", 1000000, false },
    { "M", SERVICE_MIB, false },
    { "MiB", SERVICE_MIB, true },
    { "GB", 1000000000, false },
    { "G", SERVICE_GIB, false },
    { "GiB", SERVICE_GIB, true },
    { "TB", 1000000000000, false },
    { "T", SERVICE_TIB, false },
    { "TiB", SERVICE_TIB, true },
    { NULL, 0, false },
};

static const struct unit times[] = {
    { "ms", 1, true },
    { "s", SERVICE_S, true },
    { "m", 60 * SERVICE_S, true },
    { "min", 60 * SERVICE_S, false },
    { "h", SERVICE_H, true },
    { "d", SERVICE_D, true },
    { "w", 7 * SERVICE_D, false },
    { NULL, 0, false },
};

static const struct unit counts[] = { { NULL, 0, false } };

static const struct unit *units_of(enum service_kind kind)
{
    return kind == SERVICE_BYTES ? sizes : kind == SERVICE_TIME ? times : counts;
}

void config_number_write(char out[SERVICE_VALUE_SIZE], enum service_kind kind, uint64_t number)
{
    const struct unit *best = NULL;
    for (const struct unit *unit = units_of(kind); unit->name; unit++) {
        if (unit->written && number % unit->factor == 0 && number >= unit->factor) {
            best = unit;
        }
    }
    (void)snprintf(out, SERVICE_VALUE_SIZE, "%" PRIu64 "%s", // it fits
                   best ? number / best->factor : number, best ? best->name : "");
}

static bool read_number(uint64_t *out, enum service_kind kind, const char *text)
{
    const struct unit *unit = units_of(kind);
    size_t digits = strspn(text, "0123456789");
    uint64_t number = 0, factor = 1;
    const char *rest = text + digits + strspn(text + digits, " ");
    if (*rest) {
        while (unit->name && strcmp(unit->name, rest) != 0) {
            unit++;
        }
        factor = unit->factor;
    }
    for (size_t i = 0; i < digits; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (number > (UINT64_MAX - 1 - digit) / 10) { // the last number says that none is set
            return false;
        }
        number = number * 10 + digit;
    }
    if (digits == 0 || factor == 0 || number > (UINT64_MAX - 1) / factor) {
        return false;
    }
    *out = number * factor;
    return true;
}

// ---- each kind ----------------------------------------------------------------------------------

static bool refuse(char wrong[SERVICE_SENTENCE_MAX], const char *text, const char *wanted)
{
    (void)snprintf(wrong, SERVICE_SENTENCE_MAX, "\"%.*s\": %s", SHOWN_MAX, text, wanted); // cut
    return false;
}

static bool number_read(void *out, const struct service_option *option, const char *text,
                        char wrong[SERVICE_SENTENCE_MAX])
{
    static const char *const wanted[] = {
        [SERVICE_COUNT] = "a whole number is wanted",
        [SERVICE_BYTES] = "a size is wanted: 65536, 64KiB, 16MiB",
        [SERVICE_TIME] = "a time is wanted: 1500 (milliseconds), 30s, 5m, 2h, 7d",
    };
    uint64_t number = 0;
    bool none = strcmp(text, "none") == 0 && option->least == 0;
    if (!none && !read_number(&number, option->kind, text)) {
        return refuse(wrong, text, wanted[option->kind]);
    }
    if (number < option->least || number > option->most) {
        char least[SERVICE_VALUE_SIZE], most[SERVICE_VALUE_SIZE];
        config_number_write(least, option->kind, option->least);
        config_number_write(most, option->kind, option->most);
        (void)snprintf(wrong, SERVICE_SENTENCE_MAX, "\"%.*s\" is beyond the limits: %s to %s",
                       SHOWN_MAX, text, least, most); // a long text is cut
        return false;
    }
    *(uint64_t *)out = number;
    return true;
}

static bool share_read(void *out, const char *text, char wrong[SERVICE_SENTENCE_MAX])
{
    char *end = NULL;
    double share = strtod(text, &end);
    if (end == text || *end || !(share >= 0 && share <= 1)) {
        return refuse(wrong, text, "a share is wanted, from 0 to 1, such as 0.25");
    }
    *(double *)out = share;
    return true;
}

static bool bool_read(void *out, const char *text, char wrong[SERVICE_SENTENCE_MAX])
{
    static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *(bool *)out = i % 2;
            return true;
        }
    }
    return refuse(wrong, text, "true or false is wanted (yes, no, on, off)");
}

static bool choice_read(void *out, const struct service_option *option, const char *text,
                        char wrong[SERVICE_SENTENCE_MAX])
{
    char copy[SERVICE_VALUE_SIZE * 2];
    const char *words[CHOICES_MAX];
    char *rest = NULL;
    size_t count = 0;
    (void)snprintf(copy, sizeof copy, "%s", option->value); // it fits
    for (char *word = strtok_r(copy, "|", &rest); word; word = strtok_r(NULL, "|", &rest)) {
        words[count++] = word;
        if (strcmp(word, text) == 0) {
            *(int *)out = (int)count;
            return true;
        }
    }
    const char *near = words_nearest(text, words, count);
    (void)snprintf(wrong, SERVICE_SENTENCE_MAX, "\"%.*s\" is none of %s%s%s%s", SHOWN_MAX, text,
                   option->value, near ? "; did you mean " : "", near ? near : "",
                   near ? "?" : ""); // a long text is cut
    return false;
}

bool config_value_read(void *out, const struct service_option *option, const char *text,
                       char wrong[SERVICE_SENTENCE_MAX])
{
    switch (option->kind) {
    case SERVICE_FLAG:
    case SERVICE_SWITCH:
        return bool_read(out, text, wrong);
    case SERVICE_SHARE:
        return share_read(out, text, wrong);
    case SERVICE_CHOICE:
        return choice_read(out, option, text, wrong);
    default:
        return number_read(out, option, text, wrong);
    }
}
