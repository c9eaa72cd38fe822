import type { ArmtDevice, ArmtTraceStep } from "../types.js";

/** What the engine reports about a context. */
export interface NativeContextInfo {
    readonly schedule: number;
    readonly segmentOverflow: number;
    readonly segmentSize: number;
    readonly openSegmentLimit: number;
    readonly maxCells: number;
    readonly layers: number;
    readonly memoryTokens: number;
    readonly sequences: number;
    readonly memoryHeads: number;
    readonly keyLength: number;
    readonly valueLength: number;
    readonly useDenom: boolean;
    readonly stateType: number;
    readonly textsPerLayer: number;
    readonly fp8Products: number;
    readonly memoryBytes: number;
    readonly totalBytes: number;
    readonly graphs: number;
    readonly graphsReused: number;
    readonly graphsReplayed: number;
    readonly graphParts: number;
    readonly fp8Computed: number;
    readonly fp8Left: number;
}

/** What the engine counts for a sequence. */
export interface NativeSequenceStats {
    readonly tokens: number;
    readonly segmentStart: number;
    readonly openTokens: number;
    readonly pendingTokens: number;
    readonly segmentsClosed: number;
    readonly segmentsInFlight: number;
    readonly graphs: number;
    readonly graphsReused: number;
    readonly graphsReplayed: number;
    readonly cells: number;
}

/** The options of `armt-api.h` as numbers; 0 leaves the choice to the engine, and -1 turns `textsPerLayer` off. */
export interface NativeContextOptions {
    readonly schedule: number;
    readonly segmentOverflow: number;
    readonly segmentSize: number;
    readonly openSegmentLimit: number;
    readonly maxCells: number;
    readonly stateType: number;
    readonly textsPerLayer: number;
    readonly precision: number;
    /** Bits; 0: all products if the precision is FP8. */
    readonly fp8Products: number;
}

/** Tokens for one sequence. */
export interface NativeReadPart {
    readonly sequenceId: number;
    /** Index of the first token in the sequence. */
    readonly start: number;
    readonly tokens: Int32Array;
}

/** How far a read came. */
export interface NativeReadResult {
    /** Tokens that were passed to the engine. */
    readonly tokens: number;
    /** Why the last batch failed; empty if the engine gave no reason, undefined if it succeeded. */
    readonly failure?: string;
}

/** Where a model goes; a number below 0 leaves a choice as it is. */
export interface NativePlacement {
    /** Absolute path of the model file, as llama.cpp gets it. */
    readonly path: string;
    readonly rpc: readonly string[];
    readonly gpuLayers: number;
    readonly splitMode: number;
    readonly mainGpu: number;
    readonly tensorSplit: readonly number[];
}

export interface NativeLimits {
    readonly maxLayers: number;
    readonly maxExperts: number;
}

/** A matrix product to measure: `copies` times {k, n, batch} with {k, rows, batch}. */
export interface NativeProduct {
    /** Type of the weights, as ggml's number. */
    readonly type: number;
    readonly k: number;
    readonly n: number;
    readonly rows: number;
    readonly batch: number;
    readonly copies: number;
    readonly repeats: number;
    readonly threads: number;
    readonly gpu: boolean;
}

/** Times of a product, for each type of buffer that can hold weights. */
export interface NativeProductTimes {
    readonly device: string;
    /** Multiplications and additions of one evaluation. */
    readonly operations: number;
    readonly buffers: readonly { readonly buffer: string; readonly seconds: readonly number[] }[];
}

/**
 * The addon (`native/addon`). Calls with a context id work until that context is disposed. Calls that return a promise
 * compute, and must not run during another evaluation of the same context.
 */
export interface ArmtAddon {
    readonly apiVersion: number;
    /** `backends`: folder of ggml backends to load at once, so that node-llama-cpp does not load its own. */
    load(paths: { ggmlBase: string; ggml: string; llama: string; backends?: string }): void;
    verify(): string;
    /** What llama.cpp takes at most. It ends the process for more. */
    limits(): NativeLimits;
    /** Whether this thread may create a context now. If so, no other thread may until `endCreation`. */
    beginCreation(): boolean;
    endCreation(): void;
    setContextOptions(options: NativeContextOptions | null): void;
    /** Loads ggml's RPC backend, once. */
    loadRpc(library: string): void;
    /** Blocks this thread until the process ends. Throws if it cannot listen. */
    serveRpc(endpoint: string, cache: string | null, threads: number): void;
    /** Connects to the RPC servers. Holds for the file until `forgetPlacement`. */
    setPlacement(placement: NativePlacement): Promise<void>;
    /** Throws if an RPC server was lost since. */
    forgetPlacement(path: string): void;
    getDevices(contextId: number): Promise<ArmtDevice[]>;
    lastContextId(): number;
    contextInfo(contextId: number): NativeContextInfo | undefined;
    sequenceStats(contextId: number, sequenceId: number): NativeSequenceStats | undefined;
    planSegments(contextId: number, sequenceId: number, first: number, each: number, total: number): void;
    /** Lets the open segment grow until it closes, or tokens that it has now are removed. */
    growSegment(contextId: number, sequenceId: number, grows: boolean): void;
    closeSegment(contextId: number, sequenceId: number): Promise<void>;
    readMemory(contextId: number, sequenceId: number, layer: number): Promise<{ a: Float32Array; z?: Float32Array }>;
    decode(
        contextId: number,
        sequenceId: number,
        tokens: Int32Array,
        start: number,
        allLogits: boolean
    ): Promise<Float32Array>;
    /**
     * Reads tokens whose logits nobody wants. Several parts must fit into one batch. A single part is read batch by
     * batch, until `interruptRead` or the end of `limitMs`, but at least one. The tokens must not change meanwhile.
     */
    read(
        contextId: number,
        parts: readonly NativeReadPart[],
        batchSize: number,
        limitMs: number
    ): Promise<NativeReadResult>;
    /** Ends the running read of a context after its current batch. */
    interruptRead(contextId: number): void;
    saveState(contextId: number, sequenceId: number, closedOnly: boolean): Promise<Buffer>;
    /** Rejects if a state of the sequence cannot be saved. */
    checkState(contextId: number, sequenceId: number): Promise<void>;
    /** Changes nothing unless the state holds `tokens` tokens. */
    loadState(contextId: number, sequenceId: number, state: Buffer, tokens: number): Promise<void>;
    copySequence(contextId: number, from: number, to: number): Promise<void>;
    /** Rounds float32 rows to a quantized type, given as ggml's number. `values` must not change meanwhile. */
    quantize(type: number, values: Float32Array, rowLength: number): Promise<Buffer>;
    /** Values of a quantized type's blocks as bytes of float32. `blocks` must not change meanwhile. */
    dequantize(type: number, blocks: Uint8Array): Promise<Buffer>;
    setTrace(contextId: number, enabled: boolean): void;
    takeTrace(contextId: number): ArmtTraceStep[];
    measureProducts(product: NativeProduct): Promise<NativeProductTimes>;
    lastError(contextId: number): string;
    /** Why the last evaluation of a sequence failed, once; empty if it did not. */
    sequenceError(contextId: number, sequenceId: number): string;
}
