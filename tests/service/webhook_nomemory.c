// SPDX-License-Identifier: MIT
// ctest: threaded link=ssl timeout=200 wrap=malloc,calloc,realloc,free,mmap,munmap,mprotect
// ctest: wrap=pthread_create,pthread_join,eventfd,timerfd_create,epoll_create1,epoll_ctl,close
//
// No memory, and no threads, for webhooks: the n-th request is refused, for every n there is. A
// call says so and has changed nothing, or succeeds all the same; an event that cannot be sent now
// is sent later.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/hooked.h"
#include "support/machine.h"

static bool is_want(enum peal_err err)
{
    return err == PEAL_ENOMEM || err == PEAL_EAGAIN;
}

// Runs `call` again and again, each time with another request refused, until none was.
typedef enum peal_err hooked_call(struct hooked *hooked);

static void sweep(struct hooked *hooked, hooked_call *call,
                  void (*after)(struct hooked *hooked, bool done))
{
    bool refused = true;
    for (unsigned nth = 1; refused; nth++) {
        assert_true(nth < 2000);
        machine_refuse(MACHINE_MEMORY | MACHINE_THREADS, nth, false);
        enum peal_err err = call(hooked);
        refused = machine_refused() > 0;
        machine_relent();
        if (err && !is_want(err)) {
            fail_msg("request %u: %s: %s", nth, peal_err_name(err), peal_error_sentence());
        }
        assert_true(refused || err == PEAL_OK);
        after(hooked, err == PEAL_OK);
    }
}

static enum peal_err open_them(struct hooked *hooked)
{
    return service_webhooks_open(&hooked->webhooks, hooked->bus, &hooked->options);
}

static void close_them(struct hooked *hooked, bool done)
{
    if (done) {
        assert_true(service_webhook_exists(hooked->webhooks, "sale"));
        service_webhooks_close(hooked->webhooks);
    }
}

static void hooked_begin(struct hooked *hooked)
{
    hooked_prepare(hooked, NULL, NULL);
    (void)snprintf(hooked->folder.url, sizeof hooked->folder.url, "mem:");
    hooked_start(hooked);
}

static void webhooks_open_or_say_that_they_cannot(void **state)
{
    (void)state;
    struct hooked hooked;
    hooked_begin(&hooked);
    hooked_create(&hooked, "sale", "*", NULL);
    service_webhooks_close(hooked.webhooks);
    sweep(&hooked, open_them, close_them);
    assert_int_equal(open_them(&hooked), PEAL_OK);
    hooked_say(&hooked, "a", NULL, "1");
    hooked_until(&hooked, hooked_has_delivered, 1);
    hooked_close(&hooked);
}

static enum peal_err create_one(struct hooked *hooked)
{
    static const struct service_header headers[] = { { "X-A", "b" } };
    const struct service_webhook_options options = { .name = "one",
                                                     .pattern = "b.*",
                                                     .url = hooked->url,
                                                     .headers = headers,
                                                     .header_count = 1,
                                                     .retry = { .non_retryable = "tls" } };
    return service_webhook_create(hooked->secret, hooked->webhooks, &options);
}

static void delete_one(struct hooked *hooked, bool done)
{
    assert_int_equal(service_webhook_exists(hooked->webhooks, "one"), done);
    if (done) {
        assert_int_equal(service_webhook_delete(hooked->webhooks, "one"), PEAL_OK);
    }
    struct peal_subscription_list list;
    assert_int_equal(peal_subscription_list(&list, hooked->bus), PEAL_OK);
    assert_int_equal(list.count, 0);
    peal_subscription_list_finish(&list);
}

static void a_webhook_is_made_or_it_is_not(void **state)
{
    (void)state;
    struct hooked hooked;
    hooked_begin(&hooked);
    sweep(&hooked, create_one, delete_one);
    hooked_close(&hooked);
}

static enum peal_err change_and_look(struct hooked *hooked)
{
    static const struct service_header headers[] = { { "X-A", "c" } };
    const struct service_webhook_change change = { .headers = headers, .header_count = 1 };
    struct service_webhook_list list;
    enum peal_err err = service_webhook_change(hooked->webhooks, "sale", &change);
    if (!err) {
        err = service_webhook_rotate(hooked->secret, hooked->webhooks, "sale", NULL, 0);
    }
    if (!err) {
        err = service_webhook_list(&list, hooked->webhooks, NULL);
    }
    if (!err) {
        service_webhook_list_finish(&list);
        err = service_webhooks_allow(hooked->webhooks, hooked->options.allow, 1);
    }
    return err;
}

static void is_as_it_was(struct hooked *hooked, bool done)
{
    (void)done;
    struct service_webhook_info info = hooked_look(hooked, "sale");
    assert_int_equal(info.secrets, 1);
    assert_false(info.paused);
}

static void a_webhook_is_changed_or_it_is_not(void **state)
{
    (void)state;
    struct hooked hooked;
    hooked_begin(&hooked);
    hooked_create(&hooked, "sale", "*", NULL);
    sweep(&hooked, change_and_look, is_as_it_was);
    hooked_close(&hooked);
}

// Each event meets another request that is refused, wherever it is then.
static void an_event_that_meets_no_memory_is_sent_all_the_same(void **state)
{
    (void)state;
    struct hooked hooked;
    const struct service_webhook_options more = { .retry = { .unlimited = true, .max_ms = 2 } };
    char url[100];
    hooked_begin(&hooked);
    hooked_create(&hooked, "sale", "*", &more);
    (void)snprintf(url, sizeof url, "http://localhost:%u/", hooked.receiver.port);
    for (unsigned nth = 1; nth <= 40; nth++) {
        const struct service_webhook_change change = { .url = nth % 2 ? url : hooked.url };
        assert_int_equal(service_webhook_change(hooked.webhooks, "sale", &change), PEAL_OK);
        const struct peal_message message = { .type = "a", .data = "1", .size = 1 };
        machine_refuse(MACHINE_MEMORY, nth, false);
        while (peal_publish(hooked.bus, &message, NULL)) {
            // this one took the refusal
        }
        for (int turn = 0; turn < 3 && machine_refused() == 0; turn++) {
            (void)poll(NULL, 0, 1);
        }
        machine_relent();
        hooked_until(&hooked, hooked_has_delivered, nth);
    }
    assert_true(hooked_has_dead(&hooked, 0));
    hooked_close(&hooked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(webhooks_open_or_say_that_they_cannot),
        cmocka_unit_test(a_webhook_is_made_or_it_is_not),
        cmocka_unit_test(a_webhook_is_changed_or_it_is_not),
        cmocka_unit_test(an_event_that_meets_no_memory_is_sent_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
