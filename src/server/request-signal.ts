import type { Request, Response } from "express";
import { ApiError } from "./errors.js";
import { maxTimeoutMs, type ServerLimits } from "./options.js";

/** Time that a client has for the server's last words once its request's time is over. Unit: milliseconds. */
const graceMs = 1000;

/** Unit: milliseconds of `performance.now()`. */
interface Times {
    readonly begun: number;
    /** When the connection is closed. */
    end: number;
    timer?: NodeJS.Timeout;
}

const times = new WeakMap<Response, Times>();

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
 * Begins the time of a request, whatever its route is. A client that neither sends its body nor reads its answer is
 * disconnected when the time is over.
 */
export function beginRequest(request: Request, response: Response, limits: ServerLimits): void {
    const { requestTimeoutMs, bodyTimeoutMs, flushIdleMs } = limits;
    const ofRequest: Times = { begun: performance.now(), end: Number.POSITIVE_INFINITY };
    times.set(response, ofRequest);
    response.on("close", () => clearTimeout(ofRequest.timer));
    closeAfter(response, requestTimeoutMs);
    // a client that never reads the rest of its answer would keep it in memory forever
    response.on("prefinish", () => response.setTimeout(flushIdleMs, () => response.destroy()));
    // nor would a body that no route reads ever end its connection
    response.on("finish", () => {
        if (request.complete) return;
        const timeoutMs = Math.min(bodyTimeoutMs, timeLeft(response, requestTimeoutMs) + graceMs);
        const late = setTimeout(() => request.destroy(), timeoutMs);
        request.on("close", () => clearTimeout(late));
    });
}

/** The rest of a request's time. Unit: milliseconds, from 0. */
function timeLeft(response: Response, timeoutMs: number): number {
    return Math.max(0, Math.min(times.get(response)!.begun + timeoutMs - performance.now(), maxTimeoutMs - graceMs));
}

/** Closes the connection when the request's time is over, unless the client waits for the server. */
function closeAfter(response: Response, timeoutMs: number): void {
    const { req: request } = response;
    const ofRequest = times.get(response)!;
    const end = ofRequest.begun + timeoutMs;
    if (response.closed || end >= ofRequest.end) return;
    clearTimeout(ofRequest.timer);
    ofRequest.end = end;
    const check = () => {
        // work that cannot stop at once, such as a batch: a client that reads learns the reason then
        if (request.complete && response.writableLength === 0) ofRequest.timer = setTimeout(check, graceMs);
        else request.socket.destroy();
    };
    // a busy server may notice late that the time is over; the client has its moment all the same
    const wait = () => {
        ofRequest.timer = setTimeout(check, graceMs);
    };
    ofRequest.timer = setTimeout(wait, timeLeft(response, timeoutMs));
}

/**
 * A signal for the work of one request. It is aborted when the client disconnects, when the request's time is over,
 * and when the server ends. The time counts from the request's first line.
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
    const timer = setTimeout(
        () => {
            controller.abort(
                new ApiError(504, `the request did not finish within ${timeoutMs} ms`, { code: "deadline_exceeded" })
            );
        },
        timeLeft(response, timeoutMs)
    );
    closeAfter(response, timeoutMs);
    return {
        signal: controller.signal,
        done: () => {
            clearTimeout(timer);
            response.off("close", onClose);
            ending.removeEventListener("abort", onEnding);
        }
    };
}
