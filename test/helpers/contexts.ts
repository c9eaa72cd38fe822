import path from "node:path";
import type { ExecutionContext } from "ava";
import {
    type ArmtContextOptions,
    getLlama,
    type Llama,
    type LlamaContext,
    type LlamaContextSequence,
    LlamaLogLevel,
    type LlamaModel,
    type Token
} from "../../plugin/index.js";
import { convertCheckpoint, type OutType } from "../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import type { AssociativeMemory } from "./associative-memory.js";
import { type ReferenceModel, readCheckpoint } from "./checkpoint.js";
import { temporaryFolder } from "./temporary.js";

/** `ARMT_TEST_GPU=cuda` (or `vulkan`, `metal`) runs the tests that use this file on a GPU. */
export const testGpu = (["cuda", "vulkan", "metal"] as const).find((gpu) => gpu === process.env.ARMT_TEST_GPU);

let llama: Promise<Llama> | undefined;

/** One engine for all tests of a file. A single thread is fastest for toy models. */
function sharedLlama(): Promise<Llama> {
    llama ??= getLlama({ logLevel: LlamaLogLevel.error, maxThreads: 1, gpu: testGpu });
    return llama;
}

/** A model in the engine and the same checkpoint in the reference. */
export type TestModel = { model: LlamaModel; reference: ReferenceModel; file: string };

/** A model in the engine alone. */
export async function loadModel(
    t: ExecutionContext,
    folder: string,
    outType: OutType = "f32"
): Promise<{ model: LlamaModel; file: string }> {
    const file = path.join(temporaryFolder(t), "model.gguf");
    await convertCheckpoint({ checkpoint: folder, output: file, outType });
    const model = await (await sharedLlama()).loadModel({ modelPath: file });
    t.teardown(() => model.dispose());
    return { model, file };
}

export async function loadCheckpoint(
    t: ExecutionContext,
    folder: string,
    outType: OutType = "f32"
): Promise<TestModel> {
    return { ...(await loadModel(t, folder, outType)), reference: await readCheckpoint(folder) };
}

/** A small random model. It has no tokenizer unless `options` request one, since most tests work on token ids. */
export async function loadTiny(
    t: ExecutionContext,
    options: TinyOptions = {},
    outType: OutType = "f32"
): Promise<TestModel> {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(folder, { vocab: 96, ...options });
    return loadCheckpoint(t, folder, outType);
}

export type TestContextOptions = ArmtContextOptions & {
    batchSize?: number;
    sequences?: number;
    flashAttention?: boolean;
    /** Default: `"F32"`, as in `armt logits`. */
    kvType?: "F32" | "F16" | "Q8_0";
};

/** Runs `work` with a context and then disposes it. */
export async function withContext<T>(
    model: LlamaModel,
    { batchSize = 512, sequences = 1, flashAttention, kvType = "F32", ...armt }: TestContextOptions,
    work: (context: LlamaContext) => Promise<T>
): Promise<T> {
    const context = await model.createContext({
        batchSize,
        sequences,
        flashAttention,
        experimentalKvCacheKeyType: kvType,
        experimentalKvCacheValueType: kvType,
        threads: 1,
        armt
    });
    try {
        return await work(context);
    } finally {
        await context.dispose();
    }
}

export function withSequence<T>(
    model: LlamaModel,
    options: TestContextOptions,
    work: (sequence: LlamaContextSequence) => Promise<T>
): Promise<T> {
    return withContext(model, options, (context) => work(context.getSequence()));
}

/** Appends tokens to the sequence and returns their logits [n, V]. */
export async function readLogits(sequence: LlamaContextSequence, ids: readonly number[]): Promise<Float32Array> {
    const pieces: Float32Array[] = [];
    for await (const piece of sequence.armt!.evaluateLogits(ids as Token[])) pieces.push(piece);
    const all = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let start = 0;
    for (const piece of pieces) {
        all.set(piece, start);
        start += piece.length;
    }
    return all;
}

/** The memory of every layer after the closed segments; z is empty if the model has no normalizer. */
export async function readMemories(
    sequence: LlamaContextSequence
): Promise<{ [K in keyof AssociativeMemory]: Float32Array }[]> {
    const memories = [];
    for (let layer = 0; layer < sequence.model.armt!.layers; layer++) {
        const { a, z = new Float32Array() } = await sequence.armt!.readMemory(layer);
        memories.push({ a, z });
    }
    return memories;
}

/** The most likely tokens after a prompt, through node-llama-cpp's own sampler. */
export async function generateGreedy(
    sequence: LlamaContextSequence,
    ids: readonly number[],
    count: number
): Promise<number[]> {
    const tokens: number[] = [];
    for await (const token of sequence.evaluate([...ids] as Token[], { temperature: 0, yieldEogToken: true })) {
        tokens.push(token);
        if (tokens.length === count) break;
    }
    return tokens;
}
