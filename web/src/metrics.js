// SPDX-License-Identifier: MIT
//
// The one thing the dashboard reads from /metrics: how long syncs to disk take. They are told as a
// histogram of Prometheus, whose buckets count what took at most `le` seconds:
//
//     peal_sync_duration_seconds_bucket{le="0.001"} 812

const BUCKET = /^peal_sync_duration_seconds_bucket\{(?:[^}]*,)?le="([^"]+)"[^}]*\} (\S+)/;

// { count, median, most }: seconds that half and 99 % took at most, Infinity beyond the last
// bucket. null where nothing was synced, or nothing is told of it.
export function syncTime(text) {
    const buckets = [];
    for (const line of text.split("\n")) {
        const match = BUCKET.exec(line);
        if (match) {
            buckets.push([match[1] === "+Inf" ? Infinity : Number(match[1]), Number(match[2])]);
        }
    }
    buckets.sort((a, b) => a[0] - b[0]);
    const count = buckets.at(-1)?.[1] ?? 0;
    if (count === 0) {
        return null;
    }
    const within = (share) => buckets.find(([, number]) => number >= share * count)[0];
    return { count, median: within(0.5), most: within(0.99) };
}
