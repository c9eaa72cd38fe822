import type { RequestHandler } from "express";
import type { Server } from "../Server.js";

/** `GET /health`: 503 once the server takes on nothing more. */
export function health({ engine }: Server): RequestHandler {
    return (_request, response) => {
        const draining = engine.pool.closed;
        response.status(draining ? 503 : 200).json({ status: draining ? "draining" : "ok" });
    };
}
