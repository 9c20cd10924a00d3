// SPDX-License-Identifier: MIT
//
// Dead letters: an event that cannot be handled waits for a person, who mends it.
//
// The middle one of three payments has its amount as a word. The handler rejects it (a retry would
// not help), which holds nobody up, and it lies among the dead letters with the reason. There we
// list it, correct its data, and the bus delivers it once more. The log keeps the original.
#include <err.h>
#include <peal/peal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(enum peal_err result)
{
    if (result) {
        errx(1, "%s", peal_error_sentence());
    }
}

// The data is the amount in cents, as text. Data does not end with a zero byte, so it is copied.
static enum peal_verdict on_payment(const peal_event *event, void *total)
{
    char text[32] = "";
    size_t size = peal_event_size(event);
    memcpy(text, peal_event_data(event), size < sizeof(text) ? size : sizeof(text) - 1);
    char *end = NULL;
    long cents = strtol(text, &end, 10);
    if (end == text || *end) {
        peal_fail(event, "not_a_number", "the amount must be a number of cents");
        return PEAL_REJECT;
    }
    *(long *)total += cents;
    printf("booked %ld cents\n", cents);
    return PEAL_DONE;
}

// Prints the dead letters; returns how many there are, and the id of the first.
static size_t list(peal_bus *bus, uint64_t *first)
{
    struct peal_dead_list dead;
    must(peal_dead_list(&dead, bus, NULL));
    size_t count = dead.count;
    printf("dead letters: %zu\n", count);
    for (size_t i = 0; i < count; i++) {
        const struct peal_dead_letter *letter = &dead.letters[i];
        printf("    %llu %s \"%.*s\" for %s: %s, %s (attempt %u)\n", (unsigned long long)letter->id,
               peal_event_type(letter->event), (int)peal_event_size(letter->event),
               (const char *)peal_event_data(letter->event), letter->subscription, letter->reason,
               letter->text, letter->attempts);
    }
    *first = count > 0 ? dead.letters[0].id : 0;
    peal_dead_list_finish(&dead);
    return count;
}

int main(void)
{
    peal_bus *bus = NULL;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    must(peal_bus_open(&bus, "mem:", &options));
    struct peal_subscribe_options accounts = { .label = "accounts" };
    long total = 0;
    must(peal_subscribe(NULL, bus, "payment.received", &accounts, on_payment, &total));

    const char *const amounts[] = { "1250", "twelve", "300" };
    for (size_t i = 0; i < 3; i++) {
        struct peal_message message = {
            .type = "payment.received",
            .content_type = "text/plain",
            .data = amounts[i],
            .size = strlen(amounts[i]),
        };
        must(peal_publish(bus, &message, NULL));
    }
    must(peal_bus_dispatch(bus, 0, NULL));
    long before = total;
    uint64_t id = 0;
    size_t dead = list(bus, &id);

    must(peal_dead_edit(bus, id, "1200", 4));
    must(peal_bus_dispatch(bus, 0, NULL));
    size_t left = list(bus, &id);
    peal_bus_close(bus);

    printf("booked %ld cents, then %ld\n", before, total);
    return before == 1550 && dead == 1 && total == 2750 && left == 0 ? 0 : 1;
}
