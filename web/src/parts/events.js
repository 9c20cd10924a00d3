// SPDX-License-Identifier: MIT
//
// Events as rows, newest or oldest first. Each row is a button; in the list, the arrow keys move
// from row to row, and Tab passes the list in one step.
import { Component, html } from "../html.js";
import { localTime } from "../format.js";
import { colourOf } from "../rates.js";
import { change } from "../route.js";

// A row never changes once it is made, but for being chosen: nothing else makes it again.
class Row extends Component {
    shouldComponentUpdate(next) {
        return (
            next.item !== this.props.item ||
            next.open !== this.props.open ||
            next.first !== this.props.first ||
            next.version !== this.props.version
        );
    }

    render({ item, open, first, version }) {
        const { event, line } = item;
        return html`<li>
            <button type="button" class="row" tabindex=${first ? 0 : -1} data-id=${event.id}
                aria-current=${open ? "true" : undefined}
                onClick=${() => change({ event: event.id })}>
                ${version && html`<span class="version">${version}</span>`}
                <time title=${`${event.time} (UTC)`}>${localTime(event.time)}</time>
                <span class="type" title=${event.type}><i
                    class=${`dot c-${colourOf(event.type)}`}></i><b>${event.type}</b></span>
                <span class="subject">${event.subject ?? ""}</span>
                <span class="preview">${line}</span>
            </button>
        </li>`;
    }
}

function move(event) {
    const rows = [...event.currentTarget.querySelectorAll("button.row")];
    const at = rows.indexOf(document.activeElement);
    const target = {
        ArrowDown: at + 1,
        ArrowUp: at - 1,
        PageDown: Math.min(at + 10, rows.length - 1),
        PageUp: Math.max(at - 10, 0),
        Home: 0,
        End: rows.length - 1,
    }[event.key];
    if (target === undefined) {
        return;
    }
    event.preventDefault();
    rows[target]?.focus();
}

// items: { number, event, line }, the key of a row being its number.
export function Events({ items, open, label, versionOf, onFocusIn, onFocusOut }) {
    // Times of another day have their date, and need the room.
    const dated = items.some((item) => localTime(item.event.time).length > 12);
    return html`<ol class=${`events ${versionOf ? "with-version" : ""} ${dated ? "with-date" : ""}`}
        aria-label=${label}
        onKeyDown=${move} onFocusIn=${onFocusIn} onFocusOut=${onFocusOut}>
        ${items.map(
            (item, i) => html`<${Row} key=${item.number} item=${item} first=${i === 0}
            open=${item.event.id === open} version=${versionOf?.(item.event)} />`,
        )}
    </ol>`;
}
