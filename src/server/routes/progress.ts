import type { RequestHandler } from "express";
import { EventStream, lastEvent } from "../event-stream.js";
import { requestSignal } from "../request-signal.js";
import type { Server } from "../Server.js";

/** `GET /v1/armt/progress/{name}`: how far the upload with `watch=name` is, as server-sent events, to its end. */
export function watchProgress({ hub, limits, ending }: Server): RequestHandler {
    return async (request, response) => {
        const { signal, done } = requestSignal(response, limits.requestTimeoutMs, ending.signal);
        const stream = new EventStream(response, { pingIntervalMs: limits.pingIntervalMs, signal });
        stream.begin();
        await new Promise<void>((resolve) => {
            signal.addEventListener("abort", () => resolve());
            const stop = hub.watch(String(request.params.name), {
                onProgress: (progress) => stream.offer({ progress }),
                onEnd: resolve
            });
            signal.addEventListener("abort", stop);
            response.on("close", stop);
        });
        stream.end(lastEvent);
        stream.dispose();
        done();
    };
}

/** `DELETE /v1/armt/progress/{name}`: ends the upload with `watch=name`. What was read stays as a partial memory. */
export function cancelUpload({ hub }: Server): RequestHandler {
    return (request, response) => {
        const id = String(request.params.name);
        hub.cancel(id);
        response.json({ id, object: "armt.upload.deleted", deleted: true });
    };
}
