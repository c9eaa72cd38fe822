import { stat } from "node:fs/promises";
import path from "node:path";
import { openSafetensors, type ReadRange, type TensorInfo } from "../safetensors/reader.js";
import { openTorch } from "../torch/reader.js";
import { ArmtError, quote } from "../util/errors.js";
import { readJsonFile } from "../util/json-file.js";

/** An open file of tensors, of either format. */
export type TensorFile = {
    readonly path: string;
    readonly tensors: ReadonlyMap<string, TensorInfo>;
    read(name: string, range?: ReadRange): Promise<Buffer>;
    close(): Promise<void>;
};

type WeightFormat = { single: string; index: string; open: (path: string) => Promise<TensorFile> };

/** Where the weights may be, in the order of preference. */
const formats: readonly WeightFormat[] = [
    { single: "model.safetensors", index: "model.safetensors.index.json", open: openSafetensors },
    { single: "pytorch_model.bin", index: "pytorch_model.bin.index.json", open: openTorch }
];

/** Shards of a checkpoint. Real ones have below 200. */
const MAX_SHARDS = 10_000;

/**
 * Opens all weight files of a checkpoint folder: safetensors or torch, one file or the shards of an index.
 * @throws {ArmtError} when there are none, one is damaged, or an index and its shards disagree
 */
export async function openWeightFiles(folder: string): Promise<TensorFile[]> {
    for (const { single, index, open } of formats) {
        const singlePath = path.join(folder, single);
        if (await exists(singlePath)) return [await open(singlePath)];
        const indexPath = path.join(folder, index);
        if (await exists(indexPath)) return openShards(folder, indexPath, open);
    }
    const wanted = formats.flatMap(({ single, index }) => [single, index]).join(", ");
    throw new ArmtError(`no weights in ${quote(folder)} (${wanted})`);
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
                    `${quote(indexPath)} places tensor ${quote(name)} in ${quote(shard)}, where it is not`
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

/** Whether a name stays in its folder on every system. */
function isPlainName(name: string): boolean {
    return /^[^/\\:\0]+$/.test(name) && name !== "." && name !== "..";
}

export async function closeAll(files: readonly TensorFile[]): Promise<void> {
    await Promise.all(files.map((file) => file.close()));
}

async function exists(file: string): Promise<boolean> {
    return (await stat(file).catch(() => undefined)) !== undefined;
}
