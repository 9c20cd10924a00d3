// SPDX-License-Identifier: MIT
//
// What the live view shows: the newest events, at a pace that can be read.
//
//     stream ──► buffer (newest last; bounded in events and bytes) ──four times a second──► list
//
// The service is asked for at most RATE events a second and tells of how many those are a sample.
// Should more come, they are counted and let go before they are parsed. While somebody reads (the
// list has the focus, or is paused) the list stands still, and says how many are waiting.
import { preview, parse } from "./exact.js";
import { follow } from "./feed.js";
import { batch, effect, signal } from "./html.js";

export const RATE = 200; // events a second
export const SHOWN_MAX = 200; // rows
const BUFFER_MAX = 1000; // events
const BUFFER_BYTES = 16 * 1024 * 1024; // characters of their JSON
const SHOW_MS = 250;
const TEXT_MS = 60; // after the last key
const SUBJECTS_MAX = 50;

export const list = signal([]); // newest first
export const paused = signal(false);
export const reading = signal(false);
export const waiting = signal(0); // events that came while the list stood still
export const sample = signal(null); // { seen, sent } of the last second
export const gap = signal(null); // what was forgotten before we came back
export const stream = signal({ state: "connecting", error: null });
export const text = signal(""); // what a row must contain

let buffer = [];
let bufferBytes = 0;
let number = 0; // of the next item: its key in the list
let fresh = 0; // items since the list was last made
let second = 0; // the one that `taken` counts in
let taken = 0;
let sampleTimer;
const subjects = new Set(); // seen lately, newest last

function remember(subject) {
    if (subject) {
        subjects.delete(subject);
        subjects.add(subject);
        if (subjects.size > SUBJECTS_MAX) {
            subjects.delete(subjects.values().next().value);
        }
    }
}

// An item of the list: its event and its data in a line, made when it is first shown.
function look(item) {
    if (!item.event) {
        item.event = parse(item.raw);
        item.line = preview(item.event.data ?? item.event.data_base64 ?? null, 240);
        remember(item.event.subject);
    }
    return item;
}

function make() {
    const wanted = text.value.toLowerCase();
    const next = [];
    for (let i = buffer.length - 1; i >= 0 && next.length < SHOWN_MAX; i--) {
        if (!wanted || buffer[i].raw.toLowerCase().includes(wanted)) {
            next.push(look(buffer[i]));
        }
    }
    list.value = next;
}

export function show() {
    batch(() => {
        fresh = 0;
        waiting.value = 0;
        make();
    });
}

// Reads who has the focus in the list, or in the event that was opened from it.
export function isReading(element) {
    return Boolean(element?.closest(".events, .panel"));
}

function tick() {
    if (fresh === 0) {
        return;
    }
    if (reading.value && !isReading(document.activeElement)) {
        reading.value = false; // What had the focus is gone, and said nothing.
    }
    if (paused.value || reading.value) {
        waiting.value = fresh;
    } else {
        show();
    }
}

function take(raw) {
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) {
        second = now;
        taken = 0;
    }
    if (++taken > 2 * RATE) {
        return;
    }
    buffer.push({ number: number++, raw, event: null, line: "" });
    bufferBytes += raw.length;
    fresh++;
    let drop = 0;
    while (
        buffer.length - drop > BUFFER_MAX ||
        (bufferBytes > BUFFER_BYTES && drop < buffer.length - 1)
    ) {
        bufferBytes -= buffer[drop++].raw.length;
    }
    if (drop) {
        buffer.splice(0, drop);
    }
}

function takeSample(raw) {
    const { seen, sent } = parse(raw);
    sample.value = { seen, sent };
    clearTimeout(sampleTimer);
    sampleTimer = setTimeout(() => {
        sample.value = null;
    }, 3000);
}

function clear() {
    clearTimeout(sampleTimer);
    buffer = [];
    bufferBytes = 0;
    fresh = 0;
    batch(() => {
        list.value = [];
        waiting.value = 0;
        sample.value = null;
        gap.value = null;
    });
}

export function resume() {
    paused.value = false;
    reading.value = false;
    show();
}

// Follows what the selectors mean until it is ended. What was shown of others is gone.
export function watch(selectors) {
    clear();
    const end = follow(
        { ...selectors, max_rate: RATE },
        {
            state(state, error) {
                stream.value = { state, error };
            },
            anew: clear,
            message: take,
            sample: takeSample,
            gap(raw) {
                gap.value = parse(raw);
            },
        },
    );
    const timer = setInterval(tick, SHOW_MS);
    // A new text is asked of what is here, also while the list stands still; but not while the key
    // is on its way to the screen.
    let soon;
    const endText = effect(() => {
        text.value;
        clearTimeout(soon);
        soon = setTimeout(make, TEXT_MS);
    });
    return () => {
        clearInterval(timer);
        endText();
        clearTimeout(soon);
        end();
        clear();
    };
}

// Subjects seen lately, newest first, to choose a stream from.
export function recentSubjects() {
    return [...subjects].reverse();
}
