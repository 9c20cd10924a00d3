// SPDX-License-Identifier: MIT
//
// A browser for the tests: Debian's chromium with a folder of its own for each run, led by
// playwright-core. Everything the page must never do is watched for: a request off its origin, and
// an error in the console.
//
// The environment says: PEAL_WEB, the folder with the built page and node_modules (build/web);
// PEAL_WEB_URL, a running service to test instead of the stub; PEAL_CHROMIUM, another browser.
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const folder = resolve(process.env.PEAL_WEB ?? "build/web");
const { chromium } = createRequire(join(folder, "package.json"))("playwright-core");

const FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

export async function startBrowser() {
    const profile = mkdtempSync(join(tmpdir(), "peal-web."));
    const browser = await chromium.launchPersistentContext(profile, {
        executablePath: process.env.PEAL_CHROMIUM ?? "/usr/bin/chromium",
        args: FLAGS,
        viewport: { width: 1360, height: 900 },
        reducedMotion: "reduce",
    });
    return {
        context: browser,
        async close() {
            await browser.close();
            rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
        },
    };
}

// A page at `url` + `where`. `page.strayed` are the requests off its origin, `page.errors` what the
// console and the scripts have complained of.
export async function openPage(browser, url, where = "/", { init, ...emulated } = {}) {
    const page = await browser.context.newPage();
    await page.emulateMedia({ colorScheme: "light", ...emulated });
    page.strayed = [];
    page.errors = [];
    page.on("request", (request) => {
        const at = new URL(request.url());
        if (at.origin !== new URL(url).origin && at.protocol !== "data:") {
            page.strayed.push(request.url());
        }
    });
    page.on("console", (message) => {
        if (message.type() === "error" || message.type() === "warning") {
            page.errors.push(message.text());
        }
    });
    page.on("pageerror", (error) => page.errors.push(String(error.stack ?? error)));
    if (init) {
        await page.addInitScript(init);
    }
    page.setDefaultTimeout(20000);
    await page.goto(url + where);
    return page;
}

// Waits until it holds; says what it was when the time is over.
export async function until(what, holds, ms = 20000) {
    const end = Date.now() + ms;
    let last;
    while (Date.now() < end) {
        try {
            last = await holds();
            if (last) {
                return last;
            }
        } catch (error) {
            last = error;
        }
        await new Promise((done) => setTimeout(done, 25));
    }
    throw new Error(`waited ${ms} ms for: ${what}; it was ${last}`);
}
