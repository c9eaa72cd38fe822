import type { LlamaContextSequence, Token } from "../../../plugin/index.js";
import { TimeSlice } from "../../util/TimeSlice.js";
import { unsupported } from "../errors.js";
import type { RawLogprobs } from "./raw-logprobs.js";

/** Logits that are in memory at once: 64 MiB. */
const maxLogits = 2 ** 24;

/**
 * Reads all tokens of a prompt but the last one, and returns the log-probability of each but the first one. The tokens
 * come after those that the sequence holds.
 * @param top number of most probable tokens to return with each token
 * @throws {ApiError} for a plain model
 */
export async function readWithLogprobs(
    { armt }: LlamaContextSequence,
    prompt: readonly Token[],
    { top, vocabSize, signal }: { top: number; vocabSize: number; signal: AbortSignal }
): Promise<RawLogprobs[]> {
    if (armt === undefined)
        throw unsupported("echo", "log-probabilities of the prompt are for ARMT models, and this is a plain one");
    const found: RawLogprobs[] = [];
    const slice = new TimeSlice(signal);
    const step = Math.max(1, Math.floor(maxLogits / vocabSize));
    const head = prompt.slice(0, -1);
    for (let start = 0; start < head.length; start += step)
        for await (const rows of armt.evaluateLogits(head.slice(start, start + step))) {
            signal.throwIfAborted();
            for (let at = 0; at < rows.length; at += vocabSize) {
                found.push(logprobsOf(rows.subarray(at, at + vocabSize), prompt[found.length + 1]!, top));
                if (slice.isOver) await slice.pause();
            }
        }
    return found;
}

function logprobsOf(logits: Float32Array, token: Token, top: number): RawLogprobs {
    let largest = Number.NEGATIVE_INFINITY;
    const best: number[] = [];
    for (let id = 0; id < logits.length; id++) {
        const value = logits[id]!;
        if (value > largest) largest = value;
        if (top === 0 || (best.length === top && value <= logits[best[top - 1]!]!)) continue;
        const place = best.findIndex((other) => logits[other]! < value);
        best.splice(place < 0 ? best.length : place, 0, id);
        if (best.length > top) best.pop();
    }
    let sum = 0;
    for (const value of logits) sum += Math.exp(value - largest);
    const total = largest + Math.log(sum);
    return {
        token,
        logprob: logits[token]! - total,
        top: best.map((id) => ({ token: id as Token, logprob: logits[id]! - total }))
    };
}
