import type { ModelOptions } from "../../../model/options.js";

export interface BabilongOptions extends ModelOptions {
    data: string;
    tasks?: string;
    lengths?: string;
    samples?: number;
    template: string;
    maxTokens: number;
    json?: string;
    plot?: string;
}
