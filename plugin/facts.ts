import { ArmtModelError } from "./errors.js";
import type { ArmtSegmentAlignment } from "./segments.js";

/** `general.architecture` of an ARMT model file. */
export const armtArchitecture = "armt";

/** Latest version of the model file format (docs/model-file.md) that this package reads. */
const formatVersion = 2;

/** What an ARMT model file says about itself: `model.armt`. */
export interface ArmtModelFacts {
    /** Family of the base model, e.g. `"llama"`. */
    readonly baseArchitecture: string;
    /** Text tokens in a segment that the model was trained with. */
    readonly segmentSize: number;
    /** How a prompt is cut into segments. */
    readonly segmentAlignment: ArmtSegmentAlignment;
    /** Memory tokens at the end of each segment. */
    readonly memoryTokens: number;
    /** Numbers in a memory key before the feature map, d_mem. */
    readonly keyLength: number;
    /** Order ν of the feature map DPFP. */
    readonly dpfpOrder: number;
    /** Heads of the memory. */
    readonly memoryHeads: number;
    /** Whether features are divided by their norm. */
    readonly normalizeKeys: boolean;
    /** Whether the memory has the normalizer z. */
    readonly useDenom: boolean;
    /** Whether the normalizer is corrected by γ. */
    readonly correction: boolean;
    /** Whether each channel of the value has its own write strength β. */
    readonly gating: boolean;
    /** Learned rows before the text of each segment: 0 or 1. */
    readonly sinkTokens: number;
    /** Whether attention goes back into the text of the segment before. */
    readonly seesPreviousSegment: boolean;
    /** Layers, each with a memory of its own. */
    readonly layers: number;
    /** Width of the model, D. */
    readonly embeddingLength: number;
    /** Tokens in the vocabulary. */
    readonly vocabSize: number;
    /** SHA-256 of the weights, hexadecimal. */
    readonly fingerprint: string;
}

/**
 * Reads the facts from the metadata as node-llama-cpp gives it.
 * @returns undefined for a plain model
 * @throws {ArmtModelError} where a key is missing or of the wrong kind
 */
export function readModelFacts(metadata: unknown): ArmtModelFacts | undefined {
    if (get(metadata, "general.architecture") !== armtArchitecture) return undefined;
    const read = <T>(key: string, kind: string, is: (value: unknown) => value is T): T => {
        const value = get(metadata, key);
        if (is(value)) return value;
        const problem = value === undefined ? "is missing" : `has to be ${kind}`;
        throw new ArmtModelError(`the model file's key \`${key}\` ${problem}; convert the checkpoint again`, key);
    };
    const count = (key: string) => read(key, "a positive integer", isCount);
    const text = (key: string) => read(key, "a string", (value) => typeof value === "string");
    const flag = (key: string) => read(key, "a boolean", (value) => typeof value === "boolean");

    const optional = <T>(key: string, value: () => T, otherwise: T): T =>
        get(metadata, key) === undefined ? otherwise : value();

    const version = count("armt.format_version");
    if (version > formatVersion)
        throw new ArmtModelError(
            `the model file has format version ${version}, this package reads 1 to ${formatVersion}; update node-llama-cpp-armt`,
            "armt.format_version"
        );
    return {
        baseArchitecture: text("armt.base_architecture"),
        segmentSize: count("armt.segment_size"),
        segmentAlignment: read("armt.segment_alignment", "left, right or center", isAlignment),
        memoryTokens: count("armt.memory.token_count"),
        keyLength: count("armt.memory.key_length"),
        dpfpOrder: count("armt.memory.dpfp_order"),
        memoryHeads: count("armt.memory.head_count"),
        normalizeKeys: flag("armt.memory.normalize_keys"),
        useDenom: flag("armt.memory.use_denom"),
        correction: flag("armt.memory.correction"),
        gating: flag("armt.memory.gating"),
        sinkTokens: optional("armt.sink_count", () => count("armt.sink_count"), 0),
        seesPreviousSegment: optional(
            "armt.attention.previous_segment",
            () => flag("armt.attention.previous_segment"),
            false
        ),
        layers: count("armt.block_count"),
        embeddingLength: count("armt.embedding_length"),
        vocabSize: count("armt.vocab_size"),
        fingerprint: text("armt.fingerprint")
    };
}

function get(metadata: unknown, key: string): unknown {
    return key.split(".").reduce<unknown>((value, part) => {
        return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[part] : undefined;
    }, metadata);
}

function isCount(value: unknown): value is number {
    return typeof value === "number" && Number.isInteger(value) && value > 0;
}

function isAlignment(value: unknown): value is ArmtSegmentAlignment {
    return value === "left" || value === "right" || value === "center";
}
