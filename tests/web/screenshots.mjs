// SPDX-License-Identifier: MIT
//
// Takes the pictures of docs/ anew, from the stub and its made-up events:
//
//     PEAL_WEB=build/web node tests/web/screenshots.mjs docs
//
// The busier the machine, the more ragged the chart; nothing else differs from time to time.
import { join } from "node:path";
import { folder, openPage, startBrowser } from "./browser.mjs";
import { startStub } from "./stub.mjs";

const out = process.argv[2];
if (!out) {
    console.error("usage: node tests/web/screenshots.mjs FOLDER");
    process.exit(2);
}

const SIZE = { width: 1280, height: 800 };
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

const stub = await startStub({ page: folder, rate: 60 });
stub.shop.furnish();
const browser = await startBrowser();
const page = await openPage(browser, stub.url);
await page.setViewportSize(SIZE);
await pause(75000); // a minute of rates, which fills the chart
await page.screenshot({ path: join(out, "dashboard.png") });

const paid = stub.world.events.findLast((event) => event.type === "payment.authorized");
await page.emulateMedia({ colorScheme: "dark" });
await page.evaluate((id) => {
    location.hash = `#/live?event=${id}`;
}, paid.id);
await pause(1500);
await page.screenshot({ path: join(out, "dashboard-event.png") });

await page.emulateMedia({ colorScheme: "light" });
const letter = stub.world.letters.keys().next().value;
await page.evaluate((id) => {
    location.hash = `#/dead-letters?letter=${id}`;
}, letter);
await pause(1500);
await page.screenshot({ path: join(out, "dashboard-dead-letters.png") });

await browser.close();
await stub.close();
process.exit(0);
