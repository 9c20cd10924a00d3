// SPDX-License-Identifier: MIT
//
// An account, for tests of event sourcing: "in" and "out" with a number as data.
//
//     struct stage stage;
//     stage_open(&stage, 1, PEAL_NO_WORKERS);
//     account_append(stage.bus, "account-1", "in", 5);
//     peal_aggregate *aggregate = account_load(stage.bus, &account_type, "account-1");
//     assert_int_equal(account_of(aggregate)->balance, 5);
//
// What it does for its test succeeds, or the test fails.
#ifndef SOURCING_ACCOUNT_H
#define SOURCING_ACCOUNT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/sourcing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/stage.h"

struct account {
    int64_t balance;
    uint64_t events;
};

// PEAL_EREFUSED for "bad", which nobody can apply.
static inline enum peal_err account_apply(void *state, const peal_event *event, void *context)
{
    struct account *account = state;
    const char *type = peal_event_type(event);
    if (strcmp(type, "bad") == 0 && !(context && *(bool *)context)) {
        return PEAL_EREFUSED;
    }
    int64_t amount = number_of(event);
    account->balance += strcmp(type, "out") == 0 ? -amount : amount;
    account->events++;
    return PEAL_OK;
}

static const struct peal_aggregate_type account_type = {
    .name = "account",
    .version = 1,
    .state_size = sizeof(struct account),
    .apply = account_apply,
};

static inline struct peal_message account_message(const char *type, const char *data)
{
    return (struct peal_message){ .type = type, .data = data, .size = strlen(data) };
}

static inline void account_append(peal_bus *bus, const char *subject, const char *type,
                                  unsigned amount)
{
    char data[16];
    (void)snprintf(data, sizeof data, "%u", amount);
    struct peal_message message = account_message(type, data);
    struct peal_append append = { .subject = subject, .messages = &message, .count = 1 };
    assert_int_equal(peal_stream_append(NULL, bus, &append), PEAL_OK);
}

static inline peal_aggregate *account_load(peal_bus *bus, const struct peal_aggregate_type *type,
                                           const char *subject)
{
    peal_aggregate *aggregate = NULL;
    enum peal_err err = peal_aggregate_load(&aggregate, bus, type, subject);
    if (err) {
        print_error("loading %s: %s\n", subject, peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
    return aggregate;
}

static inline const struct account *account_of(const peal_aggregate *aggregate)
{
    return peal_aggregate_state(aggregate);
}

static inline struct peal_aggregate_stats account_stats(const peal_aggregate *aggregate)
{
    struct peal_aggregate_stats stats;
    assert_int_equal(peal_aggregate_stats(&stats, aggregate), PEAL_OK);
    return stats;
}

#endif
