import { once } from "node:events";
import { type TransferListItem, Worker } from "node:worker_threads";
import { ArmtError } from "./errors.js";

/** A task was ended, because it took too much time or memory. */
export class WorkerLimitError extends ArmtError {
    override name = "WorkerLimitError";
}

export interface WorkerQueueOptions {
    /** Time that one task may take. Unit: milliseconds. */
    timeoutMs: number;
    /** Data for the worker, as its `workerData`. Default: none. */
    workerData?: unknown;
    /** Memory that the worker's heap may take. Unit: MiB. Default: 1024. */
    maxMemory?: number;
}

export interface TaskOptions {
    transfer?: readonly TransferListItem[];
    /** The task ends with the signal's reason, and the worker with it if the task has begun. */
    signal?: AbortSignal;
    /** Whether the worker ends after the task, which frees its copies of a large input. Default: `false`. */
    isLarge?: boolean;
}

/**
 * Runs tasks one by one in a worker thread, so that the event loop stays free and a task that takes too long can be
 * ended. The worker starts with the first task. It sends a first message when it is ready, and one for each task.
 */
export class WorkerQueue<Request, Answer> {
    private worker: Promise<Worker> | undefined;
    private last: Promise<unknown> = Promise.resolve();

    constructor(
        private readonly url: URL,
        private readonly options: WorkerQueueOptions
    ) {}

    /** @throws {WorkerLimitError} if the task takes too much time or memory */
    async run(request: Request, { signal, ...options }: TaskOptions = {}): Promise<Answer> {
        const result = this.last.then(async () => {
            signal?.throwIfAborted();
            return await this.post(request, { signal, ...options });
        });
        this.last = result.catch(() => undefined);
        return signal === undefined ? await result : await untilAborted(result, signal);
    }

    /** Ends the worker. The next task starts another. */
    async dispose(): Promise<void> {
        const { worker } = this;
        this.worker = undefined;
        await (await worker)?.terminate();
    }

    private async post(request: Request, { transfer = [], signal, isLarge = false }: TaskOptions): Promise<Answer> {
        this.worker ??= this.start();
        // the start of the worker is not part of the task's time
        const worker = await this.worker.catch((error) => {
            this.worker = undefined;
            throw error;
        });
        let end = () => {};
        try {
            const answer = await new Promise<Answer>((resolve, reject) => {
                const fail = (reason: unknown) => {
                    this.worker = undefined;
                    void worker.terminate();
                    reject(reason);
                };
                const { timeoutMs } = this.options;
                const limit = (reason: string) => fail(new WorkerLimitError(reason));
                const timer = setTimeout(() => limit(`it did not finish within ${timeoutMs} ms`), timeoutMs);
                const onError = (error: Error) => limit(error.message);
                const onExit = () => limit("it used too much memory");
                const onAbort = () => fail(signal?.reason);
                worker.once("message", resolve).once("error", onError).once("exit", onExit);
                signal?.addEventListener("abort", onAbort);
                end = () => {
                    clearTimeout(timer);
                    worker.off("message", resolve).off("error", onError).off("exit", onExit);
                    signal?.removeEventListener("abort", onAbort);
                };
                worker.postMessage(request, transfer);
            });
            end();
            if (isLarge) await this.dispose();
            return answer;
        } finally {
            end();
        }
    }

    private async start(): Promise<Worker> {
        const { workerData, maxMemory = 1024 } = this.options;
        const worker = new Worker(this.url, {
            workerData,
            resourceLimits: { maxOldGenerationSizeMb: maxMemory },
            execArgv: []
        });
        await once(worker, "message");
        worker.on("error", () => {});
        // an idle worker must not keep the process alive
        worker.unref();
        return worker;
    }
}

/** A task that waits for others ends at once, too. */
async function untilAborted<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
    let onAbort = () => {};
    const aborted = new Promise<never>((_, reject) => {
        onAbort = () => reject(signal.reason);
        if (signal.aborted) onAbort();
        signal.addEventListener("abort", onAbort);
    });
    try {
        return await Promise.race([result, aborted]);
    } finally {
        signal.removeEventListener("abort", onAbort);
    }
}
