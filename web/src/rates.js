// SPDX-License-Identifier: MIT
//
// How many events of which type a second: asked of the service every second, remembered for some
// minutes, as the chart draws it.
//
// A rate is the difference of two counts over the time between. The busiest types get a colour and
// keep it as long as they are among the busiest; all others are one area together.
import { poll } from "./poll.js";
import { batch, signal } from "./html.js";

export const POINTS = 180; // seconds the chart remembers
export const COLOURS = 6;
const BUSY_MAX = 200; // types a point remembers; the others are a sum

export const types = signal({ types: [], complete: true, known: false });
export const history = signal({ times: [], areas: [], other: [] });
export const typesError = signal(null);

let last = null; // { at, counts }
let points = []; // { time, rates: Map of type to rate, rest: of all other types }
let coloured = new Array(COLOURS).fill(null); // which type has the colour of that number

export function colourOf(type) {
    const number = coloured.indexOf(type);
    return number < 0 ? "other" : `${number}`;
}

function ratesSince(list, now) {
    const rates = new Map();
    const seconds = last ? (now - last.at) / 1000 : 0;
    for (const { type, count, rate } of list) {
        const before = last?.counts.get(type) ?? 0;
        // The first time, and when the service has begun anew, there is no difference to take.
        const since = !last || count < before ? Number(rate) : (count - before) / seconds;
        if (since > 0) {
            rates.set(type, since);
        }
    }
    const all = [...rates].sort((a, b) => b[1] - a[1]);
    last = { at: now, counts: new Map(list.map(({ type, count }) => [type, Number(count)])) };
    return {
        rates: new Map(all.slice(0, BUSY_MAX)),
        rest: all.slice(BUSY_MAX).reduce((sum, [, one]) => sum + one, 0),
    };
}

// The busiest of the time shown; whoever has a colour keeps it.
function giveColours() {
    const sums = new Map();
    for (const point of points) {
        for (const [type, rate] of point.rates) {
            sums.set(type, (sums.get(type) ?? 0) + rate);
        }
    }
    const busiest = [...sums]
        .sort((a, b) => b[1] - a[1])
        .slice(0, COLOURS)
        .map(([type]) => type);
    coloured = coloured.map((type) => (busiest.includes(type) ? type : null));
    for (const type of busiest) {
        if (!coloured.includes(type)) {
            coloured[coloured.indexOf(null)] = type;
        }
    }
}

function draw() {
    const areas = coloured.map((type) => ({
        type,
        rates: points.map((point) => (type ? (point.rates.get(type) ?? 0) : 0)),
    }));
    const other = points.map((point) => {
        let sum = point.rest;
        for (const [type, rate] of point.rates) {
            sum += coloured.includes(type) ? 0 : rate;
        }
        return sum;
    });
    history.value = { times: points.map((point) => point.time), areas, other };
}

export function takeTypes(answer, now = Date.now()) {
    points.push({ time: now / 1000, ...ratesSince(answer.types, now) });
    points = points.slice(-POINTS);
    giveColours();
    batch(() => {
        types.value = { ...answer, known: true };
        draw();
    });
}

export function watchTypes() {
    const source = poll("/v1/types", 1000, (answer) => takeTypes(answer));
    const stop = source.error.subscribe((error) => {
        typesError.value = error;
    });
    return () => {
        stop();
        source.stop();
    };
}
