// Collects the coverage of one process, as `NODE_V8_COVERAGE` does. That also writes what every module of node_modules
// did and all source maps, 4 MB a process, which takes longer than many a test.

import { mkdirSync, writeFileSync } from "node:fs";
import inspector, { type Profiler } from "node:inspector";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { isMainThread, threadId } from "node:worker_threads";
import { repositoryRoot } from "../helpers/repository.js";

/** A thread that is terminated has no exit event, so threads write in between too. Unit: milliseconds. */
const threadInterval = 200;

const folder = process.env.ARMT_COVERAGE;
// node-llama-cpp tries its library in a process that runs no code of this package
const isOwn = !/testBindingBinary\.js$/.test(process.argv[1] ?? "");
if (folder !== undefined && isOwn) collect(folder);

function collect(folder: string): void {
    const covered = ["plugin", "src"].map((name) => `${pathToFileURL(path.join(repositoryRoot, "dist", name))}/`);
    const session = new inspector.Session();
    session.connect();
    session.post("Profiler.enable");
    session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
    let written = 0;
    const write = () => {
        // the callback runs before `post` returns; each report has what ran since the last
        session.post("Profiler.takePreciseCoverage", (error, report?: Profiler.TakePreciseCoverageReturnType) => {
            if (error !== null) throw error;
            const result = report!.result.filter(({ url }) => covered.some((prefix) => url.startsWith(prefix)));
            if (result.length === 0) return;
            mkdirSync(folder, { recursive: true });
            const name = `coverage-${process.pid}-${Date.now()}-${isMainThread ? 0 : threadId}-${written++}.json`;
            writeFileSync(path.join(folder, name), JSON.stringify({ result }));
        });
    };
    process.on("exit", write);
    if (!isMainThread) setInterval(write, threadInterval).unref();
}
