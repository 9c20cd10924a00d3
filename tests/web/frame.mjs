// SPDX-License-Identifier: MIT
//
// The frame of a test that needs the stub: a browser for all of its tests, and for each of them a
// stub of its own, whose pages are closed behind it. What is imported from here is what it is now.
import { after, afterEach, before, beforeEach } from "node:test";
import { folder, openPage, startBrowser } from "./browser.mjs";
import { startStub } from "./stub.mjs";

export let stub;
export let browser;

before(async () => {
    browser = await startBrowser();
});

after(() => browser?.close());

beforeEach(async () => {
    stub = await startStub({ page: folder });
});

afterEach(async () => {
    await Promise.all(browser.context.pages().map((page) => page.close()));
    await stub.close();
});

export function open(where = "/", options) {
    return openPage(browser, stub.url, where, options);
}
