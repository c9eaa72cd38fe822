import process from "node:process";
import type { ModelOptions } from "../../model/options.js";
import { UsageError } from "../../util/failure.js";

export interface ServeOptions extends ModelOptions {
    host: string;
    port: number;
    alias?: string;
    apiKey?: string | string[];
    parallel: number;
    maxQueue: number;
    requestTimeout: number;
    maxTokens: number;
    drainTimeout: number;
    maxBody: number;
    maxBodies: number;
    maxResponses: number;
    responsesSize: number;
    memoriesSize: number;
    storeFolder?: string;
    logLevel: string;
}

/** @throws {UsageError} for an empty key, which would let everybody in */
export function apiKeys({ apiKey }: Pick<ServeOptions, "apiKey">): string[] {
    const keys = apiKey ?? process.env.ARMT_API_KEY ?? [];
    const list = typeof keys === "string" ? [keys] : keys;
    if (list.some((key) => key.trim() === "")) throw new UsageError("--api-key is empty");
    return list;
}
