import type { Request } from "express";
import { ApiError } from "./errors.js";

/** Nesting that a request may have; the API's deepest, a tool's schema, needs about 20. */
const maxDepth = 64;

/**
 * Reads a JSON object from a request: strict in type, size, nesting and time, since all of it is held in memory.
 * @throws {ApiError} with status 400, 408, 413 or 415
 */
export async function readJsonBody(request: Request, maxBytes: number, timeoutMs: number): Promise<object> {
    if (!request.is("application/json"))
        throw new ApiError(415, "the body has to be JSON, with the header Content-Type: application/json");
    checkEncoding(request);
    const announced = Number(request.headers["content-length"] ?? 0);
    if (announced > maxBytes) throw tooLarge(maxBytes);
    const bytes = await readBytes(request, maxBytes, timeoutMs);
    checkDepth(bytes);
    let value: unknown;
    try {
        value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch (error) {
        const reason = error instanceof SyntaxError ? error.message.replace(/[\s\S]* (in|at) /, "$1 ") : "not UTF-8";
        throw new ApiError(400, `the body is not valid JSON (${reason.slice(0, 100)})`, { code: "invalid_json" });
    }
    if (typeof value !== "object" || value === null || Array.isArray(value))
        throw new ApiError(400, "the body has to be a JSON object", { code: "invalid_json" });
    return value;
}

/** A small body can unpack to any size, so none is unpacked. */
export function checkEncoding(request: Request): void {
    const encoding = request.headers["content-encoding"];
    if (encoding !== undefined && encoding !== "identity")
        throw new ApiError(415, "compressed bodies are not accepted; leave Content-Encoding out");
}

async function readBytes(request: Request, maxBytes: number, timeoutMs: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let size = 0;
    const late = new ApiError(408, `the body did not arrive within ${timeoutMs} ms`);
    let timer: NodeJS.Timeout | undefined;
    try {
        return await new Promise<Buffer>((resolve, reject) => {
            timer = setTimeout(() => reject(late), timeoutMs);
            request.on("data", (piece: Buffer) => {
                size += piece.length;
                if (size > maxBytes) return reject(tooLarge(maxBytes));
                pieces.push(piece);
            });
            request.on("end", () => resolve(Buffer.concat(pieces)));
            request.on("error", reject);
            request.on("close", () => reject(new ApiError(400, "the body was cut off")));
        });
    } finally {
        clearTimeout(timer);
        request.removeAllListeners("data");
        if (!request.complete) request.pause();
    }
}

function tooLarge(maxBytes: number): ApiError {
    return new ApiError(
        413,
        `the body is larger than ${maxBytes} bytes; stream a long document to POST /v1/armt/memories`,
        { code: "body_too_large" }
    );
}

/** Counts brackets outside of strings. */
function checkDepth(bytes: Buffer): void {
    let depth = 0;
    let inString = false;
    for (let i = 0; i < bytes.length; i++) {
        const byte = bytes[i]!;
        if (inString) {
            if (byte === 0x5c) i++;
            else if (byte === 0x22) inString = false;
        } else if (byte === 0x22) inString = true;
        else if (byte === 0x5b || byte === 0x7b) {
            if (++depth > maxDepth) throw new ApiError(400, `the body is nested more than ${maxDepth} levels deep`);
        } else if (byte === 0x5d || byte === 0x7d) depth--;
    }
}
