// SPDX-License-Identifier: MIT
//
// How the dashboard writes numbers, moments and JSON.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Exact, pretty, preview } from "../../web/src/exact.js";
import { syncTime } from "../../web/src/metrics.js";
import {
    ago,
    apart,
    bytes,
    count,
    duration,
    localTime,
    plural,
    position,
    rate,
} from "../../web/src/format.js";

test("numbers_are_grouped_and_what_is_unknown_is_a_dash", () => {
    assert.equal(count(1234567), "1,234,567");
    assert.equal(count(0), "0");
    assert.equal(count(undefined), "–");
    assert.equal(rate(0.44), "0.4");
    assert.equal(rate(10000.4), "10,000");
    assert.equal(plural(1, "event"), "1 event");
    assert.equal(plural(1200, "event"), "1,200 events");
});

test("a_position_of_twenty_digits_loses_none", () => {
    assert.equal(position("00000000000000000041"), "41");
    assert.equal(position("00000000000000000000"), "0");
    assert.equal(position("18446744073709551615"), "18,446,744,073,709,551,615");
    assert.equal(position(undefined), "");
});

test("sizes_and_durations_have_two_units_at_most", () => {
    assert.equal(bytes(1023), "1,023 B");
    assert.equal(bytes(1536), "1.5 KiB");
    assert.equal(bytes(310 * 1024 * 1024), "310 MiB");
    assert.equal(duration(0), "0 s");
    assert.equal(duration(0.0123), "12 ms");
    assert.equal(duration(9.54), "9.5 s");
    assert.equal(duration(200), "3 min 20 s");
    assert.equal(duration(7200), "2 h");
    assert.equal(duration(100000), "1 d 3 h");
});

test("moments_apart_have_a_sign", () => {
    assert.equal(apart("2026-11-21T10:00:00.000Z", "2026-11-21T10:00:00.012Z"), "+12 ms");
    assert.equal(apart("2026-11-21T10:00:03Z", "2026-11-21T10:00:00Z"), "−3 s");
    assert.equal(apart("2026-11-21T10:00:00.1Z", "2026-11-21T10:00:00.1Z"), "same ms");
    assert.equal(apart("?", "2026-11-21T10:00:00Z"), "");
});

test("how_long_ago_has_one_unit", () => {
    const before = (seconds) => ago(new Date(Date.now() - seconds * 1000).toISOString());
    assert.equal(before(0), "1 s ago");
    assert.equal(before(80), "1 min ago");
    assert.equal(before(3 * 3600 + 5), "3 h ago");
    assert.equal(before(100 * 86400), "100 d ago");
    assert.equal(ago("never"), "–");
});

test("a_time_of_another_day_has_its_date_and_no_time_stays_what_it_is", () => {
    assert.match(localTime("2001-02-03T12:00:00.004Z"), /^2001-02-0[34] \d\d:\d\d:00\.004$/);
    assert.match(localTime(new Date().toISOString()), /^\d\d:\d\d:\d\d\.\d\d\d$/);
    assert.equal(localTime("never"), "never");
});

test("json_is_printed_as_json_again", () => {
    const value = { a: [1, { b: null }, []], "c d": 'e\n"f"', g: {}, h: true };
    assert.deepEqual(JSON.parse(pretty(value)), value);
    assert.equal(pretty({ n: new Exact("1.50") }), '{\n  "n": 1.50\n}');
    assert.equal(new Exact("12.5") * 2, 25);
});

test("a_preview_looks_at_no_more_than_it_shows", () => {
    const line = preview({ list: Array.from({ length: 1e6 }, (_, i) => i), text: "x" }, 40);
    assert.equal(line.length, 41);
    assert.ok(line.endsWith("…"));
    assert.equal(preview({ a: 1, b: ["x", null] }, 40), '{a: 1, b: ["x", null]}');
    assert.equal(preview("text", 40), '"text"');
});

test("the_time_of_syncs_is_read_from_the_buckets_of_their_histogram", () => {
    const bucket = (le, number) => `peal_sync_duration_seconds_bucket{le="${le}"} ${number}`;
    const text = [
        "# HELP peal_sync_duration_seconds x",
        bucket("0.004", 995),
        bucket("0.001", 700),
        bucket("+Inf", 1000),
        "peal_sync_duration_seconds_count 1000",
    ].join("\n");
    assert.deepEqual(syncTime(text), { count: 1000, median: 0.001, most: 0.004 });
    assert.equal(syncTime([bucket("0.001", 1), bucket("+Inf", 100)].join("\n")).median, Infinity);
    assert.equal(syncTime(bucket("+Inf", 0)), null);
    assert.equal(syncTime('peal_other_bucket{le="1"} 5'), null);
});
