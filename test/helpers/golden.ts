import { copyFileSync, existsSync, readFileSync } from "node:fs";
import path from "node:path";
import type { ExecutionContext } from "ava";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { type TensorData, writeSafetensors } from "../../src/formats/safetensors/writer.js";
import { decodeNumbers } from "./decode-numbers.js";
import { repositoryRoot } from "./repository.js";
import { temporaryFolder } from "./temporary.js";

/** Outputs of the authors' code for one tiny checkpoint. */
export type Golden = {
    /** The checkpoint's folder. */
    folder: string;
    ids: number[];
    /** [n, V] */
    logits: Float64Array;
    /** 24 greedy tokens after the prompt; the last segment grows. Empty in the folders of test/golden. */
    generated: number[];
    /** A [K, D] (or [h, K/h, D/h]) and z of each layer, the last segment written too. */
    memories: { a: Float64Array; z: Float64Array }[];
};

/** Golden folders in test/golden, of random models whose layers transformers computed; see make.py there. */
export const madeGoldenNames = [
    "gemma3_text",
    "gpt2",
    "gpt_neox",
    "phi3",
    "qwen3",
    "sink",
    "window",
    "window_sink"
] as const;

export function readMadeGolden(name: (typeof madeGoldenNames)[number]): Promise<Golden> {
    return readGolden(path.join(repositoryRoot, "test", "golden", name));
}

/** The golden folders of bases that are supported. */
export const goldenNames = [
    "llama-gqa",
    "llama-mha-tied-nocorr",
    "v1-normalized",
    "v1-heads-gating",
    "qwen2-bias",
    "gpt2"
] as const;

function goldenFolder(name: string): string {
    return path.join(process.env.ARMT_GOLDEN ?? path.resolve(repositoryRoot, "..", "shared", "golden"), name);
}

/** Reads a golden folder. Where it is absent the test passes with a message, and `undefined` comes back. */
export async function goldenOrSkip(t: ExecutionContext, name: string): Promise<Golden | undefined> {
    const folder = goldenFolder(name);
    if (existsSync(folder)) return readGolden(name === "gpt2" ? await withGpt2Biases(t, folder) : folder);
    t.log(`skipped: no folder ${name} in ../shared/golden (ARMT_GOLDEN names another place)`);
    t.pass();
    return undefined;
}

async function readGolden(folder: string): Promise<Golden> {
    const file = await openSafetensors(path.join(folder, "golden.safetensors"));
    const read = async (name: string) => decodeNumbers(file.tensors.get(name)!.dtype, await file.read(name));
    const memories: Golden["memories"] = [];
    for (let il = 0; file.tensors.has(`W_mem.${il}`); il++)
        memories.push({ a: await read(`W_mem.${il}`), z: await read(`z.${il}`) });
    const golden = {
        folder,
        memories,
        ids: [...(await read("input_ids"))],
        logits: await read("logits"),
        generated: file.tensors.has("generated") ? [...(await read("generated"))] : []
    };
    await file.close();
    return golden;
}

/**
 * The GPT-2 checkpoint was saved without `attn.c_attn.bias`, whose name ends like that of the buffer `attn.bias`. Its values were random, and the logits
 * tell them: they are fitted to the first two of the prompt's five segments, with a residual of 1e-5. The other segments, the memories and the
 * generated tokens are what this golden folder tests.
 */
async function withGpt2Biases(t: ExecutionContext, folder: string): Promise<string> {
    const source = await openSafetensors(path.join(folder, "model.safetensors"));
    const prefix = "memory_cell.model.transformer.h";
    if (source.tensors.has(`${prefix}.0.layer.attn.c_attn.bias`)) {
        await source.close();
        return folder;
    }
    const tensors: TensorData[] = [];
    for (const [name, { dtype, shape }] of source.tensors)
        tensors.push({ name, dtype, shape, data: only(await source.read(name)) });
    await source.close();
    const fixture = path.join(repositoryRoot, "test", "fixtures", "golden-gpt2-bias.json");
    const { layers } = JSON.parse(readFileSync(fixture, "utf8")) as { layers: number[][] };
    for (const [il, bias] of layers.entries()) {
        const name = `${prefix}.${il}.layer.attn.c_attn.bias`;
        tensors.push({ name, dtype: "F32", shape: [bias.length], data: only(Float32Array.from(bias)) });
    }
    const copy = temporaryFolder(t);
    await writeSafetensors(path.join(copy, "model.safetensors"), tensors, { format: "pt" });
    for (const file of ["config.json", "armt_config.json", "golden.safetensors"])
        copyFileSync(path.join(folder, file), path.join(copy, file));
    return copy;
}

async function* only(data: ArrayBufferView): AsyncGenerator<ArrayBufferView> {
    yield data;
}
