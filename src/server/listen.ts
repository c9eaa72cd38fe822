import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Express } from "express";
import { ArmtError, systemErrorText } from "../util/errors.js";
import type { ServerLimits } from "./options.js";

/** Bytes that the headers of a request may have. */
const maxHeaderSize = 16 * 1024;

/** Connections that may wait to be accepted, as many as Linux allows. Node's default is 511. */
const backlog = 4096;

/** A server that listens. */
export interface Listening {
    readonly http: HttpServer;
    readonly url: string;
    /** Ends: no new connections, and idle ones are closed; resolves when the last answer is sent. */
    close(): Promise<void>;
}

/**
 * Makes an app listen, with limits on what a slow or hostile connection can hold.
 * @throws {ArmtError} if the address cannot be used, such as a port in use
 */
export async function listen(
    app: Express,
    { host, port }: { host: string; port: number },
    { headersTimeoutMs }: ServerLimits
): Promise<Listening> {
    const http = createHttpServer(
        {
            maxHeaderSize,
            headersTimeout: headersTimeoutMs,
            // bodies have limits of their own: a document may take hours
            requestTimeout: 0,
            keepAliveTimeout: 5000,
            connectionsCheckingInterval: Math.min(1000, headersTimeoutMs)
        },
        app
    );
    http.maxHeadersCount = 100;
    await new Promise<void>((resolve, reject) => {
        http.once("error", (error) => {
            const at = `port ${port} of ${host}`;
            reject(new ArmtError(`cannot listen on ${at}: ${systemErrorText(error)}`, { cause: error }));
        });
        http.listen({ port, host, backlog }, resolve);
    });
    const { port: actual } = http.address() as AddressInfo;
    const name = host.includes(":") ? `[${host}]` : host;
    return {
        http,
        url: `http://${name}:${actual}`,
        close: () =>
            new Promise((resolve) => {
                http.close(() => resolve());
                http.closeIdleConnections();
            })
    };
}
