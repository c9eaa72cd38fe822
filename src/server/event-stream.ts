import { once } from "node:events";
import type { Response } from "express";
import { writeJson } from "./JsonText.js";

/** Server-sent events, or a JSON object on each line. */
export type StreamEncoding = "sse" | "ndjson";

export interface EventStreamOptions {
    /** Silence after which a comment line is sent. Unit: milliseconds. */
    pingIntervalMs: number;
    /** Ends the wait for a client that does not read. */
    signal: AbortSignal;
    /** Default: `sse`. */
    encoding?: StreamEncoding;
}

/** A stream of events, as clients read them. */
export class EventStream {
    private readonly pingIntervalMs: number;
    private readonly signal: AbortSignal;
    private readonly encoding: StreamEncoding;
    private timer: NodeJS.Timeout | undefined;
    private isOpen = false;

    constructor(
        private readonly response: Response,
        { pingIntervalMs, signal, encoding = "sse" }: EventStreamOptions
    ) {
        this.encoding = encoding;
        this.pingIntervalMs = pingIntervalMs;
        this.signal = signal;
    }

    get open(): boolean {
        return this.isOpen;
    }

    /** Sends the headers. From here on, failures are events. */
    begin(): void {
        if (this.isOpen) return;
        this.isOpen = true;
        this.response.status(200).set({
            "Content-Type": this.encoding === "sse" ? "text/event-stream; charset=utf-8" : "application/x-ndjson",
            "Cache-Control": "no-cache, no-transform",
            // nginx would hold events back
            "X-Accel-Buffering": "no"
        });
        this.response.flushHeaders();
        this.restartTimer();
    }

    /**
     * Sends one event, and waits if the client reads more slowly than the model writes.
     * @throws the signal's reason, if the signal is aborted while it waits
     */
    async send(data: unknown, event?: string): Promise<void> {
        this.begin();
        const { response, signal } = this;
        if (response.destroyed || response.writableEnded) return this.dispose();
        this.restartTimer();
        if (response.write(this.format(data, event))) return;
        const stopped = new AbortController();
        const options = { signal: AbortSignal.any([stopped.signal, signal]) };
        const drained = [once(response, "drain", options), once(response, "close", options)];
        try {
            await Promise.race(drained);
        } catch {
            signal.throwIfAborted();
        } finally {
            for (const waiting of drained) waiting.catch(() => {});
            stopped.abort();
        }
    }

    /** Sends an event that a later one replaces. Skips it if the client has not read the events before it. */
    offer(data: unknown): void {
        this.begin();
        const { response } = this;
        if (response.destroyed || response.writableEnded || response.writableNeedDrain) return;
        this.restartTimer();
        response.write(this.format(data));
    }

    /**
     * Sends a last event and ends. If the request is out of time and its client has not read the events so far, the
     * connection is closed instead.
     * @param last an event, or {@link lastEvent}
     */
    end(last?: unknown, event?: string): void {
        this.dispose();
        const { response } = this;
        if (!this.isOpen || response.writableEnded || response.destroyed) return;
        if (response.writableNeedDrain && this.signal.aborted) {
            response.destroy();
            return;
        }
        if (last !== undefined) response.write(this.format(last, event));
        response.end();
    }

    /** Stops the pings. */
    dispose(): void {
        clearInterval(this.timer);
    }

    /** Sends comment lines during silence: clients and proxies close silent connections while a long prompt is read. */
    private restartTimer(): void {
        clearInterval(this.timer);
        // a line that is no JSON object would confuse clients
        if (this.encoding === "ndjson") return;
        this.timer = setInterval(() => {
            const { response } = this;
            if (!response.writableEnded && !response.destroyed && !response.writableNeedDrain)
                response.write(": ping\n\n");
        }, this.pingIntervalMs);
    }

    private format(data: unknown, event?: string): string {
        const text = data === lastEvent ? "[DONE]" : writeJson(data);
        if (this.encoding === "ndjson") return `${text}\n`;
        const name = event === undefined ? "" : `event: ${event}\n`;
        return `${name}data: ${text}\n\n`;
    }
}

/** The last event of chats and completions. */
export const lastEvent = Symbol("[DONE]");
