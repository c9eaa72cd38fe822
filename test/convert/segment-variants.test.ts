import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { decodeFloats } from "../../src/convert/float-decode.js";
import { quantizeModel } from "../../src/convert/quantize/quantize.js";
import { validateArmtModel } from "../../src/formats/gguf/armt-model.js";
import { describeGguf } from "../../src/formats/gguf/describe.js";
import { openGguf } from "../../src/formats/gguf/reader.js";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { runArmt } from "../helpers/armt-command.js";
import { temporaryFolder } from "../helpers/temporary.js";

async function make(t: ExecutionContext, options: TinyOptions): Promise<{ checkpoint: string; output: string }> {
    const folder = temporaryFolder(t);
    const [checkpoint, output] = [path.join(folder, "checkpoint"), path.join(folder, "model.gguf")];
    await makeTinyCheckpoint(checkpoint, { layers: 2, hidden: 32, memTokens: 4, ...options });
    return { checkpoint, output };
}

function edit(checkpoint: string, file: string, values: Record<string, unknown>): void {
    const name = path.join(checkpoint, file);
    writeFileSync(name, JSON.stringify({ ...JSON.parse(readFileSync(name, "utf8")), ...values }));
}

test("the sink follows the memory tokens, and both variants are keys of format 2", async (t) => {
    const { checkpoint, output } = await make(t, { sink: true, slidingWindow: true });
    await convertCheckpoint({ checkpoint, output, outType: "f32" });
    t.like(await validateArmtModel(output), { sinkCount: 1, seesPreviousSegment: true });
    const file = await openGguf(output);
    const source = await openSafetensors(path.join(checkpoint, "model.safetensors"));
    t.teardown(() => Promise.all([file.close(), source.close()]));
    t.deepEqual(file.metadata.get("armt.format_version"), { type: "UINT32", value: 2 });
    t.deepEqual(file.metadata.get("armt.sink_count"), { type: "UINT32", value: 1 });
    t.deepEqual(file.metadata.get("armt.attention.previous_segment"), { type: "BOOL", value: true });
    t.deepEqual(file.tensors.get("memory_embd.weight")?.shape, [32, 5]);
    const rows = decodeFloats(await file.readTensor("memory_embd.weight"), "F32");
    t.deepEqual(rows.slice(0, 4 * 32), decodeFloats(await source.read("memory_cell.memory"), "F32"));
    t.deepEqual(rows.slice(4 * 32), decodeFloats(await source.read("memory_cell.sink"), "F32"));
    const text = (await describeGguf(output)).toText();
    t.regex(text, /sink +a learned row/);
    t.regex(text, /reaches into the previous segment's text/);
    await quantizeModel({ input: output, output: `${output}.q`, mixture: "q8_0" });
    t.like(await validateArmtModel(`${output}.q`), { sinkCount: 1, seesPreviousSegment: true });
});

test("a checkpoint without either is as it was, in format 1", async (t) => {
    const { checkpoint, output } = await make(t, {});
    await convertCheckpoint({ checkpoint, output, outType: "f32" });
    const file = await openGguf(output);
    t.teardown(() => file.close());
    t.deepEqual(file.metadata.get("armt.format_version"), { type: "UINT32", value: 1 });
    t.false([...file.metadata.keys()].some((key) => /sink|previous/.test(key)));
    t.deepEqual(file.tensors.get("memory_embd.weight")?.shape, [32, 4]);
});

test("the sink is known by its tensor, the window by the configuration or a flag", async (t) => {
    const { checkpoint, output } = await make(t, { sink: true });
    edit(checkpoint, "armt_config.json", { use_sink: null });
    const { code, stderr } = await runArmt(["convert", checkpoint, output, "--sliding-window"]);
    t.is(code, 0, stderr);
    t.like(await validateArmtModel(output), { sinkCount: 1, seesPreviousSegment: true });
    const refused = await runArmt(["convert", checkpoint, output, "--force", "--no-use-sink"]);
    t.is(refused.code, 1);
    t.regex(refused.stderr, /`use_sink` is false, but the checkpoint has the tensor "memory_cell\.sink"/);
});

const refused = test.macro({
    async exec(t: ExecutionContext, options: TinyOptions, message: RegExp, config: Record<string, unknown> = {}) {
        const { checkpoint, output } = await make(t, options);
        edit(checkpoint, "config.json", config);
        await t.throwsAsync(convertCheckpoint({ checkpoint, output, outType: "f32" }), { message });
    },
    title: (name) => `refused by name: ${name}`
});
test(
    "a sink with wrapped positions",
    refused,
    { family: "gpt2", sink: true, wrapPositions: true },
    /a sink row with `wrap_pos`/
);
test(
    "a window with learned positions",
    refused,
    { family: "gpt2", slidingWindow: true },
    /`sliding_window` is defined for base models with RoPE/
);
test(
    "a window that the base model's own cuts",
    refused,
    { family: "mistral", slidingWindow: true, segmentSize: 16 },
    /attends to 30 rows .* a segment has 36 with its memory tokens and the segment before/,
    { sliding_window: 30 }
);
test(
    "a sink for which there is no position left",
    refused,
    { family: "gpt2", sink: true, segmentSize: 124 },
    /has 128 positions, and a segment has 129 rows/
);
