// SPDX-License-Identifier: MIT
//
// The SDK of CloudEvents over HTTP: what it sends is what it reads back, in the structured, the
// binary and the batch mode.
import assert from "node:assert/strict";
import { test } from "node:test";

import { CloudEvent, HTTP } from "cloudevents";

const url = process.env.PEAL_URL;

async function post(message) {
    return fetch(`${url}/v1/events`, {
        method: "POST",
        headers: message.headers,
        body: message.body,
    });
}

// An event of the log as the SDK reads it.
async function read(id, source) {
    const answer = await fetch(`${url}/v1/events/${id}?source=${encodeURIComponent(source)}`);
    assert.equal(answer.status, 200);
    const headers = Object.fromEntries(answer.headers);
    assert.match(headers["content-type"], /^application\/cloudevents\+json/);
    const event = HTTP.toEvent({ headers, body: await answer.text() });
    event.validate();
    return event;
}

function same(read, sent) {
    for (const name of ["id", "source", "type", "subject", "datacontenttype", "dataschema", "time",
        "traceparent", "mine"]) {
        if (sent[name] !== undefined) {
            const trim = (value) => (name === "time" ? new Date(value).getTime() : value);
            assert.equal(trim(read[name]), trim(sent[name]), name);
        }
    }
    assert.deepEqual(read.data, sent.data);
}

const events = {
    plain: { data: { epoch: 5, loss: 0.25, "ä": ["\u{1f600}", null, true] } },
    full: {
        subject: "run/7",
        time: "2026-11-21T09:15:00.123Z",
        dataschema: "https://example.com/schema",
        mine: "an extension",
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        data: { n: 1 },
    },
    text: { datacontenttype: "text/plain", data: "just text: ä" },
    none: {},
};

for (const [name, attributes] of Object.entries(events)) {
    for (const mode of ["structured", "binary"]) {
        test(`an event (${name}) that is sent in the ${mode} mode is read back`, async () => {
            const sent = new CloudEvent({
                id: `${name}-${mode}`, source: "/interop", type: `interop.${name}`, ...attributes,
            });

            const answer = await post(HTTP[mode](sent));

            assert.equal(answer.status, 201, await answer.clone().text());
            assert.equal((await answer.json()).id, sent.id);
            same(await read(sent.id, sent.source), sent);
        });
    }
}

test("bytes that are no text come back as they were", async () => {
    const data = new Uint8Array([0, 1, 2, 250, 255]);
    const answer = await fetch(`${url}/v1/events`, {
        method: "POST",
        headers: {
            "ce-specversion": "1.0", "ce-id": "bytes", "ce-source": "/interop",
            "ce-type": "interop.bytes", "content-type": "application/octet-stream",
        },
        body: data,
    });
    assert.equal(answer.status, 201);

    const event = await read("bytes", "/interop");

    assert.deepEqual([...Buffer.from(event.data_base64, "base64")], [...data]);
});

test("a batch is published as a whole and read back as one", async () => {
    const sent = [1, 2, 3].map((n) => new CloudEvent({
        id: `batch-${n}`, source: "/interop", type: "interop.batch", data: { n },
    }));
    const answer = await fetch(`${url}/v1/events`, {
        method: "POST",
        headers: { "content-type": "application/cloudevents-batch+json" },
        body: JSON.stringify(sent),
    });
    assert.equal(answer.status, 201);
    const positions = (await answer.json()).map((receipt) => receipt.position);
    assert.deepEqual(positions, [0, 1, 2].map((i) => positions[0] + i));

    const page = await fetch(`${url}/v1/events?type=interop.batch`);
    const events = HTTP.toEvent({
        headers: Object.fromEntries(page.headers), body: await page.text(),
    });

    assert.equal(events.length, 3);
    events.forEach((event, i) => same(event, sent[i]));
});

test("an event the SDK would not take is not taken here either", async () => {
    for (const wrong of [{ type: "a" }, { specversion: "1.0", source: "/a", id: "1" }, []]) {
        const answer = await fetch(`${url}/v1/events`, {
            method: "POST",
            headers: { "content-type": "application/cloudevents+json" },
            body: JSON.stringify(wrong),
        });
        assert.equal(answer.status, 400);
        assert.match(answer.headers.get("content-type"), /^application\/problem\+json/);
    }
});
