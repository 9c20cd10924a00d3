// SPDX-License-Identifier: MIT
//
// Base: a bus on sqlite: in a world whose disk is the machine's, and a second connection to its
// file, as another program would have. Include cmocka.h first.
//
//     struct base base;
//     base_open(&base, "?workers=0");
//     say(&base.stage, "a", "1");
//     assert_int_equal(base_ask(&base, "SELECT count(*) FROM events"), 1);
//     base_reopen(&base);                     // the bus is closed and opened again
//     base_close(&base);                      // with all files
#ifndef PEAL_TESTS_BASE_H
#define PEAL_TESTS_BASE_H

#include <sqlite3.h>

#include "support/folder.h"
#include "support/stage.h"
#include "testing/world.h"

struct base {
    struct folder folder;
    struct stage stage;
    char path[80], url[200];
    sqlite3 *other; // NULL: not asked for yet
};

static inline enum peal_err base_try(struct base *base)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .world = base->stage.world };
    base->stage.bus = NULL;
    return peal_bus_open(&base->stage.bus, base->url, &options);
}

// A world and a path, and nothing there yet.
static inline void base_begin(struct base *base, const char *options)
{
    *base = (struct base){ 0 };
    folder_open(&base->folder, "");
    (void)snprintf(base->path, sizeof base->path, "%s/e.db", base->folder.path);
    (void)snprintf(base->url, sizeof base->url, "sqlite:%s%s", base->path, options);
    assert_int_equal(peal_world_open(&base->stage.world, 1), PEAL_OK);
    pl_world_use_real_disk(base->stage.world);
}

static inline void base_open(struct base *base, const char *options)
{
    base_begin(base, options);
    enum peal_err err = base_try(base);
    assert_string_equal(err ? peal_error_sentence() : "", "");
}

static inline void base_reopen(struct base *base)
{
    peal_bus_close(base->stage.bus);
    assert_int_equal(base_try(base), PEAL_OK);
}

static inline void base_close(struct base *base)
{
    assert_int_equal(sqlite3_close(base->other), SQLITE_OK);
    stage_close(&base->stage);
    folder_close(&base->folder);
}

static inline sqlite3 *base_other(struct base *base)
{
    if (!base->other) {
        assert_int_equal(sqlite3_open(base->path, &base->other), SQLITE_OK);
    }
    return base->other;
}

// What another program does to the file.
static inline void base_run(struct base *base, const char *sql)
{
    assert_int_equal(sqlite3_exec(base_other(base), sql, NULL, NULL, NULL), SQLITE_OK);
}

// The number that a statement gives.
static inline int64_t base_ask(struct base *base, const char *sql)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(base_other(base), sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    return number;
}

// The data of all events, one space between.
static inline const char *base_read(const struct base *base, struct diary *diary)
{
    peal_reader *reader;
    const peal_event *event;
    enum peal_err err;
    diary_clear(diary);
    assert_int_equal(peal_reader_open(&reader, base->stage.bus, NULL), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        diary_note(diary, event);
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    peal_reader_close(reader);
    return diary->text;
}

#endif
