import type { ModelOptions } from "../../model/options.js";
import type { GenerationOptions } from "../shared/generate.js";
import type { PromptSource } from "../shared/prompt.js";
import type { CacheOptions } from "./memory-cache.js";

export interface RunOptions extends ModelOptions, PromptSource, GenerationOptions, CacheOptions {
    chat: boolean;
    systemPrompt?: string;
    parseSpecial: boolean;
    json: boolean;
}
