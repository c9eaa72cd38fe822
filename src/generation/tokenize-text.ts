import { ArmtError, type Token } from "../../plugin/index.js";
import { PieceTokenizer } from "../../plugin/memory/PieceTokenizer.js";
import { TimeSlice } from "../util/TimeSlice.js";

/** A text is tokenized in pieces of this length, since a vocabulary may need 50 ms for one. Unit: UTF-16 code units. */
const pieceLength = 2 ** 12;

/** Longest text that is tokenized at once. Unit: UTF-16 code units. */
const atOnce = 2 ** 14;

/**
 * Longest stretch without a place to cut it. The time for a single word grows with the square of its length in some
 * vocabularies. Unit: UTF-16 code units.
 */
const maxUncut = 2 ** 15;

/**
 * Tokenizes a text in pieces, so that other requests can run meanwhile. The tokens are those of the whole text.
 * @throws {ArmtError} for a long text without a place to cut it
 * @throws the signal's reason if it is aborted
 */
export async function tokenizeText(
    tokenize: (text: string) => readonly Token[],
    text: string,
    signal?: AbortSignal
): Promise<Token[]> {
    if (text.length <= atOnce) return [...tokenize(text)];
    const pieces = new PieceTokenizer(tokenize, { pieceLength, maxLength: maxUncut });
    const ids: Token[] = [];
    const slice = new TimeSlice(signal);
    try {
        for (let start = 0; start < text.length; start += pieceLength) {
            const steps = pieces.steps(text.slice(start, start + pieceLength));
            for (let step = steps.next(); !step.done; step = steps.next()) {
                for (const id of step.value?.ids ?? []) ids.push(id);
                if (slice.isOver) await slice.pause();
            }
        }
        for (const id of pieces.end().ids) ids.push(id);
        return ids;
    } catch (error) {
        // this vocabulary allows no cuts at all
        if (error instanceof ArmtError && text.length <= maxUncut) return [...tokenize(text)];
        throw error;
    }
}
