// SPDX-License-Identifier: MIT
//
// peal replay: the events of a query once more, in their order and at their pace; to the output, or
// published to another bus.
//
// What is published again keeps its id, source and time, so that a bus that has it already knows it
// and a second run of the same replay does no harm while the ids are remembered.
#include <inttypes.h>
#include <string.h>

#include "cli/output.h"
#include "cli/select.h"

struct replay {
    struct select select;
    double speed;
    bool full;
    const char *to;
};

static const struct cli_option options[] = {
    { "speed", 'x', CLI_REAL, "FACTOR", "so many times the original pace; default 1",
      offsetof(struct replay, speed) },
    { "full", 'f', CLI_FLAG, NULL, "as fast as it goes", offsetof(struct replay, full) },
    { "to", 0, CLI_TEXT, "URL", "publish the events there instead of printing them",
      offsetof(struct replay, to) },
    SELECT_OPTIONS(struct replay),
    CLI_END,
};

struct run {
    struct cli *cli;
    peal_bus *to;
    struct cli_events events;
    struct cli_progress progress;
    uint64_t first; // position the progress counts from
    uint64_t done, duplicates;
    enum peal_err failed;
};

// Progress comes now and then, and first of all perhaps when half is done.
static void begin_at(struct run *run, const peal_event *event)
{
    run->first = run->first ? run->first : peal_event_position(event);
}

static enum peal_verdict write_event(const peal_event *event, void *context)
{
    struct run *run = context;
    begin_at(run, event);
    cli_event_write(run->cli, &run->events, event);
    (void)fflush(run->cli->out); // at a pace, each is wanted at its time; finish() asks for errors
    run->done++;
    return cli_gone(run->cli) ? PEAL_RELEASE : PEAL_DONE;
}

static const char *given(const char *text)
{
    return *text ? text : NULL;
}

static enum peal_verdict publish_event(const peal_event *event, void *context)
{
    struct run *run = context;
    struct peal_pair pairs[PEAL_METADATA_MAX];
    struct peal_receipt receipt;
    size_t count = peal_event_metadata_count(event);
    begin_at(run, event);
    for (size_t i = 0; i < count && i < PEAL_METADATA_MAX; i++) {
        pairs[i] = peal_event_metadata_at(event, i);
    }
    const struct peal_message message = {
        .type = peal_event_type(event),
        .data = peal_event_data(event),
        .size = peal_event_size(event),
        .content_type = peal_event_content_type(event),
        .subject = given(peal_event_subject(event)),
        .key = given(peal_event_key(event)),
        .correlation = given(peal_event_correlation(event)),
        .causation = given(peal_event_causation(event)),
        .id = peal_event_id(event),
        .source = given(peal_event_source(event)),
        .schema = given(peal_event_schema(event)),
        .traceparent = given(peal_event_traceparent(event)),
        .tracestate = given(peal_event_tracestate(event)),
        .metadata = pairs,
        .metadata_count = count,
        .time_ns = peal_event_time(event),
        .priority = PEAL_PRIORITY(peal_event_priority(event)),
    };
    if (strncmp(message.type, "$peal.", 6) == 0) {
        return PEAL_DONE; // the system's own are made by each bus itself
    }
    run->failed = peal_publish(run->to, &message, &receipt);
    if (run->failed) {
        return PEAL_RELEASE;
    }
    run->done++;
    run->duplicates += receipt.duplicate;
    return cli_interrupted() ? PEAL_RELEASE : PEAL_DONE;
}

static bool on_progress(uint64_t position, uint64_t last, void *context)
{
    struct run *run = context;
    run->first = run->first ? run->first : position;
    run->progress.total = last - run->first + 1;
    if (run->to || !run->cli->terminal) {
        cli_progress_at(&run->progress, position - run->first + 1);
    }
    return !cli_interrupted();
}

static int replay_events(struct cli *cli, peal_bus *bus, struct run *run,
                         struct peal_replay *replay)
{
    cli_progress_begin(&run->progress, cli, "events", 0);
    replay->progress = on_progress;
    replay->progress_context = run;
    enum peal_err err = peal_replay(bus, replay, NULL, run->to ? publish_event : write_event, run);
    cli_progress_end(&run->progress);
    if (run->failed) {
        return cli_failed(cli, run->failed);
    }
    if (err && !cli->broken && !cli_interrupted()) {
        return cli_failed(cli, err);
    }
    if (run->to) {
        cli_remark(cli, "%" PRIu64 " events published, %" PRIu64 " of them known already",
                   run->done, run->duplicates);
    } else if (run->done == 0) {
        cli_remark(cli, "no such event");
    }
    return run->done ? CLI_YES : CLI_NO;
}

static int run(struct cli *cli, peal_bus *bus, const void *options_given)
{
    const struct replay *wanted = options_given;
    struct run run = { .cli = cli };
    struct peal_replay replay = { .speed = wanted->full        ? 0
                                           : wanted->speed > 0 ? wanted->speed
                                                               : 1 };
    if (wanted->full && wanted->speed > 0) {
        return cli_misuse(cli, "either --full or --speed");
    }
    int status = select_query(&replay.query, cli, &wanted->select);
    if (status) {
        return status;
    }
    if (wanted->to && cli_same_log(wanted->to, cli->url)) {
        return cli_misuse(cli,
                          "--to %s is the log itself, which would have its events twice; to have "
                          "them handled again there is peal subs seek",
                          wanted->to);
    }
    status = wanted->to ? cli_open(cli, &run.to, wanted->to, true) : CLI_YES;
    if (status) {
        return status;
    }
    status = replay_events(cli, bus, &run, &replay);
    peal_bus_close(run.to);
    cli_events_finish(&run.events);
    return status;
}

const struct cli_verb cli_verb_replay = {
    .name = "replay",
    .arguments = "[PATTERN]",
    .summary = "events once more, at their pace: printed, or published elsewhere",
    .about = "Gives the events that meet all conditions once more, oldest first, with the pauses\n"
             "they had. The exit status is 1 if there is none.\n\n"
             "  peal replay 'training.*' --speed 60\n"
             "  peal replay --since today --full --to file:./copy\n",
    .options = options,
    .size = sizeof(struct replay),
    .most = 1,
    .need = CLI_READS,
    .asks = true,
    .run = run,
};
