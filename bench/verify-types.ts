// `npm run bench:verify`: how much a model file differs from its checkpoint, by the type of its weights. The tolerances
// of `armt verify` are based on these results.

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { describeMachine } from "../src/bench/machine.js";
import { convertCheckpoint } from "../src/convert/convert.js";
import type { FamilyName } from "../src/convert/families.js";
import { convertQuantized } from "../src/convert/quantize/convert-quantized.js";
import { mixtures } from "../src/convert/quantize/mixtures.js";
import { makeTinyCheckpoint } from "../src/tiny/checkpoint.js";
import { writeAtomically } from "../src/util/atomic-file.js";
import { textTable } from "../src/util/table.js";
import { verifyModel } from "../src/verify/verify-model.js";

const args = await yargs(hideBin(process.argv))
    .usage("Compares model files of random weights with their checkpoints, for each family and type.")
    .options({
        layers: { type: "number", default: 8 },
        hidden: { type: "number", default: 256, describe: "A multiple of 256, which llama.cpp's mixtures need" },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .strict()
    .parse();

/** One family of each kind. Mistral and Qwen2 are left out, since they compute the same as LLaMA. */
const familyNames: readonly FamilyName[] = ["llama", "qwen3", "phi3", "gemma3_text", "gpt2", "gpt_neox"];
const types = ["f32", "f16", "bf16", ...mixtures] as const;

interface Row {
    readonly family: FamilyName;
    readonly dtype: "F32" | "BF16";
    readonly type: (typeof types)[number];
    /** Largest value over the segments, relative to the spread of the logits. */
    readonly relative: number;
    /** Largest value over the segments. Unit: nats. */
    readonly kl: number;
    /** Smallest value over the segments. */
    readonly top1: number;
    /** Largest value over the layers. */
    readonly memory: number;
}

async function measure(folder: string, family: FamilyName, dtype: Row["dtype"]): Promise<Row[]> {
    const checkpoint = path.join(folder, `${family}-${dtype}`);
    const { layers, hidden } = args;
    // Gemma needs separate RoPE parameters for its local layers
    const config = family === "gemma3_text" ? { rope_parameters: null } : {};
    const sizes = { heads: 8, vocab: 512, memTokens: 8, dMem: 32, tokenizer: false };
    await makeTinyCheckpoint(checkpoint, { family, dtype, layers, hidden, config, ...sizes });
    const rows: Row[] = [];
    for (const type of types) {
        const output = path.join(folder, "model.gguf");
        const options = { checkpoint, output, overwrite: true };
        if (type === "f32" || type === "f16" || type === "bf16") await convertCheckpoint({ ...options, outType: type });
        else await convertQuantized(options, type);
        const computing = { segments: 3, json: true, batchSize: 512, verify: false, tolerance: 1 };
        const { signal } = new AbortController();
        const { segments, memories } = await verifyModel({ model: output, against: checkpoint, ...computing }, signal);
        rows.push({
            family,
            dtype,
            type,
            relative: Math.max(...segments.map(({ relative }) => relative)),
            kl: Math.max(...segments.map(({ kl }) => kl)),
            top1: Math.min(...segments.map(({ top1 }) => top1)),
            memory: Math.max(...memories.map(({ a, z = 0 }) => Math.max(a, z)))
        });
        process.stderr.write(`${family} ${dtype} ${type}: ${rows.at(-1)!.relative.toExponential(1)}\n`);
    }
    await rm(checkpoint, { recursive: true });
    return rows;
}

const folder = await mkdtemp(path.join(os.tmpdir(), "armt-bench-verify-"));
try {
    const rows: Row[] = [];
    for (const family of familyNames)
        for (const dtype of ["F32", "BF16"] as const) rows.push(...(await measure(folder, family, dtype)));
    const lines = types.map((type) => {
        const own = rows.filter((row) => row.type === type);
        const worst = (key: "relative" | "memory" | "kl") => Math.max(...own.map((row) => row[key])).toExponential(1);
        return [type, worst("relative"), worst("memory"), worst("kl")];
    });
    process.stdout.write(textTable(["type", "relative", "memory", "KL (nats)"], lines));
    await mkdir(args.out, { recursive: true });
    const machine = await describeMachine();
    const result = { layers: args.layers, hidden: args.hidden, machine, rows };
    await writeAtomically(
        path.join(args.out, `verify-types-${new Date().toISOString().slice(0, 10)}.json`),
        {},
        (file) => file.write(Buffer.from(`${JSON.stringify(result, undefined, 1)}\n`))
    );
} finally {
    await rm(folder, { recursive: true, force: true });
}
