import type { ArmtConfig } from "../convert/armt-config.js";
import type { GgufWriteValue } from "../formats/gguf/writer.js";

/** The part of ARMT's numbers that the weights do not show. */
export type Variant = Pick<ArmtConfig, "normalizeKeys" | "segmentSize" | "segmentAlignment" | "correction">;

/** Values to compare. */
export type Candidates = {
    normalizeKeys: readonly boolean[];
    /** Unit: tokens. */
    segmentSize: readonly number[];
    segmentAlignment: readonly Variant["segmentAlignment"][];
    correction: readonly boolean[];
};

/** All pairs of keys and segment size. They interact: a wrong one of either hides the other's effect. */
export function firstRound({ normalizeKeys, segmentSize }: Candidates, start: Variant): Variant[] {
    return segmentSize.flatMap((size) =>
        normalizeKeys.map((keys) => ({ ...start, segmentSize: size, normalizeKeys: keys }))
    );
}

/** The best of the first round with the other values of alignment and correction, one at a time. */
export function secondRound({ segmentAlignment, correction }: Candidates, best: Variant): Variant[] {
    return [
        ...correction.filter((value) => value !== best.correction).map((value) => ({ ...best, correction: value })),
        ...segmentAlignment
            .filter((value) => value !== best.segmentAlignment)
            .map((value) => ({ ...best, segmentAlignment: value }))
    ];
}

/** The keys of a model file that say so. */
export function variantKeys(variant: Variant): Map<string, GgufWriteValue> {
    return new Map<string, GgufWriteValue>([
        ["armt.segment_size", { type: "UINT32", value: variant.segmentSize }],
        ["armt.segment_alignment", { type: "STRING", value: variant.segmentAlignment }],
        ["armt.memory.normalize_keys", { type: "BOOL", value: variant.normalizeKeys }],
        ["armt.memory.correction", { type: "BOOL", value: variant.correction }]
    ]);
}

/** The options of `armt convert` for a variant. Defaults are left out. */
export function variantOptions({ normalizeKeys, segmentSize, segmentAlignment, correction }: Variant): string {
    return [
        `--segment-size ${segmentSize}`,
        normalizeKeys ? "--normalize-keys" : "--no-normalize-keys",
        ...(segmentAlignment === "left" ? [] : [`--segment-alignment ${segmentAlignment}`]),
        ...(correction ? [] : ["--no-correction"])
    ].join(" ");
}
