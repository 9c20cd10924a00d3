// SPDX-License-Identifier: MIT
//
// The types as the tree that their dots make, with counts: order ► created, shipped, ... A click
// filters by the type, or by all that is under a branch. The arrow keys open, close and move.
import { html, useSignal } from "../html.js";
import { brief, count, rate } from "../format.js";
import { colourOf } from "../rates.js";

const CHILDREN_MAX = 100; // of one branch; a million types are no tree to look at

export function grow(types) {
    const root = { name: "", path: "", children: new Map(), count: 0, rate: 0, leaf: false };
    for (const { type, count: events, rate: speed } of types) {
        let node = root;
        node.count += Number(events);
        node.rate += Number(speed);
        for (const name of type.split(".")) {
            let child = node.children.get(name);
            if (!child) {
                const path = node.path ? `${node.path}.${name}` : name;
                child = { name, path, children: new Map(), count: 0, rate: 0, leaf: false };
                node.children.set(name, child);
            }
            child.count += Number(events);
            child.rate += Number(speed);
            node = child;
        }
        node.leaf = true;
    }
    for (const [name, child] of root.children) {
        root.children.set(name, join(child));
    }
    return root;
}

// A branch with nothing but one branch on it is one line: temperature.read.
function join(node) {
    if (!node.leaf && node.children.size === 1) {
        const [only] = node.children.values();
        const child = join(only);
        return { ...child, name: `${node.name}.${child.name}` };
    }
    for (const [name, child] of node.children) {
        node.children.set(name, join(child));
    }
    return node;
}

// What to filter by: of a branch everything under it, of a leaf the type itself.
export function patternOf(node) {
    return node.children.size ? `${node.path}.**` : node.path;
}

function keys(event, node, opened) {
    const item = event.currentTarget;
    const all = [...item.closest("[role=tree]").querySelectorAll("[role=treeitem]")];
    const at = all.indexOf(item);
    const isOpen = opened.value.has(node.path);
    const actions = {
        ArrowDown: () => all[at + 1]?.focus(),
        ArrowUp: () => all[at - 1]?.focus(),
        Home: () => all[0].focus(),
        End: () => all.at(-1).focus(),
        ArrowRight: () => {
            if (node.children.size && !isOpen) {
                toggle(node, opened);
            } else {
                all[at + 1]?.focus();
            }
        },
        ArrowLeft: () => {
            if (isOpen) {
                toggle(node, opened);
            } else {
                item.parentElement.closest("[role=treeitem]")?.focus();
            }
        },
    };
    if (event.target === item && actions[event.key]) {
        event.preventDefault();
        event.stopPropagation();
        actions[event.key]();
    } else if (event.target === item && (event.key === "Enter" || event.key === " ")) {
        event.preventDefault();
        event.stopPropagation();
        item.querySelector(".pick").click();
    }
}

function toggle(node, opened) {
    const next = new Set(opened.value);
    if (!next.delete(node.path)) {
        next.add(node.path);
    }
    opened.value = next;
}

function Branch({ node, level, opened, chosen, onPick, first }) {
    const isOpen = opened.value.has(node.path);
    const branch = node.children.size > 0;
    const pattern = patternOf(node);
    return html`<li role="treeitem" tabindex=${first ? 0 : -1} aria-level=${level}
        aria-expanded=${branch ? isOpen : undefined} aria-selected=${chosen === pattern}
        aria-label=${`${node.path}, ${count(node.count)} events`}
        onKeyDown=${(event) => keys(event, node, opened)}>
        <div class=${`branch level-${Math.min(level, 8)} ${chosen === pattern ? "chosen" : ""}`}>
            <span class=${`twist ${branch ? (isOpen ? "open" : "closed") : ""}`} aria-hidden="true"
                onClick=${() => branch && toggle(node, opened)}></span>
            <span class="pick" title=${pattern} onClick=${() => onPick(pattern)}>
                ${!branch && html`<i class=${`dot c-${colourOf(node.path)}`}></i>`}<b>${node.name}
                    </b>
            </span>
            <span class="number rate" title="events a second">${
                node.rate >= 0.05 ? `${rate(node.rate)}/s` : ""
            }</span>
            <span class="number" title=${`${count(node.count)} events`}>${brief(node.count)}</span>
        </div>
        ${branch && isOpen && html`<${Children} ...${{ node, level: level + 1, opened, chosen, onPick }} />`}
    </li>`;
}

function Children({ node, level, opened, chosen, onPick, root }) {
    const all = [...node.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return html`<ul role=${root ? "tree" : "group"} aria-label=${root ? "Types" : undefined}>
        ${all.slice(0, CHILDREN_MAX).map(
            (child, i) => html`<${Branch} key=${child.name} node=${child}
            first=${root && i === 0} ...${{ level, opened, chosen, onPick }} />`,
        )}
        ${
            all.length > CHILDREN_MAX &&
            html`<li class="muted more">${count(
                all.length - CHILDREN_MAX,
            )} more: filter by a pattern</li>`
        }
    </ul>`;
}

// chosen: the pattern now filtered by; onPick(pattern) chooses another.
export function Tree({ types, chosen, onPick }) {
    const root = grow(types);
    // The first level is open while it is not too much to look at.
    const start = [...root.children.values()].filter((node) => node.children.size);
    const opened = useSignal(new Set(types.length <= 40 ? start.map((node) => node.path) : []));
    return html`<${Children} node=${root} level=${1}
        root=${true} ...${{ opened, chosen, onPick }} />`;
}
