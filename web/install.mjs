// SPDX-License-Identifier: MIT
//
// Brings what the dashboard is built with from npm into a folder, if it is not there yet.
//
//     node web/install.mjs FOLDER [npm]
//
// What is there is what the lock file says, to the byte: `npm ci` checks the hashes. It runs only
// when the lock has changed, so that a second build needs no network. No package runs a script.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const FILES = ["package.json", "package-lock.json", ".npmrc"];

const folder = process.argv[2] && resolve(process.argv[2]);
if (!folder) {
    console.error("usage: node web/install.mjs FOLDER [npm]");
    process.exit(2);
}

// Written last, and taken away first: it is there only if all else is.
const done = join(folder, "node_modules", ".installed");
const wanted = FILES.map((name) => readFileSync(join(here, name), "utf8")).join("");
if (existsSync(done) && readFileSync(done, "utf8") === wanted) {
    process.exit(0);
}
mkdirSync(folder, { recursive: true });
rmSync(done, { force: true });
for (const name of FILES) {
    copyFileSync(join(here, name), join(folder, name));
}
try {
    execFileSync(
        process.argv[3] ?? "npm",
        [
            "ci",
            "--ignore-scripts",
            "--prefer-offline",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ],
        { cwd: folder, stdio: "inherit" },
    );
} catch {
    console.error(
        "dashboard: npm could not bring what the dashboard is built with. Is there a " +
            "network, or a registry in your npm configuration? The rest is built without it: " +
            "cmake --preset release -DPEAL_DASHBOARD=OFF, and then the same once more.",
    );
    process.exit(1);
}
writeFileSync(done, wanted);
