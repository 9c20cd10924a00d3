// SPDX-License-Identifier: MIT
//
// What happens now: rates as a chart, the tree of types, and the events as they come.
import { html, useEffect, useRef, useSignal } from "../html.js";
import { signedOut } from "../api.js";
import { count, plural } from "../format.js";
import * as live from "../live.js";
import { types, typesError } from "../rates.js";
import { change, href, route } from "../route.js";
import { stats } from "../stats.js";
import { Empty, Problem, Tag, origin } from "../parts/bits.js";
import { Chart } from "../parts/chart.js";
import { Events } from "../parts/events.js";
import { Tree } from "../parts/tree.js";

// A text that is a JSON object is asked of the service (what the data must contain); any other is
// looked for in the page, in what is there.
function containsOf(text) {
    if (!text.trim().startsWith("{")) {
        return "";
    }
    try {
        JSON.parse(text);
        return text.trim();
    } catch {
        return ""; // Not JSON yet: somebody is typing.
    }
}

// The page looks for the text, unless the service is asked for it.
function lookFor(text) {
    live.text.value = containsOf(text) ? "" : text.trim();
}

// The fields are ahead of the address, which follows when somebody has stopped typing. So only an
// address that did not come from here (a click in the tree, the back button) changes the fields.
function Filter() {
    const { type = "", text = "" } = route.value.params;
    const pattern = useSignal(type);
    const words = useSignal(text);
    const applied = useRef({ type, text });
    const later = useRef(0);
    useEffect(() => {
        if (type !== applied.current.type) {
            applied.current.type = type;
            pattern.value = type;
        }
        if (text !== applied.current.text) {
            applied.current.text = text;
            words.value = text;
            lookFor(text);
        }
    }, [type, text]);
    useEffect(() => {
        lookFor(words.peek());
        return () => clearTimeout(later.current);
    }, []);
    const apply = () => {
        applied.current = { type: pattern.peek().trim(), text: words.peek() };
        change({ type: applied.current.type || undefined, text: words.peek() || undefined }, true);
    };
    const soon = (ms) => {
        clearTimeout(later.current);
        later.current = setTimeout(apply, ms);
    };
    return html`<form class="filter" role="search" onSubmit=${(event) => {
        event.preventDefault();
        soon(0);
    }}>
        <input type="search" data-filter class="mono" aria-label="Pattern" name="pattern"
            placeholder="Pattern: order.* or *.failed" autocomplete="off" spellcheck=${false}
            value=${pattern} onInput=${(event) => {
                pattern.value = event.target.value;
                soon(400);
            }} />
        <input type="search" aria-label="Text" name="text" autocomplete="off" spellcheck=${false}
            placeholder=${'Text, or JSON the data contains: {"total":5}'}
            value=${words} onInput=${(event) => {
                words.value = event.target.value;
                lookFor(event.target.value);
                soon(400);
            }} />
    </form>`;
}

function gapSentence({ count: lost, first, last }) {
    return (
        `${plural(Number(lost), "event")} ${Number(lost) === 1 ? "was" : "were"} forgotten ` +
        `before this page came back (positions ${count(Number(first))} to ${count(Number(last))}).`
    );
}

function Status() {
    const { state, error } = live.stream.value;
    const sample = live.sample.value;
    const held = live.paused.value || live.reading.value;
    if (state === "refused") {
        return html`<${Problem} error=${error} />`;
    }
    // Its line is always there: if it came and went, rows would move away under the mouse.
    return html`<p class="stream-status">
        ${
            !held &&
            state === "open" &&
            !(sample && sample.seen > sample.sent) &&
            html`<${Tag} kind="good">live<//>`
        }
        ${state === "connecting" && html`<${Tag}>connecting<//>`}
        ${
            sample &&
            sample.seen > sample.sent &&
            html`<${Tag} kind="info"
            title="More come than can be read: the service sends a sample">
                ${`showing ${count(sample.sent)} of ${count(sample.seen)} a second`}<//>`
        }
        ${held && html`<${Tag} kind="warn">${live.paused.value ? "paused" : "held while you read"}
            <//>`}
        ${
            held &&
            live.waiting.value > 0 &&
            html`<button type="button" class="link" onClick=${live.resume}>
            ${plural(live.waiting.value, "new event")}: show</button>`
        }
        ${state === "waiting" && html`<${Tag} kind="bad">the stream broke off: trying again<//>`}
    </p>
    ${live.gap.value && html`<p class="gap" role="status">${gapSentence(live.gap.value)}</p>`}`;
}

function Nothing() {
    const { type, text } = route.value.params;
    if (type || text) {
        return html`<${Empty} title="Nothing that matches yet">
            What comes from now on and matches is shown here. For what was before,
            ${" "}<a href=${href("search", "", { type, contains: containsOf(text ?? "") })}>search</a>.
        <//>`;
    }
    const { first_position: first, last_position: last } = stats.value ?? {};
    return html`<${Empty} title="Listening"
        command=${`curl -d '{"total":5}' '${origin()}/v1/events/order.created?subject=order-17'`}>
        Events appear here as they are published.
        ${Number(last) >= Number(first) && html` For what was before, <a href=${href("search")}>search</a>.`}
        ${" "}Publish one:
    <//>`;
}

function Stream() {
    const items = live.list.value;
    const hold = () => {
        live.reading.value = true;
    };
    const release = (event) => {
        live.reading.value = live.isReading(event.relatedTarget);
    };
    const pause = () => (live.paused.value ? live.resume() : (live.paused.value = true));
    return html`<section class="card stream" aria-label="Events"
        data-state=${live.stream.value.state}>
        <div class="card-head">
            <h2>Events</h2>
            <${Filter} />
            <button type="button" aria-pressed=${live.paused.value} onClick=${pause}
                title="Pause (p)">${live.paused.value ? "Resume" : "Pause"}</button>
        </div>
        <${Status} />
        ${
            items.length
                ? html`<${Events} items=${items} label="Newest events first"
            open=${route.value.params.event} onFocusIn=${hold} onFocusOut=${release} />`
                : live.stream.value.state !== "refused" && html`<${Nothing} />`
        }
    </section>`;
}

function Types() {
    const { types: all, complete, known } = types.value;
    const chosen = route.value.params.type;
    const pick = (pattern) => change({ type: pattern === chosen ? undefined : pattern }, true);
    return html`<section class="card types" aria-label="Types">
        <div class="card-head"><h2>Types</h2>
            ${
                chosen &&
                html`<button type="button" class="link"
                onClick=${() => change({ type: undefined }, true)}>all</button>`
            }
        </div>
        ${typesError.value && !known && html`<${Problem} error=${typesError.value} />`}
        ${
            known &&
            (all.length
                ? html`<${Tree} types=${all} chosen=${chosen} onPick=${pick} />`
                : html`<p class="muted pad">No event has been published yet.</p>`)
        }
        ${!complete && html`<p class="muted pad">There are more types than these.</p>`}
    </section>`;
}

export function Live() {
    const { type = "", text = "" } = route.value.params;
    const contains = containsOf(text);
    useEffect(() => live.watch({ type, contains }), [type, contains, signedOut.value]);
    return html`<div class="live">
        <section class="card" aria-label="Rates"><div class="card-head"><h2>Events a second</h2>
            </div>
            <${Chart} /></section>
        <div class="columns"><${Types} /><${Stream} /></div>
    </div>`;
}
