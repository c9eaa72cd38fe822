import type { ModelOptions } from "../../model/options.js";

export interface DemoOptions extends Omit<ModelOptions, "kvType"> {
    tokens: number;
    facts: number;
    seed: number;
}
