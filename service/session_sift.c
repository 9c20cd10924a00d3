// SPDX-License-Identifier: MIT
//
// Sifting: of what is read once for all who follow, a client is sent what it wants and may read.
//
//     message ──► runs of events of one type ──► may it read that? does it want it? ──┬─► all: as
//     it is
//                 (told by who encoded it)        (patterns: asked once a type)         └─► a copy,
//                 or none
//
// Nothing is decoded: whoever encodes a message notes where the type changes.
#include "service/session_inside.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define KNOWN_MAX 128 // types whose answer is remembered; a power of two

// So far the events of a message are of this type.
struct run {
    size_t end;  // in the message
    size_t type; // in `names`
};

struct session_types {
    struct run *runs;
    size_t count, room;
    char *names;
    size_t used, names_room;
};

// What a client wants: *shared* by the session and by who sifts.
struct session_wants {
    atomic_uint refs;
    size_t count;
    const char **patterns; // in `text`
    char *text;
    // The answers for types that have come. The pump's alone.
    struct known {
        char *type; // NULL: none
        bool wanted;
    } known[KNOWN_MAX];
};

// ---- types of a message -------------------------------------------------------------------------

void session_types_free(struct session_types *types)
{
    if (types) {
        free(types->runs);
        free(types->names);
        free(types);
    }
}

static bool grow(void **memory, size_t *room, size_t needed, size_t each)
{
    if (needed <= *room) {
        return true;
    }
    size_t wanted = *room * 2 > needed ? *room * 2 : needed + 8;
    void *grown = realloc(*memory, wanted * each);
    if (grown) {
        *memory = grown;
        *room = wanted;
    }
    return grown != NULL;
}

bool session_types_note(struct session_types **out, const char *type, size_t end)
{
    if (!*out) {
        *out = calloc(1, sizeof **out);
    }
    struct session_types *types = *out;
    if (!types) {
        return false;
    }
    if (types->count > 0 && strcmp(types->names + types->runs[types->count - 1].type, type) == 0) {
        types->runs[types->count - 1].end = end;
        return true;
    }
    size_t length = strlen(type) + 1;
    void *runs = types->runs, *names = types->names;
    bool fine = grow(&runs, &types->room, types->count + 1, sizeof *types->runs);
    types->runs = runs;
    fine = fine && grow(&names, &types->names_room, types->used + length, 1);
    types->names = names;
    if (fine) {
        memcpy(types->names + types->used, type, length);
        types->runs[types->count++] = (struct run){ end, types->used };
        types->used += length;
    }
    return fine;
}

// ---- what is wanted -----------------------------------------------------------------------------

static void ref(struct session_wants *wants)
{
    if (wants) {
        // Relaxed: who has a reference may make another.
        atomic_fetch_add_explicit(&wants->refs, 1, memory_order_relaxed);
    }
}

void session_wants_unref(struct session_wants *wants)
{
    // Release and acquire: the last one frees what the other has used.
    if (!wants || atomic_fetch_sub_explicit(&wants->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < KNOWN_MAX; i++) {
        free(wants->known[i].type);
    }
    free(wants->patterns);
    free(wants->text);
    free(wants);
}

static enum peal_err read_patterns(struct session_wants *wants, struct pl_unpack *unpack)
{
    size_t used = 0;
    for (size_t i = 0; i < wants->count; i++) {
        char canonical[PEAL_PATTERN_SIZE];
        const char *pattern = pl_unpack_text(unpack);
        if (!pattern) {
            return pl_fail(PEAL_EINVAL, "a list of patterns that cannot be read");
        }
        enum peal_err err = peal_pattern_canonical(canonical, sizeof canonical, pattern);
        if (err) {
            return err;
        }
        wants->patterns[i] = wants->text + used;
        size_t length = strlen(pattern) + 1; // what is left of the request has room for all
        memcpy(wants->text + used, pattern, length);
        used += length;
    }
    return PEAL_OK;
}

enum peal_err session_wants_read(struct session_wants **out, struct pl_unpack *unpack)
{
    uint64_t number = pl_unpack_number(unpack);
    *out = NULL;
    if (unpack->bad || number > PL_PROTOCOL_PATTERNS_MAX + 1) {
        return pl_fail(PEAL_EINVAL, "a request to follow that makes no sense");
    }
    if (number == 0) {
        return PEAL_OK; // all
    }
    struct session_wants *wants = calloc(1, sizeof *wants);
    if (!wants) {
        return pl_fail(PEAL_ENOMEM, "no memory for patterns");
    }
    atomic_init(&wants->refs, 1);
    wants->count = (size_t)number - 1;
    wants->patterns = calloc(wants->count + 1, sizeof *wants->patterns);
    wants->text = malloc(unpack->left + 1);
    enum peal_err err = wants->patterns && wants->text
                            ? read_patterns(wants, unpack)
                            : pl_fail(PEAL_ENOMEM, "no memory for patterns");
    if (err) {
        session_wants_unref(wants);
        return err;
    }
    *out = wants;
    return PEAL_OK;
}

static bool matches(const struct session_wants *wants, const char *type)
{
    for (size_t i = 0; i < wants->count; i++) {
        bool yes = false;
        // What cannot be asked now is sent: the client looks once more.
        if (peal_pattern_matches(&yes, wants->patterns[i], type) || yes) {
            return true;
        }
    }
    return false;
}

// FNV-1a: types are short, and one in the place of another costs only time.
static size_t place_of(const char *type)
{
    uint32_t hash = 2166136261U;
    for (const char *at = type; *at; at++) {
        hash = (hash ^ (unsigned char)*at) * 16777619U;
    }
    return (hash ^ hash >> 15) & (KNOWN_MAX - 1);
}

static bool wants_type(struct session_wants *wants, const char *type)
{
    struct known *known = &wants->known[place_of(type)];
    if (known->type && strcmp(known->type, type) == 0) {
        return known->wanted;
    }
    bool wanted = matches(wants, type);
    char *copy = strdup(type);
    if (copy) {
        free(known->type);
        known->type = copy;
        known->wanted = wanted;
    }
    return wanted;
}

// ---- sifting ------------------------------------------------------------------------------------

// What of a message is for a client.
struct sieve {
    const struct service_session *session;
    struct session_wants *wants; // NULL: all
};

static bool lets_through(const struct sieve *sieve, const char *type)
{
    return session_may_read(sieve->session, type) &&
           (!sieve->wants || wants_type(sieve->wants, type));
}

static size_t count_bytes(const struct sieve *sieve, const struct session_types *types)
{
    size_t at = PL_EVENTS_HEAD, bytes = PL_EVENTS_HEAD;
    for (size_t i = 0; types && i < types->count; i++) {
        const struct run *run = &types->runs[i];
        bytes += lets_through(sieve, types->names + run->type) ? run->end - at : 0;
        at = run->end;
    }
    return bytes;
}

static struct service_bytes *copy(const struct sieve *sieve, const struct service_bytes *message,
                                  size_t bytes)
{
    struct service_bytes *out = service_bytes_create(bytes);
    if (!out) {
        return NULL;
    }
    const struct session_types *types = message->types;
    size_t at = PL_EVENTS_HEAD, used = PL_EVENTS_HEAD;
    memcpy(out->bytes, message->bytes, PL_EVENTS_HEAD);
    for (size_t i = 0; i < types->count; i++) {
        const struct run *run = &types->runs[i];
        // Rights may have changed since they were counted; then there is less, or no more room.
        if (lets_through(sieve, types->names + run->type) && run->end - at <= bytes - used) {
            memcpy(out->bytes + used, message->bytes + at, run->end - at);
            used += run->end - at;
        }
        at = run->end;
    }
    out->size = used;
    return out;
}

static bool may_read_all(const struct service_session *session)
{
    const struct service_rights *rights = &session->config.rights;
    return !rights->may_read || (rights->may_read_all && rights->may_read_all(rights->context));
}

enum peal_err session_sift(struct service_bytes **message, struct service_session *session)
{
    pthread_mutex_lock(&session->lock);
    struct session_wants *wants = session->wants;
    ref(wants);
    pthread_mutex_unlock(&session->lock);
    const struct sieve sieve = { session, wants };
    enum peal_err err = PEAL_OK;
    if (*message && (wants || !may_read_all(session))) {
        size_t bytes = count_bytes(&sieve, (*message)->types);
        if (bytes < (*message)->size) {
            struct service_bytes *sifted = copy(&sieve, *message, bytes);
            service_bytes_unref(*message);
            *message = sifted;
            err = sifted ? PEAL_OK : pl_fail(PEAL_ENOMEM, "no memory for a client");
        }
    }
    session_wants_unref(wants);
    return err;
}

void session_want(struct service_session *session, struct session_wants *wants)
{
    pthread_mutex_lock(&session->lock);
    struct session_wants *before = session->wants;
    session->wants = wants;
    pthread_mutex_unlock(&session->lock);
    session_wants_unref(before);
}
