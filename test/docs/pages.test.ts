import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { blocksOf, listBlocks, listPages, readPage, title } from "../helpers/docs/blocks.js";
import { repositoryRoot } from "../helpers/repository.js";

/** Languages whose blocks are run or parsed. `text` is for the output of a program, or a drawing. */
const languages = ["ts", "js", "sh", "json", "text"];

/** Reasons why a block is not run must start with one of these. */
const reasons = /^(needs|takes|downloads|publishes|installs|is) \S+ \S+/;

test("every block has a language that is run, or says why it is not", (t) => {
    for (const block of listBlocks()) {
        if (block.reason === undefined) t.true(languages.includes(block.language), title(block));
        else t.regex(block.reason, reasons, title(block));
    }
});

test("a marker belongs to a block", (t) => {
    for (const page of listPages()) {
        const markers = readPage(page).match(/^ *<!-- not run:.*$/gm) ?? [];
        t.is(blocksOf(page, readPage(page)).filter(({ reason }) => reason !== undefined).length, markers.length, page);
    }
});

test("JSON blocks parse", (t) => {
    for (const block of listBlocks().filter(({ language, reason }) => language === "json" && reason === undefined))
        t.notThrows(() => JSON.parse(block.text), title(block));
});

test("every link to a file, a picture or a heading leads somewhere", (t) => {
    for (const page of listPages()) {
        const text = readPage(page).replaceAll(/```[\s\S]*?```|`[^`\n]*`/g, "");
        const links = [...text.matchAll(/\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"/g)].map(([, a, b]) => a ?? b!);
        for (const link of links.filter((target) => !/^(https?|mailto):/.test(target))) {
            const [file = "", heading] = link.split("#");
            const target = file === "" ? page : path.join(path.dirname(page), file);
            t.true(existsSync(path.join(repositoryRoot, target)), `${page}: ${link}`);
            if (heading !== undefined) t.true(headingsOf(readPage(target)).includes(heading), `${page}: ${link}`);
        }
    }
});

/** Anchors as GitHub generates them. */
function headingsOf(text: string): string[] {
    return [...text.replaceAll(/```[\s\S]*?```/g, "").matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
        heading
            .toLowerCase()
            .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
            .replaceAll(" ", "-")
    );
}

/** Folders of the repository whose files pages name; what a build makes in them is not there in every clone. */
const namedPath = /^(?:src|plugin|native|test|bench|docs|patches|train|assets|\.github)\/[^\s<>*…:]*$/;
const madePath = /^(native\/build|docs\/api-reference\/html|train\/(data|runs))\//;

test("every path that a page names is there", (t) => {
    let paths = 0;
    for (const page of [...listPages(), "CHANGELOG.md", "SECURITY.md", "NOTICE.md"])
        for (const [, text = ""] of readPage(page).matchAll(/`([^`\n]+)`/g)) {
            if (!namedPath.test(text) || madePath.test(text)) continue;
            paths++;
            t.true(existsSync(path.join(repositoryRoot, text)), `${page}: ${text}`);
        }
    t.true(paths > 100);
});

test("every page of docs is linked from the README or from another page", (t) => {
    const all = [...listPages()].map((page) => readPage(page).replaceAll("](docs/", "](")).join("\n");
    for (const page of listPages().filter((name) => name.startsWith("docs/")))
        t.true(all.includes(`](${path.basename(page)}`) || all.includes(`](${page}`), page);
});

/** Files of other projects that give some of the messages. */
const foreign = [
    "native/build/llama.cpp/src/llama-model.cpp",
    "node_modules/node-llama-cpp/dist/bindings/getLlama.js",
    "node_modules/node-llama-cpp/dist/bindings/utils/compileLLamaCpp.js",
    "node_modules/env-var/lib/env-error.js",
    "node_modules/env-var/lib/accessors/bool.js"
];

test("every message on the troubleshooting page exists in the code", (t) => {
    const files = ["plugin", "src", "native/engine", "native/addon", "native/install"].flatMap((folder) =>
        readdirSync(path.join(repositoryRoot, folder), { recursive: true, encoding: "utf8" })
            .filter((name) => /\.(ts|mjs|cpp|h)$/.test(name))
            .map((name) => path.join(folder, name))
    );
    const sources = [...files, ...foreign, "native/build.mjs"].map((file) => readPage(file)).join("\n");
    // joins strings that span lines, and removes the quotes of code and the marks of inserted values
    const code = sources
        .replaceAll(/["`]\s*\+?\s*\n\s*["`]/g, "")
        .replaceAll("\\`", "`")
        .replaceAll("`", "");
    const rows = readPage("docs/troubleshooting.md")
        .split("\n")
        .filter((line) => line.startsWith("| `"));
    const messages = rows.flatMap((row) => [...row.split("|")[1]!.matchAll(/`([^`]+)`/g)].map(([, text]) => text!));
    t.true(messages.length > 40);
    const unknown = messages.filter((message) =>
        message
            .split(/⟨[^⟩]*⟩/)
            .map((part) => part.trim())
            .some((part) => part.length > 3 && !code.includes(part.replaceAll("`", "")))
    );
    t.deepEqual(unknown, []);
});
