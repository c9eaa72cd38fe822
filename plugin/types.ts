import type { LlamaContext, Token } from "node-llama-cpp";
import type { ArmtAskForm } from "../src/formats/gguf/armt-keys.js";

// Types that several folders share. This file has no code, and imports only types.

export type { ArmtAskForm };

/** Order in which the cells (layer, segment) of a prompt are computed. */
export type ArmtSchedule = "auto" | "sequential" | "diagonal";

/** What happens when the open segment is full. */
export type ArmtSegmentOverflow = "close" | "extend" | "answer";

/** Number type in which a context keeps its memory. */
export type ArmtStateType = "f32" | "f16" | "bf16";

/** How the products of the base model's layers are computed. */
export type ArmtPrecision = "auto" | "fp8";

/** Products of a layer of the base model: Q, K and V; the attention's output; the MLP's gate and up; its down. */
export type ArmtProduct = "qkv" | "o" | "gate_up" | "down";

/** How a prompt of known length is cut into segments (GGUF key `armt.segment_alignment`). */
export type ArmtSegmentAlignment = "left" | "right" | "center";

/** What an ARMT model file says about its model: `model.armt`. */
export interface ArmtModelInfo {
    /** Family of the base model, e.g. `"llama"`. */
    readonly baseArchitecture: string;
    /** Segment size that the model was trained with, memory tokens not counted. Unit: tokens. */
    readonly segmentSize: number;
    /** How a prompt of known length is cut into segments. */
    readonly segmentAlignment: ArmtSegmentAlignment;
    /**
     * `recurrent` for plain RMT: the last layer's memory tokens are the memory, and no layer has one of its own. Then
     * `keyLength` is 0, and `readMemory(0)` returns their values.
     */
    readonly memoryKind: "associative" | "recurrent";
    /** Memory tokens at the end of each segment. */
    readonly memoryTokens: number;
    /** Length of a memory key before the feature map, d_mem. */
    readonly keyLength: number;
    /** Order ν of the feature map DPFP. */
    readonly dpfpOrder: number;
    /** Heads of the associative memory. */
    readonly memoryHeads: number;
    /** Whether features are divided by their norm. */
    readonly normalizeKeys: boolean;
    /** Whether the memory has the normalizer z. */
    readonly useDenom: boolean;
    /** Whether the normalizer is corrected by γ. */
    readonly correction: boolean;
    /** Whether each channel of the value has its own β. */
    readonly gating: boolean;
    /** Learned rows before the text of each segment: 0 or 1. */
    readonly sinkTokens: number;
    /** Whether attention also covers the text of the previous segment. */
    readonly seesPreviousSegment: boolean;
    /** Whether each segment begins with the text of the previous one, which is computed again. */
    readonly rereadsPreviousSegment: boolean;
    /** Layers, each with its own memory. */
    readonly layers: number;
    /** Width of the model, D. */
    readonly embeddingLength: number;
    /** Tokens in the vocabulary. */
    readonly vocabSize: number;
    /** How the model was asked in its training; undefined if the file does not say. */
    readonly ask: ArmtAskForm | undefined;
    /** SHA-256 of what a memory depends on: weights, sizes, variant and vocabulary. 64 hexadecimal digits. */
    readonly fingerprint: string;
    /** Fingerprints that earlier files of the same model had. Memories with one of them fit. */
    readonly earlierFingerprints: readonly string[];
}

/** Progress of one prompt. */
export interface ArmtProgress {
    /** Tokens of this prompt that have been read. */
    readonly tokensDone: number;
    /** Tokens in this prompt. */
    readonly tokensTotal: number;
    /** Segments that this prompt has closed so far. */
    readonly segments: number;
    /** Cells (layer, segment) that this prompt has computed so far. */
    readonly cells: number;
}

/** The associative memory of one layer, float32. */
export interface ArmtLayerMemory {
    /** A, row-major: [h, K/h, D/h]. With h = 1 this is the papers' [K, D]. */
    readonly a: Float32Array;
    /** z: [h, K/h]; undefined for a model without it. */
    readonly z?: Float32Array;
    /** Shape of `a`. */
    readonly shape: readonly [heads: number, keyLength: number, valueLength: number];
}

/** One graph evaluation of the engine, recorded while a context is traced. Times are in milliseconds. */
export interface ArmtTraceStep {
    /**
     * `"diagonal"`: whole segments of one sequence, each in a different layer; the last one may be the open segment.
     * `"open"`: rows of open segments, through all layers.
     */
    readonly type: "diagonal" | "open";
    /** Start of the step, counted from `start()`. Unit: milliseconds. */
    readonly startMs: number;
    /** Part of `timeMs` before the computation: building and allocating a graph that could not be reused. */
    readonly buildMs: number;
    /** Time from the start of the step until its result was available. Unit: milliseconds. */
    readonly timeMs: number;
    /** Number of the sequence in the context. If several sequences shared the step, the first of them. */
    readonly sequence: number;
    /** Sequences in the step. */
    readonly sequences: number;
    /** Segment of the cell in layer `firstLayer`, from 0. In a diagonal, layer `firstLayer + i` has `segment - i`. */
    readonly segment: number;
    /** First layer of the step's cells. */
    readonly firstLayer: number;
    /** Layer after the last one. */
    readonly endLayer: number;
    /** Text tokens in each cell. In a diagonal, the cell of an open segment is padded to the same length. */
    readonly textRows: number;
    /** Memory tokens that follow the text; 0 if the segment stays open. */
    readonly memoryRows: number;
    /** Tokens whose logits the step computed. */
    readonly outputs: number;
    /** Whether the step reused the previous graph instead of building one. */
    readonly reused: boolean;
    /** Whether the GPU replayed the graph as one CUDA graph. Only the backend of `armt build --tuned` reports this. */
    readonly replayed: boolean;
}

/** What decides whether one context can use a state of another: the model, and options that change the computation. */
export interface ArmtSnapshotOrigin {
    /** `armt.fingerprint` of the model file, 64 hexadecimal digits. */
    readonly fingerprint: string;
    /** Text tokens in a segment. */
    readonly segmentSize: number;
    /** What happens when the open segment is full. */
    readonly segmentOverflow: ArmtSegmentOverflow;
    /** Tokens that fit into an open segment. */
    readonly openSegmentLimit: number;
    /** Number types of the open segment's K/V cache, by their ggml names. */
    readonly kvTypes: readonly [keys: string, values: string];
    /** Number type of A and z. */
    readonly stateType: ArmtStateType;
}

/** What a snapshot says about itself. */
export interface ArmtSnapshotInfo extends ArmtSnapshotOrigin {
    /** Tokens that had been read. */
    readonly tokensRead: number;
    /** How many of them are in the open segment; 0 if the snapshot holds closed segments only. */
    readonly openTokens: number;
    /** Segments that had been closed. */
    readonly segmentsClosed: number;
    /** Whether the snapshot holds the token ids too. A chat session needs them to see what has been read. */
    readonly hasTokenIds: boolean;
}

/** The text behind a snapshot, so that reading can continue. */
export interface ArmtSnapshotSource {
    /** Where the text came from: a file name, or `-` for standard input. */
    readonly name: string;
    /** Length of the text that was read. Unit: UTF-16 code units. */
    readonly characters: number;
    /** SHA-256 of that text in UTF-8, hexadecimal. */
    readonly sha256: string;
    /** Whether that is the whole text. */
    readonly complete: boolean;
}

/** The header of a snapshot file. */
export interface ArmtSnapshotHeader extends ArmtSnapshotInfo {
    /** Whether all closed segments have the size that options and alignment give, so that a store can find prefixes. */
    readonly regular: boolean;
    /** Absolute path of the model file, the default for commands that get no model; empty if unknown. */
    readonly modelPath: string;
    /** Time of the snapshot, ISO 8601. */
    readonly created: string;
    /** The text behind the snapshot, if the writer recorded it. */
    readonly source?: ArmtSnapshotSource;
    /** In the folder of a store: hash of the model, the options and the tokens, which is also the file's name. */
    readonly storeKey?: string;
    /** Size of the engine's state. Unit: bytes. */
    readonly stateBytes: number;
    /** CRC-32 of the token ids followed by the state. */
    readonly bodyChecksum: number;
}

/** Input of `sequence.armt.feed`: text or token ids, piece by piece. */
export type ArmtFeedSource = AsyncIterable<string | readonly Token[]> | Iterable<string | readonly Token[]>;

/** Progress of a feed. */
export interface ArmtFeedProgress {
    /** Tokens that this feed has read. */
    readonly tokens: number;
    /** Length of the text whose tokens have been read. Unit: UTF-16 code units. */
    readonly characters: number;
}

/** Result of `ArmtMemoryStore.prefill`. */
export interface ArmtPrefill {
    /** Tokens of the prompt that did not have to be read: the sequence already held them, or the store had them. */
    readonly cachedTokens: number;
    /** Tokens that were read. */
    readonly readTokens: number;
    /** Of the tokens that were read, those that a later prompt need not read: up to the last checkpoint left here. */
    readonly keptTokens: number;
}

/** Options of `context.getSequence`. */
export type SequenceOptions = NonNullable<Parameters<LlamaContext["getSequence"]>[0]>;

/** A device with layers of a context's model. */
export interface ArmtDevice {
    /** Name of the device, such as `CUDA0` or `CPU`; of an RPC server `host:port`. */
    readonly name: string;
    /** Index of its first layer. From 0. */
    readonly firstLayer: number;
    /** Number of its layers. */
    readonly layers: number;
    /**
     * Time that it has computed since the process connected to it, for all of the process's models. Unit: milliseconds.
     * Absent unless it is a server of `armt rpc-server`.
     */
    readonly workedMs?: number;
    /** Time that the server has waited for something to do. Unit: milliseconds. Absent like `workedMs`. */
    readonly waitedMs?: number;
}
