import { createHash, type Hash } from "node:crypto";

/** The SHA-256 of as much of a text as its tokens cover. */
export class TextHash {
    private readonly hash: Hash | undefined;
    private ahead = "";

    /** @param base what the text continues; without its hash, that of the whole is unknown */
    constructor(base: { readonly hash: Hash | undefined } | undefined) {
        this.hash = base === undefined ? createHash("sha256") : base.hash?.copy();
    }

    /** Undefined if unknown. */
    get current(): Hash | undefined {
        return this.hash;
    }

    /** Passes the text on, and remembers what is not covered yet. */
    async *observe(text: AsyncIterable<string>): AsyncGenerator<string, void, void> {
        for await (const piece of text) {
            if (this.hash !== undefined) this.ahead += piece;
            yield piece;
        }
    }

    /** @param characters how much more of the text is covered, in UTF-16 code units */
    advance(characters: number): void {
        if (this.hash === undefined || characters === 0) return;
        this.hash.update(this.ahead.slice(0, characters), "utf8");
        this.ahead = this.ahead.slice(characters);
    }
}
