import test from "ava";
import { runArmt } from "../helpers/armt-command.js";
import { send, startServer } from "../helpers/server.js";

const page = "https://app.example";

test("only the named origins may use the server, with a preflight", async (t) => {
    const { url } = await startServer(t, { corsOrigins: [page] });
    const models = `${url}/v1/models`;
    const get = async (headers: Record<string, string>) => await send(models, { method: "GET", headers });
    const allowed = await get({ origin: page, "sec-fetch-site": "cross-site" });
    t.is(allowed.status, 200);
    t.is(allowed.headers["access-control-allow-origin"], page);
    for (const origin of ["https://evil.example", "https://app.example.evil.example", "http://app.example", "null"]) {
        const refused = await get({ origin });
        t.is(refused.status, 403, origin);
        t.is(refused.headers["access-control-allow-origin"], undefined);
    }
    // a page's name that was bound to this machine
    t.is((await get({ origin: page, host: "app.example" })).status, 403);
    const preflight = await send(`${url}/v1/chat/completions`, {
        method: "OPTIONS",
        headers: {
            origin: page,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type"
        }
    });
    t.is(preflight.status, 204);
    t.is(preflight.headers["access-control-allow-headers"], "authorization,content-type");
    t.regex(String(preflight.headers["access-control-allow-methods"]), /POST/);
});

test("all origins may use a server with a key, but not without the key", async (t) => {
    const { url } = await startServer(t, { corsOrigins: ["*"], apiKeys: ["right"] });
    const get = async (headers: Record<string, string>) =>
        await send(`${url}/v1/models`, { method: "GET", headers: { origin: page, ...headers } });
    t.is((await get({})).status, 401);
    const allowed = await get({ authorization: "Bearer right" });
    t.is(allowed.status, 200);
    t.is(allowed.headers["access-control-allow-origin"], "*");
});

test("--cors-origin takes origins only, and all of them only with a key", async (t) => {
    for (const [origin, expected] of [
        ["*", /needs --api-key/],
        ["example.com", /must have the form/],
        ["https://example.com/path", /must have the form/]
    ] as const) {
        const { code, stderr } = await runArmt(["serve", "missing.gguf", "--cors-origin", origin]);
        t.is(code, 2, origin);
        t.regex(stderr, expected);
    }
});
