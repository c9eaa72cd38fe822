import type { LlamaContext } from "../../../plugin/index.js";
import { createApp } from "../../server/app.js";
import { createServer } from "../../server/create-server.js";
import { listen } from "../../server/listen.js";
import { shutDown } from "../../server/shut-down.js";
import { packageVersion } from "../shared/version.js";

/** A server of this process's own, on a free port of the loopback interface. */
export interface LocalServer {
    readonly url: string;
    close(): Promise<void>;
}

/** Serves a context with the defaults of `armt serve`. It takes all sequences of the context. */
export async function startLocalServer(context: LlamaContext): Promise<LocalServer> {
    const server = createServer({ modelId: "model", context, store: undefined });
    const app = createApp(server, packageVersion());
    const listening = await listen(app, { host: "127.0.0.1", port: 0 }, server.limits);
    return { url: listening.url, close: () => shutDown(server, listening) };
}
