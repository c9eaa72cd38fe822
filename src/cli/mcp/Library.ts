import path from "node:path";
import { ArmtSnapshot, type ArmtSnapshotHeader, type LlamaModel, type Token } from "../../../plugin/index.js";
import { findMismatch } from "../../../plugin/memory/snapshot-origin.js";
import { TokenBytes } from "../../generation/TokenBytes.js";
import type { Engine } from "../../server/engine/Engine.js";
import { generate } from "../../server/engine/generate.js";
import type { ModelFacts } from "../../server/models/ModelFacts.js";
import type { ModelPool } from "../../server/models/ModelPool.js";
import type { ServedModel } from "../../server/models/ServedModel.js";
import { ArmtError, quote } from "../../util/errors.js";
import { ReadCheckpoint } from "../read/ReadCheckpoint.js";
import { readText } from "../read/read-text.js";
import { openText, type TextInput } from "../shared/text-input.js";
import type { DocumentFolders } from "./documents.js";
import type { MemoryFolder } from "./MemoryFolder.js";

/** Reading that an interruption may cost. Unit: seconds. */
const checkpointInterval = 10;

/** A document to read: a file, or a text and the name of its memory. */
export interface DocumentSource {
    path?: string;
    text?: string;
    name?: string;
    /** Name of the model that reads. Default: the first that has a memory. */
    model?: string;
}

/** What is known of a memory. */
export interface MemoryInfo {
    name: string;
    tokens: number;
    /** Length of the document. Unit: UTF-16 code units. */
    characters: number | null;
    created: string;
    /** Name of the model that read it; null if this server does not have it. */
    model: string | null;
    /** Why it cannot be asked now; null if it can. */
    problem: string | null;
}

export interface CallOptions {
    signal: AbortSignal;
    /** Default: progress is not reported. */
    onProgress?: (progress: number, total: number | undefined, message: string) => void;
}

/** Reads documents into memories that stay in a folder, and answers questions about them. */
export class Library {
    /** Running readings by the name of their memory. */
    private readonly reading = new Map<string, { readonly signal: AbortSignal; readonly ended: Promise<void> }>();

    /** @param maxTokens tokens of an answer at most */
    constructor(
        private readonly models: ModelPool<ServedModel>,
        private readonly facts: readonly ModelFacts[],
        private readonly memories: MemoryFolder,
        private readonly documents: DocumentFolders,
        private readonly maxTokens: number
    ) {}

    /**
     * Reads a document. If it is cancelled, the same call resumes where it ended.
     * @throws {ArmtError} if the document cannot be read, or a memory of this name exists
     */
    async read({ path: file, text, name, model }: DocumentSource, options: CallOptions): Promise<MemoryInfo> {
        if ((file === undefined) === (text === undefined)) throw new ArmtError("give either `path` or `text`");
        if (text === "") throw new ArmtError("the text is empty; it needs at least one character");
        const given = name ?? (file === undefined ? undefined : path.basename(file, path.extname(file)));
        if (given === undefined) throw new ArmtError("a `text` needs a `name` for its memory");
        const id = this.readerNamed(model);
        const target = this.memories.pathOf(given);
        if (this.memories.has(given))
            throw new ArmtError(
                `there is a memory ${quote(given)} already; ask it, choose another name, or forget it first`
            );
        const running = this.reading.get(given);
        // one that was cancelled is about to save what it has read
        if (running?.signal.aborted) await running.ended;
        if (this.reading.has(given)) throw new ArmtError(`a document is being read into ${quote(given)} right now`);
        let end = () => {};
        const ended = new Promise<void>((resolve) => {
            end = resolve;
        });
        this.reading.set(given, { signal: options.signal, ended });
        try {
            const input = file === undefined ? inputOf(given, text!) : await openText(await this.documents.find(file));
            const read = ({ engine }: ServedModel) => readInto(engine, target, input, options);
            await this.models.use(id, options.signal, read, true);
        } finally {
            this.reading.delete(given);
            end();
        }
        return this.describe(given, await ArmtSnapshot.inspect(target));
    }

    /**
     * Answers a question. The memory does not change.
     * @throws {ArmtError} if there is no memory of this name, or if it does not fit the model
     */
    async ask(name: string, question: string, { signal, onProgress }: CallOptions): Promise<string> {
        if (question.trim() === "") throw new ArmtError("the question is empty");
        const { maxTokens } = this;
        const { file, header } = await this.memories.get(name);
        // one that no model fits is refused by the first, which says why
        const id = this.readerOf(header) ?? this.readerNamed(undefined);
        return await this.models.use(id, signal, async ({ engine }) => {
            const { tokens: prompt, stopTokens } = await promptOf(engine, question, signal);
            const memory = await ArmtSnapshot.load(file, { signal });
            const options = { param: "question", memory, questionAt: 0, signal };
            try {
                return await engine.withPrompt(prompt, options, async (read) => {
                    let answer = "";
                    let count = 0;
                    onProgress?.(0, maxTokens, "the question was read");
                    await generate(read.sequence, read.last, engine.collector, {
                        choice: 0,
                        maxTokens,
                        sampling: greedy,
                        stop: [],
                        stopTokens,
                        signal,
                        onPiece: ({ text, tokens }) => {
                            answer += text;
                            count += tokens.length;
                            onProgress?.(count, maxTokens, "answering");
                        }
                    });
                    return answer.trim();
                });
            } finally {
                memory.dispose();
            }
        });
    }

    async list(): Promise<MemoryInfo[]> {
        return (await this.memories.list()).map(({ name, header }) => this.describe(name, header));
    }

    async forget(name: string): Promise<void> {
        await this.memories.forget(name);
    }

    /** Accepts no more calls, and waits for running ones. */
    async close(): Promise<void> {
        await this.models.drain();
        await this.models.dispose();
    }

    /** @throws {ArmtError} if no model has this name, or it has no memory */
    private readerNamed(model: string | undefined): string {
        const able = this.facts.filter(({ armt }) => armt !== undefined).map(({ id }) => id);
        const id = model ?? able[0]!;
        if (able.includes(id)) return id;
        const names = able.map((name) => quote(name)).join(", ");
        throw new ArmtError(`the model ${quote(id)} cannot read documents here; those that can are ${names}`);
    }

    /** The model that read a memory. */
    private readerOf(header: ArmtSnapshotHeader): string | undefined {
        const fits = ({ armt }: ModelFacts) =>
            armt?.fingerprint === header.fingerprint || armt?.earlierFingerprints.includes(header.fingerprint) === true;
        return this.facts.find(fits)?.id;
    }

    private describe(name: string, header: ArmtSnapshotHeader): MemoryInfo {
        const id = this.readerOf(header);
        return {
            name,
            tokens: header.tokensRead,
            characters: header.source?.characters ?? null,
            created: header.created,
            model: id ?? null,
            problem: this.problemOf(header, id) ?? null
        };
    }

    /** Options of a model, such as its segment size, are known once it is loaded. */
    private problemOf(header: ArmtSnapshotHeader, id: string | undefined): string | undefined {
        const { context, model } = this.models.peek(id ?? this.readerNamed(undefined))?.engine ?? {};
        if (context !== undefined) return findMismatch(header, context.armt!.origin, model!.armt!.earlierFingerprints);
        return id === undefined ? "it belongs to a model that this server does not have" : undefined;
    }
}

async function readInto(
    engine: Engine,
    target: string,
    input: TextInput,
    { signal, onProgress }: CallOptions
): Promise<void> {
    await engine.pool.useForDocument(signal, async (sequence) => {
        const armt = sequence.armt!;
        await sequence.clearHistory();
        const checkpoint = new ReadCheckpoint(`${target}.part`, input);
        const { rest, resumed } = await checkpoint.resume(armt);
        if (resumed) onProgress?.(checkpoint.bytesRead, input.bytes, "resuming an interrupted reading");
        await readText(
            { model: engine.model, armt, checkpoint, rest },
            {
                checkpointInterval,
                signal,
                onProgress: () => onProgress?.(checkpoint.bytesRead, input.bytes, `${armt.tokens} tokens were read`)
            }
        );
        if (checkpoint.bytesRead === 0) throw new ArmtError("the text is empty; it needs at least one character");
        await armt.save(target, { source: checkpoint.source(true) });
        await checkpoint.remove();
    });
}

/** The question in the form of the model's training, in its chat template, or on a new line. */
async function promptOf(
    engine: Engine,
    question: string,
    signal: AbortSignal
): Promise<{ tokens: readonly Token[]; stopTokens: ReadonlySet<Token> }> {
    const { model } = engine;
    const { ask } = model.armt!;
    const hasForm = ask !== undefined && !ask.chat && (ask.before !== undefined || ask.after !== undefined);
    if (!hasForm && model.fileInfo.metadata.tokenizer?.chat_template !== undefined)
        return await engine.renderChat([{ role: "user", text: question }], { follows: true, signal });
    const text = hasForm ? `${ask.before ?? ""}${question}${ask.after ?? ""}` : `\n${question}`;
    return { tokens: await engine.tokenize(text, { signal }), stopTokens: endTokens(model) };
}

/** The most probable answer, so that the same question gets the same answer. */
const greedy = {
    temperature: 0,
    topP: 1,
    topK: 0,
    minP: 0,
    repeatPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    logitBias: new Map<Token, number>()
};

function inputOf(name: string, text: string): TextInput {
    const pieces = async function* () {
        yield text;
    };
    return { name, bytes: Buffer.byteLength(text), pieces: pieces() };
}

function endTokens(model: LlamaModel): ReadonlySet<Token> {
    const { specialTokens } = TokenBytes.of(model);
    return new Set(
        (model.armt?.ask?.end ?? []).flatMap((name) => {
            const token = specialTokens.get(name);
            return token === undefined ? [] : [token];
        })
    );
}
