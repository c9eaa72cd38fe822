import { spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { recallModelPath } from "../../../src/model/embedded-model.js";
import { makeTinyCheckpoint } from "../../../src/tiny/checkpoint.js";
import { armtScript } from "../../helpers/armt-command.js";
import { writePlainModel } from "../../helpers/plain-model.js";
import { rewriteCheckpoint } from "../../helpers/rewrite-checkpoint.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const armt = (...args: string[]) => spawnSync(process.execPath, [armtScript, ...args], { encoding: "utf8" });

test("convert and inspect work from the command line", async (t) => {
    const folder = temporaryFolder(t);
    const [checkpoint, output] = [path.join(folder, "checkpoint"), path.join(folder, "model.gguf")];
    await makeTinyCheckpoint(checkpoint, { layers: 1, hidden: 32 });
    const converted = armt("convert", checkpoint, output, "--outtype", "f32", "--no-correction", "--segment-size", "9");
    t.like(converted, { status: 0, stdout: "", stderr: "" });
    const inspected = JSON.parse(armt("inspect", output, "--json").stdout);
    t.is(inspected.armt.segmentSize, 9);
    t.false(inspected.armt.memory.correction);
    t.regex(armt("inspect", output, "--tensors").stdout, /blk\.0\.memory_q\.weight +F32/);
});

test("failures exit with 1 and one line, wrong usage with 2", (t) => {
    const missing = armt("inspect", path.join(temporaryFolder(t), "none.gguf"));
    t.is(missing.status, 1);
    t.is(missing.stdout, "");
    t.regex(missing.stderr, /^armt: cannot read ".*none\.gguf": no such file or folder\n$/);
    t.is(armt("convert", "only-one").status, 2);
    t.is(armt("convert", "a", "b", "--outtype", "q3").status, 2);
});

test("a checkpoint or model file without a memory says so before it asks for flags", async (t) => {
    const folder = temporaryFolder(t);
    const [checkpoint, output, plain] = ["checkpoint", "model.gguf", "plain.gguf"].map((name) =>
        path.join(folder, name)
    );
    await makeTinyCheckpoint(checkpoint!, { layers: 1, hidden: 32 });
    await rewriteCheckpoint(checkpoint!, (tensor) => (/\.memory$|W_m/.test(tensor.name) ? [] : [tensor]));
    rmSync(path.join(checkpoint!, "armt_config.json"));
    const converted = armt("convert", checkpoint!, output!);
    t.is(converted.status, 1);
    t.regex(
        converted.stderr,
        /^armt: "[^\n]*checkpoint" is a plain checkpoint without a memory; train one [^\n]*attach`\n$/
    );
    await writePlainModel(plain!);
    for (const args of [
        ["convert", plain!, output!],
        ["read", plain!, "-m", plain!, "-o", output!],
        ["logits", plain!, "--tokens", "[1]", "--out", output!],
        ["demo", "-m", plain!]
    ]) {
        const { status, stderr } = armt(...args.map((arg) => (arg === "[1]" ? writeIds(folder) : arg)));
        t.is(status, 1);
        t.regex(stderr, /^armt: "[^\n]*plain\.gguf" is a plain model without a memory; train one [^\n]*armt run`\n$/);
    }
    t.false(existsSync(output!));
    t.is(armt("run", plain!, "-p", "a", "-n", "1").status, 0);
    const memory = armt("convert", recallModelPath, output!);
    t.regex(memory.stderr, /is a model file with a memory already; run it/);
});

function writeIds(folder: string): string {
    const file = path.join(folder, "ids.json");
    writeFileSync(file, "[1]");
    return file;
}
