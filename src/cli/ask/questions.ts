import type { Readable } from "node:stream";
import { ArmtError } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";

/** The questions of one run. */
export interface Questions {
    /** Whether the questions are lines of an input, of which there may be any number. */
    readonly isList: boolean;
    readonly texts: AsyncIterable<string> | Iterable<string>;
}

/**
 * The question of the command line, or the lines of an input. Empty lines are skipped.
 * @param argument `-` or undefined: the input has the questions
 * @throws {UsageError} if nobody can have meant the input, which is a terminal
 * @throws {ArmtError} if the question is empty; while iterating, if the input has no question or is not text
 */
export function questionsOf(argument: string | undefined, input: Readable & { isTTY?: boolean }): Questions {
    if (argument === undefined && input.isTTY === true)
        throw new UsageError("no question; give one as an argument, pipe in one a line, or use armt chat");
    if (argument === undefined || argument === "-") return { isList: true, texts: linesOf(input) };
    if (argument.trim() === "") throw new ArmtError("the question is empty; it needs at least one character");
    return { isList: false, texts: [argument] };
}

async function* linesOf(input: Readable): AsyncGenerator<string, void, void> {
    let count = 0;
    let rest = "";
    for await (const piece of decoded(input)) {
        const lines = (rest + piece).split(/\r\n|[\r\n]/);
        rest = lines.pop()!;
        for (const question of lines.map((line) => line.trim()).filter(Boolean)) {
            count++;
            yield question;
        }
    }
    const last = rest.trim();
    if (last !== "") yield last;
    else if (count === 0) throw new ArmtError("standard input has no question; write one a line");
}

/** Decodes what has arrived at once, so that a program can ask, read the answer and ask again. */
async function* decoded(input: Readable): AsyncGenerator<string, void, void> {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    try {
        for await (const bytes of input) yield withoutNul(decoder.decode(bytes, { stream: true }));
        yield decoder.decode();
    } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        throw new ArmtError("standard input is not UTF-8 text; convert it, for example with iconv", { cause: error });
    }
}

function withoutNul(text: string): string {
    if (text.includes("\0")) throw new TypeError("a NUL byte");
    return text;
}
