import type { ModelOptions } from "../../model/options.js";
import type { GenerationOptions } from "../shared/generate.js";

export interface AskOptions extends Omit<ModelOptions, "model">, GenerationOptions {
    memory: string;
    /** `-` or absent: each line of standard input is a question. */
    question?: string;
    model?: string;
    format?: string;
    closeBeforeQuestion?: boolean;
    json: boolean;
}
