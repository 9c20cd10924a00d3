// SPDX-License-Identifier: MIT
//
// The service's HTTP API, as the page calls it. Every call goes through here: the token is added,
// a 401 asks for one and tries again, a refusal becomes an ApiError with the service's own words,
// and whether the service can be reached at all is told to connection.js.
import { parse } from "./exact.js";
import { lost, reached, wake } from "./connection.js";
import { signal } from "./html.js";

const TOKEN = "peal-token";

export class ApiError extends Error {
    constructor(status, title, detail, reasons) {
        super(detail || title);
        this.status = status;
        this.title = title;
        this.reasons = reasons; // of /readyz alone
    }
}

// Set while a token is asked for: { refused, give(token or null) }. The dialog shows it.
export const question = signal(null);
// Somebody was asked for a token and gave none: nothing is asked again until they want to.
export const signedOut = signal(false);
let asking = null;

function askToken(refused) {
    asking ??= new Promise((resolve) => {
        question.value = {
            refused,
            give(token) {
                question.value = null;
                asking = null;
                signedOut.value = !token;
                if (token) {
                    sessionStorage.setItem(TOKEN, token);
                }
                resolve(token);
            },
        };
    });
    return asking;
}

export async function signIn() {
    if (await askToken(false)) {
        wake();
    }
}

export function address(path, query) {
    const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== "" && value != null);
    return pairs.length ? `${path}?${new URLSearchParams(pairs)}` : path;
}

async function send(path, options) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = { ...options.headers };
    if (token) {
        headers.Authorization = `Bearer ${token}`;
    }
    try {
        const answer = await fetch(path, { ...options, headers, cache: "no-store" });
        reached();
        return { answer, token };
    } catch (error) {
        if (error.name !== "AbortError") {
            lost();
        }
        throw error;
    }
}

async function refusal(answer) {
    let problem = {};
    try {
        problem = await answer.json();
    } catch {
        // Not JSON: something between us and the service has answered. Its status is all we say.
    }
    return new ApiError(
        answer.status,
        problem.title || answer.statusText || "Refused",
        problem.detail || `The service answered ${answer.status} ${answer.statusText}.`,
        problem.reasons,
    );
}

// The answer, if it is a good one. options: those of fetch.
export async function request(path, options = {}) {
    for (;;) {
        const { answer, token } = await send(path, options);
        if (answer.ok) {
            return answer;
        }
        if (answer.status !== 401) {
            throw await refusal(answer);
        }
        // Another call may have got a token since this one was sent.
        if (sessionStorage.getItem(TOKEN) === token) {
            sessionStorage.removeItem(TOKEN);
            if (signedOut.value || !(await askToken(Boolean(token)))) {
                throw await refusal(answer);
            }
        }
    }
}

export async function get(path, query, signal) {
    const answer = await request(address(path, query), { signal });
    return parse(await answer.text());
}

// A page of events: { events, next }, where next is what to ask for more.
export async function getPage(path, signal) {
    const answer = await request(path, { signal });
    const link = /<([^>]*)>\s*;[^,]*rel="?next"?/.exec(answer.headers.get("Link") ?? "");
    let next = null;
    if (link) {
        // Of the link only what lies behind the host: no request leaves this origin.
        const url = new URL(link[1], new URL(path, location.href));
        next = url.pathname + url.search;
    }
    return { events: parse(await answer.text()), next, etag: answer.headers.get("ETag") };
}

export async function post(path, body, query) {
    const options = { method: "POST" };
    if (body !== undefined) {
        options.headers = { "Content-Type": "application/json" };
        options.body = JSON.stringify(body);
    }
    const answer = await request(address(path, query), options);
    const text = await answer.text();
    return text ? parse(text) : null;
}

export function remove(path) {
    return request(path, { method: "DELETE" });
}

// The text goes as it is: a number that JavaScript cannot hold stays what it was.
export function put(path, text, contentType) {
    return request(path, {
        method: "PUT",
        headers: { "Content-Type": contentType || "application/json" },
        body: text,
    });
}
