// SPDX-License-Identifier: MIT
//
// What the dashboard shows and does, as a person and a browser meet it. The tests only publish,
// subscribe and settle through the API, so that they run against the stub and, with PEAL_WEB_URL,
// against a service. They need no empty service: every name they use is new.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { folder, openPage, startBrowser, until } from "./browser.mjs";
import { startStub } from "./stub.mjs";

let stub;
let browser;
let url;

before(async () => {
    if (process.env.PEAL_WEB_URL) {
        url = process.env.PEAL_WEB_URL.replace(/\/$/, "");
    } else {
        stub = await startStub({ page: folder });
        url = stub.url;
    }
    browser = await startBrowser();
});

after(async () => {
    await browser?.close();
    await stub?.close();
});

// A word no other test has used.
function fresh(word) {
    return `${word}-${randomUUID().slice(0, 8)}`;
}

async function call(method, path, body, headers = {}) {
    const answer = await fetch(url + path, { method,
        headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
        body: body === undefined ? undefined : JSON.stringify(body) });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
}

function publish(type, data, attributes = {}) {
    const query = new URLSearchParams(attributes);
    return call("POST", `/v1/events/${type}?${query}`, data);
}

// Does what a page is for, then looks for what it must not have done.
function dashboard(name, where, body, options) {
    test(name, async () => {
        const page = await openPage(browser, url, where, options);
        try {
            await body(page);
            assert.deepEqual(page.strayed, [], "requests off its origin");
            assert.deepEqual(page.errors, [], "the console");
        } finally {
            await page.close();
        }
    });
}

// The stream is open once the page says nothing else: publish from then on.
async function listening(page) {
    await page.getByTitle("Connected").waitFor();
    await page.waitForFunction(() => performance.getEntriesByType("resource")
        .some((entry) => entry.name.includes("/v1/stream?")) || document.querySelector(".empty, .row"));
}

dashboard("a_published_event_appears_by_itself", "/", async (page) => {
    await listening(page);
    const subject = fresh("order");

    await publish("shop.order.created", { total: 5 }, { subject });

    await page.locator("button.row", { hasText: subject }).waitFor();
    assert.match(await page.locator("button.row", { hasText: subject }).innerText(), /shop\.order\.created/);
});
