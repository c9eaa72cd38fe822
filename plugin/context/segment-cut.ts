import { type SegmentCut, segmentEnds } from "../memory/segment-keys.js";
import type { NativeSequenceStats } from "../native/addon.js";
import type { ArmtSegmentAlignment } from "../types.js";
import { planSegments } from "./segments.js";

/** The read whose segments are wanted. */
interface Read {
    readonly firstTokenSequenceIndex: number;
    readonly tokens: readonly unknown[];
    readonly isPart?: boolean;
}

/** The sequence before the read. */
interface SequenceBefore {
    readonly isRegular: boolean;
    readStats(): NativeSequenceStats | undefined;
}

/**
 * How the tokens of a sequence are cut into segments; undefined if irregularly, so that no store can find them again.
 * @param closes where segments are closed early, in all tokens of the sequence and in those of the read
 */
export function findCut(
    { firstTokenSequenceIndex: start, tokens, isPart }: Read,
    sequence: SequenceBefore,
    alignment: ArmtSegmentAlignment,
    segmentSize: number,
    closes: readonly number[] = []
): SegmentCut | undefined {
    if (start === 0) return planCut(isPart === true ? "left" : alignment, tokens.length, segmentSize, closes);
    const stats = sequence.readStats();
    if (stats === undefined || !sequence.isRegular) return undefined;
    if (closes.length > 0) {
        if (alignment !== "left") return undefined;
        const cut = { first: segmentSize, each: segmentSize, until: 0, closes };
        return isCutBy(cut, stats) ? cut : undefined;
    }
    const first = firstSegment(alignment, stats, segmentSize);
    return first === undefined ? undefined : { first, each: segmentSize, until: 0, closes };
}

/** Whether the closed segments of a sequence end where `cut` ends them. */
export function isCutBy(
    cut: SegmentCut,
    { segmentStart, segmentsClosed }: Pick<NativeSequenceStats, "segmentStart" | "segmentsClosed">
): boolean {
    const ends = segmentEnds(segmentStart + 1, cut);
    return ends.length === segmentsClosed && (ends.at(-1) ?? 0) === segmentStart;
}

function planCut(
    alignment: ArmtSegmentAlignment,
    total: number,
    segmentSize: number,
    closes: readonly number[]
): SegmentCut | undefined {
    // what follows an early close is cut from the left
    if (alignment === "center" && closes.length > 0) return undefined;
    const { first, each } = planSegments(alignment, closes[0] ?? total, segmentSize);
    return { first, each, until: alignment === "center" ? total : 0, closes };
}

/** The size of a sequence's first segment, if all others have the usual one. */
function firstSegment(
    alignment: ArmtSegmentAlignment,
    { segmentStart, segmentsClosed }: NativeSequenceStats,
    segmentSize: number
): number | undefined {
    switch (alignment) {
        case "left":
            return segmentStart === segmentsClosed * segmentSize ? segmentSize : undefined;
        case "right": {
            const first = segmentStart - (segmentsClosed - 1) * segmentSize;
            return segmentsClosed > 0 && first > 0 && first <= segmentSize ? first : undefined;
        }
        case "center":
            return undefined;
    }
}
