// SPDX-License-Identifier: MIT
//
// One event: what it says, and how it came about. Its causes, itself and its effects are one line
// of time; a click goes from one to the other.
import { html, useEffect, useRef, useState } from "../html.js";
import { get } from "../api.js";
import { apart, plural, position } from "../format.js";
import { change, href } from "../route.js";
import { Copy, Long, Problem, Time } from "./bits.js";
import { Data } from "./data.js";
import { list } from "../live.js";

const EFFECTS_MAX = 200; // shown
// What the head of the panel shows already, or every event has.
const SHOWN = new Set([
    "specversion",
    "id",
    "type",
    "time",
    "data",
    "data_base64",
    "datacontenttype",
]);
const NAMES = {
    subject: "Subject",
    source: "Source",
    correlationid: "Correlation",
    causationid: "Caused by",
    pealposition: "Position",
    pealversion: "Version",
    partitionkey: "Key",
    pealpriority: "Priority",
    recordedtime: "Stored",
    dataschema: "Schema",
    traceparent: "Trace",
};

function Value({ name, value }) {
    const text = String(value);
    switch (name) {
        case "subject":
            return html`<${Long} text=${text} wrap=${(
                shown,
            ) => html`<a href=${href("streams", text)}
            title="Its stream">${shown}</a>`} />`;
        case "correlationid":
            return html`<${Long} text=${text} wrap=${(
                shown,
            ) => html`<a title="All of this correlation"
            href=${href("search", "", { correlation: text })}>${shown}</a>`} />`;
        case "causationid":
            return html`<button type="button" class="link" onClick=${() => change({ event: text })}>
            ${text}</button>`;
        case "pealposition":
        case "pealversion":
            return html`<span title=${text}>${position(text)}</span>`;
        case "recordedtime":
            return html`<${Time} at=${text} full=${true} />`;
        default:
            return html`<${Long} text=${text} />`;
    }
}

function Attributes({ event }) {
    const known = Object.keys(NAMES).filter(
        (name) => event[name] !== undefined && event[name] !== "",
    );
    const others = Object.keys(event)
        .filter((name) => !SHOWN.has(name) && !(name in NAMES))
        .sort();
    return html`<dl class="attributes">
        ${[...known, ...others].map(
            (name) => html`<div key=${name}>
            <dt>${NAMES[name] ?? html`<code>${name}</code>`}</dt>
            <dd><${Value} name=${name} value=${event[name]} /></dd>
        </div>`,
        )}
    </dl>`;
}

// One entry of the line of time. `depth` is how far an effect is from the event; deeper ones stand
// further in.
function Moment({ event, now, role, depth = 0 }) {
    const inner = html`<span class="moment-type">${event.type}</span>
        <span class="moment-time">${
            now.id === event.id ? html`<${Time} at=${event.time} />` : apart(now.time, event.time)
        }</span>
        ${event.subject && html`<span class="moment-subject">${event.subject}</span>`}`;
    return html`<li class=${`moment ${role} depth-${Math.min(depth, 6)}`}>
        ${
            role === "this"
                ? html`<span class="moment-body" aria-current="true">${inner}</span>`
                : html`<button type="button" class="moment-body"
                onClick=${() => change({ event: event.id })}>${inner}</button>`
        }
    </li>`;
}

function Timeline({ trace }) {
    const { event, causes, effects, complete } = trace;
    if (causes.length + effects.length === 0) {
        return html`<p class="muted">Nothing is recorded as its cause, and nothing as its effect.</p>`;
    }
    return html`<ol class="timeline" aria-label="Causes and effects">
        ${causes.map((cause) => html`<${Moment} key=${cause.id} event=${cause} now=${event}
            role="cause" />`)}
        <${Moment} key=${event.id} event=${event} now=${event} role="this" />
        ${effects.slice(0, EFFECTS_MAX).map(
            (effect) => html`<${Moment} key=${effect.event.id} event=${effect.event}
            now=${event} role="effect" depth=${effect.depth} />`,
        )}
    </ol>
    <p class="muted">${plural(causes.length, "cause")}, ${plural(effects.length, "effect")}.${
        complete && effects.length <= EFFECTS_MAX ? "" : " There are more than are shown here."
    }</p>`;
}

// What is at hand is shown at once; the service is asked for the rest.
function useTrace(id) {
    const [state, setState] = useState({ id: null });
    useEffect(() => {
        const controller = new AbortController();
        const known = list.peek().find((item) => item.event.id === id)?.event ?? null;
        setState({ id, event: known, trace: null, error: null });
        get(`/v1/events/${encodeURIComponent(id)}/trace`, null, controller.signal).then(
            (trace) => setState({ id, event: trace.event, trace, error: null }),
            (error) => {
                if (!controller.signal.aborted) {
                    setState({ id, event: known, trace: null, error });
                }
            },
        );
        return () => controller.abort();
    }, [id]);
    return state;
}

export function Panel({ title, label, onClose, children, id }) {
    const heading = useRef(null);
    const before = useRef(null);
    useEffect(() => {
        before.current ??= document.activeElement;
        heading.current.focus({ preventScroll: true });
    }, [id]);
    useEffect(() => () => before.current?.isConnected && before.current.focus(), []);
    return html`<aside class="panel" aria-label=${label}>
        <header>
            <h2 ref=${heading} tabindex="-1">${title}</h2>
            <button type="button" class="icon" aria-label="Close" title="Close (Escape)"
                onClick=${onClose}>✕</button>
        </header>
        <div class="panel-body">${children}</div>
    </aside>`;
}

export function EventPanel({ id }) {
    const { event, trace, error } = useTrace(id);
    const close = () => change({ event: undefined });
    return html`<${Panel} label="Event" id=${id} title=${event?.type ?? "Event"} onClose=${close}>
        <p class="panel-sub">
            <code class="id">${id}</code><${Copy} text=${() => id} label="Copy id" />
            ${event && html`<${Time} at=${event.time} full=${true} />`}
        </p>
        ${error && html`<${Problem} error=${error} />`}
        ${event && html`<section aria-label="Data of the event"><${Data} event=${event} />
            </section>`}
        ${trace && html`<section><h3>Causes and effects</h3><${Timeline} trace=${trace} />
            </section>`}
        ${event && html`<section><h3>Attributes</h3><${Attributes} event=${event} /></section>`}
        ${!event && !error && html`<p class="muted">Loading…</p>`}
    <//>`;
}
