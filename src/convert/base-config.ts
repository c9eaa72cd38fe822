import { baseArchitectures } from "../gguf/armt-keys.js";
import { ArmtError, quote } from "../util/errors.js";
import type { JsonFile } from "../util/json-file.js";
import { biasesOf, type Family, type FamilyName, families, isFamilyName, slidingWindowOf } from "./families.js";
import { parseRope, type RopeConfig } from "./rope.js";

/** What the converter needs of the base model's `config.json`. */
export type BaseConfig = {
    /** `armt.base_architecture`. */
    architecture: FamilyName;
    vocabSize: number;
    hiddenSize: number;
    layerCount: number;
    headCount: number;
    kvHeadCount: number;
    headSize: number;
    feedForwardSize: number;
    rmsNormEpsilon: number;
    rope: RopeConfig;
    /** Which of the layers' matrices have a bias. */
    biases: Record<"qkv" | "output" | "mlp", boolean>;
    /** Rows that a row attends to, itself included; `undefined`: all before it. */
    slidingWindow: number | undefined;
    /** `undefined` where the file doesn't say. */
    tiedEmbeddings: boolean | undefined;
};

/** transformers' defaults for a LLaMA whose file lacks the key. */
const DEFAULT_RMS_NORM_EPSILON = 1e-6;

/**
 * Reads a base model's config in the Hugging Face form (transformers 4 or 5).
 * @throws {ArmtError} that names the key, and for families that are not known
 */
export function parseBaseConfig(json: JsonFile): BaseConfig {
    const name = json.string("model_type") ?? "";
    if (!isFamilyName(name))
        throw new ArmtError(
            `unknown base architecture ${quote(name)} (${quote(json.path)}: \`model_type\`); supported: ${baseArchitectures.join(", ")}`
        );
    const family: Family = families[name];
    const quantized = json.get("quantization_config");
    if (quantized !== undefined)
        throw json.error("quantization_config", quantized, "none: convert the unquantized checkpoint");
    const activation = json.string("hidden_act") ?? "silu";
    if (activation !== "silu") throw json.error("hidden_act", activation, '"silu"');

    const count = (key: string) => json.require(key, json.integer(key, { min: 1 }));
    const hiddenSize = count("hidden_size");
    const headCount = count("num_attention_heads");
    const kvHeadCount = json.integer("num_key_value_heads", { min: 1 }) ?? headCount;
    if (headCount % kvHeadCount !== 0)
        throw json.error("num_key_value_heads", kvHeadCount, `a divisor of num_attention_heads (${headCount})`);
    const headSize = json.integer("head_dim", { min: 1 }) ?? hiddenSize / headCount;
    if (!Number.isInteger(headSize / 2)) throw json.error("head_dim", headSize, "an even number");

    return {
        architecture: name,
        vocabSize: count("vocab_size"),
        hiddenSize,
        layerCount: json.require("num_hidden_layers", json.integer("num_hidden_layers", { min: 1, max: 9999 })),
        headCount,
        kvHeadCount,
        headSize,
        feedForwardSize: count("intermediate_size"),
        rmsNormEpsilon: json.number("rms_norm_eps", { min: 0, max: 1 }) ?? DEFAULT_RMS_NORM_EPSILON,
        rope: parseRope(json),
        biases: biasesOf(family, json),
        slidingWindow: slidingWindowOf(family, json),
        tiedEmbeddings: json.boolean("tie_word_embeddings")
    };
}
