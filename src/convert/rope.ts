import { ArmtError, quote } from "../util/errors.js";
import type { JsonFile } from "../util/json-file.js";
import type { Family } from "./families.js";

export type Llama3Scaling = {
    type: "llama3";
    factor: number;
    lowFreqFactor: number;
    highFreqFactor: number;
    /** Context that the base was trained with before scaling. Unit: tokens. */
    originalContext: number;
};

export type RopeConfig = {
    theta: number;
    /** Dimensions of a head that are rotated, from its start. */
    dimensions: number;
    /** Layers that have a base of their own and no scaling. */
    local: { layers: readonly boolean[]; theta: number } | undefined;
    scaling: { type: "linear"; factor: number } | Llama3Scaling | undefined;
};

/** transformers' default if the file has no `rope_theta`, and for local layers. */
const DEFAULT_THETA = 10_000;

/**
 * Reads RoPE's parameters: `rope_parameters` of transformers 5, by kinds of layers where they differ, or `rope_theta`
 * and `rope_scaling` of transformers 4.
 * @param localLayers which layers are local; `undefined`: none
 */
export function parseRope(
    json: JsonFile,
    { keys, defaults }: Family,
    headSize: number,
    localLayers?: readonly boolean[]
): RopeConfig {
    const all = json.object("rope_parameters");
    const parameters = all?.object("full_attention") ?? all ?? json.object("rope_scaling");
    const positive = { min: Number.MIN_VALUE };
    const theta =
        parameters?.number("rope_theta", positive) ??
        json.number(keys.theta ?? "rope_theta", positive) ??
        defaults.theta ??
        DEFAULT_THETA;
    const share =
        parameters?.number("partial_rotary_factor") ??
        json.number(keys.rotaryShare ?? "partial_rotary_factor") ??
        defaults.rotaryShare ??
        1;
    if (share !== 1 && keys.rotaryShare === undefined) throw json.error("partial_rotary_factor", share, "1");
    const dimensions = Math.floor(headSize * share);
    if (dimensions < 2 || dimensions > headSize || dimensions % 2 !== 0)
        throw json.error(
            keys.rotaryShare ?? "partial_rotary_factor",
            share,
            `an even number of a head's ${headSize} dimensions`
        );
    return {
        theta,
        dimensions,
        scaling: parameters === undefined ? undefined : parseScaling(json, parameters),
        local: localLayers && { layers: localLayers, theta: localTheta(json, all?.object("sliding_attention")) }
    };
}

function localTheta(json: JsonFile, parameters: JsonFile | undefined): number {
    if (parameters !== undefined && parseScaling(json, parameters) !== undefined)
        throw new ArmtError(`${quote(json.path)}: RoPE of \`sliding_attention\` layers is scaled: not supported`);
    const positive = { min: Number.MIN_VALUE };
    return parameters?.number("rope_theta", positive) ?? json.number("rope_local_base_freq", positive) ?? DEFAULT_THETA;
}

function parseScaling(json: JsonFile, parameters: JsonFile): RopeConfig["scaling"] {
    const type = parameters.string("rope_type") ?? parameters.string("type") ?? "default";
    if (type === "default") return undefined;
    const positive = { min: Number.MIN_VALUE };
    const number = (key: string) => parameters.require(key, parameters.number(key, positive));
    if (type === "linear") return { type, factor: number("factor") };
    if (type !== "llama3")
        throw new ArmtError(
            `${quote(json.path)}: RoPE type ${quote(type)} is not supported (default, linear and llama3 are)`
        );
    const originalContext =
        parameters.number("original_max_position_embeddings", positive) ??
        json.number("original_max_position_embeddings", positive);
    const lowFreqFactor = number("low_freq_factor");
    const highFreqFactor = number("high_freq_factor");
    if (highFreqFactor <= lowFreqFactor)
        throw parameters.error("high_freq_factor", highFreqFactor, `more than low_freq_factor (${lowFreqFactor})`);
    return {
        type,
        factor: number("factor"),
        lowFreqFactor,
        highFreqFactor,
        originalContext: parameters.require("original_max_position_embeddings", originalContext)
    };
}

/**
 * The divisors of RoPE's frequencies for `llama3` scaling (`rope_freqs.weight`): long wavelengths are
 * divided by the factor, short ones are left, those between are interpolated. Source: Llama 3.1's reference code, as in
 * transformers.
 * @returns `[dimensions / 2]`
 */
export function llama3FrequencyDivisors(theta: number, dimensions: number, scaling: Llama3Scaling): Float32Array {
    const { factor, lowFreqFactor, highFreqFactor, originalContext } = scaling;
    return Float32Array.from({ length: dimensions / 2 }, (_, i) => {
        const wavelength = 2 * Math.PI * theta ** ((2 * i) / dimensions);
        if (wavelength < originalContext / highFreqFactor) return 1;
        if (wavelength > originalContext / lowFreqFactor) return factor;
        const smooth = (originalContext / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
        return 1 / ((1 - smooth) / factor + smooth);
    });
}
