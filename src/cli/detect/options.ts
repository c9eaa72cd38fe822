import type { CheckpointArguments } from "../../convert/checkpoint-arguments.js";
import type { ModelOptions } from "../../model/options.js";

export type DetectArguments = CheckpointArguments &
    Omit<ModelOptions, "model" | "segmentSize" | "kvType"> & {
        checkpoint: string;
        text: string;
        segmentSize?: string;
        tokens?: string;
        json: boolean;
    };
