import type { ModelOptions } from "../../model/options.js";

export interface McpOptions extends Omit<ModelOptions, "model"> {
    /** As of `armt serve`. */
    model?: string[];
    maxModels: number;
    /** Folder of the memory files. */
    memories: string;
    /** Folders with documents that may be read. */
    documents?: string[];
    maxTokens: number;
    parallel: number;
    /** Whether to listen over HTTP instead of speaking over standard input and output. */
    http: boolean;
    host: string;
    port: number;
    apiKey?: string | string[];
}
