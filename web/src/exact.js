// SPDX-License-Identifier: MIT
//
// JSON that is shown as it came. A number of JavaScript does not hold every number of JSON: 1.50
// would be shown as 1.5, and 12345678901234567890 as another number. Such numbers stay Exact: the
// text they were, which also counts as a number. Where a browser does not tell the text, they are
// plain numbers.

export class Exact {
    constructor(text) {
        this.text = text;
    }

    valueOf() {
        return Number(this.text);
    }
}

function revive(key, value, context) {
    if (typeof value === "number" && context?.source && String(value) !== context.source) {
        return new Exact(context.source);
    }
    return value;
}

export function parse(text) {
    return JSON.parse(text, revive);
}

function scalar(value) {
    return value instanceof Exact ? value.text : JSON.stringify(value);
}

function isLeaf(value) {
    return value === null || typeof value !== "object" || value instanceof Exact;
}

function lines(value, indent, head, tail, out) {
    if (isLeaf(value)) {
        out.push(indent + head + scalar(value) + tail);
        return;
    }
    const array = Array.isArray(value);
    const [open, close] = array ? "[]" : "{}";
    const entries = Object.entries(value);
    if (entries.length === 0) {
        out.push(indent + head + open + close + tail);
        return;
    }
    out.push(indent + head + open);
    entries.forEach(([key, member], i) => {
        const name = array ? "" : `${JSON.stringify(key)}: `;
        lines(member, `${indent}  `, name, i < entries.length - 1 ? "," : "", out);
    });
    out.push(indent + close + tail);
}

// The value over several lines.
export function pretty(value) {
    const out = [];
    lines(value, "", "", "", out);
    return out.join("\n");
}

// The value in one line of at most about `max` characters; no more of it than that is looked at.
export function preview(value, max) {
    let out = "";
    const put = (member) => {
        if (out.length > max) {
            return;
        }
        if (typeof member === "string") {
            out += JSON.stringify(member.slice(0, max));
        } else if (isLeaf(member)) {
            out += scalar(member);
        } else if (Array.isArray(member)) {
            out += "[";
            for (let i = 0; i < member.length && out.length <= max; i++) {
                out += i ? ", " : "";
                put(member[i]);
            }
            out += "]";
        } else {
            out += "{";
            let first = true;
            for (const key in member) {
                if (out.length > max) {
                    break;
                }
                out += `${first ? "" : ", "}${key}: `;
                first = false;
                put(member[key]);
            }
            out += "}";
        }
    };
    put(value);
    return out.length > max ? `${out.slice(0, max)}…` : out;
}
