import type { QuestionOptions } from "../questions/options.js";

export interface RecallOptions extends QuestionOptions {
    facts: number;
    split: "train" | "heldOut";
}
