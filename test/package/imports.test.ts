import test from "ava";
import { circlesOf, folderSizes, importsOf, sourceFiles } from "../../bench/tree.js";

/** Rooms of `src/` that the commands and the benches may import. */
const library = [
    "util",
    "formats",
    "plugin",
    "convert",
    "tiny",
    "generation",
    "model",
    "verify",
    "eval",
    "detect",
    "trace"
];

/** The rooms that each room may import. Any other import would point up. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
    util: [],
    formats: ["util"],
    plugin: ["util", "formats"],
    convert: ["util", "formats", "plugin"],
    tiny: ["util", "formats", "convert"],
    generation: ["util", "plugin"],
    model: ["util", "formats", "plugin"],
    verify: ["util", "formats", "plugin", "convert", "model"],
    eval: ["util", "plugin", "generation"],
    detect: ["util", "formats", "plugin", "convert", "model", "eval"],
    trace: ["util", "plugin"],
    bench: ["util", "formats", "plugin", "convert", "tiny"],
    server: ["util", "formats", "plugin", "generation"],
    "llama-node": ["util", "plugin", "generation", "model"],
    cli: [...library, "bench"],
    "bench at the top level": [...library, "bench", "server"]
};

/** Folders whose files are checked for circles. */
const circleFree = ["plugin", "src", "bench", "test"];

test("no file imports itself through others, types counted", (t) => {
    const graph = new Map(circleFree.flatMap((folder) => sourceFiles(folder)).map((file) => [file, importsOf(file)]));
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

test("a folder's size counts the folders within it, and its median lies between the middle two files", (t) => {
    const lines = new Map([
        ["src/util/a.ts", 10],
        ["src/util/b.ts", 20],
        ["src/cli/run/c.ts", 40],
        ["src/main.ts", 1]
    ]);
    const largest = { file: "src/cli/run/c.ts", lines: 40 };
    t.deepEqual(folderSizes(lines), [
        { folder: "src", files: 4, median: 15, largest },
        { folder: "src/cli", files: 1, median: 40, largest },
        { folder: "src/util", files: 2, median: 15, largest: { file: "src/util/b.ts", lines: 20 } }
    ]);
});

test("imports point down: each room imports only what stands below it", (t) => {
    const wrong = ["plugin", "src", "bench"]
        .flatMap((folder) => sourceFiles(folder))
        .flatMap((file) => {
            const room = roomOf(file);
            if (mayImport[room] === undefined) return [`${file} is in no known room`];
            return importsOf(file)
                .filter((target) => roomOf(target) !== "native")
                .filter((target) => roomOf(target) !== room && !mayImport[room]!.includes(roomOf(target)))
                .filter((target) => !(/^src\/cli\/(?:serve|mcp)\//.test(file) && roomOf(target) === "server"))
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
