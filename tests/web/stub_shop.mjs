// SPDX-License-Identifier: MIT
//
// A made-up shop beside a made-up training, whose events fill the stub's log: orders whose payments
// fail now and then, with causes and effects, and subscribers who cannot do all they are given.
const TICK_MS = 50;

const KINDS = [
    ["training.step.completed", (n) => ({ step: n, loss: 2.31 / (1 + n / 500), lr: 0.0001 })],
    ["training.epoch.completed", (n) => ({ epoch: Math.floor(n / 50), accuracy: 0.7123 })],
    ["training.checkpoint.saved", (n) => ({ step: n, bytes: 104857600, path: `ckpt/${n}.pt` })],
    ["sensor.temperature.read", (n) => ({ celsius: 20 + (n % 50) / 10 })],
    ["user.page.viewed", (n) => ({ page: `/articles/${n % 91}`, ms: 12 + (n % 40) })],
];
// What the subscribers cannot do. Each is sure: a retry meets it again, until the data are mended.
const FAULTS = [
    {
        name: "billing",
        code: "card_expired",
        cannot: (e) => e.type === "payment.failed" && e.data.reason,
        text: (e) => `the bank refused ${e.data.order}: the card has expired (response 54)`,
    },
    {
        name: "shipping-notices",
        code: "timeout",
        cannot: (e) => e.data.grams > 1300,
        text: (e) => `no answer of the scale within 5 s for a parcel of ${e.data.grams} g`,
    },
    {
        name: "crm-hook",
        code: "http_503",
        cannot: (e) => e.data.total % 23 === 0,
        text: () => "POST https://crm.example.com/hooks/peal: 503 Service Unavailable",
    },
];

const WORK_MS = 200;
const WEIGHTS = [0, 0, 0, 0, 0, 0, 3, 3, 3, 4, 4, 4, 4, 1, 2];

export function makeShop(world) {
    let number = 0;
    let order = 0;
    let timer = null;
    let owed = 0;
    let ticked = 0;
    let subscribers = null;
    let delivered = 0;

    function single() {
        const n = number++;
        const [type, data] = KINDS[WEIGHTS[n % WEIGHTS.length]];
        world.publish({ type, source: "/training", subject: `run-${n % 7}`, data: data(n) });
    }

    // An order and what it causes: 4 or 5 events.
    function chain() {
        const id = `order-${1000 + order}`;
        const failed = order++ % 5 === 4;
        const total = 5 + ((order * 37) % 200);
        const correlationid = `cart-${7000 + order}`;
        const begin = Date.now();
        const say = (type, cause, data, ms = 0) =>
            world.publish({
                type,
                source: "/shop",
                subject: id,
                correlationid,
                time: new Date(begin - 900 + ms).toISOString(),
                ...(cause ? { causationid: cause.id } : {}),
                data,
            });
        const created = say("order.created", null, {
            order: id,
            total,
            currency: "EUR",
            items: [
                { sku: "A-17", count: 1 + (order % 3) },
                { sku: "C-4", count: 1 },
            ],
            note: "by the door",
        });
        if (failed) {
            const failure = say(
                "payment.failed",
                created,
                { order: id, reason: "card_expired", retryable: false },
                41,
            );
            say("order.cancelled", failure, { order: id }, 55);
            return 3;
        }
        const paid = say(
            "payment.authorized",
            created,
            { order: id, amount: total, card: "…4242" },
            38,
        );
        const packed = say(
            "shipment.packed",
            paid,
            { order: id, grams: 400 + (order % 9) * 120 },
            412,
        );
        say(
            "shipment.sent",
            packed,
            { order: id, carrier: "northbound", tracking: `NB${900000 + order}` },
            873,
        );
        say("email.sent", paid, { to: `customer-${order}`, template: "receipt" }, 96);
        return 5;
    }

    // By the clock, not by the tick: a busy machine ticks late.
    function tick(rate) {
        const now = performance.now();
        owed += (rate * Math.min(1000, now - ticked)) / 1000;
        ticked = now;
        while (owed >= 1) {
            if (number % 6 === 0) {
                number++;
                owed -= chain();
            } else {
                single();
                owed--;
            }
        }
    }

    // Takes what it is given and gives some of it up: the dead letters of the page.
    function work() {
        for (const [name, one] of world.subscriptions) {
            if (one.members === 0) {
                continue;
            }
            const settlements = world
                .pull(name, name === "search-index" ? 3 : 500)
                .map(({ receipt, event }) => {
                    const fault = FAULTS.find((one) => one.name === name && one.cannot(event));
                    return fault
                        ? { receipt, verdict: "reject", code: fault.code, text: fault.text(event) }
                        : { receipt, verdict: "done" };
                });
            world.settle(name, settlements);
        }
        world.deliverRate = (world.counts.delivered - delivered) * (1000 / WORK_MS);
        delivered = world.counts.delivered;
    }

    return {
        chain,
        single,
        rate(rate) {
            clearInterval(timer);
            ticked = performance.now();
            timer = rate > 0 ? setInterval(() => tick(rate), TICK_MS) : null;
        },
        // Subscribers, and something to see at once.
        furnish() {
            for (const [name, pattern] of [
                ["billing", "payment.*, order.*"],
                ["search-index", "**"],
                ["shipping-notices", "shipment.*"],
                ["nightly-report", "order.*"],
            ]) {
                world.subscribe({ name, pattern, kind: "client", from: "beginning" });
                world.subscription(name).members =
                    name === "nightly-report" ? 0 : 1 + (name.length % 3);
            }
            world.subscribe({
                name: "crm-hook",
                pattern: "order.created",
                kind: "webhook",
                webhook: { url: "https://crm.example.com/hooks/peal" },
            });
            world.subscription("crm-hook").members = 1;
            world.subscription("nightly-report").paused = true;
            for (let i = 0; i < 20; i++) {
                chain();
            }
            work();
            subscribers = setInterval(work, WORK_MS);
        },
        stop() {
            clearInterval(timer);
            clearInterval(subscribers);
        },
    };
}
