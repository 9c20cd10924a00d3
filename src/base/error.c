// SPDX-License-Identifier: MIT
//
// The list of errors as tables, and one sentence a thread. Thread-local, because a sentence in the
// bus would need a lock and could be overwritten before its reader gets to it.
#include "base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

static _Thread_local char sentence[PL_SENTENCE_MAX];

static const struct {
    const char *name;
    const char *text;
} errors[] = {
#define ERROR_ROW(name, number, text) [number] = { "PEAL_" #name, text },
    PEAL_ERRORS(ERROR_ROW)
#undef ERROR_ROW
};

static bool known(enum peal_err err)
{
    return (size_t)err < sizeof errors / sizeof errors[0];
}

void pl_explain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof sentence, format, args); // cut is better than nothing
    va_end(args);
}

char *pl_sentence(void)
{
    return sentence;
}

const char *peal_err_name(enum peal_err err)
{
    return known(err) ? errors[err].name : "PEAL_E?";
}

const char *peal_err_text(enum peal_err err)
{
    return known(err) ? errors[err].text : "not a Peal error code";
}

const char *peal_error_sentence(void)
{
    return sentence;
}
