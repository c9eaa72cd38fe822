import { once } from "node:events";
import type { Response } from "express";

/** A stream of server-sent events, as OpenAI's clients read them. */
export class EventStream {
    private timer: NodeJS.Timeout | undefined;
    private isOpen = false;

    constructor(
        private readonly response: Response,
        private readonly pingIntervalMs: number
    ) {}

    get open(): boolean {
        return this.isOpen;
    }

    /** Sends the headers. From here on, failures are events. */
    begin(): void {
        if (this.isOpen) return;
        this.isOpen = true;
        this.response.status(200).set({
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-cache, no-transform",
            // nginx would hold events back
            "X-Accel-Buffering": "no"
        });
        this.response.flushHeaders();
        this.restartTimer();
    }

    /** Sends one event; waits where the client reads slower than the model writes. */
    async send(data: unknown, event?: string): Promise<void> {
        this.begin();
        const name = event === undefined ? "" : `event: ${event}\n`;
        await this.write(`${name}data: ${JSON.stringify(data)}\n\n`);
    }

    /** @param done whether to end with `[DONE]`, as chats and completions do */
    end(done: boolean): void {
        clearInterval(this.timer);
        if (!this.isOpen || this.response.writableEnded) return;
        if (done) this.response.write("data: [DONE]\n\n");
        this.response.end();
    }

    /** Stops the pings, whatever became of the stream. */
    dispose(): void {
        clearInterval(this.timer);
    }

    private async write(text: string): Promise<void> {
        const { response } = this;
        if (response.destroyed || response.writableEnded) return this.dispose();
        this.restartTimer();
        if (response.write(text)) return;
        const stopped = new AbortController();
        const { signal } = stopped;
        await Promise.race([once(response, "drain", { signal }), once(response, "close", { signal })]).catch(() => {});
        stopped.abort();
    }

    /** A comment line in silence: clients and proxies end connections that say nothing while a long prompt is read. */
    private restartTimer(): void {
        clearInterval(this.timer);
        this.timer = setInterval(() => {
            if (!this.response.writableEnded && !this.response.destroyed) this.response.write(": ping\n\n");
        }, this.pingIntervalMs);
    }
}
