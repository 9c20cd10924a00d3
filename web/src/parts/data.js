// SPDX-License-Identifier: MIT
//
// The data of an event: JSON over several lines with quiet colours, a text as it is, bytes as their
// base64. Of what is long the beginning is shown, and a button shows the rest.
import { html, useMemo, useState } from "../html.js";
import { pretty } from "../exact.js";
import { count, plural } from "../format.js";
import { Copy } from "./bits.js";

const LINES_MAX = 60;
const CHARACTERS_MAX = 6000;
const COLOURED_MAX = 100000; // characters: a span for each word of more would take seconds

const TOKEN = /("(?:\\.|[^"\\])*")(:)?|\b(true|false|null)\b|-?\d[\d.eE+-]*/g;

// Spans of names, texts, numbers and words. It only colours: whatever it misses is still shown.
function coloured(text) {
    const out = [];
    let end = 0;
    for (const match of text.matchAll(TOKEN)) {
        out.push(text.slice(end, match.index));
        const kind = match[1] ? (match[2] ? "key" : "string") : match[3] ? "word" : "number";
        const token = match[1] ?? match[0];
        out.push(html`<span class=${`j-${kind}`}>${token}</span>`, match[2]);
        end = match.index + match[0].length;
    }
    out.push(text.slice(end));
    return out;
}

function cut(text) {
    const lines = text.split("\n", LINES_MAX + 1);
    const short = lines.length > LINES_MAX ? lines.slice(0, LINES_MAX).join("\n") : text;
    return short.slice(0, CHARACTERS_MAX);
}

export function asText(event) {
    if (event.data_base64 !== undefined) {
        return { text: event.data_base64, kind: "base64" };
    }
    if (event.data === undefined) {
        return { text: "", kind: "none" };
    }
    const json = /json/i.test(event.datacontenttype ?? "json");
    if (typeof event.data === "string" && !json) {
        return { text: event.data, kind: "text" };
    }
    return { text: pretty(event.data), kind: "json" };
}

export function Data({ event }) {
    const [all, setAll] = useState(false);
    const { text, kind } = useMemo(() => asText(event), [event]);
    const shown = all ? text : cut(text);
    if (kind === "none") {
        return html`<p class="muted">This event has no data.</p>`;
    }
    const type =
        kind === "base64"
            ? `${event.datacontenttype ?? "bytes"}, base64`
            : (event.datacontenttype ?? "application/json");
    return html`<div class="data">
        <div class="data-head">
            <span class="muted">${type}</span><${Copy} text=${() => text} label="Copy data" />
        </div>
        <pre tabindex="0" aria-label="Data"><code>${
            kind === "json" && shown.length <= COLOURED_MAX ? coloured(shown) : shown
        }${shown.length < text.length ? "…" : ""}</code></pre>
        ${
            text.length > shown.length &&
            html`<button type="button" class="link"
            onClick=${() => setAll(true)}>${
                `Show all ${plural(text.split("\n").length, "line")}, ` +
                `${count(text.length)} characters`
            }</button>`
        }
        ${
            all &&
            cut(text).length < text.length &&
            html`<button type="button" class="link"
            onClick=${() => setAll(false)}>Show less</button>`
        }
    </div>`;
}
