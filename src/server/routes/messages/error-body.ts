import type { ApiError } from "../../errors.js";

/** A failure in the form of Anthropic's API. The message names the parameter, for which this form has no place. */
export function errorBody({ status, message, details: { param } }: ApiError) {
    const isNamed = param === undefined || message.includes(param);
    return { type: "error", error: { type: typeOf(status), message: isNamed ? message : `${param}: ${message}` } };
}

function typeOf(status: number): string {
    switch (status) {
        case 401:
            return "authentication_error";
        case 403:
            return "permission_error";
        case 404:
            return "not_found_error";
        case 413:
            return "request_too_large";
        case 429:
            return "rate_limit_error";
        case 503:
            return "overloaded_error";
        case 504:
            return "timeout_error";
        default:
            return status < 500 ? "invalid_request_error" : "api_error";
    }
}
