import type { ArmtPrecision } from "../../../plugin/index.js";
import type { ShapeName } from "../../bench/shapes.js";
import type { WeightType } from "../../bench/synthetic.js";
import type { GpuChoice } from "../../model/gpu.js";

export interface BenchOptions {
    model?: string;
    synthetic?: ShapeName;
    layers?: number;
    type: WeightType;
    memTokens?: number;
    lengths: string;
    segments: string;
    runs: number;
    schedule: "both" | "sequential" | "diagonal";
    stock: boolean;
    stockLimit?: string;
    stockLibrary: "published" | "engine";
    decode: boolean;
    prompts: boolean;
    gpu?: GpuChoice;
    threads?: number;
    batchSize?: number;
    stockBatchSize?: number;
    maxCells?: number;
    precision?: ArmtPrecision;
    fp8Products?: string;
    documents?: number;
    textsPerLayer?: string;
    json: string;
    plot?: string;
    resume: boolean;
    force: boolean;
    cacheFolder?: string;
}
