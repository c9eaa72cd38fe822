import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Root of the repository, relative to `dist/bench/`. */
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Files below a folder, as paths relative to the repository. Default: TypeScript files. */
export function sourceFiles(folder: string, extensions = /\.ts$/): string[] {
    return readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
        .map((file) => path.posix.join(folder, file))
        .filter((file) => extensions.test(file));
}

/** Files of this repository that a file imports, including `import type`, `export from` and `import()`. */
export function importsOf(file: string): string[] {
    const text = readFileSync(path.join(root, file), "utf8");
    const code = text.replaceAll(/^\s*(\/\/|\/?\*).*$/gm, "");
    return [...code.matchAll(/(?:^|[\s;(])(?:from |import |import\()"(\.[^"\n]+)"/g)].map(([, specifier = ""]) =>
        path.posix.join(path.posix.dirname(file), specifier).replace(/\.js$/, ".ts")
    );
}

/** The groups of files that import each other: the strongly connected components of more than one node (Tarjan). */
export function circlesOf(graph: ReadonlyMap<string, readonly string[]>): string[][] {
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

export type FolderSize = {
    folder: string;
    files: number;
    /** Median file size. Unit: lines. */
    median: number;
    largest: { file: string; lines: number };
};

/** Sizes of each folder, including nested ones, from the number of lines in each file. */
export function folderSizes(lines: ReadonlyMap<string, number>): FolderSize[] {
    const folders = new Map<string, string[]>();
    for (const file of lines.keys()) {
        const [top = "", room, ...rest] = file.split("/");
        const names = rest.length === 0 ? [top] : [top, `${top}/${room}`];
        for (const name of names) folders.set(name, [...(folders.get(name) ?? []), file]);
    }
    return [...folders].sort().map(([folder, files]) => {
        const sorted = files.toSorted((a, b) => lines.get(a)! - lines.get(b)!);
        const [low, high] = [sorted[(sorted.length - 1) >> 1]!, sorted[sorted.length >> 1]!];
        const file = sorted.at(-1)!;
        const median = (lines.get(low)! + lines.get(high)!) / 2;
        return { folder, files: files.length, median, largest: { file, lines: lines.get(file)! } };
    });
}

/** Prints import circles, and each folder's number of files, median and largest file, as a Markdown table. */
function main(): void {
    const graph = new Map(
        ["plugin", "src", "bench", "test"]
            .flatMap((folder) => sourceFiles(folder))
            .map((file) => [file, importsOf(file)])
    );
    const circles = circlesOf(graph);
    console.log(`Import circles: ${circles.length} (${circles.flat().length} of ${graph.size} TypeScript files)`);
    for (const circle of circles) console.log(`- ${circle.join(", ")}`);
    const files = ["plugin", "src", "bench", "native", "test", "train"]
        .flatMap((folder) => sourceFiles(folder, folder === "train" ? /\.py$/ : /\.(ts|mjs|cpp|h|cu|cuh)$/))
        .filter((file) => !file.startsWith("native/build/"));
    const countLines = (file: string) => readFileSync(path.join(root, file), "utf8").split("\n").length - 1;
    console.log("\n| folder | files | median lines | largest | |\n| --- | --- | --- | --- | --- |");
    for (const { folder, files: count, median, largest } of folderSizes(new Map(files.map((f) => [f, countLines(f)]))))
        console.log(`| \`${folder}/\` | ${count} | ${Math.round(median)} | ${largest.lines} | \`${largest.file}\` |`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main();
