import type { Readable } from "node:stream";
import { decodeText } from "../../formats/text/TextReader.js";

/** A byte order mark, or the first characters of a line. */
const headLength = 4;

/**
 * The lines of an input, each as soon as it has arrived, so that a program can ask, read the answer and ask again.
 * @throws {NotTextError} while iterating, if the input is not text
 */
export async function* inputLines(input: Readable): AsyncGenerator<string, void, void> {
    let rest = "";
    for await (const piece of decodeText(input, undefined, headLength)) {
        // a carriage return at the end may be half of a line's end
        const lines = (rest + piece).split(/\r\n|\n|\r(?!$)/);
        rest = lines.pop()!;
        yield* lines;
    }
    if (rest !== "") yield rest.replace(/\r$/, "");
}
