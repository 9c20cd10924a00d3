// SPDX-License-Identifier: MIT
//
// URL: what an application writes to choose an engine, and how it sets the engine's options.
//
//     noop:      mem:?history=10000      file:./events?segment=64M&sync=disk
//     redis://user:p%40ss@host:6379/3?group=billing      http://[::1]:7325
//
//     scheme ':' [ '//' [ user [ ':' password ] '@' ] host [ ':' port ] ] path [ '?' name [ '='
//     value ] { '&' name [ '=' value ] } ]
//
// %xx stands for a byte in user, password, path and values; %00 and control characters are refused,
// and so is '#', which would begin a fragment. '+' is a plus. Bytes above 127 are taken as they
// are. A path is whatever stands between host and '?': "./events" in file:./events.
//
// A parameter is read with its default in place, and one function finds what nobody reads:
//
//     uint64_t segment = SEGMENT_DEFAULT;
//     err = pl_url_size(&segment, url, "segment");
//     ...
//     err = pl_url_check(url, (const char *const[]){ "segment", "sync", NULL });
//
// Errors are PEAL_EURL (PEAL_ELIMIT for a limit, PEAL_ENOMEM) with a sentence that names the
// character or the parameter, and never the password. Threads: a URL does not change once made.
#ifndef PL_BASE_URL_H
#define PL_BASE_URL_H

#include "base/seams.h"

#define PL_URL_MAX            4096 // bytes of the text
#define PL_URL_SCHEME_MAX     32   // bytes
#define PL_URL_HOST_MAX       255  // bytes
#define PL_URL_PARAMETERS_MAX 32

struct pl_url_pair {
    const char *name;
    const char *value; // decoded; "" when there is no '='
};

// One piece of memory; every string is borrowed from it until it is destroyed.
struct pl_url {
    const struct pl_seams *seams;
    const char *scheme;   // lower case
    const char *user;     // NULL: none given
    const char *password; // NULL: none given
    const char *host;     // "" when there is none; an IPv6 address without its brackets
    const char *path;     // "" when there is none
    uint16_t port;        // 0: none given
    size_t count;         // of parameters
    struct pl_url_pair parameters[PL_URL_PARAMETERS_MAX];
    char text[]; // the strings, one behind the other
};

// `text` is copied.
enum peal_err pl_url_create(struct pl_url **out, const struct pl_seams *seams, const char *text);
void pl_url_destroy(struct pl_url *url); // NULL is fine

// The value of a parameter, or NULL when it is not given.
const char *pl_url_parameter(const struct pl_url *url, const char *name);

// Read a parameter into *out and leave *out alone when it is not given.
// Size: a whole number, then nothing, k, M, G or T (powers of 1024). Duration in nanoseconds: a
// whole number with ns, us, ms, s, m, h or d; 0 needs no unit. Bool: true, yes, on, 1 or nothing
// ("?readonly"), and false, no, off, 0.
enum peal_err pl_url_size(uint64_t *out, const struct pl_url *url, const char *name);
enum peal_err pl_url_duration(int64_t *out, const struct pl_url *url, const char *name);
enum peal_err pl_url_bool(bool *out, const struct pl_url *url, const char *name);

// The first parameter that is not among `known` (which ends with NULL), or NULL when all are.
const char *pl_url_unknown(const struct pl_url *url, const char *const known[]);

// The same as an error, with the name that was probably meant. PEAL_EURL.
enum peal_err pl_url_check(const struct pl_url *url, const char *const known[]);

#endif
