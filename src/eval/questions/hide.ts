import type { Draw } from "./Draw.js";

/** Something to hide in filler. */
export interface Hidden {
    readonly sentence: string;
    /** Position in the text, from 0 to 1. */
    readonly depth: number;
}

export interface HideOptions {
    /** Length of the whole text. Unit: tokens. */
    tokens: number;
    /** Endless sentences of filler. */
    filler: Iterator<string, never, void>;
    /** Draws where paragraphs begin. */
    draw: Draw;
    countTokens: (text: string) => number;
    /** What is hidden, in the plural, for errors. */
    what: string;
}

/** Share of sentences that begin a paragraph. */
const paragraphs = 0.08;

/** How many filler sentences to try for the last gap. */
const lastTries = 40;

/**
 * Hides sentences, in ascending order of depth, in filler. The text is at most as long as requested, and shorter by
 * less than a sentence.
 * @throws {RangeError} if the sentences do not fit into the text
 */
export function hide(hidden: readonly Hidden[], options: HideOptions): Generator<string, void, void> {
    const { tokens, countTokens, what } = options;
    const sizes = hidden.map(({ sentence }) => Math.max(countTokens(` ${sentence}`), countTokens(`\n${sentence}`)));
    const needed = sizes.reduce((sum, size) => sum + size, 0);
    if (needed > tokens)
        throw new RangeError(
            `${hidden.length} ${what} take ${needed} tokens and do not fit into ${tokens}; use fewer ${what} or a ` +
                "longer text"
        );
    return write(hidden, sizes, options);
}

function* write(
    hidden: readonly Hidden[],
    sizes: readonly number[],
    { tokens, filler, draw, countTokens }: HideOptions
): Generator<string, void, void> {
    // filler must leave room for what is still to be hidden
    let reserved = sizes.reduce((sum, size) => sum + size, 0);
    let written = 0;
    let next = 0;
    let misses = 0;
    while (next < hidden.length || misses < lastTries) {
        const isHidden = next < hidden.length && (written >= hidden[next]!.depth * tokens || misses === lastTries);
        const sentence = isHidden ? hidden[next]!.sentence : filler.next().value;
        const text = `${written === 0 ? "" : draw.next() < paragraphs ? "\n" : " "}${sentence}`;
        const size = countTokens(text);
        if (isHidden) reserved -= sizes[next++]!;
        else if (written + size + reserved > tokens) {
            misses++;
            continue;
        }
        written += size;
        yield text;
    }
}
