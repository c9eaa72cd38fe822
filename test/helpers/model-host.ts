import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout } from "node:timers/promises";
import type { ExecutionContext } from "ava";
import { listenOnFreePort } from "./listen.js";

/** A request that the host answered. */
export interface HostRequest {
    readonly method: string;
    readonly path: string;
    /** The `Range` header. */
    readonly range: string | undefined;
}

export interface ModelHost {
    /** Address of the host, with a slash at its end. */
    readonly url: string;
    readonly requests: HostRequest[];
    /** Bytes of the file sent so far. */
    bytesSent(): number;
}

export interface ModelHostOptions {
    /** Path of the file, without a slash at its beginning. */
    file: string;
    contents: Buffer;
    /** Default: as fast as possible. */
    bytesPerSecond?: number;
}

/** Bytes that are sent at once. */
const piece = 2 ** 18;

/**
 * An HTTP server with one file that behaves as Hugging Face does: the file's address redirects to a store, which
 * answers whole requests and ranges.
 */
export async function startModelHost(
    t: ExecutionContext,
    { file, contents, bytesPerSecond = Number.POSITIVE_INFINITY }: ModelHostOptions
): Promise<ModelHost> {
    const requests: HostRequest[] = [];
    let sent = 0;
    const send = async (response: ServerResponse, part: Buffer) => {
        for (let at = 0; at < part.length && !response.destroyed; at += piece) {
            const bytes = part.subarray(at, at + piece);
            response.write(bytes);
            sent += bytes.length;
            if (Number.isFinite(bytesPerSecond)) await setTimeout((1000 * bytes.length) / bytesPerSecond);
        }
        response.end();
    };
    const answer = (request: IncomingMessage, response: ServerResponse) => {
        const { method = "GET", url = "/", headers } = request;
        const { pathname } = new URL(url, "http://host");
        requests.push({ method, path: pathname, range: headers.range });
        if (pathname === "/") response.writeHead(200).end();
        else if (pathname === `/${file}`)
            response
                .writeHead(302, {
                    location: "/store/file",
                    "x-linked-size": contents.length,
                    "accept-ranges": "bytes"
                })
                .end();
        else if (pathname === "/store/file") sendFile(contents, request, response, send);
        else response.writeHead(404).end("Entry not found");
    };
    const server = createServer(answer);
    const port = await listenOnFreePort(server);
    t.teardown(() => {
        server.closeAllConnections();
        server.close();
    });
    return { url: `http://127.0.0.1:${port}/`, requests, bytesSent: () => sent };
}

function sendFile(
    contents: Buffer,
    { method, headers }: IncomingMessage,
    response: ServerResponse,
    send: (response: ServerResponse, part: Buffer) => Promise<void>
): void {
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "") ?? [];
    const start = Number(first ?? 0);
    const end = Math.min(contents.length - 1, last ? Number(last) : contents.length - 1);
    response.writeHead(first === undefined ? 200 : 206, {
        "accept-ranges": "bytes",
        "content-length": end - start + 1,
        "content-type": "application/octet-stream",
        "content-disposition": 'inline; filename="model.gguf"',
        etag: '"0123"',
        ...(first === undefined ? {} : { "content-range": `bytes ${start}-${end}/${contents.length}` })
    });
    if (method === "HEAD") response.end();
    else void send(response, contents.subarray(start, end + 1));
}
