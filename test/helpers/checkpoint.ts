import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { openTorch } from "../../src/formats/torch/reader.js";
import type { MemoryVariant } from "./associative-memory.js";
import { type BaseLayer, type BaseModel, baseReaders, type Json, type Tensor } from "./checkpoint-families.js";
import { decodeNumbers } from "./decode-numbers.js";
import type { Linear } from "./linear.js";

export type ReferenceLayer = BaseLayer & {
    memoryQ: Linear;
    memoryK: Linear;
    memoryV: Linear;
    memoryB: Linear;
};

export type Alignment = "left" | "right" | "center";

/** An ARMT checkpoint in float64. */
export type ReferenceModel = MemoryVariant &
    Omit<BaseModel, "layers"> & {
        vocab: number;
        segmentSize: number;
        memTokens: number;
        alignment: Alignment;
        /** Memory rows attend to memory rows only. */
        splitsMemory: boolean;
        /** [M, D] */
        memory: Float64Array;
        /** [D]: a row before each segment's text. */
        sink: Float64Array | undefined;
        /** Attention reaches back into the previous segment's text. */
        slidingWindow: boolean;
        rereadsPrevious: boolean;
        layers: ReferenceLayer[];
    };

/** Reads a checkpoint folder (safetensors, sharded or not, or `.bin`) without the converter. */
export async function readCheckpoint(folder: string): Promise<ReferenceModel> {
    const config = readJson(path.join(folder, "config.json"));
    const armt = readJson(path.join(folder, "armt_config.json"));
    const tensors = await readTensors(folder);
    const get = (name: string): Tensor => {
        const tensor = tensors.get(name);
        if (tensor === undefined) throw new Error(`${folder} has no tensor ${name}`);
        return tensor;
    };
    const memoryLayers = (armt.wrap_layers as boolean[] | undefined) ?? [];
    const firstMemory = Math.max(memoryLayers.indexOf(true), 0);
    const linear = (name: string): Linear => {
        const { shape, values } = get(`${name}.weight`);
        const [outputs, inputs] = shape as [number, number];
        return { weight: values, bias: tensors.get(`${name}.bias`)?.values, inputs, outputs };
    };
    /** A layer without memory has zeros, which neither write nor read anything. */
    const memoryMatrix = (il: number, kind: string): Linear => {
        if (memoryLayers[il] !== false) return linear(`layers.${il}.${kind}`);
        const { inputs, outputs } = linear(`layers.${firstMemory}.${kind}`);
        return { weight: new Float64Array(inputs * outputs), bias: undefined, inputs, outputs };
    };
    const readBase = baseReaders[String(config.model_type)];
    if (readBase === undefined) throw new Error(`the reference knows no ${String(config.model_type)} base`);
    const base = readBase(config, armt, { get, has: (name) => tensors.has(name) });
    return {
        ...base,
        vocab: Number(config.vocab_size),
        segmentSize: Number(armt.segment_size),
        memTokens: get("memory").shape[0]!,
        dMem: get(`layers.${firstMemory}.W_mk.weight`).shape[0]!,
        nHeads: Number(armt.n_heads),
        alignment: armt.segment_alignment as Alignment,
        splitsMemory: armt.wrap_pos === true && String(config.transformers_version).startsWith("5."),
        normalizeKeys: armt.normalize_keys === true,
        useDenom: armt.use_denom === true,
        correction: armt.correction === true,
        gating: armt.gating === true,
        memoryEpsilon: Number(armt.memory_epsilon ?? 1e-5),
        memory: get("memory").values,
        sink: armt.use_sink === true ? get("sink").values : undefined,
        slidingWindow: armt.sliding_window === true,
        rereadsPrevious: armt.attend_to_previous_input === true,
        layers: base.layers.map((layer, il) => ({
            ...layer,
            memoryQ: memoryMatrix(il, "W_mq"),
            memoryK: memoryMatrix(il, "W_mk"),
            memoryV: memoryMatrix(il, "W_mv"),
            memoryB: memoryMatrix(il, "W_mb")
        }))
    };
}

/** All tensors by their short names, whichever of its names a tensor has in the checkpoint. */
async function readTensors(folder: string): Promise<Map<string, Tensor>> {
    const result = new Map<string, Tensor>();
    const names = readdirSync(folder).filter((name) => /^(model.*\.safetensors|pytorch_model.*\.bin)$/.test(name));
    if (names.length === 0) throw new Error(`${folder} holds no weights`);
    for (const name of names) {
        const filePath = path.join(folder, name);
        const file = await (name.endsWith(".bin") ? openTorch(filePath) : openSafetensors(filePath));
        for (const [tensor, { dtype, shape }] of file.tensors)
            result.set(shortName(tensor), { shape, values: decodeNumbers(dtype, await file.read(tensor)) });
        await file.close();
    }
    return result;
}

function shortName(name: string): string {
    return name
        .replace(/^(armt\.)?(memory_cell\.)?/, "")
        .replace(/^model\.(model\.|transformer\.|gpt_neox\.)?/, "")
        .replace(/^h\./, "layers.")
        .replace(/^(layers\.\d+\.)layer\./, "$1");
}

function readJson(filePath: string): Json {
    if (!existsSync(filePath)) throw new Error(`${filePath} is missing`);
    return JSON.parse(readFileSync(filePath, "utf8")) as Json;
}
