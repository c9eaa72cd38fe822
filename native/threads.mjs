#!/usr/bin/env node
// `npm run test:threads [rounds]`: one thread computes, and others ask for its state, cancel it, and create and free
// contexts, while ThreadSanitizer watches the engine. The rest of libllama is not instrumented, so ccache has it from the
// plain build.

import { execFileSync } from "node:child_process";
import path from "node:path";
import { build, packageRoot, resolveLayout } from "./build.mjs";
import { compile, environment, folder } from "./fuzz/program.mjs";

process.env.ARMT_THREADS = "1";

const [rounds = "200"] = process.argv.slice(2);
try {
    await build({ onStep: (line) => process.stdout.write(`threads: ${line}\n`) });
    const layout = resolveLayout(packageRoot);
    const program = compile(layout, ["threads", "harness"], ["-fsanitize=thread", "-g1"]);
    execFileSync(program, [path.join(folder, "model.gguf"), rounds], {
        stdio: "inherit",
        env: { ...environment(layout), TSAN_OPTIONS: "halt_on_error=1:second_deadlock_stack=1" }
    });
} catch (error) {
    process.stderr.write(`threads: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
}
