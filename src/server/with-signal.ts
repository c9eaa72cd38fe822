import type { Request, RequestHandler, Response } from "express";
import { ClientGoneError, requestSignal } from "./request-signal.js";
import type { Server } from "./Server.js";

/** Ends the work when the client disconnects, when the request's time is over, or when the server ends. */
export function withSignal(
    { limits, ending, metrics }: Server,
    work: (request: Request, response: Response, signal: AbortSignal) => Promise<void>
): RequestHandler {
    return async (request, response) => {
        const { signal, done } = requestSignal(response, limits.requestTimeoutMs, ending.signal);
        try {
            await work(request, response, signal);
        } catch (error) {
            if (signal.reason instanceof ClientGoneError) metrics.cancelled.inc();
            else if (response.headersSent) response.destroy();
            else throw error;
        } finally {
            done();
        }
    };
}
