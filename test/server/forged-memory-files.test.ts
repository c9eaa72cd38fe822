import { readdirSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import path from "node:path";
import { crc32, gzipSync } from "node:zlib";
import test, { type ExecutionContext } from "ava";
import { ArmtSnapshot } from "../../plugin/index.js";
import { encodeSnapshot, type SnapshotParts } from "../../plugin/memory/snapshot-file.js";
import { encodeHeader } from "../../plugin/memory/snapshot-header.js";
import { fullDiskTest, withFullDisk } from "../helpers/full-disk.js";
import { type JsonAnswer, post, send, startServer } from "../helpers/server.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { until } from "../helpers/until.js";

const book = Array.from({ length: 60 }, (_, i) => `Line ${i}: the lamp is in room ${(i * 7) % 31}.\n`).join("");
const plain = { "content-type": "text/plain" };
const binary = { "content-type": "application/octet-stream" };

type Header = SnapshotParts["header"] & { stateBytes: number; bodyChecksum: number };

/** A server with one memory, and the parts of that memory's file. */
async function prepare(t: ExecutionContext) {
    const { url, server } = await startServer(t);
    const { id } = (await send(`${url}/v1/armt/memories`, { headers: plain, body: book })).json() as { id: string };
    const response = await fetch(`${url}/v1/armt/memories/${id}/file`);
    const good = Buffer.from(await response.arrayBuffer());
    const file = path.join(temporaryFolder(t), "good.armt");
    writeFileSync(file, good);
    const { parts } = await ArmtSnapshot.load(file);
    const load = (body: Buffer, query = "", headers: Record<string, string> = {}) =>
        send(`${url}/v1/armt/memories/file${query}`, { headers: { ...binary, ...headers }, body });
    const ask = async (memory: string) => {
        const answer = await post(`${url}/v1/completions`, {
            prompt: "\nIt",
            max_tokens: 8,
            temperature: 0,
            armt: { memory }
        });
        return (answer.json().choices as JsonAnswer[])[0]!.text;
    };
    return { url, server, id, good, parts, load, ask, expected: await ask(id) };
}

/** A file whose header says what its maker likes, with the checksum that belongs to it. */
function withHeader(parts: SnapshotParts, lies: Record<string, unknown>): Buffer {
    const ids = Buffer.from(parts.tokens!.buffer);
    const right = { ...parts.header, stateBytes: parts.state.length, bodyChecksum: crc32(parts.state, crc32(ids)) };
    const [, ...body] = encodeSnapshot(parts);
    return Buffer.concat([encodeHeader({ ...right, ...lies } as Header), ...body]);
}

/** A file whose state has other numbers, with right checksums. */
function withState(parts: SnapshotParts, change: (state: Buffer) => void): Buffer {
    const state = Buffer.from(parts.state);
    change(state);
    return Buffer.concat(encodeSnapshot({ ...parts, state }));
}

test("a forged memory file is a 400 by name, takes no memory, and changes nothing", async (t) => {
    const { server, id, good, parts, load, ask, expected } = await prepare(t);
    const forged: [string, Buffer][] = [
        ["tokens beyond the file", withHeader(parts, { tokensRead: 2 ** 31 })],
        ["a state of 2^52 bytes", withHeader(parts, { stateBytes: 2 ** 52 })],
        ["a negative size", withHeader(parts, { stateBytes: -1 })],
        ["another model", withHeader(parts, { fingerprint: "0".repeat(64) })],
        ["a name of the prototype", withHeader(parts, { kvTypes: { __proto__: null, constructor: "f16" } })],
        ["numbers that are not finite", withState(parts, (state) => state.fill(0xff, state.length - 64))],
        ["counts of the state", withState(parts, (state) => state.fill(0xff, 0, 64))],
        ["a cut file", good.subarray(0, good.length - 1)],
        ["half a header", good.subarray(0, 40)],
        ["bytes at the end", Buffer.concat([good, Buffer.alloc(1)])],
        ["the file twice", Buffer.concat([good, good])],
        ["a compressed file", gzipSync(good)]
    ];
    const before = process.memoryUsage().rss;
    for (const [what, body] of forged) {
        const { status, text, json } = await load(body);
        t.is(status, 400, `${what}: ${text}`);
        t.regex(json().error!.message, /^the memory file cannot be loaded: /, what);
        t.notRegex(text, /\/tmp|memory\.armt/, what);
    }
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    t.true(grown < 100, `${grown} MiB more`);
    t.deepEqual(
        server.registry.list().map((memory) => memory.id),
        [id]
    );
    t.is(await ask(id), expected);
    t.is((await load(good)).status, 201);
});

test("a body that says it is compressed is refused before it is unpacked", async (t) => {
    const { server, load } = await prepare(t);
    const bomb = gzipSync(Buffer.alloc(64 * 2 ** 20));
    t.is((await load(bomb, "", { "content-encoding": "gzip" })).status, 415);
    t.is(server.registry.count, 1);
});

test("ten imports at once are all there, and one that is cut off leaves nothing", async (t) => {
    const { url, server, good, load, ask, expected } = await prepare(t);
    const cut = httpRequest(`${url}/v1/armt/memories/file`, {
        method: "POST",
        headers: { ...binary, "content-length": good.length },
        agent: false
    });
    cut.on("error", () => {});
    cut.write(good.subarray(0, good.length >> 1));
    const all = await Promise.all(Array.from({ length: 10 }, () => load(good)));
    cut.destroy();
    t.deepEqual(
        all.map(({ status, text }) => (status === 201 ? 201 : text)),
        all.map(() => 201)
    );
    const ids = all.map(({ json }) => (json() as unknown as { id: string }).id);
    t.is(new Set(ids).size, ids.length);
    for (const id of ids.slice(0, 2)) t.is(await ask(id), expected);
    await until(() => server.registry.count === 11, "eleven memories");
});

fullDiskTest("an import that the server's disk has no room for is a 507, and leaves nothing there", async (t) => {
    const { server, good, load } = await prepare(t);
    await withFullDisk(t, 32_768, async (folder) => {
        const before = process.env.TMPDIR;
        process.env.TMPDIR = folder;
        try {
            const refused = await load(good);
            t.is(refused.status, 507, refused.text);
            t.regex(refused.json().error!.message, /folder for temporary files \(TMPDIR\): no space left/);
            t.deepEqual(readdirSync(folder), []);
            process.env.TMPDIR = path.join(folder, "none");
            t.is((await load(good)).status, 507);
        } finally {
            if (before === undefined) delete process.env.TMPDIR;
            else process.env.TMPDIR = before;
        }
    });
    t.is(server.registry.count, 1);
});

test("any name is a plain name, and one that is too long is refused", async (t) => {
    const { url, server, good, load } = await prepare(t);
    for (const name of ["../x", "constructor", "__proto__", "/etc/passwd", "a\u0000b", "..", "mem_1", "my book.txt"]) {
        const loaded = await load(good, `?name=${encodeURIComponent(name)}`);
        t.is(loaded.status, 201, loaded.text);
        const { id } = loaded.json() as unknown as { id: string };
        t.like((await send(`${url}/v1/armt/memories/${id}`, { method: "GET" })).json(), { name });
        const saved = await fetch(`${url}/v1/armt/memories/${id}/file`);
        t.is(saved.status, 200, name);
        const disposition = saved.headers.get("content-disposition")!;
        t.notRegex(disposition, /filename="[^"]*[/\\]/, disposition);
        t.true(Buffer.from(await saved.arrayBuffer()).length > 0);
    }
    const count = server.registry.count;
    t.is((await load(good, `?name=${"x".repeat(5000)}`)).status, 400);
    for (const id of ["constructor", "__proto__", "..%2Fx"])
        t.is((await send(`${url}/v1/armt/memories/${id}`, { method: "GET" })).status, 404, id);
    t.is(server.registry.count, count);
});
