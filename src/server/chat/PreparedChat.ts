import type { LlamaGrammar, Token } from "../../../plugin/index.js";
import type { RenderedChat } from "../../generation/chat-template/ChatTemplate.js";
import { afterMemory, tokensToWrite } from "../answer.js";
import type { Engine, PromptProgress, ReadPrompt } from "../engine/Engine.js";
import { type FinishReason, generate, type Piece } from "../engine/generate.js";
import { checkEnds, createGrammar, schemaOf } from "../engine/grammar.js";
import { compileAll } from "../engine/json-schema/compile-all.js";
import type { StoredMemory } from "../engine/MemoryRegistry.js";
import {
    CallGrammar,
    type CallSchemas,
    forcedStart,
    generateWithTools,
    schemasOf,
    type WrittenCall
} from "../engine/tools.js";
import { ApiError } from "../errors.js";
import type { ModelServer } from "../Server.js";
import type { AnswerClock } from "../timings.js";
import type { ChatQuery } from "./query.js";

/** Gets an answer while it is written. */
export interface AnswerListener {
    onPiece: (piece: Piece) => void | Promise<void>;
    /** Default: calls are in the result only. */
    onCall?: (call: WrittenCall) => void | Promise<void>;
    /** Measures the time that writing takes. */
    clock?: AnswerClock;
}

/** An answer. */
export interface WrittenAnswer {
    readonly text: string;
    readonly calls: readonly WrittenCall[];
    readonly finishReason: FinishReason | "tool_calls";
    /** The stop string that ended the answer. */
    readonly stopString: string | undefined;
    /** Tokens that the model wrote. */
    readonly tokens: readonly Token[];
}

/** A chat that a sequence has read. */
export interface ReadChat extends Pick<ReadPrompt, "promptTokens" | "cachedTokens" | "keptTokens" | "readMs"> {
    /** Writes one answer. */
    write(index: number, listener: AnswerListener): Promise<WrittenAnswer>;
}

export interface RunOptions {
    signal: AbortSignal;
    onProgress?: (progress: PromptProgress) => void;
    /** Answers to write. Default: 1. */
    choices?: number;
}

/** A chat whose prompt and grammars are ready, so the request has no errors left. */
export class PreparedChat {
    private constructor(
        private readonly server: ModelServer,
        private readonly query: ChatQuery,
        private readonly chat: RenderedChat,
        private readonly prompt: readonly Token[],
        private readonly memory: StoredMemory | undefined,
        private readonly calls: CallGrammar | undefined,
        private readonly grammar: LlamaGrammar | undefined,
        private readonly checkpointsAt: readonly number[] | undefined
    ) {}

    /**
     * @param options.memory the memory that the chat continues
     * @param options.signal ends the rendering
     * @throws {ApiError} if the template refuses the chat, or if a schema cannot become a grammar
     */
    static async create(
        server: ModelServer,
        query: ChatQuery,
        { memory, signal }: { memory?: StoredMemory; signal: AbortSignal }
    ): Promise<PreparedChat> {
        const { engine } = server;
        const { messages, tools, variables } = query;
        if (tools !== undefined) checkEnds(engine.model, "tools");
        const compiled = await compileOf(engine, query, signal);
        const options = { follows: memory !== undefined, tools: tools?.tools, variables, signal };
        const chat = await engine.renderChat(messages, {
            ...options,
            answer: (syntax) => (tools === undefined ? "" : forcedStart(tools, syntax))
        });
        const calls = tools && compiled && (await CallGrammar.create(engine.model, tools, chat.syntax, compiled));
        const prompt = afterMemory(memory, chat.tokens);
        const marks = memory === undefined ? await marksOf(engine, query, chat.tokens, options) : undefined;
        return new PreparedChat(server, query, chat, prompt, memory, calls, compiled?.grammar, marks);
    }

    /** The tokens of the prompt, without those of the memory. */
    get tokens(): readonly Token[] {
        return this.prompt;
    }

    /** Tokens of the whole prompt, those of the memory included. */
    get promptTokens(): number {
        return (this.memory?.snapshot.tokensRead ?? 0) + this.prompt.length;
    }

    /** Reads the chat in a sequence, and runs `work` with it. */
    async run<T>({ signal, onProgress, choices = 1 }: RunOptions, work: (chat: ReadChat) => Promise<T>): Promise<T> {
        const options = {
            param: this.query.param,
            memory: this.memory?.snapshot,
            questionAt: this.memory?.unread.length,
            closeBeforeQuestion: this.query.closeBeforeQuestion,
            signal,
            onProgress,
            reusesPrompt: this.query.reusesPrompt,
            willRewind: choices > 1,
            checkpointsAt: this.checkpointsAt
        };
        return await this.server.engine.withPrompt(this.prompt, options, async (read) => {
            let written = 0;
            return await work({
                promptTokens: read.promptTokens,
                cachedTokens: read.cachedTokens,
                keptTokens: read.keptTokens,
                readMs: read.readMs,
                write: async (index, listener) => {
                    if (written++ > 0) await read.rewind();
                    return await this.write(read, index, listener, signal);
                }
            });
        });
    }

    private async write(
        { sequence, last, promptTokens }: ReadPrompt,
        index: number,
        { onPiece, onCall, clock }: AnswerListener,
        signal: AbortSignal
    ): Promise<WrittenAnswer> {
        const { server, query } = this;
        const { collector } = server.engine;
        let text = "";
        const written: WrittenCall[] = [];
        const common = {
            choice: index,
            maxTokens: tokensToWrite(server, query.maxTokens, promptTokens),
            sampling: query.sampling,
            stop: query.stop ?? [],
            stopTokens: this.chat.stopTokens,
            signal,
            onFirst: clock?.onFirst,
            onPiece: async (piece: Piece) => {
                text += piece.text;
                await onPiece(piece);
            }
        };
        clock?.begin();
        const { finishReason, tokens, stopString } =
            this.calls === undefined
                ? await generate(sequence, last, collector, {
                      ...common,
                      grammar: this.grammar,
                      logprobs: query.logprobs
                  })
                : await generateWithTools(sequence, last, collector, {
                      ...common,
                      grammar: this.calls,
                      onCall: async (call) => {
                          written.push(call);
                          await onCall?.(call);
                      }
                  });
        clock?.end();
        return { text, calls: written, finishReason, stopString, tokens };
    }
}

/** Places that one request may mark; Anthropic's API has four. */
const maxMarks = 4;

/** The numbers of tokens that the first messages have in common with the whole chat. */
async function marksOf(
    engine: Engine,
    { messages, keepAfter = [] }: ChatQuery,
    whole: readonly Token[],
    options: Parameters<Engine["renderChat"]>[1]
): Promise<number[]> {
    const marks: number[] = [];
    for (const count of keepAfter.slice(-maxMarks)) {
        const first = messages.slice(0, count);
        // many templates render no chat without a user
        if (!first.some(({ role }) => role === "user")) first.push({ role: "user", text: "" });
        try {
            const { tokens } = await engine.renderChat(first, options);
            const different = tokens.findIndex((token, i) => token !== whole[i]);
            marks.push(different < 0 ? tokens.length : different);
        } catch (error) {
            // a template may refuse a part of a chat that it takes as a whole
            if (!(error instanceof ApiError)) throw error;
        }
    }
    return marks;
}

/** The schemas of a chat's tools and format, and the grammar of an answer without tools; undefined without schemas. */
async function compileOf(
    engine: Engine,
    { tools, format, formatParam = "response_format" }: ChatQuery,
    signal: AbortSignal
): Promise<(CallSchemas & { grammar?: LlamaGrammar }) | undefined> {
    if (format !== undefined) checkEnds(engine.model, formatParam);
    const formats = format === undefined ? [] : [schemaOf(format, formatParam)];
    const schemas = [...formats, ...(tools === undefined ? [] : schemasOf(tools))];
    if (schemas.length === 0) return undefined;
    const { rules, roots } = await compileAll(schemas, signal);
    const values = roots.slice(formats.length);
    if (format === undefined) return { rules, values };
    const text = roots[0]!;
    if (tools !== undefined) return { rules, values, text };
    return { rules, values, text, grammar: await createGrammar(engine.model.llama, rules, text, formatParam) };
}
