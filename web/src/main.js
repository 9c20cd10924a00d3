// SPDX-License-Identifier: MIT
//
// The dashboard: a person sees what the system does now, and why something failed.
//
//     api.js ─► feed.js ─► live.js ──┐
//        └────► poll.js ─► rates.js ─┼─► views/*.js ─► app.js, the frame
//                          stats.js ─┘     └ parts/*.js
//
// It is a client of /v1 like any other and knows nothing that the API does not say.
import { App } from "./app.js";
import { html, render } from "./html.js";
import { listenToKeys } from "./keys.js";

listenToKeys();
render(html`<${App} />`, document.getElementById("app"));
