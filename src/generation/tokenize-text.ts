import { ArmtError, type Token } from "../../plugin/index.js";
import { PieceTokenizer, UncutTextError } from "../../plugin/memory/PieceTokenizer.js";
import { stopwatch } from "../util/stopwatch.js";
import { TimeSlice } from "../util/TimeSlice.js";

/** A text is tokenized in pieces of this length, since a vocabulary may need 50 ms for one. Unit: UTF-16 code units. */
const pieceLength = 2 ** 12;

/** Longest text that is tokenized at once, whatever the time. Unit: UTF-16 code units. */
const atOnce = 2 ** 14;

/**
 * Time for a stretch that cannot be cut; a longer one would take at least twice as long, and block all requests. The
 * time for a single word grows with the square of its length in some vocabularies. Unit: milliseconds of computing.
 */
const maxUncutMs = 50;

/**
 * Tokenizes a text in pieces, so that other requests can run meanwhile. The tokens are those of the whole text.
 * @throws {UncutTextError} for a long text without a place to cut it
 * @throws the signal's reason if it is aborted
 */
export async function tokenizeText(
    tokenize: (text: string) => readonly Token[],
    text: string,
    signal?: AbortSignal
): Promise<Token[]> {
    if (text.length <= atOnce) return [...tokenize(text)];
    let longest = 0;
    let isSlow = false;
    const timed = (part: string) => {
        if (part.length <= atOnce) return tokenize(part);
        // the length of a stretch doubles until it can be cut
        if (isSlow && part.length > 1.5 * longest)
            throw new UncutTextError(
                `the text cannot be cut into pieces within ${longest} characters; check that it is text`
            );
        const spent = stopwatch();
        const tokens = tokenize(part);
        longest = Math.max(longest, part.length);
        isSlow ||= spent() > maxUncutMs;
        return tokens;
    };
    const pieces = new PieceTokenizer(timed, { pieceLength });
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
        if (error instanceof ArmtError && !(error instanceof UncutTextError)) return [...timed(text)];
        throw error;
    }
}
