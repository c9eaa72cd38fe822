import type { Token } from "node-llama-cpp";

/** Finds where questions begin. It looks at the tokens alone, so equal tokens are always cut in the same places. */
export class QuestionCuts {
    /** @param start tokens that every question begins with; at least one */
    constructor(private readonly start: readonly Token[]) {}

    /** Tokens in the start of a question. */
    get length(): number {
        return this.start.length;
    }

    /** Indices at which a question begins, in ascending order, without 0. */
    find(tokens: ArrayLike<number>): number[] {
        const { start } = this;
        const found: number[] = [];
        for (let at = 1; at + start.length <= tokens.length; at++)
            if (this.isAt(tokens, at)) {
                found.push(at);
                at += start.length - 1;
            }
        return found;
    }

    /** Whether `tokens` begin with the start of a question. */
    opens(tokens: ArrayLike<number>): boolean {
        return tokens.length >= this.start.length && this.isAt(tokens, 0);
    }

    private isAt(tokens: ArrayLike<number>, at: number): boolean {
        const { start } = this;
        for (let i = 0; i < start.length; i++) if (tokens[at + i] !== start[i]) return false;
        return true;
    }
}
