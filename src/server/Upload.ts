import type { Request } from "express";
import { NotTextError } from "../formats/text/NotTextError.js";
import { TextReader } from "../formats/text/TextReader.js";
import { ApiError } from "./errors.js";
import type { ServerLimits } from "./options.js";
import { ClientGoneError } from "./request-signal.js";
import type { UploadBudget } from "./UploadBudget.js";

/**
 * The body of an upload, read ahead of the model. A server that leaves bytes in the system's buffers learns that their
 * client has disconnected only when it has read them, which may take minutes.
 */
export class Upload {
    private readonly pieces: Buffer[] = [];
    private held = 0;
    private isEnded = false;
    private failure: Error | undefined;
    private wake = () => {};
    /** Time that the reader has waited for the bytes counted in `arrived`. Unit: milliseconds. */
    private waited = 0;
    private arrived = 0;

    /** @param budget what all uploads may hold together */
    constructor(
        private readonly request: Request,
        private readonly budget: UploadBudget,
        private readonly limits: Pick<ServerLimits, "uploadIdleMs" | "uploadMinBytes">
    ) {
        request.on("data", (piece: Buffer) => {
            this.countArrival(piece.length);
            this.pieces.push(piece);
            this.held += piece.length;
            if (!budget.take(piece.length, this.held)) request.pause();
            this.wake();
        });
        request.on("end", () => this.end());
        // the connection was closed, and the request's signal may not be aborted yet
        request.on("error", () => this.end(new ClientGoneError()));
        request.on("close", () => this.end(request.complete ? undefined : new ClientGoneError()));
    }

    /**
     * The pieces of the body, as they arrive.
     * @throws {ApiError} if the client stops sending
     * @throws the signal's reason, or {@link ClientGoneError}
     */
    async *bytes(signal: AbortSignal): AsyncGenerator<Buffer, void, void> {
        for (;;) {
            signal.throwIfAborted();
            const piece = this.pieces.shift();
            if (piece !== undefined) {
                this.give(piece.length);
                yield piece;
                continue;
            }
            if (this.failure !== undefined) throw this.failure;
            if (this.isEnded) return;
            this.request.resume();
            await this.wait(signal);
        }
    }

    /**
     * The body as text.
     * @param name of the document, for errors
     * @param bytes the part of the body with the text. Default: all of it.
     * @throws {ApiError} if the bytes are not text in UTF-8, or in UTF-16 with a byte order mark
     */
    async *text(
        name: string | undefined,
        signal: AbortSignal,
        bytes: AsyncIterable<Buffer> = this.bytes(signal)
    ): AsyncGenerator<string, void, void> {
        const reader = new TextReader(name);
        try {
            for await (const piece of bytes) {
                const text = reader.push(piece);
                if (text !== "") yield text;
            }
            const rest = reader.end();
            if (rest !== "") yield rest;
        } catch (error) {
            throw error instanceof NotTextError ? new ApiError(400, error.message, { code: "not_text" }) : error;
        }
    }

    /** Frees what was not read. */
    dispose(): void {
        this.request.removeAllListeners("data");
        this.pieces.length = 0;
        this.give(this.held);
    }

    private give(bytes: number): void {
        this.held -= bytes;
        this.budget.give(bytes);
        if (this.request.isPaused() && this.budget.hasRoom(this.held)) this.request.resume();
    }

    private end(failure?: Error): void {
        if (this.isEnded) return;
        this.isEnded = true;
        this.failure = failure;
        this.wake();
    }

    /** A client that sends byte after byte must not keep its sequence for as long as one that sends a text. */
    private countArrival(bytes: number): void {
        this.arrived += bytes;
        if (this.arrived < this.limits.uploadMinBytes) return;
        this.arrived = 0;
        this.waited = 0;
    }

    /** Waits for a piece, the end, a failure or the abort. Only time spent here counts as the client's. */
    private async wait(signal: AbortSignal): Promise<void> {
        const { uploadIdleMs } = this.limits;
        let timer: NodeJS.Timeout | undefined;
        let onAbort = () => {};
        const started = performance.now();
        try {
            await new Promise<void>((resolve, reject) => {
                this.wake = resolve;
                onAbort = () => reject(signal.reason);
                signal.addEventListener("abort", onAbort);
                const late = () => {
                    const what = this.arrived === 0 ? "no data" : `only ${this.arrived} bytes`;
                    reject(new ApiError(408, `${what} arrived for ${uploadIdleMs} ms`));
                };
                timer = setTimeout(late, Math.max(0, uploadIdleMs - this.waited));
            });
        } finally {
            clearTimeout(timer);
            if (this.arrived > 0) this.waited += performance.now() - started;
            signal.removeEventListener("abort", onAbort);
            this.wake = () => {};
        }
    }
}
