// SPDX-License-Identifier: MIT
//
// The parser of the stream: messages come out whole, however the bytes came in.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createParser, MESSAGE_MAX, readStream } from "../../web/src/sse.js";

function parse(...pieces) {
    const messages = [];
    const feed = createParser((message) => messages.push(message));
    pieces.forEach(feed);
    return messages;
}

const STREAM =
    ': hello\n\nid: 41\ndata: {"a":1}\n\nevent: sample\ndata: {"seen":2}\n\n' +
    "event: gap\ndata: {\ndata: }\n\nid: 42\ndata: last\n\n";
const MESSAGES = [
    { event: "message", id: "41", data: '{"a":1}' },
    { event: "sample", id: "41", data: '{"seen":2}' },
    { event: "gap", id: "41", data: "{\n}" },
    { event: "message", id: "42", data: "last" },
];

test("messages_are_the_same_wherever_the_stream_is_cut_in_two", () => {
    for (const end of ["\n", "\r\n", "\r"]) {
        const stream = STREAM.replaceAll("\n", end);
        for (let cut = 0; cut <= stream.length; cut++) {
            assert.deepEqual(
                parse(stream.slice(0, cut), stream.slice(cut)),
                MESSAGES,
                `${end} at ${cut}`,
            );
        }
    }
});

test("messages_are_the_same_byte_by_byte", () => {
    for (const end of ["\n", "\r\n", "\r"]) {
        assert.deepEqual(parse(...STREAM.replaceAll("\n", end)), MESSAGES);
    }
});

test("a_message_without_its_empty_line_is_not_given", () => {
    assert.deepEqual(parse("data: half\n"), []);
    assert.deepEqual(parse("data: half\n", "\n").length, 1);
});

test("a_message_without_data_is_none_and_leaves_its_name_to_no_other", () => {
    assert.deepEqual(parse("event: gap\n\ndata: x\n\n"), [
        { event: "message", id: null, data: "x" },
    ]);
});

test("one_space_behind_the_colon_is_not_of_the_value_and_a_second_is", () => {
    assert.equal(parse("data:x\n\n")[0].data, "x");
    assert.equal(parse("data: x\n\n")[0].data, "x");
    assert.equal(parse("data:  x\n\n")[0].data, " x");
    assert.equal(parse("data\n\n")[0].data, "");
});

test("what_is_unknown_is_passed_over", () => {
    assert.deepEqual(parse("retry: 10\nnew: thing\n:comment\ndata: x\n\n")[0].data, "x");
});

test("an_id_with_a_zero_byte_is_not_taken", () => {
    assert.equal(parse("id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n")[1].id, "1");
});

test("a_message_without_an_end_is_refused_before_it_takes_all_memory", () => {
    const feed = createParser(() => assert.fail("there is no message"));
    const piece = "x".repeat(8 * 1024 * 1024);
    assert.throws(() => {
        feed("data: ");
        for (let size = 0; size <= MESSAGE_MAX; size += piece.length) {
            feed(piece);
        }
    }, /no end/);
});

test("letters_whose_bytes_are_cut_apart_come_out_whole", async () => {
    const bytes = new TextEncoder().encode("data: Grüße, 鐘 🔔\n\n");
    const messages = [];
    let pieces = 0;
    const body = new ReadableStream({
        start(controller) {
            bytes.forEach((byte) => controller.enqueue(new Uint8Array([byte])));
            controller.close();
        },
    });
    await readStream(
        body,
        (message) => messages.push(message.data),
        () => pieces++,
    );
    assert.deepEqual(messages, ["Grüße, 鐘 🔔"]);
    assert.ok(pieces > 10);
});

test("what_a_reader_has_not_taken_is_not_asked_for", async () => {
    let asked = 0;
    const body = new ReadableStream(
        {
            pull(controller) {
                asked++;
                controller.enqueue(new TextEncoder().encode("data: x\n\n"));
                if (asked === 1000) {
                    controller.close();
                }
            },
        },
        { highWaterMark: 0 },
    );
    let most = 0;
    let taken = 0;
    await readStream(
        body,
        () => {
            taken++;
            most = Math.max(most, asked - taken);
        },
        () => {},
    );
    assert.equal(taken, 1000);
    assert.ok(most < 16, `${most} pieces were read ahead`);
});
