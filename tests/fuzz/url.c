// SPDX-License-Identifier: MIT
//
// Any text: it is a URL or it is refused with a sentence, and all memory comes back. What was
// understood is written down again with everything encoded; that must mean the same.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/url.h"
#include "unit/base_failing.h"

// An assert that a build without asserts keeps.
static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

// Every byte may become three, and a line of punctuation.
#define WRITTEN_MAX (3 * PL_URL_MAX + 1024)

struct writer {
    char text[WRITTEN_MAX];
    size_t size;
};

static void put(struct writer *writer, const char *text)
{
    size_t size = strlen(text);
    check(writer->size + size < WRITTEN_MAX);
    memcpy(writer->text + writer->size, text, size + 1);
    writer->size += size;
}

static void put_encoded(struct writer *writer, const char *text)
{
    for (; *text; text++) {
        char code[4];
        (void)snprintf(code, sizeof code, "%%%02x", (unsigned char)*text);
        put(writer, code);
    }
}

static void put_url(struct writer *writer, const struct pl_url *url)
{
    bool address = strchr(url->host, ':') != NULL;
    char port[8];
    put(writer, url->scheme);
    put(writer, "://");
    if (url->user) {
        put_encoded(writer, url->user);
        if (url->password) {
            put(writer, ":");
            put_encoded(writer, url->password);
        }
        put(writer, "@");
    }
    put(writer, address ? "[" : "");
    put(writer, url->host);
    put(writer, address ? "]" : "");
    if (url->port) {
        (void)snprintf(port, sizeof port, ":%u", url->port);
        put(writer, port);
    }
    // The path's first '/' ends the host and so cannot be encoded.
    if (url->path[0] == '/') {
        put(writer, "/");
        put_encoded(writer, url->path + 1);
    }
    for (size_t i = 0; i < url->count; i++) {
        put(writer, i ? "&" : "?");
        put(writer, url->parameters[i].name);
        put(writer, "=");
        put_encoded(writer, url->parameters[i].value);
    }
}

static bool same_text(const char *left, const char *right)
{
    return left == right || (left && right && strcmp(left, right) == 0);
}

static void expect_same(const struct pl_url *left, const struct pl_url *right)
{
    check(same_text(left->scheme, right->scheme));
    check(same_text(left->user, right->user));
    check(same_text(left->password, right->password));
    check(same_text(left->host, right->host));
    check(left->port == right->port);
    check(same_text(left->path, right->path));
    check(left->count == right->count);
    for (size_t i = 0; i < left->count; i++) {
        check(same_text(left->parameters[i].name, right->parameters[i].name));
        check(same_text(left->parameters[i].value, right->parameters[i].value));
    }
}

static void read_parameters(const struct pl_url *url)
{
    for (size_t i = 0; i < url->count; i++) {
        const char *name = url->parameters[i].name;
        uint64_t size = 0;
        int64_t duration = 0;
        bool answer = false;
        // Each may refuse: what matters is that it ends, and what it lets through.
        (void)pl_url_size(&size, url, name);
        (void)pl_url_duration(&duration, url, name);
        (void)pl_url_bool(&answer, url, name);
        check(size <= INT64_MAX && duration >= 0);
    }
    static const char *const known[] = { "segment", "sync", NULL };
    check((pl_url_check(url, known) != PEAL_OK) == (pl_url_unknown(url, known) != NULL));
}

// A path that neither is empty nor begins with '/' cannot follow a host, and "//" begins one.
static bool can_be_written(const struct pl_url *url)
{
    return url->path[0] == '/' || url->path[0] == 0;
}

// The name is libFuzzer's.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); // NOLINT
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct failing failing;
    struct pl_seams seams = failing_seams(&failing, 0);
    char *text = pl_copy_bytes(&pl_seams_real, data, size);
    struct pl_url *url = NULL;
    check(text);

    enum peal_err err = pl_url_create(&url, &seams, text);
    if (err) {
        check(!url && peal_error_sentence()[0]);
    } else {
        read_parameters(url);
    }
    if (!err && can_be_written(url)) {
        struct writer writer = { .size = 0 };
        struct pl_url *again = NULL;
        put_url(&writer, url);
        err = pl_url_create(&again, &seams, writer.text);
        check(!err || err == PEAL_ELIMIT); // encoding may make it too long
        if (!err) {
            expect_same(url, again);
        }
        pl_url_destroy(again);
    }
    pl_url_destroy(url);
    check(failing.living == 0);
    pl_release(&pl_seams_real, text);
    return 0;
}
