import type { ArmtSequence } from "../ArmtSequence.js";
import type { NativeSequenceStats } from "../addon.js";
import type { DecodeRequest } from "../internals.js";
import { type ArmtSegmentAlignment, planSegments } from "../segments.js";
import type { ArmtMemoryStore } from "./ArmtMemoryStore.js";
import { chooseCheckpoints } from "./checkpoint-spacing.js";
import { type SegmentCut, segmentEnds, segmentKeys } from "./segment-keys.js";

type Decoded = [index: number, value: unknown][];
type Decode = (request: DecodeRequest) => Promise<Decoded>;

/** Reads a prompt with a store: from the longest stored prefix on, in pieces that end where a checkpoint is to be taken. */
export async function readWithStore(
    store: ArmtMemoryStore,
    armt: ArmtSequence,
    request: DecodeRequest,
    decode: Decode
): Promise<Decoded> {
    const { firstTokenSequenceIndex: start, tokens } = request;
    const total = start + tokens.length;
    const cut = findCut(armt, request);
    const ends = cut === undefined ? [] : segmentEnds(total, cut);
    // looked at first, since a short turn of a long chat is frequent
    if (cut === undefined || (ends.at(-1) ?? 0) <= start) return await decode(request);
    const all = armt.tokensWith(tokens);
    if (all === undefined) return await decode(request);

    const keys = segmentKeys(armt.origin, cut, all, ends);
    const firstOutput = request.logits.indexOf(true);
    const lastStart = firstOutput < 0 ? total : start + firstOutput;
    const found = await store.find(
        keys.filter(({ end }) => end > start && end <= lastStart),
        armt.origin
    );
    const cached = found === undefined ? 0 : found.end - start;
    if (found !== undefined) await armt.replaceState(found.snapshot, cached);
    store.count(cached);

    const chosen = new Set(chooseCheckpoints(ends, store.checkpointInterval));
    const wanted = await store.missing(keys.filter(({ end }) => end > start + cached && chosen.has(end)));
    const decoded: Decoded = [];
    let at = start + cached;
    const readTo = async (end: number) => {
        if (end <= at) return;
        armt.throwIfCancelled();
        const piece = {
            ...request,
            firstTokenSequenceIndex: at,
            tokens: tokens.slice(at - start, end - start),
            logits: request.logits.slice(at - start, end - start)
        };
        at = end;
        decoded.push(...(await decode(piece)));
    };
    for (const { end, key } of wanted) {
        // a segment is closed by the token after it
        await readTo(end + 1);
        const snapshot = await armt.takeClosed(end);
        if (snapshot !== undefined) await store.put(key, snapshot);
    }
    await readTo(total);
    return decoded;
}

/** How the tokens of a sequence are cut into segments; undefined where that is not regular, so that nothing can be found again. */
function findCut(armt: ArmtSequence, request: DecodeRequest): SegmentCut | undefined {
    const { segmentSize, segmentAlignment } = armt;
    const { firstTokenSequenceIndex: start, tokens, isPart } = request;
    if (start === 0) return planCut(isPart === true ? "left" : segmentAlignment, tokens.length, segmentSize);
    const stats = armt.readStats();
    if (stats === undefined || !armt.isRegular) return undefined;
    const first = firstSegment(segmentAlignment, stats, segmentSize);
    return first === undefined ? undefined : { first, each: segmentSize, until: 0 };
}

function planCut(alignment: ArmtSegmentAlignment, total: number, segmentSize: number): SegmentCut {
    const { first, each } = planSegments(alignment, total, segmentSize);
    return { first, each, until: alignment === "center" ? total : 0 };
}

/** The size of a sequence's first segment, if all others are of the usual one. */
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
