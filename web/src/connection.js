// SPDX-License-Identifier: MIT
//
// Can the service be reached? Every call tells; what waits to try again is woken by the first call
// that gets through, so that all of the page comes back at once.
import { signal } from "./html.js";

// "connecting" until something was answered, then "up" or "down".
export const connection = signal("connecting");
export const downSince = signal(0);

let wakers = new Set();

export function wake() {
    const all = wakers;
    wakers = new Set();
    for (const waker of all) {
        waker();
    }
}

export function reached() {
    if (connection.value !== "up") {
        connection.value = "up";
        wake();
    }
}

export function lost() {
    if (connection.value !== "down") {
        downSince.value = Date.now();
        connection.value = "down";
    }
}

// Waits, but not longer than until the service is back or somebody asks to try now.
export function pause(ms, signal) {
    return new Promise((resolve) => {
        const end = () => {
            clearTimeout(timer);
            wakers.delete(end);
            signal?.removeEventListener("abort", end);
            resolve();
        };
        const timer = setTimeout(end, ms);
        wakers.add(end);
        signal?.addEventListener("abort", end);
    });
}

// How long to wait before the next attempt: 0.5 s, 1 s, 2 s, ... 8 s, each a little by chance.
export function backoff(attempt) {
    return Math.min(8000, 500 * 2 ** attempt) * (0.75 + Math.random() / 2);
}

window.addEventListener("online", wake);
