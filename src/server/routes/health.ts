import type { RequestHandler } from "express";
import type { Server } from "../Server.js";

/** `GET /health`: 503 once the server takes on nothing more. */
export function health({ models }: Server): RequestHandler {
    return (_request, response) => {
        const draining = models.closed;
        const states = models.ids.map((id) => models.stateOf(id));
        const count = (state: string) => states.filter((each) => each === state).length;
        response.status(draining ? 503 : 200).json({
            status: draining ? "draining" : "ok",
            // names are for those with a key
            models: { total: states.length, loaded: count("loaded"), loading: count("loading") }
        });
    };
}
