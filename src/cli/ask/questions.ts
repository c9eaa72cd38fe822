import type { Readable } from "node:stream";
import { ArmtError } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";
import { inputLines } from "../shared/input-lines.js";

/** The questions of one run. */
export interface Questions {
    /** Whether the questions are lines of an input, of which there may be any number. */
    readonly isList: boolean;
    readonly texts: AsyncIterable<string> | Iterable<string>;
}

/**
 * The question of the command line, or the lines of an input. Empty lines are skipped.
 * @param argument `-` or undefined: the input has the questions
 * @throws {UsageError} if the question is empty, or the input is a terminal, which nobody can have meant
 * @throws {ArmtError} while iterating, if the input has no question or is not text
 */
export function questionsOf(argument: string | undefined, input: Readable & { isTTY?: boolean }): Questions {
    if (argument === undefined && input.isTTY === true)
        throw new UsageError("no question; give one as an argument, pipe in one a line, or use armt chat");
    if (argument === undefined || argument === "-") return { isList: true, texts: linesOf(input) };
    if (argument.trim() === "") throw new UsageError("the question is empty; it needs at least one character");
    return { isList: false, texts: [argument] };
}

async function* linesOf(input: Readable): AsyncGenerator<string, void, void> {
    let count = 0;
    for await (const line of inputLines(input)) {
        const question = line.trim();
        if (question === "") continue;
        count++;
        yield question;
    }
    if (count === 0) throw new ArmtError("standard input has no question; write one a line");
}
