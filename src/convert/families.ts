import type { baseArchitectures } from "../gguf/armt-keys.js";
import type { JsonFile } from "../util/json-file.js";

/** How a family of base models differs from LLaMA, whose layer all of them have: RMS norm, RoPE over halves, SwiGLU. */
export interface Family {
    /** Biases: always there, never, or as the key of `config.json` says. */
    readonly biases: Readonly<Record<"qkv" | "output" | "mlp", boolean | string>>;
    /** Whether the checkpoint has Q, K, V as one matrix, and gate and up as one. */
    readonly fused: boolean;
    /** Key of `config.json` that switches the sliding window on; without one, `sliding_window` alone does. */
    readonly windowSwitch?: string;
    /** Whether the family's attention has a window at all. */
    readonly window: boolean;
}

const noBiases = { qkv: false, output: false, mlp: false } as const;

/** By `model_type`, as in transformers. SmolLM and SmolLM2 call themselves `llama`. */
export const families = {
    llama: {
        biases: { qkv: "attention_bias", output: "attention_bias", mlp: "mlp_bias" },
        fused: false,
        window: false
    },
    mistral: { biases: noBiases, fused: false, window: true },
    phi3: { biases: noBiases, fused: true, window: true },
    qwen2: {
        biases: { qkv: true, output: false, mlp: false },
        fused: false,
        window: true,
        windowSwitch: "use_sliding_window"
    }
} as const satisfies Record<FamilyName, Family>;

export type FamilyName = (typeof baseArchitectures)[number];

export function isFamilyName(name: string): name is FamilyName {
    return Object.hasOwn(families, name);
}

/** Which biases a checkpoint of the family has. */
export function biasesOf(family: Family, json: JsonFile): Record<"qkv" | "output" | "mlp", boolean> {
    const has = (bias: boolean | string) => (typeof bias === "string" ? (json.boolean(bias) ?? false) : bias);
    const { qkv, output, mlp } = family.biases;
    return { qkv: has(qkv), output: has(output), mlp: has(mlp) };
}

/** Rows that a row attends to, itself included; `undefined`: all before it. */
export function slidingWindowOf(family: Family, json: JsonFile): number | undefined {
    if (!family.window) return undefined;
    const isOn = family.windowSwitch === undefined || json.boolean(family.windowSwitch) === true;
    return isOn ? json.integer("sliding_window", { min: 1 }) : undefined;
}
