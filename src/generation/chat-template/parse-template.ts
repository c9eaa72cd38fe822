import { Template } from "@huggingface/jinja";

/** A text that is no Jinja template. */
export class TemplateSyntaxError extends Error {
    override name = "TemplateSyntaxError";
}

/** Length of a tag that an error quotes. */
const maxQuoted = 80;

/**
 * Parses a template.
 * @throws {TemplateSyntaxError} with the line and the tag that cannot be parsed
 */
export function parseTemplate(source: string): Template {
    try {
        return new Template(source);
    } catch (error) {
        throw new TemplateSyntaxError(`${placeOf(source, reasonOf(error))}: ${reasonOf(error)}`);
    }
}

/**
 * The parser gives no position. If it fails at a tag, it fails in the same way for every beginning of the template that
 * has this tag, so the shortest one ends there.
 */
function placeOf(source: string, reason: string): string {
    if (reason === endsEarly) return `at its end, line ${lineOf(source, source.length)}`;
    const ends = [...source.matchAll(/[%}#]\}/g)].map(({ index }) => index + 2);
    const fails = (end: number) => {
        try {
            new Template(source.slice(0, end));
            return false;
        } catch (error) {
            return reasonOf(error) === reason;
        }
    };
    let [low, high] = [0, ends.length];
    while (low < high) {
        const middle = (low + high) >> 1;
        if (fails(ends[middle]!)) high = middle;
        else low = middle + 1;
    }
    const begin = low === 0 ? 0 : ends[low - 1]!;
    const text = source.slice(begin, ends[low]);
    const opening = Math.max(0, text.search(/\{[%{#]/));
    const tag = text.slice(opening).trim();
    const quoted = tag.length > maxQuoted ? `${tag.slice(0, maxQuoted)}…` : tag;
    return `in line ${lineOf(source, begin + opening)}, at ${JSON.stringify(quoted)}`;
}

const endsEarly = "a tag or a block is not closed";

function reasonOf(error: unknown): string {
    // the parser reads on after the last token
    if (error instanceof TypeError) return endsEarly;
    return error instanceof Error ? error.message : String(error);
}

function lineOf(source: string, position: number): number {
    return source.slice(0, position).split("\n").length;
}
