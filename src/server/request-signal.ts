import type { Response } from "express";
import { ApiError } from "./errors.js";

/** The client has disconnected, so nobody will see the answer. */
export class ClientGoneError extends Error {
    override name = "ClientGoneError";

    constructor() {
        super("the client closed the connection");
    }
}

export interface RequestSignal {
    readonly signal: AbortSignal;
    /** Must be called at the end of the request's work. */
    done(): void;
}

/**
 * A signal for the work of one request. It is aborted when the client disconnects, when the request's time is over,
 * and when the server ends.
 * @param ending aborted when the server ends
 */
export function requestSignal(response: Response, timeoutMs: number, ending: AbortSignal): RequestSignal {
    const controller = new AbortController();
    const onClose = () => {
        if (!response.writableFinished) controller.abort(new ClientGoneError());
    };
    response.on("close", onClose);
    const onEnding = () => controller.abort(ending.reason);
    ending.addEventListener("abort", onEnding);
    if (ending.aborted) onEnding();
    const timer = setTimeout(() => {
        controller.abort(
            new ApiError(504, `the request did not finish within ${timeoutMs} ms`, { code: "deadline_exceeded" })
        );
    }, timeoutMs);
    return {
        signal: controller.signal,
        done: () => {
            clearTimeout(timer);
            response.off("close", onClose);
            ending.removeEventListener("abort", onEnding);
        }
    };
}
