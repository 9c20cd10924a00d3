// SPDX-License-Identifier: MIT
//
// Numbers, sizes and moments as a person reads them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

// 12,345
export function count(value) {
    return value === undefined || value === null ? "–" : whole.format(value);
}

// 12.3K where there is no room for 12,345.
export function brief(value) {
    return value === undefined || value === null ? "–" : short.format(value);
}

// 0, 0.4, 7.5, 1,204
export function rate(value) {
    if (value === undefined || value === null) {
        return "–";
    }
    return value >= 100 ? whole.format(value) : one.format(value);
}

export function bytes(value) {
    if (value === undefined || value === null) {
        return "–";
    }
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    let size = value;
    while (size >= 1024 && unit < units.length - 1) {
        size /= 1024;
        unit++;
    }
    return `${unit === 0 || size >= 100 ? whole.format(size) : one.format(size)} ${units[unit]}`;
}

// 850 ms, 12 s, 3 min 20 s, 5 h 12 min, 3 d 4 h
export function duration(seconds) {
    if (seconds === undefined || seconds === null || Number.isNaN(seconds)) {
        return "–";
    }
    if (seconds > 0 && seconds < 1) {
        return `${Math.max(1, Math.round(seconds * 1000))} ms`;
    }
    const steps = [
        [86400, "d", 3600, "h"],
        [3600, "h", 60, "min"],
        [60, "min", 1, "s"],
    ];
    for (const [size, name, small, smallName] of steps) {
        if (seconds >= size) {
            const rest = Math.floor((seconds % size) / small);
            return (
                `${whole.format(Math.floor(seconds / size))} ${name}` +
                (rest ? ` ${rest} ${smallName}` : "")
            );
        }
    }
    return `${seconds < 10 ? one.format(seconds) : whole.format(seconds)} s`;
}

function two(value) {
    return String(value).padStart(2, "0");
}

// The local time of day, to the millisecond; with the date where that is not today.
export function localTime(text, always) {
    const at = new Date(text);
    if (Number.isNaN(at.getTime())) {
        return String(text ?? "");
    }
    const clock =
        `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.` +
        String(at.getMilliseconds()).padStart(3, "0");
    if (!always && at.toDateString() === new Date().toDateString()) {
        return clock;
    }
    return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock}`;
}

// How far two moments are apart: +12 ms, −3 s.
export function apart(from, to) {
    const difference = (new Date(to) - new Date(from)) / 1000;
    if (Number.isNaN(difference)) {
        return "";
    }
    if (difference === 0) {
        return "same ms";
    }
    return (difference > 0 ? "+" : "−") + duration(Math.abs(difference));
}

// 12 s ago, 3 min ago, 5 h ago: one unit, as it only says how long about.
export function ago(text) {
    const seconds = (Date.now() - new Date(text)) / 1000;
    if (Number.isNaN(seconds)) {
        return "–";
    }
    const steps = [
        [86400, "d"],
        [3600, "h"],
        [60, "min"],
        [1, "s"],
    ];
    const [size, unit] = steps.find(([step]) => seconds >= step) ?? steps.at(-1);
    return `${whole.format(Math.max(1, Math.floor(seconds / size)))} ${unit} ago`;
}

// 00000000000000000041 is position 41. 20 digits are more than a number holds, so it stays a text.
export function position(text) {
    if (text === undefined || text === null) {
        return "";
    }
    return String(text)
        .replace(/^0+(?=\d)/, "")
        .replace(/\B(?=(\d{3})+$)/g, ",");
}

export function plural(number, word) {
    return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}
