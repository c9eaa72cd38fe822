#!/usr/bin/env node
// Runs the engine's tests on a libllama whose engine counts the lines that run, and prints the share of each file:
// `npm run coverage:native`. Needs GCC, whose gcov reads the counts. Takes test files as arguments.

import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { build, findTools, packageRoot, resolveLayout } from "./build.mjs";

process.env.ARMT_COVERAGE = "1";

const engine = path.join(packageRoot, "native", "engine");

/**
 * @param {string} folder
 * @param {string} extension
 * @returns {string[]}
 */
function findFiles(folder, extension) {
    const entries = fs.readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries
        .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
        .map((entry) => path.join(entry.parentPath, entry.name));
}

/**
 * A header's lines are compiled into several objects, so a line counts as run if it ran in one of them.
 * @param {string[]} dataFiles
 * @returns {Map<string, Map<number, boolean>>} by file of the engine, by line: whether it ran
 */
function readCounts(dataFiles) {
    /** @type {Map<string, Map<number, boolean>>} */
    const counts = new Map();
    const { status, stdout, stderr } = spawnSync(
        process.env.GCOV ?? "gcov",
        ["--json-format", "--stdout", ...dataFiles],
        { encoding: "utf8", maxBuffer: 2 ** 30 }
    );
    if (status !== 0) throw new Error(`gcov failed: ${stderr ?? "it is not installed"}`);
    for (const report of stdout.split("\n").filter((line) => line !== "")) {
        for (const { file, lines } of JSON.parse(report).files) {
            if (path.dirname(file) !== engine) continue;
            const known = counts.get(file) ?? new Map();
            counts.set(file, known);
            for (const { line_number: line, count } of lines) known.set(line, count > 0 || known.get(line) === true);
        }
    }
    return counts;
}

/** @param {Map<string, Map<number, boolean>>} counts */
function printReport(counts) {
    let allRan = 0;
    let all = 0;
    /** @type {(name: string, ran: number, total: number) => void} */
    const print = (name, ran, total) =>
        void process.stdout.write(
            `${name.padEnd(24)} ${((100 * ran) / total).toFixed(1).padStart(5)} % of ${total} lines\n`
        );
    for (const [file, lines] of [...counts].sort()) {
        if (lines.size === 0) continue;
        const ran = [...lines.values()].filter((didRun) => didRun).length;
        print(path.basename(file), ran, lines.size);
        allRan += ran;
        all += lines.size;
    }
    print("native/engine", allRan, all);
}

try {
    if (findTools(process.env).compiler.version.includes("clang"))
        throw new Error("the compiler is Clang, whose counts gcov does not read; set CXX=g++");
    await build({ onStep: (line) => process.stdout.write(`coverage: ${line}\n`) });
    const { cmakeDir } = resolveLayout(packageRoot);
    for (const file of findFiles(cmakeDir, ".gcda")) fs.rmSync(file);
    const all = ["dist/test/engine/**/*.js", "!dist/test/engine/growth.test.js", "dist/test/memory/snapshot*.test.js"];
    const tests = process.argv.length > 2 ? process.argv.slice(2) : all;
    const { status } = spawnSync(
        process.execPath,
        [path.join(packageRoot, "node_modules/ava/entrypoints/cli.mjs"), "--timeout=10m", ...tests],
        { cwd: packageRoot, stdio: "inherit" }
    );
    const dataFiles = findFiles(cmakeDir, ".gcda");
    if (dataFiles.length === 0) throw new Error("the tests left no counts");
    printReport(readCounts(dataFiles));
    process.exitCode = status ?? 1;
} catch (error) {
    process.stderr.write(`coverage: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
}
