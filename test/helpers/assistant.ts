import test from "ava";
import { assistantModel } from "./assistant-model.js";
import { startServer, type TestServer, type TestServerOptions } from "./server.js";

export * from "./assistant-model.js";

/** Starts one server for all tests of a file. */
export function shareServer(options: TestServerOptions = {}): () => TestServer {
    const ends: (() => unknown)[] = [];
    let server: TestServer | undefined;
    test.before(async () => {
        server = await startServer({ teardown: (end) => ends.unshift(end) }, { tiny: assistantModel, ...options });
    });
    test.after.always(async () => {
        for (const end of ends) await end();
    });
    return () => server!;
}
