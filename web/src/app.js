// SPDX-License-Identifier: MIT
//
// The frame of every view: where one can go, the few numbers that matter most, and what has to be
// said to all (the connection, a token, what has just been done).
import { html, useEffect, useState } from "./html.js";
import { question, signedOut, signIn } from "./api.js";
import { connection, downSince, wake } from "./connection.js";
import { brief, bytes, count, duration, rate } from "./format.js";
import { helpOpen, KEYS } from "./keys.js";
import { watchTypes } from "./rates.js";
import { href, route, VIEWS } from "./route.js";
import { health, stats, watchStats } from "./stats.js";
import { theme, toggleTheme } from "./theme.js";
import { notice } from "./parts/bits.js";
import { EventPanel } from "./parts/detail.js";
import { Dialog } from "./parts/dialog.js";
import { DeadLetters } from "./views/dead.js";
import { Live } from "./views/live.js";
import { Search } from "./views/search.js";
import { Store } from "./views/store.js";
import { Streams } from "./views/streams.js";
import { Subscriptions } from "./views/subscriptions.js";

const PAGES = {
    live: Live,
    search: Search,
    streams: Streams,
    subscriptions: Subscriptions,
    "dead-letters": DeadLetters,
    store: Store,
};

function Mark() {
    return html`<svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
        <rect width="32" height="32" rx="8" class="mark-back" />
        <path class="mark-lines" d="M9 10v12M16 7v18M23 12v8" /></svg>`;
}

function Nav() {
    const dead = Number(stats.value?.dead_letters ?? 0);
    return html`<nav aria-label="Views"><ul>
        ${VIEWS.map(
            ([name, label]) => html`<li key=${name}><a href=${href(name)}
            aria-current=${route.value.view === name ? "page" : undefined}>${label}
            ${name === "dead-letters" && dead > 0 && html` <span class="badge">${brief(dead)}
                </span>`}</a></li>`,
        )}
    </ul></nav>`;
}

function Connection() {
    const state = connection.value;
    const words = { connecting: "Connecting", up: "Connected", down: "Connection lost" };
    return html`<span class=${`connection ${state}`} title=${words[state]}>
        <i aria-hidden="true"></i><span class="hidden">${words[state]}</span></span>`;
}

function Head() {
    return html`<header class="top">
        <a class="brand" href="#/live"><${Mark} /><span>Peal</span></a>
        <${Nav} />
        <div class="tools">
            <${Connection} />
            <button type="button" class="icon" aria-label="Keys" title="Keys (?)"
                onClick=${() => (helpOpen.value = true)}>?</button>
            <button type="button" class="icon" title="Light or dark (d)" onClick=${toggleTheme}
                aria-label=${theme.value === "dark" ? "Light" : "Dark"}>
                    ${theme.value === "dark" ? "☀" : "☾"}</button>
        </div>
    </header>`;
}

// The numbers over every view. Each leads to where more is said.
function Figures() {
    const value = stats.value ?? {};
    const number = (name) => (value[name] === undefined ? undefined : Number(value[name]));
    const dead = number("dead_letters");
    const last = number("last_position");
    const kept = last === undefined ? undefined : last - number("first_position") + 1; // not forgotten
    const tiles = [
        ["Published", rate(number("publish_rate")), "a second", "live"],
        ["Delivered", rate(number("deliver_rate")), "a second", "subscriptions"],
        [
            "Events",
            kept >= 1e7 ? brief(kept) : count(kept),
            "in the log",
            "search",
        ],
        ["Subscriptions", count(number("subscriptions")), "open", "subscriptions"],
        [
            "Dead letters",
            count(dead),
            dead ? "to look at" : "all is well",
            "dead-letters",
            dead ? "bad" : "",
        ],
        [
            "Stored",
            bytes(number("log_bytes")),
            health.value ? (health.value.ready ? "healthy" : "not ready") : "of unknown health",
            "store",
            health.value?.ready === false ? "bad" : "",
        ],
    ];
    return html`<section class="figures" aria-label="Figures">
        ${tiles.map(
            ([label, text, unit, view, kind]) => html`<a key=${label} href=${href(view)}
            class=${`figure ${kind ?? ""}`}><span class="label">${label}</span>
            <span class="value">${text}</span><span class="unit">${unit}</span></a>`,
        )}
    </section>`;
}

function Lost() {
    const [, setNow] = useState(0);
    const down = connection.value === "down";
    useEffect(() => {
        if (down) {
            const timer = setInterval(() => setNow(Date.now()), 1000);
            return () => clearInterval(timer);
        }
    }, [down]);
    const seconds = Math.round((Date.now() - downSince.value) / 1000);
    return html`<div role="status" aria-live="polite" class="lost-place">${
        down &&
        html`<div class="lost">
        <span><strong>Connection lost.</strong> The page tries again by itself.
            <span aria-hidden="true">${seconds > 1 ? ` What it shows is ${duration(seconds)} old.` : ""}</span></span>
        <button type="button" onClick=${wake}>Try now</button>
    </div>`
    }${
        signedOut.value &&
        html`<div class="lost">
        <span>This service asks for a token. Without one the page cannot show what it does.</span>
        <button type="button" onClick=${signIn}>Sign in</button>
    </div>`
    }</div>`;
}

function Token() {
    const [token, setToken] = useState("");
    const { refused, give } = question.value;
    const submit = (event) => {
        event.preventDefault();
        give(token.trim() || null);
    };
    return html`<${Dialog} title="This service asks for a token" onClose=${() => give(null)}>
        <form onSubmit=${submit}>
            <p class=${refused ? "bad" : "muted"} role=${refused ? "alert" : undefined}>${
                refused
                    ? "That token was refused. Is it spelled right, and not revoked?"
                    : "It is kept in this tab until you close it, and sent to this service only."
            }</p>
            <label><span class="hidden">Token</span><input type="password" class="mono" autofocus
                name="token"
                autocomplete="off" placeholder="Bearer token" value=${token}
                onInput=${(event) => setToken(event.target.value)} /></label>
            <div class="buttons"><button type="button" onClick=${() => give(null)}>Not now</button>
                <button type="submit" class="primary" disabled=${!token.trim()}>Sign in</button>
                    </div>
        </form>
    <//>`;
}

function Help() {
    const close = () => {
        helpOpen.value = false;
    };
    return html`<${Dialog} title="Keys" onClose=${close}>
        <dl class="keys">${KEYS.map(
            ([key, what]) => html`<div key=${key}>
            <dt>${key.split(" ").map((one) => (one === "…" ? " … " : html`<kbd>${one}</kbd> `))}
                </dt>
            <dd>${what}</dd></div>`,
        )}</dl>
        <h3>Patterns</h3>
        <dl class="keys">
            <div><dt><code>order.created</code></dt><dd>that type</dd></div>
            <div><dt><code>+</code></dt><dd>exactly one segment</dd></div>
            <div><dt><code>*</code></dt><dd>one or more segments</dd></div>
            <div><dt><code>**</code></dt><dd>none or more segments</dd></div>
            <div><dt><code>a.*, !a.b</code></dt><dd>a list; ! leaves out</dd></div>
        </dl>
        <div class="buttons"><button type="button" class="primary" autofocus
            onClick=${close}>Close</button></div>
    <//>`;
}

export function App() {
    useEffect(watchStats, []);
    useEffect(watchTypes, []);
    const { view, params } = route.value;
    useEffect(() => {
        document
            .querySelector(".top nav [aria-current]")
            ?.scrollIntoView({ block: "nearest", inline: "nearest" });
        document.title = `${VIEWS.find(([name]) => name === view)[1]} · Peal`;
        window.scrollTo(0, 0);
    }, [view]);
    const Page = PAGES[view];
    return html`
        <a class="skip" href="#main" onClick=${(event) => {
            event.preventDefault();
            document.getElementById("main").focus();
        }}>To the content</a>
        <${Head} />
        <${Lost} />
        <main id="main" tabindex="-1" class=${params.event || params.letter ? "with-panel" : ""}>
            <${Figures} />
            <${Page} />
            ${params.event && html`<${EventPanel} id=${params.event} />`}
        </main>
        ${question.value && html`<${Token} key=${String(question.value.refused)} />`}
        ${helpOpen.value && html`<${Help} />`}
        <div role="status" class="notice-place">${
            notice.value &&
            html`<p class=${`notice ${notice.value.bad ? "bad" : ""}`}>${notice.value.text}</p>`
        }</div>`;
}
