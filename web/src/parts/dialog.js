// SPDX-License-Identifier: MIT
//
// A dialog: the browser's own <dialog>, which keeps the focus inside and closes with Escape.
import { html, useEffect, useRef, useState } from "../html.js";

export function Dialog({ title, onClose, children, wide }) {
    const element = useRef(null);
    useEffect(() => {
        const dialog = element.current;
        const before = document.activeElement;
        dialog.showModal();
        dialog.querySelector("[autofocus]")?.focus();
        return () => {
            dialog.close();
            before?.focus?.();
        };
    }, []);
    const cancel = (event) => {
        event.preventDefault();
        onClose();
    };
    return html`<dialog ref=${element} class=${wide ? "wide" : ""} aria-labelledby="dialog-title"
        onCancel=${cancel} onKeyDown=${(event) => event.stopPropagation()}>
        <h2 id="dialog-title">${title}</h2>
        ${children}
    </dialog>`;
}

// Asks before something is done. `action` may take its time; the dialog stays until it has ended,
// and stays open if `action` answers false.
export function Confirm({ title, children, verb, danger, action, onClose, wide, disabled }) {
    const [busy, setBusy] = useState(false);
    const submit = async (event) => {
        event.preventDefault();
        setBusy(true);
        const good = await action();
        setBusy(false);
        if (good !== false) {
            onClose();
        }
    };
    return html`<${Dialog} title=${title} onClose=${onClose} wide=${wide}>
        <form onSubmit=${submit}>
            ${children}
            <div class="buttons">
                <button type="button" onClick=${onClose}>Cancel</button>
                <button type="submit" class=${danger ? "danger" : "primary"}
                    disabled=${busy || disabled}>${verb}</button>
            </div>
        </form>
    <//>`;
}
