import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import type { RequestHandlerExtra } from "@modelcontextprotocol/sdk/shared/protocol.js";
import type { ServerNotification, ServerRequest } from "@modelcontextprotocol/sdk/types.js";
import { z } from "zod";
import type { DocumentFolders } from "./documents.js";
import type { CallOptions, Library } from "./Library.js";

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>;

/** Time between two notifications of one call. Unit: milliseconds. */
const progressInterval = 250;

const memoryName = z.string().describe("Name of the memory");
const memoryInfo = {
    name: z.string(),
    tokens: z.int().describe("Tokens of the document"),
    characters: z.int().nullable().describe("Length of the document in UTF-16 code units"),
    created: z.string(),
    model: z.string().nullable().describe("Model that read it; null if it is not here"),
    problem: z.string().nullable().describe("Why it cannot be asked now; null if it can")
};

export interface ToolsOptions {
    /** Resolves when the model is loaded; calls wait for it. */
    library: Promise<Library>;
    /** Names of the models, the default first. */
    models: readonly string[];
    documents: DocumentFolders;
    version: string;
}

/** A server of the Model Context Protocol with the tools of a library. A failure of a tool is its result. */
export function createTools({ library, models, documents, version }: ToolsOptions): McpServer {
    const server = new McpServer(
        { name: "node-llama-cpp-armt", title: "ARMT memories", version },
        {
            instructions:
                "Reads a long document once and keeps a memory of it. Later questions are answered from the memory, " +
                "also in later conversations, so look at list_memories before you read a document."
        }
    );
    const folders = documents.list.length === 0 ? "none" : documents.list.join(", ");
    server.registerTool(
        "read_document",
        {
            title: "Read a document",
            description:
                "Reads a document of any length into a new memory, which takes minutes for a book. A call that was " +
                "cancelled resumes when it is repeated.",
            inputSchema: {
                path: z.string().optional().describe(`Text file in one of the folders that may be read: ${folders}`),
                text: z.string().optional().describe("The document itself, instead of a path"),
                name: z.string().optional().describe("Name of the memory; default: the file's name"),
                ...(models.length > 1 && {
                    model: z
                        .enum(models)
                        .optional()
                        .describe("Model that reads it and answers about it; default: the first that has a memory")
                })
            },
            outputSchema: memoryInfo,
            annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: false, openWorldHint: false }
        },
        async (source, extra) => {
            const memory = await (await library).read(source, callOptions(extra));
            return {
                content: [{ type: "text", text: `${memory.tokens} tokens are in the memory "${memory.name}".` }],
                structuredContent: { ...memory }
            };
        }
    );
    server.registerTool(
        "ask",
        {
            title: "Ask about a document",
            description: "Answers a question from a memory, without reading the document again.",
            inputSchema: { memory: memoryName, question: z.string() },
            annotations: { readOnlyHint: true, openWorldHint: false }
        },
        async ({ memory, question }, extra) => ({
            content: [{ type: "text", text: await (await library).ask(memory, question, callOptions(extra)) }]
        })
    );
    server.registerTool(
        "list_memories",
        {
            title: "List the memories",
            description: "Lists the documents that were read.",
            outputSchema: { memories: z.array(z.object(memoryInfo)) },
            annotations: { readOnlyHint: true, openWorldHint: false }
        },
        async () => {
            const memories = await (await library).list();
            const lines = memories.map(({ name, tokens, problem }) =>
                problem === null ? `${name}: ${tokens} tokens` : `${name}: cannot be asked, ${problem}`
            );
            return {
                content: [{ type: "text", text: lines.join("\n") || "There are no memories yet." }],
                structuredContent: { memories }
            };
        }
    );
    server.registerTool(
        "forget",
        {
            title: "Forget a document",
            description: "Deletes a memory for good.",
            inputSchema: { memory: memoryName },
            annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: false }
        },
        async ({ memory }) => {
            await (await library).forget(memory);
            return { content: [{ type: "text", text: `The memory "${memory}" was deleted.` }] };
        }
    );
    return server;
}

/** Progress goes to clients that asked for it. */
function callOptions({ signal, _meta, sendNotification }: Extra): CallOptions {
    const progressToken = _meta?.progressToken;
    if (progressToken === undefined) return { signal };
    let last = Number.NEGATIVE_INFINITY;
    return {
        signal,
        onProgress: (progress, total, message) => {
            if (performance.now() - last < progressInterval) return;
            last = performance.now();
            const params = { progressToken, progress, total, message };
            // a client that has left needs no progress
            sendNotification({ method: "notifications/progress", params }).catch(() => {});
        }
    };
}
