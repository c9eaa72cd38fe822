import { setMaxListeners } from "node:events";
import { type Logger, pino } from "pino";
import type { ArmtMemoryStore, LlamaContext } from "../../plugin/index.js";
import { BodyBudget } from "./BodyBudget.js";
import { Engine } from "./engine/Engine.js";
import { MemoryRegistry } from "./engine/MemoryRegistry.js";
import { ProgressHub } from "./engine/ProgressHub.js";
import { ResponseStore } from "./engine/ResponseStore.js";
import { JsonParser } from "./JsonParser.js";
import { Metrics } from "./metrics.js";
import { type ServerLimits, serverDefaults } from "./options.js";
import type { SampleDocument, Server } from "./Server.js";
import { UploadBudget } from "./UploadBudget.js";

export interface ServerOptions extends Partial<ServerLimits> {
    /** Name of the model in the API. */
    modelId: string;
    /**
     * Context whose sequences answer requests, made with `batching: {itemPrioritizationStrategy: fairBatching}`. All
     * its sequences are taken.
     */
    context: LlamaContext;
    /** What the model can do, for people. Default: `general.description` of its file. */
    description?: string;
    /** A document to try an ARMT model with, which the page offers. Default: none. */
    sample?: SampleDocument;
    /** Where prefixes of prompts are kept. Default: only what the sequences hold is used again. */
    store?: ArmtMemoryStore;
    /** A request must bring one of these keys. Default: requests need no key. */
    apiKeys?: readonly string[];
    /**
     * Whether the server listens where only this machine can reach it, so that the Host header must name it. Default:
     * `true`.
     */
    loopback?: boolean;
    /** Default: no log. */
    log?: Logger;
}

/** What the routes share, made from options; {@link createApp} makes the app of it. */
export function createServer({
    modelId,
    context,
    description,
    sample,
    store,
    apiKeys = [],
    loopback = true,
    log = pino({ enabled: false }),
    ...given
}: ServerOptions): Server {
    const ending = new AbortController();
    // every request adds a listener
    setMaxListeners(0, ending.signal);
    const limits = { ...serverDefaults, ...given };
    const engine = new Engine(modelId, context, store, limits.maxQueue);
    const registry = new MemoryRegistry(limits.maxMemoriesBytes);
    const metrics = new Metrics(engine, registry);
    const responses: Server["responses"] = new ResponseStore(limits);
    return {
        engine,
        registry,
        responses,
        hub: new ProgressHub(),
        // a single body of the allowed size always fits
        bodies: new BodyBudget(Math.max(limits.maxBodiesBytes, limits.maxBodyBytes)),
        parser: new JsonParser(),
        uploads: new UploadBudget(limits.maxUploadsBytes),
        limits,
        metrics,
        log,
        description: description ?? descriptionOf(context),
        sample,
        apiKeys,
        loopback,
        ending
    };
}

function descriptionOf({ model }: LlamaContext): string | undefined {
    const general: { readonly description?: unknown } = model.fileInfo.metadata.general;
    return typeof general.description === "string" ? general.description : undefined;
}
