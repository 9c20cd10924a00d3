// SPDX-License-Identifier: MIT
//
// The small things of which the views are made.
import { html, signal, useState } from "../html.js";
import { localTime } from "../format.js";

// What has just happened, said once and in a corner: { text, bad }.
export const notice = signal(null);
let noticeTimer;

export function say(text, bad = false) {
    notice.value = { text, bad };
    clearTimeout(noticeTimer);
    noticeTimer = setTimeout(
        () => {
            notice.value = null;
        },
        bad ? 10000 : 5000,
    );
}

// Does what was asked for and says how it went; true if it went well.
export async function attempt(action, done) {
    try {
        const result = await action();
        const text = typeof done === "function" ? done(result) : done;
        if (text) {
            say(text);
        }
        return true;
    } catch (error) {
        say(error.message, true);
        return false;
    }
}

// A moment: local for the eye, UTC for who points at it.
export function Time({ at, full }) {
    if (!at) {
        return "–";
    }
    return html`<time datetime=${at} title=${`${at} (UTC)`}>${localTime(at, full)}</time>`;
}

export function Copy({ text, label = "Copy" }) {
    const [done, setDone] = useState("");
    const copy = async () => {
        try {
            await navigator.clipboard.writeText(text());
            setDone("Copied");
        } catch {
            setDone("Not allowed"); // Browsers want a secure origin; plain http elsewhere is none.
        }
        setTimeout(() => setDone(""), 1500);
    };
    return html`<button type="button" class="small" onClick=${copy}>${done || label}</button>`;
}

// A text that may be long: cut, with a way to see all of it. `wrap` makes something of what is
// shown, such as a link; the way to see all stays outside of it.
export function Long({ text, max = 120, wrap = (shown) => shown }) {
    const [all, setAll] = useState(false);
    const value = String(text ?? "");
    if (value.length <= max) {
        return wrap(value);
    }
    return html`${wrap(all ? value : `${value.slice(0, max)}…`)}${" "}
        <button type="button" class="link" aria-expanded=${all} onClick=${() => setAll(!all)}>
            ${all ? "less" : `all ${value.length} characters`}
        </button>`;
}

export function Problem({ error, children }) {
    return html`<div class="problem" role="alert">
        <strong>${error.title || "That did not work"}</strong>
        <span>${error.message}</span>${children}
    </div>`;
}

// What to do where there is nothing yet.
export function Empty({ title, children, command }) {
    return html`<div class="empty">
        <h3>${title}</h3>
        ${children && html`<p>${children}</p>`}
        ${
            command &&
            html`<div class="command">
            <code>${command}</code><${Copy} text=${() => command} />
        </div>`
        }
    </div>`;
}

export function Tag({ kind, children, title }) {
    return html`<span class=${`tag ${kind ?? ""}`} title=${title}>${children}</span>`;
}

// The address of this service, as somebody would give it to curl.
export function origin() {
    return location.origin;
}
