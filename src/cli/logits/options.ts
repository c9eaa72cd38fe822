import type { ModelOptions } from "../../model/options.js";

export interface LogitsOptions extends ModelOptions {
    tokens: string;
    out: string;
    memory: boolean;
}
