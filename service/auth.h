// SPDX-License-Identifier: MIT
//
// Auth: who is asking, and what they may do.
//
//     Authorization: Bearer pt_... ──► SHA-256 ──► compared with every hash ──► an identity
//                                                                                  │
//     publish one event:  auth_may_publish(identity, "order.created")  ◄───────────┤
//     hand one out:       auth_may_read(identity, "order.created")     ◄───────────┤
//     change the service: auth_is_admin(identity)                      ◄───────────┘
//
// A token is 256 random bits. What is kept of it is its hash, so that who reads the configuration
// has no token; and every hash is compared, in a time that does not depend on what is alike, so
// that an answer's time tells nothing.
//
// The questions are asked of the type of an event, when it is published and each time one is handed
// out: live, from history, from dead letters. A pattern of a subscription is not asked; a token may
// subscribe to everything and hears what it may read.
//
// Where no token is configured there is one identity for everybody, and it may do everything.
//
// A reload takes away what is no longer in the configuration, or is there with other rights: such
// an identity is revoked. From then on it may do nothing, and whoever watches it is told, to end
// its connections.
//
// Ownership: a table owns its identities, which are *shared*: who has found one keeps it with its
// count, also when the table is gone. Threads: any, for every function but auth_table_close.
#ifndef SERVICE_AUTH_H
#define SERVICE_AUTH_H

#include "service/config.h"

struct auth_table;
struct auth_identity;

// *Given*: auth_table_close, NULL is fine. The config is borrowed for the call. PEAL_ENOMEM.
enum peal_err auth_table_open(struct auth_table **out, const struct service_config *config);
void auth_table_close(struct auth_table *table);

// Takes the tokens of another config. Identities that are the same stay; the others are revoked,
// and their watchers have been told when this returns. PEAL_ENOMEM: nothing has changed.
enum peal_err auth_table_reload(struct auth_table *table, const struct service_config *config);

// ---- finding ------------------------------------------------------------------------------------

enum auth_answer {
    AUTH_FOUND,
    AUTH_MISSING, // there is no header: 401, WWW-Authenticate: Bearer
    AUTH_REFUSED, // it is not `Bearer` and a token that is known: 401, error="invalid_token"
};

// By the value of an Authorization header, NULL if there is none. *Shared*: auth_identity_unref.
enum auth_answer auth_find(struct auth_identity **out, struct auth_table *table,
                           const char *header);
// By the token itself, for those who cannot send headers.
enum auth_answer auth_find_token(struct auth_identity **out, struct auth_table *table,
                                 const char *token, size_t size);

struct auth_identity *auth_identity_ref(struct auth_identity *identity); // returns it
void auth_identity_unref(struct auth_identity *identity);                // NULL is fine

// ---- asking -------------------------------------------------------------------------------------

const char *auth_name(const struct auth_identity *identity); // of its token; "anybody". Borrowed
bool auth_is_anybody(const struct auth_identity *identity);  // there were no tokens: it may do all
bool auth_is_admin(const struct auth_identity *identity);
bool auth_is_revoked(const struct auth_identity *identity);

// About one event, by its type; all false once it is revoked. Answers are remembered for a few
// hundred types, so that the patterns are read once a type and not once an event.
bool auth_may_publish(struct auth_identity *identity, const char *type);
bool auth_may_read(struct auth_identity *identity, const char *type);
bool auth_may_read_all(struct auth_identity *identity); // whatever its type

// ---- being told ---------------------------------------------------------------------------------

// Called once, on the thread that reloads, with no lock held. It may call auth_unwatch, and free
// the watch.
typedef void auth_ended(struct auth_identity *identity, void *context);

// Yours; it stays where it is while it watches.
struct auth_watch {
    auth_ended *ended;
    void *context;
    struct auth_watch *next, *previous; // the identity's
    bool watching;                      // the identity's
};

// false: it is revoked already, and nobody will be called.
bool auth_watch(struct auth_identity *identity, struct auth_watch *watch);
// When this returns, `ended` is not called any more, and is not running on another thread.
void auth_unwatch(struct auth_identity *identity, struct auth_watch *watch);

// ---- making -------------------------------------------------------------------------------------

enum { AUTH_TOKEN_SIZE = 48, AUTH_HASH_SIZE = 72, AUTH_LINE_SIZE = 256 };

// A new token, "pt_" and 43 letters, digits, '-' and '_', and its hash as the file has it:
// "sha256:" and 64 digits. The token is shown once and kept by nobody. PEAL_EIO: there is no
// randomness.
enum peal_err auth_token_new(char token[AUTH_TOKEN_SIZE], char hash[AUTH_HASH_SIZE]);

// The line for auth.tokens, or for the file of auth.tokens_file. false: the name is none (1 to 64
// letters, digits, '.', '_', '-').
bool auth_token_line(char out[AUTH_LINE_SIZE], const char *name, const char *hash, bool admin);

#endif
