import type { ModelOptions } from "../../model/options.js";

export interface ReadOptions extends ModelOptions {
    files?: string[];
    out: string;
    closedOnly: boolean;
    checkpointInterval: number;
    restart: boolean;
    force: boolean;
    json: boolean;
}
