// SPDX-License-Identifier: MIT
//
// The service's stream of events, kept up: connects, notices when it has gone silent, comes back
// and resumes behind the last event it was given.
import { address, request } from "./api.js";
import { backoff, connection, lost, pause } from "./connection.js";
import { readStream } from "./sse.js";
import { visible } from "./visible.js";

// The service sends at least a comment every 15 s. Without anything for this long it is gone.
const SILENCE_MS = 40000;
// A tab nobody looks at gives its connection back.
const HIDDEN_MS = 60000;

// A refusal that the same question will meet again.
function isFinal(error) {
    return error.status >= 400 && error.status < 500 && error.status !== 429;
}

async function attempt(state, query, on) {
    const controller = new AbortController();
    state.controller = controller;
    let timer;
    let stopWatching = () => {};
    const alive = () => {
        clearTimeout(timer);
        timer = setTimeout(() => {
            lost();
            controller.abort();
        }, SILENCE_MS);
    };
    try {
        alive();
        const headers = { Accept: "text/event-stream" };
        if (state.id) {
            headers["Last-Event-ID"] = state.id;
        }
        const answer = await request(address("/v1/stream", query), {
            headers,
            signal: controller.signal,
        });
        state.failures = 0;
        on.state("open", null);
        // A connection may die and say nothing. If other calls find the service gone, this one is
        // not believed any more: it resumes where it was, so nothing is lost by asking again.
        stopWatching = connection.subscribe((state) => {
            if (state === "down") {
                controller.abort();
            }
        });
        await readStream(
            answer.body,
            (message) => {
                state.id = message.id ?? state.id;
                on[message.event]?.(message.data);
            },
            alive,
        );
    } finally {
        clearTimeout(timer);
        stopWatching();
        controller.abort();
    }
}

async function run(state, query, on) {
    while (!state.stop.aborted) {
        await visible(state.stop);
        let error = null;
        try {
            await attempt(state, query, on);
        } catch (caught) {
            error = caught;
        }
        if (state.stop.aborted) {
            return;
        }
        if (error?.status === 400 && state.id) {
            // A cursor that is none here: the log is another one, or has begun anew.
            state.id = null;
            on.anew();
            continue;
        }
        if (error && isFinal(error)) {
            on.state("refused", error);
            return;
        }
        if (state.leftAlone) {
            state.leftAlone = false;
            state.id = null; // Whoever comes back wants to see now, not the hours between.
            continue;
        }
        on.state("waiting", error);
        await pause(backoff(state.failures++), state.stop);
    }
}

// on: { state(name, error), message(text), gap(text), sample(text), anew() }, the last when what comes
// now does not follow on what came before. Returns what ends it.
export function follow(query, on) {
    const stop = new AbortController();
    const state = { id: null, failures: 0, stop: stop.signal, controller: null, leftAlone: false };
    let hidden;
    const look = () => {
        clearTimeout(hidden);
        if (document.visibilityState === "hidden") {
            hidden = setTimeout(() => {
                state.leftAlone = true;
                state.controller?.abort();
            }, HIDDEN_MS);
        }
    };
    document.addEventListener("visibilitychange", look);
    on.state("connecting", null);
    run(state, query, on);
    return () => {
        document.removeEventListener("visibilitychange", look);
        clearTimeout(hidden);
        stop.abort();
        state.controller?.abort();
    };
}
