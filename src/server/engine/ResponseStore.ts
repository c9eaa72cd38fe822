import { ApiError } from "../errors.js";
import type { Message } from "./chat-template/messages.js";

/** A response and the conversation up to it, its own answer included. */
export interface StoredResponse {
    readonly body: { readonly id: string };
    readonly messages: readonly Message[];
    /** Id of the memory that the conversation continues. */
    readonly memory?: string;
}

export interface ResponseStoreLimits {
    /** Unit: responses, from 0. */
    maxResponses: number;
    /** Unit: bytes of text, from 0. */
    maxResponsesBytes: number;
}

/** Responses that a later request may continue, up to a number and a size; the oldest are removed first. */
export class ResponseStore {
    private readonly responses = new Map<string, { readonly response: StoredResponse; readonly bytes: number }>();
    private total = 0;

    constructor(private readonly limits: ResponseStoreLimits) {}

    get count(): number {
        return this.responses.size;
    }

    /** Size of the stored texts. */
    get bytes(): number {
        return this.total;
    }

    /** @throws {ApiError} if no stored response has this id */
    get(id: string, param?: string): StoredResponse {
        const stored = this.responses.get(id);
        if (stored === undefined)
            throw new ApiError(
                404,
                "no stored response has this id; it was not stored, was deleted, or was removed to make room",
                {
                    param,
                    code: param === undefined ? "response_not_found" : "previous_response_not_found"
                }
            );
        return stored.response;
    }

    /** Stores a response, unless it is larger than the whole store. */
    add(response: StoredResponse): void {
        const { maxResponses, maxResponsesBytes } = this.limits;
        const bytes = sizeOf(response);
        if (maxResponses === 0 || bytes > maxResponsesBytes) return;
        for (const id of this.responses.keys()) {
            if (this.count < maxResponses && this.total + bytes <= maxResponsesBytes) break;
            this.remove(id);
        }
        this.responses.set(response.body.id, { response, bytes });
        this.total += bytes;
    }

    delete(id: string): void {
        this.get(id);
        this.remove(id);
    }

    private remove(id: string): void {
        this.total -= this.responses.get(id)?.bytes ?? 0;
        this.responses.delete(id);
    }
}

/** Bytes that V8 may take for the texts and the objects around them. */
function sizeOf({ body, messages }: StoredResponse): number {
    const overhead = 1024;
    return messages.reduce(
        (sum, message) => sum + textSize(JSON.stringify(message)),
        textSize(JSON.stringify(body)) + overhead
    );
}

function textSize(text: string): number {
    // V8 stores Latin-1 strings with one byte per character, all others with two
    return /[\u0100-\uffff]/.test(text) ? 2 * text.length : text.length;
}
