#!/usr/bin/env node
// Runs commands and draws what they print as a picture of a terminal: node docs/images/record.mjs docs/images/demo.svg "npx armt demo" …
// In a clone, `npx armt` is this package's own command.

import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

const [, , file, ...commands] = process.argv;
if (file === undefined || commands.length === 0) {
    process.stderr.write('usage: record.mjs <file.svg> "<command>" …\n');
    process.exit(2);
}

/** Unit: pixels. */
const [lineHeight, characterWidth, margin] = [19, 8.1, 20];
/** Longest line, in characters; longer ones are cut. */
const columns = 100;

const cli = path.resolve(import.meta.dirname, "../../dist/src/cli/main.js");
const lines = [];
for (const command of commands) {
    if (lines.length > 0) lines.push({ text: "" });
    lines.push({ text: `$ ${command}`, isCommand: true });
    const own = command.replaceAll(/\bnpx armt\b/g, `"${process.execPath}" "${cli}"`);
    const { stdout, status } = spawnSync("bash", ["-c", `{ ${own}; } 2>&1`], { encoding: "utf8" });
    if (status !== 0) throw new Error(`${command} ended with exit code ${status}: ${stdout}`);
    for (const text of stdout
        .trimEnd()
        .split("\n")
        .filter((line, _, all) => all.length > 1 || line !== ""))
        lines.push({ text });
}

const height = 2 * margin + 22 + lines.length * lineHeight;
const width = 2 * margin + columns * characterWidth;
const escapeXml = (text) =>
    text
        .replaceAll("&", "&amp;")
        .replaceAll("<", "&lt;")
        .replaceAll(/\p{Cc}/gu, "·");
const cut = (text) => (text.length > columns ? `${text.slice(0, columns - 1)}…` : text);
const rows = lines.map(({ text, isCommand }, index) => {
    const y = margin + 40 + index * lineHeight;
    return `<text x="${margin}" y="${y}"${isCommand ? ' fill="#7ee2b8" font-weight="600"' : ""} xml:space="preserve">${escapeXml(cut(text))}</text>`;
});
const dots = ["#ff6b5e", "#f5bf4f", "#5ec454"].map(
    (fill, i) => `<circle cx="${margin + 6 + i * 18}" cy="${margin}" r="5.5" fill="${fill}"/>`
);
fs.writeFileSync(
    file,
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace" font-size="13.5" fill="#e6edf3">
<title>${escapeXml(commands.join("; "))}</title>
<rect width="${width}" height="${height}" rx="10" fill="#161b22" stroke="#30363d"/>
${dots.join("\n")}
${rows.join("\n")}
</svg>
`
);
