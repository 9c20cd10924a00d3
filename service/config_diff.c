// SPDX-License-Identifier: MIT
//
// A reload: what another config says differently, and what of it waits for the next start; and what
// of a config is for the bus.
#include <string.h>

#include "service/config_inside.h"

static bool same_list(const struct service_list *left, const struct service_list *right)
{
    if (left->count != right->count) {
        return false;
    }
    for (size_t i = 0; i < left->count; i++) {
        if (strcmp(left->items[i], right->items[i]) != 0) {
            return false;
        }
    }
    return true;
}

static bool same_tokens(const struct service_token_list *left,
                        const struct service_token_list *right)
{
    if (left->count != right->count) {
        return false;
    }
    for (size_t i = 0; i < left->count; i++) {
        const struct service_token *a = &left->items[i], *b = &right->items[i];
        if (strcmp(a->name, b->name) != 0 || memcmp(a->hash, b->hash, sizeof a->hash) != 0 ||
            a->admin != b->admin || !same_list(&a->publish, &b->publish) ||
            !same_list(&a->subscribe, &b->subscribe)) {
            return false;
        }
    }
    return true;
}

static bool same(const struct service_config *left, const struct service_config *right, size_t row)
{
    const void *a = config_value_of(left, row), *b = config_value_of(right, row);
    switch (service_config_options[row].kind) {
    case SERVICE_TEXT:
    case SERVICE_FILE:
    case SERVICE_URL:
        return strcmp(*(const char *const *)a, *(const char *const *)b) == 0;
    case SERVICE_FLAG:
    case SERVICE_SWITCH:
        return *(const bool *)a == *(const bool *)b;
    case SERVICE_SHARE:
        return *(const double *)a == *(const double *)b;
    case SERVICE_CHOICE:
        return *(const int *)a == *(const int *)b;
    case SERVICE_LIST:
        return same_list(a, b);
    case SERVICE_TOKENS:
        return same_tokens(a, b);
    default:
        return *(const uint64_t *)a == *(const uint64_t *)b;
    }
}

size_t service_config_diff(struct service_change out[SERVICE_OPTION_COUNT],
                           const struct service_config *old, const struct service_config *fresh)
{
    size_t count = 0;
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        const struct service_option *option = &service_config_options[row];
        if (!same(old, fresh, row)) {
            out[count++] = (struct service_change){ option, option->live };
        }
    }
    return count;
}

static void carry(struct service_config *fresh, const struct service_config *old, size_t row)
{
    const void *from = config_value_of(old, row);
    void *to = config_value(fresh, row);
    const char *place = old->origins[row].place;
    fresh->origins[row] = (struct service_origin){ old->origins[row].source,
                                                   config_keep(fresh, place, strlen(place)) };
    switch (service_config_options[row].kind) {
    case SERVICE_TEXT:
    case SERVICE_FILE:
    case SERVICE_URL: {
        const char *text = *(const char *const *)from;
        *(const char **)to = config_keep(fresh, text, strlen(text));
        break;
    }
    case SERVICE_LIST: {
        const struct service_list *list = from;
        *(struct service_list *)to = (struct service_list){ 0 };
        for (size_t i = 0; i < list->count; i++) {
            config_list_add(fresh, to, fresh->origins[row].place, list->items[i]);
        }
        break;
    }
    case SERVICE_FLAG:
    case SERVICE_SWITCH:
        *(bool *)to = *(const bool *)from;
        break;
    case SERVICE_SHARE:
        *(double *)to = *(const double *)from;
        break;
    case SERVICE_CHOICE:
        *(int *)to = *(const int *)from;
        break;
    default:
        *(uint64_t *)to = *(const uint64_t *)from;
        break;
    }
}

enum peal_err service_config_carry(struct service_config *fresh, const struct service_config *old)
{
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        if (!service_config_options[row].live) {
            carry(fresh, old, row);
        }
    }
    return fresh->starved ? PEAL_ENOMEM : PEAL_OK;
}

// ---- the bus ------------------------------------------------------------------------------------

// In the struct 0 is "not set", and none has a number of its own, the same for all options.
static uint64_t bus_number(uint64_t value)
{
    return value == SERVICE_UNSET ? 0 : value == 0 ? PEAL_NO_HISTORY : value;
}

void service_config_bus(struct peal_bus_options *out, const struct service_config *config)
{
    static const enum peal_durability durabilities[] = { [1] = PEAL_DURABILITY_MEMORY,
                                                         PEAL_DURABILITY_OS,
                                                         PEAL_DURABILITY_DISK };
    uint64_t workers = config->bus_workers;
    out->workers = workers == SERVICE_UNSET ? 0 : (int)workers;
    if (config->bus_durability > 0) {
        out->durability = durabilities[config->bus_durability];
    }
    out->history_events = bus_number(config->bus_history_events);
    out->history_bytes = bus_number(config->bus_history_bytes);
    out->history_ms = bus_number(config->bus_history_ms);
    out->forget_unread = config->bus_forget_unread;
    out->archive_ms = bus_number(config->bus_archive_ms);
    out->duplicate_events = bus_number(config->bus_duplicate_events);
    out->duplicate_ms = bus_number(config->bus_duplicate_ms);
    out->dead_max = bus_number(config->bus_dead_max);
    out->dead_ms = bus_number(config->bus_dead_ms);
    out->scheduled_max = bus_number(config->bus_scheduled_max);
    out->scheduled_bytes = bus_number(config->bus_scheduled_bytes);
    out->memory_max = bus_number(config->bus_memory_max);
    out->data_max = bus_number(config->bus_data_max);
    out->types_max = bus_number(config->bus_types_max);
    out->segment_bytes = bus_number(config->bus_segment_bytes);
    out->go_on = config->bus_go_on;
}
