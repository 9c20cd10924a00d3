// SPDX-License-Identifier: MIT
//
// The members of a mailbox: who is called for its events.
//
// Usually one, which is part of the mailbox's memory (`only`). Those who share a durable name are
// several, or none while nobody has it; they are in a list under the mailbox's lock.
#include "bus/calls.h"

// A member has come or gone: as many may run it as its members have handlers. While nobody has a
// durable name one may still, and finds nobody to call.
static void count_runners(struct pl_mailbox *mailbox)
{
    unsigned each = mailbox->settings->options.concurrency;
    pl_mutex_lock(&mailbox->bus->runs.lock, mailbox->seams);
    unsigned members = mailbox->member_count; // whoever is last here sees the newest count
    unsigned most = members ? each * members : 1;
    mailbox->running_max = (uint16_t)(most < UINT16_MAX ? most : UINT16_MAX);
    pl_mutex_unlock(&mailbox->bus->runs.lock, mailbox->seams);
}

void pl_member_add(struct pl_mailbox *mailbox, struct peal_subscription *member)
{
    member->mailbox = mailbox;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    pl_list_add_tail(&mailbox->members, &member->member);
    mailbox->member_count++;
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    count_runners(mailbox);
}

void pl_member_remove(struct pl_mailbox *mailbox, struct peal_subscription *member)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    pl_list_remove(&member->member);
    mailbox->member_count--;
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    count_runners(mailbox);
}

void pl_members_free(struct pl_mailbox *mailbox)
{
    struct peal_subscription *member, *after;
    PL_LIST_EACH_SAFE (member, after, &mailbox->members, member) {
        pl_list_remove(&member->member);
        if (member != &mailbox->only) {
            pl_release(mailbox->seams, member);
        }
    }
}
