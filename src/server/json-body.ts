import type { Request } from "express";
import { ByteCollector } from "../util/ByteCollector.js";
import { BodyScan } from "./BodyScan.js";
import { ApiError } from "./errors.js";
import { requestSignal } from "./request-signal.js";
import type { Server } from "./Server.js";

/**
 * Reads a JSON object from a request. Type, size, nesting, number of parts and time are limited, since the whole body
 * is in memory. Numbers that JavaScript cannot represent become instances of `LosslessNumber`.
 * @throws {ApiError} with status 400, 408, 413, 415, 429, 503 or 504
 */
export async function readJsonBody(request: Request, server: Server): Promise<object> {
    const { maxBodyBytes } = server.limits;
    // Ollama's API asks for no type, and its examples give none
    if (!request.path.startsWith("/api/") && !request.is("application/json"))
        throw new ApiError(415, "the body must be JSON, with the header Content-Type: application/json");
    checkEncoding(request);
    const announced = Number(request.headers["content-length"] ?? 0);
    if (announced > maxBodyBytes) throw tooLarge(maxBodyBytes);
    const value = await readValue(request, server);
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

/** Both parts take time of the request. */
async function readValue(request: Request, server: Server): Promise<unknown> {
    const { limits, ending, parser } = server;
    const { signal, done } = requestSignal(request.res!, limits.requestTimeoutMs, ending.signal);
    try {
        const { pieces, hasLongNumber } = await readBytes(request, server, signal);
        return await parser.parse(pieces, hasLongNumber, signal);
    } finally {
        done();
    }
}

/** The bytes count until the request is answered, since the parsed values are as large. */
async function readBytes(
    request: Request,
    { limits, bodies }: Server,
    signal: AbortSignal
): Promise<{ pieces: ByteCollector; hasLongNumber: boolean }> {
    const { maxBodyBytes, bodyTimeoutMs } = limits;
    const pieces = new ByteCollector();
    const scan = new BodyScan();
    let size = 0;
    request.res!.once("close", () => bodies.give(size));
    const late = new ApiError(408, `the body did not arrive within ${bodyTimeoutMs} ms`);
    let timer: NodeJS.Timeout | undefined;
    let onAbort = () => {};
    try {
        await new Promise<void>((resolve, reject) => {
            timer = setTimeout(() => reject(late), bodyTimeoutMs);
            onAbort = () => reject(signal.reason);
            signal.addEventListener("abort", onAbort);
            request.on("data", (piece: Buffer) => {
                if (size + piece.length > maxBodyBytes) return reject(tooLarge(maxBodyBytes));
                try {
                    scan.push(piece);
                    bodies.take(piece.length);
                } catch (error) {
                    return reject(error);
                }
                size += piece.length;
                pieces.push(piece);
            });
            request.on("end", resolve);
            request.on("error", reject);
            request.on("close", () => reject(new ApiError(400, "the body was cut off")));
        });
        return { pieces, hasLongNumber: scan.hasLongNumber };
    } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
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
