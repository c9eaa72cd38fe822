import type { ErrorRequestHandler, RequestHandler } from "express";
import type { Logger } from "pino";
import { ArmtEvalError } from "../../plugin/index.js";

/** A failure as a client sees it, in the form of OpenAI's API. */
export class ApiError extends Error {
    override name = "ApiError";

    constructor(
        /** HTTP status. */
        readonly status: number,
        message: string,
        readonly details: {
            /** Default: by the status. */
            type?: string;
            /** The parameter that is wrong, e.g. `messages.0.content`. */
            param?: string;
            code?: string;
            /** Unit: seconds. */
            retryAfter?: number;
        } = {}
    ) {
        super(message);
    }

    /** OpenAI's error object. */
    get body(): ErrorBody {
        const { type = typeOf(this.status), param = null, code = null } = this.details;
        return { error: { message: this.message, type, param, code } };
    }
}

export interface ErrorBody {
    error: { message: string; type: string; param: string | null; code: string | null };
}

/** A parameter that is wrong, or that this server does not support. */
export function badParameter(param: string, message: string, code = "invalid_value"): ApiError {
    return new ApiError(400, message, { param, code });
}

export function unsupported(param: string, message: string): ApiError {
    return badParameter(param, message, "unsupported_parameter");
}

/** The answer to requests that come when the server ends. */
export function draining(): ApiError {
    return new ApiError(503, "the server is shutting down and accepts no more requests", {
        code: "draining",
        retryAfter: 10
    });
}

function typeOf(status: number): string {
    switch (status) {
        case 401:
            return "authentication_error";
        case 403:
            return "permission_error";
        case 404:
            return "not_found_error";
        case 429:
            return "rate_limit_error";
        case 501:
            return "not_implemented_error";
        case 503:
            return "unavailable_error";
        case 504:
            return "timeout_error";
        default:
            return status < 500 ? "invalid_request_error" : "server_error";
    }
}

/** Any failure as one that a client may see; what went wrong inside is for the log only. */
export function toApiError(error: unknown): ApiError {
    if (error instanceof ApiError) return error;
    // the engine names the reason, which concerns this request alone
    if (error instanceof ArmtEvalError) return new ApiError(500, error.message, { code: "evaluation_failed" });
    // body-parser and express name what a client did wrong
    if (error instanceof Error && "status" in error && typeof error.status === "number" && error.status < 500)
        return new ApiError(error.status, error.message);
    return new ApiError(500, "the server failed to answer this request; see its log");
}

export const notFound: RequestHandler = ({ method, path }, _response, next) => {
    next(new ApiError(404, `there is no ${method} ${path}`, { code: "unknown_url" }));
};

/** Writes a failure in the form of a protocol. */
export type ErrorForm = (error: ApiError) => object;

/** @param forms forms of the errors of paths with a beginning; OpenAI's is the default */
export function errorHandler(log: Logger, forms: Readonly<Record<string, ErrorForm>> = {}): ErrorRequestHandler {
    return (error, request, response, next) => {
        // the client has disconnected
        if (response.destroyed) return;
        const told = toApiError(error);
        if (told.status >= 500 && !(error instanceof ApiError))
            log.error({ err: error, url: request.path }, "request failed");
        if (response.headersSent) return next(error);
        if (told.details.retryAfter !== undefined) response.set("Retry-After", String(told.details.retryAfter));
        // the rest of a body that nobody will read would block the connection
        if (!request.complete) response.set("Connection", "close");
        const [, form] = Object.entries(forms).find(([begin]) => request.path.startsWith(begin)) ?? [];
        response.status(told.status).json(form?.(told) ?? told.body);
    };
}
