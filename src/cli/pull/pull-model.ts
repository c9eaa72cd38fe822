import { rm } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { type KnownModel, knownModel, memoryPath } from "../../../plugin/model/known-models.js";
import { cachedModelPath, modelFolder } from "../../../plugin/model/model-cache.js";
import { attachMemory } from "../../convert/attach/attach.js";
import { isFile } from "../../convert/shards.js";
import { ArmtError, quote } from "../../util/errors.js";
import { makeFolder } from "../../util/make-folder.js";

export type PullOptions = {
    /** A GGUF file of the base, in any quantization. Default: it is downloaded. */
    base?: string;
    /** Make the model again if it is there. Default: `false`. */
    force?: boolean;
    /** The memory's file. Default: the package's. */
    memory?: string;
    onDownload?: (done: number, total: number) => void;
    onAttach?: (done: number, total: number) => void;
    onWarning?: (message: string) => void;
    signal?: AbortSignal;
};

export type PulledModel = {
    readonly path: string;
    /** `false`: it was there. */
    readonly isNew: boolean;
};

/**
 * Puts a known memory and its base together, and keeps the model in the user's cache.
 * @throws {ArmtError} for an unknown name, a package without the memory, a base that cannot be downloaded, and another
 * base than the memory's
 */
export async function pullModel(name: string, options: PullOptions = {}): Promise<PulledModel> {
    const known = knownModel(name);
    const output = cachedModelPath(known.name);
    if (options.force !== true && (await isFile(output))) return { path: output, isNew: false };
    const { memory = memoryPath(known), onAttach: onProgress, onWarning, signal } = options;
    if (!(await isFile(memory)))
        throw new ArmtError(
            `this version of the package has no memory for ${quote(known.name)} ` +
                `(${quote(memory)} is missing); a later version may have it, or train one with \`armt-train\` and ` +
                "add it with `armt attach`"
        );
    await makeFolder(modelFolder());
    const base = options.base ?? (await downloadBase(known, options));
    try {
        const overwrite = true;
        await attachMemory({ base, memory, output, name: known.name, overwrite, onProgress, onWarning, signal });
    } finally {
        // a base that does not fit would be taken again, and one that does is in the output
        if (options.base === undefined && signal?.aborted !== true) await rm(base, { force: true });
    }
    return { path: output, isNew: true };
}

/** Unit: milliseconds. */
const NETWORK_TIMEOUT = 20_000;

/** Asks the host of models for anything: the downloader repeats failed requests for many minutes. */
async function checkNetwork(signal: AbortSignal | undefined): Promise<void> {
    const timeout = AbortSignal.timeout(NETWORK_TIMEOUT);
    const host = process.env.MODEL_ENDPOINT ?? process.env.HF_ENDPOINT ?? "https://huggingface.co/";
    await fetch(host, { method: "HEAD", signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]) });
}

/** The reason of a failed request, which `fetch` keeps in the cause. */
function reasonOf(error: unknown): string {
    const { cause } = error instanceof Error ? error : { cause: undefined };
    const reason = cause instanceof Error && cause.message !== "" ? cause : error;
    return (reason instanceof Error ? reason.message : String(reason)).split("\n", 1)[0]!;
}

/** Downloads a base's file; an interrupted download resumes. */
async function downloadBase({ name, base, baseUri }: KnownModel, options: PullOptions): Promise<string> {
    const { onDownload, signal } = options;
    try {
        await checkNetwork(signal);
        const { createModelDownloader } = await import("node-llama-cpp");
        const downloader = await createModelDownloader({
            modelUri: baseUri,
            dirPath: path.join(modelFolder(), "bases"),
            deleteTempFileOnCancel: false,
            onProgress: ({ downloadedSize, totalSize }) => onDownload?.(downloadedSize, totalSize)
        });
        const file = await downloader.download({ signal });
        // an interrupted download ends as if it were complete
        signal?.throwIfAborted();
        return file;
    } catch (error) {
        signal?.throwIfAborted();
        throw new ArmtError(
            `cannot download ${baseUri}: ${reasonOf(error)}. ` +
                `Without a network, get a GGUF file of ${base} in any quantization, ` +
                `and run \`npx armt pull ${name} --base FILE\``,
            { cause: error }
        );
    }
}
