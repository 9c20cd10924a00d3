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

// Whoever serves the page, these say the same: they look at the page alone, and run with the stub.
const OF_THE_PAGE = new Set([
    "a_text_is_looked_for_in_what_is_shown",
    "a_field_is_never_set_back_to_what_was_typed_before",
    "a_paused_list_stands_still_until_it_is_resumed",
    "what_an_event_says_never_becomes_part_of_the_page",
    "a_search_that_finds_nothing_says_so",
    "every_part_has_a_name_for_who_cannot_see_it",
    "on_a_narrow_screen_nothing_is_wider_than_the_screen",
]);

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
    const answer = await fetch(url + path, {
        method,
        headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
        body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
}

function publish(type, data, attributes = {}) {
    const query = new URLSearchParams(attributes);
    return call("POST", `/v1/events/${type}?${query}`, data);
}

// Does what a page is for, then looks for what it must not have done. `refusals`: how the console
// may tell of answers that are meant to be refused.
function dashboard(name, where, body, { refusals, ...options } = {}) {
    if (process.env.PEAL_WEB_URL && OF_THE_PAGE.has(name)) {
        return;
    }
    test(name, async () => {
        const page = await openPage(browser, url, where, options);
        try {
            await body(page);
            assert.deepEqual(page.strayed, [], "requests off its origin");
            assert.deepEqual(
                page.errors.filter((text) => !refusals?.test(text)),
                [],
                "the console",
            );
        } finally {
            await page.close();
        }
    });
}

function row(page, text) {
    return page.locator("button.row", { hasText: text });
}

function pattern(page) {
    return page.getByRole("main").getByLabel("Pattern", { exact: true });
}

function words(page) {
    return page.getByRole("searchbox", { name: "Text", exact: true });
}

function panel(page, label = "Event") {
    return page.getByRole("complementary", { name: label });
}

// The page listens: events from now on will be shown.
async function listening(page, query = "") {
    await until("the stream is open", () =>
        page.evaluate(
            (wanted) =>
                document.querySelector(".stream")?.dataset.state === "open" &&
                location.hash.includes(wanted),
            query,
        ),
    );
}

dashboard("a_published_event_appears_by_itself", "/", async (page) => {
    await listening(page);
    const subject = fresh("order");

    await publish("shop.order.created", { total: 5 }, { subject });

    await row(page, subject).waitFor();
    const text = await row(page, subject).innerText();
    assert.match(text, /shop\.order\.created/);
    assert.match(text, /\{total: 5\}/);
    const time = row(page, subject).locator("time");
    assert.match(await time.innerText(), /^\d\d:\d\d:\d\d\.\d\d\d$/);
    assert.match(await time.getAttribute("title"), /^\d{4}-.*Z \(UTC\)$/);
});

dashboard("a_pattern_lets_only_its_types_through", "/", async (page) => {
    const [wanted, other] = [fresh("wanted"), fresh("other")];
    await pattern(page).fill(`${wanted}.*`);
    await listening(page, wanted);

    await publish(`${other}.created`, {});
    await publish(`${wanted}.deep.created`, {});

    await row(page, `${wanted}.deep.created`).waitFor();
    assert.equal(await page.locator("button.row").count(), 1);
    assert.match(page.url(), new RegExp(wanted), "the address says what is shown");
});

dashboard(
    "a_pattern_that_is_none_is_explained_and_mended",
    "/",
    async (page) => {
        await pattern(page).fill("a..b");
        await page.locator(".stream .problem").waitFor();

        const type = fresh("mended");
        await pattern(page).fill(type);
        await listening(page, type);
        await publish(type, {});

        await row(page, type).waitFor();
        assert.equal(await page.locator(".stream .problem").count(), 0);
    },
    { refusals: /400/ },
);

dashboard("a_text_is_looked_for_in_what_is_shown", "/", async (page) => {
    await listening(page);
    const [one, two] = [fresh("one"), fresh("two")];
    await publish("text.sought", { name: one });
    await publish("text.sought", { name: two });
    await row(page, two).waitFor();
    await row(page, one).waitFor();

    await words(page).fill(one.toUpperCase());

    await row(page, two).waitFor({ state: "detached" });
    assert.equal(await page.locator("button.row").count(), 1);
    await words(page).fill("");
    await row(page, two).waitFor();
});

dashboard("a_field_is_never_set_back_to_what_was_typed_before", "/", async (page) => {
    await listening(page);
    // The next text comes when the address has just taken the last one, and nothing is drawn yet.
    await page.evaluate(() => {
        const field = document.querySelector("input[name=text]");
        const type = (text) => {
            field.value = text;
            field.dispatchEvent(new InputEvent("input", { bubbles: true }));
        };
        const replace = history.replaceState.bind(history);
        history.replaceState = (...address) => {
            history.replaceState = replace;
            replace(...address);
            queueMicrotask(() => type("second"));
        };
        type("first");
    });
    await until("the address has the second", () => page.url().includes("text=second"));
    assert.equal(await words(page).inputValue(), "second");
});

dashboard("json_is_asked_of_the_service_as_what_the_data_contain", "/", async (page) => {
    const mark = fresh("mark");
    const asked = page.waitForRequest(
        (request) =>
            new URL(request.url()).searchParams.get("contains") === JSON.stringify({ mark }),
    );
    await words(page).fill(JSON.stringify({ mark }));
    await asked;
    await listening(page, mark);

    await publish("json.sought", { note: mark });
    await publish("json.sought", { mark, more: [1] });

    await row(page, "more").waitFor();
    assert.equal(await page.locator("button.row").count(), 1);
});

dashboard("a_paused_list_stands_still_until_it_is_resumed", "/", async (page) => {
    await listening(page);
    const [shown, held] = [fresh("shown"), fresh("held")];
    await publish("pause.before", {}, { subject: shown });
    await row(page, shown).waitFor();

    await page.getByRole("button", { name: "Pause", exact: true }).click();
    await publish("pause.meanwhile", {}, { subject: held });

    await page.getByText(/\d+ new events?: show/).waitFor();
    assert.equal(await row(page, held).count(), 0);
    await page.getByRole("button", { name: "Resume", exact: true }).click();
    await row(page, held).waitFor();
});

// Publishes cause ─► event ─► effect, and gives the ids.
async function chain(type) {
    const correlation = fresh("correlation");
    const ids = [fresh("cause"), fresh("event"), fresh("effect")];
    await publish(`${type}.cause`, { n: 0 }, { id: ids[0], correlation });
    await publish(
        `${type}.event`,
        { total: 12, name: "a thing" },
        { id: ids[1], correlation, causation: ids[0] },
    );
    await publish(`${type}.effect`, { n: 2 }, { id: ids[2], correlation, causation: ids[1] });
    return { correlation, ids };
}

dashboard("a_click_opens_an_event_with_its_data_its_cause_and_its_effect", "/", async (page) => {
    await listening(page);
    const type = fresh("chain");
    const { ids, correlation } = await chain(type);

    await row(page, `${type}.event`).click();

    const line = panel(page).getByRole("list", { name: "Causes and effects" });
    await line.getByRole("listitem").nth(2).waitFor();
    assert.deepEqual(await line.locator(".moment-type").allInnerTexts(), [
        `${type}.cause`,
        `${type}.event`,
        `${type}.effect`,
    ]);
    assert.match(
        await panel(page).locator("pre").innerText(),
        /"total": 12,\n\s+"name": "a thing"/,
    );
    assert.match(await panel(page).innerText(), new RegExp(correlation));

    await line.getByText(`${type}.effect`).click();
    await panel(page)
        .getByRole("heading", { name: `${type}.effect` })
        .waitFor();
    assert.match(page.url(), new RegExp(ids[2]), "the address leads to the event");
    await page.reload();
    await panel(page)
        .getByRole("heading", { name: `${type}.effect` })
        .waitFor();
});

dashboard("the_keyboard_alone_opens_and_closes_an_event", "/", async (page) => {
    const type = fresh("keys");
    await page.keyboard.press("/");
    await page.keyboard.type(`${type}.*`);
    await page.keyboard.press("Enter");
    await listening(page, type);
    // What was typed is asked for once more a moment later: what comes meanwhile may not be shown.
    const shown = row(page, `${type}.effect`).first();
    for (let tries = 0; tries < 5 && !(await shown.isVisible()); tries++) {
        await chain(type);
        await shown.waitFor({ timeout: 4000 }).catch(() => {});
    }
    await shown.waitFor();
    await page.keyboard.press("Escape");

    await page.keyboard.press("ArrowDown");
    await page.locator(":focus", { hasText: `${type}.effect` }).waitFor();
    await page.keyboard.press("ArrowDown");
    await page.locator(":focus", { hasText: `${type}.event` }).waitFor();
    assert.match(await page.locator(":focus").innerText(), new RegExp(`${type}\\.event`));
    assert.notEqual(
        await page.locator(":focus").evaluate((element) => getComputedStyle(element).outlineStyle),
        "none",
        "the focus can be seen",
    );
    await page.keyboard.press("Enter");
    await panel(page)
        .getByRole("heading", { name: `${type}.event` })
        .waitFor();

    await page.keyboard.press("Escape");
    await panel(page).waitFor({ state: "detached" });
    assert.match(
        await page.locator(":focus").innerText(),
        new RegExp(`${type}\\.event`),
        "the focus is back",
    );
});

dashboard("numbers_that_javascript_cannot_hold_are_shown_as_they_came", "/", async (page) => {
    await listening(page);
    const type = fresh("exact");
    const answer = await fetch(`${url}/v1/events/${type}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: '{"big":12345678901234567890,"price":1.50}',
    });
    assert.ok(answer.ok, `${answer.status}`);

    await row(page, type).click();

    await panel(page).locator("pre").waitFor();
    const text = await panel(page).locator("pre").innerText();
    assert.match(text, /"big": 12345678901234567890,/);
    assert.match(text, /"price": 1\.50/);
});

dashboard("what_an_event_says_never_becomes_part_of_the_page", "/", async (page) => {
    await listening(page);
    const subject = `<img src=x onerror="window.broken=1">${fresh("s")}`;
    await publish(
        "script.attempted",
        { html: "<script>window.broken=1</script><b id=bold>x</b>" },
        { subject },
    );

    await row(page, "script.attempted").first().click();

    await panel(page).locator("pre").waitFor();
    assert.match(await panel(page).innerText(), /<script>window\.broken=1<\/script>/);
    assert.equal(await page.evaluate(() => window.broken), undefined);
    assert.equal(await page.locator("#bold").count(), 0);
});

dashboard("the_tree_of_types_counts_and_filters", "/", async (page) => {
    const root = fresh("tree");
    for (const type of ["leaf.one", "leaf.two", "leaf.two"]) {
        await publish(`${root}.${type}`, {});
    }
    const tree = page.getByRole("tree", { name: "Types" });
    const branch = tree.getByRole("treeitem", { name: `${root}.leaf, 3 events`, exact: true });
    await branch.waitFor();
    await branch.focus();
    if ((await branch.getAttribute("aria-expanded")) === "false") {
        await page.keyboard.press("ArrowRight");
    }
    const leaf = tree.getByRole("treeitem", { name: `${root}.leaf.two, 2 events`, exact: true });
    await leaf.waitFor();

    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");

    await until(
        "the pattern is the leaf's",
        async () => (await pattern(page).inputValue()) === `${root}.leaf.two`,
    );
    await branch.locator(".pick").first().click();
    await until(
        "the pattern is the branch's",
        async () => (await pattern(page).inputValue()) === `${root}.leaf.**`,
    );
});

dashboard("rates_per_type_are_drawn_and_told_in_words", "/", async (page) => {
    await page.locator(".legend").waitFor();
    const type = fresh("rate");
    await until("the type is in the legend", async () => {
        await Promise.all([...Array(20)].map(() => publish(type, {})));
        return (await page.locator(".legend").innerText()).includes(type);
    });
    await page.locator(".plot canvas").waitFor();
    const drawn = await page.locator(".plot canvas").evaluate((canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return data.some((value) => value > 0);
    });
    assert.ok(drawn);
});

dashboard(
    "a_subscription_shows_its_place_and_is_paused_resumed_and_moved",
    "/#/subscriptions",
    async (page) => {
        const [name, type] = [fresh("place"), fresh("counted")];
        await call("POST", "/v1/subscriptions", { name, pattern: type });
        for (let i = 0; i < 3; i++) {
            await publish(type, { i });
        }
        const line = page.getByRole("row", { name: new RegExp(name) });
        await line.getByText("3 events").waitFor();

        const { deliveries } = await call("POST", `/v1/subscriptions/${name}/pull`, {
            max: 1,
            wait_ms: 1000,
        });
        assert.equal(deliveries.length, 1);
        await until(
            "one is in flight",
            async () => (await line.locator("[data-label='In flight']").innerText()) === "1",
        );

        await line.getByRole("button", { name: `Pause ${name}` }).click();
        await line.getByText("paused").waitFor();
        assert.equal((await call("GET", `/v1/subscriptions/${name}`)).paused, true);
        await line.getByRole("button", { name: `Resume ${name}` }).click();
        await line.getByText("paused").waitFor({ state: "detached" });
        assert.equal((await call("GET", `/v1/subscriptions/${name}`)).paused, false);

        await line.getByRole("button", { name: `Move ${name}` }).click();
        await page.getByRole("radio", { name: /^Now/ }).check();
        await page.getByRole("button", { name: "Move", exact: true }).click();
        await until(
            "nothing is before it",
            async () => (await call("GET", `/v1/subscriptions/${name}`)).lag === 0,
        );

        await line.getByRole("button", { name: `Move ${name}` }).click();
        await page.getByRole("radio", { name: /^A position/ }).check();
        await page.getByLabel("Position", { exact: true }).fill("1");
        await page.getByRole("button", { name: "Move", exact: true }).click();
        await until(
            "all of it is before it",
            async () => (await call("GET", `/v1/subscriptions/${name}`)).lag >= 3,
        );
        await call("DELETE", `/v1/subscriptions/${name}`);
    },
);

// A subscription that gives up `number` events, and so has as many dead letters.
async function graveyard(number, code = "unpayable") {
    const [name, type] = [fresh("grave"), fresh("dead.payment")];
    await call("POST", "/v1/subscriptions", { name, pattern: type });
    for (let i = 0; i < number; i++) {
        await publish(type, { amount: i, note: "as it was" }, { subject: `${name}-${i}` });
    }
    const deliveries = await pull(name, number);
    await call("POST", `/v1/subscriptions/${name}/settle`, {
        settlements: deliveries.map(({ receipt }) => ({
            receipt,
            verdict: "reject",
            code,
            text: "the account has nothing in it",
        })),
    });
    return { name, type };
}

async function pull(name, number) {
    const all = [];
    await until(`${number} deliveries`, async () => {
        const { deliveries } = await call("POST", `/v1/subscriptions/${name}/pull`, {
            max: number,
            wait_ms: 200,
        });
        all.push(...deliveries);
        return all.length >= number;
    });
    return all;
}

dashboard(
    "a_dead_letter_says_why_and_is_mended_and_tried_again",
    "/#/dead-letters",
    async (page) => {
        const { name, type } = await graveyard(1);
        const line = page.getByRole("row", { name: new RegExp(name) });
        await line.waitFor();
        assert.match(await line.innerText(), /unpayable/);
        const why = await line.locator("[data-label='Why']").innerText();
        assert.match(why, /the account has nothing in it$/, "and nothing behind it");
        assert.match(await line.locator("[data-label='Since']").innerText(), /ago$/);
        assert.equal(await line.locator("[data-label='Attempts']").innerText(), "1");

        await line.getByRole("button", { name: type }).click();
        await panel(page, "Dead letter").getByRole("button", { name: "Edit and retry…" }).click();
        const field = page.getByLabel("Data", { exact: true }).and(page.locator("textarea"));
        const go = page.getByRole("button", { name: "Retry with this" });
        assert.match(await field.inputValue(), /"note": "as it was"/);
        await field.fill('{"amount": ');
        await page.getByText(/Not JSON/).waitFor();
        assert.ok(await go.isDisabled());
        await field.fill('{"amount": 7, "note": "mended"}');
        await go.click();

        const [delivery] = await pull(name, 1);
        assert.deepEqual(delivery.event.data, { amount: 7, note: "mended" });
        await call("POST", `/v1/subscriptions/${name}/settle`, {
            settlements: [{ receipt: delivery.receipt, verdict: "done" }],
        });
        await line.waitFor({ state: "detached" });
        await call("DELETE", `/v1/subscriptions/${name}`);
    },
);

dashboard(
    "one_dead_letter_is_retried_and_another_discarded_after_a_question",
    "/#/dead-letters",
    async (page) => {
        const { name } = await graveyard(2);
        await page.getByRole("region", { name: "By Subscription" }).getByText(name).click();
        await until("only these two", async () => (await page.locator("tbody tr").count()) === 2);

        await page.locator("tbody tr").first().getByRole("button").first().click();
        await panel(page, "Dead letter")
            .getByRole("button", { name: "Retry", exact: true })
            .click();
        const [delivery] = await pull(name, 1);
        assert.equal(delivery.event.data.note, "as it was");
        await call("POST", `/v1/subscriptions/${name}/settle`, {
            settlements: [{ receipt: delivery.receipt, verdict: "done" }],
        });
        await until("one is left", async () => (await page.locator("tbody tr").count()) === 1);

        await page.locator("tbody tr").first().getByRole("button").first().click();
        await panel(page, "Dead letter").getByRole("button", { name: "Discard…" }).click();
        await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
        assert.equal(
            (await call("GET", `/v1/dead-letters?subscription=${name}`)).dead_letters.length,
            1,
        );
        await panel(page, "Dead letter").getByRole("button", { name: "Discard…" }).click();
        await page.getByRole("dialog").getByRole("button", { name: "Discard" }).click();
        await until(
            "none is left",
            async () =>
                (await call("GET", `/v1/dead-letters?subscription=${name}`)).dead_letters.length ===
                0,
        );
        await call("DELETE", `/v1/subscriptions/${name}`);
    },
    { refusals: /404/ },
);

dashboard("all_that_match_are_counted_before_they_are_retried", "/#/dead-letters", async (page) => {
    const { name } = await graveyard(3);
    const { name: spared } = await graveyard(1);
    await page.getByRole("region", { name: "By Subscription" }).getByText(name).click();
    await until("only these three", async () => (await page.locator("tbody tr").count()) === 3);

    await page.getByRole("button", { name: "Retry all matching…" }).click();
    await page.getByRole("dialog").getByText("3 dead letters").waitFor();
    const { deliveries } = await call("POST", `/v1/subscriptions/${name}/pull`, {
        max: 3,
        wait_ms: 50,
    });
    assert.equal(deliveries.length, 0, "the dry run has done nothing");
    await page.getByRole("dialog").getByRole("button", { name: "Retry 3" }).click();

    const retried = await pull(name, 3);
    assert.deepEqual(retried.map(({ event }) => event.data.amount).sort(), [0, 1, 2]);
    assert.equal(
        (await call("GET", `/v1/dead-letters?subscription=${spared}`)).dead_letters.length,
        1,
    );
    await page.getByText("3 dead letters tried again.").waitFor();
    await call("DELETE", `/v1/subscriptions/${name}`);
    await call("DELETE", `/v1/subscriptions/${spared}`);
});

dashboard("history_is_searched_page_by_page", "/#/search", async (page) => {
    const type = fresh("history");
    for (let i = 0; i < 60; i++) {
        await publish(type, { i });
    }
    await pattern(page).fill(type);
    await page.getByLabel("Order").selectOption("asc");
    await page.getByRole("button", { name: "Search" }).click();

    const first = page.locator("button.row").first();
    await until("the first page", async () => /history-.*\{i: 0\}/s.test(await first.innerText()));
    await until("of fifty", async () => (await page.locator("button.row").count()) === 50);
    await page.getByRole("button", { name: "Next" }).click();
    await until("the second page", async () => (await page.locator("button.row").count()) === 10);
    assert.match(await page.locator("button.row").last().innerText(), /\{i: 59\}/);
    assert.ok(await page.getByRole("button", { name: "Next" }).isDisabled());
    await page.getByRole("button", { name: "Previous" }).click();
    await until(
        "the first page again",
        async () => (await page.locator("button.row").count()) === 50,
    );

    await page.getByLabel("Data contains").fill('{"i":41}');
    await page.keyboard.press("Enter");
    await until("the one", async () => (await page.locator("button.row").count()) === 1);
    assert.match(await page.locator("button.row").innerText(), /\{i: 41\}/);
});

dashboard("a_search_that_finds_nothing_says_so", "/#/search", async (page) => {
    await pattern(page).fill(fresh("nothing"));
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Nothing found" }).waitFor();
});

dashboard("a_stream_shows_its_events_with_their_versions", "/#/streams", async (page) => {
    const subject = fresh("account/7");
    for (const type of ["opened", "filled", "closed"]) {
        await publish(`account.${type}`, {}, { subject });
    }
    await page.getByLabel("Subject").fill(subject);
    await page.keyboard.press("Enter");

    await until("three events", async () => (await page.locator("button.row").count()) === 3);
    assert.deepEqual(await page.locator(".row .version").allInnerTexts(), ["1", "2", "3"]);
    await page.getByText("version 3").waitFor();
    await page.getByRole("button", { name: "newest first" }).click();
    await until(
        "the newest first",
        async () => (await page.locator(".row .version").allInnerTexts()).join() === "3,2,1",
    );
});

dashboard("the_store_says_how_much_it_holds_and_how_it_is", "/#/store", async (page) => {
    await publish("store.asked", {});
    const stats = await call("GET", "/v1/stats");
    await page.getByText("ready", { exact: true }).waitFor();
    await page.getByText(stats.url, { exact: true }).waitFor();
    const group = page.getByRole("region", { name: "Store", exact: true });
    assert.match(await group.innerText(), /On disk\n.*(B|KiB|MiB)/);
    assert.match(
        await group.innerText(),
        new RegExp(`Version\\n${stats.version.replaceAll(".", "\\.")}`),
    );
});

function brightness(page) {
    return page.evaluate(() => {
        const [r, g, b] = getComputedStyle(document.body)
            .backgroundColor.match(/[\d.]+/g)
            .map(Number);
        return (r + g + b) / 765;
    });
}

dashboard(
    "it_is_dark_where_the_system_is_and_as_somebody_chooses",
    "/",
    async (page) => {
        await page.locator(".figures").waitFor();
        assert.ok((await brightness(page)) < 0.2, "dark as the system");
        await page.getByRole("button", { name: "Light" }).click();
        assert.ok((await brightness(page)) > 0.8, "light as chosen");
        await page.reload();
        await page.locator(".figures").waitFor();
        assert.ok((await brightness(page)) > 0.8, "remembered");
        await page.keyboard.press("d");
        assert.ok((await brightness(page)) < 0.2, "dark by a key");
        await page.emulateMedia({ colorScheme: "light" });
        await until("it follows the system again", async () => (await brightness(page)) > 0.8);
    },
    { colorScheme: "dark" },
);

dashboard("keys_lead_everywhere_and_a_question_mark_names_them", "/", async (page) => {
    await page.locator(".figures").waitFor();
    const views = ["live", "search", "streams", "subscriptions", "dead-letters", "store"];
    for (const [i, view] of views.entries()) {
        await page.keyboard.press(String(i + 1));
        await until(view, async () => page.url().includes(`#/${view}`));
    }
    await page.keyboard.press("1");
    await page.keyboard.press("p");
    await page.getByText("paused", { exact: true }).waitFor();
    await page.keyboard.press("p");
    await page.getByText("paused", { exact: true }).waitFor({ state: "detached" });
    await page.keyboard.press("?");
    const help = page.getByRole("dialog", { name: "Keys" });
    await help.getByText("to the filter").waitFor();
    await page.keyboard.press("3");
    assert.ok(page.url().includes("#/live"), "behind a dialog no key does anything");
    await page.keyboard.press("Escape");
    await help.waitFor({ state: "detached" });
    await page.keyboard.press("/");
    await page.keyboard.type("p?1");
    assert.equal(await pattern(page).inputValue(), "p?1", "in a field keys are letters");
});

dashboard("one_request_brings_all_of_the_page", "/", async (page) => {
    await page.locator(".figures").waitFor();
    const loaded = [];
    page.on("request", (request) =>
        loaded.push([request.resourceType(), new URL(request.url()).pathname]),
    );
    const answer = await page.reload();
    await page.locator(".figures").waitFor();
    await listening(page);

    const others = loaded.filter(
        ([kind, path]) =>
            !path.startsWith("/v1/") &&
            path !== "/readyz" &&
            !(kind === "document" && path === "/") &&
            kind !== "other",
    );
    assert.deepEqual(others, []);
    assert.equal(loaded.filter(([kind]) => kind === "document").length, 1);
    const policy = answer.headers()["content-security-policy"];
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /connect-src 'self'/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
});

dashboard(
    "the_policy_stops_what_is_not_of_the_page",
    "/",
    async (page) => {
        await page.locator(".figures").waitFor();
        const ran = await page.evaluate(() => {
            const script = document.createElement("script");
            try {
                script.textContent = "window.intruder = 1";
            } catch {
                return "refused as text";
            }
            document.body.append(script);
            return window.intruder;
        });
        assert.notEqual(ran, 1);
    },
    { refusals: /Content Security Policy|TrustedScript|Trusted/ },
);

dashboard("every_part_has_a_name_for_who_cannot_see_it", "/", async (page) => {
    const { type } = await graveyard(1);
    for (const view of ["live", "search", "streams", "subscriptions", "dead-letters", "store"]) {
        await page.goto(`${url}/#/${view}`);
        await page.getByRole("main").getByRole("heading", { level: 2 }).first().waitFor();
        for (const landmark of ["banner", "main", "navigation"]) {
            assert.ok((await page.getByRole(landmark).count()) >= 1, `${landmark} of ${view}`);
        }
        const nameless = await page.evaluate(() =>
            [...document.querySelectorAll("button, a, input, select, textarea")]
                .filter(
                    (element) =>
                        !(element.innerText?.trim() || element.ariaLabel || element.labels?.length),
                )
                .map((element) => element.outerHTML),
        );
        assert.deepEqual(nameless, [], view);
        assert.equal(await page.locator("nav [aria-current=page]").count(), 1);
    }
    assert.ok(type);
});

dashboard("on_a_narrow_screen_nothing_is_wider_than_the_screen", "/", async (page) => {
    await graveyard(1);
    await page.setViewportSize({ width: 360, height: 740 });
    for (const view of ["live", "search", "streams", "subscriptions", "dead-letters", "store"]) {
        await page.goto(`${url}/#/${view}`);
        await page.getByRole("main").getByRole("heading", { level: 2 }).first().waitFor();
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${view} is ${wide} pixels too wide`);
    }
});
