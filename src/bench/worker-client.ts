import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { WorkerOptions, WorkerReply, WorkerRequest } from "./worker.js";

/** A process that holds one model and times prompts. A process each, so that the plain library and ours are never in one. */
export class BenchWorker {
    private constructor(
        private readonly child: ChildProcess,
        /** CPU threads that it computes with. */
        public readonly threads: number
    ) {}

    public static async start(options: WorkerOptions): Promise<BenchWorker> {
        const child = fork(fileURLToPath(new URL("worker.js", import.meta.url)), [JSON.stringify(options)]);
        const reply = await nextReply(child);
        if (!("ready" in reply)) throw new Error("a worker answered before it was ready");
        return new BenchWorker(child, reply.threads);
    }

    /** Milliseconds from a random prompt to its first token. */
    public async readPrompt(tokens: number): Promise<number> {
        const request: WorkerRequest = { tokens };
        this.child.send(request);
        const reply = await nextReply(this.child);
        if (!("milliseconds" in reply)) throw new Error("a worker gave no time");
        return reply.milliseconds;
    }

    public async stop(): Promise<void> {
        if (this.child.exitCode !== null) return;
        const ended = once(this.child, "exit");
        this.child.disconnect();
        await ended;
    }
}

async function nextReply(child: ChildProcess): Promise<WorkerReply> {
    const stopped = new AbortController();
    try {
        const { signal } = stopped;
        return await Promise.race([
            once(child, "message", { signal }).then(([message]) => message as WorkerReply),
            once(child, "exit", { signal }).then(([code]) => {
                throw new Error(`a worker ended with exit code ${code}; see its message above`);
            })
        ]);
    } finally {
        stopped.abort();
    }
}
