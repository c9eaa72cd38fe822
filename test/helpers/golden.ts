import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { ExecutionContext } from "ava";
import { openSafetensors } from "../../src/safetensors/reader.js";
import { decodeNumbers } from "./decode-numbers.js";

/** Outputs of the authors' code for one tiny checkpoint. */
export type Golden = {
    /** The checkpoint's folder. */
    folder: string;
    ids: number[];
    /** [n, V] */
    logits: Float64Array;
    /** 24 greedy tokens after the prompt; the last segment grows. */
    generated: number[];
    /** A [K, D] (or [h, K/h, D/h]) and z of each layer, the last segment written too. */
    memories: { a: Float64Array; z: Float64Array }[];
};

/** The golden folders of bases that are supported. */
export const goldenNames = [
    "llama-gqa",
    "llama-mha-tied-nocorr",
    "v1-normalized",
    "v1-heads-gating",
    "qwen2-bias",
    "gpt2"
] as const;

const repositoryRoot = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..", "..", "..");

function goldenFolder(name: string): string {
    return path.join(process.env.ARMT_GOLDEN ?? path.resolve(repositoryRoot, "..", "shared", "golden"), name);
}

/** Reads a golden folder. Where it is absent the test passes with a message, and `undefined` comes back. */
export async function goldenOrSkip(t: ExecutionContext, name: string): Promise<Golden | undefined> {
    const folder = goldenFolder(name);
    if (existsSync(folder)) return readGolden(folder);
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
        generated: [...(await read("generated"))]
    };
    await file.close();
    return golden;
}
