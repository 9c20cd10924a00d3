// SPDX-License-Identifier: MIT
//
// What the dashboard does when things are not as they should be: no connection, no token, refusals.
// Only the stub can be made to misbehave so.
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./browser.mjs";
import { open, stub } from "./frame.mjs";
import { World } from "./stub_world.mjs";

function listening(page) {
    return page.locator(".stream[data-state=open]").waitFor();
}

function row(page, text) {
    return page.locator("button.row", { hasText: text });
}

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

test("a_stream_that_died_without_a_word_is_not_believed_when_other_calls_fail", async () => {
    const page = await open();
    await listening(page);
    stub.world.publish({ type: "before.silence" });
    await row(page, "before.silence").waitFor();
    stub.world.listeners.clear(); // The connection is there, and nothing will come of it.
    stub.fault = () => "cut";
    await page.getByText("Connection lost.").waitFor();
    stub.world.publish({ type: "during.silence" });

    stub.fault = null;

    await row(page, "during.silence").waitFor();
    assert.equal(stub.resumed.at(-1), "1");
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

    await page
        .getByText("30 events were forgotten before this page came back (positions 2 to 31).")
        .waitFor();
});

test("a_log_that_has_begun_anew_is_followed_from_now", async () => {
    const page = await open();
    await listening(page);
    stub.world.publish({ type: "old.log" });
    stub.world.publish({ type: "old.log" });
    await row(page, "old.log").first().waitFor();

    await stub.down();
    stub.world = new World();
    await stub.up();
    await row(page, "old.log").first().waitFor({ state: "detached" });
    await listening(page);

    stub.world.publish({ type: "new.log" });
    await row(page, "new.log").waitFor();
    assert.equal(stub.resumed.at(-1), null);
});

test("it_tries_at_once_when_somebody_asks_it_to", async () => {
    const page = await open();
    await listening(page);
    await stub.down();
    await page.getByText(/Connection lost\..* \d+ s old/).waitFor({ timeout: 15000 });
    // By itself it tries no more: else it might be quicker than the click.
    await page.evaluate(() => {
        const { setTimeout } = window;
        window.setTimeout = (run, ms, ...more) => (ms > 300 ? 0 : setTimeout(run, ms, ...more));
        for (let id = setTimeout(() => {}); id > 0; id--) {
            clearTimeout(id);
        }
    });
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
    const refused = stub.requests.length;
    await until("it has tried again", () => stub.requests.length > refused + 3);
    assert.equal(await page.getByRole("dialog").count(), 0);

    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("dialog").getByLabel("Token").fill(stub.token);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Nobody is subscribed durably" }).waitFor();
    await page.getByRole("button", { name: "Sign in" }).waitFor({ state: "detached" });
});

test("what_is_typed_stays_while_numbers_come_and_go", async () => {
    stub.world.subscribe({ name: "billing", pattern: "order.*" });
    const page = await open("/#/subscriptions");
    const asked = () => stub.requests.filter((line) => line === "GET /v1/subscriptions").length;
    const drawnAgain = async () => {
        const before = asked();
        stub.shop.chain();
        await until("the page has asked again", () => asked() >= before + 2);
    };
    await page.getByRole("button", { name: "Move billing" }).click();
    await page.getByRole("radio", { name: /^A position/ }).check();
    await page.getByLabel("Position", { exact: true }).fill("17");
    await drawnAgain();
    assert.equal(await page.getByLabel("Position", { exact: true }).inputValue(), "17");

    await page.goto(`${stub.url}/#/dead-letters`);
    const pattern = page.getByRole("main").getByLabel("Pattern", { exact: true });
    await pattern.fill("half.writ");
    await until(
        "the page has asked again",
        async () =>
            stub.requests.filter((line) => line.startsWith("GET /v1/dead-letters?")).length >= 3,
    );
    assert.equal(await pattern.inputValue(), "half.writ");
});

test("an_opened_event_holds_the_list_so_that_its_row_is_there_afterwards", async () => {
    const page = await open();
    await listening(page);
    stub.world.publish({ type: "row.kept", id: "kept" });
    await row(page, "row.kept").click();
    await page
        .getByRole("complementary", { name: "Event" })
        .getByRole("heading", { name: "row.kept" })
        .waitFor();
    for (let i = 0; i < 300; i++) {
        stub.world.publish({ type: "row.new", data: { i } });
    }
    await page.getByText(/\d+ new events: show/).waitFor();
    assert.equal(await page.locator("button.row").count(), 1);

    await page.keyboard.press("Escape");
    assert.match(await page.locator(":focus").innerText(), /row\.kept/);
    await page.keyboard.press("Escape");
    await row(page, "row.new").first().waitFor();
});

test("an_error_of_the_service_is_shown_with_its_own_words_and_goes_away", async () => {
    stub.fault = (request, url) =>
        url.pathname === "/v1/subscriptions"
            ? {
                  status: 500,
                  detail: "subscriptions: the state file cannot be read: Input/output error.",
              }
            : null;
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
    stub.fault = (request) =>
        request.method === "POST"
            ? {
                  status: 409,
                  code: "busy",
                  detail: "billing: it is being moved; try again when that is done.",
              }
            : null;

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

test("how_a_service_is_that_comes_back_is_asked_at_once", async () => {
    // Without what asks every five seconds.
    const init = () => {
        const { setTimeout, setInterval } = window;
        window.setTimeout = (run, ms, ...more) => (ms === 5000 ? 0 : setTimeout(run, ms, ...more));
        window.setInterval = (run, ms) => (ms === 5000 ? 0 : setInterval(run, ms));
    };
    const page = await open("/", { init });
    await page.locator(".figure", { hasText: "healthy" }).waitFor();
    await stub.down();
    await page.getByText("Connection lost.").waitFor();
    stub.notReady = ["a disk has failed"];
    await stub.up();
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
    stub.world.publish({
        type: "long.data",
        id: "long",
        subject: "s".repeat(900),
        data: { list, text: "x".repeat(9000) },
    });
    await row(page, "long.data").click();
    const data = page.getByRole("complementary", { name: "Event" }).locator("pre");
    await data.waitFor();
    assert.ok((await data.innerText()).length <= 6001);

    await page.getByRole("button", { name: /^Show all 505 lines/ }).click();

    await until("all of it", async () => (await data.innerText()).includes("line 499"));
    assert.ok((await data.innerText()).includes("x".repeat(9000)));
    await page.getByRole("button", { name: "all 900 characters" }).click();
    await page
        .getByRole("complementary", { name: "Event" })
        .getByTitle("Its stream")
        .filter({ hasText: "s".repeat(900) })
        .waitFor();
});

test("data_that_are_no_json_are_shown_as_what_they_are", async () => {
    stub.world.publish({
        type: "text.plain",
        id: "plain",
        datacontenttype: "text/plain",
        data: "just a line",
    });
    stub.world.publish({
        type: "bytes.raw",
        id: "bytes",
        datacontenttype: "image/png",
        data: undefined,
        data_base64: "iVBORw0KGgo=",
    });
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
    await page
        .getByText(`curl -d '{"total":5}' '${stub.url}/v1/events/order.created?subject=order-17'`)
        .waitFor();
    await page.goto(`${stub.url}/#/subscriptions`);
    await page.getByText(`${stub.url}/v1/subscriptions`).waitFor();
    await page.goto(`${stub.url}/#/streams`);
    const begin = page.getByText(`${stub.url}/v1/streams/order-17`);
    await begin.waitFor();
    const [, event] = (await begin.textContent()).match(/ -d '(\{.*\})' /);
    for (const name of ["specversion", "id", "source", "type"]) {
        assert.equal(typeof JSON.parse(event)[name], "string", `${name}: the service wants it`);
    }
    await page.goto(`${stub.url}/#/dead-letters`);
    await page.getByRole("heading", { name: "No dead letters" }).waitFor();
});

test("what_was_published_before_is_counted_without_what_is_forgotten_and_is_a_search_away", async () => {
    for (const subject of ["one", "two", "three"]) {
        stub.world.publish({ type: "order.created", subject });
    }
    stub.world.forget(2);
    const page = await open();
    await page.getByRole("link", { name: "Events 1 in the log" }).waitFor();
    await page.getByText("For what was before").getByRole("link", { name: "search" }).click();
    await row(page, "three").waitFor();
});

test("what_waits_for_its_time_is_listed_and_cancelled", async () => {
    stub.world.scheduled = [
        {
            deliver_at: "2101-01-01T00:00:00Z",
            event: { id: "later", type: "reminder.due", subject: "order-9" },
        },
    ];
    const page = await open("/#/store");
    await page
        .getByRole("row", { name: /reminder\.due/ })
        .getByRole("button", { name: "Cancel" })
        .click();
    await page.getByText("reminder.due").waitFor({ state: "detached" });
    assert.deepEqual(stub.world.scheduled, []);
});

test("a_slow_service_is_asked_less_often", async () => {
    const at = [];
    stub.delay = (request, url) => {
        if (url.pathname !== "/v1/stats") {
            return 0;
        }
        at.push(performance.now());
        return 300;
    };
    await open();
    await until("it is asked twice", () => at.length >= 2);
    assert.ok(at[1] - at[0] > 2500, `again after ${at[1] - at[0]} ms, though the answer took 300`);
});

test("syncs_to_disk_say_how_long_they_take_where_the_metrics_do", async () => {
    const page = await open("/#/store");
    await page.getByText("at most 4 ms").waitFor();
});
