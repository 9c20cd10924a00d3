// SPDX-License-Identifier: MIT
//
// Server-Sent Events, read by a client as browsers have it, which comes back by itself and says
// where it was.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { after, test } from "node:test";

import { EventSource } from "eventsource";

const url = process.env.PEAL_URL;

async function publish(type, data) {
    const answer = await fetch(`${url}/v1/events/${type}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(data),
    });
    assert.equal(answer.status, 201);
    return (await answer.json()).position;
}

// An open source, and a function that waits for its next event.
async function open(address, query) {
    const source = new EventSource(`${address}/v1/stream?${query}`);
    const waiting = [];
    let wake = () => {};
    opened.push(source);
    source.addEventListener("message", (message) => {
        waiting.push(message);
        wake();
    });
    await once(source, "open");
    const read = async () => {
        while (waiting.length === 0) {
            await new Promise((resolve) => {
                wake = resolve;
            });
        }
        return waiting.shift();
    };
    return { source, read };
}

const opened = [];
after(() => opened.forEach((source) => source.close()));

test("events come with their positions, as CloudEvents", async () => {
    const { read } = await open(url, "type=sse.**");

    const position = await publish("sse.one", { text: "two\nlines" });
    await publish("other", 1);
    await publish("sse.two", 2);

    const first = await read();
    assert.equal(first.lastEventId, String(position));
    assert.deepEqual(JSON.parse(first.data).data, { text: "two\nlines" });
    assert.equal(JSON.parse((await read()).data).type, "sse.two");
});

test("data with ends of lines of every kind is one event", async () => {
    const { read } = await open(url, "type=lines");
    const answer = await fetch(`${url}/v1/events/lines`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: '{\r\n "a":\r[1,\n2,\n\n3]}',
    });
    assert.equal(answer.status, 201);

    assert.deepEqual(JSON.parse((await read()).data).data, { a: [1, 2, 3] });
});

// What lies between the client and the service, and can be cut.
async function relay() {
    const there = new URL(url);
    const sockets = new Set();
    const server = net.createServer((client) => {
        const service = net.connect(there.port, there.hostname);
        client.pipe(service).pipe(client);
        for (const socket of [client, service]) {
            sockets.add(socket);
            socket.on("error", () => {});
            socket.on("close", () => {
                client.destroy();
                service.destroy();
            });
        }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return {
        url: `http://127.0.0.1:${server.address().port}`,
        cut: () => sockets.forEach((socket) => socket.destroy()),
        close: () => server.close(),
    };
}

test("a client that was cut off resumes behind what it has seen", async () => {
    const between = await relay();
    const { source, read } = await open(between.url, "type=resume");
    await publish("resume", 1);
    assert.equal(JSON.parse((await read()).data).data, 1);

    between.cut();
    await once(source, "error");
    await publish("resume", 2);
    await publish("resume", 3);

    assert.equal(JSON.parse((await read()).data).data, 2);
    assert.equal(JSON.parse((await read()).data).data, 3);
    source.close();
    between.close();
});

test("what the data contains selects what comes, also after a return", async () => {
    const between = await relay();
    const contains = encodeURIComponent('{"status":"paid"}');
    const { source, read } = await open(between.url, `type=status&contains=${contains}`);
    await publish("status", { status: "open", n: 1 });
    await publish("status", { status: "paid", n: 2 });
    assert.equal(JSON.parse((await read()).data).data.n, 2);

    between.cut();
    await once(source, "error");
    await publish("status", { status: "open", n: 3 });
    await publish("status", { status: "paid", n: 4 });

    assert.equal(JSON.parse((await read()).data).data.n, 4);
    source.close();
    between.close();
});

test("a source that is refused is not asked for again", async () => {
    const source = new EventSource(`${url}/v1/stream?typ=mistake`);

    const [error] = await once(source, "error");

    assert.equal(error.code, 400);
    assert.equal(source.readyState, EventSource.CLOSED);
});
