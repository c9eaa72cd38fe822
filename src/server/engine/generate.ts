import {
    type LlamaContextSequence,
    type LlamaGrammar,
    LlamaGrammarEvaluationState,
    type LlamaModel,
    type Token
} from "../../../plugin/index.js";
import { StopStrings } from "../../generation/StopStrings.js";
import { TextStream } from "../../generation/TextStream.js";
import type { RawLogprobs, RawLogprobsCollector } from "./raw-logprobs.js";
import { type Sampling, samplingOptions } from "./sampling.js";

/** A piece of an answer. */
export interface Piece {
    readonly text: string;
    /** Log-probabilities of the tokens that became visible with this piece, if requested. */
    readonly logprobs: readonly RawLogprobs[];
}

/** Why an answer ended: the model or a stop string ended it, or it has the requested length. */
export type FinishReason = "stop" | "length";

export interface GenerateOptions {
    /** Number of the choice, from 0. */
    choice: number;
    maxTokens: number;
    sampling: Sampling;
    stop: readonly string[];
    stopTokens: ReadonlySet<Token>;
    grammar?: LlamaGrammar;
    /** Most probable tokens to tell of with each token; left out: none, nor the token's own. */
    logprobs?: number;
    signal: AbortSignal;
    /** What it returns is waited for, so that a slow reader slows the writing down. */
    onPiece: (piece: Piece) => void | Promise<void>;
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
    options: GenerateOptions
): Promise<Generated> {
    const { logprobs } = options;
    if (logprobs === undefined) return await write(sequence, last, options, () => undefined);
    return await collector.listen(sequence, logprobs, (look) => write(sequence, last, options, look));
}

async function write(
    sequence: LlamaContextSequence,
    last: Token,
    { choice, maxTokens, sampling, stop, stopTokens, grammar, signal, onPiece }: GenerateOptions,
    look: () => RawLogprobs | undefined
): Promise<Generated> {
    const { model } = sequence;
    const tokens: Token[] = [];
    if (maxTokens === 0) return { finishReason: "length", tokens };
    const text = new AnswerText(model, [...stop, ...grammarStops(grammar)], grammar?.trimWhitespaceSuffix === true);
    let pending: RawLogprobs[] = [];
    const show = async (piece: string) => {
        if (piece === "" && pending.length === 0) return;
        const shown = { text: piece, logprobs: pending };
        pending = [];
        await onPiece(shown);
    };
    const steps = sequence.evaluate([last], {
        ...samplingOptions(model, sampling, { choice, written: tokens, maxTokens }),
        grammarEvaluationState: grammar && new LlamaGrammarEvaluationState({ model, grammar })
    });
    for await (const token of steps) {
        signal.throwIfAborted();
        if (stopTokens.has(token)) break;
        tokens.push(token);
        const raw = look();
        const { text: piece, stopped } = text.push(token);
        if (raw !== undefined && !stopped) pending.push(raw);
        if (piece !== "") await show(piece);
        if (stopped) return { finishReason: "stop", tokens };
        if (tokens.length === maxTokens) {
            await show(text.end());
            return { finishReason: "length", tokens };
        }
    }
    signal.throwIfAborted();
    await show(text.end());
    return { finishReason: "stop", tokens };
}

/** Tokens as text, up to a stop string; whitespace at the end is left out where a grammar allows any amount of it. */
class AnswerText {
    private readonly stream: TextStream;
    private readonly stops: StopStrings;
    private space = "";

    constructor(
        model: LlamaModel,
        stop: readonly string[],
        private readonly trims: boolean
    ) {
        this.stream = new TextStream(model);
        this.stops = new StopStrings(stop);
    }

    push(token: Token): { text: string; stopped: boolean } {
        const { text, stopped } = this.stops.push(this.stream.push(token));
        return { text: this.withoutEnd(text), stopped };
    }

    end(): string {
        const { text, stopped } = this.stops.push(this.stream.end());
        return this.withoutEnd(stopped ? text : text + this.stops.end());
    }

    private withoutEnd(text: string): string {
        if (!this.trims) return text;
        const all = this.space + text;
        const shown = all.trimEnd();
        this.space = all.slice(shown.length);
        return shown;
    }
}

function grammarStops(grammar: LlamaGrammar | undefined): string[] {
    return (grammar?.stopGenerationTriggers ?? []).map(String).filter((text) => text !== "");
}
