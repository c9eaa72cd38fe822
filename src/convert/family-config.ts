import type { JsonFile } from "../util/json-file.js";
import type { JsonValue } from "../util/strict-json.js";
import type { Family } from "./families.js";

/** Which biases a checkpoint of the family has. */
export function biasesOf({ biases, defaults }: Family, json: JsonFile): Record<"qkv" | "output" | "mlp", boolean> {
    const has = (bias: boolean | string) =>
        typeof bias === "string" ? (json.boolean(bias) ?? defaults.biases ?? false) : bias;
    return { qkv: has(biases.qkv), output: has(biases.output), mlp: has(biases.mlp) };
}

/** Number of rows that a row attends to, including itself. `undefined`: all rows before it. */
export function slidingWindowOf({ window, defaults }: Family, json: JsonFile): number | undefined {
    const isOn = window === "use_sliding_window" ? json.boolean(window) === true : window !== false;
    return isOn ? (json.integer("sliding_window", { min: 1 }) ?? defaults.window) : undefined;
}

/** transformers' default pattern: every 6th layer is global. */
const DEFAULT_PATTERN = 6;

/** Which layers are local. `undefined` if the family has no local layers or the model uses none. */
export function localLayersOf({ window }: Family, json: JsonFile, layerCount: number): boolean[] | undefined {
    if (window !== "local") return undefined;
    const types = json.get("layer_types");
    const pattern =
        json.integer("sliding_window_pattern", { min: 1 }) ??
        json.integer("_sliding_window_pattern", { min: 1 }) ??
        DEFAULT_PATTERN;
    const layers =
        types === undefined
            ? Array.from({ length: layerCount }, (_, il) => (il + 1) % pattern !== 0)
            : readTypes(json, types, layerCount);
    return layers.includes(true) ? layers : undefined;
}

function readTypes(json: JsonFile, types: JsonValue, layerCount: number): boolean[] {
    const known = ["full_attention", "sliding_attention"];
    if (!Array.isArray(types) || types.length !== layerCount)
        throw json.error("layer_types", types, `a list of ${layerCount} names`);
    for (const type of types)
        if (typeof type !== "string" || !known.includes(type))
            throw json.error("layer_types", type, `${known.join(" or ")} in each place`);
    return types.map((type) => type === "sliding_attention");
}
