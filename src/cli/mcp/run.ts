import { totalmem } from "node:os";
import process from "node:process";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { openLoader } from "../../model/open-model.js";
import { withoutMemory } from "../../model/without-memory.js";
import type { LoadableModel } from "../../server/create-server.js";
import { listen } from "../../server/listen.js";
import { ModelPool } from "../../server/models/ModelPool.js";
import { ServedModel } from "../../server/models/ServedModel.js";
import { serverDefaults } from "../../server/options.js";
import { isLoopback } from "../../server/security.js";
import { stopSignals } from "../../util/stop-signals.js";
import { makeLoadable } from "../serve/loadable-model.js";
import { apiKeys } from "../serve/options.js";
import { nameModels } from "../shared/named-models.js";
import { packageVersion } from "../shared/version.js";
import { DocumentFolders } from "./documents.js";
import { createMcpApp } from "./http.js";
import { Library } from "./Library.js";
import { MemoryFolder } from "./MemoryFolder.js";
import type { McpOptions } from "./options.js";
import { createTools, type ToolsOptions } from "./tools.js";

/** Serves the tools until the client closes standard input, or until a signal. */
export async function runMcp(options: McpOptions): Promise<void> {
    const memories = await MemoryFolder.open(options.memories);
    const documents = await DocumentFolders.open(options.documents ?? []);
    const named = await nameModels(options.model ?? []);
    const opening = openLoader(
        options,
        named.map(({ file }) => file)
    );
    const library = opening.then(async (loader) => {
        const models: LoadableModel[] = [];
        for (const model of named) models.push(await makeLoadable(model, loader, { sequences: options.parallel }));
        const facts = models.map((model) => model.facts);
        if (facts.every(({ armt }) => armt === undefined)) throw withoutMemory(named[0]!.file);
        const pool = await openPool(models, options.maxModels);
        return new Library(pool, facts, memories, documents, options.maxTokens);
    });
    const models = named.map(({ id }) => id);
    const tools = { library, models, documents, version: packageVersion() };
    try {
        // clients wait only seconds for the first answer, and a large model takes longer to load
        await (options.http ? serveHttp(options, tools) : serveStdio(tools));
    } finally {
        const { llama } = (await opening.catch(() => undefined)) ?? {};
        await (await library.catch(() => undefined))?.close();
        await llama?.dispose();
    }
}

/** One model is loaded at once, so that the first call need not wait for it. */
async function openPool(models: readonly LoadableModel[], maxModels: number): Promise<ModelPool<ServedModel>> {
    const pool = new ModelPool(
        models.map(({ facts: { id, bytes }, load }) => ({
            id,
            bytes,
            load: async (signal) => {
                const { free, ...loaded } = await load(signal);
                return new ServedModel(id, loaded, serverDefaults.maxQueue, free);
            }
        })),
        {
            maxModels,
            maxBytes: totalmem(),
            onError: (id, error) => process.stderr.write(`${id}: ${error instanceof Error ? error.message : error}\n`)
        }
    );
    if (models.length === 1) await pool.use(pool.ids[0]!, AbortSignal.any([]), async () => {});
    return pool;
}

/** @throws the failure of loading the model */
async function serveStdio(tools: ToolsOptions): Promise<void> {
    const server = createTools(tools);
    const ended = new Promise<void>((resolve) => {
        server.server.onclose = resolve;
        process.stdin.once("end", resolve);
        process.stdin.once("close", resolve);
    });
    await server.connect(new StdioServerTransport());
    try {
        await Promise.race([ended, untilSignal(), failureOf(tools.library)]);
    } finally {
        await server.close();
    }
}

/** @throws the failure of loading the model */
async function serveHttp(options: McpOptions, tools: ToolsOptions): Promise<void> {
    const { app, close } = createMcpApp({
        createServer: () => createTools(tools),
        apiKeys: apiKeys(options),
        loopback: isLoopback(options.host)
    });
    const listening = await listen(app, options, serverDefaults);
    process.stderr.write(`${listening.url}/mcp (Ctrl+C ends)\n`);
    try {
        await Promise.race([untilSignal(), failureOf(tools.library)]);
    } finally {
        await close();
        const closed = listening.close();
        listening.http.closeAllConnections();
        await closed;
    }
}

function untilSignal(): Promise<void> {
    return new Promise((resolve) => {
        for (const signal of stopSignals()) process.once(signal, () => resolve());
    });
}

/** Never resolves; rejects if the promise does. */
async function failureOf(promise: Promise<unknown>): Promise<never> {
    await promise;
    return await new Promise(() => {});
}
