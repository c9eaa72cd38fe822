import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { openSafetensors, type TensorInfo } from "../formats/safetensors/reader.js";
import type { ReadRange } from "../formats/tensor-range.js";
import { readJsonFile } from "../formats/text/read-json-file.js";
import { openTorch } from "../formats/torch/reader.js";
import { ArmtError, quote, systemErrorText } from "../util/errors.js";

/** An open file of tensors, in either format. */
export type TensorFile = {
    readonly path: string;
    readonly tensors: ReadonlyMap<string, TensorInfo>;
    read(name: string, range?: ReadRange): Promise<Buffer>;
    close(): Promise<void>;
};

type WeightFormat = {
    single: string;
    index: string;
    /** Suffixes of file names, the usual one first. */
    ends: readonly string[];
    open: (path: string) => Promise<TensorFile>;
};

/** Possible locations of the weights, in order of preference. */
const formats: readonly WeightFormat[] = [
    {
        single: "model.safetensors",
        index: "model.safetensors.index.json",
        ends: [".safetensors"],
        open: openSafetensors
    },
    {
        single: "pytorch_model.bin",
        index: "pytorch_model.bin.index.json",
        ends: [".bin", ".pt", ".pth", ".ckpt"],
        open: openTorch
    }
];

/** Maximum number of shards. Real checkpoints have fewer than 200. */
const MAX_SHARDS = 10_000;

/** Files that trainers save next to the weights: optimizers, schedules, random states, arguments, adapters' files. */
const trainingState =
    /^(?:optimizer|scheduler|scaler|sampler|rng_state|random_states|training_args|trainer|adapter_model|custom_checkpoint)|_optim_states|^golden\./;
const weightEnds = /\.(?:safetensors|bin|pt|pth|ckpt)$/;

/**
 * Opens all weight files of a checkpoint. In a folder, these are `model.safetensors`, `pytorch_model.bin`, the shards
 * of either one's index, or otherwise the only file that may contain weights.
 * @param location the folder, or the file with the weights or the index
 * @throws {ArmtError} if there is no candidate or more than one, a file is damaged, or an index and its shards disagree
 */
export async function openWeightFiles(location: string): Promise<TensorFile[]> {
    if (await isFile(location)) return openNamed(location);
    const folder = location;
    for (const { single, index, open } of formats) {
        const singlePath = path.join(folder, single);
        if (await exists(singlePath)) {
            await refuseAdapter(folder, singlePath);
            return [await open(singlePath)];
        }
        const indexPath = path.join(folder, index);
        if (await exists(indexPath)) return openShards(folder, indexPath, open);
    }
    const names = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
        throw new ArmtError(`cannot read ${quote(folder)}: ${systemErrorText(error)}`, { cause: error });
    });
    const others: string[] = [];
    // follows symbolic links, because the Hugging Face cache consists of them
    for (const { name } of names)
        if (weightEnds.test(name) && !trainingState.test(name) && (await isFile(path.join(folder, name))))
            others.push(name);
    const [only, ...more] = others.sort();
    if (only !== undefined && more.length === 0) return openNamed(path.join(folder, only));
    if (only !== undefined)
        throw new ArmtError(
            `${quote(folder)} has several files that may be the model's weights (${listed(others)}): name one ` +
                "instead of the folder"
        );
    const wanted = formats.flatMap(({ single, index }) => [single, index]).join(", ");
    const below: string[] = [];
    for (const entry of names) if (await hasWeights(path.join(folder, entry.name))) below.push(entry.name);
    const hint = below.length === 0 ? "" : `; its folders ${listed(below.sort())} have some: name one of them`;
    throw new ArmtError(`no weights in ${quote(folder)} (${wanted})${hint}`);
}

function listed(names: readonly string[]): string {
    return `${names.slice(0, 4).map(quote).join(", ")}${names.length > 4 ? ", …" : ""}`;
}

async function hasWeights(folder: string): Promise<boolean> {
    for (const { single, index } of formats)
        for (const name of [single, index]) if (await exists(path.join(folder, name))) return true;
    return false;
}

/**
 * Refuses a folder with PEFT's own files. They hold only an adapter, and nothing shows whether the weights next to it
 * include it.
 */
async function refuseAdapter(folder: string, weights: string): Promise<void> {
    for (const name of ["adapter_model.safetensors", "adapter_model.bin"])
        if (await exists(path.join(folder, name)))
            throw new ArmtError(
                `${quote(folder)} holds a separate adapter, ${quote(name)}: merge it in PyTorch ` +
                    `(model.merge_and_unload()) and save the state dict; if ${quote(path.basename(weights))} already ` +
                    "includes it, name that file instead of the folder"
            );
}

async function openNamed(file: string): Promise<TensorFile[]> {
    for (const { open, ends } of formats) {
        if (file.endsWith(`${ends[0]}.index.json`)) return openShards(path.dirname(file), file, open);
        if (ends.some((end) => file.endsWith(end))) return [await open(file)];
    }
    throw new ArmtError(
        `${quote(file)} does not have the name of a file of weights (${formats.flatMap(({ ends }) => ends).join(", ")})`
    );
}

async function openShards(folder: string, indexPath: string, open: WeightFormat["open"]): Promise<TensorFile[]> {
    const weightMap = await readWeightMap(indexPath);
    const files: TensorFile[] = [];
    try {
        const found = new Map<string, string>();
        for (const shard of new Set(weightMap.values())) {
            const file = await open(path.join(folder, shard));
            files.push(file);
            for (const name of file.tensors.keys()) {
                if (found.has(name))
                    throw new ArmtError(
                        `tensor ${quote(name)} is in ${quote(found.get(name)!)} and in ${quote(shard)}`
                    );
                found.set(name, shard);
            }
        }
        for (const [name, shard] of weightMap) {
            if (found.get(name) !== shard)
                throw new ArmtError(
                    `${quote(indexPath)} places tensor ${quote(name)} in ${quote(shard)}, which does not contain it`
                );
        }
        return files;
    } catch (error) {
        await closeAll(files);
        throw error;
    }
}

async function readWeightMap(indexPath: string): Promise<Map<string, string>> {
    const index = (await readJsonFile(indexPath))!;
    const weightMap = index.require("weight_map", index.object("weight_map"));
    const result = new Map<string, string>();
    for (const [name, shard] of weightMap.values) {
        if (typeof shard !== "string" || !isPlainName(shard))
            throw weightMap.error(name, shard, "the name of a file in the same folder");
        result.set(name, shard);
    }
    const count = new Set(result.values()).size;
    if (count === 0 || count > MAX_SHARDS) throw new ArmtError(`${quote(indexPath)} names ${count} shards`);
    return result;
}

/** Whether a name stays in its folder on every operating system. */
function isPlainName(name: string): boolean {
    return /^[^/\\:\0]+$/.test(name) && name !== "." && name !== "..";
}

export async function closeAll(files: readonly TensorFile[]): Promise<void> {
    await Promise.all(files.map((file) => file.close()));
}

export async function isFile(file: string): Promise<boolean> {
    return (await stat(file).catch(() => undefined))?.isFile() === true;
}

async function exists(file: string): Promise<boolean> {
    return (await stat(file).catch(() => undefined)) !== undefined;
}
