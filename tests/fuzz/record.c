// SPDX-License-Identifier: MIT
//
// Records of the state table from strangers: names, places and dead letters. Whatever the bytes
// are, reading refuses them or gives what lies within them; what was read, written again, reads the
// same.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bus/record.h"

// An assert that a build without asserts keeps.
static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void *room_of(size_t size)
{
    void *room = malloc(size ? size : 1);
    check(room != NULL);
    return room;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void check_definition(const char *bytes, size_t size)
{
    struct pl_definition one, two;
    if (!pl_definition_read(&one, bytes, size)) {
        return;
    }
    size_t needed = pl_definition_write(NULL, 0, &one);
    char *again = room_of(needed);
    check(pl_definition_write(again, needed, &one) == needed && needed <= size);
    check(pl_definition_read(&two, again, needed));
    check(strcmp(one.pattern, two.pattern) == 0);
    check(same_text(one.options.label, two.options.label));
    check(same_text(one.options.retry.non_retryable, two.options.retry.non_retryable));
    check(one.has_batch == two.has_batch && one.has_filter == two.has_filter);
    check(one.options.mode == two.options.mode && one.options.mailbox == two.options.mailbox);
    check(one.options.retry.max_ms == two.options.retry.max_ms);
    free(again);
}

static void check_place(const char *bytes, size_t size)
{
    struct pl_place one, two;
    if (!pl_place_read(&one, bytes, size)) {
        return;
    }
    struct pl_unsettled *list = room_of(one.count * sizeof *list);
    size_t count = pl_place_list(list, bytes, size);
    check(count <= one.count);
    char *again = room_of(pl_place_size(count));
    size_t length = pl_place_begin(again, &one);
    for (size_t i = 0; i < count; i++) {
        check(list[i].position > (i ? list[i - 1].position : 0)); // sorted, each once
        length = pl_place_add(again, length, &list[i]);
    }
    check(length <= pl_place_size(count));
    check(pl_place_read(&two, again, length));
    check(two.next == one.next && two.count == count && two.lost == one.lost);
    check(two.clean == one.clean && two.exact == one.exact && two.paused == one.paused);
    free(again);
    free(list);
}

static void check_letter(const char *bytes, size_t size)
{
    struct pl_letter one, two;
    if (!pl_letter_read(&one, bytes, size)) {
        return;
    }
    const char *event = one.event;
    check(event >= bytes && event + one.event_size == bytes + size);
    size_t needed = pl_letter_write(NULL, 0, &one);
    check(needed <= size);
    char *again = room_of(needed);
    check(pl_letter_write(again, needed, &one) == needed);
    if (one.event_size) {
        memcpy(again + needed - one.event_size, event, one.event_size);
    }
    check(pl_letter_read(&two, again, needed));
    check(strcmp(one.code, two.code) == 0 && strcmp(one.text, two.text) == 0);
    check(strcmp(one.name, two.name) == 0 && strcmp(one.label, two.label) == 0);
    check(one.attempts == two.attempts && one.edited == two.edited);
    check(one.event_size == two.event_size);
    free(again);
}

static void check_key(const char *bytes, size_t size)
{
    char *key = room_of(size + 1);
    memcpy(key, bytes, size);
    key[size] = '\0';
    uint64_t id;
    if (pl_letter_parse(key, &id)) {
        char again[PL_LETTER_KEY];
        pl_letter_name(again, id);
        check(strcmp(key, again) == 0);
    }
    free(key);
}

// The name is libFuzzer's.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); // NOLINT
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = size ? (const char *)data : "";
    check_definition(bytes, size);
    check_place(bytes, size);
    check_letter(bytes, size);
    check_key(bytes, size);
    return 0;
}
