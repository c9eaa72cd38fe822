import { type ClientRequest, request as httpRequest } from "node:http";
import test from "ava";
import { post, send, startServer, type TestServer } from "../helpers/server.js";
import { until } from "../helpers/until.js";

const plain = { "content-type": "text/plain" };
const line = "The lamp is in the kitchen, and nobody has moved it since.\n";

/** An upload whose end never comes. */
function beginUpload(url: string, text: string): ClientRequest {
    const request = httpRequest(`${url}/v1/armt/memories`, { method: "POST", headers: plain, agent: false });
    request.on("error", () => {});
    request.write(text);
    return request;
}

type Held = { sequences: { armt: { tokens: number } }[] };
const tokensHeld = ({ engine }: TestServer["server"]) =>
    (engine.pool as unknown as Held).sequences.reduce((sum, { armt }) => sum + armt.tokens, 0);

test("uploads leave a sequence free, and end within a batch when their clients disconnect", async (t) => {
    const { url, server } = await startServer(t, { sequences: 3, tiny: { layers: 2 } });
    const { pool } = server.engine;
    // far more than the system's own buffers hold, which would hide that a client has disconnected
    const text = line.repeat(250_000);
    const uploads = Array.from({ length: 4 }, () => beginUpload(url, text));
    await until(() => pool.busy === 2 && pool.waiting === 2, "two are read, and two wait");
    await until(() => tokensHeld(server) > 1000, "something is read");
    const answer = await post(`${url}/v1/completions`, { prompt: "Hi", max_tokens: 4, temperature: 0 });
    t.is(answer.status, 200);
    t.is(pool.busy, 2);
    await until(() => server.uploads.bytes > 4 * 2 ** 23, "most of the texts has arrived");
    const [held, started] = [tokensHeld(server), performance.now()];
    for (const upload of uploads) upload.destroy();
    await until(() => pool.busy === 0 && pool.waiting === 0, "all are given up");
    t.log(`${Math.round(performance.now() - started)} ms, ${tokensHeld(server) - held} tokens`);
    t.true(tokensHeld(server) - held <= 8 * 128, String(tokensHeld(server) - held));
    // a waiting one may have begun before its client was gone
    await until(() => server.registry.count >= 2, "what was read stays");
    t.true(server.registry.list().every(({ status }) => status === "partial"));
    await until(() => server.uploads.bytes === 0, "nothing of the texts is held");
});

test("a text that arrives faster than it is read waits within bounds, and is read whole", async (t) => {
    const text = line.repeat(4000);
    const { url, server } = await startServer(t, { maxUploadsBytes: 4096 });
    let most = 0;
    const watching = setInterval(() => {
        most = Math.max(most, server.uploads.bytes);
    }, 1);
    const memory = (await send(`${url}/v1/armt/memories`, { headers: plain, body: text })).json();
    clearInterval(watching);
    t.is(memory.characters, text.length);
    // a sender's pieces have 64 KiB
    t.true(most <= 2 * 65_536, String(most));
    t.is(server.uploads.bytes, 0);
});

test("an upload is cancelled by the name under which it is watched", async (t) => {
    const { url, server } = await startServer(t);
    const answer = send(`${url}/v1/armt/memories?watch=mine&name=book`, { headers: plain, body: line.repeat(20_000) });
    await until(() => tokensHeld(server) > 500, "something is read");
    const cancelled = await send(`${url}/v1/armt/progress/mine`, { method: "DELETE" });
    t.like(cancelled.json(), { id: "mine", deleted: true });
    const refused = await answer;
    t.is(refused.status, 409);
    t.is(refused.json().error!.code, "upload_cancelled");
    const [partial] = server.registry.list();
    t.like(partial, { name: "book", status: "partial" });
    t.is((await send(`${url}/v1/armt/progress/mine`, { method: "DELETE" })).status, 404);
});

/** Sends a piece every `pauseMs`, `count` times at most, and returns the status of the answer. */
async function drip(url: string, piece: string, pauseMs: number, count: number): Promise<number> {
    const request = beginUpload(url, piece);
    let status: number | undefined;
    const answered = new Promise<number>((resolve) =>
        request.on("response", (response) => {
            status = response.statusCode!;
            response.resume();
            resolve(status);
        })
    );
    for (let sent = 1; sent < count && status === undefined; sent++) {
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
        request.write(piece);
    }
    request.end();
    return await answered;
}

test("an upload byte by byte loses its sequence, and one that is only slow does not", async (t) => {
    const { url, server } = await startServer(t, { sequences: 2, uploadIdleMs: 2000, uploadMinBytes: 256 });
    const endless = drip(url, "a", 50, Number.POSITIVE_INFINITY);
    await until(() => server.engine.pool.busy === 1, "the upload has a sequence");
    t.is(await endless, 408);
    await until(() => server.engine.pool.busy === 0, "the sequence is free");
    t.is(server.uploads.bytes, 0);
    // longer than the limit
    t.is(await drip(url, line.repeat(5), 200, 20), 201);
});
