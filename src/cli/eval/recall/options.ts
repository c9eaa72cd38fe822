import type { ModelOptions } from "../../../model/options.js";

export interface RecallOptions extends Omit<ModelOptions, "model"> {
    model?: string | string[];
    lengths: string;
    questions: number;
    facts: number;
    seed: number;
    split: "train" | "heldOut";
    json?: string;
    plot?: string;
}
