import type { RequestHandler } from "express";
import { EventStream } from "../event-stream.js";
import { requestSignal } from "../request-signal.js";
import type { Server } from "../Server.js";

/** `GET /v1/armt/progress/{name}`: how far the upload with `watch=name` is, as server-sent events, to its end. */
export function watchProgress({ hub, limits }: Server): RequestHandler {
    return async (request, response) => {
        const stream = new EventStream(response, limits.pingIntervalMs);
        const { signal, done } = requestSignal(request, response, limits.requestTimeoutMs);
        stream.begin();
        await new Promise<void>((resolve) => {
            signal.addEventListener("abort", () => resolve());
            const stop = hub.watch(String(request.params.name), {
                onProgress: (progress) => void stream.send({ progress }),
                onEnd: resolve
            });
            signal.addEventListener("abort", stop);
            response.on("close", stop);
        });
        stream.end(true);
        stream.dispose();
        done();
    };
}
