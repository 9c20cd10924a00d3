// SPDX-License-Identifier: MIT
// ctest: link=ssl
//
// What webhooks send is verified by npm `standardwebhooks`, in node: with the secret, with the one
// before it, and not with any other. Where there is no node this test is not built
// (CMakeLists.txt).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include "service/hooked.h"

// Node, with a pipe to it, that ends it when it is closed, and one from it.
struct verifier {
    pid_t pid;
    int in;
    FILE *lines;
    unsigned port;
};

static void verifier_open(struct verifier *verifier, const char *secret)
{
    extern char **environ;
    int to[2], from[2];
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, to[0], 0), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, from[1], 1), 0);
    char *const arguments[] = { PEAL_NODE, PEAL_SERVICE_TESTS "/standardwebhooks.mjs",
                                PEAL_NODE_FOLDER, (char *)(uintptr_t)secret, NULL };
    assert_int_equal(posix_spawn(&verifier->pid, PEAL_NODE, &actions, NULL, arguments, environ), 0);
    assert_int_equal(posix_spawn_file_actions_destroy(&actions), 0);
    close(to[0]);
    close(from[1]);
    verifier->in = to[1];
    verifier->lines = fdopen(from[0], "r");
    char line[100];
    assert_non_null(fgets(line, sizeof line, verifier->lines));
    verifier->port = (unsigned)strtoul(line, NULL, 10);
    assert_true(verifier->port > 0);
}

static void verifier_close(struct verifier *verifier)
{
    int status;
    close(verifier->in);
    assert_int_equal(fclose(verifier->lines), 0);
    assert_int_equal(waitpid(verifier->pid, &status, 0), verifier->pid);
}

// What the next request was found to be.
static const char *verifier_next(struct verifier *verifier, char *out, size_t size)
{
    assert_non_null(fgets(out, (int)size, verifier->lines));
    out[strcspn(out, "\n")] = 0;
    return out;
}

static void create(struct hooked *hooked, const struct verifier *verifier, const char *secret)
{
    char url[100];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/hook", verifier->port);
    const struct service_webhook_options more = { .url = url,
                                                  .secret = secret,
                                                  .retry = { .max_attempts = 1 } };
    hooked_create(hooked, "sale", "*", &more);
}

static const char published[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
static const char good[] = "ok order.created application/cloudevents+json";

static void what_is_sent_is_verified_by_others(void **state)
{
    (void)state;
    struct hooked hooked;
    struct verifier verifier;
    char line[200];
    verifier_open(&verifier, published);
    hooked_open(&hooked, NULL, NULL);
    create(&hooked, &verifier, published);
    static const char *const ids[] = { NULL, "plain", "a.b c\r\n", "caf\xc3\xa9" };
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        const struct peal_message message = { .type = "order.created",
                                              .id = ids[i],
                                              .data = "{\"name\":\"\xe2\x82\xac 5\"}",
                                              .size = strlen("{\"name\":\"\xe2\x82\xac 5\"}") };
        assert_int_equal(peal_publish(hooked.bus, &message, NULL), PEAL_OK);
        assert_string_equal(verifier_next(&verifier, line, sizeof line), good);
    }
    hooked_until(&hooked, hooked_has_delivered, 4);
    hooked_close(&hooked);
    verifier_close(&verifier);
}

static void a_receiver_that_has_the_old_secret_verifies_until_it_ends(void **state)
{
    (void)state;
    struct hooked hooked;
    struct verifier verifier;
    char line[200], fresh[SERVICE_SECRET_TEXT], dead[400];
    verifier_open(&verifier, published);
    hooked_open(&hooked, NULL, NULL);
    create(&hooked, &verifier, published);
    assert_int_equal(service_webhook_rotate(fresh, hooked.webhooks, "sale", NULL, 60000), PEAL_OK);
    hooked_say(&hooked, "order.created", NULL, "1");
    assert_string_equal(verifier_next(&verifier, line, sizeof line), good);

    assert_int_equal(service_webhook_rotate(fresh, hooked.webhooks, "sale", NULL, 0), PEAL_OK);
    hooked_say(&hooked, "order.created", NULL, "2");
    assert_string_equal(verifier_next(&verifier, line, sizeof line),
                        "bad No matching signature found");
    assert_int_equal(hooked_dead(&hooked, dead, sizeof dead), 1);
    assert_string_equal(dead, "http_400: HTTP 400: No matching signature found");
    hooked_close(&hooked);
    verifier_close(&verifier);
}

static void a_secret_made_here_is_one_that_others_take(void **state)
{
    (void)state;
    struct hooked hooked;
    struct verifier verifier;
    char line[200];
    hooked_open(&hooked, NULL, NULL);
    struct service_secret made;
    char secret[SERVICE_SECRET_TEXT];
    assert_int_equal(service_secret_make(&made), PEAL_OK);
    service_secret_print(secret, &made);
    verifier_open(&verifier, secret);
    create(&hooked, &verifier, secret);
    hooked_say(&hooked, "order.created", NULL, "1");
    assert_string_equal(verifier_next(&verifier, line, sizeof line), good);
    hooked_close(&hooked);
    verifier_close(&verifier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_is_verified_by_others),
        cmocka_unit_test(a_receiver_that_has_the_old_secret_verifies_until_it_ends),
        cmocka_unit_test(a_secret_made_here_is_one_that_others_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
