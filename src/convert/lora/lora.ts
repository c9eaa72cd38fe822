import { ArmtError, quote } from "../../util/errors.js";
import type { JsonFile } from "../../util/json-file.js";

// LoRA by PEFT's names (arXiv 2106.09685): next to a module's weight W, called `base_layer.weight` since PEFT 0.6, are
// `lora_A` [r, inputs] and `lora_B` [outputs, r], and the module computes with W + scale · B·A. The scale is alpha / r,
// or alpha / √r for rsLoRA (arXiv 2312.03732).

/** What a tensor is to its module. */
export type AdapterRole =
    | {
          role: "weight";
          /** Name of the weight without PEFT's parts. */
          name: string;
      }
    | {
          role: "A" | "B";
          /** Name of the weight that the product is added to. */
          name: string;
          adapter: string;
          /** Factors of an embedding: A is [r, V], B is [D, r], and their product is added transposed. */
          embedding: boolean;
      };

/** Properties of an adapter that its weights do not show. */
export type LoraFlags = {
    /** Default: `lora_alpha` of `adapter_config.json`. */
    alpha?: number;
    /** Scale by alpha / √r. Default: `use_rslora` of `adapter_config.json`, or `false`. */
    rankStabilized?: boolean;
};

/** An update of a weight, its factors not yet read. */
export type LoraUpdate<Source> = {
    /** [rank, inputs] */
    a: Source;
    /** [outputs, rank] */
    b: Source;
    rank: number;
    /** Factor of B·A. */
    scale: number;
    /** The weight is [inputs, outputs]: an embedding, or transformers' Conv1D. */
    transposed: boolean;
};

const MERGE_FIRST = "merge it in PyTorch (model.merge_and_unload()) and save the state dict again";

const refusals: readonly { pattern: RegExp; what: string }[] = [
    { pattern: /lora_magnitude_vector/, what: "a DoRA adapter" },
    { pattern: /\.lora_E\b|\.ranknum\b/, what: "an AdaLoRA adapter" },
    { pattern: /\.lora_[AB]\.(?:[^.]+\.)?bias$/, what: "a LoRA adapter with biases of its own (lora_bias)" },
    { pattern: /\.hada_[wt]\d/, what: "a LoHa adapter" },
    { pattern: /\.lokr_[wt]\d/, what: "a LoKr adapter" },
    { pattern: /\.b?oft_[rsR]\b/, what: "an OFT adapter" },
    { pattern: /\.(?:vera|randlora)_/, what: "a VeRA adapter" },
    { pattern: /\.ia3_l\b/, what: "an IA3 adapter" },
    { pattern: /\.token_adapter\.|trainable_tokens_/, what: "an adapter of single tokens (trainable_token_indices)" },
    { pattern: /(?:^|\.)prompt_(?:embeddings|encoder)\b/, what: "a prompt-tuning adapter" }
];

/** PEFT's copy of a fully trained module, and the original module. */
const trainedPattern = /\.modules_to_save\.[^.]+(?=\.)/;
const untrainedPattern = /\.original_module\./;
const factorPattern = /^(?<module>.+)\.lora_(?<embedding>embedding_)?(?<part>[AB])(?<rest>(?:\.[^.]+)*)$/;

/**
 * Takes PEFT's parts off a tensor's name.
 * @returns `undefined` for a weight that training replaced
 * @throws {ArmtError} for adapters that can't be merged, by their name
 */
export function adapterRole(name: string): AdapterRole | undefined {
    for (const { pattern, what } of refusals)
        if (pattern.test(name))
            throw new ArmtError(`tensor ${quote(name)} belongs to ${what}: not supported; ${MERGE_FIRST}`);
    if (untrainedPattern.test(name)) return undefined;
    const factor = factorPattern.exec(name)?.groups;
    if (factor !== undefined) {
        const { module = "", embedding, part, rest = "" } = factor;
        const parts = rest.split(".").slice(1);
        if (parts.at(-1) === "weight") parts.pop();
        const weight = `${module.replace(trainedPattern, "")}.weight`;
        return {
            role: part === "A" ? "A" : "B",
            name: weight,
            adapter: parts.join(".") || "default",
            embedding: embedding !== undefined
        };
    }
    if (/(?:^|\.)lora_/.test(name))
        throw new ArmtError(
            `tensor ${quote(name)} belongs to a LoRA adapter of an unknown kind: not supported; ${MERGE_FIRST}`
        );
    return { role: "weight", name: name.replace(".base_layer.", ".").replace(trainedPattern, "") };
}

/** `adapter_config.json`, and what goes before it. */
export class LoraConfig {
    /** @throws {ArmtError} for kinds of adapters that can't be merged, by the key */
    public constructor(
        private readonly json: JsonFile | undefined,
        private readonly flags: LoraFlags = {},
        /** Where `adapter_config.json` would be. */
        private readonly folder = "."
    ) {
        if (json === undefined) return;
        const type = json.string("peft_type");
        if (type !== undefined && type !== "LORA")
            throw new ArmtError(
                `${quote(json.path)}: an adapter of the type ${quote(type)} is not supported (LORA is); ${MERGE_FIRST}`
            );
        for (const key of ["use_dora", "use_qalora", "lora_bias", "layer_replication", "alora_invocation_tokens"]) {
            const value = json.get(key);
            if (value !== undefined && value !== false)
                throw new ArmtError(
                    `${quote(json.path)}: \`${key}\` changes LoRA's computation: not supported; ` + `${MERGE_FIRST}`
                );
        }
    }

    /**
     * Factor of B·A.
     * @param name the weight's name in the file
     * @throws {ArmtError} if nothing gives it
     */
    public scaleOf(name: string, rank: number): number {
        const { json, flags } = this;
        const module = name.replace(/(?:\.base_layer)?\.weight$/, "");
        const alpha = flags.alpha ?? this.pattern("alpha_pattern", module) ?? json?.number("lora_alpha");
        if (alpha === undefined)
            throw new ArmtError(
                `tensor ${quote(name)} has a LoRA update without an alpha: put adapter_config.json into ` +
                    `${quote(this.folder)}, or give --lora-alpha (and --rslora if training used use_rslora)`
            );
        const expected = this.pattern("rank_pattern", module) ?? json?.integer("r", { min: 1 });
        if (expected !== undefined && expected !== rank)
            throw new ArmtError(
                `tensor ${quote(name)} has a LoRA update of rank ${rank}, ${quote(json!.path)} says ${expected}`
            );
        const rankStabilized = flags.rankStabilized ?? json?.boolean("use_rslora") ?? false;
        return alpha / (rankStabilized ? Math.sqrt(rank) : rank);
    }

    /** A number for the modules whose names end as the key says; keys may be regular expressions, as in PEFT. */
    private pattern(key: string, module: string): number | undefined {
        const patterns = this.json?.object(key);
        for (const end of patterns?.values.keys() ?? []) {
            let expression: RegExp;
            try {
                expression = new RegExp(`^(?:.*\\.)?(?:${end.replace(/^\^/, "")})$`);
            } catch (error) {
                throw new ArmtError(
                    `${quote(this.json!.path)}: \`${key}\` has the pattern ${quote(end)}: not understood`,
                    {
                        cause: error
                    }
                );
            }
            if (expression.test(module)) return patterns!.number(end);
        }
        return undefined;
    }
}

/**
 * Adds a LoRA update to elements of a matrix, in float64.
 * @param values the matrix's elements from `first` on, last dimension fastest
 * @param columns its last dimension
 * @param a [rank, inputs]
 * @param b [outputs, rank]
 * @returns the sums, rounded to float32
 */
export function addUpdate(
    values: Float32Array,
    { first, columns }: { first: number; columns: number },
    { rank, scale, transposed }: Pick<LoraUpdate<unknown>, "rank" | "scale" | "transposed">,
    a: Float32Array,
    b: Float32Array
): Float32Array {
    const result = new Float32Array(values.length);
    const inputs = a.length / rank;
    for (let at = 0; at < values.length; ) {
        const row = Math.floor((first + at) / columns);
        const start = (first + at) % columns;
        const count = Math.min(columns - start, values.length - at);
        const sums = Float64Array.from(values.subarray(at, at + count));
        for (let k = 0; k < rank; k++) {
            if (transposed) {
                const factor = scale * a[k * inputs + row]!;
                for (let i = 0; i < count; i++) sums[i]! += factor * b[(start + i) * rank + k]!;
            } else {
                const factor = scale * b[row * rank + k]!;
                const offset = k * inputs + start;
                for (let i = 0; i < count; i++) sums[i]! += factor * a[offset + i]!;
            }
        }
        result.set(sums, at);
        at += count;
    }
    return result;
}
