// SPDX-License-Identifier: MIT
//
// Durable subscriptions: where each stands in the log, how far behind it is, what it could not do;
// and a hand on it: pause, resume, seek.
import { html, useState } from "../html.js";
import { post } from "../api.js";
import { count, duration, plural } from "../format.js";
import { usePoll } from "../poll.js";
import { href } from "../route.js";
import { stats } from "../stats.js";
import { attempt, Empty, Long, origin, Problem, Tag } from "../parts/bits.js";
import { Confirm } from "../parts/dialog.js";

function pathOf(name, action) {
    return `/v1/subscriptions/${encodeURIComponent(name)}/${action}`;
}

function State({ one }) {
    if (one.webhook?.disabled) {
        return html`<${Tag} kind="bad" title="Its address answered that it is gone">disabled<//>`;
    }
    if (one.paused) {
        return html`<${Tag} kind="warn">paused<//>`;
    }
    if (Number(one.lag) === 0 || Number(one.lag_seconds) < 1) {
        return html`<${Tag} kind="good">up to date<//>`;
    }
    if (Number(one.members) === 0 && one.kind !== "webhook") {
        return html`<${Tag} title="No program takes its events now">away<//>`;
    }
    return html`<${Tag} kind="info">behind<//>`;
}

// How much of the log is behind it, as a bar.
function Progress({ one }) {
    const last = Number(stats.value?.last_position ?? 0);
    const first = Math.max(0, Number(stats.value?.first_position ?? 1) - 1);
    const done = last > first ? (Number(one.position) - first) / (last - first) : 1;
    return html`<div class="position"><span>${count(Number(one.position))}</span>
        <progress max="1" value=${Math.max(0, Math.min(1, done))}
            aria-label=${`${one.name}: position in the log`}></progress></div>`;
}

const STARTS = [
    ["beginning", "The beginning", "everything that is stored is delivered again"],
    ["now", "Now", "what it has not seen yet is passed over"],
    ["position", "A position", "the next delivered is the one at this position"],
    ["time", "A time", "your local time; the first event at or after it is next"],
];

function target(data) {
    switch (data.get("start")) {
        case "position":
            return { position: Number(data.get("position")) };
        case "time":
            return { time: new Date(data.get("time")).toISOString() };
        default:
            return { from: data.get("start") };
    }
}

function Seek({ one, onClose, onDone }) {
    const [start, setStart] = useState("beginning");
    const action = () =>
        attempt(async () => {
            await post(
                pathOf(one.name, "seek"),
                target(new FormData(document.getElementById("seek").closest("form"))),
            );
            onDone();
        }, `${one.name} goes on from there.`);
    return html`<${Confirm} title=${`Move ${one.name}`} verb="Move" action=${action}
        onClose=${onClose}>
        <fieldset id="seek"><legend>Where it goes on from</legend>
            ${STARTS.map(
                ([name, label, hint]) => html`<div key=${name} class="choice"><label>
                <input type="radio" name="start" value=${name} checked=${start === name}
                    autofocus=${start === name} onChange=${() => setStart(name)} />
                <span><strong>${label}</strong> <span class="muted">${hint}</span></span></label>
                ${
                    name === start &&
                    name === "position" &&
                    html`<input type="number" name="position" min="0"
                    step="1" required aria-label="Position" defaultValue=${String(one.position)} />`
                }
                ${
                    name === start &&
                    name === "time" &&
                    html`<input type="datetime-local" name="time"
                    step="1" required aria-label="Time" />`
                }
            </div>`,
            )}
        </fieldset>
    <//>`;
}

function Subscription({ one, onSeek, refresh }) {
    const toggle = () =>
        attempt(
            async () => {
                await post(pathOf(one.name, one.paused ? "resume" : "pause"));
                refresh();
            },
            one.paused ? `${one.name} goes on.` : `${one.name} is paused.`,
        );
    const dead = Number(one.dead_letters);
    return html`<tr>
        <th scope="row"><span class="name"><${Long} text=${one.name} max=${60} /></span>
            <span class="muted mono"><${Long} text=${one.pattern} max=${60} /></span>
            ${one.webhook && html`<span class="muted"><${Long} text=${one.webhook.url} max=${60} />
                </span>`}</th>
        <td data-label="State"><${State} one=${one} /> <span class="muted">${one.kind}</span></td>
        <td data-label="Position" class="num"><${Progress} one=${one} /></td>
        <td data-label="Behind" class="num">${
            Number(one.lag) === 0
                ? html`<span class="muted">0</span>`
                : html`${plural(Number(one.lag), "event")} <br /><span class="muted">
                    ${duration(Number(one.lag_seconds))}</span>`
        }</td>
        <td data-label="In flight" class="num">${count(Number(one.unsettled))}</td>
        <td data-label="Failures" class="num">${
            dead
                ? html`<a class="bad"
            href=${href("dead-letters", "", { subscription: one.name })}>${count(dead)}</a>`
                : html`<span class="muted">0</span>`
        }</td>
        <td data-label="Members" class="num">${count(Number(one.members))}</td>
        <td class="actions">
            <button type="button" class="small"
                aria-label=${`${one.paused ? "Resume" : "Pause"} ${one.name}`}
                onClick=${toggle}>${one.paused ? "Resume" : "Pause"}</button>
            <button type="button" class="small" aria-label=${`Move ${one.name}`}
                onClick=${() => onSeek(one)}>Seek…</button>
        </td>
    </tr>`;
}

export function Subscriptions() {
    const { value, error, refresh } = usePoll("/v1/subscriptions", 1000);
    const [moved, setMoved] = useState(null);
    const [filter, setFilter] = useState("");
    const all = value?.subscriptions ?? [];
    const shown = all.filter((one) => one.name.includes(filter) || one.pattern.includes(filter));
    return html`<section class="card" aria-label="Subscriptions">
        <div class="card-head"><h2>Subscriptions</h2>
            ${
                all.length > 0 &&
                html`<input type="search" data-filter aria-label="Filter subscriptions"
                placeholder="Name or pattern" value=${filter}
                    onInput=${(event) => setFilter(event.target.value)} />`
            }
        </div>
        ${error && html`<${Problem} error=${error} />`}
        ${
            value &&
            all.length === 0 &&
            html`<${Empty} title="Nobody is subscribed durably" command=${
                `curl -H 'Content-Type: application/json' -d '{"name":"billing","pattern":"order.*"}' ` +
                `${origin()}/v1/subscriptions`
            }>
            A durable subscription keeps its place in the log while its program is away. Create one:<//>`
        }
        ${
            all.length > 0 &&
            html`<div class="table"><table>
            <thead><tr><th scope="col">Name</th><th scope="col">State</th><th scope="col"
                class="num">Position</th>
                <th scope="col" class="num">Behind</th><th scope="col" class="num">In flight</th>
                <th scope="col" class="num">Failures</th><th scope="col" class="num">Members</th>
                <th scope="col"><span class="hidden">Actions</span></th></tr></thead>
            <tbody>${shown.map(
                (one) => html`<${Subscription} key=${one.name} one=${one}
                onSeek=${setMoved} refresh=${refresh} />`,
            )}</tbody>
        </table></div>`
        }
        ${
            all.length > 0 &&
            shown.length === 0 &&
            html`<p class="muted pad">None of ${count(all.length)}
            ${" "}has that in its name or pattern.</p>`
        }
        ${moved && html`<${Seek} one=${moved} onClose=${() => setMoved(null)} onDone=${refresh} />`}
    </section>`;
}
