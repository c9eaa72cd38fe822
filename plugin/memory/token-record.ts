import type { Token } from "node-llama-cpp";
import type { SequenceInternals } from "../internals.js";

// node-llama-cpp keeps the ids of all that a sequence holds. Where they are not wanted, its list is one of holes: as long, but without memory behind it.

/** Whether the ids of all tokens are known. */
export function knowsTokens({ _contextTokens: tokens }: SequenceInternals): boolean {
    return tokens.length === 0 || 0 in tokens;
}

/** Appends in place: a list that is copied with every batch takes time that grows with the square of its length. */
export function appendTokens(internals: SequenceInternals, tokens: readonly Token[], end = tokens.length): void {
    for (let i = 0; i < end; i++) internals._contextTokens.push(tokens[i]!);
    internals._nextTokenIndex = internals._contextTokens.length;
}

/** Drops the ids and keeps their number. */
export function forgetTokens(internals: SequenceInternals): void {
    internals._contextTokens = holes(internals._contextTokens.length);
}

function holes(count: number): Token[] {
    const tokens: Token[] = [];
    // V8 gives a list of some millions room for its elements, and an impossibly long one none, which stays so when it is made shorter
    tokens.length = 2 ** 32 - 1;
    tokens.length = count;
    return tokens;
}

/** The record of a sequence whose state was replaced. */
export function setTokens(internals: SequenceInternals, ids: Uint32Array | undefined, count: number): void {
    internals._contextTokens = ids === undefined ? holes(count) : (Array.from(ids) as Token[]);
    internals._nextTokenIndex = count;
    internals._loadedTokenPredictions.length = 0;
    // they are of what the sequence held before
    internals._checkpoints.clearAllCheckpoints();
}
