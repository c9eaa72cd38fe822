import process from "node:process";
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
};

/** The message that a server process sends once it listens. */
export type ServerWorkerReply = { url: string; threads: number };

const options = JSON.parse(process.argv[2]!) as ServerWorkerOptions;
const { modelPath, armt, sequences, contextSize, batchSize, threads = availableCores() } = options;
const { getLlama, LlamaLogLevel } = await (armt ? import("../../plugin/index.js") : import("node-llama-cpp"));
const llama = await getLlama({ gpu: false, maxThreads: threads, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({
    sequences,
    batchSize,
    threads,
    contextSize: armt ? undefined : contextSize,
    batching: { itemPrioritizationStrategy: fairBatching }
});
const server = createServer({ modelId: "bench", context });
const { url, http } = await listen(createApp(server, "0.0.0"), { host: "127.0.0.1", port: 0 }, server.limits);
const reply: ServerWorkerReply = { url, threads };
process.send!(reply);
process.on("disconnect", () => {
    http.closeAllConnections();
    http.close();
    void server.engine.pool.drain().then(() => llama.dispose());
});
