// `npm test`: runs ava with the arguments given, then reports the coverage of all its processes.

import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import path from "node:path";
import { repositoryRoot } from "../helpers/repository.js";

const folder = path.join(repositoryRoot, "coverage", "tmp");
rmSync(folder, { recursive: true, force: true });

function run(script: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): number {
    const { status } = spawnSync(process.execPath, [path.join(repositoryRoot, "node_modules", script), ...args], {
        cwd: repositoryRoot,
        stdio: "inherit",
        env: { ...process.env, ...env }
    });
    return status ?? 1;
}

const collect = new URL("collect.js", import.meta.url).href;
const tests = run("ava/entrypoints/cli.mjs", process.argv.slice(2), {
    ARMT_COVERAGE: folder,
    NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ""} --import=${collect}`.trim()
});
const coverage = run("c8/bin/c8.js", ["report"]);
process.exitCode = tests || coverage;
