import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { runArmt } from "../helpers/armt-command.js";
import { scaleWeights } from "../helpers/rewrite-checkpoint.js";
import { temporaryFolder } from "../helpers/temporary.js";

test("a text in which the memory grows without bound ends with the reason, and no file", async (t) => {
    const folder = temporaryFolder(t);
    const checkpoint = path.join(folder, "checkpoint");
    const model = path.join(folder, "tiny.gguf");
    await makeTinyCheckpoint(checkpoint, { layers: 3, useDenom: false, normalizeKeys: false });
    await scaleWeights(checkpoint, /\.1\.W_mk\.weight$/, 3);
    await convertCheckpoint({ checkpoint, output: model, outType: "f32" });
    const text = path.join(folder, "book.txt");
    const memory = path.join(folder, "book.armt");
    const start = "The lamp is in the hall.\n";
    const read = () => runArmt(["read", text, "-m", model, "-o", memory, "--threads", "1"]);
    const reason = /^armt: the memory of layer [12] is no longer finite after \d+ tokens: [^\n]*\n$/;

    writeFileSync(text, start.repeat(400));
    const files = readdirSync(folder);
    const failed = await read();
    t.is(failed.code, 1);
    t.regex(failed.stderr, reason);
    t.is(failed.stdout, "");
    t.deepEqual(readdirSync(folder), files);

    // a memory of the text's beginning stays as it was
    writeFileSync(text, start);
    t.is((await read()).code, 0);
    const before = readFileSync(memory);
    writeFileSync(text, start.repeat(400));
    t.regex((await runArmt(["read", text, "-m", model, "-o", memory, "--threads", "1", "--force"])).stderr, reason);
    t.deepEqual(readFileSync(memory), before);

    const run = await runArmt(["run", model, "-f", text, "-n", "3", "--threads", "1", "--no-cache"]);
    t.is(run.code, 1);
    t.regex(run.stderr, reason);
    t.true(existsSync(memory));
});
