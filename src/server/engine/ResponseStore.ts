import { ApiError } from "../errors.js";
import type { Message } from "./chat-prompt.js";

/** A response and the conversation up to it, its own answer included. */
export interface StoredResponse {
    readonly body: { readonly id: string };
    readonly messages: readonly Message[];
    /** Id of the memory that the conversation continues. */
    readonly memory?: string;
}

/** Responses that a later request may continue; the oldest are removed first. */
export class ResponseStore {
    private readonly responses = new Map<string, StoredResponse>();

    constructor(private readonly maxResponses: number) {}

    /** @throws {ApiError} if there is none with this id */
    get(id: string, param?: string): StoredResponse {
        const response = this.responses.get(id);
        if (response === undefined)
            throw new ApiError(
                404,
                "there is no stored response of this id; it is too old, was deleted or not stored",
                {
                    param,
                    code: param === undefined ? "response_not_found" : "previous_response_not_found"
                }
            );
        return response;
    }

    add(response: StoredResponse): void {
        if (this.maxResponses === 0) return;
        while (this.responses.size >= this.maxResponses) this.responses.delete(this.responses.keys().next().value!);
        this.responses.set(response.body.id, response);
    }

    delete(id: string): void {
        this.get(id);
        this.responses.delete(id);
    }
}
