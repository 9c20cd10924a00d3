// SPDX-License-Identifier: MIT
//
// What the stub of the service knows: a log in memory, subscriptions, dead letters. As far as the
// API shows it, it behaves as docs/http.md says; it keeps nothing and promises nothing.
import { randomUUID } from "node:crypto";

const KEPT = 50000; // events; older ones are forgotten, as a log does

export class Refusal extends Error {
    constructor(status, code, detail, more = {}) {
        super(detail);
        this.status = status;
        this.code = code;
        this.more = more;
    }
}

export function digits(number) {
    return String(number).padStart(20, "0");
}

function segment(text) {
    if (text === "**") {
        return "(?:[^.]+(?:\\.|$))*";
    }
    const glob = text.replace(
        /[^A-Za-z0-9_$-]/g,
        (c) => ({ "*": "[^.]*", "?": "[^.]" })[c] ?? `\\${c}`,
    );
    const body = text === "+" ? "[^.]+" : text === "*" ? "[^.]+(?:\\.[^.]+)*" : glob;
    return `${body}(?:\\.|$)`;
}

function single(pattern) {
    if (!/^[A-Za-z0-9_$*?+-]+(\.[A-Za-z0-9_*?+-]+)*$/.test(pattern)) {
        throw new Refusal(
            400,
            "pattern",
            `'${pattern}' is no pattern: segments of letters, digits, ` +
                "_ and -, or +, * and **, with dots between them.",
        );
    }
    const expression = new RegExp(`^${pattern.split(".").map(segment).join("")}$`);
    const wild = /^[*+?]/.test(pattern);
    return (type) => (wild && type.startsWith("$") ? false : expression.test(type));
}

// Does a type match? As a function of the type, which remembers.
export function matcher(text) {
    const parts = text.split(",").map((part) => part.trim());
    const wanted = parts.filter((part) => !part.startsWith("!")).map(single);
    const unwanted = parts
        .filter((part) => part.startsWith("!"))
        .map((part) => single(part.slice(1)));
    const known = new Map();
    return (type) => {
        if (!known.has(type)) {
            known.set(
                type,
                wanted.some((match) => match(type)) && !unwanted.some((match) => match(type)),
            );
        }
        return known.get(type);
    };
}

export function containsJson(whole, part) {
    if (Array.isArray(part)) {
        return Array.isArray(whole) && part.every((p) => whole.some((w) => containsJson(w, p)));
    }
    if (part && typeof part === "object") {
        return (
            whole &&
            typeof whole === "object" &&
            !Array.isArray(whole) &&
            Object.keys(part).every((key) => key in whole && containsJson(whole[key], part[key]))
        );
    }
    return whole === part;
}

export class World {
    constructor() {
        this.begun = Date.now();
        this.events = [];
        this.first = 1;
        this.last = 0;
        this.byId = new Map();
        this.versions = new Map();
        this.types = new Map();
        this.subscriptions = new Map();
        this.letters = new Map();
        this.scheduled = [];
        this.listeners = new Set();
        this.counts = { published: 0, delivered: 0, retried: 0, rejected: 0 };
        this.seconds = []; // published, delivered: of the last seconds
        this.nextLetter = 1;
        this.deliverRate = 0;
    }

    publish(message) {
        if (!message.type || !/^[$A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(message.type)) {
            throw new Refusal(400, "type", `'${message.type}' is no type of an event.`);
        }
        const event = {
            specversion: "1.0",
            source: "/stub",
            time: new Date().toISOString(),
            datacontenttype: "application/json",
            ...message,
            id: message.id ?? randomUUID(),
        };
        event.pealposition = digits(++this.last);
        event.recordedtime = new Date().toISOString();
        if (event.subject) {
            const version = (this.versions.get(event.subject) ?? 0) + 1;
            this.versions.set(event.subject, version);
            event.pealversion = digits(version);
        }
        this.events.push(event);
        this.byId.set(event.id, event);
        this.count(event);
        if (this.events.length > KEPT + 1000) {
            this.forget(1000);
        }
        for (const listener of this.listeners) {
            listener(event);
        }
        return event;
    }

    forget(number) {
        for (const event of this.events.splice(0, number)) {
            this.byId.delete(event.id);
        }
        this.first += number;
    }

    count(event) {
        this.counts.published++;
        let type = this.types.get(event.type);
        if (!type) {
            type = { type: event.type, count: 0, recent: [] };
            this.types.set(event.type, type);
        }
        type.count++;
        type.last_seen = event.time;
        const second = Math.floor(Date.now() / 1000);
        if (type.recent.at(-1)?.second !== second) {
            type.recent.push({ second, count: 0 });
            type.recent = type.recent.slice(-11);
        }
        type.recent.at(-1).count++;
        if (this.seconds.at(-1)?.second !== second) {
            this.seconds.push({ second, count: 0 });
            this.seconds = this.seconds.slice(-3);
        }
        this.seconds.at(-1).count++;
    }

    typeList() {
        const now = Math.floor(Date.now() / 1000);
        return [...this.types.values()].map(({ type, count, last_seen, recent }) => ({
            type,
            count,
            rate:
                recent
                    .filter(({ second }) => second >= now - 10 && second < now)
                    .reduce((sum, one) => sum + one.count, 0) / 10,
            last_seen,
        }));
    }

    publishRate() {
        const now = Math.floor(Date.now() / 1000);
        return this.seconds.find(({ second }) => second === now - 1)?.count ?? 0;
    }

    // As a function of an event.
    selector(query) {
        const matches = query.type ? matcher(query.type) : () => true;
        let contains;
        if (query.contains) {
            try {
                contains = JSON.parse(query.contains);
            } catch {
                throw new Refusal(400, "json", `contains: '${query.contains}' is not JSON.`);
            }
        }
        const bound = (text) =>
            /^\d+$/.test(text)
                ? (e) => Number(e.pealposition) - Number(text)
                : (e) => new Date(e.time) - new Date(text);
        for (const name of ["from", "to"]) {
            if (
                query[name] &&
                !/^\d+$/.test(query[name]) &&
                Number.isNaN(Date.parse(query[name]))
            ) {
                throw new Refusal(
                    400,
                    "time",
                    `${name}: '${query[name]}' is neither a time nor a position.`,
                );
            }
        }
        const from = query.from ? bound(query.from) : () => 0;
        const to = query.to ? bound(query.to) : () => 0;
        return (event) =>
            matches(event.type) &&
            (!query.subject || event.subject === query.subject) &&
            (!query.correlation || event.correlationid === query.correlation) &&
            (!query.causation || event.causationid === query.causation) &&
            (!query.source || event.source === query.source) &&
            from(event) >= 0 &&
            to(event) <= 0 &&
            (contains === undefined || containsJson(event.data, contains));
    }

    query(query) {
        const wanted = this.selector(query);
        const limit = Number(query.limit ?? 100);
        const down = query.order === "desc";
        const after = query.after ? Number(query.after) : down ? Infinity : 0;
        const found = [];
        const begin = down ? this.events.length - 1 : 0;
        for (
            let i = begin;
            i >= 0 && i < this.events.length && found.length <= limit;
            i += down ? -1 : 1
        ) {
            const at = Number(this.events[i].pealposition);
            if ((down ? at < after : at > after) && wanted(this.events[i])) {
                found.push(this.events[i]);
            }
        }
        const more = found.length > limit;
        const events = found.slice(0, limit);
        return { events, after: more ? String(Number(events.at(-1).pealposition)) : null };
    }

    trace(id) {
        const event = this.event(id);
        const causes = [];
        for (let at = this.byId.get(event.causationid); at; at = this.byId.get(at.causationid)) {
            causes.unshift(at);
        }
        const effects = [];
        const follow = (cause, depth) => {
            for (const one of this.events) {
                if (one.causationid === cause) {
                    effects.push({ depth, event: one });
                    follow(one.id, depth + 1);
                }
            }
        };
        if (event.correlationid || this.events.length <= 2000) {
            follow(event.id, 1);
        }
        return { event, causes, effects, complete: true };
    }

    event(id) {
        const event = this.byId.get(id);
        if (!event) {
            throw new Refusal(404, "not_found", `No event has the id '${id}', or it is forgotten.`);
        }
        return event;
    }

    subscribe(body) {
        if (this.subscriptions.has(body.name)) {
            throw new Refusal(409, "exists", `There is a subscription '${body.name}' already.`);
        }
        const one = {
            name: body.name,
            pattern: body.pattern,
            label: body.label ?? "",
            paused: false,
            kind: body.kind ?? "pull",
            at: body.from === "beginning" ? this.first - 1 : this.last,
            matches: matcher(body.pattern),
            pending: new Map(),
            retries: [],
            attempts: new Map(),
            maxAttempts: body.retry?.max_attempts ?? 5,
            members: 0,
            webhook: body.webhook,
        };
        this.subscriptions.set(body.name, one);
        return this.describe(one);
    }

    subscription(name) {
        const one = this.subscriptions.get(name);
        if (!one) {
            throw new Refusal(404, "not_found", `There is no subscription '${name}'.`);
        }
        return one;
    }

    describe(one) {
        const behind = Math.max(0, this.last - one.at);
        const oldest = this.events[Math.max(0, one.at + 1 - this.first)];
        return {
            name: one.name,
            pattern: one.pattern,
            label: one.label,
            position: one.at,
            lag: behind,
            lag_seconds:
                behind && oldest ? Math.round((Date.now() - new Date(oldest.time)) / 100) / 10 : 0,
            unsettled: one.pending.size,
            members: one.members,
            paused: one.paused,
            kind: one.kind,
            dead_letters: [...this.letters.values()].filter((l) => l.subscription === one.name)
                .length,
            ...(one.webhook ? { webhook: { url: one.webhook.url, disabled: false } } : {}),
        };
    }

    seek(name, body) {
        const one = this.subscription(name);
        if (body.position !== undefined) {
            one.at = Math.max(0, Number(body.position) - 1);
        } else if (body.time !== undefined) {
            const found = this.events.find((event) => new Date(event.time) >= new Date(body.time));
            one.at = found ? Number(found.pealposition) - 1 : this.last;
        } else if (body.from === "beginning" || body.from === "now") {
            one.at = body.from === "now" ? this.last : this.first - 1;
        } else {
            throw new Refusal(400, "inval", "seek needs from, position or time.");
        }
    }

    pull(name, max) {
        const one = this.subscription(name);
        const out = [];
        const give = (event, letter) => {
            const receipt = randomUUID();
            const attempt = (one.attempts.get(event.id) ?? 0) + 1;
            one.attempts.set(event.id, attempt);
            one.pending.set(receipt, { event, letter });
            out.push({ receipt, attempt, event });
        };
        while (!one.paused && out.length < max && one.retries.length) {
            const { event, letter } = one.retries.shift();
            give(event, letter);
        }
        while (!one.paused && out.length < max && one.at < this.last) {
            const event = this.events[++one.at - this.first];
            if (event && one.matches(event.type)) {
                give(event, null);
            }
        }
        return out;
    }

    settle(name, settlements) {
        const one = this.subscription(name);
        const missed = [];
        for (const { receipt, verdict, code, text } of settlements) {
            const held = one.pending.get(receipt);
            if (!held) {
                missed.push(receipt);
                continue;
            }
            one.pending.delete(receipt);
            this.counts.delivered++;
            this.judge(one, held, verdict, code, text);
        }
        return { settled: settlements.length - missed.length, missed };
    }

    judge(one, { event, letter }, verdict, code, text) {
        const attempts = one.attempts.get(event.id) ?? 1;
        if (verdict === "reject" || (verdict === "retry" && attempts >= one.maxAttempts)) {
            this.bury(
                one.name,
                event,
                code ?? (verdict === "reject" ? "rejected" : "spent"),
                text ?? "",
                attempts,
                letter,
            );
        } else if (verdict === "retry" || verdict === "release") {
            this.counts.retried++;
            one.retries.push({ event, letter });
        } else if (letter) {
            this.letters.delete(letter);
            one.attempts.delete(event.id);
        } else {
            one.attempts.delete(event.id);
        }
    }

    bury(subscription, event, reason, text, attempts, letter) {
        const id = letter ?? String(this.nextLetter++);
        const now = new Date().toISOString();
        const before = this.letters.get(id);
        this.counts.rejected++;
        this.letters.set(id, {
            id,
            subscription,
            label: "",
            reason,
            text,
            attempts,
            first_failure: before?.first_failure ?? now,
            last_failure: now,
            edited: before?.edited ?? false,
            retrying: false,
            parked: 0,
            event,
        });
        return this.letters.get(id);
    }

    letter(id) {
        const letter = this.letters.get(id);
        if (!letter) {
            throw new Refusal(404, "not_found", `There is no dead letter '${id}'.`);
        }
        return letter;
    }

    lettersOf(query) {
        const matches = query.type ? matcher(query.type) : () => true;
        const before = Date.now() - Number(query.older_than_ms ?? 0);
        return [...this.letters.values()].filter(
            (letter) =>
                (!query.subscription || letter.subscription === query.subscription) &&
                (!query.reason || letter.reason === query.reason) &&
                matches(letter.event.type) &&
                new Date(letter.first_failure) <= before,
        );
    }

    // With other data it is the same event for its subscription, which is given it in its place.
    retry(letter, data) {
        const one = this.subscriptions.get(letter.subscription);
        if (data !== undefined) {
            letter.event = { ...letter.event, data };
            letter.edited = true;
        }
        letter.retrying = true;
        this.counts.retried++;
        one?.retries.push({ event: letter.event, letter: letter.id });
    }

    stats() {
        return {
            version: "0.0.0-stub",
            uptime_seconds: Math.floor((Date.now() - this.begun) / 1000),
            url: "file:./events",
            published: this.counts.published,
            delivered: this.counts.delivered,
            retried: this.counts.retried,
            duplicates: 0,
            refused: 0,
            rejected: this.counts.rejected,
            dropped: 0,
            dead_letters: this.letters.size,
            scheduled: this.scheduled.length,
            first_position: this.first,
            last_position: this.last,
            types: this.types.size,
            subscriptions: this.subscriptions.size,
            memory_bytes: process.memoryUsage().heapUsed,
            log_files: 1 + Math.floor(this.last / 100000),
            log_archived: 0,
            log_bytes: this.last * 310,
            connections: 2,
            streams: this.listeners.size,
            publish_rate: this.publishRate(),
            deliver_rate: this.deliverRate,
        };
    }
}
