// SPDX-License-Identifier: MIT
//
// History: a question about the past, answered page by page.
import { html, useEffect, useState } from "../html.js";
import { address, getPage } from "../api.js";
import { preview } from "../exact.js";
import { plural } from "../format.js";
import { go, route } from "../route.js";
import { Empty, Problem } from "../parts/bits.js";
import { Events } from "../parts/events.js";

const PAGE = 50;

const FIELDS = [
    ["type", "Pattern", "order.* or *.failed", true],
    ["subject", "Subject", "order-17", true],
    ["correlation", "Correlation", "id", true],
    ["source", "Source", "/shop", true],
    ["from", "From", "2026-11-21T09:00:00Z or a position", true],
    ["to", "To", "time or position", true],
    ["contains", "Data contains", '{"total":5}', true],
];

export function rowsOf(events) {
    return events.map((event) => ({
        number: `${event.source ?? ""} ${event.id}`,
        event,
        line: preview(event.data ?? event.data_base64 ?? null, 240),
    }));
}

// Pages of events behind `first`: the one shown, and how to go on and back.
export function usePages(first) {
    const [state, setState] = useState({ loading: true });
    const [trail, setTrail] = useState({ first, behind: [], path: first });
    const current = trail.first === first ? trail : { first, behind: [], path: first };
    useEffect(() => {
        const controller = new AbortController();
        setState((before) => ({ ...before, loading: true }));
        getPage(current.path, controller.signal).then(
            (page) => setState({ ...page, loading: false, error: null }),
            (error) =>
                !controller.signal.aborted && setState({ events: null, loading: false, error }),
        );
        return () => controller.abort();
    }, [current.path, current.asked]);
    return {
        ...state,
        number: current.behind.length + 1,
        again: () => setTrail({ first, behind: [], path: first, asked: (current.asked ?? 0) + 1 }),
        forth: state.next
            ? () =>
                  setTrail({
                      first,
                      behind: [...current.behind, current.path],
                      path: state.next,
                  })
            : null,
        back: current.behind.length
            ? () =>
                  setTrail({
                      first,
                      behind: current.behind.slice(0, -1),
                      path: current.behind.at(-1),
                  })
            : null,
    };
}

export function Pages({ pages }) {
    if (!pages.back && !pages.forth) {
        return null;
    }
    return html`<nav class="pages" aria-label="Pages">
        <button type="button" disabled=${!pages.back} onClick=${pages.back}>Previous</button>
        <span class="muted">Page ${pages.number}</span>
        <button type="button" disabled=${!pages.forth} onClick=${pages.forth}>Next</button>
    </nav>`;
}

function Question({ params, onAsk }) {
    const ask = (event) => {
        event.preventDefault();
        const data = Object.fromEntries(new FormData(event.target));
        for (const name in data) {
            data[name] = data[name].trim();
        }
        onAsk(data);
    };
    // Made anew when the question comes from elsewhere: the fields then say what is asked. Until
    // then they are left alone (defaultValue), whatever else is drawn again.
    return html`<form class="question" role="search" onSubmit=${ask}
        key=${FIELDS.map(([name]) => params[name] ?? "").join("\n")}>
        <div class="fields">${FIELDS.map(
            ([name, label, hint, mono], i) => html`<label key=${name} class=${`field-${name}`}>
            <span>${label}</span>
            <input name=${name} class=${mono ? "mono" : ""} placeholder=${hint}
                defaultValue=${params[name] ?? ""}
                data-filter=${i === 0 ? "" : undefined} autocomplete="off"
                spellcheck=${false} />
        </label>`,
        )}
        <label><span>Order</span>
            <select name="order">
                <option value="desc" selected=${params.order !== "asc"}>newest first</option>
                <option value="asc" selected=${params.order === "asc"}>oldest first</option>
            </select></label></div>
        <button type="submit" class="primary">Search</button>
    </form>`;
}

export function Search() {
    const { params } = route.value;
    const query = Object.fromEntries(FIELDS.map(([name]) => [name, params[name]]));
    const pages = usePages(
        address("/v1/events", { ...query, order: params.order ?? "desc", limit: PAGE }),
    );
    const ask = (data) => {
        const next = data.order === "desc" ? { ...data, order: undefined } : data;
        if (
            FIELDS.every(([name]) => (next[name] ?? "") === (params[name] ?? "")) &&
            next.order === params.order
        ) {
            pages.again();
        }
        go("search", "", next);
    };
    return html`<section class="card" aria-label="Search">
        <div class="card-head"><h2>Search</h2></div>
        <${Question} params=${params} onAsk=${ask} />
        ${pages.error && html`<${Problem} error=${pages.error} />`}
        ${
            pages.events &&
            html`<p class="muted pad" role="status">${
                pages.events.length ? `${plural(pages.events.length, "event")} on this page` : ""
            }</p>`
        }
        ${
            pages.events?.length > 0 &&
            html`<${Events} items=${rowsOf(pages.events)}
            label="Events found" open=${params.event} />`
        }
        ${
            pages.events?.length === 0 &&
            html`<${Empty} title="Nothing found">
            No stored event matches all of this. Leave a field empty to ask less.<//>`
        }
        <${Pages} pages=${pages} />
    </section>`;
}
