import {
    type LlamaContextSequence,
    type LlamaGrammar,
    LlamaGrammarEvaluationState,
    type Token
} from "../../../plugin/index.js";
import { type AnswerPiece, AnswerText, type TokenText } from "../../generation/AnswerText.js";
import type { RawLogprobs, RawLogprobsCollector } from "./raw-logprobs.js";
import { type Sampling, samplingOptions } from "./sampling.js";

/** A token of an answer, with its log-probability if that was requested. */
export interface ShownToken extends TokenText {
    readonly logprobs: RawLogprobs | undefined;
}

/** A piece of an answer. */
export interface Piece {
    readonly text: string;
    /** The tokens that became part of the answer with this piece. */
    readonly tokens: readonly ShownToken[];
}

/** Why an answer ended: `stop` for the model or a stop string, `length` for the limit of tokens. */
export type FinishReason = "stop" | "length";

/** The next part of the answer's text, and whether the answer ends with it. */
export type ReadPiece = Pick<AnswerPiece, "text" | "tokens" | "isOpen"> & {
    /** Set if the answer ends here: with a stop string, or because it is complete. */
    readonly stopped?: { readonly string?: string };
};

/** Turns tokens into text and decides where the answer ends. */
export interface AnswerReader {
    push(token: Token): ReadPiece | Promise<ReadPiece>;
    end(): ReadPiece;
    /** The grammar that the next token must match. */
    readonly grammarState?: LlamaGrammarEvaluationState | undefined;
}

export interface WriteOptions {
    /** Number of the choice, from 0. */
    choice: number;
    maxTokens: number;
    sampling: Sampling;
    /** Tokens that end the answer, besides the vocabulary's end-of-generation tokens. */
    stopTokens: ReadonlySet<Token>;
    /** Number of most probable tokens to return with each token. Default: no log-probabilities at all. */
    logprobs?: number;
    signal: AbortSignal;
    /** Called once, when the first token is there. */
    onFirst?: () => void;
    /** Its promise is awaited, so that a slow reader slows the model down. */
    onPiece: (piece: Piece) => void | Promise<void>;
}

export interface GenerateOptions extends WriteOptions {
    stop: readonly string[];
    grammar?: LlamaGrammar;
}

export interface Generated {
    readonly finishReason: FinishReason;
    readonly tokens: Token[];
    /** The stop string of the request that ended the answer. */
    readonly stopString?: string;
}

/** Writes an answer in a sequence that holds all of the prompt but its last token. */
export async function generate(
    sequence: LlamaContextSequence,
    last: Token,
    collector: RawLogprobsCollector,
    { stop, grammar, ...options }: GenerateOptions
): Promise<Generated> {
    const { model } = sequence;
    // a grammar matches special tokens by their names, so the answer must contain them
    const text = new AnswerText(model, { stop, special: grammar !== undefined });
    const grammarState = grammar && new LlamaGrammarEvaluationState({ model, grammar });
    const reader: AnswerReader = { push: (token) => text.push(token), end: () => text.end(), grammarState };
    return withRequested(await write(sequence, last, collector, reader, options), stop);
}

/** A stop string of the model file ends an answer as an end token does. */
export function withRequested({ stopString, ...generated }: Generated, stop: readonly string[]): Generated {
    return stopString !== undefined && stop.includes(stopString) ? { ...generated, stopString } : generated;
}

/** The same, with a given reader. */
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
    { choice, maxTokens, sampling, stopTokens, logprobs, signal, onFirst, onPiece }: WriteOptions,
    look: () => RawLogprobs | undefined
): Promise<Generated> {
    const tokens: Token[] = [];
    if (maxTokens === 0) return { finishReason: "length", tokens };
    const raw: (RawLogprobs | undefined)[] = [];
    let waiting: ShownToken[] = [];
    let held = "";
    let isWithin = false;
    const show = async ({ text, tokens: shown, isOpen }: ReadPiece, isLast: boolean) => {
        for (const token of shown) waiting.push({ ...token, logprobs: raw.shift() });
        held += text;
        isWithin = isOpen === true || (isWithin && text === "");
        // a token that only begins a character is shown with the token that completes it; with log-probabilities, so is
        // the text before the character, since the token belongs to both
        if (!isLast && (held === "" || (isWithin && logprobs !== undefined))) return;
        const last = waiting.pop();
        if (last === undefined && held === "") return;
        // an answer may end within a character
        const rest = held.slice(waiting.reduce((length, token) => length + token.text.length, last?.text.length ?? 0));
        const tokens = last === undefined ? [] : [...waiting, { ...last, text: last.text + rest }];
        const piece = { text: held, tokens };
        waiting = [];
        held = "";
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
        if (tokens.length === 0) onFirst?.();
        if (stopTokens.has(token) && reader.grammarState === undefined) break;
        tokens.push(token);
        raw.push(look());
        const { stopped, ...piece } = await reader.push(token);
        await show(piece, stopped !== undefined);
        if (stopped !== undefined) return { finishReason: "stop", tokens, stopString: stopped.string };
        if (tokens.length === maxTokens) return await finish("length");
    }
    signal.throwIfAborted();
    return await finish("stop");
}
