// SPDX-License-Identifier: MIT
//
// How the library says what went wrong: `return pl_fail(PEAL_EINVAL, "...", ...)`.
#ifndef PL_BASE_ERROR_H
#define PL_BASE_ERROR_H

#include <peal/error.h>

// A longer sentence is cut.
#define PL_SENTENCE_MAX 512

// Writes the thread's sentence. Costs a snprintf: for failures only.
void pl_explain(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Writes the sentence and is the code. A macro, so that compilers and analysers see which code a
// function returns, and that it is not PEAL_OK.
#define pl_fail(err, ...) (pl_explain(__VA_ARGS__), (err))

// The thread's sentence, PL_SENTENCE_MAX bytes, to be saved and put back by whoever runs several
// threads as one (testing/fiber.c).
char *pl_sentence(void);

#endif
