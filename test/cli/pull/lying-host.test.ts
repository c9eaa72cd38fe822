import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import path from "node:path";
import { gzipSync } from "node:zlib";
import test, { type ExecutionContext } from "ava";
import { cachedModelPath, listModels } from "../../../plugin/model/model-cache.js";
import { pullModel } from "../../../src/cli/pull/pull-model.js";
import { listenOnFreePort } from "../../helpers/listen.js";
import { temporaryFolder } from "../../helpers/temporary.js";
import { makeTrained } from "../../helpers/trained-memory.js";

const name = "smollm2-135m";

type Answer = (request: IncomingMessage, response: ServerResponse, contents: Buffer) => void;

const html = "<!doctype html><title>Sign in to the network</title>";

/** The part that a request asks for. */
function partOf(request: IncomingMessage, contents: Buffer): [first: number, end: number] {
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
    return [Number(first ?? 0), last ? Number(last) + 1 : contents.length];
}

const lies: Record<string, Answer> = {
    "a page instead of the file": (_request, response) =>
        response.writeHead(200, { "content-type": "text/html", "content-length": html.length }).end(html),
    "an answer that ends before its length": (request, response, contents) => {
        response.writeHead(200, { "content-length": contents.length, "accept-ranges": "bytes" });
        if (request.method === "HEAD") response.end();
        else response.write(contents.subarray(0, contents.length >> 1), () => response.destroy());
    },
    "a length that is too small": (request, response, contents) => {
        response.writeHead(200, { "content-length": contents.length >> 1 });
        response.end(request.method === "HEAD" ? undefined : contents.subarray(0, contents.length >> 1));
    },
    "a length of 2^50": (request, response, contents) => {
        response.writeHead(200, { "content-length": 2 ** 50, "accept-ranges": "bytes" });
        if (request.method === "HEAD") response.end();
        else response.write(contents, () => response.destroy());
    },
    "other parts than the requested ones": (request, response, contents) => {
        const [first, end] = partOf(request, contents);
        response.writeHead(request.headers.range === undefined ? 200 : 206, {
            "content-length": end - first,
            "accept-ranges": "bytes",
            ...(request.headers.range !== undefined && {
                "content-range": `bytes ${first}-${end - 1}/${contents.length}`
            })
        });
        response.end(
            request.method === "HEAD" ? undefined : Buffer.concat([contents, contents]).subarray(1, 1 + end - first)
        );
    },
    "redirects without an end": (_request, response) => response.writeHead(302, { location: "/again" }).end(),
    "a compressed page": (_request, response) =>
        response.writeHead(200, { "content-encoding": "gzip", "content-type": "text/html" }).end(gzipSync(html))
};

/** Starts the host, and makes downloads come from it. */
async function useHost(t: ExecutionContext, answer: Answer, contents: Buffer): Promise<void> {
    const server = createServer((request, response) => {
        response.on("error", () => {});
        if (request.url === "/") response.end();
        else answer(request, response, contents);
    });
    const port = await listenOnFreePort(server);
    t.teardown(() => {
        server.closeAllConnections();
        server.close();
    });
    process.env.MODEL_ENDPOINT = `http://127.0.0.1:${port}/`;
    process.env.XDG_CACHE_HOME = temporaryFolder(t);
}

for (const [what, answer] of Object.entries(lies))
    test.serial(`a host or proxy that lies makes no model and leaves nothing: ${what}`, async (t) => {
        t.timeout(300_000);
        const { base, memory } = await makeTrained(t, { modules: [], container: "gguf" });
        await useHost(t, answer, readFileSync(base));
        const started = performance.now();
        const error = await t.throwsAsync(
            pullModel(name, { memory, stallMs: 5000, signal: AbortSignal.timeout(240_000) })
        );
        t.log(Math.round(performance.now() - started), "ms:", error!.message);
        t.is(error!.name, "ArmtError", error!.stack);
        const folder = path.join(path.dirname(cachedModelPath(name)), "bases");
        // parts stay for the next try, but not under the name of a whole file
        const leftovers = existsSync(folder) ? readdirSync(folder) : [];
        t.deepEqual(
            leftovers.filter((file) => file.endsWith(".gguf")),
            []
        );
        t.deepEqual(await listModels(), []);
    });
