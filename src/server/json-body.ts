import type { Request } from "express";
import { LosslessNumber, parse } from "lossless-json";
import { ApiError } from "./errors.js";
import type { Server } from "./Server.js";

/** Nesting that a request may have; the API's deepest, a tool's schema, needs about 20. */
const maxDepth = 64;

/** Number of digits that every JavaScript number keeps. */
const safeDigits = 15;

/**
 * Reads a JSON object from a request. Type, size, nesting and time are limited, since the whole body is in memory.
 * Integers that JavaScript cannot represent become instances of `LosslessNumber`.
 * @throws {ApiError} with status 400, 408, 413, 415 or 429
 */
export async function readJsonBody(request: Request, server: Server): Promise<object> {
    const { maxBodyBytes } = server.limits;
    if (!request.is("application/json"))
        throw new ApiError(415, "the body must be JSON, with the header Content-Type: application/json");
    checkEncoding(request);
    const announced = Number(request.headers["content-length"] ?? 0);
    if (announced > maxBodyBytes) throw tooLarge(maxBodyBytes);
    const bytes = await readBytes(request, server);
    const { hasLongNumber } = inspect(bytes);
    let value: unknown;
    try {
        const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
        value = hasLongNumber ? parseLongIntegers(text) : JSON.parse(text);
    } catch (error) {
        const reason = error instanceof SyntaxError ? error.message.replace(/[\s\S]* (in|at) /, "$1 ") : "not UTF-8";
        throw new ApiError(400, `the body is not valid JSON (${reason.slice(0, 100)})`, { code: "invalid_json" });
    }
    if (typeof value !== "object" || value === null || Array.isArray(value))
        throw new ApiError(400, "the body must be a JSON object", { code: "invalid_json" });
    return value;
}

/** A small compressed body can have any size, so compressed bodies are refused. */
export function checkEncoding(request: Request): void {
    const encoding = request.headers["content-encoding"];
    if (encoding !== undefined && encoding !== "identity")
        throw new ApiError(415, "compressed bodies are not accepted; omit Content-Encoding");
}

function parseLongIntegers(text: string): unknown {
    return parse(text, undefined, {
        parseNumber: (number) => {
            const isLong = /^-?\d+$/.test(number) && !Number.isSafeInteger(Number(number));
            return isLong ? new LosslessNumber(number) : Number(number);
        },
        onDuplicateKey: ({ newValue }) => newValue
    });
}

/** The bytes count until the request is answered, since the parsed values are as large. */
async function readBytes(request: Request, { limits, bodies }: Server): Promise<Buffer> {
    const { maxBodyBytes, bodyTimeoutMs } = limits;
    const pieces: Buffer[] = [];
    let size = 0;
    request.res!.once("close", () => bodies.give(size));
    const late = new ApiError(408, `the body did not arrive within ${bodyTimeoutMs} ms`);
    let timer: NodeJS.Timeout | undefined;
    try {
        return await new Promise<Buffer>((resolve, reject) => {
            timer = setTimeout(() => reject(late), bodyTimeoutMs);
            request.on("data", (piece: Buffer) => {
                if (size + piece.length > maxBodyBytes) return reject(tooLarge(maxBodyBytes));
                try {
                    bodies.take(piece.length);
                } catch (error) {
                    return reject(error);
                }
                size += piece.length;
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

/**
 * Counts brackets and digits outside of strings.
 * @throws {ApiError} if the body is nested too deeply
 */
function inspect(bytes: Buffer): { hasLongNumber: boolean } {
    let depth = 0;
    let digits = 0;
    let hasLongNumber = false;
    let inString = false;
    for (let i = 0; i < bytes.length; i++) {
        const byte = bytes[i]!;
        if (inString) {
            if (byte === 0x5c) i++;
            else if (byte === 0x22) inString = false;
            continue;
        }
        digits = byte >= 0x30 && byte <= 0x39 ? digits + 1 : 0;
        hasLongNumber ||= digits > safeDigits;
        if (byte === 0x22) inString = true;
        else if (byte === 0x5b || byte === 0x7b) {
            if (++depth > maxDepth) throw new ApiError(400, `the body is nested more than ${maxDepth} levels deep`);
        } else if (byte === 0x5d || byte === 0x7d) depth--;
    }
    return { hasLongNumber };
}
