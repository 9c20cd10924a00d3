// SPDX-License-Identifier: MIT
//
// Checks: when everybody is at rest, is somebody waiting who should not be; do the dead letters
// agree; and at the end, is anything missing, doubled, or counted wrongly.
#ifndef BUS_CHECKS_H
#define BUS_CHECKS_H

#include "sim/bus_actors.h"

static inline struct member *somebody(struct box *box)
{
    for (unsigned i = 0; i < MEMBERS_MAX; i++) {
        if (box->members[i].presence == HERE && !box->members[i].busy) {
            return &box->members[i];
        }
    }
    return NULL;
}

static inline struct peal_subscription_stats look(const struct member *member)
{
    struct peal_subscription_stats stats;
    if (peal_subscription_stats(&stats, member->subscription)) {
        wrong(member->box->sim, "%s: no stats: %s", member->box->label, peal_error_sentence());
    }
    return stats;
}

// ---- nobody waits for nothing -------------------------------------------------------------------

// Another event of its key has to go first.
static inline bool is_held_back(const struct box *box, uint32_t serial)
{
    const struct sim *sim = box->sim;
    const struct note *note = &sim->notes[serial - 1];
    const struct line *line = &box->lines[line_of(note)];
    if (line_of(note) == 0 || box->options.order == PEAL_ORDER_NONE) {
        return false;
    }
    for (unsigned i = 0; i < line->count; i++) {
        if (line->open[i] != serial) {
            return true; // before it, or a dead letter that came back before it
        }
    }
    return false;
}

static inline bool is_overdue(const struct box *box, uint32_t serial)
{
    const struct sim *sim = box->sim;
    const struct note *note = &sim->notes[serial - 1];
    const struct life *life = &box->lives[serial - 1];
    int64_t due = note->ended_at > box->touched ? note->ended_at : box->touched;
    if (box->sim->options.dead_max && box->counts.dead > 0) {
        return false; // one that finds no room among the dead letters may hold others up
    }
    if (life->state == NONE) {
        // What is open may fill the mailbox's place.
        if (duty_of(box, note) != MUST || may_miss(box) || is_lossy(box) || box->lives_open > 0) {
            return false;
        }
    } else if (life->state != OPEN || box->options.overflow == PEAL_LATEST_PER_KEY) {
        return false;
    } else if (life->not_after > due) {
        due = life->not_after;
    }
    if (box->options.batch_wait_ms) { // counts from when a worker first had time to look
        due = (sim->busy > due ? sim->busy : due) + (int64_t)box->options.batch_wait_ms * MS;
    }
    return due <= now_of(sim) && !is_held_back(box, serial);
}

// The bus has seen by now whose acknowledgement wait is over.
static inline void expire_all(struct box *box)
{
    for (uint32_t i = 0; i < box->sim->note_count; i++) {
        struct life *life = &box->lives[i];
        if (life->state == LATER && !life->settling && now_of(box->sim) >= life->deadline) {
            expire(box, life);
        }
    }
}

static inline void check_stalled(struct box *box)
{
    struct sim *sim = box->sim;
    const struct member *member = somebody(box);
    if (!member) {
        return;
    }
    struct peal_subscription_stats stats = look(member);
    if (stats.paused || stats.failed_overflow) {
        return;
    }
    expire_all(box);
    if (box->options.mode == PEAL_PULL) {
        return; // who pulls decides when
    }
    // Who holds something, or collects a batch, is told when it goes on.
    bool waits = box->lives_open > 0 || box->options.batch_wait_ms > 0;
    if (!waits && stats.dropped != box->counts.dropped + box->lost) {
        wrong(sim, "%s: %llu events are lost, and it was told of %llu", box->label,
              (unsigned long long)(stats.dropped - box->counts.dropped),
              (unsigned long long)box->lost);
    }
    for (uint32_t serial = 1; serial <= sim->note_count; serial++) {
        if (is_overdue(box, serial)) {
            wrong(sim, "%s: nobody does anything, and #%u (state %u, attempt %u) waits", box->label,
                  serial, box->lives[serial - 1].state, box->lives[serial - 1].attempt);
        }
    }
}

// ---- dead letters -------------------------------------------------------------------------------

static inline void check_letter(struct sim *sim, const struct peal_dead_letter *letter)
{
    struct box *box;
    struct life *life = life_of(sim, letter, &box);
    uint32_t serial = serial_of(box, life);
    // Of a subscription that has stopped for good, what was retried is a dead letter again.
    const struct member *member = somebody(box);
    if (box->gone_begun || letter->retrying || !member || look(member).failed_overflow) {
        return;
    }
    if (life->state == LATER && now_of(sim) >= life->deadline) {
        expire(box, life);
    }
    if (life->state != DEAD) {
        wrong(sim, "%s: #%u has a dead letter, and is in state %u", box->label, serial,
              life->state);
    }
    if (letter->attempts != life->attempt ||
        strcmp(letter->reason, reason_names[life->reason]) != 0) {
        wrong(sim, "%s: the dead letter of #%u says %u attempts, %s instead of %u, %s", box->label,
              serial, letter->attempts, letter->reason, life->attempt, reason_names[life->reason]);
    }
}

// Every dead one has one letter, unless there was no room for it.
static inline void check_lists(struct sim *sim, const struct peal_dead_list *list)
{
    static bool listed[BOXES_MAX][NOTES_MAX];
    memset(listed, 0, sizeof listed);
    for (size_t i = 0; i < list->count; i++) {
        struct box *box;
        const struct life *life = life_of(sim, &list->letters[i], &box);
        bool *mine = &listed[box->index][serial_of(box, life) - 1];
        if (*mine || (i > 0 && list->letters[i].id <= list->letters[i - 1].id)) {
            wrong(sim, "%s: #%u has two dead letters", box->label, serial_of(box, life));
        }
        *mine = true;
    }
    for (unsigned i = 0; i < sim->box_count; i++) {
        const struct box *box = &sim->boxes[i];
        for (uint32_t j = 0; j < sim->note_count && !box->gone_begun; j++) {
            if (box->lives[j].state == DEAD && !listed[i][j] && !sim->options.dead_max) {
                wrong(sim, "%s: #%u is dead and has no letter", box->label, j + 1);
            }
        }
    }
}

static inline void check_letters(struct sim *sim)
{
    struct peal_dead_list list;
    struct peal_bus_stats stats;
    if (peal_dead_list(&list, sim->bus, NULL) || peal_bus_stats(&stats, sim->bus)) {
        return; // closed meanwhile
    }
    for (size_t i = 0; i < list.count; i++) {
        check_letter(sim, &list.letters[i]);
    }
    check_lists(sim, &list);
    if (stats.dead_letters != list.count ||
        (sim->options.dead_max && list.count > sim->options.dead_max)) {
        wrong(sim, "%zu dead letters are listed, %llu are counted, %llu may be", list.count,
              (unsigned long long)stats.dead_letters, (unsigned long long)sim->options.dead_max);
    }
    peal_dead_list_finish(&list);
}

// Time stands, and nobody can go on without it.
static inline void at_rest(struct sim *sim)
{
    sim->epoch++;
    for (unsigned i = 0; i < sim->box_count; i++) {
        sim->boxes[i].frozen = sim->boxes[i].paused;
    }
    if (sim->stopping || sim->dark) {
        return;
    }
    check_letters(sim);
    for (unsigned i = 0; i < sim->box_count && sim->running == 0; i++) {
        check_stalled(&sim->boxes[i]);
    }
}

// ---- the end ------------------------------------------------------------------------------------

struct sums {
    uint64_t must, may;            // that were not settled
    uint64_t later, expired, dead; // of all
};

static inline bool in_a_gap(const struct box *box, uint64_t position)
{
    for (unsigned i = 0; i < box->gap_count; i++) {
        if (position >= box->gaps[i].first && position <= box->gaps[i].last) {
            return true;
        }
    }
    return false;
}

// What is left of a box. `all_told`: what was lost has been told.
static inline struct sums sum_up(const struct box *box, bool all_told)
{
    const struct sim *sim = box->sim;
    struct sums sums = { 0 };
    for (uint32_t i = 0; i < sim->note_count; i++) {
        const struct note *note = &sim->notes[i];
        const struct life *life = &box->lives[i];
        enum duty duty = duty_of(box, note);
        sums.dead += life->state == DEAD;
        sums.later += life->state == LATER;
        sums.expired += life->state == LATER && now_of(sim) >= life->deadline;
        if (life->state != NONE && life->state != OPEN && life->state != LOST) {
            continue;
        }
        bool begun = life->state != NONE;
        if (all_told && duty != NOT) {
            tell(sim, "%s: #%u (position %llu) was not settled: state %u, attempt %u%s", box->label,
                 i + 1, (unsigned long long)note->position, life->state, life->attempt,
                 duty == MAY ? ", and need not be" : "");
        }
        sums.must += begun || duty == MUST;
        sums.may += !begun && duty == MAY;
        if (all_told && (begun || duty == MUST) && note->position &&
            !in_a_gap(box, note->position)) {
            wrong(sim, "%s: #%u (position %llu) is lost: neither settled nor in a gap", box->label,
                  i + 1, (unsigned long long)note->position);
        }
    }
    return sums;
}

static inline void check_count(const struct box *box, const char *what, uint64_t counted,
                               uint64_t least, uint64_t most)
{
    if (counted < least || counted > most) {
        wrong(box->sim, "%s: %s is %llu instead of %llu to %llu", box->label, what,
              (unsigned long long)counted, (unsigned long long)least, (unsigned long long)most);
    }
}

// The subscription's own counters against the model's.
static inline void check_counters(const struct box *box,
                                  const struct peal_subscription_stats *stats,
                                  const struct sums *sums)
{
    const struct sim *sim = box->sim;
    check_count(box, "delivered", stats->delivered, box->counts.delivered, box->counts.delivered);
    check_count(box, "filtered", stats->filtered, box->counts.filtered, box->counts.filtered);
    check_count(box, "released", stats->released, box->counts.released, box->counts.released);
    check_count(box, "rejected", stats->rejected, box->counts.rejected, box->counts.rejected);
    check_count(box, "failed", stats->failed, box->counts.failed,
                box->counts.failed + sums->expired);
    check_count(box, "dead", stats->dead, sim->options.dead_max ? 0 : box->counts.dead,
                box->counts.dead + sums->expired);
    check_count(box, "in_flight", stats->in_flight, sums->later - sums->expired, sums->later);
    bool lossy = is_lossy(box) || may_miss(box);
    check_count(box, "dropped", stats->dropped, box->counts.dropped + box->lost,
                lossy ? UINT64_MAX : box->counts.dropped + sums->expired);
}

// After an orderly end everything is settled, or was told to be lost.
static inline void check_settled(struct box *box)
{
    const struct sim *sim = box->sim;
    const struct member *member = somebody(box);
    struct peal_subscription_stats stats = { 0 };
    if (!member) {
        return; // nobody can tell
    }
    stats = look(member);
    if (stats.failed_overflow) {
        return;
    }
    struct sums sums = sum_up(box, true);
    check_counters(box, &stats, &sums);
    if (stats.waiting || stats.in_flight || sums.dead) {
        wrong(sim, "%s: %llu wait, %llu are in flight, %llu are dead", box->label,
              (unsigned long long)stats.waiting, (unsigned long long)stats.in_flight,
              (unsigned long long)sums.dead);
    }
    // What the log has forgotten unseen is counted by position, whatever it was.
    bool exact =
        !(may_miss(box) || (sim->forgets && is_lossy(box))) || patterns[box->pattern].types == 0x3f;
    if (box->lost < sums.must || (exact && box->lost > sums.must + sums.may)) {
        wrong(sim, "%s: gaps say %llu are lost, and %llu are, or up to %llu", box->label,
              (unsigned long long)box->lost, (unsigned long long)sums.must,
              (unsigned long long)(sums.must + sums.may));
    }
}

// After a stop in the middle what was not settled is among what is left.
static inline void check_left(struct box *box)
{
    const struct sim *sim = box->sim;
    const struct member *member = somebody(box);
    if (!member) {
        return;
    }
    struct peal_subscription_stats stats = look(member);
    struct sums sums = sum_up(box, false);
    check_counters(box, &stats, &sums);
    if (!stats.failed_overflow) {
        uint64_t losses = is_lossy(box) || may_miss(box) ? sums.must : 0;
        // While it reads the log, all of the log that is ahead waits.
        check_count(box, "waiting", stats.waiting, sums.must - losses,
                    sums.must + sums.may + sums.dead + sums.expired + sim->note_count);
    }
}

static inline void check_bus_counters(const struct sim *sim)
{
    struct peal_bus_stats stats;
    if (peal_bus_stats(&stats, sim->bus)) {
        wrong(sim, "no stats: %s", peal_error_sentence());
    }
    uint64_t emitted = 0; // and not lost
    for (uint32_t i = 0; i < sim->note_count; i++) {
        emitted += sim->notes[i].emitted && sim->notes[i].fate == ACCEPTED;
    }
    uint64_t got_through = sim->emits - stats.emit_lost;
    if (stats.published != sim->accepted + got_through || emitted > got_through ||
        stats.duplicates != sim->duplicates || stats.refused < sim->refused) {
        wrong(sim, "%llu published instead of %llu + %llu, %llu duplicates instead of %llu",
              (unsigned long long)stats.published, (unsigned long long)sim->accepted,
              (unsigned long long)got_through, (unsigned long long)stats.duplicates,
              (unsigned long long)sim->duplicates);
    }
    if (sim->keeps && stats.last_position != sim->accepted + got_through) {
        wrong(sim, "the last position is %llu after %llu events",
              (unsigned long long)stats.last_position,
              (unsigned long long)(sim->accepted + got_through));
    }
}

// The versions of a subject's stream follow each other.
static inline void check_versions(const struct sim *sim)
{
    uint64_t version[4] = { 0 };
    for (uint64_t position = 1; position <= NOTES_MAX && !sim->forgets && sim->keeps; position++) {
        const struct note *note = sim->at[position] ? &sim->notes[sim->at[position] - 1] : NULL;
        if (note && note->subject && note->version != ++version[note->subject]) {
            wrong(sim, "#%u (position %llu) has stream version %llu instead of %llu",
                  sim->at[position], (unsigned long long)position,
                  (unsigned long long)note->version, (unsigned long long)version[note->subject]);
        }
    }
}

#endif
