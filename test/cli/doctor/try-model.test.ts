import { writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import test from "ava";
import { tryModel, tryModelApart } from "../../../src/cli/doctor/try-model.js";
import { temporaryFolder } from "../../helpers/temporary.js";

test("the included model answers on the CPU, in this process and apart", async (t) => {
    t.is(await tryModel(false), undefined);
    t.is(await tryModelApart(false), undefined);
});

test("a variant that does not run is named with the reason", async (t) => {
    const problem = await tryModelApart("metal");
    if (process.platform === "darwin" && process.arch === "arm64") t.is(problem, undefined);
    else t.regex(problem ?? "", /^runs with (the CPU|CUDA|Vulkan) instead$/);
});

test("a variant whose driver crashes ends its own process alone", async (t) => {
    const crash = path.join(temporaryFolder(t), "crash.mjs");
    writeFileSync(crash, 'process.kill(process.pid, "SIGSEGV");');
    const NODE_OPTIONS = `--import=${pathToFileURL(crash).href}`;
    const problem = await tryModelApart(false, { ...process.env, NODE_OPTIONS });
    t.is(problem, "ends its process with SIGSEGV; check the GPU's driver");
});
