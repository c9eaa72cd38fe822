import type { Request, Response } from "express";
import type { z } from "zod";
import { samplingDefaults } from "../../plugin/context/sampling-defaults.js";
import type { Token } from "../../plugin/index.js";
import type { PromptProgress } from "./engine/Engine.js";
import type { StoredMemory } from "./engine/MemoryRegistry.js";
import type { Sampling } from "./engine/sampling.js";
import { ApiError, badParameter, toApiError } from "./errors.js";
import { EventStream, type StreamEncoding } from "./event-stream.js";
import { readJsonBody } from "./json-body.js";
import type { Usage } from "./metrics.js";
import { modelOf, withModel } from "./models/with-model.js";
import { ClientGoneError, requestSignal } from "./request-signal.js";
import type { ModelServer, Server } from "./Server.js";
import { type promptProgressSchema, samplerOrder, type usageSchema } from "./schemas/sampling.js";
import { validate } from "./validate.js";

/** The parameters that all requests for an answer share. */
interface AnswerBody {
    model?: string;
    stream?: boolean;
    return_progress?: boolean;
    stream_options?: object;
    armt?: { memory?: string; closeBeforeQuestion?: boolean; deadline_ms?: number };
}

/** The context of a route while it answers. */
export interface Answering<T> {
    /** The server, with the model that the request names. */
    readonly server: ModelServer;
    readonly body: T;
    readonly signal: AbortSignal;
    /** Undefined if the whole answer is sent at once. */
    readonly stream: EventStream | undefined;
    readonly memory: StoredMemory | undefined;
    /** Must be called before anything is sent: refuses the request if the queue is full, and begins the stream. */
    begin(): void;
    /** Must be called with the first token. */
    onFirstToken(): void;
    /** Must be called with the final counts. */
    onUsage(usage: Usage): void;
}

/** What differs between protocols. */
export interface AnswerForm<T> {
    /** Id of a memory that a request continues without naming it. Default: none. */
    memoryOf?: (body: T) => string | undefined;
    /** Ends a stream with a failure. Default: OpenAI's error object. */
    endWithError?: (stream: EventStream, error: ApiError) => void;
    /** How events are written. Default: `sse`. */
    encoding?: StreamEncoding;
}

/** Reads, checks and answers one request. A failure after a stream has begun becomes an event of the stream. */
export async function answerRequest<S extends z.ZodType<AnswerBody>>(
    server: Server,
    schema: S,
    request: Request,
    response: Response,
    work: (answering: Answering<z.infer<S>>) => Promise<void>,
    { endWithError = (stream, error) => stream.end(error.body), encoding, memoryOf }: AnswerForm<z.infer<S>> = {}
): Promise<void> {
    const { limits, metrics, log, ending } = server;
    const started = performance.now();
    const body = validate(schema, await readJsonBody(request, server)) as z.infer<S> & AnswerBody;
    const named = body.armt?.memory;
    const memory = named === undefined ? undefined : server.registry.get(named, "armt.memory");
    const continued = memoryOf?.(body);
    const model = modelOf(server, {
        model: body.model,
        memory: memory ?? (continued === undefined ? undefined : server.registry.get(continued, "previous_response_id"))
    });
    if (body.stream !== true)
        for (const param of ["return_progress", "stream_options"] as const)
            if (body[param] !== undefined && body[param] !== false)
                throw badParameter(param, `\`${param}\` is for requests with \`stream: true\``);
    const timeoutMs = Math.min(limits.requestTimeoutMs, body.armt?.deadline_ms ?? Number.POSITIVE_INFINITY);
    const { signal, done } = requestSignal(response, timeoutMs, ending.signal);
    const { pingIntervalMs } = limits;
    const stream = body.stream === true ? new EventStream(response, { pingIntervalMs, signal, encoding }) : undefined;
    let isFirst = true;
    try {
        await withModel(server, model, signal, async (server) => {
            const { pool } = server.engine;
            // before the text is tokenized, which takes time
            pool.checkRoom();
            await work({
                server,
                body,
                signal,
                stream,
                memory,
                begin: () => {
                    pool.checkRoom();
                    stream?.begin();
                },
                onFirstToken: () => {
                    if (isFirst) metrics.firstToken.observe((performance.now() - started) / 1000);
                    isFirst = false;
                },
                onUsage: (usage) => metrics.countUsage(usage)
            });
        });
        metrics.duration.observe((performance.now() - started) / 1000);
    } catch (error) {
        if (signal.reason instanceof ClientGoneError) {
            metrics.cancelled.inc();
            return;
        }
        if (!stream?.open) throw error;
        if (!(error instanceof ApiError)) log.error({ err: error, url: request.path }, "stream failed");
        endWithError(stream, toApiError(error));
    } finally {
        stream?.dispose();
        done();
    }
}

/** A prompt that continues a memory begins with the tokens that the memory could not take yet. */
export function afterMemory(memory: StoredMemory | undefined, tokens: readonly Token[]): readonly Token[] {
    return memory === undefined || memory.unread.length === 0 ? tokens : [...memory.unread, ...tokens];
}

interface SamplingBody {
    temperature?: number;
    top_p?: number;
    top_k?: number;
    min_p?: number;
    seed?: number;
    logit_bias?: Record<string, number>;
    presence_penalty?: number;
    frequency_penalty?: number;
    repeat_penalty?: number;
    repeat_last_n?: number;
    samplers?: readonly string[];
}

/** @throws {ApiError} if a bias names a token outside the vocabulary, or for samplers in another order */
export function samplingOf({ engine }: ModelServer, body: SamplingBody): Sampling {
    const { vocabSize } = engine;
    const logitBias = new Map<Token, number>();
    for (const [key, bias] of Object.entries(body.logit_bias ?? {})) {
        if (Number(key) >= vocabSize)
            throw badParameter(
                `logit_bias.${key}`,
                `token ${key} does not exist; the model has tokens 0 to ${vocabSize - 1}`
            );
        logitBias.set(Number(key) as Token, bias);
    }
    const defaults = samplingDefaults(engine.model);
    const sampling = {
        temperature: body.temperature ?? defaults.temperature ?? 1,
        topP: body.top_p ?? defaults.topP ?? 1,
        topK: body.top_k ?? defaults.topK ?? 0,
        minP: body.min_p ?? defaults.minP ?? 0,
        repeatPenalty: body.repeat_penalty ?? defaults.repeatPenalty ?? 1,
        seed: body.seed === -1 ? undefined : body.seed,
        presencePenalty: body.presence_penalty ?? 0,
        frequencyPenalty: body.frequency_penalty ?? 0,
        penaltyTokens: body.repeat_last_n === -1 ? undefined : body.repeat_last_n,
        logitBias
    };
    return body.samplers === undefined ? sampling : { ...sampling, ...samplersOff(body.samplers) };
}

/** What samplers that a list leaves out are set to. */
function samplersOff(samplers: readonly string[]): Partial<Sampling> {
    const used = samplerOrder.filter((name) => samplers.includes(name));
    const given = samplers.filter((name) => (samplerOrder as readonly string[]).includes(name));
    if (given.join() !== used.join())
        throw badParameter("samplers", `\`samplers\` run in the order ${samplerOrder.join(", ")}, each once`);
    const neutral: Record<(typeof samplerOrder)[number], Partial<Sampling>> = {
        penalties: { repeatPenalty: 1, presencePenalty: 0, frequencyPenalty: 0 },
        top_k: { topK: 0 },
        top_p: { topP: 1 },
        min_p: { minP: 0 },
        temperature: { temperature: 1 }
    };
    return Object.assign({}, ...samplerOrder.filter((name) => !given.includes(name)).map((name) => neutral[name]));
}

/**
 * The limit of tokens under one of its names; -1 of llama-server's means the server's own.
 * @throws {ApiError} if two names differ
 */
export function maxTokensOf<B extends object>(body: B, names: readonly (keyof B & string)[]): number | undefined {
    const given = names.filter((name) => body[name] !== undefined);
    const other = given.find((name) => body[name] !== body[given[0]!]);
    if (other !== undefined) throw badParameter(given[0]!, `\`${given[0]}\` and \`${other}\` are the same and differ`);
    return given.length === 0 ? undefined : Number(body[given[0]!]);
}

/** Limit of tokens to write. A plain model must stay within its context: a shift would silently forget text. */
export function tokensToWrite(
    { engine, limits }: ModelServer,
    wanted: number | undefined,
    promptTokens: number
): number {
    const room = engine.context.contextSize - 1 - promptTokens;
    const limit = wanted === undefined || wanted < 0 ? limits.defaultMaxTokens : wanted;
    return Math.max(0, Math.min(limit, room));
}

export function stopStrings(stop: string | readonly string[] | undefined): readonly string[] {
    return stop === undefined ? [] : typeof stop === "string" ? [stop] : stop;
}

export function usageOf({ promptTokens, cachedTokens, completionTokens }: Usage): z.infer<typeof usageSchema> {
    return {
        prompt_tokens: promptTokens,
        completion_tokens: completionTokens,
        total_tokens: promptTokens + completionTokens,
        prompt_tokens_details: { cached_tokens: cachedTokens }
    };
}

export function progressOf({ timeMs, ...progress }: PromptProgress): z.infer<typeof promptProgressSchema> {
    return { ...progress, time_ms: timeMs };
}
