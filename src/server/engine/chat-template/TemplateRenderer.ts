import { Worker } from "node:worker_threads";
import type { RenderAnswer, RenderRequest } from "./render-worker.js";

/** A template that says no to its messages, or that is wrong itself. */
export class TemplateError extends Error {
    override name = "TemplateError";
}

/** Memory that a rendering may take; a text of the largest body takes a part of it. Unit: MiB. */
const maxMemory = 1024;

/**
 * Renders Jinja templates in a thread of its own, one after the other. A template comes with a model file, so it may do anything: one that does not end is ended,
 * and the server goes on meanwhile.
 */
export class TemplateRenderer {
    private worker: Worker | undefined;
    private last: Promise<unknown> = Promise.resolve();

    /** @param timeoutMs time that one rendering may take */
    constructor(private readonly timeoutMs: number) {}

    /** @throws {TemplateError} with the template's own reason, or where it takes too long */
    async render(template: string, variables: Readonly<Record<string, unknown>>): Promise<string> {
        const result = this.last.then(() => this.run({ template, variables }));
        this.last = result.catch(() => undefined);
        return await result;
    }

    async dispose(): Promise<void> {
        await this.worker?.terminate();
        this.worker = undefined;
    }

    private async run(request: RenderRequest): Promise<string> {
        this.worker ??= startWorker();
        const { worker } = this;
        let end = () => {};
        try {
            const answer = await new Promise<RenderAnswer>((resolve, reject) => {
                const fail = (reason: string) => {
                    if (this.worker === worker) this.worker = undefined;
                    void worker.terminate();
                    reject(new TemplateError(reason));
                };
                const timer = setTimeout(() => fail(`it did not end within ${this.timeoutMs} ms`), this.timeoutMs);
                const onError = (error: Error) => fail(error.message);
                const onExit = () => fail("it took too much memory");
                worker.once("message", resolve).once("error", onError).once("exit", onExit);
                end = () => {
                    clearTimeout(timer);
                    worker.off("message", resolve).off("error", onError).off("exit", onExit);
                };
                worker.postMessage(request);
            });
            if ("error" in answer) throw new TemplateError(answer.error);
            return answer.text;
        } finally {
            end();
        }
    }
}

function startWorker(): Worker {
    const worker = new Worker(new URL("./render-worker.js", import.meta.url), {
        resourceLimits: { maxOldGenerationSizeMb: maxMemory },
        execArgv: []
    });
    worker.on("error", () => {});
    // waiting for another template keeps no process alive
    worker.unref();
    return worker;
}
