import { type Activation, baseArchitectures } from "../formats/gguf/armt-keys.js";
import { ArmtError, quote } from "../util/errors.js";
import type { JsonFile } from "../util/json-file.js";
import { type Family, type FamilyName, families, isFamilyName } from "./families.js";
import { biasesOf, localLayersOf, slidingWindowOf } from "./family-config.js";
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
    activation: Activation;
    normEpsilon: number;
    /** `undefined`: the family has learned positions. */
    rope: RopeConfig | undefined;
    /** Whether attention and the MLP both read the layer's input. */
    parallel: boolean;
    /** Rows of the learned position table, without those for memory tokens. */
    positionCount: number | undefined;
    /** Which of the layers' matrices have a bias. */
    biases: Record<"qkv" | "output" | "mlp", boolean>;
    /** Factor of q·k; `undefined`: 1 / sqrt(headSize). */
    attentionScale: number | undefined;
    /** Sliding window of some layers, the row itself included; `undefined`: full attention. Unit: rows. */
    slidingWindow: number | undefined;
    /** transformers' major version that wrote the file; `undefined` if it doesn't say. */
    transformersVersion: number | undefined;
    /** `undefined` if the file doesn't say. */
    tiedEmbeddings: boolean | undefined;
};

/** transformers' names of activations. */
const activations: ReadonlyMap<string, Activation> = new Map([
    ["silu", "silu"],
    ["swish", "silu"],
    ["gelu", "gelu"],
    ["gelu_new", "gelu_tanh"],
    ["gelu_fast", "gelu_tanh"],
    ["gelu_pytorch_tanh", "gelu_tanh"]
]);

/**
 * Reads a base model's config in the Hugging Face form (transformers 4 or 5).
 * @throws {ArmtError} that names the key, and for families that are not known
 */
export function parseBaseConfig(json: JsonFile): BaseConfig {
    const name = json.string("model_type") ?? "";
    if (!isFamilyName(name))
        throw new ArmtError(
            `unknown base architecture ${quote(name)} (${quote(json.path)}: \`model_type\`); supported: ` +
                `${baseArchitectures.join(", ")}`
        );
    const family = families[name];
    refuseOthers(family, json);

    const { keys, defaults } = family;
    const optional = (key: string | undefined) => (key === undefined ? undefined : json.integer(key, { min: 1 }));
    const count = (key: string) => json.require(key, json.integer(key, { min: 1 }));
    const hiddenSize = count(keys.hidden);
    const headCount = count(keys.heads);
    const kvHeadCount = optional(keys.kvHeads) ?? headCount;
    if (headCount % kvHeadCount !== 0)
        throw json.error(keys.kvHeads!, kvHeadCount, `a divisor of ${keys.heads} (${headCount})`);
    const headSize = optional(keys.headSize) ?? defaults.headSize ?? hiddenSize / headCount;
    if (!Number.isInteger(headSize / 2)) throw json.error(keys.headSize ?? keys.heads, headSize, "an even number");
    const layerCount = json.require(keys.layers, json.integer(keys.layers, { min: 1, max: 9999 }));
    const localLayers = localLayersOf(family, json, layerCount);
    const feedForward = defaults.feedForward === undefined ? undefined : defaults.feedForward * hiddenSize;

    return {
        architecture: name,
        vocabSize: count("vocab_size"),
        hiddenSize,
        layerCount,
        headCount,
        kvHeadCount,
        headSize,
        feedForwardSize: json.require(keys.feedForward, optional(keys.feedForward) ?? feedForward),
        activation: activationOf(family, json),
        normEpsilon: json.number(keys.epsilon, { min: 0, max: 1 }) ?? defaults.epsilon,
        rope: family.positions === "rope" ? parseRope(json, family, headSize, localLayers) : undefined,
        parallel: keys.parallel === undefined ? false : (json.boolean(keys.parallel) ?? defaults.parallel === true),
        positionCount: family.positions === "learned" ? (optional(keys.positions) ?? defaults.positions) : undefined,
        biases: biasesOf(family, json),
        attentionScale: attentionScaleOf(family, json),
        slidingWindow:
            family.window === "local" && localLayers === undefined ? undefined : slidingWindowOf(family, json),
        transformersVersion: majorVersion(json.string("transformers_version")),
        tiedEmbeddings: json.boolean("tie_word_embeddings")
    };
}

function majorVersion(version: string | undefined): number | undefined {
    const major = /^\d+/.exec(version ?? "")?.[0];
    return major === undefined ? undefined : Number(major);
}

function refuseOthers({ only }: Family, json: JsonFile): void {
    const quantized = json.get("quantization_config");
    if (quantized !== undefined)
        throw json.error("quantization_config", quantized, "none: convert the unquantized checkpoint");
    for (const [key, allowed] of Object.entries(only)) {
        const value = json.get(key);
        if (value !== undefined && value !== allowed) throw json.error(key, value, `${allowed}: not supported`);
    }
}

function attentionScaleOf({ keys, defaults }: Family, json: JsonFile): number | undefined {
    if (keys.attentionScalar === undefined) return undefined;
    const scalar = json.number(keys.attentionScalar, { min: Number.MIN_VALUE }) ?? defaults.attentionScalar;
    return scalar === undefined ? undefined : scalar ** -0.5;
}

function activationOf({ keys, defaults }: Family, json: JsonFile): Activation {
    const name = json.string(keys.activation) ?? defaults.activation;
    const activation = activations.get(name);
    if (activation === undefined) throw json.error(keys.activation, name, [...activations.keys()].join(", "));
    return activation;
}
