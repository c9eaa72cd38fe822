import type { ModelOptions } from "../../model/options.js";

export interface TraceOptions extends ModelOptions {
    tokens: string;
    svg?: string;
    html?: string;
    chrome?: string;
}
