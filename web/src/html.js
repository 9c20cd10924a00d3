// SPDX-License-Identifier: MIT
//
// What every part of the page is written with. Values inside html`` become text nodes and
// attributes, never markup: what an event says cannot become part of the page.
export { html } from "htm/preact";
export { Component, createRef, render } from "preact";
export { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
export { batch, computed, effect, signal, useSignal } from "@preact/signals";
