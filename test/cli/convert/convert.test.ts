import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { makeTinyCheckpoint } from "../../../src/tiny/checkpoint.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const main = fileURLToPath(new URL("../../../src/cli/main.js", import.meta.url));
const armt = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });

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
