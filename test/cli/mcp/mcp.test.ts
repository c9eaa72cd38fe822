import { once } from "node:events";
import { existsSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import test from "ava";
import { runArmt } from "../../helpers/armt-command.js";
import { answerText, assistantModel } from "../../helpers/assistant.js";
import { connectStdio, makeMcpFiles, textOf } from "../../helpers/mcp.js";
import { makeScriptedModel } from "../../helpers/scripted-model.js";
import { send } from "../../helpers/server.js";
import { ServerProcess } from "../../helpers/server-process.js";
import { temporaryFolder } from "../../helpers/temporary.js";
import { until } from "../../helpers/until.js";

test("a memory outlives the server, and armt ask answers from it too", async (t) => {
    const { args, memories, documents } = await makeMcpFiles(t);
    writeFileSync(path.join(documents, "book.txt"), "The lamp is in the box. ".repeat(20));
    const first = await connectStdio(t, args);
    await first.callTool({ name: "read_document", arguments: { path: "book.txt" } });
    await first.close();
    const second = await connectStdio(t, args);
    const question = "Where is the lamp?";
    t.is(textOf(await second.callTool({ name: "ask", arguments: { memory: "book", question } })), answerText);
    const again = await second.callTool({ name: "read_document", arguments: { path: "book.txt" } });
    t.true(again.isError);
    t.regex(textOf(again), /there is a memory "book" already/);
    const { code } = await runArmt(["ask", path.join(memories, "book.armt"), question, "--max-tokens", "1"]);
    t.is(code, 0);
});

test("a cancelled reading resumes when it is repeated", async (t) => {
    const { args, memories, documents } = await makeMcpFiles(t);
    writeFileSync(path.join(documents, "long.txt"), "The lamp is in the box. ".repeat(6000));
    const client = await connectStdio(t, args);
    const controller = new AbortController();
    const call = { name: "read_document", arguments: { path: "long.txt" } };
    const cancelled = client.callTool(call, undefined, {
        signal: controller.signal,
        onprogress: ({ progress }) => {
            if (progress > 10_000) controller.abort("enough");
        }
    });
    await t.throwsAsync(cancelled, { message: /enough/ });
    const part = path.join(memories, "long.armt.part");
    await until(() => existsSync(part), "what was read is kept");
    t.false(existsSync(path.join(memories, "long.armt")));

    const messages: (string | undefined)[] = [];
    const whole = await client.callTool(call, undefined, {
        timeout: 280_000,
        onprogress: ({ message }) => messages.push(message)
    });
    t.falsy(whole.isError, textOf(whole));
    t.regex(String(messages[0]), /resuming/);
    t.false(existsSync(part));
    t.is((whole.structuredContent as { characters: number }).characters, 24 * 6000);
});

test("files outside of the folders cannot be read, through links either", async (t) => {
    const { args, documents, folder } = await makeMcpFiles(t);
    writeFileSync(path.join(folder, "secret.txt"), "secret");
    symlinkSync(path.join(folder, "secret.txt"), path.join(documents, "link.txt"));
    const client = await connectStdio(t, args);
    for (const file of ["link.txt", path.join(folder, "secret.txt")]) {
        const result = await client.callTool({ name: "read_document", arguments: { path: file } });
        t.true(result.isError);
        t.regex(textOf(result), /cannot find/);
    }
});

test("several models read and answer, each about its own documents, and one leaves for another", async (t) => {
    const { args, folder, memories } = await makeMcpFiles(t);
    const other = path.join(folder, "other.gguf");
    await makeScriptedModel(temporaryFolder(t), other, {
        ...assistantModel,
        script: [["<|assistant|>", "Under the bed.", "<eos>"]]
    });
    const both = [args[0]!, args[1]!, other, ...args.slice(2), "--max-models", "1"];
    const client = await connectStdio(t, both);
    const text = "The lamp is in the box. ".repeat(20);
    const ask = async (from: Client, memory: string) =>
        textOf(await from.callTool({ name: "ask", arguments: { memory, question: "Where is the lamp?" } }));
    await client.callTool({ name: "read_document", arguments: { text, name: "first" } });
    await client.callTool({ name: "read_document", arguments: { text, name: "second", model: "other" } });
    for (let i = 0; i < 2; i++) {
        t.is(await ask(client, "first"), answerText);
        t.is(await ask(client, "second"), "Under the bed.");
    }
    const list = async (from: Client) => {
        const { structuredContent } = await from.callTool({ name: "list_memories", arguments: {} });
        return (structuredContent as { memories: { name: string; model: string | null; problem: string | null }[] })
            .memories;
    };
    t.like(await list(client), [
        { name: "first", model: "model", problem: null },
        { name: "second", model: "other", problem: null }
    ]);
    const wrong = await client.callTool({ name: "read_document", arguments: { text, name: "third", model: "none" } });
    t.true(wrong.isError);
    await client.close();
    // a server without the model says so
    const alone = await connectStdio(t, args);
    const [first, second] = await list(alone);
    t.is(first!.problem, null);
    t.is(second!.model, null);
    t.regex(second!.problem!, /belongs to another model/);
    t.true((await alone.callTool({ name: "ask", arguments: { memory: "second", question: "?" } })).isError);
    t.true(existsSync(path.join(memories, "second.armt")));
});

test("over HTTP, other hosts, other origins, wrong keys and unknown sessions are refused", async (t) => {
    const { args } = await makeMcpFiles(t);
    const { url, child } = await ServerProcess.start([...args, "--http", "--api-key", "right"], { ending: t });
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
    const common = { "content-type": "application/json", accept: "application/json, text/event-stream" };
    const key = { authorization: "Bearer right" };
    const statusOf = async (headers: Record<string, string>) =>
        (await send(url, { headers: { ...common, ...headers }, body })).status;
    t.is(await statusOf({ ...key, host: "example.com" }), 403);
    t.is(await statusOf({ ...key, origin: "https://example.com" }), 403);
    t.is(await statusOf({ authorization: "Bearer wrong" }), 401);
    t.is(await statusOf({ ...key, "mcp-session-id": "none" }), 404);
    t.is(await statusOf(key), 400);
    const client = new Client({ name: "test", version: "0.0.0" });
    await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: key } }));
    t.is((await client.listTools()).tools.length, 4);
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    t.deepEqual(await ended, [0, null]);
});

test("wrong use and a missing model end with a message", async (t) => {
    const { args } = await makeMcpFiles(t);
    const open = await runArmt([...args, "--http", "--host", "0.0.0.0"]);
    t.is(open.code, 2);
    t.regex(open.stderr, /needs --api-key/);
    const missing = await runArmt(["mcp", "missing.gguf", ...args.slice(2)]);
    t.is(missing.code, 1);
    t.regex(missing.stderr, /missing\.gguf/);
});
