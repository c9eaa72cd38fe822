import { once } from "node:events";
import { stat } from "node:fs/promises";
import { totalmem } from "node:os";
import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { pino } from "pino";
import { ArmtMemoryStore } from "../../../plugin/index.js";
import { availableCores } from "../../../plugin/native/threads.js";
import { openLoader } from "../../model/open-model.js";
import { createApp } from "../../server/app.js";
import { type CommonServerOptions, createServer, type LoadableModel } from "../../server/create-server.js";
import { listen } from "../../server/listen.js";
import { isLoopback } from "../../server/security.js";
import { shutDown } from "../../server/shut-down.js";
import { quote } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";
import { signalExitCode, stopSignals } from "../../util/stop-signals.js";
import { nameModels } from "../shared/named-models.js";
import { packageVersion } from "../shared/version.js";
import { browserAddresses } from "./addresses.js";
import { makeLoadable } from "./loadable-model.js";
import { apiKeys, type ServeOptions } from "./options.js";

/**
 * Growth of the JavaScript heap until V8 collects its garbage. By default, V8 lets a small heap grow to several times
 * its size, so a server that gets long texts would keep those of many requests. Unit: percent.
 */
const heapGrowth = 10;

/**
 * Answers requests until a signal asks it to stop. Open requests then have the drain time to finish. While the server
 * still loads its model, a signal ends the loading. A second signal exits at once.
 */
export async function serve(options: ServeOptions): Promise<void> {
    setFlagsFromString(`--heap-growing-percent=${heapGrowth}`);
    const stop = stopRequest();
    try {
        await serveUntil(stop, options);
    } catch (error) {
        if (error !== stop.reason) throw error;
    }
}

async function serveUntil(stop: AbortSignal, options: ServeOptions): Promise<void> {
    const log = pino({ level: options.logLevel, base: null }, pino.destination(2));
    // the engine's threads spin while they wait, and a separate thread answers requests
    const threads = options.threads ?? Math.max(1, availableCores() - 1);
    const { slotSavePath: slotFolder } = options;
    if (slotFolder !== undefined && (await stat(slotFolder).catch(() => undefined))?.isDirectory() !== true)
        throw new UsageError(`--slot-save-path ${quote(slotFolder)} is not a folder`);
    const models = await nameModels(options.model ?? [], options.alias);
    const loader = await openLoader(
        { ...options, threads },
        models.map(({ file }) => file),
        stop
    );
    const store = await ArmtMemoryStore.open({
        folder: options.storeFolder,
        onWarning: (error) => log.warn({ err: error }, "a prefix cannot be kept or used")
    });
    try {
        const loadable: LoadableModel[] = [];
        for (const model of models) {
            stop.throwIfAborted();
            loadable.push(await makeLoadable(model, loader, { store, sequences: options.parallel }));
        }
        const common: CommonServerOptions = {
            apiKeys: apiKeys(options),
            corsOrigins: options.corsOrigin,
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
            maxMemoriesBytes: toBytes(options.memoriesSize),
            slotFolder
        };
        const [{ facts, load }, ...others] = loadable as [LoadableModel, ...LoadableModel[]];
        const { id: modelId, description } = facts;
        const server =
            others.length === 0
                ? createServer({ ...common, modelId, description, ...(await load(stop)) })
                : createServer({
                      ...common,
                      models: loadable,
                      maxModels: options.maxModels,
                      maxModelsBytes: options.modelsSize === undefined ? totalmem() : toBytes(options.modelsSize)
                  });
        const app = createApp(server, packageVersion());
        stop.throwIfAborted();
        const listening = await listen(app, options, server.limits);
        const addresses = browserAddresses(listening.url).join(" and ");
        process.stderr.write(`${server.models.ids.join(", ")} at ${addresses} (Ctrl+C ends)\n`);
        if (!stop.aborted) await once(stop, "abort");
        process.stderr.write("finishing open requests; repeat to exit at once\n");
        await shutDown(server, listening);
    } finally {
        await loader.llama.dispose();
    }
}

function toBytes(mebibytes: number): number {
    return Math.floor(mebibytes * 2 ** 20);
}

/** Is aborted by the first signal that asks this process to stop; the second one exits at once. */
function stopRequest(): AbortSignal {
    const stop = new AbortController();
    for (const signal of stopSignals())
        process.on(signal, () => {
            if (stop.signal.aborted) process.exit(signalExitCode(signal));
            stop.abort();
        });
    return stop.signal;
}
