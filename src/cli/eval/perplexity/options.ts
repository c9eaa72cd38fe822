import type { ModelOptions } from "../../../model/options.js";

export interface PerplexityOptions extends ModelOptions {
    text?: string;
    tokens?: string;
    json?: string;
    plot?: string;
}
