import type { LlamaContextSequence, Token } from "node-llama-cpp";
import { type SequenceInternals, sequenceInternals } from "./internals.js";

/**
 * node-llama-cpp's list of the token ids that a sequence holds. If the ids are not kept, the list consists of holes: it
 * has the right length but uses no memory.
 */
export class TokenRecord {
    private readonly internals: SequenceInternals;

    constructor(sequence: LlamaContextSequence) {
        this.internals = sequenceInternals(sequence);
    }

    /** Tokens in the list. */
    get length(): number {
        return this.internals._contextTokens.length;
    }

    /** Index of the next token in the sequence. */
    get nextIndex(): number {
        return this.internals._nextTokenIndex;
    }

    /** Whether the ids of all tokens are known. */
    get isKnown(): boolean {
        const { _contextTokens: tokens } = this.internals;
        return tokens.length === 0 || hasIds(tokens);
    }

    /** Whether the ids from an index on are known. Dropped ids come before all known ones. */
    isKnownFrom(start: number): boolean {
        return start >= this.length || start in this.internals._contextTokens;
    }

    /** The ids from `start` to before `end`. */
    slice(start: number, end: number): Token[] {
        return this.internals._contextTokens.slice(start, end);
    }

    /** The last ids, at most `count`; none if they are not known. */
    last(count: number): Token[] {
        return this.isKnown && count > 0 ? this.internals._contextTokens.slice(-count) : [];
    }

    /** The first `count` ids. */
    ids(count = this.length): Uint32Array {
        return Uint32Array.from(this.internals._contextTokens.slice(0, count));
    }

    /** The ids of the first `held` tokens, followed by those of `tokens`; undefined if they are not known. */
    idsWith(tokens: readonly Token[], held = this.length): Uint32Array | undefined {
        if (!this.isKnown) return undefined;
        const all = new Uint32Array(held + tokens.length);
        all.set(held === this.length ? this.internals._contextTokens : this.internals._contextTokens.slice(0, held));
        all.set(tokens, held);
        return all;
    }

    /** Appends in place: copying the list with every batch would take time quadratic in its length. */
    append(tokens: readonly Token[], end = tokens.length): void {
        for (let i = 0; i < end; i++) this.internals._contextTokens.push(tokens[i]!);
        this.internals._nextTokenIndex = this.length;
    }

    /**
     * Makes the list as long as what the engine holds.
     * @param held tokens that the engine holds
     * @param tokens the tokens that follow the list; the engine may have read some of them
     */
    reconcile(held: number, tokens: readonly Token[]): void {
        const known = this.length;
        if (held < known) this.internals._contextTokens.length = held;
        this.append(tokens, Math.min(tokens.length, Math.max(0, held - known)));
    }

    /** Drops the ids and keeps their number. */
    forget(): void {
        this.internals._contextTokens = holes(this.length);
    }

    /** Replaces the list after the state of the sequence was replaced. */
    replace(ids: Uint32Array | undefined, count: number): void {
        this.internals._contextTokens = ids === undefined ? holes(count) : (Array.from(ids) as Token[]);
        this.internals._nextTokenIndex = count;
        this.internals._loadedTokenPredictions.length = 0;
        // they belong to what the sequence held before
        this.internals._checkpoints.clearAllCheckpoints();
    }

    /** Takes over the list of another sequence, whose state was copied here. */
    copyFrom(other: TokenRecord): void {
        this.internals._contextTokens = other.internals._contextTokens.slice();
        this.internals._nextTokenIndex = this.length;
    }
}

/** Whether a list of tokens has ids rather than holes. */
export function hasIds(tokens: readonly Token[]): boolean {
    return 0 in tokens;
}

function holes(count: number): Token[] {
    const tokens: Token[] = [];
    // V8 allocates elements for a list of millions, but none for an impossibly long one, and that remains when it is
    // shortened
    tokens.length = 2 ** 32 - 1;
    tokens.length = count;
    return tokens;
}
