// SPDX-License-Identifier: MIT
//
// WebSockets by the npm package ws.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, test } from "node:test";

import WebSocket from "ws";

const url = process.env.PEAL_URL.replace("http", "ws");

const opened = [];
after(() => opened.forEach((socket) => socket.terminate()));

async function open(query, protocols = ["cloudevents.json"]) {
    const socket = new WebSocket(`${url}/v1/ws${query}`, protocols);
    opened.push(socket);
    const waiting = [];
    let wake = () => {};
    socket.on("message", (data, binary) => {
        waiting.push({ data: data.toString(), binary });
        wake();
    });
    socket.read = async () => {
        while (waiting.length === 0) {
            await new Promise((resolve) => {
                wake = resolve;
            });
        }
        const { data, binary } = waiting.shift();
        assert.equal(binary, false);
        return JSON.parse(data);
    };
    await once(socket, "open");
    return socket;
}

const event = (id, type, data) =>
    JSON.stringify({ specversion: "1.0", id, source: "/ws", type, data });

async function close(socket, code = 1000) {
    socket.close(code);
    const [answered] = await once(socket, "close");
    assert.equal(answered, code);
}

test("the subprotocol is agreed on", async () => {
    const socket = await open("", ["other", "cloudevents.json"]);
    assert.equal(socket.protocol, "cloudevents.json");
    assert.equal(socket.extensions, "");
    await close(socket);
});

test("what one publishes another is sent", async () => {
    const reader = await open("?type=ws.*");
    const writer = await open("?receive=false");

    writer.send(event("1", "ws.one", { n: 1 }));
    writer.send(event("2", "ws.two", "ä €"));

    assert.deepEqual((await reader.read()).data, { n: 1 });
    const second = await reader.read();
    assert.equal(second.type, "ws.two");
    assert.equal(second.data, "ä €");
    await close(reader);
    await close(writer, 3000);
});

test("a message in fragments is one event", async () => {
    const socket = await open("?type=fragments");
    const text = event("3", "fragments", "x".repeat(1000));

    socket.send(text.slice(0, 10), { fin: false });
    socket.ping("in between");
    socket.send(text.slice(10, 500), { fin: false });
    socket.send(text.slice(500), { fin: true });

    assert.equal((await socket.read()).data.length, 1000);
    await close(socket);
});

test("a large event goes both ways", async () => {
    const socket = await open("?type=large");

    socket.send(event("4", "large", "y".repeat(1_000_000)));

    assert.equal((await socket.read()).data.length, 1_000_000);
    await close(socket);
});

test("a ping is answered", async () => {
    const socket = await open("?receive=false");
    socket.ping("hello");
    const [data] = await once(socket, "pong");
    assert.equal(data.toString(), "hello");
    await close(socket);
});

test("what is no event is answered with an error, and the socket stays", async () => {
    const socket = await open("?type=after.error");

    socket.send("no JSON");
    const { error } = await socket.read();
    assert.equal(error.code, "inval");
    socket.send(event("5", "after.error", 1));

    assert.equal((await socket.read()).id, "5");
    await close(socket);
});

test("binary messages are refused with their code", async () => {
    const socket = await open("");
    socket.send(Buffer.from([1, 2, 3]));
    const [code] = await once(socket, "close");
    assert.equal(code, 1003);
});

test("a client that resumes misses nothing", async () => {
    const first = await open("?type=resume");
    first.send(event("6", "resume", 1));
    const seen = await first.read();
    first.terminate();
    const writer = await open("?receive=false");
    writer.send(event("7", "resume", 2));
    await close(writer);

    const again = await open(`?type=resume&after=${Number(seen.pealposition)}`);

    assert.equal((await again.read()).data, 2);
    await close(again);
});

test("ten thousand events come whole and in order", async () => {
    const reader = await open("?type=many");
    const writer = await open("?receive=false");
    for (let i = 0; i < 10_000; i++) {
        writer.send(event(`many-${i}`, "many", i));
    }
    for (let i = 0; i < 10_000; i++) {
        assert.equal((await reader.read()).data, i);
    }
    await close(reader);
    await close(writer);
});

test("what the data contains selects what is sent", async () => {
    const contains = encodeURIComponent(JSON.stringify({ total: 5, lines: [2] }));
    const reader = await open(`?type=contains.*&contains=${contains}`);
    const writer = await open("?receive=false");

    writer.send(event("c1", "contains.one", { total: 5, lines: [1] }));
    writer.send(event("c2", "contains.two", { lines: [1, 2], total: 5.0, more: null }));
    writer.send(event("c3", "contains.two", "total 5, lines 2"));
    writer.send(event("c4", "contains.last", { total: 5, lines: [2] }));

    assert.equal((await reader.read()).id, "c2");
    assert.equal((await reader.read()).id, "c4");
    await close(reader);
    await close(writer);
});

test("other subprotocols are refused", async () => {
    const socket = new WebSocket(`${url}/v1/ws`, ["mqtt"]);
    const [, answer] = await once(socket, "unexpected-response");
    assert.equal(answer.statusCode, 400);
    socket.on("error", () => {});
    socket.terminate();
});
