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

/** @param {string} name */
const programOf = (name) => path.join(buildDir, `fuzz-${name}`);

/**
 * @param {string} name
 * @returns the last count that libFuzzer printed, and the inputs that ended the process
 */
async function run(name) {
    const found = path.join(outputFolder(layout), `${name}-corpus`);
    const kept = path.join(outputFolder(layout), `${name}-ends`);
    fs.rmSync(kept, { recursive: true, force: true });
    for (const dir of [found, kept]) fs.mkdirSync(dir, { recursive: true });
    const options = [
        `-max_total_time=${seconds}`,
        // one that ends the process is kept, and the others follow
        ...["-fork=1", "-ignore_crashes=1", "-ignore_ooms=1", "-ignore_timeouts=1"],
        // a slow input is none of them: other programs may keep the cores busy
        ...["-timeout=20", "-report_slow_units=20", "-rss_limit_mb=6144", "-max_len=16384"],
        `-artifact_prefix=${kept}/`
    ];
    const child = spawn(programOf(name), [...options, found, path.join(folder, "corpus", name)], {
        stdio: ["ignore", "ignore", "pipe"],
        env: {
            ...environment(layout),
            ASAN_OPTIONS: "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=6144",
            UBSAN_OPTIONS: "print_stacktrace=1"
        }
    });
    let last = "";
    for await (const line of createInterface(child.stderr)) if (/^#\d+: cov:/.test(line)) last = line;
    if (child.exitCode === null) await once(child, "exit");
    if (last === "") throw new Error(`fuzz-${name} ended with ${child.exitCode} before it counted anything`);
    return { last, inputs: fs.readdirSync(kept).map((file) => path.join(kept, file)) };
}

compileTargets();
let ends = 0;
for (const name of targets) {
    const { last, inputs } = await run(name);
    const bad = name === "state" ? inputs : await findAccepted(layout, name, programOf(name), inputs);
    process.stdout.write(`${name}: ${last}; ${inputs.length} inputs ended the process\n`);
    for (const input of bad) process.stdout.write(`ends the process and is not refused before: ${input}\n`);
    ends += bad.length;
}
process.exitCode = ends === 0 ? 0 : 1;
