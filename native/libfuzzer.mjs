#!/usr/bin/env node
// `npm run test:libfuzzer [seconds] [target ...]`: fuzzes libllama with libFuzzer, AddressSanitizer and
// UndefinedBehaviorSanitizer, each target for so many seconds. No state may end the process. A model file may only if
// this package refuses it before libllama reads it. Needs Clang, and minutes to compile. Inputs that reach new code are
// kept in native/build/fuzz, and later runs begin with them.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { findTools, installedVariant, packageRoot, resolveLayout } from "./build.mjs";
import { environment, findAccepted, folder, outputFolder } from "./fuzz/program.mjs";

const [seconds = "60", ...wanted] = process.argv.slice(2);
const known = /** @type {const} */ (["state", "model", "shapes"]);
const targets = wanted.length > 0 ? known.filter((name) => wanted.includes(name)) : known;
if (targets.length < wanted.length) throw new Error(`the targets are ${known.join(", ")}`);
const layout = resolveLayout(packageRoot, {}, installedVariant(packageRoot));
const buildDir = path.join(layout.buildDir, "cmake-fuzz");

function findClang() {
    const versions = Array.from({ length: 20 }, (_, i) => `clang++-${30 - i}`);
    for (const name of ["clang++", ...versions]) {
        try {
            execFileSync(name, ["--version"], { stdio: "ignore" });
            return name;
        } catch {
            // the next one
        }
    }
    throw new Error("Clang is missing, which libFuzzer comes with; install it (Debian: clang)");
}

function compileTargets() {
    const { cmake, ninja, ccache } = findTools(process.env);
    const definitions = {
        CMAKE_CXX_COMPILER: findClang(),
        CMAKE_CXX_COMPILER_LAUNCHER: ccache ?? "",
        ARMT_LLAMA_DIR: layout.tree,
        ARMT_PREBUILT_DIR: layout.prebuiltDir,
        ARMT_LLAMA_VERSION: layout.suffix
    };
    const args = Object.entries(definitions).map(([key, value]) => `-D${key}=${value}`);
    const generator = ninja == null ? [] : ["-G", "Ninja"];
    execFileSync(cmake.path, ["-S", folder, "-B", buildDir, ...generator, ...args], { stdio: "inherit" });
    const jobs = String(os.availableParallelism());
    const programs = targets.map((name) => `fuzz-${name}`);
    execFileSync(cmake.path, ["--build", buildDir, "-j", jobs, "--target", ...programs], { stdio: "inherit" });
}

const asanOptions = [
    "detect_leaks=0",
    "allocator_may_return_null=1",
    "max_allocation_size_mb=6144",
    // memory that is new for each input has to be cleared by the system
    "quarantine_size_mb=32"
];

/** @param {string} name */
const programOf = (name) => path.join(buildDir, `fuzz-${name}`);

/**
 * Runs a target until the time is over. An input that ends the process is kept, and another process continues without
 * it: libFuzzer's own way, -fork=1, starts a process for a few inputs, which takes longer than they do.
 * @param {string} name
 * @returns executions, edges reached, and the inputs that ended the process
 */
async function run(name) {
    const found = path.join(outputFolder(layout), `${name}-corpus`);
    const kept = path.join(outputFolder(layout), `${name}-ends`);
    fs.rmSync(kept, { recursive: true, force: true });
    for (const dir of [found, kept]) fs.mkdirSync(dir, { recursive: true });
    const options = [
        // other programs may keep the cores busy, so a slow input is not one that ends the process
        ...["-timeout=60", "-report_slow_units=60", "-rss_limit_mb=6144", "-max_len=16384"],
        // its weighing of inputs would take a fifth of the time
        "-entropic=0",
        `-artifact_prefix=${kept}/`
    ];
    const end = performance.now() + 1000 * Number(seconds);
    let executions = 0;
    let edges = 0;
    for (let left = Number(seconds); left > 0; left = Math.ceil((end - performance.now()) / 1000)) {
        const inputs = [found, path.join(folder, "corpus", name)];
        const child = spawn(programOf(name), [...options, `-max_total_time=${left}`, ...inputs], {
            stdio: ["ignore", "ignore", "pipe"],
            env: {
                ...environment(layout),
                ASAN_OPTIONS: asanOptions.join(":"),
                UBSAN_OPTIONS: "print_stacktrace=1"
            }
        });
        let counted = 0;
        for await (const line of createInterface(child.stderr)) {
            const counts = /^#(\d+)\t.* cov: (\d+)/.exec(line);
            if (counts === null) continue;
            counted = Number(counts[1]);
            edges = Math.max(edges, Number(counts[2]));
        }
        if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
        if (counted === 0) throw new Error(`fuzz-${name} ended with ${child.exitCode} before it counted anything`);
        executions += counted;
    }
    return { executions, edges, inputs: fs.readdirSync(kept).map((file) => path.join(kept, file)) };
}

compileTargets();
let ends = 0;
for (const name of targets) {
    const { executions, edges, inputs } = await run(name);
    const bad = name === "state" ? inputs : await findAccepted(layout, name, programOf(name), inputs);
    process.stdout.write(
        `${name}: ${executions} executions, ${edges} edges reached, ${inputs.length} inputs ended the process\n`
    );
    for (const input of bad) process.stdout.write(`ends the process and is not refused before: ${input}\n`);
    ends += bad.length;
}
process.exitCode = ends === 0 ? 0 : 1;
