// SPDX-License-Identifier: MIT
//
// Waits until somebody looks at the page, or the signal says that it no longer matters.
export function visible(signal) {
    return new Promise((resolve) => {
        const look = () => {
            if (document.visibilityState === "visible" || signal.aborted) {
                document.removeEventListener("visibilitychange", look);
                signal.removeEventListener("abort", look);
                resolve();
            }
        };
        document.addEventListener("visibilitychange", look);
        signal.addEventListener("abort", look);
        look();
    });
}
