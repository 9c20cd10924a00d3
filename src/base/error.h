// SPDX-License-Identifier: MIT
//
// How the library says what went wrong: `return pl_fail(PEAL_EINVAL, "...", ...)`.
#ifndef PL_BASE_ERROR_H
#define PL_BASE_ERROR_H

#include <peal/error.h>

// A longer sentence is cut.
#define PL_SENTENCE_MAX 512

// Writes the thread's sentence and returns `err`. Costs a snprintf: for failures only.
enum peal_err pl_fail(enum peal_err err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// The thread's sentence, PL_SENTENCE_MAX bytes, to be saved and put back by whoever runs several
// threads as one (testing/fiber.c).
char *pl_sentence(void);

#endif
