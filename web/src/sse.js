// SPDX-License-Identifier: MIT
//
// Server-Sent Events, read from a fetch: EventSource cannot send a token. The parser takes text in
// whatever pieces it comes, and gives whole messages:
//
//     "id: 41\r\nda" + "ta: {}\r\n\r\n"  ──►  { event: "message", id: "41", data: "{}" }
//
// As the standard has it: lines end with LF, CR or CRLF, also when a CRLF is cut in two; several
// `data` lines are one text; a message without data is none; what is unknown is passed over.

// A message that grows beyond this is no event of ours; without an end it would take all memory.
export const MESSAGE_MAX = 96 * 1024 * 1024;

export function createParser(onMessage) {
    let rest = ""; // the begun line
    let skipLineFeed = false; // the last piece ended with CR: an LF that follows belongs to it
    let event = "";
    let id = null;
    let data = [];
    let size = 0;

    function dispatch() {
        if (data.length > 0) {
            onMessage({ event: event || "message", id, data: data.join("\n") });
        }
        event = "";
        data = [];
        size = 0;
    }

    function field(name, value) {
        if (name === "data") {
            data.push(value);
            size += value.length;
        } else if (name === "event") {
            event = value;
        } else if (name === "id" && !value.includes("\0")) {
            id = value;
        }
    }

    function line(text) {
        if (text === "") {
            dispatch();
            return;
        }
        const colon = text.indexOf(":");
        if (colon === 0) {
            return; // A comment, which only keeps the connection.
        }
        if (colon < 0) {
            field(text, "");
            return;
        }
        const begin = text[colon + 1] === " " ? colon + 2 : colon + 1;
        field(text.slice(0, colon), text.slice(begin));
    }

    return function feed(piece) {
        if (piece === "") {
            return;
        }
        let begin = skipLineFeed && piece[0] === "\n" ? 1 : 0;
        skipLineFeed = false;
        const ends = /\r\n|\r|\n/g;
        ends.lastIndex = begin;
        for (let end = ends.exec(piece); end; end = ends.exec(piece)) {
            line(rest + piece.slice(begin, end.index));
            rest = "";
            begin = ends.lastIndex;
            skipLineFeed = end[0] === "\r" && begin === piece.length;
        }
        rest += piece.slice(begin);
        if (rest.length + size > MESSAGE_MAX) {
            throw new Error("a message of the stream has no end");
        }
    };
}

// Reads the body of an answer until it ends. Nothing is read ahead of what onMessage has taken, so
// that a page which is slow slows the sender, and not its own memory down.
export async function readStream(body, onMessage, onPiece) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    const feed = createParser(onMessage);
    for (;;) {
        const { value, done } = await reader.read();
        if (done) {
            return;
        }
        onPiece();
        feed(value);
    }
}
