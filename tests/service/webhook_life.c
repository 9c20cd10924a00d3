// SPDX-License-Identifier: MIT
// ctest: threaded link=ssl timeout=200
//
// The life of webhooks: many events in order, restarts, changes, and ends, also with some under
// way.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "service/hooked.h"
#include "service/webhook_secret.h"

static void hold(struct reply *out, struct receiver *receiver, const struct request *request,
                 void *context)
{
    (void)receiver;
    (void)request;
    (void)context;
    out->way = REPLY_HOLD;
}

// ---- order --------------------------------------------------------------------------------------

#define KEYS 16

static unsigned effort(unsigned usual)
{
    const char *percent = getenv("PEAL_EFFORT");
    unsigned events = percent ? usual * (unsigned)atoi(percent) / 100 : usual;
    return events < KEYS ? KEYS : events;
}

static void say_many(struct hooked *hooked, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char key[16], data[32];
        (void)snprintf(key, sizeof key, "k%u", i % KEYS);
        (void)snprintf(data, sizeof data, "[%u]", i);
        hooked_say(hooked, "a", key, data);
    }
}

// Reads the number out of "data":[17].
static unsigned number_in(const struct request *request)
{
    const char *at = strstr(request->body, "\"data\":[");
    assert_non_null(at);
    return (unsigned)strtoul(at + 8, NULL, 10);
}

// Of each key in order, none missing. One that came again came right after itself.
static unsigned count_in_order(struct receiver *receiver, unsigned events)
{
    unsigned next[KEYS], again = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        next[key] = key;
    }
    size_t count = receiver_count(receiver);
    for (size_t i = 0; i < count; i++) {
        unsigned number = number_in(receiver_get(receiver, i)), key = number % KEYS;
        if (next[key] == number + KEYS) {
            again++;
            continue;
        }
        assert_int_equal(number, next[key]);
        next[key] += KEYS;
    }
    for (unsigned key = 0; key < KEYS; key++) {
        assert_true(next[key] >= events);
    }
    return again;
}

// Every so often the receiver is busy.
static void stumble(struct reply *out, struct receiver *receiver, const struct request *request,
                    void *context)
{
    (void)request;
    (void)context;
    out->status = receiver->count % 97 == 0 ? 503 : 200;
}

static void ten_thousand_events_arrive_in_order_per_key(void **state)
{
    (void)state;
    struct hooked hooked;
    unsigned events = effort(10000);
    hooked_open(&hooked, stumble, NULL);
    hooked_create(&hooked, "sale", "*", NULL);
    say_many(&hooked, 0, events);
    hooked_until(&hooked, hooked_has_delivered, events);
    struct service_webhook_info info = hooked_look(&hooked, "sale");
    assert_int_equal(info.done, events);
    assert_int_equal(info.failed[SERVICE_FAILED_SERVER], events / 97 > 0 ? info.sent - events : 0);
    assert_int_equal(count_in_order(&hooked.receiver, events), info.sent - events);
    assert_true(receiver_connections(&hooked.receiver) <= 8); // they are used again
    assert_int_equal(info.waiting + info.under_way, 0);
    assert_int_equal(service_webhooks_stop(hooked.webhooks, 0), 0);
    hooked_close(&hooked);
}

static void it_goes_on_where_it_was_after_restarts_in_the_middle(void **state)
{
    (void)state;
    struct hooked hooked;
    unsigned events = effort(4000);
    hooked_open(&hooked, stumble, NULL);
    hooked_create(&hooked, "sale", "*", NULL);
    for (unsigned round = 0; round < 4; round++) {
        say_many(&hooked, events * round / 4, events * (round + 1) / 4);
        receiver_wait(&hooked.receiver, events * (round + 1) / 8); // some wait, some are under way
        hooked_end(&hooked);
        hooked_start(&hooked);
    }
    struct peal_subscription_list list;
    uint64_t lag = 1;
    for (int turn = 0; lag > 0 && turn < RECEIVER_PATIENCE_S * 1000; turn++) {
        assert_int_equal(peal_subscription_list(&list, hooked.bus), PEAL_OK);
        assert_int_equal(list.count, 1);
        lag = list.subscriptions[0].lag + list.subscriptions[0].unsettled;
        peal_subscription_list_finish(&list);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(lag, 0);
    (void)count_in_order(&hooked.receiver, events); // those cut off came again
    assert_true(hooked_has_dead(&hooked, 0));
    hooked_close(&hooked);
}

static void what_webhooks_may_send_at_a_time_is_limited_for_each_and_in_all(void **state)
{
    (void)state;
    struct hooked hooked;
    hooked_prepare(&hooked, hold, NULL);
    hooked.options.concurrency = 5;
    hooked_start(&hooked);
    const struct service_webhook_options three = { .concurrency = 3 };
    hooked_create(&hooked, "one", "*", &three);
    hooked_create(&hooked, "two", "*", &three);
    for (unsigned i = 0; i < 50; i++) {
        hooked_say(&hooked, "a", NULL, "1");
    }
    receiver_wait_held(&hooked.receiver, 5);
    struct service_webhook_info one = hooked_look(&hooked, "one"),
                                two = hooked_look(&hooked, "two");
    assert_int_equal(one.under_way + two.under_way, 5);
    assert_true(one.under_way <= 3 && two.under_way <= 3);
    receiver_release(&hooked.receiver);
    hooked_until(&hooked, hooked_has_delivered, 100);
    assert_int_equal(receiver_most_held(&hooked.receiver), 5);
    hooked_close(&hooked);
}

// What the log has forgotten meanwhile is told, like to any other.
static void a_gap_is_sent_too(void **state)
{
    (void)state;
    struct hooked hooked;
    hooked_prepare(&hooked, NULL, NULL);
    (void)snprintf(hooked.folder.url, sizeof hooked.folder.url,
                   "mem:?memory_max=1M&history_bytes=256k&data_max=100000&pressure=drop_oldest");
    hooked_start(&hooked);
    const struct service_webhook_options more = { .retry = { .max_attempts = 1 } };
    hooked_create(&hooked, "sale", "*", &more);
    assert_int_equal(service_webhook_pause(hooked.webhooks, "sale"), PEAL_OK);
    static char data[65536];
    memset(data, '1', sizeof data);
    for (unsigned i = 0; i < 64; i++) {
        const struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
        assert_int_equal(peal_publish(hooked.bus, &message, NULL), PEAL_OK);
    }
    assert_int_equal(service_webhook_resume(hooked.webhooks, "sale"), PEAL_OK);
    bool told = false;
    for (size_t i = 0; !told; i++) {
        receiver_wait(&hooked.receiver, i + 1);
        told = strstr(receiver_get(&hooked.receiver, i)->body, "\"type\":\"$peal.gap\"") != NULL;
    }
    hooked_close(&hooked);
}

// ---- changes ------------------------------------------------------------------------------------

static bool has_one_signature(const struct request *request)
{
    char text[SERVICE_SIGNATURES_TEXT + 1];
    (void)request_header(request, "webhook-signature", text, sizeof text);
    return strlen(text) == 47;
}

static void while_a_secret_is_rotated_both_sign_and_then_the_new_one_alone(void **state)
{
    (void)state;
    struct hooked hooked;
    char fresh[SERVICE_SECRET_TEXT];
    hooked_open(&hooked, NULL, NULL);
    hooked_create(&hooked, "sale", "*", NULL);
    hooked_say(&hooked, "a", NULL, "1");
    hooked_until(&hooked, hooked_has_delivered, 1);
    assert_true(has_one_signature(receiver_get(&hooked.receiver, 0)));

    assert_int_equal(service_webhook_rotate(fresh, hooked.webhooks, "sale", NULL, 60000), PEAL_OK);
    assert_string_not_equal(fresh, hooked.secret);
    assert_int_equal(hooked_look(&hooked, "sale").secrets, 2);
    hooked_end(&hooked); // both are kept
    hooked_start(&hooked);
    hooked_say(&hooked, "a", NULL, "2");
    hooked_until(&hooked, hooked_has_delivered, 1);
    assert_false(has_one_signature(receiver_get(&hooked.receiver, 1)));

    // An old one that is to end at once ends, and so does the one before.
    assert_int_equal(service_webhook_rotate(fresh, hooked.webhooks, "sale", NULL, 1), PEAL_OK);
    size_t last = 1;
    do {
        hooked_say(&hooked, "a", NULL, "3");
        receiver_wait(&hooked.receiver, last + 2);
        last++;
    } while (!has_one_signature(receiver_get(&hooked.receiver, last)));
    assert_int_equal(hooked_look(&hooked, "sale").secrets, 1);

    assert_int_equal(service_webhook_rotate(NULL, hooked.webhooks, "sale", hooked.secret, 0),
                     PEAL_OK);
    for (unsigned i = 2; i <= SERVICE_SECRETS_MAX; i++) {
        assert_int_equal(service_webhook_rotate(fresh, hooked.webhooks, "sale", NULL, 60000),
                         PEAL_OK);
        assert_int_equal(hooked_look(&hooked, "sale").secrets, i);
    }
    assert_int_equal(service_webhook_rotate(fresh, hooked.webhooks, "sale", NULL, 60000),
                     PEAL_ELIMIT);
    assert_int_equal(service_webhook_rotate(NULL, hooked.webhooks, "sale", NULL, 0), PEAL_EINVAL);
    assert_int_equal(service_webhook_rotate(fresh, hooked.webhooks, "sale", "whsec_x", 0),
                     PEAL_EINVAL);
    assert_int_equal(service_webhook_rotate(fresh, hooked.webhooks, "else", NULL, 0),
                     PEAL_ENOTFOUND);
    hooked_close(&hooked);
}

static void a_change_is_in_force_for_what_is_sent_next_and_after_a_restart(void **state)
{
    (void)state;
    struct hooked hooked;
    struct receiver other;
    char url[100], text[100];
    receiver_open(&other, NULL, NULL);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/other", other.port);
    const struct service_header headers[] = { { "X-Key", "1" } };
    hooked_open(&hooked, NULL, NULL);
    hooked_create(&hooked, "sale", "*", NULL);
    hooked_say(&hooked, "a", NULL, "1");
    hooked_until(&hooked, hooked_has_delivered, 1);

    const struct service_webhook_change change = {
        .url = url, .headers = headers, .header_count = 1, .timeout_ms = 777, .concurrency = 2
    };
    assert_int_equal(service_webhook_change(hooked.webhooks, "sale", &change), PEAL_OK);
    hooked_say(&hooked, "a", NULL, "2");
    receiver_wait(&other, 1);
    assert_string_equal(request_header(receiver_get(&other, 0), "x-key", text, sizeof text), "1");
    hooked_until(&hooked, hooked_has_delivered, 2);

    hooked_end(&hooked);
    hooked_start(&hooked);
    struct service_webhook_list list;
    assert_int_equal(service_webhook_list(&list, hooked.webhooks, NULL), PEAL_OK);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.webhooks[0].url, url);
    assert_string_equal(list.webhooks[0].name, "sale");
    assert_string_equal(list.webhooks[0].pattern, "*");
    assert_string_equal(list.webhooks[0].header_names[0], "X-Key");
    assert_int_equal(list.webhooks[0].timeout_ms, 777);
    assert_int_equal(list.webhooks[0].concurrency, 2);
    service_webhook_list_finish(&list);
    const struct service_webhook_change none = { .headers = headers, .header_count = 0 };
    assert_int_equal(service_webhook_change(hooked.webhooks, "sale", &none), PEAL_OK);
    hooked_say(&hooked, "a", NULL, "3");
    receiver_wait(&other, 2);
    assert_string_equal(request_header(receiver_get(&other, 1), "x-key", text, sizeof text), "");
    assert_int_equal(receiver_count(&hooked.receiver), 1);

    const struct service_webhook_change bad = { .url = "ftp://127.0.0.1/" };
    assert_int_equal(service_webhook_change(hooked.webhooks, "sale", &bad), PEAL_EINVAL);
    assert_int_equal(service_webhook_change(hooked.webhooks, "sale", NULL), PEAL_EINVAL);
    assert_int_equal(service_webhook_change(hooked.webhooks, "else", &none), PEAL_ENOTFOUND);
    hooked_close(&hooked);
    receiver_close(&other);
}

static void pausing_gives_back_what_waits_and_resuming_goes_on(void **state)
{
    (void)state;
    struct hooked hooked;
    const struct service_webhook_options more = { .concurrency = 1 };
    hooked_open(&hooked, hold, NULL);
    hooked_create(&hooked, "sale", "*", &more);
    for (unsigned i = 0; i < 10; i++) {
        hooked_say(&hooked, "a", NULL, "1");
    }
    receiver_wait_held(&hooked.receiver, 1);
    assert_int_equal(service_webhook_pause(hooked.webhooks, "sale"), PEAL_OK);
    struct service_webhook_info info = hooked_look(&hooked, "sale");
    assert_true(info.paused && !info.disabled);
    receiver_release(&hooked.receiver);
    hooked_until(&hooked, hooked_has_delivered, 1); // the one under way
    assert_int_equal(hooked_look(&hooked, "sale").under_way, 0);
    assert_int_equal(service_webhook_resume(hooked.webhooks, "sale"), PEAL_OK);
    hooked_until(&hooked, hooked_has_delivered, 10);
    assert_int_equal(hooked_look(&hooked, "sale").sent, 10);
    assert_int_equal(service_webhook_pause(hooked.webhooks, "else"), PEAL_ENOTFOUND);
    assert_int_equal(service_webhook_resume(hooked.webhooks, "else"), PEAL_ENOTFOUND);
    hooked_close(&hooked);
}

// ---- ends ---------------------------------------------------------------------------------------

static void a_webhook_can_be_deleted_while_it_sends_and_its_name_is_free(void **state)
{
    (void)state;
    struct hooked hooked;
    hooked_open(&hooked, hold, NULL);
    hooked_create(&hooked, "sale", "*", NULL);
    for (unsigned i = 0; i < 50; i++) {
        hooked_say(&hooked, "a", NULL, "1");
    }
    receiver_wait_held(&hooked.receiver, 8);
    assert_int_equal(service_webhook_delete(hooked.webhooks, "sale"), PEAL_OK);
    assert_false(service_webhook_exists(hooked.webhooks, "sale"));
    assert_int_equal(service_webhook_delete(hooked.webhooks, "sale"), PEAL_ENOTFOUND);
    struct peal_subscription_list names;
    assert_int_equal(peal_subscription_list(&names, hooked.bus), PEAL_OK);
    assert_int_equal(names.count, 0);
    peal_subscription_list_finish(&names);

    receiver_release(&hooked.receiver);
    hooked_create(&hooked, "sale", "b", NULL);
    hooked_say(&hooked, "b", NULL, "2");
    hooked_until(&hooked, hooked_has_delivered, 1);
    hooked_end(&hooked);
    hooked_start(&hooked);
    assert_true(service_webhook_exists(hooked.webhooks, "sale"));
    assert_int_equal(service_webhook_delete(hooked.webhooks, "sale"), PEAL_OK);
    hooked_end(&hooked);
    hooked_start(&hooked);
    assert_false(service_webhook_exists(hooked.webhooks, "sale"));
    hooked_close(&hooked);
}

// As soon as stopping has begun: nothing can be changed from then on.
static void *release_when_stopping(void *context)
{
    struct hooked *hooked = context;
    while (service_webhook_pause(hooked->webhooks, "else") == PEAL_ENOTFOUND) {
        (void)poll(NULL, 0, 1);
    }
    receiver_release(&hooked->receiver);
    return NULL;
}

static void stopping_lets_what_is_under_way_end_and_begins_nothing_more(void **state)
{
    (void)state;
    struct hooked hooked;
    pthread_t thread;
    hooked_open(&hooked, hold, NULL);
    hooked_create(&hooked, "sale", "*", NULL);
    for (unsigned i = 0; i < 50; i++) {
        hooked_say(&hooked, "a", NULL, "1");
    }
    receiver_wait_held(&hooked.receiver, 8);
    assert_int_equal(pthread_create(&thread, NULL, release_when_stopping, &hooked), 0);
    assert_int_equal(service_webhooks_stop(hooked.webhooks, 20000), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    size_t sent = receiver_count(&hooked.receiver);
    assert_int_equal(sent, 8);
    assert_true(hooked_has_delivered(&hooked, sent));

    const struct service_webhook_options options = { .name = "b",
                                                     .pattern = "*",
                                                     .url = hooked.url };
    assert_int_equal(service_webhook_create(hooked.secret, hooked.webhooks, &options),
                     PEAL_ECLOSED);
    assert_int_equal(service_webhook_delete(hooked.webhooks, "sale"), PEAL_ECLOSED);
    assert_int_equal(service_webhook_pause(hooked.webhooks, "sale"), PEAL_ECLOSED);
    assert_int_equal(hooked_look(&hooked, "sale").done, sent);
    hooked_end(&hooked);
    hooked_start(&hooked);
    receiver_wait(&hooked.receiver, 50);
    hooked_until(&hooked, hooked_has_delivered, 50 - sent); // none was sent twice
    assert_int_equal(receiver_count(&hooked.receiver), 50);
    hooked_close(&hooked);
}

static void what_is_under_way_at_the_deadline_is_cut_off_and_comes_again(void **state)
{
    (void)state;
    struct hooked hooked;
    const struct service_webhook_options more = { .retry = { .max_attempts = 1 } };
    hooked_open(&hooked, hold, NULL);
    hooked_create(&hooked, "sale", "*", &more);
    for (unsigned i = 0; i < 20; i++) {
        hooked_say(&hooked, "a", NULL, "1");
    }
    receiver_wait_held(&hooked.receiver, 8);
    assert_int_equal(service_webhooks_stop(hooked.webhooks, 20), 8);
    receiver_release(&hooked.receiver);
    hooked_end(&hooked);
    hooked_start(&hooked);
    hooked_until(&hooked, hooked_has_delivered, 20);
    assert_int_equal(receiver_count(&hooked.receiver), 28);
    assert_true(hooked_has_dead(&hooked, 0)); // being cut off was no attempt
    hooked_close(&hooked);
}

// ---- definitions --------------------------------------------------------------------------------

static void a_name_that_somebody_has_is_refused(void **state)
{
    (void)state;
    struct hooked hooked;
    struct service_webhook_options options = { .name = "sale", .pattern = "*" };
    peal_subscription *subscription;
    const struct peal_subscribe_options durable = { .name = "client", .mode = PEAL_PULL };
    hooked_prepare(&hooked, NULL, NULL);
    hooked.options.webhooks_max = 2;
    hooked_start(&hooked);
    options.url = hooked.url;
    assert_int_equal(peal_subscribe(&subscription, hooked.bus, "*", &durable, NULL, NULL), PEAL_OK);
    hooked_create(&hooked, "sale", "*", NULL);
    char secret[SERVICE_SECRET_TEXT] = "untouched";
    assert_int_equal(service_webhook_create(secret, hooked.webhooks, &options), PEAL_EEXISTS);
    options.name = "client";
    assert_int_equal(service_webhook_create(secret, hooked.webhooks, &options), PEAL_EEXISTS);
    options.name = "b";
    options.pattern = "a..b";
    assert_int_equal(service_webhook_create(secret, hooked.webhooks, &options), PEAL_EPATTERN);
    assert_false(service_webhook_exists(hooked.webhooks, "b"));
    options.pattern = "*";
    options.name = "\xff";
    assert_int_equal(service_webhook_create(secret, hooked.webhooks, &options), PEAL_EINVAL);
    options.name = "b";
    assert_int_equal(service_webhook_create(NULL, hooked.webhooks, &options), PEAL_EINVAL);
    assert_string_equal(secret, "untouched");
    assert_int_equal(service_webhook_create(secret, hooked.webhooks, &options), PEAL_OK);
    options.name = "c";
    assert_int_equal(service_webhook_create(secret, hooked.webhooks, &options), PEAL_ELIMIT);
    hooked_end(&hooked);
    hooked_start(&hooked); // what was refused has not been kept
    struct service_webhook_list list;
    assert_int_equal(service_webhook_list(&list, hooked.webhooks, NULL), PEAL_OK);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.webhooks[0].name, "b"); // by name
    assert_string_equal(list.webhooks[1].name, "sale");
    service_webhook_list_finish(&list);
    assert_int_equal(service_webhook_list(&list, hooked.webhooks, "else"), PEAL_ENOTFOUND);
    hooked_close(&hooked);
}

static void secrets_are_in_a_file_of_the_owner_s_and_in_nothing_that_is_said(void **state)
{
    (void)state;
    struct hooked hooked;
    struct stat about;
    char path[200], bytes[4096] = "";
    static const char secret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const struct service_header headers[] = { { "Authorization", "Bearer hidden" } };
    const struct service_webhook_options more = {
        .secret = secret, .headers = headers, .header_count = 1, .url = "http://127.0.0.1:1/token"
    };
    hooked_open(&hooked, NULL, NULL);
    hooked_create(&hooked, "sale", "*", &more);
    assert_string_equal(hooked.secret, secret);
    hooked_say(&hooked, "a", NULL, "1");
    while (!hooked_was_said(&hooked, "webhook sale: connect: ")) {
        (void)poll(NULL, 0, 1);
    }
    assert_false(hooked_was_said(&hooked, "MfKQ"));
    assert_false(hooked_was_said(&hooked, "hidden"));
    assert_false(hooked_was_said(&hooked, "token"));
    (void)snprintf(path, sizeof path, "%s/webhooks.json", hooked.folder.path);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_true(fread(bytes, 1, sizeof bytes - 1, file) > 0);
    assert_int_equal(fclose(file), 0);
    assert_non_null(strstr(bytes, secret));
    hooked_close(&hooked);
}

// What cannot be subscribed when it is opened.
static void one_that_the_bus_does_not_take_is_kept_and_can_be_resumed_or_deleted(void **state)
{
    (void)state;
    struct hooked hooked;
    peal_subscription *other;
    const struct peal_subscribe_options durable = { .name = "sale", .mode = PEAL_PULL };
    hooked_open(&hooked, NULL, NULL);
    hooked_create(&hooked, "sale", "*", NULL);
    service_webhooks_close(hooked.webhooks);
    assert_int_equal(peal_name_forget(hooked.bus, "sale"), PEAL_OK);
    assert_int_equal(peal_subscribe(&other, hooked.bus, "*", &durable, NULL, NULL), PEAL_OK);

    assert_int_equal(service_webhooks_open(&hooked.webhooks, hooked.bus, &hooked.options), PEAL_OK);
    struct service_webhook_info info = hooked_look(&hooked, "sale");
    assert_true(info.paused);
    assert_true(strlen(info.last_error) > 0);
    assert_true(hooked_was_said(&hooked, "webhook sale could not be subscribed: "));
    assert_int_equal(service_webhook_resume(hooked.webhooks, "sale"), PEAL_EEXISTS);
    assert_int_equal(service_webhook_pause(hooked.webhooks, "sale"), PEAL_OK); // it is, already
    peal_unsubscribe(other);
    assert_int_equal(peal_name_forget(hooked.bus, "sale"), PEAL_OK);
    assert_int_equal(service_webhook_resume(hooked.webhooks, "sale"), PEAL_OK);
    hooked_say(&hooked, "a", NULL, "1");
    hooked_until(&hooked, hooked_has_delivered, 1);
    hooked_close(&hooked);
}

static void one_that_never_got_its_name_leaves_it_to_who_has_it(void **state)
{
    (void)state;
    struct hooked hooked;
    peal_subscription *other;
    const struct peal_subscribe_options durable = { .name = "sale", .mode = PEAL_PULL };
    hooked_open(&hooked, NULL, NULL);
    hooked_create(&hooked, "sale", "*", NULL);
    service_webhooks_close(hooked.webhooks);
    assert_int_equal(peal_name_forget(hooked.bus, "sale"), PEAL_OK);
    assert_int_equal(peal_subscribe(&other, hooked.bus, "*", &durable, NULL, NULL), PEAL_OK);
    peal_unsubscribe(other);
    assert_int_equal(service_webhooks_open(&hooked.webhooks, hooked.bus, &hooked.options), PEAL_OK);
    assert_int_equal(service_webhook_delete(hooked.webhooks, "sale"), PEAL_OK);
    assert_false(service_webhook_exists(hooked.webhooks, "sale"));
    struct peal_subscription_list names;
    assert_int_equal(peal_subscription_list(&names, hooked.bus), PEAL_OK);
    assert_int_equal(names.count, 1);
    peal_subscription_list_finish(&names);
    hooked_close(&hooked);
}

static void without_a_directory_nothing_is_kept(void **state)
{
    (void)state;
    struct hooked hooked;
    char path[200];
    hooked_prepare(&hooked, NULL, NULL);
    hooked.options.directory = NULL;
    hooked_start(&hooked);
    hooked_create(&hooked, "sale", "*", NULL);
    hooked_say(&hooked, "a", NULL, "1");
    hooked_until(&hooked, hooked_has_delivered, 1);
    (void)snprintf(path, sizeof path, "%s/webhooks.json", hooked.folder.path);
    assert_int_not_equal(access(path, F_OK), 0);
    hooked_close(&hooked);
}

static void a_directory_that_cannot_be_written_refuses_every_change_and_changes_nothing(
    void **state)
{
    (void)state;
    struct hooked hooked;
    char moved[100];
    hooked_open(&hooked, NULL, NULL);
    hooked_create(&hooked, "sale", "*", NULL);
    service_webhooks_close(hooked.webhooks);
    (void)snprintf(moved, sizeof moved, "%s/not-there", hooked.folder.path);
    hooked.options.directory = moved;
    assert_int_equal(mkdir(moved, 0700), 0);
    assert_int_equal(service_webhooks_open(&hooked.webhooks, hooked.bus, &hooked.options), PEAL_OK);
    assert_int_equal(rmdir(moved), 0);
    const struct service_webhook_options options = { .name = "b",
                                                     .pattern = "*",
                                                     .url = hooked.url };
    assert_int_equal(service_webhook_create(hooked.secret, hooked.webhooks, &options), PEAL_EIO);
    assert_false(service_webhook_exists(hooked.webhooks, "b"));
    hooked_close(&hooked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_events_arrive_in_order_per_key),
        cmocka_unit_test(it_goes_on_where_it_was_after_restarts_in_the_middle),
        cmocka_unit_test(what_webhooks_may_send_at_a_time_is_limited_for_each_and_in_all),
        cmocka_unit_test(a_gap_is_sent_too),
        cmocka_unit_test(while_a_secret_is_rotated_both_sign_and_then_the_new_one_alone),
        cmocka_unit_test(a_change_is_in_force_for_what_is_sent_next_and_after_a_restart),
        cmocka_unit_test(pausing_gives_back_what_waits_and_resuming_goes_on),
        cmocka_unit_test(a_webhook_can_be_deleted_while_it_sends_and_its_name_is_free),
        cmocka_unit_test(stopping_lets_what_is_under_way_end_and_begins_nothing_more),
        cmocka_unit_test(what_is_under_way_at_the_deadline_is_cut_off_and_comes_again),
        cmocka_unit_test(a_name_that_somebody_has_is_refused),
        cmocka_unit_test(secrets_are_in_a_file_of_the_owner_s_and_in_nothing_that_is_said),
        cmocka_unit_test(one_that_the_bus_does_not_take_is_kept_and_can_be_resumed_or_deleted),
        cmocka_unit_test(one_that_never_got_its_name_leaves_it_to_who_has_it),
        cmocka_unit_test(without_a_directory_nothing_is_kept),
        cmocka_unit_test(
            a_directory_that_cannot_be_written_refuses_every_change_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
