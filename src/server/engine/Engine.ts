import { createHash } from "node:crypto";
import {
    type ArmtMemoryStore,
    type ArmtSnapshot,
    type LlamaContext,
    type LlamaContextSequence,
    type LlamaModel,
    LlamaVocabularyType,
    type Token
} from "../../../plugin/index.js";
import { UncutTextError } from "../../../plugin/memory/PieceTokenizer.js";
import { ChatRefusedError } from "../../generation/chat-template/ChatRefusedError.js";
import { ChatTemplate, type RenderedChat, type RenderOptions } from "../../generation/chat-template/ChatTemplate.js";
import type { Message } from "../../generation/chat-template/messages.js";
import { TemplateLimitError } from "../../generation/chat-template/TemplateRenderer.js";
import { tokenizeText } from "../../generation/tokenize-text.js";
import { ApiError, badParameter } from "../errors.js";
import { readWithLogprobs } from "./prompt-logprobs.js";
import { type RawLogprobs, RawLogprobsCollector } from "./raw-logprobs.js";
import { SequencePool } from "./SequencePool.js";

/** Progress of reading a prompt, with the numbers of llama-server's `prompt_progress`. */
export interface PromptProgress {
    /** Tokens of the prompt. */
    readonly total: number;
    /** Of these, tokens that were reused instead of read. */
    readonly cache: number;
    /** Tokens of the prompt that are done, including reused ones. */
    readonly processed: number;
    /** Unit: milliseconds. */
    readonly timeMs: number;
    /**
     * Segments that the sequence has closed and cells (layer, segment) that it has computed; undefined for a plain
     * model.
     */
    readonly armt?: { readonly segments: number; readonly cells: number; readonly layers: number };
}

/** A prompt that a sequence has read, except its last token. */
export interface ReadPrompt {
    readonly sequence: LlamaContextSequence;
    readonly last: Token;
    readonly promptTokens: number;
    /** Tokens of the prompt that were reused instead of read. */
    readonly cachedTokens: number;
    /** Of the tokens that were read, those that a later prompt with this beginning need not read. */
    readonly keptTokens: number;
    /** Time that reading took. Unit: milliseconds. */
    readonly readMs: number;
    /** Of each token of the prompt but the first one; undefined if they were not requested. */
    readonly logprobs: readonly RawLogprobs[] | undefined;
    /** Returns the sequence to this point, for another choice. */
    rewind(): Promise<void>;
}

export interface ReadOptions {
    /** Parameter of the request that contains the prompt, for errors. */
    param: string;
    /** The memory that the prompt continues. */
    memory?: ArmtSnapshot;
    /** Index in the prompt at which a chat about the memory begins; undefined for other prompts. */
    questionAt?: number;
    /** Whether a question starts a new segment. Default: as the model was trained. */
    closeBeforeQuestion?: boolean;
    signal: AbortSignal;
    onProgress?: (progress: PromptProgress) => void;
    /** Whether what a sequence or the store holds may be used again. Default: `true`. */
    reusesPrompt?: boolean;
    /** Whether `rewind` will be called. */
    willRewind?: boolean;
    /** Tokens of the prompt after which the store keeps a checkpoint. Default: only where the store chooses to. */
    checkpointsAt?: readonly number[];
    /**
     * Number of most probable tokens to return with each token of the prompt. The whole prompt is read then. Default:
     * no log-probabilities.
     */
    logprobs?: number;
}

export interface TokenizeOptions {
    /** Whether names of special tokens in the text become these tokens. Default: `false`. */
    special?: boolean;
    /** Whether the begin token is prepended if the model has one. Default: `false`. */
    begin?: boolean;
    signal?: AbortSignal;
}

/** Time between two reports, short enough for a smooth progress bar. Unit: milliseconds. */
const progressInterval = 100;

/** A model and a context with the sequences that requests run in. */
export class Engine {
    readonly pool: SequencePool;
    readonly collector: RawLogprobsCollector;
    private readonly chatTemplate: ChatTemplate | undefined;
    /** Unix time of the start. Unit: seconds. */
    readonly created = Math.floor(Date.now() / 1000);
    readonly fingerprint: string;

    constructor(
        /** Name of the model in the API. */
        readonly modelId: string,
        readonly context: LlamaContext,
        private readonly store: ArmtMemoryStore | undefined,
        maxQueue: number
    ) {
        this.pool = new SequencePool(context, maxQueue);
        this.collector = new RawLogprobsCollector(context);
        const { model } = context;
        // as long as this does not change, the same seed gives the same text
        const { segmentSize, segmentOverflow, openSegmentLimit } = context.armt ?? {};
        const facts = JSON.stringify([
            model.armt ?? model.fileInfo.metadata.general,
            segmentSize,
            segmentOverflow,
            openSegmentLimit
        ]);
        this.fingerprint = `fp_${createHash("sha256").update(facts).digest("hex").slice(0, 12)}`;
        this.chatTemplate = this.hasTokenizer ? new ChatTemplate(model) : undefined;
    }

    get model(): LlamaModel {
        return this.context.model;
    }

    get vocabSize(): number {
        return this.model.armt?.vocabSize ?? this.model.fileInfo.metadata.tokenizer?.ggml?.tokens?.length ?? 0;
    }

    get hasTokenizer(): boolean {
        return this.model.vocabularyType !== LlamaVocabularyType.none;
    }

    /**
     * @throws {ApiError} if the model has no tokenizer, or if the text cannot be tokenized in pieces
     */
    async tokenize(text: string, { special = false, begin = false, signal }: TokenizeOptions = {}): Promise<Token[]> {
        if (!this.hasTokenizer)
            throw new ApiError(501, "this model has no tokenizer; send the prompt as an array of token ids");
        const tokens = await tokenizeText((part) => this.model.tokenize(part, special), text, signal).catch(toApiError);
        const { bos, shouldPrependBosToken } = this.model.tokens;
        return begin && shouldPrependBosToken && bos !== null && tokens[0] !== bos ? [bos, ...tokens] : tokens;
    }

    /**
     * Renders a chat with the template of the model file.
     * @throws {ApiError} if the model has no tokenizer, or if the template refuses the chat
     */
    async renderChat(messages: readonly Message[], options: RenderOptions): Promise<RenderedChat> {
        if (this.chatTemplate === undefined)
            throw new ApiError(
                501,
                "this model has no tokenizer, so it cannot chat; use /v1/completions with token ids"
            );
        const chat = await this.chatTemplate.render(messages, options).catch(toApiError);
        const { bos, shouldPrependBosToken } = this.model.tokens;
        const [first] = chat.tokens;
        if (options.follows === true) return chat;
        const begins = shouldPrependBosToken && bos !== null && first !== bos;
        return begins ? { ...chat, tokens: [bos, ...chat.tokens] } : chat;
    }

    /** Runs `work` in a sequence that has read a prompt. */
    async withPrompt<T>(
        prompt: readonly Token[],
        options: ReadOptions,
        work: (read: ReadPrompt) => Promise<T>
    ): Promise<T> {
        this.checkLength(prompt.length, options.param);
        // the sequence will be overwritten with the memory
        return await this.pool.use(options.memory === undefined ? prompt : [], options.signal, async (sequence) =>
            work(await this.read(sequence, prompt, options))
        );
    }

    /** @throws {ApiError} if the prompt does not fit into a plain model's context; prompts are never truncated */
    checkLength(tokens: number, param: string): void {
        if (tokens === 0) throw badParameter(param, "the prompt has no tokens");
        if (this.model.armt !== undefined || tokens < this.context.contextSize) return;
        throw new ApiError(
            400,
            `the prompt has ${tokens} tokens, and the context of this model holds ${this.context.contextSize}`,
            { param, code: "context_length_exceeded" }
        );
    }

    async read(sequence: LlamaContextSequence, prompt: readonly Token[], options: ReadOptions): Promise<ReadPrompt> {
        const { memory, questionAt, closeBeforeQuestion, signal, onProgress, checkpointsAt } = options;
        const { logprobs: top, reusesPrompt = top === undefined, willRewind = false } = options;
        const last = prompt.at(-1)!;
        const head = prompt.slice(0, -1);
        const started = performance.now();
        const base = memory?.tokensRead ?? 0;
        const total = base + prompt.length;
        const progress = onProgress && new PromptReporter(sequence, total, onProgress);
        let cachedTokens = base;
        let keptTokens = 0;
        let logprobs: RawLogprobs[] | undefined;
        try {
            await this.setClosing(sequence, closeBeforeQuestion);
            if (memory !== undefined) await sequence.armt!.restore(memory);
            else if (!reusesPrompt) {
                await sequence.clearHistory();
                cachedTokens = 0;
            } else {
                await sequence.adaptStateToTokens(head, false);
                cachedTokens = sequence.nextTokenIndex;
            }
            progress?.begin(cachedTokens);
            if (top !== undefined)
                logprobs = await readWithLogprobs(sequence, prompt, { top, vocabSize: this.vocabSize, signal });
            else if (memory === undefined && reusesPrompt && sequence.armt !== undefined && this.store !== undefined)
                ({ cachedTokens, keptTokens } = await this.store.prefill(sequence, head, { signal, checkpointsAt }));
            else if (memory !== undefined) {
                const at = questionAt ?? (closeBeforeQuestion === true ? 0 : prompt.length);
                await this.append(sequence, head.slice(0, at), signal);
                if (at < prompt.length) await sequence.armt!.startQuestion(prompt.slice(at));
                await this.append(sequence, head.slice(at), signal);
            } else await this.append(sequence, head.slice(cachedTokens), signal);
        } finally {
            progress?.stop();
        }
        progress?.end(cachedTokens);
        const readMs = performance.now() - started;
        const snapshot = willRewind && sequence.armt !== undefined ? await sequence.armt.snapshot() : undefined;
        const rewind = async () => {
            if (snapshot !== undefined) await sequence.armt!.restore(snapshot);
            else {
                await sequence.adaptStateToTokens(head, false);
                await this.append(sequence, head.slice(sequence.nextTokenIndex), signal);
            }
        };
        return { sequence, last, promptTokens: total, cachedTokens, keptTokens, readMs, logprobs, rewind };
    }

    /** Sets whether questions start a new segment. What the sequence holds was cut otherwise if that changes. */
    private async setClosing(sequence: LlamaContextSequence, wanted: boolean | undefined): Promise<void> {
        const { armt } = sequence;
        if (armt === undefined || armt.closeBeforeQuestion === wanted) return;
        armt.closeBeforeQuestion = wanted;
        await sequence.clearHistory();
    }

    /** Reads tokens batch by batch, so that an abort takes effect within one batch. */
    private async append(sequence: LlamaContextSequence, tokens: readonly Token[], signal: AbortSignal): Promise<void> {
        const { batchSize } = this.context;
        const cancel = () => sequence.armt?.cancelEvaluation(signal.reason);
        signal.addEventListener("abort", cancel);
        try {
            for (let start = 0; start < tokens.length; start += batchSize) {
                signal.throwIfAborted();
                await sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(start, start + batchSize));
            }
        } finally {
            signal.removeEventListener("abort", cancel);
        }
    }
}

/** Reports progress from the engine's counters, since node-llama-cpp has no callback for it. */
class PromptReporter {
    private readonly started = performance.now();
    private timer: NodeJS.Timeout | undefined;
    private held = 0;
    private processed = 0;

    constructor(
        private readonly sequence: LlamaContextSequence,
        private readonly total: number,
        private readonly onProgress: (progress: PromptProgress) => void
    ) {}

    begin(held: number): void {
        this.held = held;
        this.report(held, held);
        this.timer = setInterval(() => {
            const { armt, nextTokenIndex } = this.sequence;
            const done = Math.min(this.total, armt?.tokens ?? nextTokenIndex);
            if (done > this.processed) this.report(done, Math.min(done, this.held + (armt?.cachedTokens ?? 0)));
        }, progressInterval);
    }

    stop(): void {
        clearInterval(this.timer);
    }

    end(cachedTokens: number): void {
        this.report(this.total, cachedTokens);
    }

    private report(processed: number, cache: number): void {
        this.processed = processed;
        const { armt, model } = this.sequence;
        this.onProgress({
            total: this.total,
            cache,
            processed,
            timeMs: Math.round(performance.now() - this.started),
            armt: armt && { segments: armt.segmentsClosed, cells: armt.cells, layers: model.armt!.layers }
        });
    }
}

/** A chat that cannot be rendered, or a text that cannot be tokenized, as an error of the API. */
function toApiError(error: unknown): never {
    if (error instanceof ChatRefusedError)
        throw new ApiError(400, error.message, { param: "messages", code: error.code });
    if (error instanceof TemplateLimitError) throw new ApiError(500, error.message, { code: "template_limit" });
    if (error instanceof UncutTextError) throw new ApiError(400, error.message, { code: "invalid_value" });
    throw error;
}
