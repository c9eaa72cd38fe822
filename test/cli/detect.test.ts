import { existsSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import type { Detection } from "../../src/detect/compare.js";
import { validateArmtModel } from "../../src/formats/gguf/armt-model.js";
import { runArmt } from "../helpers/armt-command.js";
import { makeTiny } from "../helpers/tiny-checkpoint.js";

test("detect and convert --detect measure a checkpoint that says nothing of its memory", async (t) => {
    const folder = await makeTiny(t, { layers: 2, segmentSize: 32, tokenizer: true, vocab: 288 });
    const text = path.join(folder, "..", "text.txt");
    writeFileSync(text, Array.from({ length: 60 }, (_, i) => `Sentence ${i} of ${i * i}.`).join(" "));
    rmSync(path.join(folder, "armt_config.json"));
    const output = path.join(folder, "..", "model.gguf");
    const common = ["--threads", "1", "--json", "--text", text];

    const both = await runArmt(["detect", folder, ...common, "--segment-size", "32,64"]);
    t.is(both.code, 0, both.stderr);
    const { results } = JSON.parse(both.stdout) as Detection;
    t.is(results.length, 7);
    t.deepEqual([...new Set(results.map(({ variant }) => variant.segmentSize))].sort(), [32, 64]);
    t.true(results.every(({ loss }, i) => i === 0 || loss >= results[i - 1]!.loss));

    // the keys are given, so nothing is left that must be clear
    const given = ["--segment-size", "32", "--no-normalize-keys"];
    const converted = await runArmt(["convert", folder, output, ...given, "--detect", text]);
    t.is(converted.code, 0, converted.stderr);
    t.regex(converted.stderr, /^Clear: --segment-size 32 --no-normalize-keys/m);
    t.like((await validateArmtModel(output)).memory, { normalizeKeys: false });
    t.is((await validateArmtModel(output)).segmentSize, 32);

    rmSync(output);
    writeFileSync(text, "short");
    const short = await runArmt(["convert", folder, output, "--segment-size", "32", "--detect", text]);
    t.is(short.code, 1);
    t.regex(short.stderr, /the text has \d+ tokens; comparing takes at least 49, more than one segment/);
    t.false(existsSync(output));
    t.is((await runArmt(["detect", folder, ...common, "--segment-size", "many"])).code, 2);
});
