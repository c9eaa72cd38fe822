#!/usr/bin/env node
// Runs the engine's tests with AddressSanitizer in libllama, and with UndefinedBehaviorSanitizer too in the engine:
// `npm run test:sanitize`.
// node and the prebuilt libraries are not instrumented, so leaks, which they have too, are not looked for.

import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { build, findTools, packageRoot } from "./build.mjs";

process.env.ARMT_SANITIZE = "1";

/** @param {string} name library of the compiler */
function findRuntime(name) {
    const file = execFileSync(findTools(process.env).compiler.path, [`-print-file-name=${name}`], {
        encoding: "utf8"
    }).trim();
    if (!path.isAbsolute(file))
        throw new Error(`${name} is missing; install the compiler's sanitizers (Debian: libasan8, libubsan1)`);
    return fs.realpathSync(file);
}

try {
    const runtimes = ["libasan.so", "libubsan.so"].map(findRuntime);
    await build({ onStep: (line) => process.stdout.write(`sanitize: ${line}\n`) });
    // Freed blocks stay in quarantine, so growth means nothing here. A lie about a size makes the sanitizer end the
    // process, where the allocation would fail.
    const left = ["growth", "lying-server"].map((name) => `!dist/test/engine/${name}.test.js`);
    const all = ["dist/test/engine/**/*.js", ...left, "dist/test/memory/snapshot*.test.js"];
    const tests = process.argv.length > 2 ? process.argv.slice(2) : all;
    const { status } = spawnSync(
        process.execPath,
        [path.join(packageRoot, "node_modules/ava/entrypoints/cli.mjs"), "--timeout=10m", ...tests],
        {
            cwd: packageRoot,
            stdio: "inherit",
            env: {
                ...process.env,
                LD_PRELOAD: runtimes.join(":"),
                ASAN_OPTIONS: "detect_leaks=0:abort_on_error=1",
                UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1"
            }
        }
    );
    process.exitCode = status ?? 1;
} catch (error) {
    process.stderr.write(`sanitize: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
}
