// SPDX-License-Identifier: MIT
//
// Where on the page one is, as its address says: #/search?type=order.*&event=0193.... So a view can
// be sent to somebody else, and the browser's back button does what it should.
import { signal } from "./html.js";

export const VIEWS = [
    ["live", "Live"],
    ["search", "Search"],
    ["streams", "Streams"],
    ["subscriptions", "Subscriptions"],
    ["dead-letters", "Dead letters"],
    ["store", "Store"],
];

function read() {
    const [path, query] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    const [name, ...rest] = path.split("/");
    const view = VIEWS.some(([known]) => known === name) ? name : "live";
    let argument = rest.join("/");
    try {
        argument = decodeURIComponent(argument);
    } catch {
        // Typed by hand, with a percent sign that means itself.
    }
    return { view, argument, params: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

export const route = signal(read());
window.addEventListener("hashchange", () => {
    route.value = read();
});

export function href(view, argument, params) {
    const pairs = Object.entries(params ?? {}).filter(([, value]) => value !== "" && value != null);
    return (
        `#/${view}${argument ? `/${encodeURIComponent(argument)}` : ""}` +
        (pairs.length ? `?${new URLSearchParams(pairs)}` : "")
    );
}

export function go(view, argument, params) {
    location.hash = href(view, argument, params);
}

// Changes some parameters of where one is; undefined takes one away. With `quietly`, the back
// button does not stop here.
export function change(params, quietly) {
    const { view, argument, params: now } = route.value;
    const next = href(view, argument, { ...now, ...params });
    if (quietly) {
        history.replaceState(null, "", next);
        route.value = read();
    } else {
        location.hash = next;
    }
}
