import type { SegmentCut } from "../memory/segment-keys.js";
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
 */
export function findCut(
    { firstTokenSequenceIndex: start, tokens, isPart }: Read,
    sequence: SequenceBefore,
    alignment: ArmtSegmentAlignment,
    segmentSize: number
): SegmentCut | undefined {
    if (start === 0) return planCut(isPart === true ? "left" : alignment, tokens.length, segmentSize);
    const stats = sequence.readStats();
    if (stats === undefined || !sequence.isRegular) return undefined;
    const first = firstSegment(alignment, stats, segmentSize);
    return first === undefined ? undefined : { first, each: segmentSize, until: 0 };
}

function planCut(alignment: ArmtSegmentAlignment, total: number, segmentSize: number): SegmentCut {
    const { first, each } = planSegments(alignment, total, segmentSize);
    return { first, each, until: alignment === "center" ? total : 0 };
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
