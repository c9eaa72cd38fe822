import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import test from "ava";
import { runArmt } from "../../helpers/armt-command.js";
import { answered } from "../../helpers/lying-server.js";
import { startRpcServers } from "../../helpers/rpc-servers.js";

const setTensor = 6;
const graphCompute = 10;
/** Bytes of a tensor's description. */
const tensorBytes = 296;

function request(command: number, body: Buffer, length: bigint = BigInt(body.length)): Buffer {
    const head = Buffer.alloc(9);
    head[0] = command;
    head.writeBigUInt64LE(BigInt.asUintN(64, length), 1);
    return Buffer.concat([head, body]);
}

const hello = request(answered.HELLO, Buffer.alloc(24));

async function open(endpoint: string): Promise<Socket> {
    const [host, port] = endpoint.split(":");
    const socket = connect(Number(port), host);
    socket.on("error", () => {});
    await once(socket, "connect");
    return socket;
}

/** Sends the bytes, and gives the server time to close the connection. */
async function send(endpoint: string, bytes: Buffer): Promise<void> {
    const socket = await open(endpoint);
    socket.resume();
    const closed = new Promise((resolve) => {
        socket.on("close", resolve);
    });
    socket.write(bytes);
    await Promise.race([closed, setTimeout(2000)]);
    socket.destroy();
}

/** Says hello, and waits for the answer. */
async function greet(endpoint: string): Promise<void> {
    const socket = await open(endpoint);
    socket.write(hello);
    await once(socket, "data");
    socket.destroy();
}

test("a client that lies about sizes, or is of another kind, ends its connection and not the server", async (t) => {
    t.timeout(600_000);
    const { endpoints, pids, stop } = await startRpcServers(1);
    t.teardown(stop);
    const endpoint = endpoints[0]!;
    await greet(endpoint);
    const memory = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pids[0]}/status`, "utf8"))![1]) / 1024;
    const before = memory();
    const tensor = Buffer.alloc(tensorBytes);
    const wild = Buffer.alloc(tensorBytes, 0xff);
    const after = (bytes: Buffer) => Buffer.concat([hello, bytes]);
    const lies: Record<string, Buffer> = {
        "a request of HTTP": Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        "a hello of TLS": Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        "an unknown command": after(Buffer.from([200])),
        "a tensor of 2^63 bytes": after(request(setTensor, tensor, 1n << 63n)),
        "a tensor of 2^40 bytes": after(request(setTensor, tensor, 1n << 40n)),
        "a graph of 2^64 bytes": after(request(graphCompute, tensor, -1n)),
        "a graph with a count that is not there": after(
            request(graphCompute, Buffer.from([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]))
        ),
        "a device that is not there": after(request(answered.GET_ALIGNMENT, Buffer.from([9, 0, 0, 0]))),
        "a tensor that is nowhere": after(request(setTensor, Buffer.concat([wild, Buffer.alloc(17)]))),
        "a buffer that is nowhere": after(request(answered.BUFFER_GET_BASE, Buffer.alloc(8, 0xff))),
        "a buffer of 2^63 bytes": after(
            request(answered.ALLOC_BUFFER, Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]))
        )
    };
    for (const [what, bytes] of Object.entries(lies)) {
        await send(endpoint, bytes);
        await t.notThrowsAsync(greet(endpoint), what);
    }
    t.true(memory() - before < 200, `${memory() - before} MiB more`);
});

test("clients that say nothing lose their turn", async (t) => {
    t.timeout(600_000);
    const { endpoints, stop } = await startRpcServers(1);
    t.teardown(stop);
    const silent = await Promise.all([open(endpoints[0]!), open(endpoints[0]!)]);
    // each takes ten seconds at most
    await Promise.race([
        greet(endpoints[0]!),
        setTimeout(120_000, undefined, { ref: false }).then(() => Promise.reject(new Error("still waiting")))
    ]);
    for (const socket of silent) socket.destroy();
    t.pass();
});

test("an address that others can reach gives a warning", async (t) => {
    t.timeout(600_000);
    const { stderr } = await runArmt(["rpc-server", "--host", "192.0.2.1", "--port", "50999"]);
    t.regex(stderr, /warning: .*192\.0\.2\.1.*no password.*anyone who reaches it/);
});
