import { request as httpRequest, type IncomingMessage } from "node:http";
import path from "node:path";
import OpenAI from "openai";
import {
    type ArmtContextOptions,
    ArmtMemoryStore,
    getLlama,
    type LlamaContextSequence,
    LlamaLogLevel,
    type LlamaModel
} from "../../plugin/index.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { createApp } from "../../src/server/app.js";
import {
    createServer,
    type LoadableModel,
    type ModelsServerOptions,
    type ServerOptions
} from "../../src/server/create-server.js";
import { fairBatching } from "../../src/server/engine/batching.js";
import { type Listening, listen } from "../../src/server/listen.js";
import { readFacts } from "../../src/server/models/ModelFacts.js";
import type { ModelServer, Server } from "../../src/server/Server.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { writePlainModel } from "./plain-model.js";
import { makeScriptedModel, type Scripted } from "./scripted-model.js";
import { type Ending, temporaryFolder } from "./temporary.js";

/** A server whose one model is always loaded. */
export type TestServer = Listening & { server: ModelServer; openai: OpenAI };

export type TestServerOptions = Partial<Omit<ServerOptions, "context">> & {
    /** Sizes of the tiny ARMT model, a plain one, one that writes what it is made for, or a file's. */
    tiny?: TinyOptions | "plain" | Scripted | { file: string };
    sequences?: number;
    batchSize?: number;
    /** Of an ARMT model's context. */
    armt?: ArmtContextOptions;
    /** Of the store. Default: 64. */
    checkpointInterval?: number;
};

let llama: ReturnType<typeof getLlama> | undefined;

/** The path of such a model, which goes with the test. */
export async function makeModel(t: Ending, tiny: NonNullable<TestServerOptions["tiny"]>): Promise<string> {
    if (typeof tiny === "object" && "file" in tiny) return tiny.file;
    const folder = temporaryFolder(t);
    const modelPath = path.join(folder, "model.gguf");
    if (tiny === "plain") await writePlainModel(modelPath);
    else if ("script" in tiny) await makeScriptedModel(folder, modelPath, tiny);
    else {
        await makeTinyCheckpoint(folder, { layers: 2, segmentSize: 64, ...tiny });
        await convertCheckpoint({ checkpoint: folder, output: modelPath, outType: "f32" });
    }
    return modelPath;
}

/** Starts a server that loads tiny models when a request names them. It ends with the test. */
export async function startModels(
    t: Ending,
    models: Readonly<Record<string, NonNullable<TestServerOptions["tiny"]>>>,
    options: Partial<Omit<ModelsServerOptions, "models">> & { onLoad?: (id: string) => Promise<void> } = {}
): Promise<Listening & { server: Server; openai: OpenAI }> {
    const { onLoad, ...rest } = options;
    const loadable: LoadableModel[] = [];
    for (const [id, tiny] of Object.entries(models)) {
        const file = await makeModel(t, tiny);
        const load = async () => {
            await onLoad?.(id);
            const model = await loadFile(file);
            const context = await model.createContext({ sequences: 2, batchSize: 128, threads: 1 });
            return { context, free: () => model.dispose() };
        };
        loadable.push({ facts: await readFacts(file, { id }), load });
    }
    const server = createServer({ ...rest, models: loadable });
    const listening = await listen(createApp(server, "0.0.0"), { host: "127.0.0.1", port: 0 }, server.limits);
    t.teardown(async () => {
        listening.http.closeAllConnections();
        await listening.close();
        await server.models.drain();
        await server.models.dispose();
    });
    const openai = new OpenAI({ baseURL: `${listening.url}/v1`, apiKey: "unused", maxRetries: 0 });
    return { ...listening, server, openai };
}

async function loadFile(modelPath: string): Promise<LlamaModel> {
    llama ??= getLlama({ logLevel: LlamaLogLevel.error, maxThreads: 1 });
    return await (await llama).loadModel({ modelPath });
}

/** Starts a server with a tiny random model on a free port. It ends with the test. */
export async function startServer(t: Ending, options: TestServerOptions = {}): Promise<TestServer> {
    const { tiny = {}, sequences = 3, batchSize = 128, armt, checkpointInterval = 64, ...rest } = options;
    const model = await loadFile(await makeModel(t, tiny));
    const context = await model.createContext({
        sequences,
        batchSize,
        threads: 1,
        batching: { itemPrioritizationStrategy: fairBatching },
        ...(armt === undefined ? {} : { armt })
    });
    const store = model.armt && (await ArmtMemoryStore.open({ checkpointInterval }));
    const modelId = options.modelId ?? "tiny";
    const shared = createServer({ ...rest, modelId, context, store });
    const server = { ...shared, engine: shared.models.peek(modelId)!.engine };
    const listening = await listen(createApp(shared, "0.0.0"), { host: "127.0.0.1", port: 0 }, server.limits);
    t.teardown(async () => {
        listening.http.closeAllConnections();
        await listening.close();
        await server.engine.pool.drain();
        await store?.dispose();
        await model.dispose();
    });
    const openai = new OpenAI({
        baseURL: `${listening.url}/v1`,
        apiKey: options.apiKeys?.[0] ?? "unused",
        maxRetries: 0
    });
    return { ...listening, server, openai };
}

export type Answer = { status: number; headers: IncomingMessage["headers"]; text: string; json: () => JsonAnswer };

/** A JSON answer, with the fields that tests check. */
export type JsonAnswer = Record<string, unknown> & {
    error?: { message: string; type: string; param: string | null; code: string | null };
};

export type Sent = {
    method?: string;
    headers?: Record<string, string | string[]>;
    body?: string | Uint8Array;
    agent?: false;
};

/** Sends exactly these bytes and headers, even if no well-behaved client would. */
export function send(url: string, { method = "POST", headers = {}, body }: Sent = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
        const request = httpRequest(url, { method, headers, agent: false }, (response) => {
            let text = "";
            response.setEncoding("utf8").on("data", (piece: string) => {
                text += piece;
            });
            response.on("error", reject);
            response.on("end", () =>
                resolve({
                    status: response.statusCode!,
                    headers: response.headers,
                    text,
                    json: () => JSON.parse(text) as JsonAnswer
                })
            );
        });
        request.on("error", reject);
        request.end(body);
    });
}

/** Posts a JSON body. */
export function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return send(url, { headers: { "content-type": "application/json", ...headers }, body: text });
}

/** The events of a stream without `[DONE]`, and whether `[DONE]` arrived. */
export function readEvents(text: string): { events: JsonAnswer[]; done: boolean } {
    const data = text
        .split("\n")
        .filter((line) => line.startsWith("data: "))
        .map((line) => line.slice("data: ".length));
    return {
        events: data.filter((line) => line !== "[DONE]").map((line) => JSON.parse(line) as JsonAnswer),
        done: data.at(-1) === "[DONE]"
    };
}

/** Number of tokens held by the sequences in use. */
export function tokensInUse({ engine }: ModelServer): number {
    const { sequences, idle } = engine.pool as unknown as Record<"sequences" | "idle", LlamaContextSequence[]>;
    return sequences
        .filter((sequence) => !idle.includes(sequence))
        .reduce((sum, { armt, nextTokenIndex }) => sum + (armt?.tokens ?? nextTokenIndex), 0);
}
