// SPDX-License-Identifier: MIT
//
// The file of webhooks: what is written is read, and what is not what we wrote is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "service/webhook_store.h"
#include "support/folder.h"

struct shelf {
    struct folder folder;
    char path[200];
    struct service_plan *plans[2];
};

static void shelf_open(struct shelf *shelf)
{
    const struct service_header headers[] = { { "X-A", "b \"c\"" }, { "X-D", "e" } };
    struct service_webhook_options options = {
        .name = "sale",
        .pattern = "order.*",
        .label = "caf\xc3\xa9",
        .url = "https://hooks.example/a?b=c",
        .secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        .headers = headers,
        .header_count = 2,
        .timeout_ms = 1234,
        .concurrency = 3,
        .retry = { 1, 2, 3.5, 4, 5, true, 6, true, "timeout, connect" },
        .from = PEAL_FROM_TIME,
        .from_position = 7,
        .from_time_ns = 1234567890123456789,
    };
    folder_open(&shelf->folder, "");
    (void)snprintf(shelf->path, sizeof shelf->path, "%s/webhooks.json", shelf->folder.path);
    assert_int_equal(service_plan_create(&shelf->plans[0], &options), PEAL_OK);
    shelf->plans[0]->secrets[1] = shelf->plans[0]->secrets[0];
    shelf->plans[0]->secrets[1].until_ms = 1700000000000;
    shelf->plans[0]->secret_count = 2;
    shelf->plans[0]->disabled = true;
    options = (struct service_webhook_options){
        .name = "b", .pattern = "*", .url = "http://b/", .secret = options.secret
    };
    assert_int_equal(service_plan_create(&shelf->plans[1], &options), PEAL_OK);
}

static void shelf_close(struct shelf *shelf)
{
    service_plan_unref(shelf->plans[0]);
    service_plan_unref(shelf->plans[1]);
    folder_close(&shelf->folder);
}

static size_t shelf_text(struct shelf *shelf, char *out, size_t size)
{
    FILE *file = fopen(shelf->path, "re");
    assert_non_null(file);
    size_t length = fread(out, 1, size - 1, file);
    out[length] = 0;
    assert_int_equal(fclose(file), 0);
    return length;
}

// Without emptying the file first: some file systems sync those that were, when they are closed.
static void shelf_put(struct shelf *shelf, const char *text, size_t size)
{
    int file = open(shelf->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, text, size, 0), size);
    assert_int_equal(ftruncate(file, (off_t)size), 0);
    assert_int_equal(close(file), 0);
}

static enum peal_err shelf_read(struct shelf *shelf, size_t *out_count)
{
    struct service_plan **plans = NULL;
    size_t count = 0;
    enum peal_err err = service_store_read(&plans, &count, shelf->folder.path);
    assert_true((err == PEAL_OK) == (plans != NULL));
    for (size_t i = 0; i < count; i++) {
        service_plan_unref(plans[i]);
    }
    free(plans);
    *out_count = count;
    return err;
}

static void assert_same(const struct service_plan *a, const struct service_plan *b)
{
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->pattern, b->pattern);
    assert_string_equal(a->label, b->label);
    assert_string_equal(a->url, b->url);
    assert_string_equal(a->host, b->host);
    assert_int_equal(a->port, b->port);
    assert_int_equal(a->secret_count, b->secret_count);
    for (size_t i = 0; i < a->secret_count; i++) {
        assert_int_equal(a->secrets[i].size, b->secrets[i].size);
        assert_memory_equal(a->secrets[i].bytes, b->secrets[i].bytes, a->secrets[i].size);
        assert_int_equal(a->secrets[i].until_ms, b->secrets[i].until_ms);
    }
    assert_int_equal(a->header_count, b->header_count);
    for (size_t i = 0; i < a->header_count; i++) {
        assert_string_equal(a->headers[i].name, b->headers[i].name);
        assert_string_equal(a->headers[i].value, b->headers[i].value);
    }
    assert_int_equal(a->timeout_ms, b->timeout_ms);
    assert_int_equal(a->concurrency, b->concurrency);
    assert_int_equal(a->retry.immediate, b->retry.immediate);
    assert_int_equal(a->retry.initial_ms, b->retry.initial_ms);
    assert_true(a->retry.coefficient == b->retry.coefficient);
    assert_int_equal(a->retry.max_ms, b->retry.max_ms);
    assert_int_equal(a->retry.max_attempts, b->retry.max_attempts);
    assert_int_equal(a->retry.unlimited, b->retry.unlimited);
    assert_int_equal(a->retry.max_elapsed_ms, b->retry.max_elapsed_ms);
    assert_int_equal(a->retry.no_jitter, b->retry.no_jitter);
    assert_true((a->retry.non_retryable == NULL) == (b->retry.non_retryable == NULL));
    if (a->retry.non_retryable) {
        assert_string_equal(a->retry.non_retryable, b->retry.non_retryable);
    }
    assert_int_equal(a->from, b->from);
    assert_int_equal(a->from_position, b->from_position);
    assert_int_equal(a->from_time_ns, b->from_time_ns);
    assert_int_equal(a->disabled, b->disabled);
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    struct shelf shelf;
    struct service_plan **plans;
    size_t count;
    shelf_open(&shelf);
    assert_int_equal(service_store_write(shelf.folder.path, shelf.plans, 2), PEAL_OK);
    assert_int_equal(service_store_read(&plans, &count, shelf.folder.path), PEAL_OK);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_same(plans[i], shelf.plans[i]);
        service_plan_unref(plans[i]);
    }
    free(plans);
    shelf_close(&shelf);
}

static void no_file_is_no_webhooks(void **state)
{
    (void)state;
    struct shelf shelf;
    size_t count = 7;
    shelf_open(&shelf);
    assert_int_equal(shelf_read(&shelf, &count), PEAL_OK);
    assert_int_equal(count, 0);
    assert_int_equal(service_store_write(shelf.folder.path, shelf.plans, 0), PEAL_OK);
    assert_int_equal(shelf_read(&shelf, &count), PEAL_OK);
    assert_int_equal(count, 0);
    shelf_close(&shelf);
}

static void the_file_is_the_owner_s_alone_whatever_lay_there_before(void **state)
{
    (void)state;
    struct shelf shelf;
    struct stat about;
    char other[200], newer[220];
    shelf_open(&shelf);
    (void)snprintf(other, sizeof other, "%s/other", shelf.folder.path);
    (void)snprintf(newer, sizeof newer, "%s.new", shelf.path);
    int file = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(file >= 0);
    assert_int_equal(close(file), 0);
    assert_int_equal(symlink(other, newer), 0); // what a crash, or somebody, has left
    mode_t mask = umask(0);
    assert_int_equal(service_store_write(shelf.folder.path, shelf.plans, 2), PEAL_OK);
    (void)umask(mask);
    assert_int_equal(lstat(shelf.path, &about), 0);
    assert_true(S_ISREG(about.st_mode));
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_int_equal(stat(other, &about), 0);
    assert_int_equal(about.st_size, 0);
    assert_int_not_equal(lstat(newer, &about), 0);
    shelf_close(&shelf);
}

static void a_file_that_is_cut_anywhere_is_refused_and_left_alone(void **state)
{
    (void)state;
    struct shelf shelf;
    static char text[8192], after[8192];
    size_t count;
    shelf_open(&shelf);
    assert_int_equal(service_store_write(shelf.folder.path, shelf.plans, 2), PEAL_OK);
    size_t length = shelf_text(&shelf, text, sizeof text);
    for (size_t size = 0; size < length; size++) {
        shelf_put(&shelf, text, size);
        assert_int_equal(shelf_read(&shelf, &count), PEAL_ECORRUPT);
        assert_int_equal(shelf_text(&shelf, after, sizeof after), size);
    }
    shelf_close(&shelf);
}

// Each byte changed: it is refused, or it was a byte of a text or a number, and is read as such.
static void a_file_with_a_byte_changed_never_does_more_harm_than_another_text(void **state)
{
    (void)state;
    struct shelf shelf;
    static char text[8192];
    size_t count, refused = 0;
    shelf_open(&shelf);
    assert_int_equal(service_store_write(shelf.folder.path, shelf.plans, 2), PEAL_OK);
    size_t length = shelf_text(&shelf, text, sizeof text);
    for (size_t i = 0; i < length; i++) {
        text[i] ^= 0x15;
        shelf_put(&shelf, text, length);
        text[i] ^= 0x15;
        enum peal_err err = shelf_read(&shelf, &count);
        assert_true(err == PEAL_ECORRUPT || (err == PEAL_OK && count == 2));
        refused += err != PEAL_OK;
    }
    assert_true(refused > length / 2);
    shelf_close(&shelf);
}

static void a_file_of_another_version_or_with_more_in_it_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"version\":2,\"webhooks\":[]}",
        "{\"version\":1}",
        "{\"version\":\"1\",\"webhooks\":[]}",
        "{\"version\":1,\"webhooks\":{}}",
        "{\"version\":1,\"webhooks\":[],\"more\":1}",
        "{\"version\":1,\"version\":1,\"webhooks\":[]}",
        "{\"version\":1,\"webhooks\":[1]}",
        "{\"version\":1,\"webhooks\":[{}]}",
        "{\"version\":1,\"webhooks\":[]} x",
    };
    struct shelf shelf;
    size_t count;
    shelf_open(&shelf);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        shelf_put(&shelf, bad[i], strlen(bad[i]));
        assert_int_equal(shelf_read(&shelf, &count), PEAL_ECORRUPT);
        assert_non_null(strstr(peal_error_sentence(), "webhooks.json"));
        assert_null(strstr(peal_error_sentence(), "whsec_"));
    }
    shelf_close(&shelf);
}

static void what_cannot_be_read_or_written_is_said(void **state)
{
    (void)state;
    struct shelf shelf;
    size_t count;
    char nowhere[200];
    shelf_open(&shelf);
    (void)snprintf(nowhere, sizeof nowhere, "%s/nowhere", shelf.folder.path);
    assert_int_equal(service_store_write(nowhere, shelf.plans, 2), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "No such file"));
    assert_int_equal(mkdir(shelf.path, 0700), 0); // a directory of that name
    assert_int_equal(shelf_read(&shelf, &count), PEAL_EIO);
    assert_int_equal(service_store_write(shelf.folder.path, shelf.plans, 2), PEAL_EIO);
    assert_int_equal(rmdir(shelf.path), 0);
    int file = open(shelf.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(file, SERVICE_WEBHOOK_FILE_MAX + 1), 0);
    assert_int_equal(close(file), 0);
    assert_int_equal(shelf_read(&shelf, &count), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "too long"));
    shelf_close(&shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(no_file_is_no_webhooks),
        cmocka_unit_test(the_file_is_the_owner_s_alone_whatever_lay_there_before),
        cmocka_unit_test(a_file_that_is_cut_anywhere_is_refused_and_left_alone),
        cmocka_unit_test(a_file_with_a_byte_changed_never_does_more_harm_than_another_text),
        cmocka_unit_test(a_file_of_another_version_or_with_more_in_it_is_refused),
        cmocka_unit_test(what_cannot_be_read_or_written_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
