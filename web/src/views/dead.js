// SPDX-License-Identifier: MIT
//
// Dead letters: what could not be done, why, how often, since when; and what to do about it. One,
// or all that match: those are first counted (a dry run), then asked about, then done.
import { html, useEffect, useState } from "../html.js";
import { post, put, remove } from "../api.js";
import { pretty } from "../exact.js";
import { ago, apart, count, plural } from "../format.js";
import { usePoll } from "../poll.js";
import { change, href, route } from "../route.js";
import { attempt, Empty, Long, Problem, Tag, Time } from "../parts/bits.js";
import { Data, asText } from "../parts/data.js";
import { Panel } from "../parts/detail.js";
import { Confirm } from "../parts/dialog.js";

const LIMIT = 200;
const FILTERS = ["subscription", "type", "reason"];

function pathOf(id, action) {
    return `/v1/dead-letters/${encodeURIComponent(id)}${action ? `/${action}` : ""}`;
}

function filters() {
    const { params } = route.value;
    return Object.fromEntries(FILTERS.map((name) => [name, params[name]]));
}

// One way to count them: a click on a name shows only those.
function Facet({ by, label }) {
    const { value } = usePoll("/v1/dead-letters/counts", 2000, { by });
    const chosen = route.value.params[by];
    const counts = value?.counts ?? [];
    const most = Math.max(1, ...counts.map((entry) => Number(entry.count)));
    if (counts.length === 0) {
        return null;
    }
    return html`<section class="facet" aria-label=${`By ${label}`}>
        <h3>${label}</h3>
        <ul>${counts.slice(0, 8).map(
            ({ name, count: number }) => html`<li key=${name}>
            <button type="button" aria-pressed=${chosen === name} title=${name}
                onClick=${() => change({ [by]: chosen === name ? undefined : name, letter: undefined })}>
                <span class="facet-name">${name}</span><span class="num">${count(Number(number))}
                    </span>
                <progress max=${most} value=${Number(number)} aria-hidden="true"></progress>
            </button></li>`,
        )}</ul>
        ${counts.length > 8 && html`<p class="muted">and ${count(counts.length - 8)} more</p>`}
    </section>`;
}

function Letter({ letter, open }) {
    return html`<tr aria-current=${open ? "true" : undefined}>
        <th scope="row"><button type="button" class="row-link" data-letter=${letter.id}
            onClick=${() => change({ letter: letter.id })}>${letter.event.type}</button>
            <span class="muted">${letter.event.subject ?? ""}</span></th>
        <td data-label="Why"><${Tag} kind="bad">${letter.reason}<//> <${Long} text=${letter.text}
            max=${90} />
            ${letter.retrying && html` <${Tag} kind="info">being retried<//>`}
            ${letter.edited && html` <${Tag}>edited<//>`}
            ${Number(letter.parked) > 0 && html` <${Tag}>parked<//>`}</td>
        <td data-label="Subscription">${letter.subscription}</td>
        <td data-label="Attempts" class="num">${count(Number(letter.attempts))}</td>
        <td data-label="Since" class="num"><time datetime=${letter.first_failure}
            title=${`${letter.first_failure} (UTC)`}>${ago(letter.first_failure)}</time></td>
        <td data-label="Last" class="num"><time datetime=${letter.last_failure}
            title=${`${letter.last_failure} (UTC)`}>${ago(letter.last_failure)}</time></td>
    </tr>`;
}

function checkJson(text) {
    try {
        JSON.parse(text);
        return null;
    } catch (error) {
        return error.message;
    }
}

function Edit({ letter, onClose, onDone }) {
    const { text: before, kind } = asText(letter.event);
    const [text, setText] = useState(kind === "json" ? pretty(letter.event.data) : before);
    const fault = kind === "json" ? checkJson(text) : null;
    const action = () =>
        attempt(async () => {
            await put(pathOf(letter.id), text, letter.event.datacontenttype);
            onDone();
        }, "Tried again with what you wrote.");
    return html`<${Confirm} title="Edit and retry" verb="Retry with this" action=${action}
        wide=${true}
        onClose=${onClose} disabled=${Boolean(fault) || text === before}>
        <p class="muted">The event in the log stays as it is. ${letter.subscription} is given this data instead.</p>
        <textarea class="mono" rows="16" autofocus spellcheck=${false} aria-label="Data"
            aria-invalid=${Boolean(fault)} aria-describedby="edit-fault"
            value=${text} onInput=${(event) => setText(event.target.value)}></textarea>
        <p id="edit-fault" class=${fault ? "bad" : "muted"} role="status">${
            fault
                ? `Not JSON: ${fault}`
                : text === before
                  ? "Not changed yet."
                  : kind === "json"
                    ? "Valid JSON."
                    : ""
        }</p>
    <//>`;
}

function Discard({ letter, onClose, onDone }) {
    const action = () =>
        attempt(async () => {
            await remove(pathOf(letter.id));
            onDone();
        }, "Discarded.");
    return html`<${Confirm} title="Discard this dead letter?" verb="Discard" danger=${true}
        action=${action}
        onClose=${onClose}>
        <p>${letter.subscription} will never get <strong>${letter.event.type}</strong>${
            letter.event.subject ? ` of ${letter.event.subject}` : ""
        }. The event itself stays in the log.</p>
    <//>`;
}

function LetterPanel({ id, refresh }) {
    const { value: letter, error } = usePoll(pathOf(id), 2000);
    const [dialog, setDialog] = useState(null);
    const close = () => change({ letter: undefined });
    const done = () => {
        refresh();
        close();
    };
    const retry = () =>
        attempt(async () => {
            await post(pathOf(id, "retry"));
            done();
        }, "Tried again.");
    if (!letter) {
        return html`<${Panel} label="Dead letter" id=${id} title="Dead letter" onClose=${close}>
            ${
                error
                    ? error.status === 404
                        ? html`<p>It is no longer here: tried again with success, or discarded.</p>`
                        : html`<${Problem} error=${error} />`
                    : html`<p class="muted">Loading…</p>`
            }<//>`;
    }
    return html`<${Panel} label="Dead letter" id=${id} title=${letter.event.type} onClose=${close}>
        <p class="why"><${Tag} kind="bad">${letter.reason}<//> <${Long} text=${letter.text}
            max=${400} /></p>
        <div class="buttons start">
            <button type="button" class="primary" disabled=${letter.retrying}
                onClick=${retry}>Retry</button>
            <button type="button" onClick=${() => setDialog("edit")}>Edit and retry…</button>
            <button type="button" class="danger"
                onClick=${() => setDialog("discard")}>Discard…</button>
        </div>
        <dl class="attributes">
            <div><dt>Subscription</dt><dd>${letter.subscription}${letter.label && letter.label !== letter.subscription && html` <span
                class="muted">${letter.label}</span>`}</dd></div>
            <div><dt>Attempts</dt><dd>${count(Number(letter.attempts))}</dd></div>
            <div><dt>First failure</dt><dd><${Time} at=${letter.first_failure} full=${true} /></dd>
                </div>
            <div><dt>Last failure</dt><dd><${Time} at=${letter.last_failure} full=${true} />
                ${
                    letter.last_failure !== letter.first_failure &&
                    html`<span class="muted">${` ${apart(letter.first_failure, letter.last_failure)}`}</span>`
                }</dd></div>
            <div><dt>Event</dt><dd><a href=${href("search", "", { event: letter.event.id })}>
                ${letter.event.id}</a></dd></div>
        </dl>
        <section aria-label="Data of the event"><h3>Data${letter.edited ? ", edited" : ""}</h3>
            <${Data} event=${letter.event} /></section>
        ${dialog === "edit" && html`<${Edit} letter=${letter} onClose=${() => setDialog(null)}
            onDone=${done} />`}
        ${dialog === "discard" && html`<${Discard} letter=${letter} onClose=${() => setDialog(null)}
            onDone=${done} />`}
    <//>`;
}

const BULK = {
    retry: { title: "Retry all that match", verb: "Retry", past: "tried again", danger: false },
    discard: { title: "Discard all that match", verb: "Discard", past: "discarded", danger: true },
};

// First the dry run, whose count is what is asked about.
function Bulk({ kind, query, onClose, onDone }) {
    const { title, verb, past, danger } = BULK[kind];
    const [affected, setAffected] = useState(null);
    const [error, setError] = useState(null);
    useEffect(() => {
        post(`/v1/dead-letters/${kind}`, undefined, { ...query, dry_run: "true" }).then(
            (answer) => setAffected(Number(answer.affected)),
            setError,
        );
    }, []);
    const only = FILTERS.filter((name) => query[name]);
    const action = () =>
        attempt(
            async () => {
                const all = only.length ? undefined : "true";
                const answer = await post(`/v1/dead-letters/${kind}`, undefined, { ...query, all });
                onDone();
                return answer;
            },
            (answer) => `${plural(Number(answer.affected), "dead letter")} ${past}.`,
        );
    return html`<${Confirm} title=${title} danger=${danger} action=${action} onClose=${onClose}
        verb=${affected === null ? verb : `${verb} ${count(affected)}`} disabled=${!affected}>
        ${
            error
                ? html`<${Problem} error=${error} />`
                : html`<p role="status">${
                      affected === null
                          ? "Counting…"
                          : affected === 0
                            ? "None matches."
                            : html`<strong>${plural(affected, "dead letter")}
                                </strong> would be ${past}.`
                  }</p>`
        }
        <p class="muted">${
            only.length
                ? only.map(
                      (name) => html`<span key=${name}>${name} <code>${query[name]}</code> </span>`,
                  )
                : "No filter is set: this means all of them."
        }</p>
        ${kind === "discard" && html`<p>The events stay in the log; the subscriptions will never get them.</p>`}
    <//>`;
}

function Letters({ letters, refresh }) {
    const query = filters();
    const [bulk, setBulk] = useState(null);
    return html`
        <div class="bulk">
            <span class="muted">${letters.length >= LIMIT ? `the first ${plural(LIMIT, "letter")}` : plural(letters.length, "letter")}</span>
            <button type="button" onClick=${() => setBulk("retry")}>Retry all matching…</button>
            <button type="button" class="danger"
                onClick=${() => setBulk("discard")}>Discard all matching…</button>
        </div>
        <div class="table"><table class="letters">
            <thead><tr><th scope="col">Event</th><th scope="col">Why</th><th
                scope="col">Subscription</th>
                <th scope="col" class="num">Attempts</th><th scope="col" class="num">Since</th>
                <th scope="col" class="num">Last</th></tr></thead>
            <tbody>${letters.map(
                (letter) => html`<${Letter} key=${letter.id} letter=${letter}
                open=${String(letter.id) === route.value.params.letter} />`,
            )}</tbody>
        </table></div>
        ${bulk && html`<${Bulk} kind=${bulk} query=${query} onClose=${() => setBulk(null)}
            onDone=${refresh} />`}`;
}

export function DeadLetters() {
    const query = filters();
    const { value, error, refresh } = usePoll("/v1/dead-letters", 2000, { ...query, limit: LIMIT });
    const letters = value?.dead_letters ?? [];
    const filtered = FILTERS.some((name) => query[name]);
    const clear = () => change({ subscription: undefined, type: undefined, reason: undefined });
    return html`<section class="card dead" aria-label="Dead letters">
        <div class="card-head"><h2>Dead letters</h2>
            <input type="search" class="mono" data-filter aria-label="Pattern"
                placeholder="Pattern: order.*"
                key=${query.type} defaultValue=${query.type ?? ""}
                    onChange=${(event) => change({ type: event.target.value.trim() || undefined })} />
            ${filtered && html`<button type="button" class="link" onClick=${clear}>all</button>`}
        </div>
        ${error && html`<${Problem} error=${error} />`}
        <div class="facets">
            <${Facet} by="reason" label="Reason" /><${Facet} by="type" label="Type" />
            <${Facet} by="subscription" label="Subscription" />
        </div>
        ${letters.length > 0 && html`<${Letters} letters=${letters} refresh=${refresh} />`}
        ${
            value &&
            letters.length === 0 &&
            html`<${Empty} title=${filtered ? "None that match" : "No dead letters"}>
            ${
                filtered
                    ? "No dead letter matches this filter."
                    : "What a subscription gives up, after its attempts are spent, is kept here until somebody decides."
            }<//>`
        }
        ${
            route.value.params.letter &&
            html`<${LetterPanel} key=${route.value.params.letter}
            id=${route.value.params.letter} refresh=${refresh} />`
        }
    </section>`;
}
