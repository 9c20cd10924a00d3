// SPDX-License-Identifier: MIT
//
// The numbers at the top of every view: /v1/stats every second, /v1/readyz every five, and when the
// service is back.
import { request } from "./api.js";
import { pause } from "./connection.js";
import { signal } from "./html.js";
import { poll } from "./poll.js";
import { visible } from "./visible.js";

export const stats = signal(null);
export const statsError = signal(null);
// { ready, reasons }, or null where it could not be asked.
export const health = signal(null);

// Not ready is an answer too, though its status is 503.
async function askHealth() {
    try {
        await request("/readyz");
        health.value = { ready: true, reasons: [] };
    } catch (error) {
        health.value = error.status === 503 ? { ready: false, reasons: error.reasons ?? [] } : null;
    }
}

async function watchHealth(signal) {
    while (!signal.aborted) {
        await askHealth();
        await pause(5000, signal);
        await visible(signal);
    }
}

export function watchStats() {
    const controller = new AbortController();
    const source = poll("/v1/stats", 1000, (value) => {
        stats.value = value;
    });
    const stop = source.error.subscribe((error) => {
        statsError.value = error;
    });
    watchHealth(controller.signal);
    return () => {
        controller.abort();
        stop();
        source.stop();
    };
}
