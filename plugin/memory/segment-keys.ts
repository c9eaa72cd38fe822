import { createHash } from "node:crypto";
import type { ArmtSnapshotOrigin } from "../types.js";

/** The end of a closed segment, and the name of what all segments up to it leave in memory. */
export interface SegmentKey {
    /** Tokens up to there. */
    readonly end: number;
    /** SHA-256 over the origin and all tokens, segment by segment, hexadecimal. */
    readonly key: string;
}

/** How a sequence's tokens are cut: the first segment, and all after it. Unit: tokens. */
export interface SegmentCut {
    readonly first: number;
    readonly each: number;
    /** Tokens after which a prompt's own segment size ends; 0 where there is no such. */
    readonly until: number;
}

/** Ends of the segments that are closed once all tokens are read: a last, full segment stays open. */
export function segmentEnds(tokens: number, { first, each }: SegmentCut): number[] {
    const ends: number[] = [];
    for (let end = first; end < tokens; end += each) ends.push(end);
    return ends;
}

/** Keys of all ends, each from the one before, so that prompts that begin alike share keys for as long as they are alike. */
export function segmentKeys(
    origin: ArmtSnapshotOrigin,
    cut: SegmentCut,
    tokens: Uint32Array,
    ends: readonly number[]
): SegmentKey[] {
    const { fingerprint, segmentSize, segmentOverflow, openSegmentLimit, kvTypes, stateType } = origin;
    // other sizes until a planned prompt's end: only a prompt of that very length goes on alike
    const plan = cut.until === 0 ? [] : [cut.each, cut.until];
    // keys of version 0.1 stay what they were
    const type = stateType === "f32" ? [] : [stateType];
    const named = [
        "armt-memory-1",
        fingerprint,
        segmentSize,
        segmentOverflow,
        openSegmentLimit,
        ...kvTypes,
        ...type,
        ...plan
    ];
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
