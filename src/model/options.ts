import type {
    ArmtContextOptions,
    ArmtModelOptions,
    ArmtPrecision,
    ArmtSchedule,
    ArmtSegmentOverflow,
    ArmtSnapshotInfo,
    ArmtSplitMode,
    ArmtStateType,
    LlamaContextOptions
} from "../../plugin/index.js";
import { readFp8Products } from "./fp8-products.js";
import type { GpuChoice } from "./gpu.js";

/** Types of the K/V cache of the open segment. */
export const kvTypes = { f32: "F32", f16: "F16", q8_0: "Q8_0" } as const;

export type KvType = keyof typeof kvTypes;

/** How a model is opened, in the words of the command line. */
export interface ModelOptions {
    /** Model file, or the name of a model that `armt pull` made. Default: the model of the package. */
    model?: string;
    schedule?: ArmtSchedule;
    segmentSize?: number;
    segmentOverflow?: ArmtSegmentOverflow;
    openSegmentLimit?: number;
    maxCells?: number;
    stateType?: ArmtStateType;
    precision?: ArmtPrecision;
    /** Names, separated by commas. */
    fp8Products?: string;
    batchSize?: number;
    kvType: KvType;
    threads?: number;
    gpu?: GpuChoice;
    /** RPC servers, separated by commas. */
    rpc?: string;
    gpuLayers?: number;
    splitMode?: ArmtSplitMode;
    mainGpu?: number;
    /** Numbers, separated by commas. */
    tensorSplit?: string;
    verify: boolean;
    verbose?: boolean;
}

/** Where the command line puts a model: options of `loadModel`. */
export function placementOptions({ rpc, gpuLayers, splitMode, mainGpu, tensorSplit }: Omit<ModelOptions, "model">): {
    gpuLayers?: number;
    armt?: ArmtModelOptions;
} {
    const armt = {
        ...(rpc !== undefined && { rpc: rpc.split(",") }),
        ...(splitMode !== undefined && { splitMode }),
        ...(mainGpu !== undefined && { mainGpu }),
        ...(tensorSplit !== undefined && { tensorSplit: tensorSplit.split(",").map(Number) })
    };
    return {
        ...(gpuLayers !== undefined && { gpuLayers }),
        ...(Object.keys(armt).length > 0 && { armt })
    };
}

/**
 * The context options of a command line; `armt` is absent if none of its options is set.
 * @param like a snapshot that the context has to suit
 */
export function contextOptions(
    options: ModelOptions,
    like?: ArmtSnapshotInfo
): LlamaContextOptions & { armt?: ArmtContextOptions } {
    const { schedule, maxCells, precision } = options;
    const fp8Products = options.fp8Products === undefined ? undefined : readFp8Products(options);
    const { segmentSize, stateType } = like ?? options;
    const isLonger = like !== undefined && like.openTokens > like.segmentSize;
    // a memory without a longer segment fits contexts whose answers grow, and those whose segments close
    const { segmentOverflow, openSegmentLimit } =
        like?.segmentOverflow === "extend" || isLonger ? (like ?? options) : options;
    const armt = {
        schedule,
        segmentSize,
        segmentOverflow,
        openSegmentLimit,
        maxCells,
        stateType,
        precision,
        fp8Products
    };
    const asksForArmt = Object.values(armt).some((value) => value !== undefined);
    const kvType = kvTypes[options.kvType];
    const [keys, values] = like === undefined ? [kvType, kvType] : (like.kvTypes as [typeof kvType, typeof kvType]);
    return {
        batchSize: options.batchSize,
        threads: options.threads,
        experimentalKvCacheKeyType: keys,
        experimentalKvCacheValueType: values,
        armt: asksForArmt ? armt : undefined
    };
}
