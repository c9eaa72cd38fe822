import {
    type LlamaContextSequence,
    type LlamaGrammar,
    LlamaGrammarEvaluationState,
    type Token
} from "../../../plugin/index.js";
import { type AnswerPiece, AnswerText, type TokenText } from "../../generation/AnswerText.js";
import type { RawLogprobs, RawLogprobsCollector } from "./raw-logprobs.js";
import { type Sampling, samplingOptions } from "./sampling.js";

/** A token of an answer, with the log-probability where it was asked for. */
export interface ShownToken extends TokenText {
    readonly logprobs: RawLogprobs | undefined;
}

/** A piece of an answer. */
export interface Piece {
    readonly text: string;
    /** The tokens that became visible with this piece. */
    readonly tokens: readonly ShownToken[];
}

/** Why an answer ended: the model or a stop string ended it, or it is as long as was asked for. */
export type FinishReason = "stop" | "length";

/** Text that became certain, and whether the answer ends with it. */
export type ReadPiece = Pick<AnswerPiece, "text" | "tokens"> & { readonly stopped?: unknown };

/** Makes text of tokens and says where the answer ends. */
export interface AnswerReader {
    push(token: Token): ReadPiece | Promise<ReadPiece>;
    end(): ReadPiece;
    /** The grammar that the next token has to keep to. */
    readonly grammarState?: LlamaGrammarEvaluationState | undefined;
}

export interface WriteOptions {
    /** Number of the choice, from 0. */
    choice: number;
    maxTokens: number;
    sampling: Sampling;
    /** Tokens that end the answer, besides the vocabulary's end-of-generation tokens. */
    stopTokens: ReadonlySet<Token>;
    /** Most probable tokens to give with each token; left out: none, nor the token's own. */
    logprobs?: number;
    signal: AbortSignal;
    /** What it returns is waited for, so that a slow reader slows the writing down. */
    onPiece: (piece: Piece) => void | Promise<void>;
}

export interface GenerateOptions extends WriteOptions {
    stop: readonly string[];
    grammar?: LlamaGrammar;
}

export interface Generated {
    readonly finishReason: FinishReason;
    readonly tokens: Token[];
}

/** Writes an answer in a sequence that holds all of the prompt but its last token. */
export async function generate(
    sequence: LlamaContextSequence,
    last: Token,
    collector: RawLogprobsCollector,
    { stop, grammar, ...options }: GenerateOptions
): Promise<Generated> {
    const { model } = sequence;
    // a grammar sees special tokens as text, so the answer has to show them
    const text = new AnswerText(model, { stop, special: grammar !== undefined });
    const grammarState = grammar && new LlamaGrammarEvaluationState({ model, grammar });
    const reader: AnswerReader = { push: (token) => text.push(token), end: () => text.end(), grammarState };
    return await write(sequence, last, collector, reader, options);
}

/** The same with a reader of one's own. */
export async function write(
    sequence: LlamaContextSequence,
    last: Token,
    collector: RawLogprobsCollector,
    reader: AnswerReader,
    options: WriteOptions
): Promise<Generated> {
    const { logprobs } = options;
    if (logprobs === undefined) return await writeTokens(sequence, last, reader, options, () => undefined);
    return await collector.listen(sequence, logprobs, (look) => writeTokens(sequence, last, reader, options, look));
}

async function writeTokens(
    sequence: LlamaContextSequence,
    last: Token,
    reader: AnswerReader,
    { choice, maxTokens, sampling, stopTokens, signal, onPiece }: WriteOptions,
    look: () => RawLogprobs | undefined
): Promise<Generated> {
    const tokens: Token[] = [];
    if (maxTokens === 0) return { finishReason: "length", tokens };
    const raw: (RawLogprobs | undefined)[] = [];
    let waiting: ShownToken[] = [];
    const show = async ({ text, tokens: shown }: Pick<AnswerPiece, "text" | "tokens">, isLast: boolean) => {
        for (const token of shown) waiting.push({ ...token, logprobs: raw.shift() });
        // the beginning of a character is shown together with its end
        if (text === "" && !(isLast && waiting.length > 0)) return;
        const piece = { text, tokens: waiting };
        waiting = [];
        await onPiece(piece);
    };
    const finish = async (finishReason: FinishReason): Promise<Generated> => {
        await show(reader.end(), true);
        return { finishReason, tokens };
    };
    const steps = sequence.evaluate([last], {
        ...samplingOptions(sequence.model, sampling, { choice, written: tokens, maxTokens }),
        grammarEvaluationState: () => reader.grammarState
    });
    for await (const token of steps) {
        signal.throwIfAborted();
        if (stopTokens.has(token) && reader.grammarState === undefined) break;
        tokens.push(token);
        raw.push(look());
        const { stopped, ...piece } = await reader.push(token);
        await show(piece, stopped !== undefined);
        if (stopped !== undefined) return { finishReason: "stop", tokens };
        if (tokens.length === maxTokens) return await finish("length");
    }
    signal.throwIfAborted();
    return await finish("stop");
}
