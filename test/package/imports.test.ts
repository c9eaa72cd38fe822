import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { repositoryRoot } from "../helpers/repository.js";

/** Rooms of `src/` that others may import, below which everybody stands who imports them. */
const library = ["util", "formats", "plugin", "convert", "tiny", "generation", "model", "verify", "eval", "trace"];

/** What each room may import, besides itself. An arrow that is missing here points up. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
    util: [],
    formats: ["util"],
    plugin: ["util", "formats"],
    convert: ["util", "formats", "plugin"],
    tiny: ["util", "formats", "convert"],
    generation: ["util", "plugin"],
    model: ["util", "formats", "plugin"],
    verify: ["util", "formats", "plugin", "convert", "model"],
    eval: ["util", "plugin"],
    trace: ["util", "plugin"],
    bench: ["util", "formats", "plugin", "convert", "tiny"],
    server: ["util", "plugin", "generation"],
    "llama-node": ["util", "plugin", "generation", "model"],
    cli: [...library, "bench"],
    "bench at the top level": [...library, "bench", "server"]
};

/** Folders whose files are checked for circles. */
const circleFree = ["src", "bench", "test"];

test("no file imports itself through others, types counted", (t) => {
    const graph = new Map(circleFree.flatMap(sourceFiles).map((file) => [file, importsOf(file)]));
    t.true(graph.size > 300);
    t.deepEqual(circlesOf(graph), []);
});

test("a circle is found, and each of its files is named", (t) => {
    const graph = new Map([
        ["a", ["b", "d"]],
        ["b", ["c"]],
        ["c", ["a"]],
        ["d", []]
    ]);
    t.deepEqual(circlesOf(graph), [["a", "b", "c"]]);
});

test("imports point down: each room imports only what stands below it", (t) => {
    const wrong = ["plugin", "src", "bench"].flatMap(sourceFiles).flatMap((file) => {
        const room = roomOf(file);
        if (mayImport[room] === undefined) return [`${file} is in no known room`];
        return importsOf(file)
            .filter((target) => roomOf(target) !== "native")
            .filter((target) => roomOf(target) !== room && !mayImport[room]!.includes(roomOf(target)))
            .filter((target) => !(file.startsWith("src/cli/serve/") && roomOf(target) === "server"))
            .map((target) => `${file} imports ${target}`);
    });
    t.deepEqual(wrong, []);
});

/** The room of a file: a folder of `src/`, or the folder at the top. */
function roomOf(file: string): string {
    const [top = "", second = ""] = file.split("/");
    if (top === "src") return second;
    return top === "bench" ? "bench at the top level" : top;
}

function sourceFiles(folder: string): string[] {
    return readdirSync(path.join(repositoryRoot, folder), { recursive: true, encoding: "utf8" })
        .map((file) => path.posix.join(folder, file))
        .filter((file) => file.endsWith(".ts"));
}

/** The files of this repository that a file imports, `import type`, `export from` and `import()` counted. */
function importsOf(file: string): string[] {
    const text = readFileSync(path.join(repositoryRoot, file), "utf8");
    const code = text.replaceAll(/^\s*(\/\/|\/?\*).*$/gm, "");
    return [...code.matchAll(/(?:^|[\s;(])(?:from |import |import\()"(\.[^"\n]+)"/g)].map(([, specifier = ""]) =>
        path.posix.join(path.posix.dirname(file), specifier).replace(/\.js$/, ".ts")
    );
}

/** The strongly connected components of more than one node, by Tarjan's algorithm. */
function circlesOf(graph: ReadonlyMap<string, readonly string[]>): string[][] {
    const index = new Map<string, number>();
    const low = new Map<string, number>();
    const stack: string[] = [];
    const circles: string[][] = [];
    const visit = (node: string) => {
        index.set(node, index.size);
        low.set(node, index.get(node)!);
        stack.push(node);
        for (const next of graph.get(node) ?? []) {
            if (!graph.has(next)) continue;
            if (!index.has(next)) visit(next);
            if (stack.includes(next)) low.set(node, Math.min(low.get(node)!, low.get(next)!));
        }
        if (low.get(node) !== index.get(node)) return;
        const component = stack.splice(stack.indexOf(node));
        if (component.length > 1) circles.push(component.sort());
    };
    for (const node of graph.keys()) if (!index.has(node)) visit(node);
    return circles;
}
