// Prints the table of docs/architecture.md: files, median and largest file of each folder, in lines.
//
//     node docs/images/sizes.mjs
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folders = [
    "plugin",
    "src/cli",
    "src/convert",
    "src/eval",
    "src/formats",
    "src/server",
    "src",
    "bench",
    "native/engine",
    "native/addon",
    "native/cuda",
    "native/cuda-check",
    "test"
];

for (const folder of folders) {
    const files = readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
        .filter((name) => /\.(ts|cpp|h|cu|cuh)$/.test(name))
        .map((name) => ({ name, lines: readFileSync(path.join(root, folder, name), "utf8").split("\n").length - 1 }))
        .sort((a, b) => a.lines - b.lines);
    const largest = files.at(-1);
    process.stdout.write(
        `| \`${folder}/\` | ${files.length} | ${median(files)} | ${largest.lines} | \`${folder}/${largest.name}\` |\n`
    );
}

function median(files) {
    const middle = files.length / 2;
    return Math.round((files[Math.ceil(middle) - 1].lines + files[Math.floor(middle)].lines) / 2);
}
