import { MEMORY_EPSILON } from "../formats/gguf/armt-keys.js";
import { ArmtError, quote } from "../util/errors.js";
import type { JsonFile } from "../util/json-file.js";
import { type Dialect, dialects } from "./dialects.js";

export const segmentAlignments = ["left", "right", "center"] as const;
export type SegmentAlignment = (typeof segmentAlignments)[number];

/** How the checkpoint computes its memory (see the ARMT paper, arXiv 2407.04841). The weights do not show this. */
export type ArmtConfig = {
    /**
     * `recurrent` is plain RMT: no layer has a memory, and the last rows' output is the next segment's first input. The
     * tensors tell.
     */
    memoryKind: "associative" | "recurrent";
    /** Number of text tokens in a segment. */
    segmentSize: number;
    segmentAlignment: SegmentAlignment;
    /** Number of heads of the associative memory. */
    headCount: number;
    normalizeKeys: boolean;
    useDenom: boolean;
    correction: boolean;
    gating: boolean;
    /** Added to q·z, k·z and ‖k‖² before they divide. */
    memoryEpsilon: number;
    /** Whether memory rows always use the last rows of a learned position table, whatever the text's length. */
    wrapPositions: boolean;
    /** Whether learned positions run on from segment to segment, those of memory rows included. */
    positionsContinue: boolean;
    /**
     * Whether memory rows attend to the text before them. `undefined`: as in the version of the code that trained the
     * checkpoint.
     */
    memoryAttendsToText: boolean | undefined;
    /** Whether a learned row precedes each segment's text. `undefined`: yes if the checkpoint has a tensor for it. */
    sink: boolean | undefined;
    /** Whether attention reaches into the previous segment's text, with a window of one segment. */
    slidingWindow: boolean;
    /** Whether each segment's rows begin with the text of the segment before, computed again. */
    rereadsPrevious: boolean;
    /** The version of the authors' code, which decides what memory rows see, and positions in a window. */
    dialect: Dialect;
    /** Whether each layer has a memory. `undefined`: all have. */
    layersWithMemory: readonly boolean[] | undefined;
    /** `undefined` if the file does not give it; the tensors' shapes do. */
    memoryTokens: number | undefined;
    memoryKeySize: number | undefined;
};

/** Options that override the file's values. */
export type ArmtFlags = Partial<ArmtConfig>;

/** Values from the weights or another file. They apply only if neither the options nor the file give a value. */
export type ArmtHints = Partial<ArmtConfig>;

export const MAX_SEGMENT_SIZE = 2 ** 20;

/** Keys that do not affect the computation. */
const ignoredKeys = new Set([
    "freeze_mem",
    "freeze_base_model",
    "layers_attr",
    "model_type",
    "architectures",
    "transformers_version",
    "torch_dtype",
    "dtype"
]);
const knownKeys = new Set([
    ...ignoredKeys,
    "segment_size",
    "segment_alignment",
    "n_heads",
    "normalize_keys",
    "use_denom",
    "correction",
    "gating",
    "memory_epsilon",
    "num_mem_tokens",
    "d_mem",
    "wrap_pos",
    "use_sink",
    "sliding_window",
    "attend_to_previous_input",
    "dialect",
    "wrap_layers",
    "continue_pos"
]);

/** Parameters of adaptive computation, which have no effect while it is off. */
const adaptiveKeys = new Set(["max_hop", "act_type", "act_format", "noisy_halting", "constant_depth", "time_penalty"]);
/** Parameters of a LoRA run that the adapter's own tensors and config also contain. */
const loraKeys = /^(?:use_lora|lora_(?:attn_)?(?:dim|alpha|dropout|r))$/;

/** Variants in the authors' newer code, identified by their keys. */
const refusedKeys: readonly { pattern: RegExp; what: string }[] = [
    { pattern: /^act_|_act$|ponder/, what: "adaptive computation" },
    { pattern: /_depth_multiplier$/, what: "a layer that is applied several times" },
    { pattern: /adapter/, what: "an adapter" }
];

export type ArmtConfigOptions = {
    /** Whether the file is a transformers config, which has other keys as well. Default: `false`. */
    isClassConfig?: boolean;
    /** A sentence for the error about a value that nothing gives. Default: none. */
    suggestion?: string;
};

/**
 * Merges the file and the flags; flags win. Hints, then the authors' defaults, supply the values that neither gives.
 * Values in which published checkpoints differ (`normalize_keys`, segment size) have no default and must be given.
 * @throws {ArmtError} that names the key or the flag
 */
export function parseArmtConfig(
    json: JsonFile | undefined,
    flags: ArmtFlags,
    hints: ArmtHints = {},
    { isClassConfig = false, suggestion }: ArmtConfigOptions = {}
): ArmtConfig {
    if (json !== undefined) checkKeys(json, isClassConfig);
    const segmentSize =
        flags.segmentSize ?? json?.integer("segment_size", { min: 1, max: MAX_SEGMENT_SIZE }) ?? hints.segmentSize;
    if (segmentSize === undefined) throw missing("segment_size", "--segment-size", suggestion);
    if (!Number.isInteger(segmentSize) || segmentSize < 1 || segmentSize > MAX_SEGMENT_SIZE)
        throw new ArmtError(`--segment-size is ${segmentSize}, expected an integer from 1 to ${MAX_SEGMENT_SIZE}`);
    const normalizeKeys = flags.normalizeKeys ?? json?.boolean("normalize_keys") ?? hints.normalizeKeys;
    if (normalizeKeys === undefined)
        throw missing("normalize_keys", "--normalize-keys or --no-normalize-keys", suggestion);
    const headCount = flags.headCount ?? json?.integer("n_heads", { min: 1 }) ?? hints.headCount ?? 1;
    if (!Number.isInteger(headCount) || headCount < 1)
        throw new ArmtError(`--n-heads is ${headCount}, expected a positive integer`);
    return {
        memoryKind: hints.memoryKind ?? "associative",
        segmentSize,
        segmentAlignment: flags.segmentAlignment ?? parseAlignment(json) ?? hints.segmentAlignment ?? "left",
        headCount,
        normalizeKeys,
        useDenom: flags.useDenom ?? json?.boolean("use_denom") ?? hints.useDenom ?? true,
        correction: flags.correction ?? json?.boolean("correction") ?? hints.correction ?? true,
        gating: flags.gating ?? json?.boolean("gating") ?? hints.gating ?? false,
        memoryEpsilon:
            flags.memoryEpsilon ?? json?.number("memory_epsilon", { min: 1e-12, max: 1000 }) ?? MEMORY_EPSILON,
        memoryAttendsToText: flags.memoryAttendsToText ?? hints.memoryAttendsToText,
        sink: flags.sink ?? json?.boolean("use_sink") ?? hints.sink,
        slidingWindow: flags.slidingWindow ?? json?.boolean("sliding_window") ?? hints.slidingWindow ?? false,
        rereadsPrevious:
            flags.rereadsPrevious ?? json?.boolean("attend_to_previous_input") ?? hints.rereadsPrevious ?? false,
        dialect: flags.dialect ?? parseDialect(json) ?? hints.dialect ?? "outer",
        layersWithMemory: flags.layersWithMemory ?? parseLayers(json) ?? hints.layersWithMemory,
        wrapPositions: flags.wrapPositions ?? json?.boolean("wrap_pos") ?? hints.wrapPositions ?? false,
        positionsContinue: flags.positionsContinue ?? json?.boolean("continue_pos") ?? hints.positionsContinue ?? false,
        memoryTokens: flags.memoryTokens ?? json?.integer("num_mem_tokens", { min: 1 }),
        memoryKeySize: flags.memoryKeySize ?? json?.integer("d_mem", { min: 1 })
    };
}

/** What the authors' wrapper saves as `config.json` with `PyTorchModelHubMixin`: its constructor's arguments. */
export function parseMixinConfig(json: JsonFile): ArmtHints {
    return {
        segmentSize: json.integer("segment_size", { min: 1, max: MAX_SEGMENT_SIZE }),
        segmentAlignment: parseAlignment(json)
    };
}

function parseAlignment(json: JsonFile | undefined): SegmentAlignment | undefined {
    const value = json?.string("segment_alignment");
    if (json === undefined || value === undefined) return undefined;
    const known = segmentAlignments.find((name) => name === value);
    if (known === undefined) throw json.error("segment_alignment", value, segmentAlignments.join(", "));
    return known;
}

function parseDialect(json: JsonFile | undefined): Dialect | undefined {
    const value = json?.string("dialect");
    if (json === undefined || value === undefined) return undefined;
    const known = dialects.find((name) => name === value);
    if (known === undefined) throw json.error("dialect", value, dialects.join(", "));
    return known;
}

function parseLayers(json: JsonFile | undefined): boolean[] | undefined {
    const value = json?.get("wrap_layers");
    if (json === undefined || value === undefined || value === null) return undefined;
    // the authors' default is a list of ones
    if (!Array.isArray(value) || !value.every((entry) => [true, false, 0, 1].includes(entry as boolean)))
        throw json.error("wrap_layers", value, "a list of true and false, one for each layer");
    return value.map(Boolean);
}

function checkKeys(json: JsonFile, isClassConfig: boolean): void {
    for (const [key, value] of json.values) {
        if (knownKeys.has(key) || adaptiveKeys.has(key) || loraKeys.test(key) || !isSet(key, value)) continue;
        const refused = refusedKeys.find(({ pattern }) => pattern.test(key));
        if (refused !== undefined)
            throw new ArmtError(
                `${quote(json.path)}: \`${key}\` asks for ${refused.what}: not supported; convert a checkpoint that ` +
                    "was trained without it"
            );
        if (isClassConfig) continue;
        throw new ArmtError(
            `${quote(json.path)}: unknown key ${quote(key)}; remove it if it doesn't change what the model computes`
        );
    }
}

/** Whether an option has an effect. Off, absent and empty values have none, and neither has a factor of 1. */
function isSet(key: string, value: unknown): boolean {
    if (key.endsWith("_multiplier") && value === 1) return false;
    return value !== null && value !== false && value !== 0 && value !== "";
}

function missing(key: string, flag: string, suggestion: string | undefined): ArmtError {
    const hint = suggestion === undefined ? "" : ` (${suggestion})`;
    return new ArmtError(
        `\`${key}\` is unknown: armt_config.json lacks it, and the weights don't show it; pass ${flag}${hint}`
    );
}
