#!/usr/bin/env node
// `npm run test:fuzz [inputs] [first]`: changes model files and saved states at random and gives them to libllama. No
// state may end the process. A model file may only if this package refuses it before libllama reads it.

import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { installedVariant, packageRoot, resolveLayout } from "./build.mjs";
import { compile, environment, findAccepted, folder, outputFolder } from "./fuzz/program.mjs";

const [count = "20000", first = "0"] = process.argv.slice(2);
const layout = resolveLayout(packageRoot, {}, installedVariant(packageRoot));

/**
 * @param {string} name
 * @param {string} program
 * @returns {{line: string, inputs: string[]}} the last line of the output, and the files that ended the process
 */
function run(name, program) {
    const kept = path.join(outputFolder(layout), name);
    fs.rmSync(kept, { recursive: true, force: true });
    fs.mkdirSync(kept);
    const output = execFileSync(program, [path.join(folder, "corpus", name), first, count, kept], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
        env: environment(layout)
    });
    return { line: output.trim(), inputs: fs.readdirSync(kept).map((file) => path.join(kept, file)) };
}

const states = run("state", compile(layout, ["fuzz-state", "driver", "harness"], []));
process.stdout.write(`states: ${states.line}\n`);
const bad = [...states.inputs];
for (const { name, title, parts } of /** @type {const} */ ([
    { name: "model", title: "model files", parts: ["fuzz-model", "driver", "harness", "gguf-mutator"] },
    { name: "shapes", title: "models of other shapes", parts: ["fuzz-shapes", "driver", "harness", "gguf-builder"] }
])) {
    const program = compile(layout, parts, []);
    const { line, inputs } = run(name, program);
    const reached = await findAccepted(layout, name, program, inputs);
    process.stdout.write(`${title}: ${line}, ${reached.length} of them are not refused before\n`);
    bad.push(...reached);
}
for (const input of bad) process.stdout.write(`ends the process: ${input}\n`);
process.exitCode = bad.length === 0 ? 0 : 1;
