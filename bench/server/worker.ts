import process from "node:process";
import { ArmtMemoryStore } from "../../plugin/index.js";
import { availableCores } from "../../plugin/native/threads.js";
import { createApp } from "../../src/server/app.js";
import { createServer } from "../../src/server/create-server.js";
import { fairBatching } from "../../src/server/engine/batching.js";
import { listen } from "../../src/server/listen.js";

/** Options of a server process, passed as JSON in its first argument. */
export type ServerWorkerOptions = {
    modelPath: string;
    /** `false` loads node-llama-cpp as published, without the engine. */
    armt: boolean;
    sequences: number;
    /** Context size of the plain model; an ARMT model has no limit. Unit: tokens. */
    contextSize: number;
    batchSize: number;
    /** Number of threads. Default: the available cores. */
    threads?: number;
    /** What the store of prefixes may hold; without it, there is no store. Unit: bytes. */
    storeBytes?: number;
    /** Keeps K/V in float32, so that an answer hardly depends on the requests that share its batches. */
    exact?: boolean;
};

/** What a server process holds; it answers any message with this. */
export type ServerWorkerFigures = { rssBytes: number; heapBytes: number; cpuSeconds: number };

/** The message that a server process sends once it listens. */
export type ServerWorkerReply = { url: string; threads: number };

const options = JSON.parse(process.argv[2]!) as ServerWorkerOptions;
const { modelPath, armt, sequences, contextSize, batchSize, storeBytes, exact } = options;
const { threads = availableCores() } = options;
const { getLlama, LlamaLogLevel } = await (armt ? import("../../plugin/index.js") : import("node-llama-cpp"));
const llama = await getLlama({ gpu: false, maxThreads: threads, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({
    sequences,
    batchSize,
    threads,
    contextSize: armt ? undefined : contextSize,
    experimentalKvCacheKeyType: exact ? "F32" : undefined,
    experimentalKvCacheValueType: exact ? "F32" : undefined,
    batching: { itemPrioritizationStrategy: fairBatching }
});
const store =
    storeBytes === undefined
        ? undefined
        : await ArmtMemoryStore.open({ maxMemoryBytes: storeBytes, checkpointInterval: 64 });
const server = createServer({ modelId: "bench", context, store });
const { url, http } = await listen(createApp(server, "0.0.0"), { host: "127.0.0.1", port: 0 }, server.limits);
const reply: ServerWorkerReply = { url, threads };
process.send!(reply);
process.on("message", () => {
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed } = process.memoryUsage();
    const figures: ServerWorkerFigures = { rssBytes: rss, heapBytes: heapUsed, cpuSeconds: (user + system) / 1e6 };
    process.send!(figures);
});
process.on("disconnect", () => {
    http.closeAllConnections();
    http.close();
    void server.models.drain().then(() => llama.dispose());
});
