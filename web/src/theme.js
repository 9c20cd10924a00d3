// SPDX-License-Identifier: MIT
//
// Light or dark: as the system says, until somebody chooses.
import { signal } from "./html.js";

const KEY = "peal-theme";
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function chosen() {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : null;
}

export const theme = signal("light");

function apply() {
    const choice = chosen();
    if (choice) {
        document.documentElement.dataset.theme = choice;
    } else {
        delete document.documentElement.dataset.theme;
    }
    theme.value = choice ?? (dark.matches ? "dark" : "light");
}

export function toggleTheme() {
    const next = theme.value === "dark" ? "light" : "dark";
    // What the system says anyway need not be remembered, and follows the system again.
    if (next === (dark.matches ? "dark" : "light")) {
        localStorage.removeItem(KEY);
    } else {
        localStorage.setItem(KEY, next);
    }
    apply();
}

dark.addEventListener("change", apply);
apply();
