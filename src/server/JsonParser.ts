import type { ByteCollector } from "../util/ByteCollector.js";
import { WorkerLimitError, WorkerQueue } from "../util/WorkerQueue.js";
import { ApiError } from "./errors.js";
import { type ParsedJson, parseJson, withLongNumbers } from "./parse-json.js";
import type { ParseAnswer, ParseRequest } from "./parse-worker.js";

/** A longer body is parsed in a worker, since it would block the event loop for more than 10 ms. Unit: bytes. */
const atOnce = 2 ** 18;

/** Time that one body may take. Unit: milliseconds. */
const timeoutMs = 10_000;

/** Parses request bodies, the long ones in a worker thread. */
export class JsonParser {
    private readonly queue = new WorkerQueue<ParseRequest, ParseAnswer>(new URL("./parse-worker.js", import.meta.url), {
        timeoutMs
    });

    /**
     * Integers that JavaScript cannot represent become instances of `LosslessNumber`.
     * @throws {ApiError} if the bytes are not JSON
     */
    async parse(bytes: ByteCollector, hasLongNumber: boolean, signal: AbortSignal): Promise<unknown> {
        const pieces = bytes.take();
        if (bytes.length <= atOnce) return withLongNumbers(this.parseHere(Buffer.concat(pieces), hasLongNumber));
        const transfer = pieces.map(({ buffer }) => buffer);
        const answer = await this.queue
            .run({ pieces, hasLongNumber }, { transfer, signal, isLarge: true })
            .catch((error) => {
                if (!(error instanceof WorkerLimitError)) throw error;
                throw new ApiError(413, `the body is too costly to parse: ${error.message}`, {
                    code: "body_too_large"
                });
            });
        if ("error" in answer) throw invalid(answer.error, answer.isSyntax);
        return withLongNumbers(answer);
    }

    private parseHere(bytes: Buffer, hasLongNumber: boolean): ParsedJson {
        try {
            return parseJson(bytes, hasLongNumber);
        } catch (error) {
            throw invalid(error instanceof Error ? error.message : "", error instanceof SyntaxError);
        }
    }
}

function invalid(message: string, isSyntax: boolean): ApiError {
    const reason = isSyntax ? message.replace(/[\s\S]* (in|at) /, "$1 ") : "not UTF-8";
    return new ApiError(400, `the body is not valid JSON (${reason.slice(0, 100)})`, { code: "invalid_json" });
}
