import type { ModelOptions } from "../../model/options.js";
import type { GenerationOptions } from "../shared/generate.js";

export interface ChatOptions extends ModelOptions, GenerationOptions {
    memory?: string;
    systemPrompt?: string;
}
