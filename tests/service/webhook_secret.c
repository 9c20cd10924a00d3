// SPDX-License-Identifier: MIT
//
// Secrets of webhooks: which are taken, and signatures, against the vector that Standard Webhooks
// has published.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "service/webhook_secret.h"

static const char published[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

static const struct service_signed message = {
    .id = "msg_p5jXN8AQM9LWM0D4loKWxJek",
    .timestamp = 1614265330,
    .body = "{\"test\": 2432232314}",
    .size = 20,
};

static const char signature[] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

static void the_published_vector_is_signed_as_published(void **state)
{
    (void)state;
    struct service_secret secret;
    char out[SERVICE_SIGNATURES_TEXT];
    assert_int_equal(service_secret_parse(&secret, published), PEAL_OK);

    assert_int_equal(service_secret_sign(out, &secret, 1, 0, &message), PEAL_OK);

    assert_string_equal(out, signature);
}

static void a_secret_is_printed_as_it_was_read(void **state)
{
    (void)state;
    struct service_secret secret;
    char out[SERVICE_SECRET_TEXT];
    assert_int_equal(service_secret_parse(&secret, published), PEAL_OK);
    assert_int_equal(secret.size, 24);

    service_secret_print(out, &secret);

    assert_string_equal(out, published);
}

static void a_secret_that_is_made_can_be_read_and_is_no_other_s(void **state)
{
    (void)state;
    struct service_secret one, two;
    char out[SERVICE_SECRET_TEXT];
    assert_int_equal(service_secret_make(&one), PEAL_OK);
    assert_int_equal(service_secret_make(&two), PEAL_OK);
    assert_memory_not_equal(one.bytes, two.bytes, SERVICE_SECRET_MADE);

    service_secret_print(out, &one);

    assert_int_equal(service_secret_parse(&two, out), PEAL_OK);
    assert_int_equal(two.size, SERVICE_SECRET_MADE);
    assert_memory_equal(one.bytes, two.bytes, SERVICE_SECRET_MADE);
}

static void secrets_have_24_to_64_bytes(void **state)
{
    (void)state;
    struct service_secret secret, read = { .size = 7 };
    char text[SERVICE_SECRET_TEXT + 8];
    memset(secret.bytes, 0xa5, sizeof secret.bytes);
    for (size_t size = 1; size <= SERVICE_SECRET_MAX; size++) {
        secret.size = size;
        service_secret_print(text, &secret);
        bool good = size >= SERVICE_SECRET_MIN;
        assert_int_equal(service_secret_parse(&read, text), good ? PEAL_OK : PEAL_EINVAL);
        assert_int_equal(read.size, good ? size : 7);
    }
    size_t length = strlen(text);
    memcpy(text + length - 2, "pQ==", 5); // a 65th byte would need another group
    assert_int_equal(service_secret_parse(&read, text), PEAL_EINVAL);
    text[length - 2] = 'p';
    memcpy(text + length - 2, "paWl", 5); // the 65th and 66th
    assert_int_equal(service_secret_parse(&read, text), PEAL_EINVAL);
    assert_int_equal(read.size, SERVICE_SECRET_MAX);
}

static void what_is_no_secret_is_refused_without_being_shown(void **state)
{
    (void)state;
    static const char *const bad[] = {
        NULL,
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS=MfKQ",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaL===",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La LaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct service_secret secret = { .size = 7 };
        assert_int_equal(service_secret_parse(&secret, bad[i]), PEAL_EINVAL);
        assert_int_equal(secret.size, 7);
        assert_null(strstr(peal_error_sentence(), "MfKQ"));
    }
}

static void while_an_old_secret_is_valid_both_sign(void **state)
{
    (void)state;
    struct service_secret secrets[2];
    char out[SERVICE_SIGNATURES_TEXT];
    assert_int_equal(service_secret_make(&secrets[0]), PEAL_OK);
    assert_int_equal(service_secret_parse(&secrets[1], published), PEAL_OK);
    secrets[1].until_ms = 1000;

    assert_int_equal(service_secret_sign(out, secrets, 2, 999, &message), PEAL_OK);
    assert_int_equal(strlen(out), 2 * 47 + 1);
    assert_string_equal(out + 48, signature);
    assert_memory_not_equal(out, signature, 47);

    assert_int_equal(service_secret_sign(out, secrets, 2, 1000, &message), PEAL_OK);
    assert_int_equal(strlen(out), 47);
    assert_string_not_equal(out, signature);
}

static void as_many_secrets_as_may_be_valid_sign(void **state)
{
    (void)state;
    struct service_secret secrets[SERVICE_SECRETS_MAX];
    char out[SERVICE_SIGNATURES_TEXT];
    for (size_t i = 0; i < SERVICE_SECRETS_MAX; i++) {
        assert_int_equal(service_secret_parse(&secrets[i], published), PEAL_OK);
    }

    assert_int_equal(service_secret_sign(out, secrets, SERVICE_SECRETS_MAX, 0, &message), PEAL_OK);

    assert_int_equal(strlen(out), SERVICE_SECRETS_MAX * 48 - 1);
}

static void an_id_that_is_too_long_to_sign_is_not_signed(void **state)
{
    (void)state;
    struct service_secret secret;
    struct service_signed other = message;
    char id[700], out[SERVICE_SIGNATURES_TEXT] = "untouched";
    memset(id, 'a', sizeof id - 1);
    id[sizeof id - 1] = 0;
    other.id = id;
    assert_int_equal(service_secret_parse(&secret, published), PEAL_OK);

    assert_int_not_equal(service_secret_sign(out, &secret, 1, 0, &other), PEAL_OK);

    assert_string_equal(out, "untouched");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vector_is_signed_as_published),
        cmocka_unit_test(a_secret_is_printed_as_it_was_read),
        cmocka_unit_test(a_secret_that_is_made_can_be_read_and_is_no_other_s),
        cmocka_unit_test(secrets_have_24_to_64_bytes),
        cmocka_unit_test(what_is_no_secret_is_refused_without_being_shown),
        cmocka_unit_test(while_an_old_secret_is_valid_both_sign),
        cmocka_unit_test(as_many_secrets_as_may_be_valid_sign),
        cmocka_unit_test(an_id_that_is_too_long_to_sign_is_not_signed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
