import { ArmtError, quote } from "../../util/errors.js";
import type { GgufFile } from "./reader.js";
import type { ElementType, ScalarValues } from "./types.js";

/** What to do with a model that has no associative memory. */
export const withoutMemoryAdvice =
    "train one with armt-train, add one with `armt attach`, or run the model as it is with `armt run`";

/** `general.architecture` of a file with a memory's tensors alone. */
export const memoryArchitecture = "armt-memory";

/** Added to q·z, k·z and ‖k‖² before they divide, where a model does not say otherwise; the authors' number. */
export const MEMORY_EPSILON = 1e-5;

/** The keys of an ARMT model file; docs/model-file.md lists their names in the file. */
export type ArmtModelKeys = {
    name: string | undefined;
    baseArchitecture: string;
    /** SHA-256 of what a memory depends on, 64 hex digits. */
    fingerprint: string;
    /** Fingerprints that earlier files of the same model had. */
    earlierFingerprints: readonly string[];
    /** V */
    vocabSize: number;
    /** Unit: tokens. */
    contextLength: number;
    /** D */
    embeddingLength: number;
    /** L */
    blockCount: number;
    /** F */
    feedForwardLength: number;
    /** H */
    headCount: number;
    headCountKv: number;
    /** Size of one attention head. */
    headSize: number;
    norm: "rms" | "layer";
    normEpsilon: number;
    activation: Activation;
    /** Whether the MLP has a gate. */
    gated: boolean;
    /** Whether attention and the MLP both read the layer's input. */
    parallelResidual: boolean;
    /** Sliding window of some layers, the row itself included; `undefined`: full attention. Unit: rows. */
    slidingWindow: number | undefined;
    /** Whether attention reaches into the previous segment's text. */
    seesPreviousSegment: boolean;
    /** Positions of a segment whose attention reaches into the previous one. */
    previousPositions: PreviousPositions;
    /** Whether a segment's rows begin with the text of the segment before, computed again. */
    rereadsPreviousSegment: boolean;
    /** Learned rows before each segment's text: 0 or 1. */
    sinkCount: number;
    /** Factor of text tokens' embeddings. */
    embeddingScale: number;
    /** Factor of q·k. */
    attentionScale: number;
    positions:
        | {
              type: "rope";
              /** Number of a head's dimensions that rotate, from its start. */
              dimensions: number;
              freqBase: number;
              /** Factor of linear scaling; 1 without. */
              linearFactor: number;
              /** RoPE base of the layers that `armt.rope.local_layers` marks; `undefined`: there are none. */
              localFreqBase: number | undefined;
          }
        | {
              type: "learned";
              /** Rows of the table. */
              count: number;
              /** Memory rows use the last ones, whatever the text's length. */
              wrapped: boolean;
              /** Positions run on from segment to segment, those of memory rows included. */
              continues: boolean;
          };
    /** S: text tokens in a segment. */
    segmentSize: number;
    segmentAlignment: "left" | "right" | "center";
    memory: {
        /** `recurrent` is plain RMT, whose only other number is M; the rest is 0, 1 or false then. */
        kind: MemoryKind;
        /** M: memory tokens in a segment. */
        tokenCount: number;
        /** d_mem */
        keyLength: number;
        /** ν */
        dpfpOrder: number;
        /** h: heads of the associative memory. */
        headCount: number;
        normalizeKeys: boolean;
        useDenom: boolean;
        correction: boolean;
        gating: boolean;
        /** Added to q·z, k·z and ‖k‖² before they divide. */
        epsilon: number;
        /** Whether memory rows attend to the text before them. */
        attendsToText: boolean;
        /** Whether memory rows attend to all memory rows of the segment, not only to those before them. */
        mutual: boolean;
        /** Whether each layer starts from the learned memory rows. */
        disjoint: boolean;
    };
    /** How the model was asked in its training; `undefined`: the file doesn't say. */
    ask: ArmtAskForm | undefined;
    /** Name of the base model that the memory was trained for. */
    baseName: string | undefined;
    /** SPDX identifier. */
    license: string | undefined;
    /** JSON text about the training, for people. */
    training: string | undefined;
};

/** How to ask a model, as its training did (GGUF keys `armt.ask.*`). */
export interface ArmtAskForm {
    /** Whether questions were the last turn of a chat in the model's template. */
    readonly chat: boolean;
    /** Whether the open segment is closed before a question, so that the question starts a new one. */
    readonly close: boolean;
    /** Whether answers are best taken greedily. */
    readonly greedy: boolean;
    /** What stands before a question without a chat template; undefined if that form was not trained. */
    readonly before: string | undefined;
    /** What stands after it. */
    readonly after: string | undefined;
    /** The text that every question begins with, special tokens included; undefined: `before`. */
    readonly start: string | undefined;
    /** Texts of the tokens that end an answer. */
    readonly end: readonly string[];
}

/** A key of a model file that is missing or wrong. */
export class ArmtKeyError extends ArmtError {
    constructor(
        /** The key at fault. */
        readonly key: string,
        message: string
    ) {
        super(message);
    }
}

const LAST_FORMAT_VERSION = 5;
const MAX_LAYERS = 9999;
/** ν of the only feature map that the engine computes. */
const DPFP_ORDER = 3;
/** Families that the engine computes. */
export const baseArchitectures = [
    "gemma3_text",
    "gpt2",
    "gpt_neox",
    "llama",
    "mistral",
    "phi3",
    "qwen2",
    "qwen3"
] as const;

/** GELU by the error function, or its approximation by tanh. */
export const activations = ["silu", "gelu", "gelu_tanh"] as const;
export type Activation = (typeof activations)[number];

const memoryKinds = ["associative", "recurrent"] as const;
export type MemoryKind = (typeof memoryKinds)[number];

const alignments = ["left", "right", "center"] as const;

/** After the number of kept keys, at 0 again, or as far behind the previous segment's as it has rows. */
export const previousPositions = ["continued", "restarted", "apart"] as const;
export type PreviousPositions = (typeof previousPositions)[number];

/** Reads keys by name and type, and finds the `armt.` keys that were never read. */
class KeyReader {
    private readonly asked = new Set<string>();

    constructor(private readonly file: GgufFile) {}

    optional<T extends keyof ScalarValues>(key: string, type: T): ScalarValues[T] | undefined {
        this.asked.add(key);
        const entry = this.file.metadata.get(key);
        if (entry === undefined) return undefined;
        if (entry.type !== type) throw new ArmtKeyError(key, `key ${quote(key)} is ${entry.type}, expected ${type}`);
        return entry.value as ScalarValues[T];
    }

    required<T extends keyof ScalarValues>(key: string, type: T): ScalarValues[T] {
        const value = this.optional(key, type);
        if (value === undefined) throw new ArmtKeyError(key, `key ${quote(key)} is missing`);
        return value;
    }

    has(key: string): boolean {
        return this.file.metadata.has(key);
    }

    /** @returns the number of its elements */
    array(key: string, type: ElementType): number | undefined {
        this.asked.add(key);
        const entry = this.file.metadata.get(key);
        if (entry === undefined) return undefined;
        if (entry.type !== "ARRAY" || entry.elementType !== type)
            throw new ArmtKeyError(key, `key ${quote(key)} is not an array of ${type}`);
        return entry.count;
    }

    count(key: string, max = 2 ** 31 - 1): number {
        const value = this.required(key, "UINT32");
        if (value < 1 || value > max) throw invalid(key, value, `1 to ${max}`);
        return value;
    }

    positive(key: string): number {
        const value = this.required(key, "FLOAT32");
        if (!Number.isFinite(value) || value <= 0) throw invalid(key, value, "a positive number");
        return value;
    }

    refuseOthers(prefix: string): void {
        for (const key of this.file.metadata.keys()) {
            if (key.startsWith(prefix) && !this.asked.has(key))
                throw new ArmtKeyError(key, `unknown key ${quote(key)}`);
        }
    }
}

function explainArchitecture(architecture: string): string {
    if (architecture === memoryArchitecture) return "it is a memory without its base; combine them with `armt attach`";
    return `it is a ${quote(architecture)} model without a memory; ${withoutMemoryAdvice}`;
}

/** Reads and checks the `armt.` keys. @throws {ArmtError} that names the key, without the file */
export function readArmtKeys(file: GgufFile): ArmtModelKeys {
    const keys = new KeyReader(file);
    const architecture = keys.required("general.architecture", "STRING");
    if (architecture !== "armt") throw new ArmtError(explainArchitecture(architecture));
    const version = keys.required("armt.format_version", "UINT32");
    if (version < 1 || version > LAST_FORMAT_VERSION)
        throw invalid(
            "armt.format_version",
            version,
            `1 to ${LAST_FORMAT_VERSION}; update node-llama-cpp-armt, or convert the checkpoint again`
        );
    keys.optional("armt.head_digest", "STRING");
    const info = readAll(keys);
    if (version === 1 && (info.sinkCount > 0 || info.seesPreviousSegment))
        throw invalid("armt.format_version", version, "2, with a sink or attention to the previous segment");
    if (version < 3 && isInnerLoop(info))
        throw invalid("armt.format_version", version, "3, with an inner loop's keys or a window within a segment");
    if (version < 4 && info.rereadsPreviousSegment)
        throw invalid("armt.format_version", version, "4, with segments that begin with the text of the one before");
    if (version < 5 && file.metadata.has("armt.memory.epsilon"))
        throw invalid("armt.format_version", version, "5, with an epsilon of the memory");
    keys.refuseOthers("armt.");
    checkAll(info);
    return info;
}

/** Whether older versions would compute something else. */
function isInnerLoop({ seesPreviousSegment, previousPositions, memory, ...info }: ArmtModelKeys): boolean {
    const rows = info.sinkCount + info.segmentSize + memory.tokenCount;
    return (
        previousPositions !== "continued" ||
        memory.mutual !== seesPreviousSegment ||
        memory.disjoint ||
        memory.kind === "recurrent" ||
        (info.positions.type === "learned" && info.positions.continues) ||
        (info.slidingWindow !== undefined && info.slidingWindow < rows)
    );
}

function readAll(keys: KeyReader): ArmtModelKeys {
    const headSize = keys.count("armt.attention.key_length");
    const valueSize = keys.count("armt.attention.value_length");
    if (valueSize !== headSize)
        throw invalid("armt.attention.value_length", valueSize, `${headSize} (\`armt.attention.key_length\`)`);
    const seesPreviousSegment = keys.optional("armt.attention.previous_segment", "BOOL") ?? false;
    const norm = keys.has("armt.attention.layer_norm_epsilon") ? "layer" : "rms";
    return {
        name: keys.optional("general.name", "STRING"),
        baseArchitecture: keys.required("armt.base_architecture", "STRING"),
        fingerprint: keys.required("armt.fingerprint", "STRING"),
        earlierFingerprints: readTexts(keys, "armt.earlier_fingerprints"),
        vocabSize: keys.count("armt.vocab_size"),
        contextLength: keys.count("armt.context_length"),
        embeddingLength: keys.count("armt.embedding_length"),
        blockCount: keys.count("armt.block_count", MAX_LAYERS),
        feedForwardLength: keys.count("armt.feed_forward_length"),
        headCount: keys.count("armt.attention.head_count"),
        headCountKv: keys.count("armt.attention.head_count_kv"),
        headSize,
        norm,
        normEpsilon: keys.positive(`armt.attention.layer_norm_${norm === "rms" ? "rms_" : ""}epsilon`),
        activation: readActivation(keys),
        gated: keys.optional("armt.feed_forward_gated", "BOOL") ?? true,
        embeddingScale: keys.has("armt.embedding_scale") ? keys.positive("armt.embedding_scale") : 1,
        attentionScale: keys.has("armt.attention.scale") ? keys.positive("armt.attention.scale") : headSize ** -0.5,
        parallelResidual: keys.optional("armt.use_parallel_residual", "BOOL") ?? false,
        slidingWindow: keys.has("armt.attention.sliding_window")
            ? keys.count("armt.attention.sliding_window")
            : undefined,
        seesPreviousSegment,
        previousPositions: readName(keys, "armt.attention.previous_segment_positions", previousPositions, "continued"),
        rereadsPreviousSegment: keys.optional("armt.reread_previous", "BOOL") ?? false,
        sinkCount: keys.has("armt.sink_count") ? keys.count("armt.sink_count", 1) : 0,
        positions: keys.has("armt.position_count") ? readTable(keys) : readRope(keys, headSize),
        segmentSize: keys.count("armt.segment_size"),
        segmentAlignment: readAlignment(keys),
        memory: readMemory(keys, seesPreviousSegment),
        ask: readAskForm(keys),
        baseName: keys.optional("general.base_model.0.name", "STRING"),
        license: keys.optional("general.license", "STRING"),
        training: keys.optional("armt.training", "STRING")
    };
}

function readMemory(keys: KeyReader, seesPreviousSegment: boolean): ArmtModelKeys["memory"] {
    const kind = readName(keys, "armt.memory.kind", memoryKinds, "associative");
    const shared = {
        kind,
        tokenCount: keys.count("armt.memory.token_count"),
        attendsToText: keys.optional("armt.memory.attends_to_text", "BOOL") ?? true,
        mutual: keys.optional("armt.memory.mutual", "BOOL") ?? seesPreviousSegment,
        disjoint: keys.optional("armt.memory.disjoint", "BOOL") ?? false
    };
    if (kind === "recurrent") {
        const flags = {
            normalizeKeys: false,
            useDenom: false,
            correction: false,
            gating: false,
            epsilon: MEMORY_EPSILON
        };
        return { ...shared, ...flags, keyLength: 0, dpfpOrder: DPFP_ORDER, headCount: 1 };
    }
    return {
        ...shared,
        keyLength: keys.count("armt.memory.key_length"),
        dpfpOrder: keys.count("armt.memory.dpfp_order"),
        headCount: keys.count("armt.memory.head_count"),
        normalizeKeys: keys.required("armt.memory.normalize_keys", "BOOL"),
        useDenom: keys.required("armt.memory.use_denom", "BOOL"),
        correction: keys.required("armt.memory.correction", "BOOL"),
        gating: keys.required("armt.memory.gating", "BOOL"),
        epsilon: keys.has("armt.memory.epsilon") ? keys.positive("armt.memory.epsilon") : MEMORY_EPSILON
    };
}

function readAskForm(keys: KeyReader): ArmtAskForm | undefined {
    if (!keys.has("armt.ask.chat")) return undefined;
    return {
        chat: keys.required("armt.ask.chat", "BOOL"),
        close: keys.required("armt.ask.close", "BOOL"),
        greedy: keys.required("armt.ask.greedy", "BOOL"),
        before: keys.optional("armt.ask.before", "STRING"),
        after: keys.optional("armt.ask.after", "STRING"),
        start: keys.optional("armt.ask.start", "STRING"),
        end: readTexts(keys, "armt.ask.end")
    };
}

/** A list of texts, as JSON; empty if the key is absent. */
function readTexts(keys: KeyReader, key: string): string[] {
    const json = keys.optional(key, "STRING") ?? "[]";
    let texts: unknown;
    try {
        texts = JSON.parse(json);
    } catch {
        // judged below
    }
    if (!Array.isArray(texts) || !texts.every((text) => typeof text === "string"))
        throw invalid(key, json, "a JSON list of texts");
    return texts;
}

function readTable(keys: KeyReader): ArmtModelKeys["positions"] {
    return {
        type: "learned",
        count: keys.count("armt.position_count"),
        wrapped: keys.optional("armt.position_wrap", "BOOL") ?? false,
        continues: keys.optional("armt.position_continues", "BOOL") ?? false
    };
}

function readRope(keys: KeyReader, headSize: number): ArmtModelKeys["positions"] {
    const dimensions = keys.count("armt.rope.dimension_count");
    if (dimensions > headSize || dimensions % 2 !== 0)
        throw invalid("armt.rope.dimension_count", dimensions, `an even number up to ${headSize}`);
    const scaling = keys.optional("armt.rope.scaling.type", "STRING");
    if (scaling !== undefined && scaling !== "linear") throw invalid("armt.rope.scaling.type", scaling, '"linear"');
    return {
        type: "rope",
        dimensions,
        freqBase: keys.positive("armt.rope.freq_base"),
        linearFactor: scaling === undefined ? 1 : keys.positive("armt.rope.scaling.factor"),
        localFreqBase: readLocalBase(keys)
    };
}

function readLocalBase(keys: KeyReader): number | undefined {
    const layers = keys.array("armt.rope.local_layers", "BOOL");
    if (layers === undefined) return undefined;
    const layerCount = keys.count("armt.block_count", MAX_LAYERS);
    if (layers !== layerCount)
        throw new ArmtKeyError(
            "armt.rope.local_layers",
            `key "armt.rope.local_layers" has ${layers} entries, expected ${layerCount}`
        );
    return keys.positive("armt.rope.local_freq_base");
}

function readActivation(keys: KeyReader): Activation {
    return readName(keys, "armt.activation", activations, "silu");
}

function readName<T extends string>(keys: KeyReader, key: string, names: readonly T[], absent: T): T {
    const value = keys.optional(key, "STRING") ?? absent;
    const known = names.find((name) => name === value);
    if (known === undefined) throw invalid(key, value, names.join(", "));
    return known;
}

function readAlignment(keys: KeyReader): ArmtModelKeys["segmentAlignment"] {
    const value = keys.required("armt.segment_alignment", "STRING");
    const known = alignments.find((name) => name === value);
    if (known === undefined) throw invalid("armt.segment_alignment", value, alignments.join(", "));
    return known;
}

function checkAll(info: ArmtModelKeys): void {
    const { baseArchitecture, fingerprint, headCount, headCountKv, headSize, embeddingLength, memory } = info;
    if (!baseArchitectures.some((name) => name === baseArchitecture))
        throw invalid("armt.base_architecture", baseArchitecture, baseArchitectures.join(", "));
    if (!/^[0-9a-f]{64}$/.test(fingerprint)) throw invalid("armt.fingerprint", fingerprint, "64 hex digits");
    if (headCount % headCountKv !== 0)
        throw invalid("armt.attention.head_count_kv", headCountKv, `a divisor of ${headCount} heads`);
    if (headSize % 2 !== 0) throw invalid("armt.attention.key_length", headSize, "an even number");
    const { sinkCount, seesPreviousSegment, rereadsPreviousSegment } = info;
    const window = seesPreviousSegment ? info.slidingWindow : undefined;
    const rows = info.positions.type === "learned" ? info.positions.count : window;
    const isRecurrent = memory.kind === "recurrent";
    const others = memory.tokenCount + (isRecurrent ? memory.tokenCount : sinkCount);
    const parts = seesPreviousSegment || rereadsPreviousSegment ? 2 : 1;
    if (rows !== undefined && parts * info.segmentSize + others > rows)
        throw invalid(
            "armt.segment_size",
            info.segmentSize,
            `${Math.floor((rows - others) / parts)} at most: with ${memory.tokenCount} memory tokens the base model ` +
                `takes ${rows} rows`
        );
    const splits = !memory.attendsToText || (info.positions.type === "learned" && info.positions.wrapped);
    if (sinkCount > 0 && splits)
        throw invalid("armt.sink_count", sinkCount, "0, since positions wrap or memory rows do not attend to the text");
    if (seesPreviousSegment && (splits || info.positions.type === "learned"))
        throw invalid(
            "armt.attention.previous_segment",
            "true",
            "false, since it needs RoPE and memory rows that attend to the text"
        );
    const continues = info.positions.type === "learned" && info.positions.continues;
    const isOther = seesPreviousSegment || sinkCount > 0 || memory.mutual || memory.disjoint || isRecurrent;
    if (rereadsPreviousSegment && (isOther || continues))
        throw invalid("armt.reread_previous", "true", "false, since other keys change a segment's rows");
    const isWrapped = info.positions.type === "learned" && (info.positions.wrapped || continues);
    const isPlain = sinkCount === 0 && !seesPreviousSegment && memory.attendsToText && !memory.disjoint;
    if (isRecurrent && (isWrapped || !isPlain || memory.mutual))
        throw invalid("armt.memory.kind", memory.kind, "associative, since other keys change a segment's rows");
    if (memory.disjoint && (seesPreviousSegment || sinkCount > 0 || info.positions.type === "learned"))
        throw invalid(
            "armt.memory.disjoint",
            "true",
            "false, since it needs RoPE, and neither a sink nor attention to the previous segment"
        );
    if (memory.dpfpOrder !== DPFP_ORDER) throw invalid("armt.memory.dpfp_order", memory.dpfpOrder, `${DPFP_ORDER}`);
    if (memory.keyLength % memory.headCount !== 0 || embeddingLength % memory.headCount !== 0)
        throw invalid(
            "armt.memory.head_count",
            memory.headCount,
            `a divisor of \`armt.memory.key_length\` (${memory.keyLength}) and \`armt.embedding_length\` ` +
                `(${embeddingLength})`
        );
}

function invalid(key: string, value: string | number, expected: string): ArmtKeyError {
    return new ArmtKeyError(
        key,
        `key ${quote(key)} is ${typeof value === "string" ? quote(value) : value}, expected ${expected}`
    );
}
