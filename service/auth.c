// SPDX-License-Identifier: MIT
//
// Auth: the table, and what an identity may do.
//
// An identity never changes but for its end, so that who has one needs no lock to know its name and
// rights. Its lock guards what it remembers of types, and who watches it.
//
// The memory of types is a table of SLOTS places; a type has one, by its hash, and takes it from
// whoever had it. The whole type is compared, so two of one hash cannot be taken for each other.
// With no memory for a type the patterns are read each time.
#include "service/auth.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <peal/pattern.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SLOTS = 256, TOKEN_LEAST = 22, TOKEN_MOST = 256 }; // 22 of 64 letters each: 128 bits

enum right { PUBLISH, READ, RIGHTS };

struct known {
    char *type;
    bool may[RIGHTS];
};

struct auth_identity {
    atomic_size_t count; // who has it
    atomic_bool revoked;
    char *name;
    unsigned char hash[SHA256_DIGEST_LENGTH];
    char *patterns[RIGHTS]; // one list each; "": nothing
    bool everybody;         // who is not asked for a token
    bool admin;
    pthread_mutex_t lock; // guards the rest
    struct known *slots;  // NULL until they are needed
    struct auth_watch *watches;
    const struct auth_watch *ending; // whose `ended` runs, in the thread `ender`
    pthread_t ender;
    pthread_cond_t ended; // it does not run any more
};

struct auth_table {
    pthread_rwlock_t lock; // guards the rest
    struct auth_identity **identities;
    size_t count;
};

// ---- identities ---------------------------------------------------------------------------------

static void identity_destroy(struct auth_identity *identity)
{
    for (size_t i = 0; identity->slots && i < SLOTS; i++) {
        free(identity->slots[i].type);
    }
    free(identity->slots);
    free(identity->patterns[PUBLISH]);
    free(identity->patterns[READ]);
    free(identity->name);
    (void)pthread_mutex_destroy(&identity->lock); // nobody holds it
    (void)pthread_cond_destroy(&identity->ended);
    free(identity);
}

// Relaxed: who counts up has it already.
struct auth_identity *auth_identity_ref(struct auth_identity *identity)
{
    atomic_fetch_add_explicit(&identity->count, 1, memory_order_relaxed);
    return identity;
}

// Release and acquire: what others did with it is done before the last one destroys it.
void auth_identity_unref(struct auth_identity *identity)
{
    if (identity && atomic_fetch_sub_explicit(&identity->count, 1, memory_order_acq_rel) == 1) {
        identity_destroy(identity);
    }
}

static char *copy(const char *text)
{
    size_t size = strlen(text) + 1;
    char *out = malloc(size);
    return out ? memcpy(out, text, size) : NULL;
}

// "a", "!b" is one pattern, "a,!b".
static char *join(const struct service_list *list)
{
    size_t size = 1, used = 0;
    for (size_t i = 0; i < list->count; i++) {
        size += strlen(list->items[i]) + 1;
    }
    char *text = calloc(1, size);
    for (size_t i = 0; text && i < list->count; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "," : "", list->items[i]);
    }
    return text;
}

static struct auth_identity *identity_create(const struct service_token *token)
{
    struct auth_identity *identity = calloc(1, sizeof *identity);
    if (!identity) {
        return NULL;
    }
    atomic_init(&identity->count, 1);
    (void)pthread_mutex_init(&identity->lock, NULL); // cannot fail on Linux
    (void)pthread_cond_init(&identity->ended, NULL);
    identity->name = copy(token->name);
    identity->patterns[PUBLISH] = join(&token->publish);
    identity->patterns[READ] = join(&token->subscribe);
    identity->admin = token->admin;
    memcpy(identity->hash, token->hash, sizeof identity->hash);
    if (!identity->name || !identity->patterns[PUBLISH] || !identity->patterns[READ]) {
        identity_destroy(identity);
        return NULL;
    }
    return identity;
}

static bool same(const struct auth_identity *left, const struct auth_identity *right)
{
    return left->everybody == right->everybody && left->admin == right->admin &&
           strcmp(left->name, right->name) == 0 &&
           memcmp(left->hash, right->hash, sizeof left->hash) == 0 &&
           strcmp(left->patterns[PUBLISH], right->patterns[PUBLISH]) == 0 &&
           strcmp(left->patterns[READ], right->patterns[READ]) == 0;
}

// ---- asking -------------------------------------------------------------------------------------

const char *auth_name(const struct auth_identity *identity)
{
    return identity->name;
}

// Relaxed: no other memory hangs on it; who is revoked hears of it soon.
bool auth_is_revoked(const struct auth_identity *identity)
{
    return atomic_load_explicit(&identity->revoked, memory_order_relaxed);
}

bool auth_is_anybody(const struct auth_identity *identity)
{
    return identity->everybody;
}

bool auth_is_admin(const struct auth_identity *identity)
{
    return identity->admin && !auth_is_revoked(identity);
}

// FNV-1a: short texts, and a bad one costs a look at the patterns.
static size_t slot_of(const char *type)
{
    uint32_t hash = 2166136261U;
    for (; *type; type++) {
        hash = (hash ^ (unsigned char)*type) * 16777619U;
    }
    return (hash ^ hash >> 16) % SLOTS;
}

// false: it could not be found out, for lack of memory or because it is no type.
static bool look(bool *out, const char *pattern, const char *type)
{
    *out = false;
    return !*pattern || peal_pattern_matches(out, pattern, type) == PEAL_OK;
}

static bool may_now(struct auth_identity *identity, const char *type, enum right right)
{
    struct known known = { 0 };
    if (!look(&known.may[PUBLISH], identity->patterns[PUBLISH], type) ||
        !look(&known.may[READ], identity->patterns[READ], type)) {
        return false;
    }
    if (!identity->slots) {
        identity->slots = calloc(SLOTS, sizeof *identity->slots);
    }
    known.type = identity->slots ? copy(type) : NULL;
    if (known.type) {
        struct known *slot = &identity->slots[slot_of(type)];
        free(slot->type);
        *slot = known;
    }
    return known.may[right];
}

static bool may(struct auth_identity *identity, const char *type, enum right right)
{
    if (auth_is_revoked(identity)) {
        return false;
    }
    if (identity->everybody) {
        return true;
    }
    const char *pattern = identity->patterns[right];
    if (!*pattern || strcmp(pattern, "*") == 0) {
        return *pattern && *type != '$'; // what the pattern means, without reading it
    }
    (void)pthread_mutex_lock(&identity->lock);
    const struct known *slot = identity->slots ? &identity->slots[slot_of(type)] : NULL;
    bool hit = slot && slot->type && strcmp(slot->type, type) == 0;
    bool answer = hit ? slot->may[right] : may_now(identity, type, right);
    (void)pthread_mutex_unlock(&identity->lock);
    return answer;
}

bool auth_may_publish(struct auth_identity *identity, const char *type)
{
    return may(identity, type, PUBLISH);
}

bool auth_may_read(struct auth_identity *identity, const char *type)
{
    return may(identity, type, READ);
}

bool auth_may_read_all(struct auth_identity *identity)
{
    return identity->everybody && !auth_is_revoked(identity);
}

// ---- watching -----------------------------------------------------------------------------------

static void unlink_watch(struct auth_identity *identity, struct auth_watch *watch)
{
    if (watch->previous) {
        watch->previous->next = watch->next;
    } else {
        identity->watches = watch->next;
    }
    if (watch->next) {
        watch->next->previous = watch->previous;
    }
    watch->watching = false;
}

bool auth_watch(struct auth_identity *identity, struct auth_watch *watch)
{
    (void)pthread_mutex_lock(&identity->lock);
    bool lives = !auth_is_revoked(identity);
    if (lives) {
        watch->previous = NULL;
        watch->next = identity->watches;
        if (watch->next) {
            watch->next->previous = watch;
        }
        identity->watches = watch;
        watch->watching = true;
    }
    (void)pthread_mutex_unlock(&identity->lock);
    return lives;
}

void auth_unwatch(struct auth_identity *identity, struct auth_watch *watch)
{
    (void)pthread_mutex_lock(&identity->lock);
    if (watch->watching) {
        unlink_watch(identity, watch);
    }
    while (identity->ending == watch && !pthread_equal(identity->ender, pthread_self())) {
        (void)pthread_cond_wait(&identity->ended, &identity->lock);
    }
    (void)pthread_mutex_unlock(&identity->lock);
}

// Under the lock no watch is added once it is revoked, so this ends.
static void identity_revoke(struct auth_identity *identity)
{
    (void)pthread_mutex_lock(&identity->lock);
    atomic_store_explicit(&identity->revoked, true, memory_order_relaxed);
    identity->ender = pthread_self();
    while (identity->watches) {
        struct auth_watch *watch = identity->watches;
        unlink_watch(identity, watch);
        identity->ending = watch;
        (void)pthread_mutex_unlock(&identity->lock);
        watch->ended(identity, watch->context); // the watch may be gone after it
        (void)pthread_mutex_lock(&identity->lock);
        identity->ending = NULL;
        (void)pthread_cond_broadcast(&identity->ended);
    }
    (void)pthread_mutex_unlock(&identity->lock);
}

// ---- tables -------------------------------------------------------------------------------------

static void drop_all(struct auth_identity **identities, size_t count)
{
    for (size_t i = 0; identities && i < count; i++) {
        auth_identity_unref(identities[i]);
    }
    free(identities);
}

// An identity a token; one for everybody where there is none. NULL: no memory.
static struct auth_identity **make_all(const struct service_token_list *tokens, size_t *out_count)
{
    static const struct service_token anybody = { .name = "anybody", .admin = true };
    size_t count = tokens->count ? tokens->count : 1;
    struct auth_identity **identities = calloc(count, sizeof(void *));
    for (size_t i = 0; identities && i < count; i++) {
        identities[i] = identity_create(tokens->count ? &tokens->items[i] : &anybody);
        if (!identities[i]) {
            drop_all(identities, i);
            return NULL;
        }
        identities[i]->everybody = tokens->count == 0;
    }
    *out_count = count;
    return identities;
}

enum peal_err auth_table_open(struct auth_table **out, const struct service_config *config)
{
    struct auth_table *table = calloc(1, sizeof *table);
    if (!table) {
        return PEAL_ENOMEM;
    }
    table->identities = make_all(&config->auth_tokens, &table->count);
    if (!table->identities) {
        free(table);
        return PEAL_ENOMEM;
    }
    // A reload must not wait for a moment in which nobody asks. None of these fails on Linux.
    pthread_rwlockattr_t attributes;
    (void)pthread_rwlockattr_init(&attributes);
    (void)pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    (void)pthread_rwlock_init(&table->lock, &attributes);
    (void)pthread_rwlockattr_destroy(&attributes);
    *out = table;
    return PEAL_OK;
}

void auth_table_close(struct auth_table *table)
{
    if (table) {
        drop_all(table->identities, table->count);
        (void)pthread_rwlock_destroy(&table->lock);
        free(table);
    }
}

static int by_hash(const void *left, const void *right)
{
    const struct auth_identity *const *a = left, *const *b = right;
    return memcmp((*a)->hash, (*b)->hash, sizeof(*a)->hash);
}

// Those that are the same go over to `fresh`, which are sorted by hash, and those they replace go
// the other way; what is left in `old` afterwards is its own, or the twin of one that stayed.
static void keep_same(struct auth_identity **old, size_t old_count, struct auth_identity **fresh,
                      size_t fresh_count)
{
    for (size_t i = 0; i < old_count; i++) {
        struct auth_identity **twin = bsearch(&old[i], fresh, fresh_count, sizeof(void *), by_hash);
        if (twin && same(old[i], *twin)) {
            struct auth_identity *kept = old[i];
            old[i] = *twin;
            *twin = kept;
        }
    }
}

enum peal_err auth_table_reload(struct auth_table *table, const struct service_config *config)
{
    size_t count = 0;
    struct auth_identity **fresh = make_all(&config->auth_tokens, &count);
    if (!fresh) {
        return PEAL_ENOMEM;
    }
    qsort(fresh, count, sizeof(void *), by_hash);
    (void)pthread_rwlock_wrlock(&table->lock);
    keep_same(table->identities, table->count, fresh, count);
    struct auth_identity **old = table->identities;
    size_t old_count = table->count;
    table->identities = fresh;
    table->count = count;
    (void)pthread_rwlock_unlock(&table->lock);
    for (size_t i = 0; i < old_count; i++) {
        identity_revoke(old[i]);
    }
    drop_all(old, old_count);
    return PEAL_OK;
}

// ---- finding ------------------------------------------------------------------------------------

// Every hash is compared, and which one it was is put together without a branch.
static size_t find_hash(const struct auth_table *table, const unsigned char *hash)
{
    size_t found = 0;
    for (size_t i = 0; i < table->count; i++) {
        int differs = CRYPTO_memcmp(table->identities[i]->hash, hash, SHA256_DIGEST_LENGTH);
        found |= (i + 1) & ((size_t)0 - (size_t)(differs == 0));
    }
    return found;
}

enum auth_answer auth_find_token(struct auth_identity **out, struct auth_table *table,
                                 const char *token, size_t size)
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    bool good = token && size >= TOKEN_LEAST && size <= TOKEN_MOST;
    enum auth_answer answer = token ? AUTH_REFUSED : AUTH_MISSING;
    if (good) {
        (void)SHA256((const unsigned char *)token, size, hash); // returns its third argument
    }
    (void)pthread_rwlock_rdlock(&table->lock);
    bool everybody = table->identities[0]->everybody;
    size_t found = everybody ? 1 : good ? find_hash(table, hash) : 0;
    if (found > 0) {
        *out = auth_identity_ref(table->identities[found - 1]);
        answer = AUTH_FOUND;
    }
    (void)pthread_rwlock_unlock(&table->lock);
    return answer;
}

enum auth_answer auth_find(struct auth_identity **out, struct auth_table *table, const char *header)
{
    static const char scheme[] = "Bearer ";
    const char *token = header;
    if (header && strncasecmp(header, scheme, sizeof scheme - 1) == 0) {
        token = header + sizeof scheme - 1;
        token += strspn(token, " ");
    } else if (header) {
        token = ""; // another scheme: refused, but where nobody is asked
    }
    return auth_find_token(out, table, token, token ? strlen(token) : 0);
}
