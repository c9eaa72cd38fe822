/** An added token, as the text is searched for it. */
export interface AddedToken {
    readonly text: string;
    /** Whether it is looked for after the others, in the normalized text. */
    readonly normalized: boolean;
}

/** Tokens found in a text, by where they begin. */
type Found = Map<number, string>;

/**
 * Two added tokens that llama.cpp finds elsewhere than Hugging Face's tokenizers do, because they can overlap in a
 * text: llama.cpp looks for the longest token first, and the others for the token that begins first.
 */
export function conflictingTokens(tokens: readonly AddedToken[]): readonly [string, string] | undefined {
    const byPrefix = new Map<string, AddedToken[]>();
    for (const token of tokens)
        for (let end = 1; end < token.text.length; end++) {
            const prefix = token.text.slice(0, end);
            const known = byPrefix.get(prefix);
            if (known === undefined) byPrefix.set(prefix, [token]);
            else known.push(token);
        }
    const search = new Search(tokens);
    for (const first of tokens) {
        if (search.differs(first.text)) return [first.text, search.otherIn(first.text)];
        for (let start = 1; start < first.text.length; start++) {
            const shared = first.text.slice(start);
            for (const second of byPrefix.get(shared) ?? []) {
                // of runs of a character, such as line breaks, the longest one also begins first
                if (second === first || isRun(first.text + second.text)) continue;
                if (search.differs(first.text + second.text.slice(shared.length))) return [first.text, second.text];
            }
        }
    }
    return undefined;
}

function isRun(text: string): boolean {
    return text === text.charAt(0).repeat(text.length);
}

class Search {
    private readonly all: ReadonlySet<string>;
    private readonly early: ReadonlySet<string>;
    private readonly late: ReadonlySet<string>;
    private readonly lengths: readonly number[];

    constructor(tokens: readonly AddedToken[]) {
        const texts = (isWanted: (token: AddedToken) => boolean) =>
            new Set(tokens.filter(isWanted).map(({ text }) => text));
        this.all = texts(() => true);
        this.early = texts(({ normalized }) => !normalized);
        this.late = texts(({ normalized }) => normalized);
        this.lengths = [...new Set(tokens.map(({ text }) => text.length))].sort((a, b) => b - a);
    }

    differs(text: string): boolean {
        const expected = key(this.leftmost(text, [this.all]));
        const inside = this.inside(text);
        return (
            key(this.leftmost(text, [this.early, this.late])) !== expected ||
            // tokens of the same length come in no certain order
            [inside, inside.toReversed()].some((order) => key(this.longest(text, order)) !== expected)
        );
    }

    /** A token within another one. */
    otherIn(text: string): string {
        return this.inside(text).find((inner) => inner !== text) ?? text;
    }

    private inside(text: string): string[] {
        const starts = Array.from(text, (_, start) => start);
        const found = starts.flatMap((start) =>
            this.lengths.map((length) => text.slice(start, start + length)).filter((part) => this.all.has(part))
        );
        return [...new Set(found)];
    }

    /** At each place the longest token, for each set in turn. */
    private leftmost(text: string, sets: readonly ReadonlySet<string>[]): Found {
        const found: Found = new Map();
        for (const set of sets)
            for (const [from, to] of gaps(text, found)) {
                let at = from;
                while (at < to) {
                    const length = this.lengths.find((each) => at + each <= to && set.has(text.slice(at, at + each)));
                    if (length !== undefined && length > 0) found.set(at, text.slice(at, at + length));
                    at += Math.max(1, length ?? 1);
                }
            }
        return found;
    }

    private longest(text: string, order: readonly string[]): Found {
        const found: Found = new Map();
        const byLength = [...order].sort((a, b) => Buffer.byteLength(b) - Buffer.byteLength(a));
        for (const token of byLength)
            for (const [from, to] of gaps(text, found)) {
                let at = text.indexOf(token, from);
                while (at >= 0 && at + token.length <= to) {
                    found.set(at, token);
                    at = text.indexOf(token, at + token.length);
                }
            }
        return found;
    }
}

/** The parts of a text between what was found. */
function gaps(text: string, found: Found): [from: number, to: number][] {
    const parts: [number, number][] = [];
    let from = 0;
    for (const [at, token] of [...found].sort(([a], [b]) => a - b)) {
        if (at > from) parts.push([from, at]);
        from = at + token.length;
    }
    if (from < text.length) parts.push([from, text.length]);
    return parts;
}

function key(found: Found): string {
    return JSON.stringify([...found].sort(([a], [b]) => a - b));
}
