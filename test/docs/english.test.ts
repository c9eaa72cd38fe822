import { readdirSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { listPages, readPage } from "../helpers/docs/blocks.js";
import { type Fault, phraseFaults, sentenceFaults } from "../helpers/docs/english.js";
import { docComments, proseOf, wrappedLines } from "../helpers/docs/prose.js";
import { repositoryRoot } from "../helpers/repository.js";

const pages = [...listPages(), "CHANGELOG.md", "SECURITY.md", "NOTICE.md"];

/** Comments, option texts and error messages are part of these. */
const sources = filesOf(["plugin", "src", "bench", "test"], /(?<!english|english\.test)\.ts$/);
const native = filesOf(["native", "patches"], /\.(cpp|h|cu|cuh|mjs|diff)$/);

function filesOf(folders: readonly string[], name: RegExp): string[] {
    return folders.flatMap((folder) =>
        readdirSync(path.join(repositoryRoot, folder), { recursive: true, encoding: "utf8" })
            .filter((file) => name.test(file) && !file.startsWith("build/"))
            .map((file) => path.join(folder, file))
            .sort()
    );
}

function noFaults(t: ExecutionContext, files: readonly string[], faultsOf: (text: string) => Fault[]): void {
    t.true(files.length > 0);
    const faults = files.flatMap((file) =>
        faultsOf(readPage(file)).map(({ line, found, advice }) => `${file}:${line}: "${found}" (${advice})`)
    );
    t.deepEqual(faults, []);
}

test("pages have no phrases that read like a translation", (t) => {
    noFaults(t, pages, (text) => phraseFaults(proseOf(text)));
});

test("pages have no sentences that are too long", (t) => {
    noFaults(t, pages, (text) => sentenceFaults(proseOf(text)));
});

test("prose and code on pages is wrapped at 120 columns", (t) => {
    noFaults(t, pages, (text) =>
        wrappedLines(text).flatMap((line, i) =>
            [...line].length > 120 ? [{ line: i + 1, found: line.slice(0, 60), advice: "wrap the line" }] : []
        )
    );
});

test("comments in TypeScript are wrapped at 120 columns", (t) => {
    noFaults(t, [...sources, ...filesOf(["test"], /\.ts$/)], (text) =>
        text
            .split("\n")
            .flatMap((line, i) =>
                [...line].length > 120 && /^\s*(\*|\/\/|\/\*)/.test(line)
                    ? [{ line: i + 1, found: line.trim().slice(0, 60), advice: "wrap the line" }]
                    : []
            )
    );
});

test("code in TypeScript is wrapped at 120 columns, but for regular expressions", (t) => {
    noFaults(t, filesOf(["plugin", "src", "bench"], /\.ts$/), (text) =>
        text
            .split("\n")
            .flatMap((line, i) =>
                [...line].length > 120 && !/^\s*\/\S/.test(line)
                    ? [{ line: i + 1, found: line.trim().slice(0, 60), advice: "wrap the line" }]
                    : []
            )
    );
});

test("TypeScript sources have no phrases that read like a translation", (t) => {
    noFaults(t, sources, phraseFaults);
});

test("documentation comments have no sentences that are too long", (t) => {
    noFaults(t, sources, (text) => sentenceFaults(docComments(text)));
});

test("native sources and patches have no phrases that read like a translation", (t) => {
    noFaults(t, native, phraseFaults);
});

test("a phrase is found across the end of a line, a comment's marks included", (t) => {
    const [fault, ...others] = phraseFaults("/**\n * The engine is held\n * against the reference.\n */");
    t.deepEqual([fault?.line, others.length], [2, 0]);
    t.regex(fault!.advice, /compare/);
});

test("a phrase in code on a page is not the page's", (t) => {
    t.deepEqual(phraseFaults(proseOf("Use `held against`.\n\n```sh\nheld against\n```\n")), []);
});

test("a long sentence is found by its line, and a long list of short ones is not", (t) => {
    const long = Array.from({ length: 41 }, () => "word").join(" ");
    t.deepEqual(
        sentenceFaults(`Short.\n\n${long}.\n`).map(({ line }) => line),
        [3]
    );
    t.deepEqual(sentenceFaults("One two three. ".repeat(20)), []);
});
