import { writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import path from "node:path";
import test from "ava";
import { ArmtSnapshot } from "../../plugin/index.js";
import { type JsonAnswer, post, send, startServer, tokensInUse } from "../helpers/server.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { until } from "../helpers/until.js";

const book = Array.from({ length: 200 }, (_, i) => `Line ${i}: the lamp — 🪔 — is in room ${(i * 7) % 31}.\n`).join("");
const plain = { "content-type": "text/plain" };
const binary = { "content-type": "application/octet-stream" };

type Memory = { id: string; tokens: number; characters: number };

/** Downloads a memory, with its bytes intact. */
async function save(url: string, id: string): Promise<{ bytes: Buffer; headers: Headers }> {
    const response = await fetch(`${url}/v1/armt/memories/${id}/file`);
    if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
    return { bytes: Buffer.from(await response.arrayBuffer()), headers: response.headers };
}

async function load(url: string, body: Buffer, query = "") {
    return await send(`${url}/v1/armt/memories/file${query}`, { headers: binary, body });
}

async function ask(url: string, memory: string): Promise<unknown> {
    const body = { prompt: "\nWhere is it?", max_tokens: 12, temperature: 0, armt: { memory } };
    return ((await post(`${url}/v1/completions`, body)).json().choices as JsonAnswer[])[0]!.text;
}

test("a memory is saved to a file that the plugin reads, and loaded again with the same answers", async (t) => {
    const { url, server } = await startServer(t);
    const memory = (
        await send(`${url}/v1/armt/memories?name=my%20book.txt`, { headers: plain, body: book })
    ).json() as unknown as Memory;
    const { bytes, headers } = await save(url, memory.id);
    t.is(headers.get("content-disposition"), 'attachment; filename="my book.txt.armt"');
    const file = path.join(temporaryFolder(t), "saved.armt");
    writeFileSync(file, bytes);
    const snapshot = await ArmtSnapshot.load(file);
    t.is(snapshot.tokensRead, memory.tokens);
    const { createHash } = await import("node:crypto");
    t.deepEqual(snapshot.source, {
        name: "my book.txt",
        characters: book.length,
        sha256: createHash("sha256").update(book).digest("hex"),
        complete: true
    });
    const answer = await ask(url, memory.id);
    await send(`${url}/v1/armt/memories/${memory.id}`, { method: "DELETE" });
    const loaded = await load(url, bytes);
    t.is(loaded.status, 201);
    t.like(loaded.json(), {
        name: "my book.txt",
        status: "complete",
        tokens: memory.tokens,
        characters: book.length
    });
    const { id } = loaded.json() as unknown as Memory;
    t.is(await ask(url, id), answer);
    t.deepEqual((await save(url, id)).bytes, bytes);
    t.like((await load(url, bytes, "?name=other")).json(), { name: "other" });
    t.is(server.registry.count, 2);
});

test("a partial memory is saved with all text that it covers, and reading continues after it is loaded", async (t) => {
    const { url, server } = await startServer(t);
    const text = book.repeat(4);
    const request = httpRequest(`${url}/v1/armt/memories`, { method: "POST", headers: plain, agent: false });
    request.on("error", () => {});
    request.write(text);
    await until(() => tokensInUse(server) > 500, "some of the text is read");
    request.destroy();
    await until(() => server.registry.count === 1, "the partial memory");
    const { bytes } = await save(url, server.registry.list()[0]!.id);
    const partial = (await load(url, bytes)).json() as unknown as Memory & { status: string };
    t.is(partial.status, "partial");
    t.true(partial.characters > 0 && partial.characters < text.length);
    const rest = text.slice(partial.characters);
    const whole = (
        await send(`${url}/v1/armt/memories?from=${partial.id}`, { headers: plain, body: rest })
    ).json() as unknown as Memory;
    const direct = (await send(`${url}/v1/armt/memories`, { headers: plain, body: text })).json() as unknown as Memory;
    t.is(whole.tokens, direct.tokens);
    t.is(await ask(url, whole.id), await ask(url, direct.id));
});

test("files that are no memory of this model are refused by name, without the server's paths", async (t) => {
    const { url, server } = await startServer(t, { maxMemoriesBytes: 400_000, loopback: true });
    const other = await startServer(t, { tiny: { layers: 2, segmentSize: 32 } });
    const { id } = (
        await send(`${other.url}/v1/armt/memories`, { headers: plain, body: book })
    ).json() as unknown as Memory;
    const foreign = (await save(other.url, id)).bytes;
    const refused = await load(url, foreign);
    t.is(refused.status, 400);
    t.regex(refused.json().error!.message, /^the memory file cannot be loaded: it belongs to another model/);
    const damaged = Buffer.from(foreign);
    damaged[damaged.length - 1]! ^= 1;
    t.regex(
        (await load(other.url, damaged)).json().error!.message,
        /it is damaged: its contents have a wrong checksum/
    );
    const text = await load(url, Buffer.from("Once upon a time"));
    t.is(text.status, 400);
    t.regex(text.json().error!.message, /it is not a memory file/);
    for (const { text } of [refused, await load(url, Buffer.alloc(0))]) t.notRegex(text, /\/tmp|memory\.armt/);
    t.is((await load(url, Buffer.alloc(500_000))).status, 507);
    t.is((await send(`${url}/v1/armt/memories/file`, { headers: plain, body: "x" })).status, 415);
    t.is((await send(`${url}/v1/armt/memories/mem_none/file`, { method: "GET" })).status, 404);
    t.is(server.registry.count, 0);
});

test("on an address that others can reach, a saved memory does not name the model's path", async (t) => {
    const folder = temporaryFolder(t);
    for (const loopback of [true, false]) {
        const { url } = await startServer(t, { loopback });
        const { id } = (
            await send(`${url}/v1/armt/memories`, { headers: plain, body: book })
        ).json() as unknown as Memory;
        const file = path.join(folder, `${loopback}.armt`);
        writeFileSync(file, (await save(url, id)).bytes);
        const { modelPath } = await ArmtSnapshot.inspect(file);
        t.is(modelPath === "", !loopback);
    }
});
