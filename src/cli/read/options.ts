import type { ModelOptions } from "../../model/options.js";

export interface ReadOptions extends ModelOptions {
    file?: string;
    out: string;
    closedOnly: boolean;
    checkpointInterval: number;
    restart: boolean;
    json: boolean;
}
