import { GgmlType, type LlamaContext } from "node-llama-cpp";
import type { ArmtMemoryStore } from "../memory/ArmtMemoryStore.js";
import type { NativeContextInfo } from "../native/addon.js";
import type { EngineContext } from "../native/EngineContext.js";
import { products, schedules, segmentOverflows, stateTypes } from "../native/enums.js";
import type {
    ArmtDevice,
    ArmtModelInfo,
    ArmtPrecision,
    ArmtProduct,
    ArmtSegmentOverflow,
    ArmtSnapshotOrigin,
    ArmtStateType
} from "../types.js";
import type { QuestionCuts } from "./question-cuts.js";
import { ArmtTrace } from "./trace.js";

/** Parts of an {@link ArmtContext}. */
export interface ContextParts {
    readonly context: LlamaContext;
    readonly engine: EngineContext;
    readonly model: ArmtModelInfo;
    readonly memoryStore: ArmtMemoryStore | undefined;
    /** Finds where questions begin; undefined if the model file does not say how they do. */
    readonly questions: QuestionCuts | undefined;
    /** The option of this name. */
    readonly closeBeforeQuestion: boolean | undefined;
    /** Absolute path of the model file; empty if unknown. */
    readonly modelPath: string;
}

/**
 * What ARMT adds to a context: `context.armt`. All numbers are read from the engine at the moment of the call; after
 * the context is disposed they throw `DisposedError`.
 */
export class ArmtContext {
    /** The record of the engine's graph evaluations, off until it is started. */
    readonly trace: ArmtTrace;

    /** @internal */
    constructor(
        /** @internal */
        readonly parts: ContextParts
    ) {
        this.trace = new ArmtTrace(parts.engine);
    }

    /** The store in which this context looks up what it reads, and keeps it; undefined without one. */
    get memoryStore(): ArmtMemoryStore | undefined {
        return this.parts.memoryStore;
    }

    /** The schedule in use. */
    get schedule(): "sequential" | "diagonal" {
        return schedules[this.info.schedule] === "diagonal" ? "diagonal" : "sequential";
    }

    /** Text tokens in a segment. */
    get segmentSize(): number {
        return this.info.segmentSize;
    }

    /** What happens when the open segment is full. */
    get segmentOverflow(): ArmtSegmentOverflow {
        return segmentOverflows[this.info.segmentOverflow] ?? "close";
    }

    /** Tokens that fit into an open segment. */
    get openSegmentLimit(): number {
        return this.info.openSegmentLimit;
    }

    /** Cells that the diagonal schedule computes in one product. */
    get maxCells(): number {
        return this.info.maxCells;
    }

    /** Sequences whose segments enter a diagonal together; 0 if each sequence has a pipeline of its own. */
    get textsPerLayer(): number {
        return this.info.textsPerLayer;
    }

    /** Number type in which A and z are kept. */
    get stateType(): ArmtStateType {
        return stateTypes[this.info.stateType] ?? "f32";
    }

    /** How the products of the base model's layers are computed. */
    get precision(): ArmtPrecision {
        return this.info.fp8Products === 0 ? "auto" : "fp8";
    }

    /** The products that are computed in FP8. */
    get fp8Products(): ArmtProduct[] {
        return products.filter((_, i) => (this.info.fp8Products & (1 << i)) !== 0);
    }

    /** Size of the memory of one sequence: A and z of all layers. Unit: bytes. */
    get memoryBytes(): number {
        return this.info.memoryBytes;
    }

    /** Size of all that the context holds for its sequences: A, z, K/V and segments in flight. Unit: bytes. */
    get totalBytes(): number {
        return this.info.totalBytes;
    }

    /** Graph evaluations so far. */
    get graphs(): number {
        return this.info.graphs;
    }

    /** Graph evaluations that reused the previous graph instead of building one. */
    get graphsReused(): number {
        return this.info.graphsReused;
    }

    /**
     * Graph evaluations that the GPU replayed as one CUDA graph. Only the backend of `armt build --tuned` counts them.
     */
    get graphsReplayed(): number {
        return this.info.graphsReplayed;
    }

    /**
     * Parts in which the graphs were computed, one for each run of operations on the same device. If a graph has more
     * parts than devices, these wait for each other.
     */
    get graphParts(): number {
        return this.info.graphParts;
    }

    /**
     * Products of `fp8Products` that were computed in FP8, and those of 32 rows or more that were left in 16 bits. One
     * is left if cuBLASLt does not have it, or if there is no memory for its weights in FP8. A product of several cells
     * counts once.
     */
    get fp8Counts(): { computed: number; left: number } {
        return { computed: this.info.fp8Computed, left: this.info.fp8Left };
    }

    /**
     * The devices that hold the model's layers, in the layers' order. Asks RPC servers how long they have worked and
     * waited, so do not call it during an evaluation of this context.
     */
    async devices(): Promise<ArmtDevice[]> {
        const { addon, id } = this.parts.engine;
        return await addon.getDevices(id);
    }

    /** Shape of one layer's memory: A is [h, K/h, D/h]; z is [h, K/h] if the model has it. */
    get memoryShape(): Pick<NativeContextInfo, "memoryHeads" | "keyLength" | "valueLength" | "useDenom"> {
        const { memoryHeads, keyLength, valueLength, useDenom } = this.info;
        return { memoryHeads, keyLength, valueLength, useDenom };
    }

    /** @internal */
    get origin(): ArmtSnapshotOrigin {
        const { context, model } = this.parts;
        return {
            fingerprint: model.fingerprint,
            segmentSize: this.segmentSize,
            segmentOverflow: this.segmentOverflow,
            openSegmentLimit: this.openSegmentLimit,
            kvTypes: [typeName(context.kvCacheKeyType), typeName(context.kvCacheValueType)],
            stateType: this.stateType
        };
    }

    private get info(): NativeContextInfo {
        return this.parts.engine.info;
    }
}

function typeName(type: GgmlType | undefined): string {
    return GgmlType[type ?? GgmlType.F16] ?? String(type);
}
