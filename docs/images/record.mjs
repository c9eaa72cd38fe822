#!/usr/bin/env node
// Runs commands in a terminal and draws an animated picture of it: node docs/images/record.mjs docs/images/demo.svg "npx armt demo" …
// The picture shows what they printed when they printed it. In a clone, `npx armt` is this package's own command. Needs `script` (util-linux).

import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import xterm from "@xterm/headless";

const [, , file, ...commands] = process.argv;
if (file === undefined || commands.length === 0) {
    process.stderr.write('usage: record.mjs <file.svg> "<command>" …\n');
    process.exit(2);
}

/** Unit: pixels. */
const [lineHeight, characterWidth, margin, titleHeight] = [19, 8.1, 20, 22];
/** Size of the terminal in characters. Nothing scrolls: pictures end with the last line that was written. */
const [columns, maxRows] = [100, 200];
/** Changes within this time are one picture. Unit: seconds. */
const grain = 0.08;
/** How long the end stays before the picture starts again. Unit: seconds. */
const hold = 8;
/** How long a command is shown before what it printed, and what it printed before the next. Unit: seconds. */
const [before, between] = [0.8, 1.5];

const cli = path.resolve(import.meta.dirname, "../../dist/src/cli/main.js");
const prompt = "$ ";

/** A row's text from a time on. @typedef {{row: number, from: number, text: string}} Change */

const { changes, duration } = await record();
const rows = Math.max(...changes.filter(({ text }) => text !== "").map(({ row }) => row)) + 1;
fs.writeFileSync(file, draw(changes, rows, duration + hold));

/** @returns {Promise<{changes: Change[], duration: number}>} */
async function record() {
    const terminal = new xterm.Terminal({ cols: columns, rows: maxRows, allowProposedApi: true });
    /** @type {Change[]} */
    const changes = [];
    const shown = new Array(maxRows).fill("");
    const write = (data) => new Promise((resolve) => terminal.write(data, resolve));
    let last = -1;
    const look = (time) => {
        // what changes within the grain is shown at its end, and never out of order
        const from = Math.max(time, last);
        last = from;
        for (let row = 0; row < maxRows; row++) {
            const text = terminal.buffer.active.getLine(row)?.translateToString(true) ?? "";
            if (text === shown[row]) continue;
            shown[row] = text;
            changes.push({ row, from, text });
        }
    };
    let time = 0;
    for (const [index, command] of commands.entries()) {
        if (index > 0) {
            await write("\r\n");
            time += between;
        }
        await write(`${prompt}${command}\r\n`);
        look(time);
        time += before;
        const chunks = await run(command);
        for (const [i, { at, data }] of chunks.entries()) {
            await write(data);
            const next = chunks[i + 1]?.at ?? Number.POSITIVE_INFINITY;
            if (Math.floor(next / grain) > Math.floor(at / grain)) look(time + at);
        }
        time += chunks.at(-1)?.at ?? 0;
    }
    return { changes, duration: time };
}

/** @returns {Promise<{at: number, data: Buffer}[]>} what the command printed, and when, in seconds from its start */
function run(command) {
    const own = command.replaceAll(/\bnpx armt\b/g, `"${process.execPath}" "${cli}"`);
    return new Promise((resolve, reject) => {
        const args = ["-qfec", `stty cols ${columns} rows ${maxRows}; ${own}`, "/dev/null"];
        const child = spawn("script", args, {
            stdio: ["ignore", "pipe", "inherit"],
            env: { ...process.env, SHELL: "/bin/bash" }
        });
        const started = performance.now();
        const chunks = [];
        child.stdout.on("data", (data) => chunks.push({ at: (performance.now() - started) / 1000, data }));
        child.on("error", reject);
        child.on("close", (code) => {
            if (code === 0) resolve(chunks);
            else
                reject(
                    new Error(
                        `${command} ended with exit code ${code}: ${Buffer.concat(chunks.map(({ data }) => data))}`
                    )
                );
        });
    });
}

/**
 * Each state of a row is a text with its own times. Where nothing moves, by the reader's wish or the viewer's limits, the last states are shown.
 * @param {Change[]} changes
 * @param {number} rows
 * @param {number} length of the whole animation, in seconds
 */
function draw(changes, rows, length) {
    const percent = (time) => `${+((100 * time) / length).toFixed(3)}%`;
    const states = [];
    for (const [index, { row, from, text }] of changes.entries()) {
        if (text === "" || row >= rows) continue;
        const until = changes.slice(index + 1).find((later) => later.row === row)?.from;
        if (until !== undefined && until <= from) continue;
        states.push({ row, from, until, text });
    }
    const timelines = states.map(
        ({ from, until }, i) =>
            `@keyframes s${i}{${from > 0 ? `0%{opacity:0}` : ""}${percent(from)}{opacity:1}${until === undefined ? "" : `${percent(until)}{opacity:0}`}${until === undefined ? "to{opacity:1}" : "to{opacity:0}"}}#s${i}{animation-name:s${i}}`
    );
    const texts = states.map(({ row, until, text }, i) => {
        const y = margin + titleHeight + 18 + row * lineHeight;
        const kind = [text.startsWith(prompt) && "c", until !== undefined && "p"].filter(Boolean).join(" ");
        return `<text id="s${i}" x="${margin}" y="${y}"${kind === "" ? "" : ` class="${kind}"`} xml:space="preserve">${escapeXml(text)}</text>`;
    });
    const height = 2 * margin + titleHeight + rows * lineHeight;
    const width = 2 * margin + columns * characterWidth;
    const dots = ["#ff6b5e", "#f5bf4f", "#5ec454"].map(
        (fill, i) => `<circle cx="${margin + 6 + i * 18}" cy="${margin}" r="5.5" fill="${fill}"/>`
    );
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace" font-size="13.5" fill="#e6edf3">
<title>${escapeXml(commands.join("; "))}</title>
<style>
.c{fill:#7ee2b8;font-weight:600}
.p{opacity:0}
@media (prefers-reduced-motion:no-preference){
text{animation:${length.toFixed(2)}s step-end infinite}
${timelines.join("\n")}
}
</style>
<rect x=".5" y=".5" width="${width - 1}" height="${height - 1}" rx="10" fill="#161b22" stroke="#30363d"/>
${dots.join("\n")}
${texts.join("\n")}
</svg>
`;
}

function escapeXml(text) {
    return text
        .replaceAll("&", "&amp;")
        .replaceAll("<", "&lt;")
        .replaceAll(/\p{Cc}/gu, "·");
}
