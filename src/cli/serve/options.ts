import process from "node:process";
import type { ModelOptions } from "../../model/options.js";
import { UsageError } from "../../util/failure.js";

export interface ServeOptions extends Omit<ModelOptions, "model"> {
    /** Model files, names of models that `armt pull` made, or folders. Default: the model of the package. */
    model?: string[];
    maxModels: number;
    /** Unit: MiB. */
    modelsSize?: number;
    host: string;
    port: number;
    alias?: string;
    apiKey?: string | string[];
    corsOrigin?: string[];
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
    slotSavePath?: string;
    logLevel: string;
}

/** @throws {UsageError} if a key is empty, because it would let everybody in */
export function apiKeys({ apiKey }: Pick<ServeOptions, "apiKey">): string[] {
    const keys = apiKey ?? process.env.ARMT_API_KEY ?? [];
    const list = typeof keys === "string" ? [keys] : keys;
    if (list.some((key) => key.trim() === "")) throw new UsageError("--api-key is empty");
    return list;
}

/** @throws {UsageError} for what is no origin, and for all origins without a key */
export function checkOrigins(origins: readonly string[], hasKey: boolean): void {
    for (const origin of origins) {
        if (origin === "*") {
            if (!hasKey) throw new UsageError("--cors-origin '*' lets every web page in, so it needs --api-key");
            continue;
        }
        const parsed = URL.canParse(origin) ? new URL(origin).origin : undefined;
        if (parsed !== origin)
            throw new UsageError(
                `--cors-origin ${origin} must have the form https://example.com or http://localhost:3000`
            );
    }
}
