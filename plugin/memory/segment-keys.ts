import { createHash } from "node:crypto";
import type { ArmtSnapshotOrigin } from "../types.js";

/** The end of a closed segment, and the name of what all segments up to there leave in memory. */
export interface SegmentKey {
    /** Tokens up to the end of the segment. */
    readonly end: number;
    /** SHA-256 over the origin and all tokens, segment by segment, hexadecimal. */
    readonly key: string;
}

/** Sizes of the segments of a sequence. Unit: tokens. */
export interface SegmentCut {
    /** Size of the first segment. */
    readonly first: number;
    /** Size of all others. */
    readonly each: number;
    /** Tokens for which these sizes hold, if a prompt has its own sizes; otherwise 0. */
    readonly until: number;
    /** Where segments are closed early, in ascending order. */
    readonly closes: readonly number[];
}

/** Ends of the segments that are closed once all tokens are read. A full last segment stays open. */
export function segmentEnds(tokens: number, { first, each, closes }: SegmentCut): number[] {
    const ends: number[] = [];
    let end = first;
    for (const close of [...closes, tokens]) {
        for (; end < close; end += each) ends.push(end);
        if (close < tokens) ends.push(close);
        end = close + each;
    }
    return ends;
}

/** Keys of all ends. Each is derived from the one before, so prompts share keys for as long as they are the same. */
export function segmentKeys(
    origin: ArmtSnapshotOrigin,
    cut: SegmentCut,
    tokens: Uint32Array,
    ends: readonly number[]
): SegmentKey[] {
    const { fingerprint, segmentSize, segmentOverflow, openSegmentLimit, kvTypes, stateType } = origin;
    // the sizes depend on the length of the prompt, so only a prompt of the same length can share them
    const plan = cut.until === 0 ? [] : [cut.each, cut.until];
    // version 0.1 had no state type; its keys stay valid
    const type = stateType === "f32" ? [] : [stateType];
    // closed segments do not depend on whether answers grow
    const overflow = segmentOverflow === "extend" ? [segmentOverflow, openSegmentLimit] : ["close", segmentSize];
    const named = ["armt-memory-1", fingerprint, segmentSize, ...overflow, ...kvTypes, ...type, ...plan];
    let key = createHash("sha256").update(JSON.stringify(named)).digest();
    let start = 0;
    return ends.map((end) => {
        const ids = tokens.subarray(start, end);
        const length = Buffer.alloc(4);
        length.writeUInt32LE(ids.length);
        key = createHash("sha256")
            .update(key)
            .update(length)
            .update(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength))
            .digest();
        start = end;
        return { end, key: key.toString("hex") };
    });
}
