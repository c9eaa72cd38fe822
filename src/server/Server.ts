import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import type { BodyBudget } from "./BodyBudget.js";
import type { Engine } from "./engine/Engine.js";
import type { MemoryRegistry } from "./engine/MemoryRegistry.js";
import type { ProgressHub } from "./engine/ProgressHub.js";
import type { ResponseStore, StoredResponse } from "./engine/ResponseStore.js";
import type { JsonParser } from "./JsonParser.js";
import type { Metrics } from "./metrics.js";
import type { ServerLimits } from "./options.js";
import type { ResponseBody } from "./schemas/responses.js";
import type { UploadBudget } from "./UploadBudget.js";

/** A document to try a model with. */
export interface SampleDocument {
    readonly name: string;
    readonly text: string;
    /** Questions that the text answers. */
    readonly questions: readonly string[];
}

/** What all routes share. */
export interface Server {
    readonly engine: Engine;
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
    /** What the model can do, for people. */
    readonly description: string | undefined;
    readonly sample: SampleDocument | undefined;
    /** Whether only this machine can reach the server. */
    readonly loopback: boolean;
    /** Aborted when the server ends and open requests have no time left. */
    readonly ending: AbortController;
}

/** A new id, e.g. `chatcmpl-…`. */
export function newId(prefix: string): string {
    return `${prefix}${randomBytes(12).toString("hex")}`;
}
