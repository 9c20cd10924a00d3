// SPDX-License-Identifier: MIT
// ctest: link=ssl timeout=120
//
// A process with webhooks is killed while it sends. The next one goes on: nothing is lost, and each
// key comes in order; what was under way, or not noted yet, comes once more.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/wait.h>

#include "service/hooked.h"

#define EVENTS 4000
#define KEYS   16

// In the process that will be killed. Nothing of cmocka: a failure is an exit.
static void publish_and_send(struct hooked *hooked)
{
    struct peal_bus_options bus_options = { .workers = 2 };
    const struct service_webhook_options options = {
        .name = "sale", .pattern = "*", .url = hooked->url, .from = PEAL_FROM_BEGINNING
    };
    if (peal_bus_open(&hooked->bus, hooked->folder.url, &bus_options) ||
        service_webhooks_open(&hooked->webhooks, hooked->bus, &hooked->options)) {
        _exit(1);
    }
    for (unsigned i = 0; i < EVENTS; i++) {
        char key[16], data[32];
        (void)snprintf(key, sizeof key, "k%u", i % KEYS);
        (void)snprintf(data, sizeof data, "[%u]", i);
        const struct peal_message message = {
            .type = "a", .key = key, .data = data, .size = strlen(data)
        };
        if (peal_publish(hooked->bus, &message, NULL)) {
            _exit(2);
        }
    }
    if (service_webhook_create(hooked->secret, hooked->webhooks, &options)) {
        _exit(3);
    }
    for (;;) {
        (void)pause();
    }
}

static bool has_nothing_left(struct hooked *hooked, uint64_t number)
{
    (void)number;
    struct peal_subscription_list list;
    assert_int_equal(peal_subscription_list(&list, hooked->bus), PEAL_OK);
    assert_int_equal(list.count, 1);
    bool left = list.subscriptions[0].lag + list.subscriptions[0].unsettled > 0;
    peal_subscription_list_finish(&list);
    return !left;
}

// The number in "data":[17].
static unsigned number_in(const struct request *request)
{
    const char *at = strstr(request->body, "\"data\":[");
    assert_non_null(at);
    return (unsigned)strtoul(at + 8, NULL, 10);
}

static void a_killed_process_loses_nothing_and_the_next_one_goes_on(void **state)
{
    (void)state;
    static const char *const allow[] = { "127.0.0.1" };
    struct hooked hooked = { 0 };
    pthread_mutex_init(&hooked.lock, NULL);
    folder_open(&hooked.folder, "");
    receiver_open_at(&hooked.receiver, "127.0.0.1", NULL, NULL);
    hooked.options = (struct service_webhooks_options){ .directory = hooked.folder.path,
                                                        .allow = allow,
                                                        .allow_count = 1 };
    (void)snprintf(hooked.url, sizeof hooked.url, "http://127.0.0.1:%u/", hooked.receiver.port);
    pid_t child = fork(); // before there is any thread
    assert_true(child >= 0);
    if (child == 0) {
        publish_and_send(&hooked);
    }
    receiver_start(&hooked.receiver);
    receiver_wait(&hooked.receiver, EVENTS / 4);
    int status;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    size_t before = receiver_count(&hooked.receiver);
    assert_true(before < EVENTS);

    hooked_start(&hooked);
    hooked_until(&hooked, has_nothing_left, 0);

    unsigned next[KEYS];
    for (unsigned key = 0; key < KEYS; key++) {
        next[key] = key;
    }
    size_t count = receiver_count(&hooked.receiver);
    for (size_t i = 0; i < count; i++) {
        unsigned number = number_in(receiver_get(&hooked.receiver, i)), key = number % KEYS;
        assert_true(number <= next[key]); // none is left out
        next[key] += number == next[key] ? KEYS : 0;
    }
    for (unsigned key = 0; key < KEYS; key++) {
        assert_int_equal(next[key], EVENTS + key);
    }
    assert_true(hooked_has_dead(&hooked, 0));
    hooked_close(&hooked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_process_loses_nothing_and_the_next_one_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
