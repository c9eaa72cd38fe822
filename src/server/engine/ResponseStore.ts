import { promisify } from "node:util";
import { deflateRaw, inflateRawSync } from "node:zlib";
import type { Message } from "../../generation/chat-template/messages.js";
import { ApiError } from "../errors.js";
import { writeJson } from "../JsonText.js";
import { parseJson, withLongNumbers } from "../parse-json.js";

/** A response and the conversation up to it, its own answer included. */
export interface StoredResponse {
    readonly body: { readonly id: string; readonly output: readonly { readonly id: string }[] };
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

type Kept = {
    readonly data: Buffer;
    /** The output alone: a request may refer to many items, and the conversation may be long. */
    readonly output: Buffer;
    readonly items: readonly string[];
    readonly memory: string | undefined;
};

/**
 * Responses that a later request may continue, up to a number and a size. The oldest are removed first. They are kept
 * compressed, since a conversation may contain a whole book.
 */
export class ResponseStore<T extends StoredResponse = StoredResponse> {
    private readonly responses = new Map<string, Kept>();
    /** The response of each item. */
    private readonly items = new Map<string, string>();
    /** Responses that are being written, and whether each was deleted meanwhile. */
    private readonly open = new Map<string, boolean>();
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
    get(id: string, param?: string): T {
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
        return expand(stored.data) as T;
    }

    /** Id of the memory that a stored response continues. */
    memoryOf(id: string): string | undefined {
        return this.responses.get(id)?.memory;
    }

    /** @throws {ApiError} if no stored response has an item with this id */
    item(id: string, param: string): T["body"]["output"][number] {
        const stored = this.responses.get(this.items.get(id) ?? "");
        const output = stored && (expand(stored.output) as T["body"]["output"]);
        const item = output?.find((each) => each.id === id);
        if (item) return item;
        throw new ApiError(404, "no stored response has an item with this id; send the item itself", {
            param,
            code: "item_not_found"
        });
    }

    /** Runs the writing of a response. Its client knows the id already, and may delete it meanwhile. */
    async whileWriting<R>(id: string, work: () => Promise<R>): Promise<R> {
        this.open.set(id, false);
        try {
            return await work();
        } finally {
            this.open.delete(id);
        }
    }

    /** Stores a response, unless it is larger than the whole store, or was deleted while it was written. */
    async add(response: T): Promise<void> {
        const { maxResponses, maxResponsesBytes } = this.limits;
        if (maxResponses === 0) return;
        const press = (value: unknown) => compress(Buffer.from(writeJson(value)), { level });
        const [data, output] = await Promise.all([press(response), press(response.body.output)]);
        const size = data.length + output.length;
        if (size > maxResponsesBytes || this.open.get(response.body.id) === true) return;
        for (const id of this.responses.keys()) {
            if (this.count < maxResponses && this.total + size <= maxResponsesBytes) break;
            this.remove(id);
        }
        const items = response.body.output.map(({ id }) => id);
        for (const item of items) this.items.set(item, response.body.id);
        this.responses.set(response.body.id, { data, output, items, memory: response.memory });
        this.total += size;
    }

    /** @throws {ApiError} if no response has this id, neither a stored one nor one that is being written */
    delete(id: string): void {
        if (this.open.get(id) === false) this.open.set(id, true);
        else if (!this.responses.has(id)) this.get(id);
        this.remove(id);
    }

    private remove(id: string): void {
        const stored = this.responses.get(id);
        if (stored === undefined) return;
        this.total -= stored.data.length + stored.output.length;
        for (const item of stored.items) this.items.delete(item);
        this.responses.delete(id);
    }
}

function expand(data: Buffer): unknown {
    return withLongNumbers(parseJson(inflateRawSync(data), true));
}
