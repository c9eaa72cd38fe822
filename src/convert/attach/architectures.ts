import type { FamilyName } from "../families.js";

/** Where stock llama.cpp files of an architecture differ from one another, and from what a family's checkpoint says. */
export interface Architecture {
    readonly family: FamilyName;
    /** RoPE rotates pairs of neighbours, so Q's and K's rows are in another order. */
    readonly neighbours?: boolean;
    /** Q, K and V are one tensor. */
    readonly fusedAttention?: boolean;
    /** Gate and up are one tensor, or there is no gate. */
    readonly fusedUp?: boolean;
}

/** By `general.architecture`. Mistral and SmolLM call themselves `llama` there, and compute the same. */
export const stockArchitectures: Readonly<Record<string, Architecture>> = {
    llama: { family: "llama", neighbours: true },
    qwen2: { family: "qwen2" },
    qwen3: { family: "qwen3" },
    phi3: { family: "phi3", fusedAttention: true, fusedUp: true },
    gemma3: { family: "gemma3_text" },
    gpt2: { family: "gpt2", fusedAttention: true, fusedUp: true },
    gptneox: { family: "gpt_neox", fusedAttention: true, fusedUp: true }
};
