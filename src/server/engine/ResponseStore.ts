import { promisify } from "node:util";
import { deflateRaw, inflateRawSync } from "node:zlib";
import type { Message } from "../../generation/chat-template/messages.js";
import { ApiError } from "../errors.js";

/** A response and the conversation up to it, its own answer included. */
export interface StoredResponse {
    readonly body: { readonly id: string };
    readonly messages: readonly Message[];
    /** Id of the memory that the conversation continues. */
    readonly memory?: string;
}

/** Fast; texts shrink to about a third. */
const compress = promisify(deflateRaw) as (data: Buffer, options: { level: number }) => Promise<Buffer>;
const level = 1;

export interface ResponseStoreLimits {
    /** Unit: responses, from 0. */
    maxResponses: number;
    /** Size after compression. Unit: bytes, from 0. */
    maxResponsesBytes: number;
}

/**
 * Responses that a later request may continue, up to a number and a size. The oldest are removed first. They are kept
 * compressed, since a conversation may contain a whole book.
 */
export class ResponseStore {
    private readonly responses = new Map<string, Buffer>();
    private total = 0;

    constructor(private readonly limits: ResponseStoreLimits) {}

    get count(): number {
        return this.responses.size;
    }

    /** Size of the stored responses. */
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
        return JSON.parse(inflateRawSync(stored).toString()) as StoredResponse;
    }

    /** Stores a response, unless it is larger than the whole store. */
    async add(response: StoredResponse): Promise<void> {
        const { maxResponses, maxResponsesBytes } = this.limits;
        if (maxResponses === 0) return;
        const stored = await compress(Buffer.from(JSON.stringify(response)), { level });
        if (stored.length > maxResponsesBytes) return;
        for (const id of this.responses.keys()) {
            if (this.count < maxResponses && this.total + stored.length <= maxResponsesBytes) break;
            this.remove(id);
        }
        this.responses.set(response.body.id, stored);
        this.total += stored.length;
    }

    delete(id: string): void {
        if (!this.responses.has(id)) this.get(id);
        this.remove(id);
    }

    private remove(id: string): void {
        this.total -= this.responses.get(id)?.length ?? 0;
        this.responses.delete(id);
    }
}
