// SPDX-License-Identifier: MIT
//
// The stream of a subject: its events, each with its version.
import { html } from "../html.js";
import { address } from "../api.js";
import { plural, position } from "../format.js";
import { recentSubjects } from "../live.js";
import { change, go, href, route } from "../route.js";
import { Empty, Problem, Tag, origin } from "../parts/bits.js";
import { Events } from "../parts/events.js";
import { Pages, rowsOf, usePages } from "./search.js";

const PAGE = 100;

function Choose({ subject }) {
    const open = (event) => {
        event.preventDefault();
        const wanted = new FormData(event.target).get("subject").trim();
        go("streams", wanted);
    };
    return html`<form class="question" role="search" onSubmit=${open} key=${subject}>
        <label class="field-subject"><span>Subject</span>
            <input name="subject" class="mono" data-filter placeholder="order-17" autocomplete="off"
                spellcheck=${false} defaultValue=${subject} /></label>
        <button type="submit" class="primary">Open</button>
    </form>`;
}

function Stream({ subject }) {
    const { order = "asc", event } = route.value.params;
    const pages = usePages(
        address(`/v1/streams/${encodeURIComponent(subject)}`, { order, limit: PAGE }),
    );
    const version = pages.etag?.replaceAll('"', "");
    return html`
        ${
            pages.error &&
            (pages.error.status === 404
                ? html`<${Empty} title="There is no such stream">No event has the subject ${subject}.<//>`
                : html`<${Problem} error=${pages.error} />`)
        }
        ${
            pages.events &&
            html`<p class="stream-status">
            ${version && html`<${Tag} kind="info">version ${position(version)}<//>`}
            <span class="muted">${plural(pages.events.length, "event")} on this page</span>
            <button type="button" class="link" onClick=${() =>
                change({ order: order === "asc" ? "desc" : undefined }, true)}>
                ${order === "asc" ? "newest first" : "oldest first"}</button>
        </p>`
        }
        ${
            pages.events?.length > 0 &&
            html`<${Events} items=${rowsOf(pages.events)} open=${event}
            label=${`Versions of ${subject}`} versionOf=${(one) => position(one.pealversion)} />`
        }
        ${
            pages.events?.length === 0 &&
            html`<${Empty} title="There is no such stream">
            No event has the subject ${subject}.<//>`
        }
        <${Pages} pages=${pages} />`;
}

function Recent() {
    const subjects = recentSubjects();
    if (!subjects.length) {
        return html`<${Empty} title="A stream is the events of one subject" command=${
            `curl -H 'If-None-Match: *' -H 'Content-Type: application/cloudevents+json' ` +
            `-d '{"specversion":"1.0","id":"1","source":"/shop","type":"order.created","data":{"total":5}}' ` +
            `${origin()}/v1/streams/order-17`
        }>
            Name a subject to see its versions. Begin one:<//>`;
    }
    return html`<div class="recent"><h3>Seen lately</h3>
        <ul>${subjects.map(
            (subject) => html`<li key=${subject}>
            <a href=${href("streams", subject)}>${subject}</a></li>`,
        )}</ul></div>`;
}

export function Streams() {
    const subject = route.value.argument;
    return html`<section class="card" aria-label="Stream">
        <div class="card-head"><h2>${subject ? html`Stream <code>${subject}</code>` : "Streams"}
            </h2></div>
        <${Choose} subject=${subject} />
        ${subject ? html`<${Stream} key=${subject} subject=${subject} />` : html`<${Recent} />`}
    </section>`;
}
