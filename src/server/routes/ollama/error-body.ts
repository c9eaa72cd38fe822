import type { ApiError } from "../../errors.js";

/** A failure in the form of Ollama's API, whose clients show the text. */
export function errorBody({ message, details: { param } }: ApiError) {
    return { error: param === undefined || message.includes(param) ? message : `${param}: ${message}` };
}
