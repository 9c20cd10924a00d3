// SPDX-License-Identifier: MIT
//
// Numbers that are asked for again and again, while somebody looks at them.
//
// Asking must not become the load: after an answer that took long it waits ten times as long, and
// in a hidden tab it does not ask at all.
import { get } from "./api.js";
import { backoff, pause } from "./connection.js";
import { signal, useEffect, useMemo } from "./html.js";
import { visible } from "./visible.js";

function wait(ms, source) {
    return new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        source.wake = () => {
            clearTimeout(timer);
            resolve();
        };
    });
}

async function run(source, ms, onValue, signal) {
    for (let failures = 0; !signal.aborted;) {
        await visible(signal);
        if (signal.aborted) {
            return;
        }
        const begin = performance.now();
        try {
            const value = await get(source.path, source.query, signal);
            failures = 0;
            if (!signal.aborted) {
                source.error.value = null;
                onValue(value);
            }
        } catch (error) {
            if (signal.aborted) {
                return;
            }
            source.error.value = error;
            await pause(backoff(failures++), signal);
            continue;
        }
        await wait(Math.max(ms, 10 * (performance.now() - begin)), source);
    }
}

// Asks from now on; what is returned stops it. `refresh` asks at once.
export function poll(path, ms, onValue, query) {
    const controller = new AbortController();
    const source = { path, query, error: signal(null), wake() {} };
    run(source, ms, onValue, controller.signal);
    return {
        error: source.error,
        refresh: () => source.wake(),
        stop() {
            controller.abort();
            source.wake();
        },
    };
}

// The same inside a component: { value, error, refresh } as long as it is on the page.
export function usePoll(path, ms, query) {
    const key = path + JSON.stringify(query ?? null);
    const held = useMemo(
        () => ({ value: signal(undefined), error: signal(null), at: null }),
        [key],
    );
    useEffect(() => {
        const source = poll(
            path,
            ms,
            (value) => {
                held.value.value = value;
                held.error.value = null;
            },
            query,
        );
        held.at = source;
        const stopCopy = source.error.subscribe((error) => {
            held.error.value = error;
        });
        return () => {
            stopCopy();
            source.stop();
        };
    }, [key]);
    return { value: held.value.value, error: held.error.value, refresh: () => held.at?.refresh() };
}
