import { setImmediate } from "node:timers/promises";
import { ArmtError, type Token } from "../../plugin/index.js";
import { PieceTokenizer } from "../../plugin/memory/PieceTokenizer.js";

/** Longest text that is tokenized at once; a longer one would block all requests. Unit: UTF-16 code units. */
const atOnce = 2 ** 17;
const step = 2 ** 14;

/** Tokenizes a text in pieces, so that other requests can run meanwhile. The tokens are those of the whole text. */
export async function tokenizeText(tokenize: (text: string) => readonly Token[], text: string): Promise<Token[]> {
    if (text.length <= atOnce) return [...tokenize(text)];
    const pieces = new PieceTokenizer(tokenize);
    const ids: Token[] = [];
    const add = (more: readonly Token[]) => {
        for (const id of more) ids.push(id);
    };
    try {
        for (let start = 0; start < text.length; start += step) {
            for (const piece of pieces.push(text.slice(start, start + step))) add(piece.ids);
            await setImmediate();
        }
        add(pieces.end().ids);
        return ids;
    } catch (error) {
        // the text has no place to cut it
        if (error instanceof ArmtError) return [...tokenize(text)];
        throw error;
    }
}
