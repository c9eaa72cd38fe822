import path from "node:path";
import process from "node:process";
import { pino } from "pino";
import { ArmtMemoryStore } from "../../../plugin/index.js";
import { availableCores } from "../../../plugin/native/threads.js";
import { makeRecallSample, recallDescription } from "../../eval/recall/sample.js";
import { recallModelId, recallModelPath } from "../../model/embedded-model.js";
import { openModel } from "../../model/open-model.js";
import { createApp } from "../../server/app.js";
import { createServer } from "../../server/create-server.js";
import { fairBatching } from "../../server/engine/batching.js";
import { listen } from "../../server/listen.js";
import { isLoopback } from "../../server/security.js";
import { shutDown } from "../../server/shut-down.js";
import { signalExitCode, stopSignals } from "../../util/stop-signals.js";
import { packageVersion } from "../shared/version.js";
import { apiKeys, type ServeOptions } from "./options.js";

/**
 * Answers requests until a signal asks it to stop. Open requests then have the drain time to finish. A second signal
 * exits at once.
 */
export async function serve(options: ServeOptions): Promise<void> {
    const log = pino({ level: options.logLevel, base: null }, pino.destination(2));
    // the engine's threads spin while they wait, and a separate thread answers requests
    const threads = options.threads ?? Math.max(1, availableCores() - 1);
    const { llama, model, file, createContext } = await openModel({ ...options, threads });
    const store =
        model.armt &&
        (await ArmtMemoryStore.open({
            folder: options.storeFolder,
            onWarning: (error) => log.warn({ err: error }, "a prefix could not be kept")
        }));
    try {
        const context = await createContext({
            sequences: options.parallel,
            batching: { itemPrioritizationStrategy: fairBatching }
        });
        const isIncluded = path.resolve(file) === recallModelPath;
        const server = createServer({
            modelId: options.alias ?? (isIncluded ? recallModelId : path.basename(file, ".gguf")),
            ...(isIncluded && {
                description: recallDescription,
                sample: await makeRecallSample((text) => model.tokenize(text).length)
            }),
            context,
            store,
            apiKeys: apiKeys(options),
            loopback: isLoopback(options.host),
            log,
            maxQueue: options.maxQueue,
            requestTimeoutMs: options.requestTimeout * 1000,
            defaultMaxTokens: options.maxTokens,
            drainTimeoutMs: options.drainTimeout * 1000,
            maxBodyBytes: toBytes(options.maxBody),
            maxBodiesBytes: toBytes(options.maxBodies),
            maxResponses: options.maxResponses,
            maxResponsesBytes: toBytes(options.responsesSize),
            maxMemoriesBytes: toBytes(options.memoriesSize)
        });
        const app = createApp(server, packageVersion());
        const listening = await listen(app, options, server.limits);
        const ended = untilSignal();
        process.stderr.write(`${server.engine.modelId} at ${listening.url} (Ctrl+C ends)\n`);
        await ended;
        process.stderr.write("finishing open requests; repeat to exit at once\n");
        await shutDown(server, listening);
    } finally {
        await store?.dispose();
        await llama.dispose();
    }
}

function toBytes(mebibytes: number): number {
    return Math.floor(mebibytes * 2 ** 20);
}

function untilSignal(): Promise<void> {
    return new Promise((resolve) => {
        let count = 0;
        for (const signal of stopSignals())
            process.on(signal, () => {
                count++;
                if (count > 1) process.exit(signalExitCode(signal));
                resolve();
            });
    });
}
