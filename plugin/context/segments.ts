import type { ArmtSegmentAlignment } from "../types.js";

/** Sizes of a prompt's segments. Unit: tokens. */
export interface SegmentPlan {
    /** Size of the first segment. */
    readonly first: number;
    /** Size of all others; the last may be shorter. */
    readonly each: number;
}

/**
 * Cuts a prompt as the authors' code does. `left` leaves the last segment short, `right` the first; `center` makes
 * ceil(n / S) segments of equal size, as torch.chunk does.
 */
export function planSegments(alignment: ArmtSegmentAlignment, tokens: number, segmentSize: number): SegmentPlan {
    const segments = Math.max(1, Math.ceil(tokens / segmentSize));
    switch (alignment) {
        case "left":
            return { first: segmentSize, each: segmentSize };
        case "right":
            return { first: tokens - (segments - 1) * segmentSize, each: segmentSize };
        case "center": {
            const size = Math.ceil(tokens / segments);
            return { first: size, each: size };
        }
    }
}
