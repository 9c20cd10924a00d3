// SPDX-License-Identifier: MIT
//
// A stand-in for the service, for tests and for work on the dashboard: it speaks the API of
// docs/http.md as far as the dashboard uses it, with made-up events at any rate, and can be told to
// misbehave as a real service must not.
//
//     node tests/web/stub.mjs --page build/web --port 7326 --rate 40
//
// In a test: const stub = await startStub({ page }); stub.url, stub.world, stub.rate(10000),
// stub.fault = (request, url) => { status, detail } or "cut", stub.delay = (request, url) => ms,
// stub.down(), stub.up(); await stub.close().
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeShop } from "./stub_shop.mjs";
import { Refusal, World } from "./stub_world.mjs";

const NAMES = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    500: "Internal Server Error",
    503: "Service Unavailable",
};

const SELECTORS = [
    "type",
    "subject",
    "correlation",
    "causation",
    "source",
    "from",
    "to",
    "contains",
];
const MATCHING = ["subscription", "type", "reason", "older_than_ms", "all", "dry_run"];

function allow(query, names) {
    for (const name in query) {
        if (!names.includes(name)) {
            throw new Refusal(
                400,
                "inval",
                `There is no parameter '${name}' here: ${names.join(", ")}.`,
            );
        }
    }
    return query;
}

function problem(response, { status, code, message, more }) {
    response.writeHead(status, {
        "Content-Type": "application/problem+json",
        ...(status === 401 ? { "WWW-Authenticate": "Bearer" } : {}),
    });
    response.end(
        JSON.stringify({
            type: "about:blank",
            title: NAMES[status],
            status,
            code,
            detail: message,
            ...more,
        }),
    );
}

// Data that JavaScript cannot hold stay the text they came as, as in the service.
export function write(value) {
    return JSON.stringify(value).replace(/\{"\$text":("(?:\\.|[^"\\])*")\}/g, (_, text) =>
        JSON.parse(text),
    );
}

function json(response, value, status = 200, headers = {}) {
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(write(value));
}

function nothing(response, status = 204) {
    response.writeHead(status);
    response.end();
}

async function bodyOf(request) {
    const pieces = [];
    for await (const piece of request) {
        pieces.push(piece);
    }
    return Buffer.concat(pieces).toString("utf8");
}

async function jsonOf(request) {
    const text = await bodyOf(request);
    try {
        return text ? JSON.parse(text) : {};
    } catch (error) {
        throw new Refusal(400, "json", `The body is not JSON: ${error.message}`);
    }
}

function receipt(event) {
    return {
        id: event.id,
        position: Number(event.pealposition),
        version: Number(event.pealversion ?? 0),
        durability: "memory",
        duplicate: false,
    };
}

const ATTRIBUTES = {
    subject: "subject",
    id: "id",
    source: "source",
    time: "time",
    correlation: "correlationid",
    causation: "causationid",
    key: "partitionkey",
};

async function publishFriendly({ world, request, response, query, args }) {
    const text = await bodyOf(request);
    const message = { type: args[0], data: text };
    try {
        message.data = JSON.parse(text);
        if (
            JSON.stringify(message.data) !== text.replace(/\s/g, "") &&
            /\d{17}|\.\d*0\b/.test(text)
        ) {
            message.data = { $text: text };
        }
    } catch {
        message.datacontenttype = "text/plain";
    }
    for (const name in query) {
        message[ATTRIBUTES[name]] = query[name];
    }
    json(response, receipt(world.publish(message)), 201);
}

async function publish({ world, request, response }) {
    const body = await jsonOf(request);
    if (Array.isArray(body)) {
        json(
            response,
            body.map((message) => receipt(world.publish(message))),
            201,
        );
    } else {
        json(response, receipt(world.publish(body)), 201);
    }
}

function queryEvents({ world, response, query }) {
    const { events, after } = world.query(allow(query, [...SELECTORS, "after", "order", "limit"]));
    const next = new URLSearchParams({ ...query, after });
    json(response, events, 200, after ? { Link: `</v1/events?${next}>; rel="next"` } : {});
}

function readStream({ world, response, query, args }) {
    const { from_version: from = 0, ...rest } = allow(query, [
        "from_version",
        "order",
        "limit",
        "after",
    ]);
    const version = world.versions.get(args[0]);
    if (!version) {
        throw new Refusal(404, "not_found", `There is no stream '${args[0]}'.`);
    }
    const { events, after } = world.query({ ...rest, subject: args[0] });
    const next = new URLSearchParams({ ...query, after });
    const headers = { ETag: `"${version}"` };
    if (after) {
        headers.Link = `</v1/streams/${encodeURIComponent(args[0])}?${next}>; rel="next"`;
    }
    json(
        response,
        events.filter((event) => Number(event.pealversion) >= Number(from)),
        200,
        headers,
    );
}

async function append({ world, request, response, args }) {
    const version = world.versions.get(args[0]) ?? 0;
    const expected = request.headers["if-match"]?.replaceAll('"', "");
    if (
        (request.headers["if-none-match"] && version) ||
        (expected && Number(expected) !== version)
    ) {
        throw new Refusal(412, "conflict", `The stream '${args[0]}' is at version ${version}.`, {
            version,
        });
    }
    const body = [await jsonOf(request)].flat();
    const receipts = body.map((one) => receipt(world.publish({ ...one, subject: args[0] })));
    json(
        response,
        { version: receipts.at(-1).version, position: receipts.at(-1).position, receipts },
        201,
    );
}

// Server-Sent Events, with the sampling of max_rate: evenly over each tenth of a second.
function stream({ stub, world, request, response, query }) {
    const wanted = world.selector(allow(query, [...SELECTORS, "after", "max_rate"]));
    const most = stub.samples ? Number(query.max_rate ?? Infinity) : Infinity;
    const last = request.headers["last-event-id"] ?? query.after;
    if (last !== undefined && Number(last) > world.last) {
        throw new Refusal(
            400,
            "inval",
            `the cursor ${last} is ahead of the log: begin anew without it`,
        );
    }
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    response.write(": here we are\n\n");
    let seen = 0;
    let sent = 0;
    let slice = 0;
    let tenth = 0;
    const send = (event) => {
        if (!wanted(event)) {
            return;
        }
        seen++;
        const now = Math.floor(performance.now() / 100);
        if (now !== tenth) {
            tenth = now;
            slice = 0;
        }
        if (slice < most / 10 && sent < most && response.writableLength < 8 << 20) {
            slice++;
            sent++;
            stub.sent++;
            response.write(`id: ${Number(event.pealposition)}\ndata: ${write(event)}\n\n`);
        }
    };
    if (last !== undefined) {
        if (Number(last) + 1 < world.first) {
            const lost = world.first - 1 - Number(last);
            response.write(
                `event: gap\ndata: {"count":${lost},"first":${Number(last) + 1},` +
                    `"last":${world.first - 1}}\n\n`,
            );
        }
        world.events.filter((event) => Number(event.pealposition) > Number(last)).forEach(send);
    }
    world.listeners.add(send);
    stub.resumed.push(last ?? null);
    const timer = setInterval(() => {
        if (query.max_rate) {
            response.write(`event: sample\ndata: {"seen":${seen},"sent":${sent}}\n\n`);
        }
        seen = 0;
        sent = 0;
    }, 1000);
    const beat = setInterval(() => response.write(":\n\n"), 15000);
    response.on("close", () => {
        clearInterval(timer);
        clearInterval(beat);
        world.listeners.delete(send);
    });
}

function countLetters({ world, response, query }) {
    const pick = {
        reason: (l) => l.reason,
        type: (l) => l.event.type,
        subscription: (l) => l.subscription,
    };
    const counts = new Map();
    for (const letter of world.letters.values()) {
        const name = pick[allow(query, ["by"]).by](letter);
        counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    json(response, {
        counts: [...counts]
            .map(([name, count]) => ({ name, count }))
            .sort((a, b) => b.count - a.count),
    });
}

function forAll(action) {
    return ({ world, response, query }) => {
        const letters = world.lettersOf(allow(query, MATCHING));
        const dry = query.dry_run === "true";
        if (!dry) {
            letters.forEach((letter) => action(world, letter));
        }
        json(response, { affected: letters.length, dry_run: dry });
    };
}

async function edit({ world, request, response, args }) {
    world.retry(world.letter(args[0]), await jsonOf(request));
    nothing(response, 202);
}

function ready({ stub, response }) {
    const reasons = stub.notReady;
    json(response, { ready: reasons.length === 0, reasons }, reasons.length ? 503 : 200);
}

function metrics({ response }) {
    response.writeHead(200, { "Content-Type": "text/plain; version=0.0.4" });
    response.end(`# TYPE peal_sync_duration_seconds histogram
peal_sync_duration_seconds_bucket{le="0.001"} 700
peal_sync_duration_seconds_bucket{le="0.004"} 995
peal_sync_duration_seconds_bucket{le="+Inf"} 1000
peal_sync_duration_seconds_sum 1.2
peal_sync_duration_seconds_count 1000
`);
}

const ROUTES = [
    ["POST", /^\/v1\/events$/, publish],
    ["POST", /^\/v1\/events\/([^/]+)$/, publishFriendly],
    ["GET", /^\/v1\/events$/, queryEvents],
    [
        "GET",
        /^\/v1\/events\/([^/]+)$/,
        ({ world, response, args }) => json(response, world.event(args[0])),
    ],
    [
        "GET",
        /^\/v1\/events\/([^/]+)\/trace$/,
        ({ world, response, args }) => json(response, world.trace(args[0])),
    ],
    ["GET", /^\/v1\/stream$/, stream],
    ["GET", /^\/v1\/streams\/([^/]+)$/, readStream],
    ["POST", /^\/v1\/streams\/([^/]+)$/, append],
    [
        "GET",
        /^\/v1\/types$/,
        ({ world, response }) => json(response, { types: world.typeList(), complete: true }),
    ],
    [
        "GET",
        /^\/v1\/subscriptions$/,
        ({ world, response }) =>
            json(response, {
                subscriptions: [...world.subscriptions.values()].map((one) => world.describe(one)),
            }),
    ],
    [
        "POST",
        /^\/v1\/subscriptions$/,
        async ({ world, request, response }) =>
            json(response, world.subscribe(await jsonOf(request)), 201),
    ],
    [
        "GET",
        /^\/v1\/subscriptions\/([^/]+)$/,
        ({ world, response, args }) => json(response, world.describe(world.subscription(args[0]))),
    ],
    [
        "DELETE",
        /^\/v1\/subscriptions\/([^/]+)$/,
        ({ world, response, args }) => {
            world.subscriptions.delete(world.subscription(args[0]).name);
            nothing(response);
        },
    ],
    [
        "POST",
        /^\/v1\/subscriptions\/([^/]+)\/(pause|resume)$/,
        ({ world, response, args }) => {
            world.subscription(args[0]).paused = args[1] === "pause";
            nothing(response);
        },
    ],
    [
        "POST",
        /^\/v1\/subscriptions\/([^/]+)\/seek$/,
        async ({ world, request, response, args }) => {
            world.seek(args[0], await jsonOf(request));
            nothing(response);
        },
    ],
    [
        "POST",
        /^\/v1\/subscriptions\/([^/]+)\/pull$/,
        async ({ world, request, response, args }) =>
            json(response, { deliveries: world.pull(args[0], (await jsonOf(request)).max ?? 10) }),
    ],
    [
        "POST",
        /^\/v1\/subscriptions\/([^/]+)\/settle$/,
        async ({ world, request, response, args }) =>
            json(response, world.settle(args[0], (await jsonOf(request)).settlements)),
    ],
    [
        "GET",
        /^\/v1\/dead-letters$/,
        ({ world, response, query }) =>
            json(response, {
                dead_letters: world
                    .lettersOf(allow(query, [...MATCHING, "limit"]))
                    .slice(0, Number(query.limit ?? 100)),
            }),
    ],
    ["GET", /^\/v1\/dead-letters\/counts$/, countLetters],
    ["POST", /^\/v1\/dead-letters\/retry$/, forAll((world, letter) => world.retry(letter))],
    [
        "POST",
        /^\/v1\/dead-letters\/discard$/,
        forAll((world, letter) => world.letters.delete(letter.id)),
    ],
    [
        "GET",
        /^\/v1\/dead-letters\/([^/]+)$/,
        ({ world, response, args }) => json(response, world.letter(args[0])),
    ],
    [
        "DELETE",
        /^\/v1\/dead-letters\/([^/]+)$/,
        ({ world, response, args }) => {
            world.letters.delete(world.letter(args[0]).id);
            nothing(response);
        },
    ],
    [
        "POST",
        /^\/v1\/dead-letters\/([^/]+)\/retry$/,
        ({ world, response, args }) => {
            world.retry(world.letter(args[0]));
            nothing(response, 202);
        },
    ],
    ["PUT", /^\/v1\/dead-letters\/([^/]+)$/, edit],
    [
        "GET",
        /^\/v1\/schedule$/,
        ({ world, response }) => json(response, { scheduled: world.scheduled }),
    ],
    [
        "DELETE",
        /^\/v1\/schedule\/([^/]+)$/,
        ({ world, response, args }) => {
            world.scheduled = world.scheduled.filter(({ event }) => event.id !== args[0]);
            nothing(response);
        },
    ],
    ["GET", /^\/v1\/stats$/, ({ world, response }) => json(response, world.stats())],
    ["GET", /^(?:\/v1)?\/readyz$/, ready],
    ["GET", /^(?:\/v1)?\/metrics$/, metrics],
];

function page(stub, response) {
    response.writeHead(200, {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Encoding": "gzip",
        "Content-Security-Policy": readFileSync(join(stub.page, "policy.txt"), "utf8").trim(),
    });
    response.end(readFileSync(join(stub.page, "index.html.gz")));
}

async function answer(stub, request, response) {
    const url = new URL(request.url, "http://stub");
    stub.requests.push(`${request.method} ${request.url}`);
    if (request.method === "GET" && url.pathname === "/") {
        page(stub, response);
        return;
    }
    const ms = stub.delay?.(request, url);
    if (ms) {
        await new Promise((done) => setTimeout(done, ms));
    }
    const fault = stub.fault?.(request, url);
    if (fault === "cut") {
        request.socket.destroy();
        return;
    }
    if (fault) {
        throw new Refusal(fault.status, fault.code ?? "internal", fault.detail);
    }
    if (stub.token && request.headers.authorization !== `Bearer ${stub.token}`) {
        throw new Refusal(
            401,
            "unauthorized",
            "This needs a token: Authorization: Bearer <token>.",
        );
    }
    const fitting = ROUTES.filter(([, path]) => path.test(url.pathname));
    const route = fitting.find(([method]) => method === request.method);
    if (!route) {
        throw new Refusal(
            fitting.length ? 405 : 404,
            "not_found",
            `Nothing answers ${request.method} ${url.pathname}.`,
        );
    }
    const args = route[1].exec(url.pathname).slice(1).map(decodeURIComponent);
    const query = Object.fromEntries(url.searchParams);
    await route[2]({ stub, world: stub.world, request, response, query, args });
}

// Closes every connection, and refuses new ones until it is up again.
function makeSwitch(stub, server, sockets) {
    stub.down = () =>
        new Promise((resolve) => {
            server.close(resolve);
            sockets.forEach((socket) => socket.destroy());
        });
    stub.up = () => new Promise((resolve) => server.listen(stub.port, "127.0.0.1", resolve));
    stub.cut = () => sockets.forEach((socket) => socket.destroy());
}

export async function startStub({ page: folder, port = 0, rate = 0, token = null } = {}) {
    const world = new World();
    const stub = {
        world,
        page: folder,
        token,
        fault: null,
        delay: null,
        requests: [],
        resumed: [],
        notReady: [],
        sent: 0,
        samples: true,
    };
    const server = createServer((request, response) => {
        answer(stub, request, response).catch((error) => {
            if (response.headersSent) {
                response.destroy();
            } else {
                problem(
                    response,
                    error instanceof Refusal
                        ? error
                        : { status: 500, code: "internal", message: String(error.stack) },
                );
            }
        });
    });
    const sockets = new Set();
    server.on("connection", (socket) => {
        sockets.add(socket);
        socket.on("close", () => sockets.delete(socket));
    });
    await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
    stub.port = server.address().port;
    stub.url = `http://127.0.0.1:${stub.port}`;
    makeSwitch(stub, server, sockets);
    const shop = makeShop(world);
    stub.shop = shop;
    stub.rate = shop.rate;
    stub.rate(rate);
    stub.close = async () => {
        shop.stop();
        if (server.listening) {
            await stub.down();
        }
    };
    return stub;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    const option = (name, otherwise) => {
        const at = process.argv.indexOf(`--${name}`);
        return at < 0 ? otherwise : process.argv[at + 1];
    };
    const stub = await startStub({
        page: option("page", "build/web"),
        port: Number(option("port", 7326)),
        rate: Number(option("rate", 40)),
        token: option("token", null),
    });
    stub.shop.furnish();
    console.log(stub.url);
}
