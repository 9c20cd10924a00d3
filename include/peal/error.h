// SPDX-License-Identifier: MIT
//
// Errors: one list of codes, and a sentence for people.
//
// Every Peal function that can fail returns `enum peal_err`; PEAL_OK is zero, so `if (err)` reads
// as it should. When a function fails, its out-parameters are untouched and nothing has changed.
//
// The code is for programs. For people there is a sentence that says what failed, on what, why, and
// what to do:
//
//     if (peal_subscribe(&sub, bus, "orders.>", NULL, on_order, NULL)) {
//         fprintf(stderr, "%s\n", peal_error_sentence());
//     }
//
// Threads: the sentence belongs to the calling thread.
#ifndef PEAL_ERROR_H
#define PEAL_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PEAL_API __attribute__((visibility("default")))
#else
#define PEAL_API
#endif

// name, number, text. Numbers are a promise: they never change and are never used again.
#define PEAL_ERRORS(X)                                                                             \
    X(OK, 0, "no error")                                                                           \
    X(EINVAL, 1, "an argument is missing or does not make sense")                                  \
    X(ENOMEM, 2, "no memory")                                                                      \
    X(ETYPE, 3, "not a valid event type")                                                          \
    X(EPATTERN, 4, "not a valid pattern")                                                          \
    X(EURL, 5, "not a valid URL, or no engine for it")                                             \
    X(ELIMIT, 6, "a named limit would be exceeded")                                                \
    X(EAGAIN, 7, "would have to wait, and may not")                                                \
    X(ETIMEDOUT, 8, "the deadline passed")                                                         \
    X(ECLOSED, 9, "closed")                                                                        \
    X(ENOTFOUND, 10, "no such thing")                                                              \
    X(EEXISTS, 11, "exists already")                                                               \
    X(ECONFLICT, 12, "the stream is not at the expected version")                                  \
    X(EREFUSED, 13, "refused by an interceptor")                                                   \
    X(ELOOP, 14, "too many causal hops")                                                           \
    X(EUNSUPPORTED, 15, "this engine cannot do that")                                              \
    X(ESTATE, 16, "not allowed in this state or from here")                                        \
    X(ECORRUPT, 17, "the bytes are damaged")                                                       \
    X(EIO, 18, "input or output failed")                                                           \
    X(EOVERFLOW, 19, "a subscription that must not lose events overflowed")                        \
    X(EBUSY, 20, "another process has it")

enum peal_err {
#define PEAL_ERROR_ENUM(name, number, text) PEAL_##name = (number),
    PEAL_ERRORS(PEAL_ERROR_ENUM)
#undef PEAL_ERROR_ENUM
};

// The name of a code ("PEAL_EINVAL") and its text; never NULL, also for a number that is no code.
// Static storage.
PEAL_API const char *peal_err_name(enum peal_err err);
PEAL_API const char *peal_err_text(enum peal_err err);

// The sentence of the last Peal call that failed on this thread; "" if none has. Borrowed until the
// next Peal call that fails on this thread.
PEAL_API const char *peal_error_sentence(void);

#ifdef __cplusplus
}
#endif
#endif
