import path from "node:path";
import { families } from "../convert/families.js";
import { encodeFloats } from "../convert/float-encode.js";
import { MEMORY_EPSILON } from "../formats/gguf/armt-keys.js";
import { dtypeSizes } from "../formats/safetensors/dtypes.js";
import { type TensorData, writeSafetensors } from "../formats/safetensors/writer.js";
import { writeAtomically } from "../util/atomic-file.js";
import { ArmtError, quote, systemErrorText } from "../util/errors.js";
import { makeFolder } from "../util/make-folder.js";
import {
    resolveTinyOptions,
    TINY_POSITIONS,
    type TinyConfig,
    type TinyOptions,
    type TinyRopeScaling
} from "./options.js";
import { beginToken, endToken, tinyTokenizer } from "./tokenizer.js";
import { listTensors, type TinyTensor } from "./weights.js";

const ROPE_THETA = 10_000;

/**
 * Makes a checkpoint folder with seeded random weights, in the format that the authors' code saves: `config.json`,
 * `armt_config.json`, `model.safetensors` (or shards with an index) and, if the vocabulary has room, `tokenizer.json`.
 * Unlike a freshly wrapped model, it writes to its memory (W_mv is not 0). The same options give the same bytes.
 * Existing files are replaced.
 * @throws {ArmtError} that names the invalid option or the file that can't be written
 */
export async function makeTinyCheckpoint(folder: string, options: TinyOptions = {}): Promise<void> {
    const config = resolveTinyOptions(options);
    try {
        await makeFolder(folder);
    } catch (error) {
        throw new ArmtError(`cannot make the folder ${quote(folder)}: ${systemErrorText(error)}`, { cause: error });
    }
    await writeWeights(folder, config);
    await writeJson(path.join(folder, "config.json"), baseConfig(config));
    await writeJson(path.join(folder, "armt_config.json"), armtConfig(config));
    if (config.tokenizer) await writeJson(path.join(folder, "tokenizer.json"), tinyTokenizer(config.vocab));
}

async function writeWeights(folder: string, config: TinyConfig): Promise<void> {
    const tensors = listTensors(config);
    const shards = Math.min(config.shards, tensors.length);
    const encode = ({ name, shape, values }: TinyTensor): TensorData => ({
        name,
        shape,
        dtype: config.dtype,
        data: encodeLater(values, config.dtype)
    });
    if (shards === 1) {
        await writeSafetensors(path.join(folder, "model.safetensors"), tensors.map(encode), { format: "pt" });
        return;
    }
    const weightMap: Record<string, string> = {};
    for (let shard = 0; shard < shards; shard++) {
        const file = `model-${number(shard + 1)}-of-${number(shards)}.safetensors`;
        const part = tensors.slice(
            Math.floor((shard * tensors.length) / shards),
            Math.floor(((shard + 1) * tensors.length) / shards)
        );
        await writeSafetensors(path.join(folder, file), part.map(encode), { format: "pt" });
        for (const { name } of part) weightMap[name] = file;
    }
    const elements = tensors.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
    await writeJson(path.join(folder, "model.safetensors.index.json"), {
        metadata: { total_size: elements * dtypeSizes[config.dtype] },
        weight_map: weightMap
    });
}

/** Draws the values only when they are written, so that one tensor at a time is in memory. */
async function* encodeLater(values: () => Float32Array, dtype: TinyConfig["dtype"]): AsyncGenerator<ArrayBufferView> {
    const bytes = encodeFloats(values(), dtype);
    if (bytes === undefined) throw new ArmtError(`a random weight is beyond the range of ${dtype}`);
    yield bytes;
}

function baseConfig(config: TinyConfig): object {
    const { keys, defaults, biases, positions } = families[config.family];
    const values: Record<string, unknown> = {
        model_type: config.family,
        vocab_size: config.vocab,
        bos_token_id: config.tokenizer ? beginToken : null,
        eos_token_id: config.tokenizer ? endToken : null,
        tie_word_embeddings: config.tied,
        [keys.hidden]: config.hidden,
        [keys.layers]: config.layers,
        [keys.heads]: config.heads,
        [keys.feedForward]: config.ffn,
        [keys.epsilon]: 1e-5,
        [keys.activation]: defaults.activation
    };
    if (keys.kvHeads !== undefined) values[keys.kvHeads] = config.kvHeads;
    if (keys.headSize !== undefined) values[keys.headSize] = config.headDim;
    for (const key of Object.values(biases)) if (typeof key === "string") values[key] = config.biases;
    if (positions === "rope") {
        values.max_position_embeddings = 2048;
        values.rope_parameters = ropeParameters(config.ropeScaling);
    }
    if (keys.positions !== undefined) values[keys.positions] = TINY_POSITIONS;
    return { ...values, ...config.config };
}

function ropeParameters(scaling: TinyRopeScaling | undefined): object {
    if (scaling === undefined) return { rope_theta: ROPE_THETA, rope_type: "default" };
    const common = { rope_theta: ROPE_THETA, rope_type: scaling.type, factor: scaling.factor };
    if (scaling.type === "linear") return common;
    return {
        ...common,
        low_freq_factor: scaling.lowFreqFactor,
        high_freq_factor: scaling.highFreqFactor,
        original_max_position_embeddings: scaling.originalMaxPositions
    };
}

function armtConfig(config: TinyConfig): object {
    const { path, layers } = families[config.family];
    return {
        segment_size: config.segmentSize,
        num_mem_tokens: config.memTokens,
        d_mem: config.dMem,
        layers_attr: `${path}.${layers}`,
        correction: config.correction,
        segment_alignment: config.alignment,
        wrap_pos: config.wrapPositions,
        ...(config.sink ? { use_sink: true } : {}),
        ...(config.slidingWindow ? { sliding_window: true } : {}),
        ...(config.rereadsPrevious ? { attend_to_previous_input: true } : {}),
        normalize_keys: config.normalizeKeys,
        n_heads: config.nHeads,
        use_denom: config.useDenom,
        gating: config.gating,
        ...(config.memoryEpsilon === MEMORY_EPSILON ? {} : { memory_epsilon: config.memoryEpsilon })
    };
}

async function writeJson(file: string, value: object): Promise<void> {
    const text = Buffer.from(`${JSON.stringify(value, undefined, 1)}\n`);
    await writeAtomically(file, {}, (target) => target.write(text));
}

function number(n: number): string {
    return String(n).padStart(5, "0");
}
