import type { Request, Response } from "express";
import { ApiError } from "./errors.js";

/** The client has gone; nobody will see the answer. */
export class ClientGoneError extends Error {
    override name = "ClientGoneError";

    constructor() {
        super("the client closed the connection");
    }
}

/**
 * A signal for the work of one request: aborted when its client goes, or when its time is over. `done` has to be called
 * at the end.
 */
export function requestSignal(
    _request: Request,
    response: Response,
    timeoutMs: number
): { signal: AbortSignal; done: () => void } {
    const controller = new AbortController();
    const onClose = () => {
        if (!response.writableFinished) controller.abort(new ClientGoneError());
    };
    response.on("close", onClose);
    const timer = setTimeout(() => {
        controller.abort(
            new ApiError(504, `the request was not done after its ${timeoutMs} ms`, { code: "deadline_exceeded" })
        );
    }, timeoutMs);
    return {
        signal: controller.signal,
        done: () => {
            clearTimeout(timer);
            response.off("close", onClose);
        }
    };
}
