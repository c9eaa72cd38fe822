import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { ArmtSchedule } from "../../plugin/index.js";
import { ArmtError } from "../util/errors.js";
import type { WorkerOptions, WorkerReply, WorkerRequest } from "./worker.js";

type ReplyOf<K extends WorkerReply["kind"]> = Extract<WorkerReply, { kind: K }>;

/** How much of a worker's last output an error quotes. Unit: characters. */
const keptOutput = 2000;

/**
 * A worker process that holds one model and times its work. Each model has its own process: the plain library and ours
 * must not share one, and the peak memory must be that of a single model.
 */
export class BenchWorker {
    private output = "";

    private constructor(
        private readonly name: string,
        private readonly child: ChildProcess
    ) {
        const collect = (data: Buffer) => {
            this.output = (this.output + String(data)).slice(-keptOutput);
        };
        child.stdout?.on("data", collect);
        child.stderr?.on("data", collect);
    }

    /** Name of the GPU; empty on a CPU. */
    device = "";
    /** The schedule that an ARMT model's context takes. */
    schedule: ArmtSchedule | undefined;

    /** @throws {ArmtError} with the worker's error message */
    public static async start(name: string, options: WorkerOptions): Promise<BenchWorker> {
        const child = fork(fileURLToPath(new URL("worker.js", import.meta.url)), [JSON.stringify(options)], {
            stdio: ["ignore", "pipe", "pipe", "ipc"]
        });
        const worker = new BenchWorker(name, child);
        try {
            const { device, schedule } = await worker.reply("ready");
            worker.device = device;
            worker.schedule = schedule;
        } catch (error) {
            child.kill("SIGKILL");
            throw error;
        }
        return worker;
    }

    /**
     * Sends a request and waits for its answer. An abort stops the worker.
     * @throws the signal's reason, or {ArmtError} with the worker's error message
     */
    public async ask<K extends WorkerRequest["kind"]>(
        request: Extract<WorkerRequest, { kind: K }>,
        signal?: AbortSignal
    ): Promise<ReplyOf<K>> {
        signal?.throwIfAborted();
        this.child.send(request);
        return await this.reply<K>(request.kind, signal);
    }

    public async stop(): Promise<void> {
        if (this.child.exitCode !== null || this.child.signalCode !== null) return;
        const ended = once(this.child, "exit");
        // the worker does not respond in the middle of a long evaluation
        const timer = setTimeout(() => this.child.kill("SIGKILL"), 2000);
        if (this.child.connected) this.child.disconnect();
        await ended;
        clearTimeout(timer);
    }

    private async reply<K extends WorkerReply["kind"]>(kind: K, signal?: AbortSignal): Promise<ReplyOf<K>> {
        const stopped = new AbortController();
        const any = signal === undefined ? stopped.signal : AbortSignal.any([stopped.signal, signal]);
        try {
            const reply = await Promise.race([
                once(this.child, "message", { signal: any }).then(([message]) => message as WorkerReply),
                once(this.child, "exit", { signal: any }).then(([code, killed]) => {
                    throw new ArmtError(
                        `the process that measures ${this.name} ended with ` +
                            `${killed ?? `exit code ${code}`}${this.lastWords()}`
                    );
                })
            ]);
            if (reply.kind === "error") throw new ArmtError(`${this.name}: ${reply.message}`);
            if (reply.kind !== kind) throw new ArmtError(`${this.name} answered ${reply.kind} instead of ${kind}`);
            return reply as ReplyOf<K>;
        } catch (error) {
            signal?.throwIfAborted();
            throw error;
        } finally {
            stopped.abort();
        }
    }

    private lastWords(): string {
        const lines = this.output.trim().split("\n");
        return lines[0] === "" ? "" : `: ${lines.at(-1)}`;
    }
}
