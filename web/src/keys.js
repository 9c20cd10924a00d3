// SPDX-License-Identifier: MIT
//
// The keyboard, where no field has it.
import { signal } from "./html.js";
import * as live from "./live.js";
import { change, go, route, VIEWS } from "./route.js";
import { toggleTheme } from "./theme.js";

export const helpOpen = signal(false);

// For the help, in the order a person needs them.
export const KEYS = [
    ["/", "to the filter"],
    ["↑ ↓ Home End", "from event to event"],
    ["Enter", "open what has the focus"],
    ["Escape", "close, or leave the field"],
    ["p", "pause, and go on"],
    ["1 … 6", "the views, from left to right"],
    ["d", "light or dark"],
    ["?", "these keys"],
];

function isField(element) {
    return element.matches?.("input, textarea, select, [contenteditable]");
}

function togglePause() {
    if (live.paused.value) {
        live.resume();
    } else {
        live.paused.value = true;
    }
}

function escape() {
    const { event, letter } = route.value.params;
    if (event || letter) {
        change({ event: undefined, letter: undefined });
    } else {
        document.activeElement?.blur?.();
    }
}

// From anywhere, arrow down goes to the newest event.
function firstRow() {
    document.querySelector(".events button.row")?.focus();
}

const ACTIONS = {
    "/": () => document.querySelector("[data-filter]")?.focus(),
    "?": () => {
        helpOpen.value = true;
    },
    p: togglePause,
    d: toggleTheme,
    Escape: escape,
    ArrowDown: firstRow,
};

function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) {
        return;
    }
    if (document.querySelector("dialog[open]")) {
        return;
    }
    if (isField(event.target)) {
        if (event.key === "Escape") {
            event.target.blur();
        }
        return;
    }
    const view = VIEWS[Number(event.key) - 1];
    if (view) {
        go(view[0]);
        return;
    }
    // Arrow keys belong to whatever has the focus; where nothing has it, to the list.
    if (event.key === "ArrowDown" && document.activeElement !== document.body) {
        return;
    }
    const action = ACTIONS[event.key];
    if (action) {
        event.preventDefault();
        action();
    }
}

export function listenToKeys() {
    document.addEventListener("keydown", onKey);
}
