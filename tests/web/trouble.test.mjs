// SPDX-License-Identifier: MIT
//
// What the dashboard does when things are not as they should be: far too many events, no connection,
// no token, refusals. Only the stub can be made to misbehave so.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { folder, openPage, startBrowser, until } from "./browser.mjs";
import { startStub } from "./stub.mjs";

let stub;
let browser;

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

function open(where = "/", options) {
    return openPage(browser, stub.url, where, options);
}

function listening(page) {
    return page.locator(".stream[data-state=open]").waitFor();
}

function row(page, text) {
    return page.locator("button.row", { hasText: text });
}

// From the key to the frame that shows it: the event's own time stamp to the task after the paint.
function measureKeys() {
    window.delays = [];
    window.addEventListener("keydown", (event) => {
        const begin = event.timeStamp;
        requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = () => window.delays.push(performance.now() - begin);
            channel.port2.postMessage(0);
        });
    }, true);
}

async function heap(session) {
    await session.send("HeapProfiler.collectGarbage");
    return (await session.send("Runtime.getHeapUsage")).usedSize;
}

test("at_ten_thousand_events_a_second_it_samples_says_so_and_answers_keys_at_once", async (t) => {
    const page = await open("/", { init: measureKeys });
    await listening(page);
    stub.rate(10000);
    await page.getByText(/^showing \d+ of [\d,]{5,} a second$/).waitFor();
    assert.ok(stub.requests.some((line) => line.includes("max_rate=200")));

    await page.locator("input[name=text]").focus();
    for (const key of "the quick brown fox jumps over the lazy dog".split("")) {
        await page.keyboard.press(key === " " ? "Space" : key);
        await new Promise((done) => setTimeout(done, 40));
    }
    await page.locator("input[name=text]").fill("");

    const delays = (await page.evaluate(() => window.delays)).sort((a, b) => a - b);
    t.diagnostic(`key to paint: median ${delays[delays.length >> 1].toFixed(1)} ms, ` +
        `longest ${delays.at(-1).toFixed(1)} ms of ${delays.length}`);
    assert.ok(delays.length >= 40);
    // Of 44 keys two may meet a machine that has other work to do than this page.
    assert.ok(delays.at(-3) < 100, `keys took ${delays.slice(-3).map(Math.round)} ms`);
    const [, shown] = /showing (\d+) of/.exec(await page.locator(".stream-status").innerText());
    assert.ok(Number(shown) <= 200);
    assert.ok(await page.locator("button.row").count() <= 200);
    assert.deepEqual(page.errors, []);
});

test("however_many_events_come_memory_stays_where_it_is", async (t) => {
    const page = await open();
    await listening(page);
    const session = await browser.context.newCDPSession(page);
    stub.rate(10000);
    // The buffer is full after five seconds of 200, or nothing can be said of its limit.
    await new Promise((done) => setTimeout(done, 7000));
    const early = await heap(session);
    await new Promise((done) => setTimeout(done, 8000));
    const late = await heap(session);

    t.diagnostic(`heap: ${(early / 1e6).toFixed(1)} MB, and 80,000 events later ${(late / 1e6).toFixed(1)} MB`);
    assert.ok(late < 40e6);
    assert.ok(late - early < 4e6, `grew by ${late - early} bytes`);
});

test("should_the_service_not_sample_the_page_does", async () => {
    const page = await open();
    await listening(page);
    for (let i = 0; i < 5000; i++) {
        stub.world.publish({ type: "flood.drop", data: { i } });
    }
    const flood = [...stub.world.listeners];
    assert.equal(flood.length, 1);
    await until("some are shown", async () => await page.locator("button.row").count() > 0);
    assert.ok(await page.locator("button.row").count() <= 200);
});

test("a_lost_connection_is_told_comes_back_by_itself_and_nothing_is_missed", async () => {
    const page = await open();
    await listening(page);
    stub.world.publish({ type: "before.cut", subject: "one" });
    await row(page, "before.cut").waitFor();

    await stub.down();
    await page.getByText("Connection lost.").waitFor();
    await page.getByTitle("Connection lost").waitFor();
    stub.world.publish({ type: "during.cut", subject: "two" });
    await stub.up();

    await page.getByText("Connection lost.").waitFor({ state: "detached" });
    await row(page, "during.cut").waitFor();
    assert.equal(await row(page, "before.cut").count(), 1, "what was there is still there, once");
    assert.equal(stub.resumed.at(-1), "1", "it went on behind the last event it had");
    stub.world.publish({ type: "after.cut" });
    await row(page, "after.cut").waitFor();
});

test("a_stream_that_only_breaks_off_is_resumed_too", async () => {
    const page = await open();
    await listening(page);
    stub.world.publish({ type: "first.kind" });
    await row(page, "first.kind").waitFor();
    for (let i = 0; i < 3; i++) {
        stub.cut();
        stub.world.publish({ type: `cut.number-${i}` });
        await row(page, `cut.number-${i}`).waitFor();
    }
    assert.equal(await row(page, "first.kind").count(), 1);
});

test("what_was_forgotten_meanwhile_is_told", async () => {
    const page = await open();
    await listening(page);
    stub.world.publish({ type: "before.gap" });
    await row(page, "before.gap").waitFor();

    await stub.down();
    for (let i = 0; i < 40; i++) {
        stub.world.publish({ type: "forgotten.event" });
    }
    stub.world.forget(31);
    await stub.up();

    await page.getByText("30 events were forgotten before this page came back (positions 2 to 31).").waitFor();
});

test("it_tries_at_once_when_somebody_asks_it_to", async () => {
    const page = await open();
    await listening(page);
    await stub.down();
    await page.getByText(/Connection lost\..* \d+ s old/).waitFor({ timeout: 15000 });
    await stub.up();
    await page.getByRole("button", { name: "Try now" }).click();
    await page.getByTitle("Connected").waitFor();
});

test("a_token_is_asked_for_once_kept_in_the_tab_and_sent_in_a_header", async () => {
    stub.token = "a-token-of-some-length";
    const page = await open();
    const dialog = page.getByRole("dialog", { name: "This service asks for a token" });
    await dialog.waitFor();
    assert.equal(await page.getByRole("dialog").count(), 1);

    await dialog.getByLabel("Token").fill("not this one");
    await page.keyboard.press("Enter");
    await page.getByText("That token was refused.").waitFor();
    await dialog.getByLabel("Token").fill(stub.token);
    await page.keyboard.press("Enter");

    await dialog.waitFor({ state: "detached" });
    await listening(page);
    stub.world.publish({ type: "with.token" });
    await row(page, "with.token").waitFor();
    await page.reload();
    await listening(page);
    assert.equal(await page.getByRole("dialog").count(), 0, "it is remembered");
    assert.equal(await page.evaluate(() => localStorage.length), 0, "but not for long");
    assert.ok(!stub.requests.some((line) => line.includes(stub.token)), "no address has it");
});

test("without_a_token_the_page_says_what_it_cannot_do_and_asks_no_more", async () => {
    stub.token = "a-token-of-some-length";
    const page = await open("/#/subscriptions");
    await page.getByRole("button", { name: "Not now" }).click();
    await page.getByText("This needs a token").first().waitFor();
});

test("an_error_of_the_service_is_shown_with_its_own_words_and_goes_away", async () => {
    stub.fault = (request, url) => (url.pathname === "/v1/subscriptions"
        ? { status: 500, detail: "subscriptions: the state file cannot be read: Input/output error." } : null);
    const page = await open("/#/subscriptions");
    await page.getByText("the state file cannot be read: Input/output error.").waitFor();
    await page.getByTitle("Connected").waitFor();

    stub.fault = null;
    await page.getByRole("heading", { name: "Nobody is subscribed durably" }).waitFor();
    assert.equal(await page.locator(".problem").count(), 0);
});

test("an_action_that_is_refused_changes_nothing_and_says_why", async () => {
    stub.world.subscribe({ name: "billing", pattern: "order.*" });
    const page = await open("/#/subscriptions");
    await page.getByRole("button", { name: "Pause billing" }).waitFor();
    stub.fault = (request) => (request.method === "POST"
        ? { status: 409, code: "busy", detail: "billing: it is being moved; try again when that is done." } : null);

    await page.getByRole("button", { name: "Pause billing" }).click();

    await page.getByText("it is being moved; try again when that is done.").waitFor();
    await page.getByRole("button", { name: "Pause billing" }).waitFor();
});

test("a_service_that_is_not_ready_says_why", async () => {
    stub.notReady = ["the disk is full: /var/lib/peal has 0 bytes left"];
    const page = await open("/#/store");
    await page.getByText("the disk is full: /var/lib/peal has 0 bytes left").waitFor();
    await page.locator(".figure.bad", { hasText: "not ready" }).waitFor();
});

test("an_event_that_is_gone_is_told", async () => {
    const page = await open("/#/live?event=no-such-id");
    await page.getByText("No event has the id 'no-such-id'").waitFor();
});

test("long_data_are_cut_and_can_be_seen_whole", async () => {
    const page = await open();
    await listening(page);
    const list = Array.from({ length: 500 }, (_, i) => `line ${i}`);
    stub.world.publish({ type: "long.data", id: "long", subject: "s".repeat(900), data: { list, text: "x".repeat(9000) } });
    await row(page, "long.data").click();
    const data = page.getByRole("complementary", { name: "Event" }).locator("pre");
    await data.waitFor();
    assert.ok((await data.innerText()).length <= 6001);

    await page.getByRole("button", { name: /^Show all 505 lines/ }).click();

    await until("all of it", async () => (await data.innerText()).includes("line 499"));
    assert.ok((await data.innerText()).includes("x".repeat(9000)));
    await page.getByRole("button", { name: "all 900 characters" }).click();
    await page.getByRole("complementary", { name: "Event" }).getByTitle("Its stream")
        .filter({ hasText: "s".repeat(900) }).waitFor();
});

test("data_that_are_no_json_are_shown_as_what_they_are", async () => {
    stub.world.publish({ type: "text.plain", id: "plain", datacontenttype: "text/plain", data: "just a line" });
    stub.world.publish({ type: "bytes.raw", id: "bytes", datacontenttype: "image/png", data: undefined,
        data_base64: "iVBORw0KGgo=" });
    const page = await open("/#/live?event=plain");
    const data = page.getByRole("complementary", { name: "Event" });
    await data.getByText("just a line").waitFor();
    await data.getByText("text/plain").waitFor();
    await page.goto(`${stub.url}/#/live?event=bytes`);
    await data.getByText("iVBORw0KGgo=").waitFor();
    await data.getByText("image/png, base64").waitFor();
});

test("where_there_is_nothing_yet_it_says_what_to_do_with_its_own_address", async () => {
    const page = await open();
    await page.getByText(`curl -d '{"total":5}' '${stub.url}/v1/events/order.created?subject=order-17'`).waitFor();
    await page.goto(`${stub.url}/#/subscriptions`);
    await page.getByText(`${stub.url}/v1/subscriptions`).waitFor();
    await page.goto(`${stub.url}/#/streams`);
    await page.getByText(`${stub.url}/v1/streams/order-17`).waitFor();
    await page.goto(`${stub.url}/#/dead-letters`);
    await page.getByRole("heading", { name: "No dead letters" }).waitFor();
});

test("what_waits_for_its_time_is_listed_and_cancelled", async () => {
    stub.world.scheduled = [{ deliver_at: "2101-01-01T00:00:00Z",
        event: { id: "later", type: "reminder.due", subject: "order-9" } }];
    const page = await open("/#/store");
    await page.getByRole("row", { name: /reminder\.due/ }).getByRole("button", { name: "Cancel" }).click();
    await page.getByText("reminder.due").waitFor({ state: "detached" });
    assert.deepEqual(stub.world.scheduled, []);
});

test("a_slow_service_is_not_asked_faster_than_it_answers", async () => {
    const page = await open();
    await listening(page);
    const begin = stub.requests.filter((line) => line.endsWith("/v1/stats")).length;
    await new Promise((done) => setTimeout(done, 3000));
    const asked = stub.requests.filter((line) => line.endsWith("/v1/stats")).length - begin;
    assert.ok(asked >= 1 && asked <= 4, `${asked} times in 3 s`);
});

test("syncs_to_disk_say_how_long_they_take_where_the_metrics_do", async () => {
    const page = await open("/#/store");
    await page.getByText("at most 4 ms").waitFor();
});
