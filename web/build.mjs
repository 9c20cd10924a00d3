// SPDX-License-Identifier: MIT
//
// Builds the dashboard: everything in src/ and what it needs from npm becomes one page.
//
//     node web/build.mjs FOLDER [--watch]
//
// FOLDER has node_modules/ (see README.md) and is given:
//
//     index.html      the page; scripts and styles are in it, so it is all there is to load
//     index.html.gz   the same, as the service sends it to browsers
//     policy.txt      its Content-Security-Policy, one line, with the hashes of what is in it
//
// The same source gives the same bytes: no time and no path gets into them.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, watch, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));

// What the whole page may weigh on the wire. More is a decision, not an accident.
const GZIP_MAX = 64 * 1024;

async function bundle(esbuild, folder, entry) {
    const result = await esbuild.build({
        entryPoints: [join(here, "src", entry)],
        nodePaths: [join(folder, "node_modules")],
        bundle: true,
        minify: true,
        write: false,
        charset: "utf8",
        format: entry.endsWith(".js") ? "iife" : undefined,
        target: ["chrome123", "firefox120", "safari17.5"],
        legalComments: "none",
        logLevel: "warning",
    });
    return result.outputFiles[0].text.trim();
}

function hash(text) {
    return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

// The last two: no string becomes HTML or script anywhere in the page, or the browser stops it.
function policyOf(script, style) {
    return [
        "default-src 'none'",
        `script-src ${hash(script)}`,
        `style-src ${hash(style)}`,
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ].join("; ");
}

async function build(folder) {
    const esbuild = createRequire(join(folder, "package.json"))("esbuild");
    const script = await bundle(esbuild, folder, "main.js");
    const style = await bundle(esbuild, folder, "style.css");
    if (/<\/(script|style)/i.test(script) || /<\/style/i.test(style)) {
        throw new Error("the bundle contains an end tag, which would end it inside the page");
    }

    const page = readFileSync(join(here, "src", "index.html"), "utf8")
        .replace("<!-- style -->", () => `<style>${style}</style>`)
        .replace("<!-- script -->", () => `<script>${script}</script>`);
    const packed = gzipSync(page, { level: 9 });
    if (packed.length > GZIP_MAX) {
        throw new Error(`the page has ${packed.length} bytes gzipped, more than ${GZIP_MAX}`);
    }
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "index.html"), page);
    writeFileSync(join(folder, "index.html.gz"), packed);
    writeFileSync(join(folder, "policy.txt"), policyOf(script, style));
    console.log(`dashboard: ${page.length} bytes, ${packed.length} gzipped`);
}

const folder = process.argv[2];
if (!folder) {
    console.error("usage: node web/build.mjs FOLDER [--watch]");
    process.exit(2);
}
try {
    await build(resolve(folder));
} catch (error) {
    console.error(`dashboard: ${error.message}`);
    process.exit(1);
}
if (process.argv[3] === "--watch") {
    let waiting;
    const again = () => {
        clearTimeout(waiting);
        waiting = setTimeout(
            () => build(resolve(folder)).catch((e) => console.error(e.message)),
            50,
        );
    };
    for (const part of ["src", "src/parts", "src/views"]) {
        watch(join(here, part), again);
    }
}
