import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { RenderAnswer, RenderRequest } from "./render-worker.js";

/** A template refuses its messages, or has an error itself. */
export class TemplateError extends Error {
    override name = "TemplateError";
}

/** A template was terminated, because it took too much time or memory. */
export class TemplateLimitError extends TemplateError {
    override name = "TemplateLimitError";
}

/** A worker ends after a longer text, which frees its copies of it. Unit: UTF-16 code units. */
const longText = 2 ** 18;

/** Memory limit of a rendering. Unit: MiB. */
const maxMemory = 1024;

/**
 * Renders Jinja templates one by one in a worker thread. Templates come from model files, so they are not trusted: one
 * that takes too long is terminated, and this thread keeps responding meanwhile.
 */
export class TemplateRenderer {
    private worker: Promise<Worker> | undefined;
    private last: Promise<unknown> = Promise.resolve();

    /** @param timeoutMs time that one rendering may take */
    constructor(private readonly timeoutMs: number) {}

    /** @throws {TemplateError} with the template's own message; {@link TemplateLimitError} if it is terminated */
    async render(template: string, variables: Readonly<Record<string, unknown>>): Promise<string> {
        const result = this.last.then(() => this.run({ template, variables }));
        this.last = result.catch(() => undefined);
        return await result;
    }

    async dispose(): Promise<void> {
        const { worker } = this;
        this.worker = undefined;
        await (await worker)?.terminate();
    }

    private async run(request: RenderRequest): Promise<string> {
        this.worker ??= startWorker();
        // the start of the worker is not part of the template's time
        const worker = await this.worker.catch((error) => {
            this.worker = undefined;
            throw error;
        });
        let end = () => {};
        try {
            const answer = await new Promise<RenderAnswer>((resolve, reject) => {
                const fail = (reason: string) => {
                    this.worker = undefined;
                    void worker.terminate();
                    reject(new TemplateLimitError(`the model's chat template was terminated: ${reason}`));
                };
                const timer = setTimeout(() => fail(`it did not finish within ${this.timeoutMs} ms`), this.timeoutMs);
                const onError = (error: Error) => fail(error.message);
                const onExit = () => fail("it used too much memory");
                worker.once("message", resolve).once("error", onError).once("exit", onExit);
                end = () => {
                    clearTimeout(timer);
                    worker.off("message", resolve).off("error", onError).off("exit", onExit);
                };
                worker.postMessage(request);
            });
            if ("error" in answer) throw new TemplateError(answer.error);
            end();
            if (answer.text.length > longText) await this.dispose();
            return answer.text;
        } finally {
            end();
        }
    }
}

async function startWorker(): Promise<Worker> {
    const worker = new Worker(new URL("./render-worker.js", import.meta.url), {
        resourceLimits: { maxOldGenerationSizeMb: maxMemory },
        execArgv: []
    });
    await once(worker, "message");
    worker.on("error", () => {});
    // an idle worker must not keep the process alive
    worker.unref();
    return worker;
}
