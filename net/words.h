// SPDX-License-Identifier: MIT
//
// Words: which of a few was probably meant, to say so where a word is none of them.
//
//     static const char *const names[] = { "listen", "limits", "log" };
//     words_nearest("litsen", names, 3);                                   "listen"
//
// Threads: any.
#ifndef NET_WORDS_H
#define NET_WORDS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// The nearest of `count` candidates, *borrowed* from them; NULL when none is near. A word of two
// letters or more that a candidate begins with is near.
const char *words_nearest(const char *word, const char *const *candidates, size_t count);

#ifdef __cplusplus
}
#endif
#endif
