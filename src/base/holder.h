// SPDX-License-Identifier: MIT
//
// Who has a lock: what the file that is locked says, for a sentence.
#ifndef PL_BASE_HOLDER_H
#define PL_BASE_HOLDER_H

#include "base/files.h"

#define PL_HOLDER_MAX 64

// "process 4711 (worker)", or less, as far as it is known: the file begins with the number of the
// process, and the system knows its name if it still runs.
void pl_holder_describe(char out[PL_HOLDER_MAX], const struct pl_files *files, struct pl_file lock);

#endif
