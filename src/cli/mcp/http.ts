import { randomUUID } from "node:crypto";
import type { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import express, { type Express } from "express";
import { LRUCache } from "lru-cache";
import { pino } from "pino";
import { ApiError, errorHandler, notFound } from "../../server/errors.js";
import { checkApiKey, checkOrigin } from "../../server/security.js";

/** Sessions that are kept; the one that was idle longest is closed. */
const maxSessions = 64;

export interface McpAppOptions {
    /** Makes the server of a session. */
    createServer: () => McpServer;
    apiKeys: readonly string[];
    /** Whether only this machine can reach the server. */
    loopback: boolean;
}

/** The protocol's streamable HTTP at `/mcp`, as an express app, and what closes its sessions. */
export function createMcpApp({ createServer, apiKeys, loopback }: McpAppOptions): {
    app: Express;
    close: () => Promise<void>;
} {
    const sessions = new LRUCache<string, StreamableHTTPServerTransport>({
        max: maxSessions,
        dispose: (transport, _id, reason) => {
            if (reason === "evict") void transport.close();
        }
    });
    const app = express();
    app.disable("x-powered-by");
    app.use(checkOrigin(loopback));
    if (apiKeys.length > 0) app.use(checkApiKey(apiKeys));
    app.all("/mcp", async (request, response) => {
        const id = request.headers["mcp-session-id"];
        const open = typeof id === "string" ? sessions.get(id) : undefined;
        if (id !== undefined && open === undefined)
            throw new ApiError(404, "there is no such session; begin a new one");
        const transport = open ?? (await begin());
        await transport.handleRequest(request, response);
    });
    app.use(notFound);
    app.use(errorHandler(pino({ enabled: false })));
    return {
        app,
        close: async () => {
            for (const transport of [...sessions.values()]) await transport.close();
        }
    };

    /** A transport whose session begins if its first request is one that begins sessions. */
    async function begin(): Promise<StreamableHTTPServerTransport> {
        const transport = new StreamableHTTPServerTransport({
            sessionIdGenerator: randomUUID,
            onsessioninitialized: (id) => {
                sessions.set(id, transport);
            }
        });
        const server = createServer();
        server.server.onclose = () => {
            if (transport.sessionId !== undefined) sessions.delete(transport.sessionId);
        };
        await server.connect(transport);
        return transport;
    }
}
