import type { RequestHandler } from "express";
import type { Server } from "../Server.js";

/** `GET /metrics`, for Prometheus. */
export function metrics({ metrics: { registry } }: Server): RequestHandler {
    return async (_request, response) => {
        response.set("Content-Type", registry.contentType).send(await registry.metrics());
    };
}
