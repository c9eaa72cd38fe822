import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import type { BodyBudget } from "./BodyBudget.js";
import type { MemoryRegistry } from "./engine/MemoryRegistry.js";
import type { ProgressHub } from "./engine/ProgressHub.js";
import type { ResponseStore, StoredResponse } from "./engine/ResponseStore.js";
import type { JsonParser } from "./JsonParser.js";
import type { Metrics } from "./metrics.js";
import type { ModelFacts } from "./models/ModelFacts.js";
import type { ModelPool } from "./models/ModelPool.js";
import type { ServedModel } from "./models/ServedModel.js";
import type { ServerLimits } from "./options.js";
import type { ResponseBody } from "./schemas/responses.js";
import type { UploadBudget } from "./UploadBudget.js";

/** What all routes share. */
export interface Server {
    readonly models: ModelPool<ServedModel>;
    /** What is known of each model, by its name. */
    readonly facts: ReadonlyMap<string, ModelFacts>;
    readonly registry: MemoryRegistry;
    readonly responses: ResponseStore<StoredResponse & { readonly body: ResponseBody }>;
    readonly hub: ProgressHub;
    /** Counts the bytes of the bodies of open requests. */
    readonly bodies: BodyBudget;
    readonly parser: JsonParser;
    /** Counts the bytes of uploads that have arrived and are not read yet. */
    readonly uploads: UploadBudget;
    readonly limits: ServerLimits;
    readonly metrics: Metrics;
    readonly log: Logger;
    /** A request must bring one of these keys; with none, requests need no key. */
    readonly apiKeys: readonly string[];
    /** Origins of web pages that may use the server, such as `https://example.com`; `*` means all. */
    readonly corsOrigins: readonly string[];
    /** Folder of the files that slots are saved to; undefined if they cannot be. */
    readonly slotFolder: string | undefined;
    /** Whether only this machine can reach the server. */
    readonly loopback: boolean;
    /** Aborted when the server ends and open requests have no time left. */
    readonly ending: AbortController;
}

/** What all routes share, and the model that a request uses, which stays loaded until the request ends. */
export interface ModelServer extends Server {
    readonly engine: ServedModel["engine"];
}

/** A new id, e.g. `chatcmpl-…`. */
export function newId(prefix: string): string {
    return `${prefix}${randomBytes(12).toString("hex")}`;
}
