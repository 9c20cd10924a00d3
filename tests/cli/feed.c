// SPDX-License-Identifier: MIT
//
// Feed: the same pieces come out however the bytes come in: all at once, or one by one.
#include "support/kit.h"

#include <cli/feed.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct drip {
    const char *text;
    size_t at_once;
    int fd;
};

static void *write_slowly(void *context)
{
    const struct drip *drip = context;
    size_t size = strlen(drip->text);
    for (size_t at = 0; at < size; at += drip->at_once) {
        size_t part = size - at < drip->at_once ? size - at : drip->at_once;
        if (write(drip->fd, drip->text + at, part) != (ssize_t)part) {
            break; // the check of what was read will say so
        }
    }
    (void)close(drip->fd); // a pipe
    return NULL;
}

// All pieces of a text as "line:piece|", what is wrong with a '!' in front.
static const char *pieces_of(const char *text, enum feed_format format, size_t at_once)
{
    static char all[4096];
    int ends[2];
    pthread_t writer;
    struct feed feed;
    struct feed_piece piece;
    size_t used = 0;
    assert_int_equal(pipe(ends), 0);
    struct drip drip = { text, at_once, ends[1] };
    assert_int_equal(pthread_create(&writer, NULL, write_slowly, &drip), 0);
    feed_begin(&feed, ends[0], format);
    all[0] = '\0';
    while (feed_next(&piece, &feed)) {
        int length = snprintf(all + used, sizeof all - used, "%d:%s%.*s|", (int)piece.line,
                              piece.wrong ? "!" : "", (int)piece.size, piece.bytes);
        used += (size_t)length;
        assert_true(used < sizeof all);
    }
    assert_int_equal(feed.error, 0);
    assert_true(feed.read <= strlen(text));
    feed_finish(&feed);
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_int_equal(close(ends[0]), 0);
    return all;
}

static void the_same_pieces_come_out_however_the_bytes_come_in(void **state)
{
    static const struct {
        const char *text, *pieces;
        enum feed_format format; // also found out, if not FEED_UNKNOWN
    } rows[] = {
        { "{\"a\":1}\n\n  {\"b\":2}\r\n{\"c\"", "1:{\"a\":1}|3:{\"b\":2}\r|4:{\"c\"|", FEED_LINES },
        { "\xef\xbb\xbf{}\n", "1:{}|", FEED_LINES },
        { "[\n{\"a\":\"]}\"},\n {\"b\":[{}]} ]\n", "2:{\"a\":\"]}\"}|3:{\"b\":[{}]}|", FEED_ARRAY },
        { "[{} 7, {}, x", "1:{}|1:!7|1:{}|1:!x|", FEED_ARRAY },
        { "[{}] {}", "1:{}|1:!{|", FEED_ARRAY },
        { "[{\"a\"", "1:!{\"a\"|", FEED_ARRAY },
        { "[]", "", FEED_ARRAY },
        { "", "", FEED_LINES },
        { "x\ny :::MLL 1.5 k: {\"a\":\"}\"} z :::MLL {\n:::MLL",
          "2::::MLL 1.5 k: {\"a\":\"}\"}|2::::MLL {|3::::MLL|", FEED_MARKS },
        { "tea\n", "", FEED_UNKNOWN },
    };
    static const size_t steps[] = { 1, 2, 3, 7, 4096 };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t j = 0; j < sizeof steps / sizeof steps[0]; j++) {
            const char *told = pieces_of(rows[i].text, rows[i].format, steps[j]);
            assert_string_equal(told, rows[i].pieces);
            const char *found = pieces_of(rows[i].text, FEED_UNKNOWN, steps[j]);
            assert_string_equal(found, rows[i].pieces);
        }
    }
}

static void a_piece_may_be_larger_than_the_buffer(void **state)
{
    enum { SIZE = 700000 };
    static char text[SIZE + 16];
    struct feed feed;
    struct feed_piece piece;
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    memset(text, 'x', SIZE);
    memcpy(text, "[{\"a\":\"", 7);
    memcpy(text + SIZE - 3, "\"}]", 4);
    assert_int_equal(fwrite(text, 1, SIZE, file), SIZE);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
    feed_begin(&feed, fileno(file), FEED_UNKNOWN);
    assert_true(feed_next(&piece, &feed));
    assert_null(piece.wrong);
    assert_int_equal(piece.size, SIZE - 2);
    assert_memory_equal(piece.bytes, text + 1, piece.size);
    assert_false(feed_next(&piece, &feed));
    feed_finish(&feed);
    assert_int_equal(fclose(file), 0);
}

static void what_cannot_be_read_is_an_error_and_not_an_end(void **state)
{
    struct feed feed;
    struct feed_piece piece;
    (void)state;
    feed_begin(&feed, -1, FEED_LINES);
    assert_false(feed_next(&piece, &feed));
    assert_int_not_equal(feed.error, 0);
    feed_finish(&feed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_pieces_come_out_however_the_bytes_come_in),
        cmocka_unit_test(a_piece_may_be_larger_than_the_buffer),
        cmocka_unit_test(what_cannot_be_read_is_an_error_and_not_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
