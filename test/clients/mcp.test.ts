import { writeFileSync } from "node:fs";
import path from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import test from "ava";
import { z } from "zod";
import { answerText } from "../helpers/assistant.js";
import { connectStdio, type McpFiles, makeMcpFiles, textOf } from "../helpers/mcp.js";
import { ServerProcess } from "../helpers/server-process.js";

const ends: (() => unknown)[] = [];
const ending = { teardown: (end: () => unknown) => ends.unshift(end) };
let files: McpFiles;
/** Clients over standard input and output, and over HTTP, each with its own server. */
let clients: Client[];

test.before(async () => {
    files = await makeMcpFiles(ending);
    writeFileSync(path.join(files.documents, "book.txt"), "The lamp stood in the box. ".repeat(4000));
    const { url } = await ServerProcess.start([...files.args, "--http"], { ending });
    const http = new Client({ name: "test", version: "0.0.0" });
    await http.connect(new StreamableHTTPClientTransport(new URL(url)));
    ending.teardown(() => http.close());
    clients = [await connectStdio(ending, files.args), http];
});

test.after.always(async () => {
    for (const end of ends) await end();
});

test.serial("chat", async (t) => {
    for (const [i, client] of clients.entries()) {
        const memory = `chat ${i}`;
        const read = await client.callTool({ name: "read_document", arguments: { path: "book.txt", name: memory } });
        t.falsy(read.isError, textOf(read));
        for (const question of ["Where is the lamp?", "Is it still there?"]) {
            const answer = await client.callTool({ name: "ask", arguments: { memory, question } });
            t.is(textOf(answer), answerText);
        }
    }
});

test.serial("stream", async (t) => {
    for (const [i, client] of clients.entries()) {
        const seen: { progress: number; total?: number | undefined }[] = [];
        const call = { name: "read_document", arguments: { path: "book.txt", name: `stream ${i}` } };
        const read = await client.callTool(call, undefined, { onprogress: (progress) => seen.push(progress) });
        t.falsy(read.isError, textOf(read));
        t.true(seen.length > 0);
        t.true(seen.every(({ progress, total }) => progress <= total! && total === 27 * 4000));
        t.true(seen.every(({ progress }, k) => k === 0 || progress > seen[k - 1]!.progress));
    }
});

test.serial("tools", async (t) => {
    for (const [i, client] of clients.entries()) {
        const { tools } = await client.listTools();
        t.deepEqual(tools.map(({ name }) => name).sort(), ["ask", "forget", "list_memories", "read_document"]);
        const memory = `tools ${i}`;
        await client.callTool({ name: "read_document", arguments: { text: "A short text.", name: memory } });
        const listed = textOf(await client.callTool({ name: "list_memories" }));
        t.regex(listed, new RegExp(`^${memory}: \\d+ tokens$`, "m"));
        const forgotten = await client.callTool({ name: "forget", arguments: { memory } });
        t.falsy(forgotten.isError);
        t.notRegex(textOf(await client.callTool({ name: "list_memories" })), new RegExp(memory));
    }
});

test.serial("schema", async (t) => {
    const info = z.strictObject({
        name: z.string(),
        tokens: z.int().min(1),
        characters: z.literal(5),
        created: z.iso.datetime(),
        model: z.string(),
        problem: z.null()
    });
    for (const [i, client] of clients.entries()) {
        const name = `schema ${i}`;
        const read = await client.callTool({ name: "read_document", arguments: { text: "words", name } });
        const memory = info.parse(read.structuredContent);
        const { memories } = (await client.callTool({ name: "list_memories" })).structuredContent as {
            memories: object[];
        };
        t.deepEqual(
            memories.find((other) => (other as { name: string }).name === name),
            memory
        );
    }
});

test.serial("errors", async (t) => {
    for (const client of clients) {
        for (const [name, args, expected] of [
            ["ask", { memory: "nothing", question: "What?" }, /there is no memory "nothing"/],
            ["forget", { memory: "../model" }, /cannot be the name of a memory/],
            ["read_document", { path: "missing.txt" }, /cannot find "missing.txt"/],
            ["read_document", { path: "../model.gguf" }, /cannot find/],
            ["read_document", { path: "/etc/passwd" }, /the folders that may be read/],
            ["read_document", { text: "no name" }, /needs a `name`/],
            ["read_document", {}, /either `path` or `text`/],
            ["ask", { memory: 1 }, /memory/]
        ] as const) {
            const result = await client.callTool({ name, arguments: args });
            t.true(result.isError, name);
            t.regex(textOf(result), expected);
        }
    }
});
