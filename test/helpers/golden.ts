import path from "node:path";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { decodeNumbers } from "./decode-numbers.js";
import { repositoryRoot } from "./repository.js";

/** A tiny checkpoint with random weights and the outputs of other code (`test/golden/README.md` says which). */
export type Golden = {
    /** The checkpoint's folder. */
    folder: string;
    ids: number[];
    /** [n, V] */
    logits: Float64Array;
    /** 24 greedy tokens after the prompt, while the last segment grows. Only the authors' folders have them. */
    generated: number[];
    /** A [K, D] (or [h, K/h, D/h]) and z of each layer, after the last segment is written. */
    memories: { a: Float64Array; z: Float64Array }[];
};

const goldenRoot = path.join(repositoryRoot, "test", "golden");

/** Folders in `test/golden/authors`: outputs of the authors' code. */
export const authorsGoldenNames = [
    "llama-gqa",
    "llama-mha-tied-nocorr",
    "qwen2-bias",
    "v1-heads-gating",
    "v1-normalized"
] as const;

/** Reads outputs of the authors' code. Throws if the folder is missing. */
export function readAuthorsGolden(name: (typeof authorsGoldenNames)[number]): Promise<Golden> {
    return readGolden(path.join(goldenRoot, "authors", name));
}

/** Folders in `test/golden` that `make.py` made: transformers computes the layers, `make.py` the memory. */
export const madeGoldenNames = [
    "gemma3_text",
    "gemma3_window",
    "gpt2",
    "gpt_neox",
    "phi3",
    "qwen3",
    "sink",
    "window",
    "window_sink"
] as const;

/** Reads outputs of transformers' layers. Throws if the folder is missing. */
export function readMadeGolden(name: (typeof madeGoldenNames)[number]): Promise<Golden> {
    return readGolden(path.join(goldenRoot, name));
}

/** All golden folders, each with the code that computed its outputs, as words for a title. */
export const goldenCases: readonly { name: string; source: string; read: () => Promise<Golden> }[] = [
    ...authorsGoldenNames.map((name) => ({ name, source: "the authors' code", read: () => readAuthorsGolden(name) })),
    ...madeGoldenNames.map((name) => ({ name, source: "transformers' layers", read: () => readMadeGolden(name) }))
];

/** Folders of variants that `make_variants.py` computed with NumPy. `reference.ts` does not compute them. */
export const variantGoldenNames = [
    "inner",
    "inner_window",
    "inner_window_sink",
    "causal_window",
    "causal_window_sink",
    "disjoint",
    "wrap_layers",
    "gpt2_continued",
    "reread",
    "reread_gpt2"
] as const;

/** Variants of the authors' newer code. */
export const variantGoldenCases: typeof goldenCases = variantGoldenNames.map((name) => ({
    name,
    source: "NumPy",
    read: () => readVariantGolden(name)
}));

/** Reads outputs of NumPy. Throws if the folder is missing. */
export function readVariantGolden(name: (typeof variantGoldenNames)[number]): Promise<Golden> {
    return readGolden(path.join(goldenRoot, name));
}

/** Folders of plain RMT, whose only memory is a state. NumPy computed them. */
export const recurrentGoldenNames = ["rmt", "rmt_gpt2"] as const;

/** Reads outputs of plain RMT; the state is the only memory's A, [M, D]. Throws if the folder is missing. */
export function readRecurrentGolden(name: (typeof recurrentGoldenNames)[number]): Promise<Golden> {
    return readGolden(path.join(goldenRoot, name));
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
