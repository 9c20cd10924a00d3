// SPDX-License-Identifier: MIT
//
// The store and the service around it: is it well, how much does it hold, what has it done.
import { html, useEffect, useState } from "../html.js";
import { bytes, count, duration, rate } from "../format.js";
import { syncTime } from "../metrics.js";
import { usePoll } from "../poll.js";
import { health, stats, statsError } from "../stats.js";
import { attempt, Problem, Tag, Time } from "../parts/bits.js";
import { remove, request } from "../api.js";

const GROUPS = [
    [
        "Stored",
        [
            ["log_bytes", "On disk", bytes],
            ["log_files", "Files", count],
            ["log_archived", "Of them compressed", count],
            ["first_position", "First position", count],
            ["last_position", "Last position", count],
            ["types", "Types", count],
        ],
    ],
    [
        "Events",
        [
            ["publish_rate", "Published a second", rate],
            ["deliver_rate", "Delivered a second", rate],
            ["published", "Published", count],
            ["delivered", "Delivered", count],
            ["retried", "Retried", count],
            ["duplicates", "Duplicates", count],
        ],
    ],
    [
        "Losses",
        [
            ["dead_letters", "Dead letters", count],
            ["rejected", "Rejected", count],
            ["refused", "Refused", count],
            ["dropped", "Dropped", count],
            ["scheduled", "Waiting for their time", count],
        ],
    ],
    [
        "Service",
        [
            ["memory_bytes", "Memory of the log", bytes],
            ["connections", "Connections", count],
            ["streams", "Open streams", count],
            ["subscriptions", "Subscriptions", count],
            ["uptime_seconds", "Up for", duration],
            ["version", "Version", String],
        ],
    ],
];

function Health() {
    const value = health.value;
    if (!value) {
        return html`<p class="health"><${Tag}>unknown<//> The service does not say how it is.</p>`;
    }
    if (value.ready) {
        return html`<p class="health"><${Tag}
            kind="good">ready<//> Events are taken and delivered.</p>`;
    }
    return html`<div class="health"><${Tag} kind="bad">not ready<//>
        <ul>${value.reasons.map((reason) => html`<li key=${reason}>${reason}</li>`)}</ul></div>`;
}

function atMost(seconds) {
    return seconds === Infinity ? "longer than is counted" : `at most ${duration(seconds)}`;
}

// How long syncs have taken since the service began. Without /metrics nothing is said of it.
function Syncs() {
    const [value, setValue] = useState(null);
    useEffect(() => {
        const ask = () =>
            request("/metrics")
                .then((answer) => answer.text())
                .then(
                    (text) => setValue(syncTime(text)),
                    () => setValue(null),
                );
        ask();
        const timer = setInterval(() => document.visibilityState === "visible" && ask(), 5000);
        return () => clearInterval(timer);
    }, []);
    return (
        value &&
        html`<section class="group wide"><h3>Syncs to disk</h3><dl class="numbers across">
        <div><dt>Done</dt><dd>${count(value.count)}</dd></div>
        <div><dt>Half of them took</dt><dd>${atMost(value.median)}</dd></div>
        <div><dt>99 of 100 took</dt><dd>${atMost(value.most)}</dd></div>
    </dl></section>`
    );
}

function Scheduled() {
    const { value, error, refresh } = usePoll("/v1/schedule", 2000);
    const entries = value?.scheduled ?? [];
    if (error || entries.length === 0) {
        return null;
    }
    const cancel = (id) =>
        attempt(async () => {
            await remove(`/v1/schedule/${encodeURIComponent(id)}`);
            refresh();
        }, "It will not be published.");
    return html`<section class="group wide"><h3>Waiting for their time</h3><div class="table">
        <table>
        <thead><tr><th scope="col">Event</th><th scope="col">Due</th><th scope="col"><span
            class="hidden">Actions</span></th></tr></thead>
        <tbody>${entries.slice(0, 100).map(
            ({ deliver_at: due, event }) => html`<tr key=${event.id}>
            <th scope="row">${event.type} <span class="muted">${event.subject ?? ""}</span></th>
            <td data-label="Due"><${Time} at=${due} full=${true} /></td>
            <td class="actions"><button type="button" class="small"
                onClick=${() => cancel(event.id)}>Cancel</button></td>
        </tr>`,
        )}</tbody></table></div></section>`;
}

export function Store() {
    const value = stats.value;
    return html`<section class="card" aria-label="Store">
        <div class="card-head"><h2>Store</h2>${value && html`<code class="muted">${value.url}
            </code>`}</div>
        ${statsError.value && html`<${Problem} error=${statsError.value} />`}
        <${Health} />
        <div class="groups">
            ${
                value &&
                GROUPS.map(
                    ([title, rows]) => html`<section class="group" key=${title}>
                <h3>${title}</h3>
                <dl class="numbers">${rows
                    .filter(([name]) => value[name] !== undefined)
                    .map(
                        ([name, label, format]) => html`<div key=${name}><dt>${label}</dt>
                        <dd>${format(name === "version" ? value[name] : Number(value[name]))}</dd>
                            </div>`,
                    )}</dl>
            </section>`,
                )
            }
            <${Syncs} />
            <${Scheduled} />
        </div>
    </section>`;
}
