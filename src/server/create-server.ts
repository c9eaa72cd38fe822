import { setMaxListeners } from "node:events";
import { type Logger, pino } from "pino";
import { BodyBudget } from "./BodyBudget.js";
import { MemoryRegistry } from "./engine/MemoryRegistry.js";
import { ProgressHub } from "./engine/ProgressHub.js";
import { ResponseStore } from "./engine/ResponseStore.js";
import { JsonParser } from "./JsonParser.js";
import { Metrics } from "./metrics.js";
import { loadedFacts, type ModelFacts } from "./models/ModelFacts.js";
import { ModelPool, type ModelSource } from "./models/ModelPool.js";
import { type LoadedModel, ServedModel } from "./models/ServedModel.js";
import { type ServerLimits, serverDefaults } from "./options.js";
import type { Server } from "./Server.js";
import { UploadBudget } from "./UploadBudget.js";

/** What a server of one model or several needs. */
export interface CommonServerOptions extends Partial<ServerLimits> {
    /** A request must bring one of these keys. Default: requests need no key. */
    apiKeys?: readonly string[];
    /**
     * Origins of web pages that may use the server, such as `https://example.com`; `*` means all. Default: only its own
     * page.
     */
    corsOrigins?: readonly string[];
    /**
     * Whether the server listens where only this machine can reach it, so that the Host header must name it. Default:
     * `true`.
     */
    loopback?: boolean;
    /** Folder for the files of llama-server's slot actions, which must exist. Default: slots cannot be saved. */
    slotFolder?: string;
    /** Default: no log. */
    log?: Logger;
}

/** A server of one model, which is loaded already. */
export interface ServerOptions extends CommonServerOptions, LoadedModel {
    /** Name of the model in the API. */
    modelId: string;
    /** What the model can do, for people. Default: `general.description` of its file. */
    description?: string;
}

/** A model that a server loads when a request needs it. */
export interface LoadableModel {
    readonly facts: ModelFacts;
    /** @param signal ends the loading, when the server ends */
    load(signal: AbortSignal): Promise<LoadedModel & { free: () => Promise<void> }>;
}

/** A server of several models. */
export interface ModelsServerOptions extends CommonServerOptions {
    /** With different names; the first is the default. */
    models: readonly LoadableModel[];
    /** Models that are loaded at once. Default: all. */
    maxModels?: number;
    /** Size of the weights of all loaded models; a larger model is loaded alone. Unit: bytes. Default: no bound. */
    maxModelsBytes?: number;
}

/** What the routes share, made from options; {@link createApp} makes the app of it. */
export function createServer(options: ServerOptions | ModelsServerOptions): Server {
    if ("models" in options) {
        const { models, maxModels, maxModelsBytes, ...common } = options;
        return serverOf(
            ({ maxQueue }) =>
                models.map(({ facts, load }) => ({
                    id: facts.id,
                    bytes: facts.bytes,
                    load: async (signal) => {
                        const { free, ...loaded } = await load(signal);
                        return new ServedModel(facts.id, loaded, maxQueue, free);
                    }
                })),
            { facts: models.map(({ facts }) => facts), common, maxModels, maxBytes: maxModelsBytes }
        );
    }
    const { modelId: id, description, context, store, sample, questionForms, ...common } = options;
    const facts = loadedFacts(context.model, { id, description });
    return serverOf(
        ({ maxQueue }) => {
            // the context belongs to the caller
            const loaded = new ServedModel(id, { context, store, sample, questionForms }, maxQueue, async () => {});
            return [{ id, bytes: facts.bytes, load: async () => loaded, loaded }];
        },
        { facts: [facts], common }
    );
}

interface Parts {
    facts: readonly ModelFacts[];
    common: CommonServerOptions;
    maxModels?: number;
    maxBytes?: number;
}

function serverOf(
    sourcesOf: (limits: ServerLimits) => readonly ModelSource<ServedModel>[],
    { facts, common, maxModels, maxBytes }: Parts
): Server {
    const {
        apiKeys = [],
        corsOrigins = [],
        loopback = true,
        slotFolder,
        log = pino({ enabled: false }),
        ...given
    } = common;
    const ending = new AbortController();
    // every request adds a listener
    setMaxListeners(0, ending.signal);
    const limits = { ...serverDefaults, ...given };
    const models: Server["models"] = new ModelPool(sourcesOf(limits), {
        maxModels,
        maxBytes,
        maxWaiting: limits.maxQueue,
        onLoad: (model, ms) => {
            metrics.loads.inc({ model });
            log.info({ model, ms: Math.round(ms) }, "model loaded");
        },
        onUnload: (model) => {
            metrics.unloads.inc({ model });
            log.info({ model }, "model unloaded");
        },
        onError: (model, error) => log.error({ err: error, model }, "model cannot be loaded or unloaded")
    });
    const registry = new MemoryRegistry(limits.maxMemoriesBytes);
    const metrics = new Metrics(models, registry);
    const responses: Server["responses"] = new ResponseStore(limits);
    return {
        models,
        facts: new Map(facts.map((each) => [each.id, each])),
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
        apiKeys,
        corsOrigins,
        slotFolder,
        loopback,
        ending
    };
}
