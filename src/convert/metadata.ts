import { MEMORY_EPSILON } from "../formats/gguf/armt-keys.js";
import { booleanArray, type GgufWriteValue } from "../formats/gguf/writer.js";
import type { ArmtConfig } from "./armt-config.js";
import type { BaseConfig } from "./base-config.js";
import { segmentFormOf } from "./dialects.js";
import { families } from "./families.js";
import type { TargetType } from "./float-encode.js";
import type { MemorySizes } from "./layout.js";

/** Version of docs/model-file.md that the converter writes: the lowest that has all of the file's keys. */
const FORMAT_VERSION = 1;
/** The first version with the sink and with attention into the previous segment. */
const SEGMENT_VARIANTS_VERSION = 2;
/** The first version with the inner loop's forms of a segment, windows that cut into a segment, and plain RMT. */
const INNER_LOOP_VERSION = 3;
/** The first version with segments that begin with the text of the segment before. */
const REREAD_VERSION = 4;
/** The first version with an epsilon of the memory. */
const EPSILON_VERSION = 5;
/** ARMT itself has no limit. This one keeps llama.cpp's 32-bit positions safe. Unit: tokens. */
const CONTEXT_LENGTH = 2 ** 30;
/** ν of the key feature map (arXiv 2407.04841). All published checkpoints use 3. */
const DPFP_ORDER = 3;
/** ggml's version number of the quantized formats. */
const QUANTIZATION_VERSION = 2;

/** llama.cpp's `llama_ftype` for files whose matrices have the type. */
const fileTypes: Record<TargetType, number> = { F32: 0, F16: 1, Q8_0: 7, BF16: 32 };

/**
 * A form of the name that does not affect how a model tokenizes. llama.cpp sets attributes of tokens if `general.name`
 * contains `phi-3`, `phi3` or `modern-bert` in any case. It then refuses a file without the tokens that it expects.
 */
export function plainModelName(name: string): string {
    return name.replace(/(phi)-?(?=3)/gi, "$1 ").replace(/(modern)-(?=bert)/gi, "$1 ");
}

/** The metadata of a model file, except for the fingerprint and the tokenizer. */
export function modelKeys(
    base: BaseConfig,
    armt: ArmtConfig,
    { sizes, embeddingScale }: { sizes: MemorySizes; embeddingScale: number },
    type: TargetType,
    name: string | undefined
): Map<string, GgufWriteValue> {
    const keys = new Map<string, GgufWriteValue>();
    const uint32 = (key: string, value: number) => keys.set(key, { type: "UINT32", value });
    const float32 = (key: string, value: number) => keys.set(key, { type: "FLOAT32", value });
    const bool = (key: string, value: boolean) => keys.set(key, { type: "BOOL", value });
    const string = (key: string, value: string) => keys.set(key, { type: "STRING", value });

    string("general.architecture", "armt");
    if (name !== undefined) string("general.name", plainModelName(name));
    uint32("general.file_type", fileTypes[type]);
    if (type === "Q8_0") uint32("general.quantization_version", QUANTIZATION_VERSION);

    uint32("armt.format_version", versionOf(base, armt, sizes));
    string("armt.base_architecture", base.architecture);
    uint32("armt.vocab_size", base.vocabSize);
    uint32("armt.context_length", CONTEXT_LENGTH);
    uint32("armt.embedding_length", base.hiddenSize);
    uint32("armt.block_count", base.layerCount);
    uint32("armt.feed_forward_length", base.feedForwardSize);
    uint32("armt.attention.head_count", base.headCount);
    uint32("armt.attention.head_count_kv", base.kvHeadCount);
    uint32("armt.attention.key_length", base.headSize);
    uint32("armt.attention.value_length", base.headSize);
    const { norm, gated } = families[base.architecture];
    float32(`armt.attention.layer_norm_${norm === "rms" ? "rms_" : ""}epsilon`, base.normEpsilon);
    // an absent key means the same as for LLaMA
    if (base.activation !== "silu") string("armt.activation", base.activation);
    if (!gated) bool("armt.feed_forward_gated", false);
    if (embeddingScale !== 1) float32("armt.embedding_scale", embeddingScale);
    if (base.attentionScale !== undefined) float32("armt.attention.scale", base.attentionScale);
    if (base.parallel) bool("armt.use_parallel_residual", true);
    if (base.slidingWindow !== undefined) uint32("armt.attention.sliding_window", base.slidingWindow);
    if (base.positionCount !== undefined) {
        uint32("armt.position_count", base.positionCount + (armt.wrapPositions ? sizes.memoryTokens : 0));
        bool("armt.position_wrap", armt.wrapPositions);
        if (armt.positionsContinue) bool("armt.position_continues", true);
    }
    if (!memoryAttendsToText(base, armt)) bool("armt.memory.attends_to_text", false);
    if (base.rope !== undefined) {
        uint32("armt.rope.dimension_count", base.rope.dimensions);
        float32("armt.rope.freq_base", base.rope.theta);
        if (base.rope.scaling?.type === "linear") {
            string("armt.rope.scaling.type", "linear");
            float32("armt.rope.scaling.factor", base.rope.scaling.factor);
        }
        if (base.rope.local !== undefined) {
            keys.set("armt.rope.local_layers", booleanArray(base.rope.local.layers));
            float32("armt.rope.local_freq_base", base.rope.local.theta);
        }
    }

    uint32("armt.segment_size", armt.segmentSize);
    string("armt.segment_alignment", armt.segmentAlignment);
    if (sizes.sinkCount > 0) uint32("armt.sink_count", sizes.sinkCount);
    if (armt.slidingWindow) bool("armt.attention.previous_segment", true);
    if (armt.rereadsPrevious) bool("armt.reread_previous", true);
    const form = segmentFormOf(armt.dialect, armt.slidingWindow);
    if (form.previousPositions !== "continued")
        string("armt.attention.previous_segment_positions", form.previousPositions);
    if (form.mutualMemory !== armt.slidingWindow) bool("armt.memory.mutual", form.mutualMemory);
    if (form.disjointMemory) bool("armt.memory.disjoint", true);
    uint32("armt.memory.token_count", sizes.memoryTokens);
    if (armt.memoryKind === "recurrent") {
        string("armt.memory.kind", "recurrent");
        return keys;
    }
    uint32("armt.memory.key_length", sizes.memoryKeySize);
    uint32("armt.memory.dpfp_order", DPFP_ORDER);
    uint32("armt.memory.head_count", armt.headCount);
    bool("armt.memory.normalize_keys", armt.normalizeKeys);
    bool("armt.memory.use_denom", armt.useDenom);
    bool("armt.memory.correction", armt.correction);
    bool("armt.memory.gating", armt.gating);
    if (armt.memoryEpsilon !== MEMORY_EPSILON) float32("armt.memory.epsilon", armt.memoryEpsilon);
    return keys;
}

function versionOf(base: BaseConfig, armt: ArmtConfig, { sinkCount, memoryTokens }: MemorySizes): number {
    const form = segmentFormOf(armt.dialect, armt.slidingWindow);
    const isInner =
        form.disjointMemory || form.previousPositions !== "continued" || form.mutualMemory !== armt.slidingWindow;
    const rows = sinkCount + armt.segmentSize + memoryTokens;
    if (armt.memoryKind === "associative" && armt.memoryEpsilon !== MEMORY_EPSILON) return EPSILON_VERSION;
    if (armt.rereadsPrevious) return REREAD_VERSION;
    if (armt.memoryKind === "recurrent") return INNER_LOOP_VERSION;
    if (isInner || armt.positionsContinue || (base.slidingWindow !== undefined && base.slidingWindow < rows))
        return INNER_LOOP_VERSION;
    return sinkCount > 0 || armt.slidingWindow ? SEGMENT_VARIANTS_VERSION : FORMAT_VERSION;
}

/**
 * With `wrap_pos`, positions jump at the first memory row. Transformers 5 takes the jump for the start of another text
 * in the batch and hides everything before it (find_packed_sequence_indices in its masking_utils). In models trained
 * with it, memory rows never saw the text's keys.
 */
function memoryAttendsToText({ transformersVersion }: BaseConfig, armt: ArmtConfig): boolean {
    return armt.memoryAttendsToText ?? !(armt.wrapPositions && (transformersVersion ?? 0) >= 5);
}
