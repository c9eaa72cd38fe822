import { createServer } from "node:net";
import path from "node:path";
import test from "ava";
import { runArmt } from "../../helpers/armt-command.js";
import { listenOnFreePort } from "../../helpers/listen.js";
import { startRpcServers } from "../../helpers/rpc-servers.js";
import { temporaryFolder } from "../../helpers/temporary.js";

test("armt run computes on servers what it computes here", async (t) => {
    t.timeout(600_000);
    const folder = temporaryFolder(t);
    const model = path.join(folder, "model.gguf");
    for (const args of [
        ["tiny", path.join(folder, "checkpoint"), "--layers", "4"],
        ["convert", path.join(folder, "checkpoint"), model]
    ])
        t.is((await runArmt(args)).code, 0);
    const { endpoints, stop } = await startRpcServers(2);
    t.teardown(stop);
    const run = async (...options: string[]) => {
        const args = ["run", model, "Once upon a time", "-n", "8", "--json", "--no-cache", "-t", "1", ...options];
        const { code, stdout, stderr } = await runArmt(args);
        t.is(code, 0, stderr);
        return (JSON.parse(stdout) as { tokens: number[] }).tokens;
    };
    const expected = await run();
    t.deepEqual(await run("--rpc", endpoints.join(","), "--tensor-split", "3,2"), expected);
    t.deepEqual(await run("--rpc", endpoints.join(","), "--gpu-layers", "3"), expected);
    t.deepEqual(await run("--rpc", endpoints[0]!, "--split-mode", "none"), expected);

    const nobody = await runArmt(["run", model, "x", "-n", "1", "--rpc", "127.0.0.1:1"]);
    t.is(nobody.code, 1);
    t.regex(nobody.stderr, /^armt: RPC server 127\.0\.0\.1:1: cannot connect.*\n$/);
    for (const options of [
        ["--rpc", "nonsense"],
        ["--tensor-split", "a,b"],
        ["--gpu-layers", "-1"]
    ])
        t.is((await runArmt(["run", model, "x", "-n", "1", ...options])).code, 2, options.join(" "));
});

test("an address that cannot be listened on is an error that says why", async (t) => {
    t.timeout(600_000);
    const taken = createServer();
    t.teardown(() => taken.close());
    const port = await listenOnFreePort(taken);
    const { code, stderr } = await runArmt(["rpc-server", "--port", String(port)]);
    t.is(code, 1);
    t.regex(stderr, /^armt: cannot listen on 127\.0\.0\.1:\d+: another program uses this port; [^\n]+\n$/);
    t.is((await runArmt(["rpc-server", "--port", "0"])).code, 2);
});
