import { rm, statfs } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { type KnownModel, knownModel, memoryPath } from "../../../plugin/model/known-models.js";
import { cachedModelPath, modelFolder } from "../../../plugin/model/model-cache.js";
import { attachMemory, trainingKey } from "../../convert/attach/attach.js";
import { openMemoryFile } from "../../convert/attach/memory-file.js";
import { isFile } from "../../convert/shards.js";
import { openGguf } from "../../formats/gguf/reader.js";
import { ArmtError, quote } from "../../util/errors.js";
import { makeFolder } from "../../util/make-folder.js";

export type PullOptions = {
    /** A GGUF file of the base, in any quantization. Default: it is downloaded. */
    base?: string;
    /** Make the model again if it is there. Default: `false`. */
    force?: boolean;
    /** The memory's file. Default: the package's. */
    memory?: string;
    /** Time without a new byte after which a download is given up. Default: a minute. Unit: milliseconds. */
    stallMs?: number;
    onDownload?: (done: number, total: number) => void;
    onAttach?: (done: number, total: number) => void;
    onWarning?: (message: string) => void;
    signal?: AbortSignal;
};

export type PulledModel = {
    readonly path: string;
    /** `false`: it was there. */
    readonly isNew: boolean;
    /** It was there, and its memory is of another training than the given one. */
    readonly hasOtherMemory: boolean;
};

/**
 * Puts a known memory and its base together, and keeps the model in the user's cache.
 * @throws {ArmtError} for an unknown name, a package without the memory, a base that cannot be downloaded, and another
 * base than the memory's
 */
export async function pullModel(name: string, options: PullOptions = {}): Promise<PulledModel> {
    const known = knownModel(name);
    const output = cachedModelPath(known.name);
    const { memory = memoryPath(known), onAttach: onProgress, onWarning, signal } = options;
    if (options.force !== true && (await isFile(output)))
        return { path: output, isNew: false, hasOtherMemory: await hasOtherMemory(output, memory) };
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
    return { path: output, isNew: true, hasOtherMemory: false };
}

/** Compares what model and memory say of their training. A file that cannot be read is not another memory's. */
async function hasOtherMemory(model: string, memory: string): Promise<boolean> {
    try {
        const { facts, weights } = await openMemoryFile(memory);
        await weights.close();
        const file = await openGguf(model);
        await file.close();
        const training = file.metadata.get(trainingKey);
        const same = training?.type === "STRING" && training.value === facts?.training;
        return facts?.training !== undefined && !same;
    } catch {
        return false;
    }
}

/** Unit: milliseconds. */
const NETWORK_TIMEOUT = 20_000;

/**
 * Asks for the file before the downloader does, which repeats failed requests for many minutes, and makes a list of all
 * parts of a file however long its host says that it is.
 * @throws {Error} if the host does not answer, or the file cannot be had
 */
async function checkHost(baseUri: string, folder: string, signal: AbortSignal | undefined): Promise<void> {
    const timeout = AbortSignal.timeout(NETWORK_TIMEOUT);
    const host = process.env.MODEL_ENDPOINT ?? process.env.HF_ENDPOINT ?? "https://huggingface.co/";
    const [, owner, repository, file] = /^hf:([^/]+)\/([^/]+)\/(.+)$/.exec(baseUri)!;
    const response = await fetch(new URL(`${owner}/${repository}/resolve/main/${file}`, host), {
        method: "HEAD",
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout])
    });
    if (!response.ok) throw new Error(`the host answers with HTTP ${response.status} for the file`);
    const bytes = Number(response.headers.get("content-length"));
    const { bavail, bsize } = await statfs(folder);
    if (bytes > bavail * bsize)
        throw new Error(`the host says that the file has ${bytes} bytes, and the disk has room for ${bavail * bsize}`);
}

/** Gives up a download that gets no new byte. */
class StallWatch {
    private readonly controller = new AbortController();
    private readonly timer: NodeJS.Timeout;
    private most = 0;

    constructor(milliseconds: number) {
        const reason = `no new byte in ${milliseconds / 1000} seconds; the same command resumes the download`;
        this.timer = setTimeout(() => this.controller.abort(new Error(reason)), milliseconds);
    }

    get signal(): AbortSignal {
        return this.controller.signal;
    }

    /** A part that is repeated brings nothing new. */
    report(downloaded: number): void {
        if (downloaded <= this.most) return;
        this.most = downloaded;
        this.timer.refresh();
    }

    end(): void {
        clearTimeout(this.timer);
    }
}

/** The reason of a failed request, which `fetch` keeps in the cause. */
function reasonOf(error: unknown): string {
    const { cause } = error instanceof Error ? error : { cause: undefined };
    const reason = cause instanceof Error && cause.message !== "" ? cause : error;
    return (reason instanceof Error ? reason.message : String(reason)).split("\n", 1)[0]!;
}

/** Downloads a base's file; an interrupted download resumes. */
async function downloadBase({ name, base, baseUri }: KnownModel, options: PullOptions): Promise<string> {
    const { onDownload, signal, stallMs = 60_000 } = options;
    let watch: StallWatch | undefined;
    try {
        await checkHost(baseUri, modelFolder(), signal);
        const { createModelDownloader } = await import("node-llama-cpp");
        watch = new StallWatch(stallMs);
        const downloader = await createModelDownloader({
            modelUri: baseUri,
            dirPath: path.join(modelFolder(), "bases"),
            deleteTempFileOnCancel: false,
            onProgress: ({ downloadedSize, totalSize }) => {
                watch?.report(downloadedSize);
                onDownload?.(downloadedSize, totalSize);
            }
        });
        const either = signal === undefined ? watch.signal : AbortSignal.any([signal, watch.signal]);
        const file = await downloader.download({ signal: either });
        // an interrupted download ends as if it were complete
        either.throwIfAborted();
        return file;
    } catch (error) {
        signal?.throwIfAborted();
        const reason = reasonOf(watch?.signal.aborted === true ? watch.signal.reason : error);
        throw new ArmtError(
            `cannot download ${baseUri}: ${reason}. ` +
                `Without a network, get a GGUF file of ${base} in any quantization, ` +
                `and run \`npx armt pull ${name} --base FILE\``,
            { cause: error }
        );
    } finally {
        watch?.end();
    }
}
