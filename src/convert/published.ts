import { quote } from "../util/errors.js";
import type { ArmtConfig } from "./armt-config.js";
import type { BaseConfig } from "./base-config.js";
import type { SourceTensor } from "./checkpoint.js";
import type { FamilyName } from "./families.js";

/** A published checkpoint, and what its weights do not show about it. */
export type PublishedCheckpoint = {
    /** Its name on the Hugging Face Hub. */
    id: string;
    /** Names and shapes that the file has. Private runs may share them. */
    shape: {
        architecture: FamilyName;
        hiddenSize: number;
        layerCount: number;
        memoryTokens: number;
        /** `undefined`: plain RMT, which has no associative memory. */
        memoryKeySize: number | undefined;
        /** Rank of an unmerged LoRA on q and v. `undefined`: the file has none. */
        loraRank?: number;
    };
    /** Text tokens in a segment. */
    segmentSize: number;
    /** `undefined` if it is unknown whether its code normalized keys, and for plain RMT, which has none. */
    normalizeKeys: boolean | undefined;
    loraAlpha?: number;
    /** Each segment begins with the text of the segment before. */
    rereadsPrevious?: boolean;
};

const llama1b = {
    architecture: "llama",
    hiddenSize: 2048,
    layerCount: 16,
    memoryTokens: 16,
    memoryKeySize: 64
} as const;

/** Read from the code and notebooks that made and uploaded the files. */
export const publishedCheckpoints: readonly PublishedCheckpoint[] = [
    {
        id: "booydar/RMT-Llama-3.2-1B-Instruct-*-lora-*",
        shape: { ...llama1b, loraRank: 8 },
        segmentSize: 1024,
        normalizeKeys: false,
        loraAlpha: 32
    },
    { id: "irodkin/ARMT-llama3.2-1B", shape: llama1b, segmentSize: 1024, normalizeKeys: true },
    {
        id: "irodkin/ARMT-llama3.2-1B/armt_sliding_llama3.2-1B_ctx512x4_*",
        shape: { ...llama1b, memoryTokens: 32 },
        segmentSize: 512,
        normalizeKeys: true,
        rereadsPrevious: true
    },
    {
        id: "irodkin/armt_babilong_qa*",
        shape: { architecture: "gpt2", hiddenSize: 768, layerCount: 12, memoryTokens: 10, memoryKeySize: 64 },
        segmentSize: 512,
        normalizeKeys: undefined
    },
    {
        id: "AIRI-NLP/RMT-Llama-3.2-1B-*-pg19-*",
        shape: { ...llama1b, memoryKeySize: undefined },
        segmentSize: 1024,
        normalizeKeys: undefined
    },
    {
        id: "booydar/rmt-gpt2-*",
        shape: {
            architecture: "gpt2",
            hiddenSize: 768,
            layerCount: 12,
            memoryTokens: 16,
            memoryKeySize: undefined
        },
        segmentSize: 512,
        normalizeKeys: undefined
    }
];

/** The published checkpoint with the same names and shapes, if there is one. */
export function findPublished(
    tensors: ReadonlyMap<string, SourceTensor>,
    base: Pick<BaseConfig, "architecture" | "hiddenSize" | "layerCount">
): PublishedCheckpoint | undefined {
    const memoryTokens = tensors.get("memory")?.shape[0];
    const memoryKeySize = tensors.get("layers.0.W_mq.weight")?.shape[0];
    const loraRank = tensors.get("layers.0.layer.self_attn.q_proj.weight")?.lora?.rank;
    return publishedCheckpoints.find(
        ({ shape }) =>
            shape.architecture === base.architecture &&
            shape.hiddenSize === base.hiddenSize &&
            shape.layerCount === base.layerCount &&
            shape.memoryTokens === memoryTokens &&
            shape.memoryKeySize === memoryKeySize &&
            shape.loraRank === loraRank &&
            !tensors.has("sink")
    );
}

/** The options with which a published checkpoint is converted, as text. */
export function optionsOf(published: PublishedCheckpoint): string {
    const { segmentSize, normalizeKeys, loraAlpha, rereadsPrevious, shape } = published;
    const keys =
        normalizeKeys === undefined
            ? "and either of --normalize-keys and --no-normalize-keys (armt detect finds out which)"
            : normalizeKeys
              ? "--normalize-keys"
              : "--no-normalize-keys";
    return [
        `--segment-size ${segmentSize}`,
        ...(shape.memoryKeySize === undefined ? [] : [keys]),
        ...(rereadsPrevious === true ? ["--attend-to-previous-input"] : []),
        ...(loraAlpha === undefined ? [] : [`--lora-alpha ${loraAlpha}`])
    ].join(" ");
}

/** One sentence that names the published checkpoint and its options. It is a hint: private runs share the shapes. */
export function describePublished(published: PublishedCheckpoint): string {
    return (
        `names and shapes are those of ${quote(published.id)}, which takes ${optionsOf(published)}; a private run ` +
        "may share them"
    );
}

/** What to warn of: the values with which the model was converted are not the published checkpoint's. */
export function differsFromPublished(published: PublishedCheckpoint, armt: ArmtConfig): boolean {
    const { segmentSize, normalizeKeys, rereadsPrevious = false } = published;
    if (armt.rereadsPrevious !== rereadsPrevious) return true;
    return armt.segmentSize !== segmentSize || (normalizeKeys ?? armt.normalizeKeys) !== armt.normalizeKeys;
}
