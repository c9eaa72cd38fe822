import type { Activation } from "../../formats/gguf/armt-keys.js";
import type { GgufFile } from "../../formats/gguf/reader.js";
import type { ScalarValues } from "../../formats/gguf/types.js";
import { ArmtError, quote } from "../../util/errors.js";
import type { BaseConfig } from "../base-config.js";
import { families } from "../families.js";
import type { RopeConfig } from "../rope.js";
import { type Architecture, stockArchitectures } from "./architectures.js";

/** Gemma 3's every 6th layer is global, and the others have this RoPE base; llama.cpp has both in its code. */
const GEMMA_PATTERN = 6;
const LOCAL_THETA = 10_000;
/**
 * Layers of Gemma 3 27B, whose scale of q·k does not follow from its head size; llama.cpp recognises it the same way.
 */
const GEMMA_27B_LAYERS = 62;

/** What stock llama.cpp computes if a file doesn't say. */
const DEFAULT_THETA = 10_000;

const activations: Readonly<Record<string, Activation>> = {
    silu: "silu",
    gelu: "gelu",
    gelu_new: "gelu_tanh",
    gelu_pytorch_tanh: "gelu_tanh"
};

/** A base model's file, and what its keys say. */
export type BaseGguf = { file: GgufFile; name: string; architecture: Architecture; base: BaseConfig };

/**
 * Reads the keys of a stock model file.
 * @throws {ArmtError} for architectures and options that are not known, by the key
 */
export function readBaseGguf(file: GgufFile): BaseGguf {
    const keys = new StockKeys(file);
    const { name } = keys;
    const architecture = stockArchitectures[name];
    if (name === "armt") throw keys.error("it is an ARMT model already; a base model's file is needed");
    if (architecture === undefined)
        throw keys.error(
            `the architecture ${quote(name)} is not known; known are ${Object.keys(stockArchitectures).join(", ")}`
        );
    const family = families[architecture.family];
    const { defaults } = family;
    for (const key of ["expert_count", "attn_logit_softcapping", "final_logit_softcapping", "attention.max_alibi_bias"])
        if ((keys.number(key) ?? 0) !== 0)
            throw keys.error(`\`${name}.${key}\` is an option that ARMT models do not support`);
    const hiddenSize = keys.count("embedding_length");
    const layerCount = keys.count("block_count");
    const headCount = keys.count("attention.head_count");
    const kvHeadCount = keys.number("attention.head_count_kv") ?? headCount;
    const headSize = keys.number("attention.key_length") ?? hiddenSize / headCount;
    if ((keys.number("attention.value_length") ?? headSize) !== headSize)
        throw keys.error(`\`${name}.attention.value_length\` is not \`${name}.attention.key_length\`: not supported`);
    if (headCount % kvHeadCount !== 0)
        throw keys.error(`\`${name}.attention.head_count_kv\` is ${kvHeadCount}, expected a divisor of ${headCount}`);
    if (!Number.isInteger(headSize / 2))
        throw keys.error(`heads of ${headSize} numbers (\`${name}.attention.key_length\`) are not supported`);
    const embedding = file.tensors.get("token_embd.weight");
    if (embedding === undefined) throw keys.error('it has no tensor "token_embd.weight"');
    const epsilon = `attention.layer_norm_${family.norm === "rms" ? "rms_" : ""}epsilon`;
    const isGemma = family.window === "local";
    const base: BaseConfig = {
        architecture: architecture.family,
        vocabSize: embedding.shape[1] ?? 0,
        hiddenSize,
        layerCount,
        headCount,
        kvHeadCount,
        headSize,
        feedForwardSize: keys.count("feed_forward_length"),
        activation: activations[defaults.activation]!,
        normEpsilon: keys.required(epsilon),
        rope:
            family.positions === "rope"
                ? readRope(keys, architecture, headSize, isGemma ? layerCount : undefined)
                : undefined,
        parallel:
            family.keys.parallel !== undefined && (keys.boolean("use_parallel_residual") ?? defaults.parallel === true),
        positionCount: family.positions === "learned" ? file.tensors.get("position_embd.weight")?.shape[1] : undefined,
        biases: { qkv: false, output: false, mlp: false },
        attentionScale: isGemma
            ? (layerCount === GEMMA_27B_LAYERS ? hiddenSize / headCount : headSize) ** -0.5
            : undefined,
        slidingWindow:
            (keys.number("attention.sliding_window") ?? 0) > 0 ? keys.number("attention.sliding_window") : undefined,
        transformersVersion: undefined,
        tiedEmbeddings: !file.tensors.has("output.weight")
    };
    if (family.positions === "learned" && base.positionCount === undefined)
        throw keys.error('it has no tensor "position_embd.weight"');
    return { file, name, architecture, base };
}

function readRope(
    keys: StockKeys,
    { neighbours }: Architecture,
    headSize: number,
    gemmaLayers: number | undefined
): RopeConfig {
    const dimensions = keys.number("rope.dimension_count") ?? headSize;
    if (neighbours === true && dimensions !== headSize)
        throw keys.error(
            `\`${keys.name}.rope.dimension_count\` is ${dimensions}, heads have ${headSize}: not supported for this ` +
                "architecture"
        );
    const type = keys.string("rope.scaling.type");
    const factor = keys.number("rope.scaling.factor") ?? keys.number("rope.scale_linear") ?? 1;
    if (type !== undefined && type !== "none" && type !== "linear")
        throw keys.error(`\`${keys.name}.rope.scaling.type\` is ${quote(type)}: not supported (linear is)`);
    const local = {
        layers: Array.from({ length: gemmaLayers ?? 0 }, (_, il) => (il + 1) % GEMMA_PATTERN !== 0),
        theta: keys.number("rope.freq_base_swa") ?? LOCAL_THETA
    };
    return {
        theta: keys.number("rope.freq_base") ?? DEFAULT_THETA,
        dimensions,
        // llama3 scaling is the tensor rope_freqs.weight in stock files too
        scaling: type !== "none" && factor !== 1 ? { type: "linear", factor } : undefined,
        local: local.layers.includes(true) ? local : undefined
    };
}

/** Keys of a stock file below its architecture's name. */
class StockKeys {
    readonly name: string;

    constructor(private readonly file: GgufFile) {
        const architecture = file.metadata.get("general.architecture");
        if (architecture?.type !== "STRING") throw this.error("it has no `general.architecture`");
        this.name = architecture.value;
    }

    count(key: string): number {
        const value = this.required(key);
        if (!Number.isSafeInteger(value) || value < 1)
            throw this.error(`\`${this.name}.${key}\` is ${value}, expected a positive integer`);
        return value;
    }

    required(key: string): number {
        const value = this.number(key);
        if (value === undefined) throw this.error(`it has no \`${this.name}.${key}\``);
        return value;
    }

    number(key: string): number | undefined {
        return this.scalar(key, ["UINT32", "INT32", "UINT16", "FLOAT32", "FLOAT64"]);
    }

    boolean(key: string): boolean | undefined {
        return this.scalar(key, ["BOOL"]);
    }

    string(key: string): string | undefined {
        return this.scalar(key, ["STRING"]);
    }

    private scalar<T extends keyof ScalarValues>(key: string, types: readonly T[]): ScalarValues[T] | undefined {
        const entry = this.file.metadata.get(`${this.name}.${key}`);
        if (entry === undefined) return undefined;
        if (entry.type === "ARRAY" || !types.some((type) => type === entry.type))
            throw this.error(
                `\`${this.name}.${key}\` is ` +
                    `${entry.type === "ARRAY" ? "a list, as in models whose layers differ" : entry.type}: not supported`
            );
        return entry.value as ScalarValues[T];
    }

    error(what: string): ArmtError {
        return new ArmtError(`cannot attach to ${quote(this.file.path)}: ${what}`);
    }
}
